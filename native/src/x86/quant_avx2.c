/* quant_avx2.c: RMSNorm, int8 quantisation and descaling with AVX2.
 *
 * Leans on VMULPS and VADDPS (latency 3-4, two a cycle; no FMA, which rounds once where the scalar file rounds twice),
 * VDIVPS, VCVTPS2DQ (rounds half to even), and VMAXPS and VMINPS, which are a > b ? a : b and a < b ? a : b to the
 * letter, NaNs included. The bodies are in quant_x86.h. */
#include "group_avx2.h"

#include "quant_x86.h"
