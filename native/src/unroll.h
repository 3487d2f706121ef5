/* unroll.h: how vector kernels keep small arrays of vectors in registers.
 *
 * An array stays in registers only if every index is a constant, so loops over one are unrolled whole and the functions
 * around them are inlined where the counts are constants. Compilers need to be told, each in its own words. */
#ifndef BN_UNROLL_H
#define BN_UNROLL_H

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

#endif
