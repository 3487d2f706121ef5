/* registers.h: how the AArch64 kernels keep small arrays of vectors in registers.
 *
 * An array stays in registers only if every index is a constant, so loops over one are unrolled whole: gcc needs to be
 * told at -O2, and clang only does it when the bound is a literal constant. */
#ifndef BN_REGISTERS_H
#define BN_REGISTERS_H

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

#endif
