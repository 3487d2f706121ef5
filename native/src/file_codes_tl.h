/* file_codes_tl.h: TL1 and TL2, the formats of files that are cut into tiles, to codes 0, 1, 2 for -1, 0, +1.
 *
 * Rows of such a tensor do not lie one after another, so the unit here is a run of columns of a run of rows.
 * docs/formats.md draws the tiles. */
#ifndef BN_FILE_CODES_TL_H
#define BN_FILE_CODES_TL_H

#include <stddef.h>
#include <stdint.h>

#include "bitnet.h"

/* A tensor whose tiling fits its shape and whose size fits both. */
typedef struct {
    const uint8_t *data;
    size_t rows, cols;
    size_t outer, tile, inner;      /* rows of an outer tile, cols of a tile, rows of an inner tile */
    size_t n_threes;                /* cols of TL2 that are stored three at a time: whole tiles */
    int is_tl2;
} bn_tiled;

/* Fills in `out` for n_bytes of codes, without padding and scale. rows and cols are at least 1, and rows * cols at most
 * SIZE_MAX / 8. Returns 0 if the format is not TL1 or TL2, the tiling does not fit the shape or n_bytes both. */
int bn_tiled_find(bn_pack_format format, const bn_tiling *tiling, const uint8_t *data, size_t n_bytes, size_t rows,
                  size_t cols, bn_tiled *out);

/* Codes of rows row..row + n_rows - 1 and cols col..col + n_cols - 1: codes [n_rows][stride]. row and n_rows are multiples
 * of 32, col is one of 24, n_cols too unless the run ends with the matrix. Returns 1 if something in the run stands for
 * no weights; codes are then without meaning. */
int bn_codes_tiled(const bn_tiled *source, size_t row, size_t n_rows, size_t col, size_t n_cols,
                   uint8_t *restrict codes, size_t stride);

#endif
