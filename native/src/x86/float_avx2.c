/* float_avx2.c: RoPE, attention, softmax, gated activations and the conversion to f16 with AVX2.
 *
 * Leans on VMULPS, VADDPS, VSUBPS (latency 3-4, two a cycle; no FMA, which rounds once where the scalar file rounds
 * twice), VADDSUBPS for the interleaved RoPE, VCVTPH2PS and VCVTPS2PH (F16C), VDIVPS, and VMAXPS and VMINPS, which are
 * a > b ? a : b and a < b ? a : b to the letter, NaNs included. The bodies are in float_x86.h
 * and attention_x86.h. */
#include "group_avx2.h"

enum { TILE_ROWS = 6 };      /* 12 registers of sums, two of the slab, a row, a product */

#include "attention_x86.h"
#include "float_x86.h"
