/* dmat.h: the output head as the kernels read it. */
#ifndef BN_DMAT_H
#define BN_DMAT_H

#include "bitnet.h"
#include "dense_tiles.h"
#include "tmat.h"

struct bn_dmat {
    bn_type type;
    size_t rows, cols;
    size_t n_tiles, n_blocks, tile_bytes;       /* 0 for float types */
    const uint8_t *data;                        /* tiles, or the caller's rows for float types */
    uint8_t *tiles;                             /* the same, owned; NULL for float types */
    size_t n_bytes;                             /* of what is owned */
};

#endif
