/* tmat.h: a ternary matrix in one of the layouts that the kernels read (drawn in kernels.h). */
#ifndef BN_TMAT_H
#define BN_TMAT_H

#include "bitnet.h"
#include "chunk.h"
#include "kernels.h"

struct bn_tmat {
    size_t rows, cols;
    bn_layout layout;
    size_t n_tiles, n_blocks;       /* of 16 rows and 16 cols, the last ones padded; whole groups of l3 */
    size_t n_units, stride;         /* tiles, rows, cols or slabs, and the bytes of each */
    float scale;
    uint8_t *weights;               /* n_units * stride bytes */
    size_t n_bytes;
    bn_chunk *chunk;                /* holds the weights */
};

static inline size_t bn_div_up(size_t a, size_t b)
{
    return (a + b - 1) / b;
}

#endif
