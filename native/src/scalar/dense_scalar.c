/* dense_scalar.c: the reference for dense rows: how each type becomes floats (the embedding), and the dot product of
 * rows of floats (a head of floats; head_scalar.c has the quantised ones).
 *
 * Block formats are those of GGUF (docs/formats.md): little-endian, f16 scales. */
#include <string.h>

#include "../kernels.h"
#include "../lanes.h"
#include "half_scalar.h"

static uint16_t load_u16(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return h;
}

void bn_dequant_f32__scalar(const void *row, size_t n, float *out)
{
    memcpy(out, row, n * sizeof *out);
}

void bn_dequant_f16__scalar(const void *row, size_t n, float *out)
{
    const uint8_t *p = row;
    for (size_t i = 0; i < n; i++)
        out[i] = bn_f32_from_f16(load_u16(p + 2 * i));
}

void bn_dequant_bf16__scalar(const void *row, size_t n, float *out)
{
    const uint8_t *p = row;
    for (size_t i = 0; i < n; i++)
        out[i] = bn_f32_from_bf16(load_u16(p + 2 * i));
}

/* Blocks of 32: f16 d, int8 q[32]; d * q. */
void bn_dequant_q8_0__scalar(const void *row, size_t n, float *out)
{
    const uint8_t *p = row;
    for (size_t i = 0; i < n; i += 32, p += 34) {
        float d = bn_f32_from_f16(load_u16(p));
        for (size_t j = 0; j < 32; j++)
            out[i + j] = d * (float)(int8_t)p[2 + j];
    }
}

/* Blocks of 32: f16 d, 16 bytes; low nibbles are values 0..15, high nibbles 16..31; d * (q - 8). */
void bn_dequant_q4_0__scalar(const void *row, size_t n, float *out)
{
    const uint8_t *p = row;
    for (size_t i = 0; i < n; i += 32, p += 18) {
        float d = bn_f32_from_f16(load_u16(p));
        for (size_t j = 0; j < 16; j++) {
            out[i + j] = d * (float)((p[2 + j] & 15) - 8);
            out[i + 16 + j] = d * (float)((p[2 + j] >> 4) - 8);
        }
    }
}

/* Blocks of 64: f16 d, 16 bytes; a byte holds four values one behind the other, from the low bits up; d * (q - 1). */
void bn_dequant_q2_0__scalar(const void *row, size_t n, float *out)
{
    const uint8_t *p = row;
    for (size_t i = 0; i < n; i += 64, p += 18) {
        float d = bn_f32_from_f16(load_u16(p));
        for (size_t j = 0; j < 64; j++)
            out[i + j] = d * (float)((p[2 + j / 4] >> (2 * (j % 4)) & 3) - 1);
    }
}

/* Blocks of 256: ql[128], qh[64], int8 sc[16], f16 d; two halves of 128 values, in each four groups of 32; value l of
 * group g has the low nibble (g < 2) or high nibble (g >= 2) of ql[64*half + 32*(g % 2) + l] and bits 2g of
 * qh[32*half + l]; (d * sc) * (q - 32), sc of every 16 values. */
void bn_dequant_q6_k__scalar(const void *row, size_t n, float *out)
{
    const uint8_t *p = row;
    for (size_t i = 0; i < n; i += 256, p += 210) {
        const uint8_t *ql = p, *qh = p + 128, *sc = p + 192;
        float d = bn_f32_from_f16(load_u16(p + 208));
        for (size_t half = 0; half < 2; half++)
            for (size_t g = 0; g < 4; g++)
                for (size_t l = 0; l < 32; l++) {
                    int low = ql[64 * half + 32 * (g % 2) + l] >> (g < 2 ? 0 : 4) & 15;
                    int high = qh[32 * half + l] >> (2 * g) & 3;
                    float scale = d * (float)(int8_t)sc[8 * half + 2 * g + l / 16];
                    out[i + 128 * half + 32 * g + l] = scale * (float)((low | high << 4) - 32);
                }
    }
}

typedef void dequant_fn(const void *row, size_t n, float *out);

/* y[rows] = dequant(w) @ x in pieces of 256 cols: a multiple of every block and of the lanes. */
static void gemv(dequant_fn *dequant, size_t bytes_per_256, const void *w, size_t row_bytes, size_t rows, size_t cols,
                 const float *x, float *y)
{
    float piece[256];
    for (size_t r = 0; r < rows; r++) {
        const uint8_t *row = (const uint8_t *)w + r * row_bytes;
        float lane[BN_LANES] = {0};
        for (size_t i = 0; i < cols; i += 256, row += bytes_per_256) {
            size_t n = cols - i < 256 ? cols - i : 256;
            dequant(row, n, piece);
            for (size_t j = 0; j < n; j++)
                lane[j % BN_LANES] += piece[j] * x[i + j];
        }
        y[r] = bn_lanes_sum(lane);
    }
}

#define BN_GEMV(type, bytes_per_256)                                                                                    \
    void bn_gemv_##type##_f32__scalar(const void *w, size_t row_bytes, size_t rows, size_t cols, const float *x,        \
                                      float *y)                                                                        \
    {                                                                                                                   \
        gemv(bn_dequant_##type##__scalar, bytes_per_256, w, row_bytes, rows, cols, x, y);                               \
    }

BN_GEMV(f32, 1024)
BN_GEMV(f16, 512)
BN_GEMV(bf16, 512)
