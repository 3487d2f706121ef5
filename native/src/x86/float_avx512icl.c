/* float_avx512icl.c: RoPE, attention, softmax, gated activations and the conversion to f16 with AVX-512.
 *
 * Leans on VMULPS, VADDPS, VSUBPS zmm (latency 3-4; no FMA, which rounds once where the scalar file rounds twice),
 * VCVTPH2PS, VCVTPS2PH, VDIVPS, masked loads and stores for tails, and VMAXPS and VMINPS, which are a > b ? a : b and
 * a < b ? a : b to the letter, NaNs included. The bodies are in float_x86.h
 * and attention_x86.h. */
#include "group_avx512icl.h"

enum { TILE_ROWS = 12 };     /* sums; with 8 or 16 rows the loop is slower */

#include "attention_x86.h"
#include "float_x86.h"
