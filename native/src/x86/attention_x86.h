/* attention_x86.h: rows times slabs, the two matrix products of attention; included once by each float_<isa>.c.
 *
 * A tile of rows and one slab stays in registers while i walks on: a load of the slab meets a broadcast of each row, one
 * multiplication with its operand in memory and one addition. (Two slabs to a tile would halve the broadcasts, and
 * reached two thirds of the speed.) Many rows share what the slab becomes as float32; a few convert it as they go. */
#ifndef BN_ATTENTION_X86_H
#define BN_ATTENTION_X86_H

#include "../kernels.h"
#include "lanes_x86.h"

typedef enum { SLAB_F32, SLAB_F16, SLAB_I8 } slab_type;

enum {
    FEW_ROWS = 4,           /* heads of one token: memory is the limit, and is asked in time */
    AHEAD_BYTES = 4096,
    WIDE_ROWS = 16,         /* so many rows are worth a detour of the slab through float32, */
    WIDE_STEPS = 128        /* in pieces that stay in L1 with the rows */
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

/* out[rows][16] (+)= a[rows][n] . b; rows, type and ahead are constants; ahead: bytes of b to ask memory for, or 0. */
ALWAYS_INLINE void slab_tile(const float *a, size_t a_stride, const uint8_t *b, size_t n, int add, float *out,
                             size_t out_stride, size_t rows, slab_type type, size_t ahead)
{
    group sum[TILE_ROWS];
    const size_t step = BN_LANES * bytes_of(type);
    UNROLL
    for (size_t r = 0; r < rows; r++)
        sum[r] = add ? group_load(out + r * out_stride) : group_set1(0.0f);
    for (size_t i = 0; i < n; i++, b += step) {
        group value = values_of(b, type);
        if (ahead)
            _mm_prefetch((const char *)b + ahead, _MM_HINT_T0);
        UNROLL
        for (size_t r = 0; r < rows; r++)
            sum[r] = group_add_product(sum[r], group_set1(a[r * a_stride + i]), value);
    }
    UNROLL
    for (size_t r = 0; r < rows; r++)
        group_store(out + r * out_stride, sum[r]);
}

/* All rows of one slab. */
ALWAYS_INLINE void slab_rows(const float *a, size_t a_stride, size_t n_rows, const uint8_t *b, size_t n, int add,
                             float *out, size_t out_stride, slab_type type)
{
    size_t r = 0;
    for (; r + TILE_ROWS <= n_rows; r += TILE_ROWS)
        slab_tile(a + r * a_stride, a_stride, b, n, add, out + r * out_stride, out_stride, TILE_ROWS, type, 0);
    for (; r + FEW_ROWS <= n_rows; r += FEW_ROWS)
        slab_tile(a + r * a_stride, a_stride, b, n, add, out + r * out_stride, out_stride, FEW_ROWS, type,
                  AHEAD_BYTES);
    for (; r < n_rows; r++)
        slab_tile(a + r * a_stride, a_stride, b, n, add, out + r * out_stride, out_stride, 1, type, AHEAD_BYTES);
}

/* The same, through float32. */
ALWAYS_INLINE void slab_rows_widened(const float *a, size_t a_stride, size_t n_rows, const uint8_t *b, size_t n,
                                     int add, float *out, size_t out_stride, slab_type type)
{
    float wide[WIDE_STEPS * BN_LANES] __attribute__((aligned(64)));
    for (size_t i = 0; i < n; i += WIDE_STEPS, b += WIDE_STEPS * BN_LANES * bytes_of(type)) {
        size_t steps = n - i < WIDE_STEPS ? n - i : WIDE_STEPS;
        for (size_t j = 0; j < steps; j++) {
            const uint8_t *values = b + j * BN_LANES * bytes_of(type);
            _mm_prefetch((const char *)values + sizeof wide / 4 * bytes_of(type), _MM_HINT_T0);     /* the next piece */
            group_store(wide + j * BN_LANES, values_of(values, type));
        }
        slab_rows(a + i, a_stride, n_rows, (const uint8_t *)wide, steps, add || i > 0, out, out_stride, SLAB_F32);
    }
}

ALWAYS_INLINE void slabs_of(const float *a, size_t a_stride, size_t n_rows, const uint8_t *b, size_t b_stride,
                            size_t n_slabs, size_t n, int add, float *out, size_t out_stride, slab_type type)
{
    for (size_t s = 0; s < n_slabs; s++, b += b_stride, out += BN_LANES) {
        if (type != SLAB_F32 && n > 0 && n_rows >= WIDE_ROWS)
            slab_rows_widened(a, a_stride, n_rows, b, n, add, out, out_stride, type);
        else
            slab_rows(a, a_stride, n_rows, b, n, add, out, out_stride, type);
    }
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
