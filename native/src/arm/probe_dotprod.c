/* probe_dotprod.c: how fast int8 numbers are multiplied with the dot product of Armv8.2.
 *
 * Leans on SDOT (16 products, four of them added to each int32 lane): 16 of them do not wait for each other. */
#include <arm_neon.h>

#include "../kernels.h"
#include "../unroll.h"

enum { PARTS = 4, PART_BYTES = 16, CHAINS = BN_PROBE_PRODUCTS / 64 };

uint32_t bn_probe_int8__dotprod(const uint8_t *codes, const int8_t *q, size_t n_steps)
{
    int32x4_t acc[CHAINS];
    int8x16_t c[PARTS], x[PARTS];
    UNROLL
    for (size_t k = 0; k < PARTS; k++) {
        c[k] = vreinterpretq_s8_u8(vld1q_u8(codes + PART_BYTES * k));
        x[k] = vld1q_s8(q + PART_BYTES * k);
    }
    UNROLL
    for (size_t k = 0; k < CHAINS; k++)
        acc[k] = vdupq_n_s32(0);
    for (size_t i = 0; i < n_steps; i++)
        UNROLL
        for (size_t part = 0; part < PARTS; part++)
            UNROLL
            for (size_t k = 0; k < CHAINS; k++) /* asm so that the compiler neither copies nor regroups */
                __asm__("sdot %0.4s, %1.16b, %2.16b" : "+w"(acc[k]) : "w"(c[part]), "w"(x[part]));
    UNROLL
    for (size_t k = 1; k < CHAINS; k++)
        acc[0] = vreinterpretq_s32_u32(vaddq_u32(vreinterpretq_u32_s32(acc[0]), vreinterpretq_u32_s32(acc[k])));
    return (uint32_t)vaddvq_s32(acc[0]);
}
