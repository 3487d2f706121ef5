/* dense_tiles.h: where things lie in a tile of a quantised head, the layout that dmat.c writes and the kernels read.
 *
 *   rows are grouped in tiles of 16, cols in blocks of the type's block: 256 (q6_k), 64 (q2_0) or 32
 *   (q8_0, q4_0);
 *   two blocks at a time: 64 bytes of scales, f16 d[2][16 rows], then the blocks, the second one only if it exists;
 *   a block: for q6_k first its sub-scales, int8 sc[16 groups][16 rows]; then its groups of codes. The cols of a group
 *   share a scale: 16 cols of q6_k, the whole block of the others.
 * In a group, line i is 64 bytes; byte 4*r + j of it belongs to row r = 0..15 and, in its field f, to col 4*f + j:
 *   q8_0: line f holds field f, f = 0..7, a code 0..255 which is the value + 128;
 *   q4_0: line i = 0..3 holds field 2*i in the low nibble and field 2*i + 1 in the high one, codes 0..15, value + 8;
 *   q2_0: line i = 0..3 holds fields 4*i.. 4*i + 3 from the low bits up, codes 0..3, value + 1;
 *   q6_k: line i = 0..2 holds field i in its low 6 bits; bits 6 and 7 are bits 2*i and 2*i + 1 of field 3; value + 32.
 * So a row is a lane of a register, a field of 16 rows meets four activations that all rows share, and a tile is read
 * from its first byte to its last. Tiles take the bytes of the file's rows; an odd last block adds 32. */
#ifndef BN_DENSE_TILES_H
#define BN_DENSE_TILES_H

#include "bitnet.h"
#include "kernels.h"

typedef struct {
    size_t cols;            /* of a block */
    size_t n_groups;        /* of a block */
    size_t group_bytes;     /* codes of 16 rows */
    size_t sc_bytes;        /* sub-scales of 16 rows, in front of a block's codes */
    int32_t bias;           /* what a code is above its value */
} bn_tile_format;

/* The format of a type that has tiles; cols is 0 for the others. A constant where the type is one. */
static inline bn_tile_format bn_tile_format_of(bn_type type)
{
    switch (type) {
    case BN_TYPE_Q8_0: return (bn_tile_format){.cols = 32, .n_groups = 1, .group_bytes = 512, .bias = 128};
    case BN_TYPE_Q4_0: return (bn_tile_format){.cols = 32, .n_groups = 1, .group_bytes = 256, .bias = 8};
    case BN_TYPE_Q2_0: return (bn_tile_format){.cols = 64, .n_groups = 1, .group_bytes = 256, .bias = 1};
    case BN_TYPE_Q6_K:
        return (bn_tile_format){.cols = 256, .n_groups = 16, .group_bytes = 192, .sc_bytes = 256, .bias = 32};
    default: return (bn_tile_format){0};
    }
}

enum { BN_TILE_SCALE_BYTES = 2 * BN_TILE_ROWS * 2 };        /* of two blocks */

static inline size_t bn_tile_block_bytes(bn_tile_format f)
{
    return f.sc_bytes + f.n_groups * f.group_bytes;
}

/* From the first byte of a tile to its block `block`: sub-scales, if any, and codes. */
static inline size_t bn_tile_block_at(bn_tile_format f, size_t block)
{
    return block * bn_tile_block_bytes(f) + (block / 2 + 1) * BN_TILE_SCALE_BYTES;
}

/* From the first byte of a tile to the f16 d[16] of block `block`. */
static inline size_t bn_tile_scales_at(bn_tile_format f, size_t block)
{
    return bn_tile_block_at(f, block & ~(size_t)1) - BN_TILE_SCALE_BYTES + block % 2 * (BN_TILE_SCALE_BYTES / 2);
}

static inline size_t bn_tile_bytes(bn_tile_format f, size_t n_blocks)
{
    return n_blocks * bn_tile_block_bytes(f) + (n_blocks + 1) / 2 * BN_TILE_SCALE_BYTES;
}

#endif
