/* float_avx512icl.c: RoPE, softmax, gated activations and the conversion to f16 with AVX-512.
 *
 * Leans on VMULPS, VADDPS, VSUBPS zmm (latency 3-4; no FMA, which rounds once where the scalar file rounds twice),
 * VCVTPS2PH, VDIVPS, masked loads and stores for tails, and VMAXPS and VMINPS, which are a > b ? a : b and
 * a < b ? a : b to the letter, NaNs included. The bodies are in float_x86.h.
 *
 * Attention is left to float_avx2.c: VCVTPH2PS zmm takes 1.33 cycles on Zen 4, ymm from memory half a cycle, and the
 * same bodies over one register took a sixth to a third more time there. */
#include "group_avx512icl.h"

#include "float_x86.h"
