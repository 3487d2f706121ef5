/* attention_x86.h: rows times slabs, the two matrix products of attention; included once by each float_<isa>.c.
 *
 * A tile of some rows and one or two slabs stays in registers while i walks on: a load of each slab meets a broadcast
 * of each row. float_<isa>.c says how large a tile its registers hold. */
#ifndef BN_ATTENTION_X86_H
#define BN_ATTENTION_X86_H

#include "../kernels.h"
#include "lanes_x86.h"

typedef enum { SLAB_F32, SLAB_F16, SLAB_I8 } slab_type;

enum {
    FEW_ROWS = 4,           /* heads of one token: memory is the limit, and is asked in time */
    AHEAD_BYTES = 4096
};

ALWAYS_INLINE size_t bytes_of(slab_type type)
{
    return type == SLAB_F32 ? 4 : type == SLAB_F16 ? 2 : 1;
}

ALWAYS_INLINE group values_of(const uint8_t *b, slab_type type)
{
    if (type == SLAB_F32)
        return group_load((const float *)(const void *)b);
    return type == SLAB_F16 ? group_from_f16(b) : group_from_i8(_mm_loadu_si128((const __m128i *)(const void *)b));
}

/* out[rows][16*slabs] (+)= a[rows][n] . b; rows, slabs and type are constants; b_stride in bytes. */
ALWAYS_INLINE void slab_tile(const float *a, size_t a_stride, const uint8_t *b, size_t b_stride, size_t n, int add,
                             float *out, size_t out_stride, size_t rows, size_t slabs, slab_type type)
{
    group sum[TILE_ROWS * TILE_SLABS];
    const size_t step = BN_LANES * bytes_of(type);
    UNROLL
    for (size_t r = 0; r < rows; r++) {
        UNROLL
        for (size_t s = 0; s < slabs; s++)
            sum[r * slabs + s] = add ? group_load(out + r * out_stride + s * BN_LANES) : group_set1(0.0f);
    }
    for (size_t i = 0; i < n; i++, b += step) {
        group value[TILE_SLABS];
        UNROLL
        for (size_t s = 0; s < slabs; s++)
            value[s] = values_of(b + s * b_stride, type);
        if (rows <= FEW_ROWS)
            _mm_prefetch((const char *)b + AHEAD_BYTES, _MM_HINT_T0);
        UNROLL
        for (size_t r = 0; r < rows; r++) {
            group row = group_set1(a[r * a_stride + i]);
            UNROLL
            for (size_t s = 0; s < slabs; s++)
                sum[r * slabs + s] = group_add_product(sum[r * slabs + s], row, value[s]);
        }
    }
    UNROLL
    for (size_t r = 0; r < rows; r++) {
        UNROLL
        for (size_t s = 0; s < slabs; s++)
            group_store(out + r * out_stride + s * BN_LANES, sum[r * slabs + s]);
    }
}

/* All rows of one or two slabs, in tiles as large as they fit. */
ALWAYS_INLINE void slab_rows(const float *a, size_t a_stride, size_t n_rows, const uint8_t *b, size_t b_stride,
                             size_t n, int add, float *out, size_t out_stride, size_t slabs, slab_type type)
{
    size_t r = 0;
    for (; r + TILE_ROWS <= n_rows; r += TILE_ROWS)
        slab_tile(a + r * a_stride, a_stride, b, b_stride, n, add, out + r * out_stride, out_stride, TILE_ROWS, slabs,
                  type);
    for (; r + FEW_ROWS <= n_rows; r += FEW_ROWS)
        slab_tile(a + r * a_stride, a_stride, b, b_stride, n, add, out + r * out_stride, out_stride, FEW_ROWS, slabs,
                  type);
    for (; r < n_rows; r++)
        slab_tile(a + r * a_stride, a_stride, b, b_stride, n, add, out + r * out_stride, out_stride, 1, slabs, type);
}

/* Slabs two by two only where tiles are full: a few rows read one stream at a time. */
ALWAYS_INLINE void slabs_of(const float *a, size_t a_stride, size_t n_rows, const uint8_t *b, size_t b_stride,
                            size_t n_slabs, size_t n, int add, float *out, size_t out_stride, slab_type type)
{
    size_t s = 0;
    for (; TILE_SLABS == 2 && n_rows >= TILE_ROWS && s + 2 <= n_slabs; s += 2)
        slab_rows(a, a_stride, n_rows, b + s * b_stride, b_stride, n, add, out + s * BN_LANES, out_stride, TILE_SLABS,
                  type);
    for (; s < n_slabs; s++)
        slab_rows(a, a_stride, n_rows, b + s * b_stride, b_stride, n, add, out + s * BN_LANES, out_stride, 1, type);
}

#define BN_SLABS(name, type)                                                                                           \
    void BN_FN(slabs_##name)(const float *a, size_t a_stride, size_t n_rows, const void *b, size_t b_stride,           \
                             size_t n_slabs, size_t n, int add, float *out, size_t out_stride)                         \
    {                                                                                                                  \
        slabs_of(a, a_stride, n_rows, b, b_stride * bytes_of(type), n_slabs, n, add, out, out_stride, type);           \
    }

BN_SLABS(f32, SLAB_F32)
BN_SLABS(f16, SLAB_F16)
BN_SLABS(i8, SLAB_I8)

#endif
