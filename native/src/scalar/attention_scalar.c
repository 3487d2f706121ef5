/* attention_scalar.c: the reference for products of rows and slabs, the two matrix products of attention. */
#include "../kernels.h"
#include "../lanes.h"
#include "half_scalar.h"

/* One sum per lane, added in ascending order of i; VALUE(x) is the float that x stands for. */
#define BN_SLABS(type, value, VALUE)                                                                                   \
    void bn_slabs_##type##__scalar(const float *a, size_t a_stride, size_t n_rows, const void *b, size_t b_stride,     \
                                   size_t n_slabs, size_t n, int add, float *out, size_t out_stride)                   \
    {                                                                                                                  \
        const value *values = b;                                                                                       \
        for (size_t r = 0; r < n_rows; r++)                                                                            \
            for (size_t s = 0; s < n_slabs; s++)                                                                       \
                for (size_t l = 0; l < BN_LANES; l++) {                                                                \
                    float *y = out + r * out_stride + s * BN_LANES + l;                                                \
                    float sum = add ? *y : 0.0f;                                                                       \
                    for (size_t i = 0; i < n; i++)                                                                     \
                        sum += a[r * a_stride + i] * VALUE(values[s * b_stride + i * BN_LANES + l]);                   \
                    *y = sum;                                                                                          \
                }                                                                                                      \
    }

BN_SLABS(f32, float, )
BN_SLABS(f16, uint16_t, bn_f32_from_f16)
BN_SLABS(i8, int8_t, (float))
