/* half_scalar.h: f16 and bf16 to float and back in plain integer arithmetic; the definition every ISA follows. */
#ifndef BN_HALF_SCALAR_H
#define BN_HALF_SCALAR_H

#include <stdint.h>
#include <string.h>

static inline float bn_float_from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint32_t bn_bits_from_float(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Exact. A NaN keeps its payload and becomes quiet, as the conversion instructions do. */
static inline float bn_f32_from_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 31, fraction = h & 1023;
    if (exponent == 31)
        return bn_float_from_bits(sign | 0x7f800000 | (fraction ? 0x400000 | fraction << 13 : 0));
    if (exponent == 0) {
        float x = (float)fraction * 0x1p-24f;
        return bn_float_from_bits(sign | bn_bits_from_float(x));
    }
    return bn_float_from_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

/* Rounds half to even, keeps subnormals, overflows to infinity; any NaN becomes the quiet NaN 0x7e00 with its sign. */
static inline uint16_t bn_f16_from_f32(float x)
{
    uint32_t bits = bn_bits_from_float(x), sign = (bits >> 16) & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000)
        return (uint16_t)(sign | 0x7e00);
    if (magnitude >= 0x477ff000)                /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7c00);
    if (magnitude < 0x38800000) {               /* below 2^-14: the result is subnormal, a multiple of 2^-24 */
        float scaled = bn_float_from_bits(magnitude) * 0x1p24f;
        float rounded = (scaled + 0x1p23f) - 0x1p23f;
        return (uint16_t)(sign | (uint32_t)rounded);
    }
    magnitude += 0xfff + ((magnitude >> 13) & 1);
    return (uint16_t)(sign | ((magnitude >> 13) - (112 << 10)));
}

static inline float bn_f32_from_bf16(uint16_t b)
{
    return bn_float_from_bits((uint32_t)b << 16);
}

#endif
