/* float_scalar.c: the reference for the float operations between matrices: RoPE, softmax, gated activations. */
#include "../kernels.h"
#include "../lanes.h"
#include "exp_scalar.h"
#include "half_scalar.h"

void bn_rope_f32__scalar(float *x, size_t n_heads, size_t head_dim, size_t n_rot, int neox, const float *cos,
                         const float *sin)
{
    size_t pairs = n_rot / 2;
    for (size_t h = 0; h < n_heads; h++, x += head_dim)
        for (size_t i = 0; i < pairs; i++) {
            float *a = neox ? x + i : x + 2 * i, *b = neox ? x + i + pairs : a + 1;
            float a0 = *a, b0 = *b;
            *a = a0 * cos[i] - b0 * sin[i];
            *b = a0 * sin[i] + b0 * cos[i];
        }
}

float bn_softmax_f32__scalar(float *x, size_t n, float scale, const float *k_scale, const float *v_scale)
{
    for (size_t i = 0; i < n; i++)
        x[i] = k_scale ? (x[i] * k_scale[i]) * scale : x[i] * scale;
    float max = x[0];
    for (size_t i = 1; i < n; i++)
        max = x[i] > max ? x[i] : max;
    float lane[BN_LANES] = {0};
    for (size_t i = 0; i < n; i++) {
        float e = bn_exp(x[i] - max);
        lane[i % BN_LANES] += e;
        x[i] = v_scale ? e * v_scale[i] : e;
    }
    return bn_lanes_sum(lane);
}

void bn_glu_relu2_f32__scalar(const float *g, const float *u, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = g[i] > 0.0f ? (g[i] * g[i]) * u[i] : 0.0f;
}

void bn_glu_silu_f32__scalar(const float *g, const float *u, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (g[i] / (1.0f + bn_exp(-g[i]))) * u[i];
}

void bn_glu_gelu_f32__scalar(const float *g, const float *u, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = bn_gelu(g[i]) * u[i];
}

void bn_f16_from_f32__scalar(const float *x, size_t n, uint16_t *h)
{
    for (size_t i = 0; i < n; i++)
        h[i] = bn_f16_from_f32(x[i]);
}
