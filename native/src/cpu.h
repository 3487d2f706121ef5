/* cpu.h: the ISA names, in order of strength, and which of them this CPU runs. */
#ifndef BN_CPU_H
#define BN_CPU_H

#include <stdint.h>

/* Bundles, not single features:
 *   avx2       AVX2 + FMA + F16C           avxvnni    avx2 + AVX-VNNI
 *   avx512icl  avx2 + AVX-512 F/BW/DQ/VL + VNNI + VBMI (Ice Lake and later, Zen 4 and later)
 *   neon       Armv8.0                     dotprod    neon + sdot/udot          i8mm   dotprod + smmla */
typedef enum {
    BN_ISA_scalar = 0,
    BN_ISA_avx2,
    BN_ISA_avxvnni,
    BN_ISA_avx512icl,
    BN_ISA_neon,
    BN_ISA_dotprod,
    BN_ISA_i8mm,
    BN_ISA_COUNT
} bn_isa;

/* Bit 1 << isa for every ISA that this CPU and operating system can run. */
uint32_t bn_cpu_isas(void);

#endif
