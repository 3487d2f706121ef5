/* matmul.c: drives the ternary kernels over rows and tokens: exact integer sums, then one shared way back to floats.
 *
 * Several tokens: two tiles at a time are unpacked into the thread's panel, a cache-sized run of cols after the other,
 * and met by all tokens; every layout meets them there. One token, or a few one after the other: the weights are streamed
 * once, straight from their layout, and a layout of rows or cols leaves out what a zero makes needless. The integers are
 * the same in every case.
 *
 * Where groups of cols have scales of their own, each group's integers become floats that are added up, group after
 * group; the sum of a group's activations is known before. */
#include <string.h>

#include "plan.h"

enum {
    GEMV_TILES = 4,                 /* tiles per piece of work */
    SLAB_TILES = BN_SLAB_ROWS / BN_TILE_ROWS,       /* of l3 per piece */
    GEMV_ROWS = 128,                /* rows of r2 per piece */
    GEMV_COLS = 512,                /* cols of c2 per piece */
    GROUP_TOKENS = 96,              /* tokens that meet a panel of g2 together: their sums stay in the L1 cache */
    SUM_ROWS = 256,                 /* rows per piece when the threads' sums of c2 are added */
    PANEL_BLOCKS = BN_PANEL_BLOCKS / 16 * 16,       /* unpacked at a time: what r2 wants */
    PANEL_BLOCKS_L3 = BN_PANEL_BLOCKS / 3 * 3
};

static const bn_kernels *kernels(const bn_run *run)
{
    return &run->plan->ctx->kernels;
}

/* The layout's way to the panel. */
static __typeof__(((bn_kernels *)0)->unpack_t2) unpack_for(const bn_kernels *k, bn_layout layout)
{
    switch (layout) {
    case BN_LAYOUT_T2: return k->unpack_t2;
    case BN_LAYOUT_R2: return k->unpack_r2;
    case BN_LAYOUT_C2: return k->unpack_c2;
    case BN_LAYOUT_L3: return k->unpack_l3;
    case BN_LAYOUT_G2: break;
    }
    return NULL;
}

/* y[n] = descaled sums of token t: matrix m of the op, or added to y. row_scales: of these rows, NULL if all have the
 * same. */
static void descale(const bn_run *run, const bn_op *op, int32_t m, size_t t, const int32_t *sums, size_t n,
                    const float *row_scales, int add, float *y)
{
    const bn_buf_view *in = &run->plan->views[op->in];
    if (row_scales)
        kernels(run)->descale_rows_f32(sums, n, in->sum[t], in->scale[t], row_scales, add, y);
    else
        kernels(run)->descale_f32(sums, n, in->sum[t], in->scale[t], op->mat[m]->scale, add, y);
}

/* out[n] = act(gate) * u for rows row..row+n-1 of token t. */
static void deliver_gated(const bn_run *run, const bn_op *op, size_t t, size_t row, size_t n, const float *u)
{
    const float *gate = bn_row(run, op->in2, t) + row;
    float *out = bn_row(run, op->out[0], t) + row;
    (op->act == BN_ACT_RELU2 ? kernels(run)->glu_relu2_f32 : kernels(run)->glu_silu_f32)(gate, u, n, out);
}

/* Hands out the sums of rows row..row+n-1 of token t. u: scratch of n floats. */
static void deliver(const bn_run *run, const bn_op *op, int32_t m, size_t t, size_t row, size_t n, const int32_t *sums,
                    float *u)
{
    const float *row_scales = op->mat[m]->row_scales ? op->mat[m]->row_scales + row : NULL;
    if (op->kind == BN_OP_MATMUL) {
        descale(run, op, m, t, sums, n, row_scales, op->add, bn_row(run, op->out[m], t) + row);
        return;
    }
    descale(run, op, m, t, sums, n, row_scales, 0, u);
    deliver_gated(run, op, t, row, n, u);
}

/* The same for what the groups of g2 add up to; acc is scratch afterwards. */
static void deliver_groups(const bn_run *run, const bn_op *op, int32_t m, size_t t, size_t row, size_t n, float *acc)
{
    float s = run->plan->views[op->in].scale[t], *out = bn_row(run, op->out[m], t) + row;
    for (size_t i = 0; i < n; i++)
        acc[i] = acc[i] / s;
    if (op->kind == BN_OP_GATED_MATMUL) {
        deliver_gated(run, op, t, row, n, acc);
        return;
    }
    for (size_t i = 0; i < n; i++)
        out[i] = op->add ? out[i] + acc[i] : acc[i];
}

/* ---- Several tokens ---- */

/* sums[n_tokens][16*n_tiles] of a pair of tiles. */
static void gemm(const bn_run *run, const bn_tmat *mat, const bn_buf_view *in, size_t tile, size_t n_tiles,
                 uint8_t *panel, int32_t *sums)
{
    const bn_kernels *k = kernels(run);
    size_t most = mat->layout == BN_LAYOUT_L3 ? PANEL_BLOCKS_L3 : PANEL_BLOCKS;
    for (size_t first = 0; first < mat->n_blocks; first += most) {
        size_t n = mat->n_blocks - first < most ? mat->n_blocks - first : most;
        unpack_for(k, mat->layout)(mat->weights, mat->stride, tile, n_tiles, first, n, panel);
        k->gemm_panel_i8(panel, n_tiles, n, in->i8 + first * BN_BLOCK_COLS, in->stride, run->n_tokens, first > 0, sums);
    }
}

static void play_gemm(const bn_run *run, const bn_op *op, int32_t m, size_t tile, size_t n_tiles, uint8_t *scratch)
{
    const bn_tmat *mat = op->mat[m];
    size_t row = tile * BN_TILE_ROWS, n = n_tiles * BN_TILE_ROWS, n_rows = mat->rows - row < n ? mat->rows - row : n;
    float u[BN_GEMM_TILES * BN_TILE_ROWS];
    int32_t *sums = (int32_t *)(scratch + BN_PANEL_BYTES);
    gemm(run, mat, &run->plan->views[op->in], tile, n_tiles, scratch, sums);
    for (size_t t = 0; t < run->n_tokens; t++)
        deliver(run, op, m, t, row, n_rows, sums + t * n, u);
}

/* The scales of n rows of a group from row `row` of the slab on, as floats; from g2, or widened into `floats`. */
static const float *group_scales(const bn_kernels *k, const bn_tmat *mat, size_t slab, size_t group, size_t row,
                                 size_t n, float *floats)
{
    const uint8_t *scales = bn_tmat_group_scales(mat, slab, group, row);
    if (mat->group_scale_bytes == sizeof *floats)
        return (const float *)scales;
    k->dequant_f16(scales, n, floats);
    return floats;
}

/* acc[n_tokens][16*n_tiles] of a pair of tiles of g2 and tokens t..; q_sums: of the first of them. */
static void gemm_groups(const bn_kernels *k, const bn_tmat *mat, const int8_t *q, size_t q_stride, size_t tile,
                        size_t n_tiles, size_t n_tokens, const int32_t *q_sums, uint8_t *panel, float *acc)
{
    size_t slab = tile / SLAB_TILES, at = tile % SLAB_TILES, n_blocks = mat->group_blocks, n = n_tiles * BN_TILE_ROWS;
    int32_t *sums = (int32_t *)(acc + GROUP_TOKENS * n);
    float scales[BN_GEMM_TILES * BN_TILE_ROWS];
    memset(acc, 0, n_tokens * n * sizeof *acc);
    for (size_t g = 0; g < mat->n_groups; g++, q += n_blocks * BN_BLOCK_COLS) {
        k->unpack_t2(bn_tmat_group(mat, slab, g), n_blocks * BN_BLOCK_BYTES, at, n_tiles, 0, n_blocks, panel);
        k->gemm_panel_i8(panel, n_tiles, n_blocks, q, q_stride, n_tokens, 0, sums);
        k->add_scaled_f32(sums, n, n_tokens, q_sums + g, mat->n_groups,
                          group_scales(k, mat, slab, g, at * BN_TILE_ROWS, n, scales), acc);
    }
}

/* A pair of tiles of g2; q_sums: from sum_groups. */
static void play_gemm_groups(const bn_run *run, const bn_op *op, int32_t m, size_t tile, size_t n_tiles,
                             const int32_t *q_sums, uint8_t *scratch)
{
    const bn_tmat *mat = op->mat[m];
    const bn_buf_view *in = &run->plan->views[op->in];
    size_t row = tile * BN_TILE_ROWS, n = n_tiles * BN_TILE_ROWS, n_rows = mat->rows - row < n ? mat->rows - row : n;
    float *acc = (float *)(scratch + BN_PANEL_BYTES);
    for (size_t first = 0; first < run->n_tokens; first += GROUP_TOKENS) {
        size_t n_tokens = run->n_tokens - first < GROUP_TOKENS ? run->n_tokens - first : GROUP_TOKENS;
        gemm_groups(kernels(run), mat, in->i8 + first * in->stride, in->stride, tile, n_tiles, n_tokens,
                    q_sums + first * mat->n_groups, scratch, acc);
        for (size_t t = 0; t < n_tokens; t++)
            deliver_groups(run, op, m, first + t, row, n_rows, acc + t * n);
    }
}

/* ---- One token ---- */

/* One slab of g2; q_sums: from sum_groups. */
static void play_groups(const bn_run *run, const bn_op *op, int32_t m, size_t slab, const int32_t *q_sums)
{
    const bn_tmat *mat = op->mat[m];
    const bn_buf_view *in = &run->plan->views[op->in];
    size_t row = slab * BN_SLAB_ROWS, n_rows = mat->rows - row < BN_SLAB_ROWS ? mat->rows - row : BN_SLAB_ROWS;
    for (size_t t = 0; t < run->n_tokens; t++) {
        float acc[BN_SLAB_ROWS];
        kernels(run)->gemv_g2_i8(mat->weights + slab * mat->stride, mat->n_groups, mat->group_blocks,
                                 mat->group_scale_bytes == sizeof(uint16_t), in->i8 + t * in->stride,
                                 q_sums + t * mat->n_groups, acc);
        deliver_groups(run, op, m, t, row, n_rows, acc);
    }
}

static void play_tiles(const bn_run *run, const bn_op *op, int32_t m, size_t tile, size_t n_tiles)
{
    const bn_tmat *mat = op->mat[m];
    const bn_buf_view *in = &run->plan->views[op->in];
    size_t row = tile * BN_TILE_ROWS, n = n_tiles * BN_TILE_ROWS, n_rows = mat->rows - row < n ? mat->rows - row : n;
    int32_t sums[GEMV_TILES * BN_TILE_ROWS];
    float u[GEMV_TILES * BN_TILE_ROWS];
    for (size_t t = 0; t < run->n_tokens; t++) {
        kernels(run)->gemv_t2_i8(mat->weights + tile * mat->stride, n_tiles, mat->n_blocks, in->i8 + t * in->stride,
                                 sums);
        deliver(run, op, m, t, row, n_rows, sums, u);
    }
}

/* Bytes of the table of one token. */
static size_t table_bytes(const bn_tmat *mat)
{
    return mat->n_blocks / 3 * BN_TABLE_BYTES;
}

/* Every thread makes the tables of all tokens for itself: that takes a microsecond or two, as a barrier would. */
static void make_tables(const bn_run *run, const bn_op *op, const bn_tmat *mat, uint8_t *tables)
{
    const bn_buf_view *in = &run->plan->views[op->in];
    for (size_t t = 0; t < run->n_tokens; t++)
        kernels(run)->table_l3_i8(in->i8 + t * in->stride, mat->n_blocks / 3, tables + t * table_bytes(mat));
}

/* One slab of l3; tables: from make_tables. */
static void play_slab(const bn_run *run, const bn_op *op, int32_t m, size_t slab, const uint8_t *tables)
{
    const bn_tmat *mat = op->mat[m];
    const bn_buf_view *in = &run->plan->views[op->in];
    size_t row = slab * BN_SLAB_ROWS, n_rows = mat->rows - row < BN_SLAB_ROWS ? mat->rows - row : BN_SLAB_ROWS;
    int32_t sums[BN_SLAB_ROWS];
    float u[BN_SLAB_ROWS];
    for (size_t t = 0; t < run->n_tokens; t++) {
        kernels(run)->gemv_l3_i8(mat->weights + slab * mat->stride, 1, mat->n_blocks / 3, tables + t * table_bytes(mat),
                                 in->sum[t], sums);
        deliver(run, op, m, t, row, n_rows, sums, u);
    }
}

enum {
    SLACK = 16,                     /* of an index: kernels.h */
    LOOK_AHEAD = 2 * BN_AHEAD       /* values behind a piece that are looked at for what will be wanted next */
};

/* Fills the BN_AHEAD entries behind the first n, of which `found` are there already. */
static void fill_ahead(uint32_t *index, size_t n, size_t found, uint32_t filler)
{
    while (found < n + BN_AHEAD)
        index[found++] = filler;
}

/* Values behind a piece that ends at `end`, of n in all. */
static size_t ahead_of(size_t end, size_t n)
{
    return n - end < LOOK_AHEAD ? n - end : LOOK_AHEAD;
}

/* Rows whose gate is open among n_rows <= GEMV_ROWS; the others give zero and are not read. */
static void play_live_rows(const bn_run *run, const bn_op *op, size_t row, size_t n_rows)
{
    const bn_tmat *mat = op->mat[0];
    const bn_buf_view *in = &run->plan->views[op->in];
    for (size_t t = 0; t < run->n_tokens; t++) {
        const float *gate = bn_row(run, op->in2, t);
        float *out = bn_row(run, op->out[0], t), open[GEMV_ROWS], scales[GEMV_ROWS], u[GEMV_ROWS];
        uint32_t index[GEMV_ROWS + LOOK_AHEAD + SLACK];
        int32_t sums[GEMV_ROWS];
        size_t end = row + n_rows, n = kernels(run)->live_f32(gate + row, n_rows, (uint32_t)row, index);
        size_t more = kernels(run)->live_f32(gate + end, ahead_of(end, mat->rows), (uint32_t)end, index + n);
        fill_ahead(index, n, n + more, (uint32_t)(end - 1));
        kernels(run)->gemv_r2_i8(mat->weights, mat->stride / 64, index, n, in->i8 + t * in->stride, sums);
        for (size_t i = 0; i < n && mat->row_scales; i++)
            scales[i] = mat->row_scales[index[i]];
        descale(run, op, 0, t, sums, n, mat->row_scales ? scales : NULL, 0, u);
        for (size_t i = 0; i < n; i++)
            open[i] = gate[index[i]];
        kernels(run)->glu_relu2_f32(open, u, n, u);
        memset(out + row, 0, n_rows * sizeof *out);
        for (size_t i = 0; i < n; i++)
            out[index[i]] = u[i];
    }
}

/* Rows of r2 where all are wanted. */
static void play_rows(const bn_run *run, const bn_op *op, int32_t m, size_t row, size_t n_rows)
{
    const bn_tmat *mat = op->mat[m];
    const bn_buf_view *in = &run->plan->views[op->in];
    uint32_t index[GEMV_ROWS + BN_AHEAD];
    int32_t sums[GEMV_ROWS];
    float u[GEMV_ROWS];
    for (size_t i = 0; i < n_rows + BN_AHEAD; i++)
        index[i] = (uint32_t)(row + i < mat->rows ? row + i : mat->rows - 1);
    for (size_t t = 0; t < run->n_tokens; t++) {
        kernels(run)->gemv_r2_i8(mat->weights, mat->stride / 64, index, n_rows, in->i8 + t * in->stride, sums);
        deliver(run, op, m, t, row, n_rows, sums, u);
    }
}

/* sums += cols col.. of the matrix @ q, leaving out the cols that meet a zero. */
static void add_live_cols(const bn_run *run, const bn_tmat *mat, const int8_t *q, size_t col, int32_t *sums)
{
    uint32_t index[GEMV_COLS + LOOK_AHEAD + SLACK];
    int8_t live[GEMV_COLS];
    size_t end = mat->cols - col < GEMV_COLS ? mat->cols : col + GEMV_COLS;
    size_t n = kernels(run)->live_i8(q + col, end - col, (uint32_t)col, index);
    size_t more = kernels(run)->live_i8(q + end, ahead_of(end, mat->cols), (uint32_t)end, index + n);
    fill_ahead(index, n, n + more, (uint32_t)(end - 1));
    for (size_t i = 0; i < n; i++)
        live[i] = q[index[i]];
    kernels(run)->gemv_c2_i8(mat->weights, mat->stride / 64, index, live, n, sums);
}

/* A matrix of c2: each thread adds up cols of its own, then the threads' sums are added. They are integers: which thread
 * took which cols does not show. */
static void play_cols(const bn_run *run, const bn_op *op, uint8_t *scratch)
{
    const bn_tmat *mat = op->mat[0];
    const bn_plan *plan = run->plan;
    const bn_buf_view *in = &plan->views[op->in];
    size_t padded = mat->stride * 4, n_threads = (size_t)bn_ctx_n_threads(plan->ctx);
    for (size_t t = 0; t < run->n_tokens; t++) {
        memset(scratch, 0, padded * sizeof(int32_t));
        for (int64_t next; (next = bn_next(run, bn_div_up(mat->cols, GEMV_COLS))) >= 0;)
            add_live_cols(run, mat, in->i8 + t * in->stride, (size_t)next * GEMV_COLS, (int32_t *)scratch);
        bn_pool_barrier(plan->ctx->pool);
        for (int64_t next; (next = bn_next(run, bn_div_up(mat->rows, SUM_ROWS))) >= 0;) {
            size_t row = (size_t)next * SUM_ROWS, left = mat->rows - row, n = left < SUM_ROWS ? left : SUM_ROWS;
            int32_t sums[SUM_ROWS] = {0};
            float u[SUM_ROWS];
            for (size_t thread = 0; thread < n_threads; thread++) {
                const int32_t *part = (const int32_t *)(plan->scratch + thread * plan->scratch_bytes) + row;
                for (size_t r = 0; r < n; r++)
                    sums[r] += part[r];
            }
            deliver(run, op, 0, t, row, n, sums, u);
        }
        if (t + 1 < run->n_tokens)
            bn_pool_barrier(plan->ctx->pool);
    }
}

/* ---- Pieces ---- */

/* Tiles that one thread takes of matrix m at a time. */
static size_t tiles_per_piece(const bn_run *run, const bn_op *op, int32_t m)
{
    if (run->n_tokens >= BN_GEMM_MIN_TOKENS)
        return BN_GEMM_TILES;
    switch (op->mat[m]->layout) {
    case BN_LAYOUT_R2: return GEMV_ROWS / BN_TILE_ROWS;
    case BN_LAYOUT_L3:
    case BN_LAYOUT_G2: return SLAB_TILES;
    default: return GEMV_TILES;
    }
}

/* q_sums: from sum_groups for a matrix of g2, else NULL. */
static void play_piece(const bn_run *run, const bn_op *op, int32_t m, size_t tile, size_t n_tiles,
                       const int32_t *q_sums, uint8_t *scratch)
{
    const bn_tmat *mat = op->mat[m];
    size_t row = tile * BN_TILE_ROWS, n = n_tiles * BN_TILE_ROWS, n_rows = mat->rows - row < n ? mat->rows - row : n;
    if (run->n_tokens >= BN_GEMM_MIN_TOKENS && q_sums)
        play_gemm_groups(run, op, m, tile, n_tiles, q_sums, scratch);
    else if (run->n_tokens >= BN_GEMM_MIN_TOKENS)
        play_gemm(run, op, m, tile, n_tiles, scratch);
    else if (q_sums)
        play_groups(run, op, m, tile / SLAB_TILES, q_sums);
    else if (mat->layout == BN_LAYOUT_L3)
        play_slab(run, op, m, tile / SLAB_TILES, scratch);
    else if (mat->layout != BN_LAYOUT_R2)
        play_tiles(run, op, m, tile, n_tiles);
    else if (op->kind == BN_OP_GATED_MATMUL && op->act == BN_ACT_RELU2)
        play_live_rows(run, op, row, n_rows);
    else
        play_rows(run, op, m, row, n_rows);
}

/* A matrix of l3 among those of an op, or NULL. All have the same cols. */
static const bn_tmat *lookup_of(const bn_op *op)
{
    for (int32_t m = 0; m < op->n_mats; m++)
        if (op->mat[m]->layout == BN_LAYOUT_L3)
            return op->mat[m];
    return NULL;
}

/* Bytes of the sums that sum_groups makes for a matrix; 0 if it has no groups. */
static size_t group_sums_bytes(const bn_tmat *mat, size_t n_tokens)
{
    return bn_div_up(n_tokens * mat->n_groups * sizeof(int32_t), 64) * 64;
}

/* The sums of each group's activations, [n_tokens][n_groups]. Every thread makes them for itself, like tables. */
static void sum_groups(const bn_run *run, const bn_op *op, const bn_tmat *mat, int32_t *q_sums)
{
    const bn_buf_view *in = &run->plan->views[op->in];
    for (size_t t = 0; t < run->n_tokens; t++)
        kernels(run)->group_sums_i8(in->i8 + t * in->stride, mat->n_groups, mat->group_blocks * BN_BLOCK_COLS,
                                    q_sums + t * mat->n_groups);
}

void bn_play_matmul(const bn_run *run, const bn_op *op, uint8_t *scratch)
{
    if (op->mat[0]->layout == BN_LAYOUT_C2 && run->n_tokens < BN_GEMM_MIN_TOKENS) {
        play_cols(run, op, scratch);
        return;
    }
    const int32_t *q_sums[3] = {NULL};
    for (int32_t m = 0; m < op->n_mats; m++)
        if (op->mat[m]->n_groups) {
            sum_groups(run, op, op->mat[m], (int32_t *)scratch);
            q_sums[m] = (const int32_t *)scratch;
            scratch += group_sums_bytes(op->mat[m], run->n_tokens);
        }
    const bn_tmat *lookup = lookup_of(op);
    if (lookup && run->n_tokens < BN_GEMM_MIN_TOKENS)
        make_tables(run, op, lookup, scratch);
    size_t n_pieces[3] = {0}, total = 0;
    for (int32_t m = 0; m < op->n_mats; m++)
        total += n_pieces[m] = bn_div_up(op->mat[m]->n_tiles, tiles_per_piece(run, op, m));
    for (int64_t next; (next = bn_next(run, total)) >= 0;) {
        size_t piece = (size_t)next;
        int32_t m = 0;
        while (piece >= n_pieces[m])
            piece -= n_pieces[m++];
        size_t step = tiles_per_piece(run, op, m), tile = piece * step, left = op->mat[m]->n_tiles - tile;
        play_piece(run, op, m, tile, left < step ? left : step, q_sums[m], scratch);
    }
}

size_t bn_matmul_scratch_bytes(const bn_op *op, size_t max_tokens)
{
    size_t group_sums = 0, gemm_sums = max_tokens * BN_GEMM_TILES * BN_TILE_ROWS * sizeof(int32_t);
    for (int32_t m = 0; m < op->n_mats; m++)
        group_sums += group_sums_bytes(op->mat[m], max_tokens);
    size_t gemm_groups = group_sums ? 2 * GROUP_TOKENS * BN_GEMM_TILES * BN_TILE_ROWS * sizeof(float) : 0;
    size_t panel = BN_PANEL_BYTES + (gemm_sums > gemm_groups ? gemm_sums : gemm_groups);
    size_t sums = op->mat[0]->layout == BN_LAYOUT_C2 ? op->mat[0]->stride * 4 * sizeof(int32_t) : 0;
    size_t tables = lookup_of(op) ? (BN_GEMM_MIN_TOKENS - 1) * table_bytes(lookup_of(op)) : 0;
    size_t most = panel > sums ? panel : sums;
    return group_sums + (most > tables ? most : tables);
}
