/* registers.h: how the x86 kernels keep small arrays of vectors in registers.
 *
 * An array stays in registers only if every index is a constant, so loops over one are unrolled whole. Compilers need
 * to be told, each in its own words. */
#ifndef BN_X86_REGISTERS_H
#define BN_X86_REGISTERS_H

#include <stdint.h>
#include <string.h>

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* The four activations at q as one 32-bit number. */
ALWAYS_INLINE int32_t bn_four(const int8_t *q)
{
    int32_t four;
    memcpy(&four, q, sizeof four);
    return four;
}

#endif
