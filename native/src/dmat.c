/* dmat.c: packs the rows of a head into the tiles of dense_tiles.h, in memory that may use huge pages.
 *
 * Rows of floats stay as they are, but move too: a mapped file cannot have huge pages, and from them a core reads an
 * f16 head 12 % faster (two cores, near what memory gives, 2 to 7 %). Codes are moved four cols at a time as words;
 * their byte order does not matter, because every operation keeps bytes apart. */
#include "dmat.h"

#include <stdlib.h>
#include <string.h>

#include "ctx.h"
#include "os.h"
#include "unroll.h"

enum { MAX_COLS = 1 << 22, BLOCK_WORDS = 64 };      /* at most 256 cols in a block */

typedef struct {
    bn_dmat *mat;
    bn_pool *pool;
    const uint8_t *rows;
    size_t row_bytes;
} pack_job;

static uint32_t load_word(const uint8_t *p)
{
    uint32_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

/* The codes of one block of a row, four cols to a word. The block formats are drawn in scalar/dense_scalar.c. */
ALWAYS_INLINE void block_codes(bn_type type, const uint8_t *block, uint32_t codes[BLOCK_WORDS])
{
    if (type == BN_TYPE_Q8_0) {
        for (size_t i = 0; i < 8; i++)
            codes[i] = load_word(block + 2 + 4 * i) ^ 0x80808080;       /* the value + 128, byte by byte */
    } else if (type == BN_TYPE_Q4_0) {
        for (size_t i = 0; i < 4; i++) {
            uint32_t word = load_word(block + 2 + 4 * i);
            codes[i] = word & 0x0f0f0f0f;
            codes[4 + i] = word >> 4 & 0x0f0f0f0f;
        }
    } else {
        for (size_t half = 0; half < 2; half++)
            for (size_t g = 0; g < 4; g++)
                for (size_t i = 0; i < 8; i++) {
                    uint32_t low = load_word(block + 64 * half + 32 * (g % 2) + 4 * i) >> (g < 2 ? 0 : 4);
                    uint32_t high = load_word(block + 128 + 32 * half + 4 * i) >> (2 * g);
                    codes[32 * half + 8 * g + i] = (low & 0x0f0f0f0f) | (high & 0x03030303) << 4;
                }
    }
}

/* The words of one group into the lines of 64 bytes where row r has its four bytes `at`. */
ALWAYS_INLINE void store_group(bn_type type, const uint32_t *codes, uint8_t *at)
{
    uint32_t lines[8];
    size_t n_lines = 8;
    if (type == BN_TYPE_Q8_0) {
        memcpy(lines, codes, sizeof lines);
    } else if (type == BN_TYPE_Q4_0) {
        n_lines = 4;
        for (size_t i = 0; i < n_lines; i++)
            lines[i] = codes[2 * i] | codes[2 * i + 1] << 4;
    } else {
        n_lines = 3;
        for (size_t i = 0; i < n_lines; i++)
            lines[i] = codes[i] | (codes[3] >> (2 * i) & 0x03030303) << 6;
    }
    for (size_t i = 0; i < n_lines; i++)
        memcpy(at + 64 * i, &lines[i], sizeof lines[i]);
}

/* Row r of a tile. d stands at the end of a block of q6_k, after the sub-scales, and in front of the others. The type
 * is a constant where this is inlined. */
ALWAYS_INLINE void pack_row_of(bn_type type, const bn_dmat *mat, const uint8_t *block, size_t r, uint8_t *tile)
{
    const bn_tile_format f = bn_tile_format_of(type);
    size_t block_bytes = bn_type_row_bytes(type, f.cols), words = f.cols / f.n_groups / 4;
    for (size_t b = 0; b < mat->n_blocks; b++, block += block_bytes) {
        uint8_t *out = tile + bn_tile_block_at(f, b);
        uint32_t codes[BLOCK_WORDS];
        block_codes(type, block, codes);
        memcpy(tile + bn_tile_scales_at(f, b) + 2 * r, f.sc_bytes ? block + 208 : block, 2);
        for (size_t g = 0; g < f.n_groups; g++) {
            if (f.sc_bytes)
                out[BN_TILE_ROWS * g + r] = block[192 + g];
            store_group(type, codes + g * words, out + f.sc_bytes + g * f.group_bytes + 4 * r);
        }
    }
}

static void pack_row(const bn_dmat *mat, const uint8_t *row, size_t r, uint8_t *tile)
{
    switch (mat->type) {
    case BN_TYPE_Q8_0: pack_row_of(BN_TYPE_Q8_0, mat, row, r, tile); break;
    case BN_TYPE_Q4_0: pack_row_of(BN_TYPE_Q4_0, mat, row, r, tile); break;
    default: pack_row_of(BN_TYPE_Q6_K, mat, row, r, tile);
    }
}

/* Rows that pad the last tile stay zero: their scales are +0. */
static void pack_tiles(void *arg, int32_t thread)
{
    const pack_job *job = arg;
    const bn_dmat *mat = job->mat;
    for (int64_t next; (next = bn_pool_next(job->pool, thread, (int64_t)mat->n_tiles)) >= 0;) {
        size_t row = (size_t)next * BN_TILE_ROWS, left = mat->rows - row, n = left < BN_TILE_ROWS ? left : BN_TILE_ROWS;
        const uint8_t *rows = job->rows + row * job->row_bytes;
        uint8_t *tile = mat->tiles + (size_t)next * mat->tile_bytes;
        if (mat->format.cols == 0)
            memcpy(tile, rows, n * job->row_bytes);
        for (size_t r = 0; r < n && mat->format.cols; r++)
            pack_row(mat, rows + r * job->row_bytes, r, tile);
    }
}

bn_status bn_dmat_pack(bn_ctx *ctx, bn_type type, const void *data, size_t n_bytes, size_t rows, size_t cols,
                       bn_dmat **out)
{
    if (!ctx || !data || !out || rows == 0 || rows > INT32_MAX || cols == 0 || cols > MAX_COLS)
        return BN_ERR_ARG;
    size_t row_bytes = bn_type_row_bytes(type, cols);
    if (row_bytes == 0 || rows > SIZE_MAX / 4 / row_bytes || n_bytes != rows * row_bytes)
        return BN_ERR_ARG;
    *out = NULL;
    if (!bn_pool_is_alive(ctx->pool))
        return BN_ERR_THREAD;
    bn_dmat *mat = calloc(1, sizeof *mat);
    if (!mat)
        return BN_ERR_NOMEM;
    bn_tile_format f = bn_tile_format_of(type);
    size_t n_blocks = f.cols ? cols / f.cols : 0, n_tiles = bn_div_up(rows, BN_TILE_ROWS);
    size_t tile_bytes = f.cols ? bn_tile_bytes(f, n_blocks) : BN_TILE_ROWS * row_bytes;
    *mat = (bn_dmat){type, rows, cols, f, n_tiles, n_blocks, tile_bytes, NULL, n_tiles * tile_bytes};
    mat->tiles = bn_os_pages_alloc(mat->n_bytes, 1);
    if (!mat->tiles) {
        free(mat);
        return BN_ERR_NOMEM;
    }
    pack_job job = {mat, ctx->pool, data, row_bytes};
    bn_pool_run(ctx->pool, pack_tiles, &job);
    *out = mat;
    return BN_OK;
}

void bn_dmat_free(bn_dmat *mat)
{
    if (!mat)
        return;
    bn_os_pages_free(mat->tiles, mat->n_bytes);
    free(mat);
}

bn_type bn_dmat_type(const bn_dmat *mat)
{
    return mat->type;
}

size_t bn_dmat_rows(const bn_dmat *mat)
{
    return mat->rows;
}

size_t bn_dmat_cols(const bn_dmat *mat)
{
    return mat->cols;
}

size_t bn_dmat_bytes(const bn_dmat *mat)
{
    return mat->n_bytes;
}
