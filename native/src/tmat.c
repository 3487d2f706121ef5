/* tmat.c: packs ternary weights into the layouts of kernels.h and back; the only bridge between a file's layout and a
 * kernel's.
 *
 * Every format is first taken apart into codes, one to a byte, and every layout is made of codes: formats and layouts do
 * not know each other. The work is cut into pieces small enough for the L2 cache. */
#include "tmat.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "ctx.h"
#include "dispatch.h"
#include "entries.h"
#include "file_codes.h"
#include "file_codes_tl.h"

enum {
    MAX_COLS = 1 << 22,                     /* 2 * 128 * cols stays below 2^31: int32 sums are exact */
    PIECE_ROWS = BN_STRIP_ROWS,
    PIECE_COLS = 3 * BN_GROUP_COLS          /* whole blocks of every layout and format, whole threes of TL2 */
};
_Static_assert(2LL * 128 * MAX_COLS < 1LL << 31, "int32 sums of code * q");
_Static_assert(PIECE_COLS % BN_FILE_COLS == 0 && PIECE_COLS % BN_GROUP_COLS == 0 && PIECE_COLS % BN_LOOKUP_COLS == 0 &&
                   PIECE_COLS % 24 == 0 && PIECE_ROWS % BN_SLAB_ROWS == 0 && PIECE_ROWS % 32 == 0,
               "pieces are whole");
_Static_assert(PIECE_COLS % 256 == 0 && PIECE_ROWS % BN_SLAB_ROWS == 0, "pieces hold whole groups of g2");

/* Codes of one piece; what lies outside of the matrix is code 1. */
typedef struct {
    uint8_t at[PIECE_ROWS][PIECE_COLS];
} code_piece;

/* A tensor as it lies in a file. */
typedef struct {
    bn_pack_format format;
    const uint8_t *data;
    size_t row_bytes;                       /* of a row, its scale included */
    size_t row_scale;                       /* bytes of the scale in front of a row's blocks */
    bn_tiled tiled;                         /* of TL1 and TL2, instead of rows */
} file_rows;

typedef struct {
    const bn_tmat *mat;
    bn_pool *pool;
    file_rows source;
    const uint8_t *scales;                  /* [rows][n_groups] as g2 holds them, or NULL */
    code_piece *scratch;                    /* one per thread */
    atomic_int bad;                         /* a weight was not ternary */
} pack_job;

/* ---- From a format to codes ---- */

static int is_tiled(bn_pack_format format)
{
    return format == BN_PACK_TL1 || format == BN_PACK_TL2;
}

/* n codes of one row from col on, both multiples of what the format codes together. Returns 1 if a weight is not
 * ternary. */
static int read_row(const file_rows *source, size_t row, size_t col, size_t n, uint8_t *codes)
{
    const uint8_t *blocks = source->data + row * source->row_bytes + source->row_scale;
    switch (source->format) {
    case BN_PACK_TRITS: return bn_codes_trits((const int8_t *)blocks, col, n, codes);
    case BN_PACK_I2_S: return bn_codes_i2_s(blocks, col, n, codes);
    case BN_PACK_I2_S_ARM: return bn_codes_i2_s_arm(blocks, col, n, codes);
    case BN_PACK_TQ1_0: return bn_codes_tq1_0(blocks, col, n, codes);
    case BN_PACK_TQ2_0: return bn_codes_tq2_0(blocks, col, n, codes);
    case BN_PACK_IQ1_BN: return bn_codes_iq1_bn(blocks, col, n, codes);
    case BN_PACK_IQ2_BN: return bn_codes_iq2_bn(blocks, col, n, codes);
    case BN_PACK_IQ2_BN_R4:                 /* four rows, and in front of them four scales */
        blocks = source->data + row / 4 * 4 * source->row_bytes + 4 * source->row_scale;
        return bn_codes_iq2_bn_r4(blocks, row % 4, col, n, codes);
    case BN_PACK_Q2_0: return bn_codes_q2_0(blocks, col, n, codes);
    default: return 1;
    }
}

/* Rows row.. and cols col.. of the source. Returns 1 if a weight is not ternary. */
static int read_piece(const pack_job *job, size_t row, size_t col, code_piece *piece)
{
    const bn_tmat *mat = job->mat;
    size_t n_rows = mat->rows - row < PIECE_ROWS ? mat->rows - row : PIECE_ROWS;
    size_t n_cols = mat->cols - col < PIECE_COLS ? mat->cols - col : PIECE_COLS;
    int bad = 0, tiled = is_tiled(job->source.format);
    for (size_t r = 0; r < n_rows; r++) {
        memset(piece->at[r] + n_cols, 1, PIECE_COLS - n_cols);
        if (!tiled)
            bad |= read_row(&job->source, row + r, col, n_cols, piece->at[r]);
    }
    if (tiled)
        bad = bn_codes_tiled(&job->source.tiled, row, n_rows, col, n_cols, piece->at[0], PIECE_COLS);
    memset(piece->at[n_rows], 1, (PIECE_ROWS - n_rows) * PIECE_COLS);
    return bad;
}

/* ---- From codes to a layout ---- */

/* Eight codes, each in its byte: shifting them all left by up to 6 moves none into its neighbour. */
static uint64_t eight(const uint8_t *codes)
{
    uint64_t word;
    memcpy(&word, codes, sizeof word);
    return word;
}

/* Sixteen codes of a row as the word of t2: fields 0 and 2 in four bytes, 1 and 3 in the other four, in the order of
 * memory. */
static uint32_t t2_word(const uint8_t *codes)
{
    uint64_t both = eight(codes) | eight(codes + 8) << 4;
    uint32_t half[2];
    memcpy(half, &both, sizeof half);
    return half[0] | half[1] << 2;
}

static void write_t2(const bn_tmat *mat, const code_piece *piece, size_t row, size_t col)
{
    size_t n_tiles = mat->n_tiles - row / BN_TILE_ROWS, n_blocks = mat->n_blocks - col / BN_BLOCK_COLS;
    n_tiles = n_tiles < PIECE_ROWS / BN_TILE_ROWS ? n_tiles : PIECE_ROWS / BN_TILE_ROWS;
    n_blocks = n_blocks < PIECE_COLS / BN_BLOCK_COLS ? n_blocks : PIECE_COLS / BN_BLOCK_COLS;
    for (size_t r = 0; r < n_tiles * BN_TILE_ROWS; r++) {
        uint8_t *out = mat->weights + (row + r) / BN_TILE_ROWS * mat->stride + col / BN_BLOCK_COLS * BN_BLOCK_BYTES +
                       r % BN_TILE_ROWS * 4;
        for (size_t block = 0; block < n_blocks; block++) {
            uint32_t word = t2_word(piece->at[r] + 16 * block);
            memcpy(out + block * BN_BLOCK_BYTES, &word, sizeof word);
        }
    }
}

/* Codes and scales; rows that pad the last slab have scales of 0. */
static void write_g2(const bn_tmat *mat, const code_piece *piece, size_t row, size_t col, const uint8_t *scales)
{
    size_t n = mat->group_blocks, group_cols = n * BN_BLOCK_COLS, first = col / group_cols;
    size_t scale_bytes = mat->group_scale_bytes;
    size_t n_rows = mat->n_units * BN_SLAB_ROWS - row, n_groups = mat->n_groups - first;
    n_rows = n_rows < PIECE_ROWS ? n_rows : PIECE_ROWS;
    n_groups = n_groups < PIECE_COLS / group_cols ? n_groups : PIECE_COLS / group_cols;
    for (size_t r = 0; r < n_rows; r++)
        for (size_t g = 0; g < n_groups; g++) {
            size_t slab = (row + r) / BN_SLAB_ROWS, at = r % BN_SLAB_ROWS, group = first + g;
            uint8_t *out =
                bn_tmat_group(mat, slab, group) + at / BN_TILE_ROWS * n * BN_BLOCK_BYTES + at % BN_TILE_ROWS * 4;
            for (size_t block = 0; block < n; block++) {
                uint32_t word = t2_word(piece->at[r] + g * group_cols + 16 * block);
                memcpy(out + block * BN_BLOCK_BYTES, &word, sizeof word);
            }
            uint8_t *scale = bn_tmat_group_scales(mat, slab, group, at);
            if (row + r < mat->rows)
                memcpy(scale, scales + ((row + r) * mat->n_groups + group) * scale_bytes, scale_bytes);
            else
                memset(scale, 0, scale_bytes);
        }
}

static void write_r2(const bn_tmat *mat, const code_piece *piece, size_t row, size_t col)
{
    size_t n_rows = mat->n_units - row < PIECE_ROWS ? mat->n_units - row : PIECE_ROWS;
    size_t left = mat->stride / 64 - col / BN_GROUP_COLS;
    size_t n_groups = left < PIECE_COLS / BN_GROUP_COLS ? left : PIECE_COLS / BN_GROUP_COLS;
    for (size_t r = 0; r < n_rows; r++)
        for (size_t group = 0; group < n_groups; group++) {
            const uint8_t *codes = piece->at[r] + BN_GROUP_COLS * group;
            uint8_t *out = mat->weights + (row + r) * mat->stride + (col / BN_GROUP_COLS + group) * 64;
            for (size_t p = 0; p < 64; p += 8) {
                uint64_t word = eight(codes + p) | eight(codes + 64 + p) << 2 | eight(codes + 128 + p) << 4 |
                                eight(codes + 192 + p) << 6;
                memcpy(out + p, &word, sizeof word);
            }
        }
}

static void write_c2(const bn_tmat *mat, const code_piece *piece, size_t row, size_t col)
{
    size_t n_cols = mat->n_units - col < PIECE_COLS ? mat->n_units - col : PIECE_COLS;
    uint8_t *strip = mat->weights + col * mat->stride + row / BN_STRIP_ROWS * 64;
    for (size_t r = 0; r < 64; r++) {
        size_t m = r / 16, l = r % 16 / 4, j = r % 4;
        uint8_t *out = strip + 16 * l + 4 * m + j;
        for (size_t c = 0; c < n_cols; c++)
            out[c * mat->stride] = (uint8_t)(piece->at[r][c] | piece->at[r + 64][c] << 2 | piece->at[r + 128][c] << 4 |
                                             piece->at[r + 192][c] << 6);
    }
}

/* Index of each n + 13 = 9*a + 3*b + c of three codes: its magnitude less 13, and a sign (kernels.h). */
static const uint8_t l3_index[27] = {29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 0,
                                     1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13};

/* Three codes to their index: the multiplication leaves 9*a + 3*b + c in the third byte, and nothing carries into it. */
static unsigned l3_index_of(const uint8_t *codes)
{
    uint32_t abc = codes[0] | (uint32_t)codes[1] << 8 | (uint32_t)codes[2] << 16;
    return l3_index[abc * 0x090301 >> 16 & 0xff];
}

static void write_l3(const bn_tmat *mat, const code_piece *piece, size_t row, size_t col)
{
    size_t n_rows = (mat->n_units - row / BN_SLAB_ROWS) * BN_SLAB_ROWS;
    size_t n_groups = (mat->n_blocks - col / BN_BLOCK_COLS) / 3;
    n_rows = n_rows < PIECE_ROWS ? n_rows : PIECE_ROWS;
    n_groups = n_groups < PIECE_COLS / BN_LOOKUP_COLS ? n_groups : PIECE_COLS / BN_LOOKUP_COLS;
    for (size_t r = 0; r < n_rows; r++) {
        uint8_t *out = mat->weights + (row + r) / BN_SLAB_ROWS * mat->stride + col / BN_LOOKUP_COLS * BN_LOOKUP_BYTES +
                       r % BN_SLAB_ROWS / 32 * 64 + r % 32 * 2;
        for (size_t group = 0; group < n_groups; group++, out += BN_LOOKUP_BYTES) {
            const uint8_t *codes = piece->at[r] + BN_LOOKUP_COLS * group;
            unsigned last = l3_index_of(codes + 45);
            for (size_t v = 0; v < 5; v++, codes += 9) {
                unsigned lane = l3_index_of(codes) | l3_index_of(codes + 3) << 5 | l3_index_of(codes + 6) << 10 |
                                (last >> v & 1) << 15;
                out[2 * v * 64] = (uint8_t)lane;
                out[2 * v * 64 + 1] = (uint8_t)(lane >> 8);
            }
        }
    }
}

static void pack_pieces(void *arg, int32_t thread)
{
    pack_job *job = arg;
    const bn_tmat *mat = job->mat;
    code_piece *piece = job->scratch + thread;
    size_t across = bn_div_up(mat->cols, PIECE_COLS), n = across * bn_div_up(mat->rows, PIECE_ROWS);
    for (int64_t next; (next = bn_pool_next(job->pool, thread, (int64_t)n)) >= 0;) {
        size_t row = (size_t)next / across * PIECE_ROWS, col = (size_t)next % across * PIECE_COLS;
        if (read_piece(job, row, col, piece)) {
            atomic_store_explicit(&job->bad, 1, memory_order_relaxed);
            continue;                           /* codes that do not exist have no index in l3 */
        }
        switch (mat->layout) {
        case BN_LAYOUT_T2: write_t2(mat, piece, row, col); break;
        case BN_LAYOUT_R2: write_r2(mat, piece, row, col); break;
        case BN_LAYOUT_C2: write_c2(mat, piece, row, col); break;
        case BN_LAYOUT_L3: write_l3(mat, piece, row, col); break;
        case BN_LAYOUT_G2: write_g2(mat, piece, row, col, job->scales); break;
        }
    }
}

/* ---- Life ---- */

/* Finds where the rows of the source lie. Returns 0 if the format cannot hold the shape, or not in n_bytes: then no row of
 * it may be read. */
static int find_rows(file_rows *source, size_t rows, size_t cols, const bn_tiling *tiling, size_t n_bytes)
{
    if (rows == 0 || cols == 0 || cols > MAX_COLS || rows > SIZE_MAX / 8 / cols || is_tiled(source->format) != !!tiling)
        return 0;
    if (tiling)
        return bn_tiled_find(source->format, tiling, source->data, n_bytes, rows, cols, &source->tiled);
    static const struct {
        uint16_t cols, bytes;               /* of a block */
        uint8_t row_scale;
        uint8_t bare;                       /* there are files without row scales */
        uint8_t rows;                       /* that are stored together */
    } formats[] = {
        [BN_PACK_TRITS] = {1, 1, 0, 0, 1},      [BN_PACK_I2_S] = {128, 32, 0, 0, 1}, [BN_PACK_I2_S_ARM] = {64, 16, 0, 0, 1},
        [BN_PACK_TQ1_0] = {256, 54, 0, 0, 1},   [BN_PACK_TQ2_0] = {256, 66, 0, 0, 1},
        [BN_PACK_IQ1_BN] = {64, 13, 2, 1, 1},   [BN_PACK_IQ2_BN] = {64, 16, 4, 1, 1},
        [BN_PACK_IQ2_BN_R4] = {64, 16, 4, 0, 4}, [BN_PACK_Q2_0] = {64, 18, 0, 0, 1},
    };
    size_t format = (size_t)source->format;
    if (format >= sizeof formats / sizeof formats[0] || cols % formats[format].cols || rows % formats[format].rows)
        return 0;
    size_t blocks = cols / formats[format].cols * formats[format].bytes;
    source->row_scale = formats[format].row_scale;
    if (formats[format].bare && n_bytes == rows * blocks)
        source->row_scale = 0;
    source->row_bytes = blocks + source->row_scale;     /* at most 5 cols: cols is at least 1 and the scale 4 */
    return n_bytes == rows * source->row_bytes;
}

/* Fills in all but the weights. Returns 0 if the layout is unknown. */
static int measure(bn_tmat *mat)
{
    mat->n_tiles = bn_div_up(mat->rows, BN_TILE_ROWS);
    mat->n_blocks = bn_div_up(mat->cols, BN_BLOCK_COLS);
    switch (mat->layout) {
    case BN_LAYOUT_T2:
        mat->n_units = mat->n_tiles;
        mat->stride = mat->n_blocks * BN_BLOCK_BYTES;
        break;
    case BN_LAYOUT_R2:
        mat->n_units = mat->n_tiles * BN_TILE_ROWS;
        mat->stride = bn_div_up(mat->cols, BN_GROUP_COLS) * 64;
        break;
    case BN_LAYOUT_C2:
        mat->n_units = mat->n_blocks * BN_BLOCK_COLS;
        mat->stride = bn_div_up(mat->rows, BN_STRIP_ROWS) * 64;
        break;
    case BN_LAYOUT_L3:
        mat->n_blocks = bn_div_up(mat->cols, BN_LOOKUP_COLS) * 3;
        mat->n_units = bn_div_up(mat->rows, BN_SLAB_ROWS);
        mat->stride = mat->n_blocks / 3 * BN_LOOKUP_BYTES;
        break;
    case BN_LAYOUT_G2:
        mat->n_units = bn_div_up(mat->rows, BN_SLAB_ROWS);
        mat->stride = mat->n_groups * bn_group_bytes(mat);
        break;
    default: return 0;
    }
    if (mat->n_units > SIZE_MAX / 2 / mat->stride)
        return 0;
    mat->n_bytes = mat->n_units * mat->stride;
    return 1;
}

/* Allocates all that a matrix of this shape holds. */
static bn_tmat *new_tmat(bn_ctx *ctx, const bn_tmat *shape, const float *scales, size_t n_scale_rows)
{
    bn_tmat *mat = malloc(sizeof *mat);
    if (!mat)
        return NULL;
    *mat = *shape;
    mat->scale = scales[0];
    if (n_scale_rows > 1 && mat->n_groups == 0)
        mat->row_scales = malloc(mat->rows * sizeof *mat->row_scales);
    if (mat->row_scales)
        memcpy(mat->row_scales, scales, mat->rows * sizeof *mat->row_scales);
    mat->weights = bn_chunk_take(&ctx->chunk, mat->n_bytes, &mat->chunk);
    if (mat->weights && (mat->row_scales || n_scale_rows == 1 || mat->n_groups))
        return mat;
    if (mat->weights)
        bn_chunk_release(mat->chunk);
    free(mat->row_scales);
    free(mat);
    return NULL;
}

/* Packs what the job says into a new matrix of this shape. */
static bn_status pack(bn_ctx *ctx, pack_job *job, const bn_tmat *shape, const float *scales, size_t n_scale_rows,
                      bn_tmat **out)
{
    job->scratch = malloc((size_t)bn_ctx_n_threads(ctx) * sizeof *job->scratch);
    bn_tmat *mat = job->scratch ? new_tmat(ctx, shape, scales, n_scale_rows) : NULL;
    if (!mat) {
        free(job->scratch);
        return BN_ERR_NOMEM;
    }
    job->mat = mat;
    bn_pool_run(ctx->pool, pack_pieces, job);
    free(job->scratch);
    if (atomic_load(&job->bad)) {
        bn_tmat_free(mat);
        return BN_ERR_CODE;
    }
    *out = mat;
    return BN_OK;
}

bn_status bn_tmat_pack(bn_ctx *ctx, bn_pack_format format, bn_layout layout, const void *data, size_t n_bytes,
                       size_t rows, size_t cols, const bn_tiling *tiling, const float *scales, size_t n_scale_rows,
                       size_t n_scale_cols, bn_tmat **out)
{
    bn_tmat shape = {.rows = rows, .cols = cols, .layout = layout, .group_scale_bytes = sizeof *scales};
    file_rows source = {.format = format, .data = data};
    if (!ctx || !data || !out || !find_rows(&source, rows, cols, tiling, n_bytes) || !scales ||
        !bn_tmat_measure_scales(&shape, n_scale_rows, n_scale_cols) || !measure(&shape))
        return BN_ERR_ARG;
    *out = NULL;
    if (!bn_scales_are_finite(scales, n_scale_rows * n_scale_cols))
        return BN_ERR_SCALE;
    if (!bn_pool_is_alive(ctx->pool))
        return BN_ERR_THREAD;
    pack_job job = {.pool = ctx->pool, .source = source, .scales = (const uint8_t *)scales};
    atomic_init(&job.bad, 0);
    uint16_t *halves = shape.n_groups ? bn_scales_as_f16(&ctx->kernels, scales, rows * n_scale_cols) : NULL;
    if (halves) {
        job.scales = (const uint8_t *)halves;
        shape.group_scale_bytes = sizeof *halves;
        measure(&shape);
    }
    bn_status status = pack(ctx, &job, &shape, scales, n_scale_rows, out);
    free(halves);
    return status;
}

void bn_tmat_panel(const bn_tmat *mat, const bn_kernels *k, size_t tile, size_t first, size_t n_blocks, uint8_t *panel)
{
    enum { SLAB_TILES = BN_SLAB_ROWS / BN_TILE_ROWS };
    switch (mat->layout) {
    case BN_LAYOUT_T2: k->unpack_t2(mat->weights, mat->stride, tile, 1, first, n_blocks, panel); break;
    case BN_LAYOUT_R2: k->unpack_r2(mat->weights, mat->stride, tile, 1, first, n_blocks, panel); break;
    case BN_LAYOUT_C2: k->unpack_c2(mat->weights, mat->stride, tile, 1, first, n_blocks, panel); break;
    case BN_LAYOUT_L3: k->unpack_l3(mat->weights, mat->stride, tile, 1, first, n_blocks, panel); break;
    case BN_LAYOUT_G2:
        k->unpack_t2(bn_tmat_group(mat, tile / SLAB_TILES, first / mat->group_blocks), n_blocks * BN_BLOCK_BYTES,
                     tile % SLAB_TILES, 1, 0, n_blocks, panel);
        break;
    }
}

bn_status bn_tmat_unpack(const bn_tmat *mat, int8_t *trits)
{
    enum { BLOCKS = 48 };       /* a multiple of what every layout wants */
    uint8_t panel[BLOCKS * 256];
    if (!mat || !trits)
        return BN_ERR_ARG;
    size_t most = mat->layout == BN_LAYOUT_G2 ? mat->group_blocks : BLOCKS;
    bn_kernels scalar;
    bn_kernels_fill(BN_ISA_scalar, &scalar);
    for (size_t tile = 0; tile < mat->n_tiles; tile++)
        for (size_t first = 0; first < mat->n_blocks; first += most) {
            size_t row = tile * BN_TILE_ROWS, col = first * BN_BLOCK_COLS;
            size_t n_rows = mat->rows - row < BN_TILE_ROWS ? mat->rows - row : BN_TILE_ROWS;
            size_t n_blocks = mat->n_blocks - first < most ? mat->n_blocks - first : most;
            size_t n_cols = mat->cols - col < n_blocks * BN_BLOCK_COLS ? mat->cols - col : n_blocks * BN_BLOCK_COLS;
            bn_tmat_panel(mat, &scalar, tile, first, n_blocks, panel);
            for (size_t r = 0; r < n_rows; r++)
                for (size_t c = 0; c < n_cols; c++)
                    trits[(row + r) * mat->cols + col + c] = (int8_t)(panel[(c / 4 * 16 + r) * 4 + c % 4] - 1);
        }
    return BN_OK;
}

void bn_tmat_free(bn_tmat *mat)
{
    if (!mat)
        return;
    bn_chunk_release(mat->chunk);
    free(mat->row_scales);
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
