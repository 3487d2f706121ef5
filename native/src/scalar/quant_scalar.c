/* quant_scalar.c: the reference for the way in and out of the integers: RMSNorm, int8 quantisation, descaling. */
#include <math.h>

#include "../kernels.h"
#include "../lanes.h"

void bn_rmsnorm_f32__scalar(const float *x, const float *w, size_t n, float eps, float *y)
{
    float lane[BN_LANES] = {0};
    for (size_t i = 0; i < n; i++)
        lane[i % BN_LANES] += x[i] * x[i];
    float r = 1.0f / sqrtf(bn_lanes_sum(lane) / (float)n + eps);
    for (size_t i = 0; i < n; i++)
        y[i] = w[i] * (x[i] * r);
}

void bn_quant_i8__scalar(const float *x, size_t n, int8_t *q, float *s, int32_t *sum)
{
    float amax = 1e-5f;
    for (size_t i = 0; i < n; i++)
        amax = fabsf(x[i]) > amax ? fabsf(x[i]) : amax;
    float scale = 127.0f / amax;
    int32_t total = 0;
    for (size_t i = 0; i < n; i++) {
        float v = x[i] * scale;
        v = v > -128.0f ? v : -128.0f;
        v = v < 127.0f ? v : 127.0f;
        /* Adding 1.5 * 2^23 leaves no fraction bits: the sum is rounded half to even, and |v| <= 128 is exact. */
        int32_t rounded = (int32_t)((v + 0x1.8p+23f) - 0x1.8p+23f);
        q[i] = (int8_t)rounded;
        total += rounded;
    }
    *s = scale;
    *sum = total;
}

void bn_descale_f32__scalar(const int32_t *sums, size_t n, int32_t q_sum, float s, float scale, int add, float *y)
{
    for (size_t i = 0; i < n; i++) {
        float v = ((float)(sums[i] - q_sum) / s) * scale;
        y[i] = add ? y[i] + v : v;
    }
}

void bn_descale_rows_f32__scalar(const int32_t *sums, size_t n, int32_t q_sum, float s, const float *scales, int add,
                                 float *y)
{
    for (size_t i = 0; i < n; i++) {
        float v = ((float)(sums[i] - q_sum) / s) * scales[i];
        y[i] = add ? y[i] + v : v;
    }
}

void bn_group_sums_i8__scalar(const int8_t *q, size_t n, size_t group_cols, int32_t *sums)
{
    for (size_t i = 0; i < n; i++) {
        sums[i] = 0;
        for (size_t c = 0; c < group_cols; c++)
            sums[i] += q[i * group_cols + c];
    }
}

void bn_add_scaled_f32__scalar(const int32_t *sums, size_t n, size_t n_tokens, const int32_t *q_sums, size_t q_stride,
                               const float *scales, float *acc)
{
    for (size_t t = 0; t < n_tokens; t++)
        for (size_t i = 0; i < n; i++)
            acc[t * n + i] += (float)(sums[t * n + i] - q_sums[t * q_stride]) * scales[i];
}
