/* registers.h: four activations as the number that x86 kernels broadcast. */
#ifndef BN_X86_REGISTERS_H
#define BN_X86_REGISTERS_H

#include <stdint.h>
#include <string.h>

#include "../unroll.h"

/* The four activations at q as one 32-bit number. */
ALWAYS_INLINE int32_t bn_four(const int8_t *q)
{
    int32_t four;
    memcpy(&four, q, sizeof four);
    return four;
}

#endif
