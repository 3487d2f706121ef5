/* quant_avx512icl.c: RMSNorm, int8 quantisation and descaling with AVX-512.
 *
 * Leans on VMULPS and VADDPS zmm (latency 3-4; no FMA, which rounds once where the scalar file rounds twice), VDIVPS,
 * VCVTPS2DQ (rounds half to even), VPMOVDB, masked loads and stores for tails, and VMAXPS and VMINPS, which are
 * a > b ? a : b and a < b ? a : b to the letter, NaNs included. The bodies are in quant_x86.h. */
#include "group_avx512icl.h"

#include "quant_x86.h"
