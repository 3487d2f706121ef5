/* tmat.c: packs ternary weights into the layout t2 and back; the only bridge between a file's layout and a kernel's. */
#include "tmat.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "ctx.h"
#include "os.h"

enum {
    I2_S_BLOCK = 128,                       /* values of an I2_S block, 32 bytes */
    MAX_COLS = 1 << 22                      /* 2 * 128 * cols stays below 2^31: int32 sums are exact */
};
_Static_assert(2LL * 128 * MAX_COLS < 1LL << 31, "int32 sums of code * q");

typedef struct {
    const bn_tmat *mat;
    bn_pool *pool;
    bn_pack_format format;
    const uint8_t *data;
    atomic_int bad;                         /* a weight was not ternary */
} pack_job;

/* Where the four weights of (row r of the tile, block, byte j) lie. */
static uint8_t *block_row(const bn_tmat *mat, size_t row, size_t block)
{
    return mat->tiles + (row / BN_TILE_ROWS * mat->n_blocks + block) * BN_BLOCK_BYTES + row % BN_TILE_ROWS * 4;
}

/* One row of int8 trits. Returns 1 if one of them is not -1, 0 or +1. */
static int pack_row_trits(const bn_tmat *mat, size_t row, const int8_t *trits)
{
    int bad = 0;
    for (size_t block = 0; block < mat->n_blocks; block++) {
        uint8_t *out = block_row(mat, row, block);
        memset(out, 0x55, 4);
        size_t first = block * BN_BLOCK_COLS, n = mat->cols - first < BN_BLOCK_COLS ? mat->cols - first : BN_BLOCK_COLS;
        for (size_t i = 0; i < n; i++) {
            int code = trits[first + i] + 1;
            bad |= code < 0 || code > 2;
            unsigned shift = 2 * (unsigned)(i / 4);
            out[i % 4] = (uint8_t)((out[i % 4] & ~(3u << shift)) | (unsigned)(code & 3) << shift);
        }
    }
    return bad;
}

/* One row of I2_S codes, 16 at a time as four words of four bytes. Byte order does not matter: only byte lanes move. */
static int pack_row_i2_s(const bn_tmat *mat, size_t row, const uint8_t *codes)
{
    uint32_t bad = 0;
    for (size_t block = 0; block < mat->n_blocks; block++) {
        size_t col = block * BN_BLOCK_COLS;
        const uint8_t *from = codes + col / I2_S_BLOCK * 32 + col % 32;
        unsigned shift = 6 - 2 * (unsigned)(col % I2_S_BLOCK / 32);
        uint32_t packed = 0;
        for (unsigned f = 0; f < 4; f++) {
            uint32_t word;
            memcpy(&word, from + 4 * f, sizeof word);
            word = word >> shift & 0x03030303;
            bad |= word & word >> 1 & 0x01010101;
            packed |= word << (2 * f);
        }
        memcpy(block_row(mat, row, block), &packed, sizeof packed);
    }
    return bad != 0;
}

static void pack_tiles(void *arg, int32_t thread)
{
    pack_job *job = arg;
    const bn_tmat *mat = job->mat;
    (void)thread;
    for (int64_t tile; (tile = bn_pool_next(job->pool, (int64_t)mat->n_tiles)) >= 0;) {
        int bad = 0;
        for (size_t row = (size_t)tile * BN_TILE_ROWS, end = row + BN_TILE_ROWS; row < end; row++) {
            if (row >= mat->rows)
                for (size_t block = 0; block < mat->n_blocks; block++)
                    memset(block_row(mat, row, block), 0x55, 4);
            else if (job->format == BN_PACK_TRITS)
                bad |= pack_row_trits(mat, row, (const int8_t *)job->data + row * mat->cols);
            else
                bad |= pack_row_i2_s(mat, row, job->data + row * (mat->cols / 4));
        }
        if (bad)
            atomic_store_explicit(&job->bad, 1, memory_order_relaxed);
    }
}

/* Bytes of the source, or 0 if the shape is out of range for the format. */
static size_t source_bytes(bn_pack_format format, size_t rows, size_t cols)
{
    if (rows == 0 || cols == 0 || cols > MAX_COLS || rows > SIZE_MAX / 2 / cols)
        return 0;
    if (format == BN_PACK_TRITS)
        return rows * cols;
    return format == BN_PACK_I2_S && cols % I2_S_BLOCK == 0 ? rows * cols / 4 : 0;
}

bn_status bn_tmat_pack(bn_ctx *ctx, bn_pack_format format, const void *data, size_t n_bytes, size_t rows, size_t cols,
                       float scale, bn_tmat **out)
{
    if (!ctx || !data || !out || source_bytes(format, rows, cols) == 0 || n_bytes != source_bytes(format, rows, cols))
        return BN_ERR_ARG;
    *out = NULL;
    if (!bn_pool_is_alive(ctx->pool))
        return BN_ERR_THREAD;
    bn_tmat *mat = calloc(1, sizeof *mat);
    if (!mat)
        return BN_ERR_NOMEM;
    mat->rows = rows;
    mat->cols = cols;
    mat->n_tiles = bn_div_up(rows, BN_TILE_ROWS);
    mat->n_blocks = bn_div_up(cols, BN_BLOCK_COLS);
    mat->scale = scale;
    mat->n_bytes = mat->n_tiles * mat->n_blocks * BN_BLOCK_BYTES;
    mat->tiles = bn_os_pages_alloc(mat->n_bytes, 1);
    if (!mat->tiles) {
        free(mat);
        return BN_ERR_NOMEM;
    }
    pack_job job = {.mat = mat, .pool = ctx->pool, .format = format, .data = data};
    atomic_init(&job.bad, 0);
    bn_pool_run(ctx->pool, pack_tiles, &job);
    if (atomic_load(&job.bad)) {
        bn_tmat_free(mat);
        return BN_ERR_CODE;
    }
    *out = mat;
    return BN_OK;
}

bn_status bn_tmat_unpack(const bn_tmat *mat, int8_t *trits)
{
    if (!mat || !trits)
        return BN_ERR_ARG;
    for (size_t row = 0; row < mat->rows; row++)
        for (size_t col = 0; col < mat->cols; col++) {
            size_t i = col % BN_BLOCK_COLS;
            uint8_t byte = block_row(mat, row, col / BN_BLOCK_COLS)[i % 4];
            trits[row * mat->cols + col] = (int8_t)((byte >> (2 * (i / 4)) & 3) - 1);
        }
    return BN_OK;
}

void bn_tmat_free(bn_tmat *mat)
{
    if (!mat)
        return;
    bn_os_pages_free(mat->tiles, mat->n_bytes);
    free(mat);
}

size_t bn_tmat_rows(const bn_tmat *mat)
{
    return mat->rows;
}

size_t bn_tmat_cols(const bn_tmat *mat)
{
    return mat->cols;
}

size_t bn_tmat_bytes(const bn_tmat *mat)
{
    return mat->n_bytes;
}

void bn_count_codes(const uint8_t *data, size_t n_bytes, uint64_t *counts)
{
    uint64_t bytes[256] = {0};
    for (size_t i = 0; i < n_bytes; i++)
        bytes[data[i]]++;
    memset(counts, 0, 4 * sizeof *counts);
    for (unsigned value = 0; value < 256; value++)
        for (unsigned shift = 0; shift < 8; shift += 2)
            counts[value >> shift & 3] += bytes[value];
}
