/* tmat_scales.c: the scales of a ternary matrix: what has one, whether all are numbers, and whether f16 holds them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "entries.h"
#include "tmat.h"

int bn_tmat_measure_scales(bn_tmat *mat, size_t n_scale_rows, size_t n_scale_cols)
{
    if (n_scale_cols != 1) {
        size_t group_cols = n_scale_cols ? mat->cols / n_scale_cols : 0;
        if (n_scale_rows != mat->rows || (group_cols != 64 && group_cols != 128 && group_cols != 256) ||
            group_cols * n_scale_cols != mat->cols)
            return 0;
        mat->n_groups = n_scale_cols;
        mat->group_blocks = group_cols / BN_BLOCK_COLS;
    }
    return (n_scale_rows == 1 || n_scale_rows == mat->rows) && (mat->n_groups > 0) == (mat->layout == BN_LAYOUT_G2);
}

int bn_scales_are_finite(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return 0;
    return 1;
}

uint16_t *bn_scales_as_f16(const bn_kernels *k, const float *scales, size_t n)
{
    enum { AT_ONCE = 256 };
    uint16_t *halves = malloc(n * sizeof *halves);
    if (halves)
        k->f16_from_f32(scales, n, halves);
    for (size_t i = 0; halves && i < n; i += AT_ONCE) {
        float back[AT_ONCE];
        size_t some = n - i < AT_ONCE ? n - i : AT_ONCE;
        k->dequant_f16(halves + i, some, back);
        if (memcmp(back, scales + i, some * sizeof *back) != 0) {
            free(halves);
            halves = NULL;
        }
    }
    return halves;
}

float bn_tmat_scale(const bn_tmat *mat, size_t row, size_t col)
{
    if (mat->n_groups == 0)
        return mat->row_scales ? mat->row_scales[row] : mat->scale;
    const uint8_t *at = bn_tmat_group_scales(mat, row / BN_SLAB_ROWS, col / BN_BLOCK_COLS / mat->group_blocks,
                                             row % BN_SLAB_ROWS);
    float scale;
    if (mat->group_scale_bytes == sizeof scale)
        memcpy(&scale, at, sizeof scale);
    else
        bn_dequant_f16__scalar(at, 1, &scale);
    return scale;
}

int bn_tmat_scales_are_f16(const bn_tmat *mat)
{
    if (mat->n_groups)
        return mat->group_scale_bytes == sizeof(uint16_t);
    for (size_t row = 0; row < (mat->row_scales ? mat->rows : 1); row++) {
        float scale = bn_tmat_scale(mat, row, 0), back;
        uint16_t half;
        bn_f16_from_f32__scalar(&scale, 1, &half);
        bn_dequant_f16__scalar(&half, 1, &back);
        if (memcmp(&scale, &back, sizeof scale) != 0)
            return 0;
    }
    return 1;
}
