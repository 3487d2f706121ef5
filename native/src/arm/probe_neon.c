/* probe_neon.c: how fast memory is read and int8 numbers are multiplied with Armv8.0.
 *
 * Leans on 16-byte loads and on SMLAL and SMLAL2 (8 products each, added to int16 lanes): the ternary kernels, too,
 * widen to int32 only now and then. */
#include <arm_neon.h>

#include "../kernels.h"
#include "../unroll.h"

enum { PARTS = 4, PART_BYTES = 16, CHAINS = 4, REPEATS = BN_PROBE_PRODUCTS / 64 / CHAINS };

/* BOUND: codes are 0..2, so a product is at least 2 * -128 = -256; a lane takes two of them for each of REPEATS * PARTS
 * registers per step. */
enum { FOLD_STEPS = 4 };
_Static_assert(FOLD_STEPS * REPEATS * PARTS * 2 * 2 * -128 >= INT16_MIN, "sums between two foldings fit int16");

uint64_t bn_probe_read__neon(const uint8_t *data, size_t n_lines)
{
    uint8x16_t acc[2][PARTS];
    UNROLL
    for (size_t k = 0; k < PARTS; k++)
        acc[0][k] = acc[1][k] = vdupq_n_u8(0);
    for (size_t i = 0; i < n_lines / 2 * 2; i += 2)
        UNROLL
        for (size_t line = 0; line < 2; line++) {
            const uint8_t *p = data + 64 * (i + line);
            __builtin_prefetch(p + BN_PROBE_AHEAD, 0, 2);
            UNROLL
            for (size_t k = 0; k < PARTS; k++)
                acc[line][k] = veorq_u8(acc[line][k], vld1q_u8(p + PART_BYTES * k));
        }
    if (n_lines % 2)
        UNROLL
        for (size_t k = 0; k < PARTS; k++)
            acc[0][k] = veorq_u8(acc[0][k], vld1q_u8(data + 64 * (n_lines - 1) + PART_BYTES * k));
    UNROLL
    for (size_t k = 0; k < PARTS; k++)
        acc[0][0] = veorq_u8(acc[0][0], k == 0 ? acc[1][0] : veorq_u8(acc[0][k], acc[1][k]));
    uint64x2_t words = vreinterpretq_u64_u8(acc[0][0]);
    return vgetq_lane_u64(words, 0) ^ vgetq_lane_u64(words, 1);
}

/* acc += codes . q. Asm lines because compilers may split SMLAL2 into a move and SMLAL. */
ALWAYS_INLINE int16x8_t add_products(int16x8_t acc, int8x16_t codes, int8x16_t q)
{
    __asm__("smlal %0.8h, %1.8b, %2.8b\n\tsmlal2 %0.8h, %1.16b, %2.16b" : "+w"(acc) : "w"(codes), "w"(q));
    return acc;
}

uint32_t bn_probe_int8__neon(const uint8_t *codes, const int8_t *q, size_t n_steps)
{
    int8x16_t c[PARTS], x[PARTS];
    int32x4_t wide = vdupq_n_s32(0);
    UNROLL
    for (size_t k = 0; k < PARTS; k++) {
        c[k] = vreinterpretq_s8_u8(vld1q_u8(codes + PART_BYTES * k));
        x[k] = vld1q_s8(q + PART_BYTES * k);
    }
    for (size_t first = 0; first < n_steps; first += FOLD_STEPS) {
        size_t n = n_steps - first < FOLD_STEPS ? n_steps - first : FOLD_STEPS;
        int16x8_t acc[CHAINS];
        UNROLL
        for (size_t k = 0; k < CHAINS; k++)
            acc[k] = vdupq_n_s16(0);
        for (size_t i = 0; i < n * REPEATS; i++)
            UNROLL
            for (size_t part = 0; part < PARTS; part++)
                UNROLL
                for (size_t k = 0; k < CHAINS; k++)
                    acc[k] = add_products(acc[k], c[part], x[part]);
        UNROLL
        for (size_t k = 0; k < CHAINS; k++)
            wide = vpadalq_s16(wide, acc[k]);
    }
    return (uint32_t)vaddvq_s32(wide);
}
