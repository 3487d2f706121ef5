/* probe_i8mm.c: how fast int8 numbers are multiplied with the matrix instructions of Armv8.6.
 *
 * Leans on SMMLA: 2 x 8 numbers times 8 x 2, 32 products. Both operands hold the same eight numbers twice, so the four
 * lanes of an accumulator stand for four of the chains that the contract counts. */
#include <arm_neon.h>

#include "../kernels.h"
#include "../unroll.h"

enum { EIGHTS = 8, LANES = 4, CHAINS = BN_PROBE_PRODUCTS / 64 / LANES };

uint32_t bn_probe_int8__i8mm(const uint8_t *codes, const int8_t *q, size_t n_steps)
{
    int32x4_t acc[EIGHTS];
    int8x16_t c[EIGHTS], x[EIGHTS];
    UNROLL
    for (size_t k = 0; k < EIGHTS; k++) {
        int8x8_t eight = vreinterpret_s8_u8(vld1_u8(codes + 8 * k));
        c[k] = vcombine_s8(eight, eight);
        x[k] = vcombine_s8(vld1_s8(q + 8 * k), vld1_s8(q + 8 * k));
        acc[k] = vdupq_n_s32(0);
    }
    for (size_t i = 0; i < n_steps * CHAINS; i++)
        UNROLL
        for (size_t k = 0; k < EIGHTS; k++)     /* asm so that the compiler neither copies nor regroups */
            __asm__("smmla %0.4s, %1.16b, %2.16b" : "+w"(acc[k]) : "w"(c[k]), "w"(x[k]));
    uint32x4_t all = vdupq_n_u32(0);
    UNROLL
    for (size_t k = 0; k < EIGHTS; k++)
        all = vaddq_u32(all, vreinterpretq_u32_s32(acc[k]));
    return vaddvq_u32(all);
}
