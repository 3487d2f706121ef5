/* dmat.c: packs the rows of a head into the tiles of dense_tiles.h, in memory that may use huge pages, and back.
 *
 * Rows of floats stay as they are, but move too: a mapped file cannot have huge pages, and from them a core reads an
 * f16 head 12 % faster (two cores, near what memory gives, 2 to 7 %). Codes are moved four cols at a time as words;
 * their byte order does not matter, because every operation keeps bytes apart. */
#include "dmat.h"

#include <stdlib.h>
#include <string.h>

#include "ctx.h"
#include "entries.h"
#include "os.h"
#include "unroll.h"

enum { MAX_COLS = 1 << 22, BLOCK_WORDS = 64 };      /* at most 256 cols in a block */

/* The rows of a new matrix, as GGUF stores them or as trits. */
typedef struct {
    bn_dmat *mat;
    bn_ctx *ctx;
    const uint8_t *rows;
    const bn_tmat *trits;       /* or NULL */
    uint8_t *scratch;           /* per thread: BN_TILE_ROWS rows and a panel of trits */
    size_t scratch_bytes;
    size_t row_bytes;
} pack_job;

static uint32_t load_word(const uint8_t *p)
{
    uint32_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

/* Four codes of 2 bits, a byte each, in one byte from the low bits up. */
static uint8_t byte_of_four(uint32_t codes)
{
    return (uint8_t)(codes | codes >> 6 | codes >> 12 | codes >> 18);
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
    } else if (type == BN_TYPE_Q2_0) {
        for (size_t i = 0; i < 16; i++) {
            uint32_t four = block[2 + i];
            codes[i] = (four | four << 6 | four << 12 | four << 18) & 0x03030303;
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
    } else if (type == BN_TYPE_Q2_0) {
        n_lines = 4;
        for (size_t i = 0; i < n_lines; i++)
            lines[i] = codes[4 * i] | codes[4 * i + 1] << 2 | codes[4 * i + 2] << 4 | codes[4 * i + 3] << 6;
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
    case BN_TYPE_Q2_0: pack_row_of(BN_TYPE_Q2_0, mat, row, r, tile); break;
    default: pack_row_of(BN_TYPE_Q6_K, mat, row, r, tile);
    }
}

/* ---- From trits ---- */

enum { PANEL_BLOCKS = 48 };     /* of 16 cols: whole groups of every layout, whole blocks of q2_0 */

/* Where the four codes 0..2 of cols 4*i.. of a row lie in a panel of one tile, which begins with the row. */
static const uint8_t *four_codes(const uint8_t *panel, size_t i)
{
    return panel + 4 * BN_TILE_ROWS * i;
}

/* n values trit * scale as floats of 4 or 2 bytes. */
static void write_floats(bn_type type, const uint8_t *panel, size_t n, float scale, uint8_t *out)
{
    for (size_t c = 0; c < n; c++) {
        float value = (float)(four_codes(panel, c / 4)[c % 4] - 1) * scale;
        if (type == BN_TYPE_F32)
            memcpy(out + c * sizeof value, &value, sizeof value);
        else
            bn_f16_from_f32__scalar(&value, 1, (uint16_t *)(void *)(out + c * sizeof(uint16_t)));
    }
}

/* n values as blocks of q2_0, whose codes are those of trits. */
static void write_q2_0(const uint8_t *panel, size_t n, float scale, uint8_t *block)
{
    uint16_t d;
    bn_f16_from_f32__scalar(&scale, 1, &d);
    for (size_t i = 0; i < n / 4; i += 16, block += 18) {
        memcpy(block, &d, sizeof d);
        for (size_t k = 0; k < 16; k++)
            block[2 + k] = byte_of_four(load_word(four_codes(panel, i + k)));
    }
}

/* Rows row..row+n_rows-1, all of one tile, as GGUF stores them. */
static const uint8_t *rows_of_trits(const pack_job *job, size_t row, size_t n_rows, uint8_t *scratch)
{
    const bn_tmat *from = job->trits;
    bn_type type = job->mat->type;
    uint8_t *panel = scratch + job->scratch_bytes - PANEL_BLOCKS * 256;
    size_t most = from->group_blocks ? from->group_blocks : PANEL_BLOCKS;
    for (size_t first = 0; first < from->n_blocks; first += most) {
        size_t n = from->n_blocks - first < most ? from->n_blocks - first : most, col = first * BN_BLOCK_COLS;
        size_t left = from->cols - col, n_cols = left < n * BN_BLOCK_COLS ? left : n * BN_BLOCK_COLS;
        bn_tmat_panel(from, &job->ctx->kernels, row / BN_TILE_ROWS, first, n, panel);
        for (size_t r = 0; r < n_rows; r++) {
            float scale = bn_tmat_scale(from, row + r, col);
            uint8_t *out = scratch + r * job->row_bytes + bn_type_row_bytes(type, col);
            if (type == BN_TYPE_Q2_0)
                write_q2_0(panel + 4 * r, n_cols, scale, out);
            else
                write_floats(type, panel + 4 * r, n_cols, scale, out);
        }
    }
    return scratch;
}

/* Rows that pad the last tile stay zero: their scales are +0. */
static void pack_tiles(void *arg, int32_t thread)
{
    const pack_job *job = arg;
    const bn_dmat *mat = job->mat;
    uint8_t *scratch = job->scratch + (size_t)thread * job->scratch_bytes;
    for (int64_t next; (next = bn_pool_next(job->ctx->pool, thread, (int64_t)mat->n_tiles)) >= 0;) {
        size_t row = (size_t)next * BN_TILE_ROWS, left = mat->rows - row, n = left < BN_TILE_ROWS ? left : BN_TILE_ROWS;
        const uint8_t *rows = job->trits ? rows_of_trits(job, row, n, scratch) : job->rows + row * job->row_bytes;
        uint8_t *tile = mat->tiles + (size_t)next * mat->tile_bytes;
        if (mat->format.cols == 0)
            memcpy(tile, rows, n * job->row_bytes);
        for (size_t r = 0; r < n && mat->format.cols; r++)
            pack_row(mat, rows + r * job->row_bytes, r, tile);
    }
}

/* Packs what the job says into a new matrix. */
static bn_status pack(pack_job *job, bn_type type, size_t rows, size_t cols, bn_dmat **out)
{
    *out = NULL;
    if (!bn_pool_is_alive(job->ctx->pool))
        return BN_ERR_THREAD;
    bn_dmat *mat = calloc(1, sizeof *mat);
    if (!mat)
        return BN_ERR_NOMEM;
    bn_tile_format f = bn_tile_format_of(type);
    size_t n_blocks = f.cols ? cols / f.cols : 0, n_tiles = bn_div_up(rows, BN_TILE_ROWS);
    size_t tile_bytes = f.cols ? bn_tile_bytes(f, n_blocks) : BN_TILE_ROWS * job->row_bytes;
    *mat = (bn_dmat){type, rows, cols, f, n_tiles, n_blocks, tile_bytes, NULL, n_tiles * tile_bytes};
    mat->tiles = bn_os_pages_alloc(mat->n_bytes, 1);
    if (!mat->tiles) {
        free(mat);
        return BN_ERR_NOMEM;
    }
    job->mat = mat;
    bn_pool_run(job->ctx->pool, pack_tiles, job);
    *out = mat;
    return BN_OK;
}

bn_status bn_dmat_pack(bn_ctx *ctx, bn_type type, const void *data, size_t n_bytes, size_t rows, size_t cols,
                       bn_dmat **out)
{
    if (!ctx || !data || !out || rows == 0 || rows > INT32_MAX || cols == 0 || cols > MAX_COLS)
        return BN_ERR_ARG;
    size_t row_bytes = bn_type_row_bytes(type, cols);
    if (row_bytes == 0 || rows > SIZE_MAX / 4 / row_bytes || n_bytes != rows * row_bytes)
        return BN_ERR_ARG;
    pack_job job = {.ctx = ctx, .rows = data, .row_bytes = row_bytes};
    return pack(&job, type, rows, cols, out);
}

bn_status bn_dmat_from_tmat(bn_ctx *ctx, const bn_tmat *mat, bn_dmat **out)
{
    if (!ctx || !mat || !out || mat->rows > INT32_MAX)
        return BN_ERR_ARG;
    bn_type type = !bn_tmat_scales_are_f16(mat) ? BN_TYPE_F32 : mat->cols % 64 ? BN_TYPE_F16 : BN_TYPE_Q2_0;
    pack_job job = {.ctx = ctx, .trits = mat, .row_bytes = bn_type_row_bytes(type, mat->cols)};
    if (mat->rows > SIZE_MAX / 4 / job.row_bytes)
        return BN_ERR_ARG;
    job.scratch_bytes = bn_div_up(BN_TILE_ROWS * job.row_bytes, 64) * 64 + PANEL_BLOCKS * 256;
    *out = NULL;
    job.scratch = bn_os_pages_alloc((size_t)bn_ctx_n_threads(ctx) * job.scratch_bytes, 0);
    if (!job.scratch)
        return BN_ERR_NOMEM;
    bn_status status = pack(&job, type, mat->rows, mat->cols, out);
    bn_os_pages_free(job.scratch, (size_t)bn_ctx_n_threads(ctx) * job.scratch_bytes);
    return status;
}

/* ---- Back ---- */

/* The words that store_group spread over the lines of a group; the type is a constant where this is inlined. */
ALWAYS_INLINE void load_group(bn_type type, const uint8_t *at, uint32_t *codes)
{
    uint32_t lines[8];
    for (size_t i = 0; i < bn_tile_format_of(type).group_bytes / 64; i++)
        lines[i] = load_word(at + 64 * i);
    if (type == BN_TYPE_Q8_0) {
        memcpy(codes, lines, sizeof lines);
    } else if (type == BN_TYPE_Q4_0) {
        for (size_t i = 0; i < 8; i++)
            codes[i] = lines[i / 2] >> (i % 2 * 4) & 0x0f0f0f0f;
    } else if (type == BN_TYPE_Q2_0) {
        for (size_t i = 0; i < 16; i++)
            codes[i] = lines[i / 4] >> (i % 4 * 2) & 0x03030303;
    } else {
        codes[3] = 0;
        for (size_t i = 0; i < 3; i++) {
            codes[i] = lines[i] & 0x3f3f3f3f;
            codes[3] |= (lines[i] >> 6 & 0x03030303) << (2 * i);
        }
    }
}

/* The reverse of block_codes. */
ALWAYS_INLINE void store_codes(bn_type type, const uint32_t codes[BLOCK_WORDS], uint8_t *block)
{
    uint32_t words[BLOCK_WORDS] = {0};
    if (type == BN_TYPE_Q8_0) {
        for (size_t i = 0; i < 8; i++)
            words[i] = codes[i] ^ 0x80808080;
        memcpy(block + 2, words, 32);
    } else if (type == BN_TYPE_Q4_0) {
        for (size_t i = 0; i < 4; i++)
            words[i] = codes[i] | codes[4 + i] << 4;
        memcpy(block + 2, words, 16);
    } else if (type == BN_TYPE_Q2_0) {
        for (size_t i = 0; i < 16; i++)
            block[2 + i] = byte_of_four(codes[i]);
    } else {
        for (size_t i = 0; i < 64; i++) {
            size_t half = i / 32, g = i / 8 % 4;
            words[16 * half + 8 * (g % 2) + i % 8] |= (codes[i] & 0x0f0f0f0f) << (g < 2 ? 0 : 4);
            words[32 + 8 * half + i % 8] |= (codes[i] >> 4 & 0x03030303) << (2 * g);
        }
        memcpy(block, words, 192);
    }
}

/* Block b of row r of a tile. */
ALWAYS_INLINE void block_of(bn_type type, const uint8_t *tile, size_t r, size_t b, uint8_t *block)
{
    const bn_tile_format f = bn_tile_format_of(type);
    const uint8_t *in = tile + bn_tile_block_at(f, b);
    size_t words = f.cols / f.n_groups / 4;
    uint32_t codes[BLOCK_WORDS];
    for (size_t g = 0; g < f.n_groups; g++) {
        load_group(type, in + f.sc_bytes + g * f.group_bytes + 4 * r, codes + g * words);
        if (f.sc_bytes)
            block[192 + g] = in[BN_TILE_ROWS * g + r];
    }
    store_codes(type, codes, block);
    memcpy(f.sc_bytes ? block + 208 : block, tile + bn_tile_scales_at(f, b) + 2 * r, 2);
}

void bn_dmat_part(const bn_dmat *mat, size_t row, size_t block, uint8_t *part)
{
    const uint8_t *tile = mat->tiles + row / BN_TILE_ROWS * mat->tile_bytes;
    size_t r = row % BN_TILE_ROWS, row_bytes = bn_type_row_bytes(mat->type, mat->cols);
    switch (mat->type) {
    case BN_TYPE_Q8_0: block_of(BN_TYPE_Q8_0, tile, r, block, part); break;
    case BN_TYPE_Q4_0: block_of(BN_TYPE_Q4_0, tile, r, block, part); break;
    case BN_TYPE_Q2_0: block_of(BN_TYPE_Q2_0, tile, r, block, part); break;
    case BN_TYPE_Q6_K: block_of(BN_TYPE_Q6_K, tile, r, block, part); break;
    default: memcpy(part, tile + r * row_bytes, row_bytes);
    }
}

bn_status bn_dmat_unpack(const bn_dmat *mat, void *data)
{
    if (!mat || !data)
        return BN_ERR_ARG;
    size_t cols = bn_dmat_part_cols(mat), bytes = bn_type_row_bytes(mat->type, cols), n = mat->cols / cols;
    for (size_t row = 0; row < mat->rows; row++)
        for (size_t block = 0; block < n; block++)
            bn_dmat_part(mat, row, block, (uint8_t *)data + (row * n + block) * bytes);
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
