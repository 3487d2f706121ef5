/* tmat.h: a ternary matrix in one of the layouts that the kernels read (drawn in kernels.h). */
#ifndef BN_TMAT_H
#define BN_TMAT_H

#include "bitnet.h"
#include "chunk.h"
#include "kernels.h"

struct bn_tmat {
    size_t rows, cols;
    bn_layout layout;
    size_t n_tiles, n_blocks;       /* of 16 rows and 16 cols, the last ones padded; whole groups of l3 */
    size_t n_units, stride;         /* tiles, rows, cols or slabs, and the bytes of each */
    size_t n_groups, group_blocks;  /* groups of cols with scales of their own, and blocks of each; 0 but in g2 */
    size_t group_scale_bytes;       /* of a scale of g2: 2 or 4 */
    float scale;                    /* of all weights, unless rows or groups have theirs */
    float *row_scales;              /* [rows], or NULL */
    uint8_t *weights;               /* n_units * stride bytes */
    size_t n_bytes;
    bn_chunk *chunk;                /* holds the weights */
};

/* From one group of a slab of g2 to the next. */
static inline size_t bn_group_bytes(const bn_tmat *mat)
{
    return BN_SLAB_ROWS / BN_TILE_ROWS * mat->group_blocks * BN_BLOCK_BYTES + BN_SLAB_ROWS * mat->group_scale_bytes;
}

/* A group of a slab of g2: its tiles. */
static inline uint8_t *bn_tmat_group(const bn_tmat *mat, size_t slab, size_t group)
{
    return mat->weights + slab * mat->stride + group * bn_group_bytes(mat);
}

/* Its scale of row `row` of the slab, and those of the rows behind it. */
static inline uint8_t *bn_tmat_group_scales(const bn_tmat *mat, size_t slab, size_t group, size_t row)
{
    return bn_tmat_group(mat, slab, group + 1) - (BN_SLAB_ROWS - row) * mat->group_scale_bytes;
}

/* Panel of blocks first..first+n_blocks-1 of a tile; those of g2 must be one group. */
void bn_tmat_panel(const bn_tmat *mat, const bn_kernels *k, size_t tile, size_t first, size_t n_blocks, uint8_t *panel);
/* The scale of one weight. */
float bn_tmat_scale(const bn_tmat *mat, size_t row, size_t col);
/* 1 if every scale is a number of f16. */
int bn_tmat_scales_are_f16(const bn_tmat *mat);

/* Notes what has a scale of its own: the tensor, rows, or groups of cols. Returns 0 if the scales fit none of these, or
 * not the layout. */
int bn_tmat_measure_scales(bn_tmat *mat, size_t n_scale_rows, size_t n_scale_cols);
int bn_scales_are_finite(const float *scales, size_t n);
/* scales[n] as f16, to be freed; NULL if there is no memory or some are no numbers of f16. */
uint16_t *bn_scales_as_f16(const bn_kernels *k, const float *scales, size_t n);

static inline size_t bn_div_up(size_t a, size_t b)
{
    return (a + b - 1) / b;
}

#endif
