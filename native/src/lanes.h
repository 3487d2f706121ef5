/* lanes.h: the sum over 16 virtual lanes that fixes the order of every float reduction.
 *
 * Included by the scalar reference; the vector files hold the same lanes in registers. */
#ifndef BN_LANES_H
#define BN_LANES_H

#include <stddef.h>

enum { BN_LANES = 16 };

/* Folds the lanes: l and l+8, l and l+4, l+2, l+1. */
static inline float bn_lanes_sum(const float lane[BN_LANES])
{
    float a[BN_LANES];
    for (size_t l = 0; l < BN_LANES; l++)
        a[l] = lane[l];
    for (size_t half = BN_LANES / 2; half > 0; half /= 2)
        for (size_t l = 0; l < half; l++)
            a[l] = a[l] + a[l + half];
    return a[0];
}

#endif
