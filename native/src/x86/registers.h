/* registers.h: what the ternary kernels of x86 share: four activations as the number that they broadcast, and how they ask
 * for rows and cols that lie anywhere. */
#ifndef BN_X86_REGISTERS_H
#define BN_X86_REGISTERS_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "../unroll.h"

/* The four activations at q as one 32-bit number. */
ALWAYS_INLINE int32_t bn_four(const int8_t *q)
{
    int32_t four;
    memcpy(&four, q, sizeof four);
    return four;
}

/* Rows of r2 and cols of c2 are units of n_lines lines of 64 bytes each, n of them named by an index. They are asked for
 * twice: early into the L2 cache, which can wait for several times more lines than L1, then from there into L1. */

/* Unit i; the last one stands in for those beyond. */
ALWAYS_INLINE const uint8_t *bn_unit(const uint8_t *units, size_t n_lines, const uint32_t *index, size_t i, size_t n)
{
    return units + index[i < n ? i : n - 1] * n_lines * 64;
}

/* Asks for units first..end-1, as far as they exist, into L2. */
ALWAYS_INLINE void bn_ask_for(const uint8_t *units, size_t n_lines, const uint32_t *index, size_t first, size_t end,
                              size_t n)
{
    for (size_t i = first; i < end && i < n; i++)
        for (size_t line = 0; line < n_lines; line++)
            _mm_prefetch((const char *)units + (index[i] * n_lines + line) * 64, _MM_HINT_T1);
}

#endif
