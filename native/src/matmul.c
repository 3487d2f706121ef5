/* matmul.c: drives the ternary kernels over rows and tokens: exact integer sums, then one shared way back to floats.
 *
 * A piece of work is a few tiles of one matrix. One token: the tiles are streamed once (gemv). Several tokens: the tiles
 * are unpacked once into the thread's panel and met by all tokens (gemm). Both give the same integers. */
#include "plan.h"

enum { GEMV_TILES = 4 };

/* y[t][row..] (+)= descaled sums[t], for the rows of these tiles that exist. sums: [n_tokens][16*n_tiles]. */
static void descale(const bn_run *run, const bn_op *op, int32_t m, size_t tile, size_t n_tiles, size_t t0,
                    size_t n_tokens, const int32_t *sums)
{
    const bn_tmat *mat = op->mat[m];
    const bn_buf_view *in = &run->plan->views[op->in];
    size_t row = tile * BN_TILE_ROWS, n = n_tiles * BN_TILE_ROWS;
    size_t n_rows = mat->rows - row < n ? mat->rows - row : n;
    for (size_t t = 0; t < n_tokens; t++)
        run->plan->ctx->kernels.descale_f32(sums + t * n, n_rows, in->sum[t0 + t], in->scale[t0 + t], mat->scale,
                                            op->add, bn_row(run, op->out[m], t0 + t) + row);
}

static void play_gemv(const bn_run *run, const bn_op *op, int32_t m, size_t tile, size_t n_tiles)
{
    const bn_tmat *mat = op->mat[m];
    const bn_buf_view *in = &run->plan->views[op->in];
    int32_t sums[GEMV_TILES * BN_TILE_ROWS];
    for (size_t t = 0; t < run->n_tokens; t++) {
        run->plan->ctx->kernels.gemv_t2_i8(mat->tiles + tile * mat->n_blocks * BN_BLOCK_BYTES, n_tiles, mat->n_blocks,
                                           in->i8 + t * in->stride, sums);
        descale(run, op, m, tile, n_tiles, t, 1, sums);
    }
}

static void play_gemm(const bn_run *run, const bn_op *op, int32_t m, size_t tile, size_t n_tiles, uint8_t *scratch)
{
    const bn_tmat *mat = op->mat[m];
    const bn_buf_view *in = &run->plan->views[op->in];
    uint8_t *panel = scratch;
    int32_t *sums = (int32_t *)(panel + BN_GEMM_TILES * mat->n_blocks * BN_TILE_ROWS * BN_BLOCK_COLS);
    run->plan->ctx->kernels.gemm_t2_i8(mat->tiles + tile * mat->n_blocks * BN_BLOCK_BYTES, n_tiles, mat->n_blocks,
                                       in->i8, in->stride, run->n_tokens, panel, sums);
    descale(run, op, m, tile, n_tiles, 0, run->n_tokens, sums);
}

void bn_play_matmul(const bn_run *run, const bn_op *op, uint8_t *scratch)
{
    int gemm = run->n_tokens >= BN_GEMM_MIN_TOKENS;
    size_t step = gemm ? BN_GEMM_TILES : GEMV_TILES, n_pieces[3] = {0}, total = 0;
    for (int32_t m = 0; m < op->n_mats; m++)
        total += n_pieces[m] = bn_div_up(op->mat[m]->n_tiles, step);
    for (int64_t next; (next = bn_next(run, total)) >= 0;) {
        size_t piece = (size_t)next;
        int32_t m = 0;
        while (piece >= n_pieces[m])
            piece -= n_pieces[m++];
        size_t tile = piece * step, left = op->mat[m]->n_tiles - tile, n_tiles = left < step ? left : step;
        if (gemm)
            play_gemm(run, op, m, tile, n_tiles, scratch);
        else
            play_gemv(run, op, m, tile, n_tiles);
    }
}
