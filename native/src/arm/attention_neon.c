/* attention_neon.c: products of rows and slabs, the two matrix products of attention, on AArch64.
 *
 * Leans on FMUL by element and FADD: a lane of a slab is a lane of a register, so sums stay plain and in order. Sixteen
 * values of a slab become floats once and meet up to four rows. No FMLA: the scalar file rounds twice. */
#include "../kernels.h"
#include "lanes_neon.h"

enum { ROWS = 4 };

ALWAYS_INLINE bn_group f32_values(const float *b)
{
    return bn_group_load(b);
}

ALWAYS_INLINE bn_group f16_values(const uint16_t *b)
{
    return bn_group_from_f16(b);
}

ALWAYS_INLINE bn_group i8_values(const int8_t *b)
{
    return bn_group_from_i8(b);
}

#define BN_SLAB_CASE(type, rows)                                                                                       \
    case rows: type##_slab(a + r * a_stride, a_stride, rows, slab, n, add, y, out_stride); break;

/* type##_slab: one slab for n_rows <= ROWS rows, n_rows being a constant where it is inlined. */
#define BN_SLABS(type, value)                                                                                          \
    ALWAYS_INLINE void type##_slab(const float *a, size_t a_stride, size_t n_rows, const value *slab, size_t n,        \
                                   int add, float *out, size_t out_stride)                                             \
    {                                                                                                                  \
        bn_group acc[ROWS];                                                                                            \
        UNROLL                                                                                                         \
        for (size_t r = 0; r < n_rows; r++)                                                                            \
            acc[r] = add ? bn_group_load(out + r * out_stride) : bn_group_zero();                                      \
        for (size_t i = 0; i < n; i++) {                                                                               \
            bn_group values = type##_values(slab + i * BN_LANES);                                                      \
            UNROLL                                                                                                     \
            for (size_t r = 0; r < n_rows; r++) {                                                                      \
                float32x4_t weight = vdupq_n_f32(a[r * a_stride + i]);                                                 \
                acc[r] = bn_group_add_product(acc[r], (bn_group){{weight, weight, weight, weight}}, values);           \
            }                                                                                                          \
        }                                                                                                              \
        UNROLL                                                                                                         \
        for (size_t r = 0; r < n_rows; r++)                                                                            \
            bn_group_store(out + r * out_stride, acc[r]);                                                              \
    }                                                                                                                  \
                                                                                                                       \
    void bn_slabs_##type##__neon(const float *a, size_t a_stride, size_t n_rows, const void *b, size_t b_stride,       \
                                 size_t n_slabs, size_t n, int add, float *out, size_t out_stride)                     \
    {                                                                                                                  \
        for (size_t s = 0; s < n_slabs; s++)                                                                           \
            for (size_t r = 0; r < n_rows; r += ROWS) {                                                                \
                const value *slab = (const value *)b + s * b_stride;                                                   \
                float *y = out + r * out_stride + s * BN_LANES;                                                        \
                switch (n_rows - r) {                                                                                  \
                BN_SLAB_CASE(type, 1)                                                                                  \
                BN_SLAB_CASE(type, 2)                                                                                  \
                BN_SLAB_CASE(type, 3)                                                                                  \
                default: type##_slab(a + r * a_stride, a_stride, ROWS, slab, n, add, y, out_stride);                   \
                }                                                                                                      \
            }                                                                                                          \
    }

BN_SLABS(f32, float)
BN_SLABS(f16, uint16_t)
BN_SLABS(i8, int8_t)
