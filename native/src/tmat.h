/* tmat.h: a ternary matrix in the layout t2 that the kernels read (drawn in kernels.h). */
#ifndef BN_TMAT_H
#define BN_TMAT_H

#include "bitnet.h"
#include "kernels.h"

struct bn_tmat {
    size_t rows, cols;
    size_t n_tiles, n_blocks;
    float scale;
    uint8_t *tiles;         /* n_tiles * n_blocks * BN_BLOCK_BYTES */
    size_t n_bytes;
};

static inline size_t bn_div_up(size_t a, size_t b)
{
    return (a + b - 1) / b;
}

#endif
