/* dmat.h: the output head as the kernels read it. */
#ifndef BN_DMAT_H
#define BN_DMAT_H

#include "bitnet.h"
#include "dense_tiles.h"
#include "tmat.h"

struct bn_dmat {
    bn_type type;
    size_t rows, cols;
    bn_tile_format format;      /* cols is 0 for types of floats: their tiles are 16 rows as in the file */
    size_t n_tiles, n_blocks, tile_bytes;
    uint8_t *tiles;
    size_t n_bytes;
};

/* Part of a row as GGUF stores it: its block `block`, or all of it for types of floats. */
void bn_dmat_part(const bn_dmat *mat, size_t row, size_t block, uint8_t *part);
/* Values of such a part. */
static inline size_t bn_dmat_part_cols(const bn_dmat *mat)
{
    return mat->format.cols ? mat->format.cols : mat->cols;
}

#endif
