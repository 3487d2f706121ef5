/* head.c: drives the output head, logits = head @ hidden state, for the tokens that want logits.
 *
 * A quantised head is met by hidden states of 16 bits: each is quantised once, then every tile is read once and met by
 * all tokens while it is in cache. A head of floats is read by rows. A piece of work is long enough to stream and short
 * enough that a slow thread does not hold up the others at the end. */
#include <string.h>

#include "plan.h"

enum { PIECE_BYTES = 1 << 18 };

typedef void dequant_fn(const void *row, size_t n, float *out);
typedef void gemv_fn(const void *w, size_t row_bytes, size_t rows, size_t cols, const float *x, float *y);
typedef __typeof__(*((bn_kernels *)0)->gemm_q8_0_i16) gemm_fn;

/* ---- Heads of floats ---- */

static dequant_fn *dequant_for(const bn_kernels *k, bn_type type)
{
    return type == BN_TYPE_F32 ? k->dequant_f32 : type == BN_TYPE_F16 ? k->dequant_f16 : k->dequant_bf16;
}

static gemv_fn *gemv_for(const bn_kernels *k, bn_type type)
{
    return type == BN_TYPE_F32 ? k->gemv_f32_f32 : type == BN_TYPE_F16 ? k->gemv_f16_f32 : k->gemv_bf16_f32;
}

/* Several tokens: a few rows become floats once and meet all tokens. By definition that is the same dot product. */
static void head_rows(const bn_run *run, const bn_op *op, size_t row, size_t n_rows, float *rows)
{
    const bn_kernels *k = &run->plan->ctx->kernels;
    const bn_dmat *mat = op->head;
    size_t row_bytes = bn_type_row_bytes(mat->type, mat->cols);
    for (size_t r = 0; r < n_rows; r++)
        dequant_for(k, mat->type)(mat->tiles + (row + r) * row_bytes, mat->cols, rows + r * mat->cols);
    for (size_t i = 0; i < run->n_logits; i++)
        k->gemv_f32_f32(rows, mat->cols * sizeof(float), n_rows, mat->cols,
                        bn_row(run, op->in, run->n_tokens - run->n_logits + i), run->logits + i * mat->rows + row);
}

static void play_floats(const bn_run *run, const bn_op *op, uint8_t *scratch)
{
    const bn_dmat *mat = op->head;
    size_t row_bytes = bn_type_row_bytes(mat->type, mat->cols), step = BN_HEAD_ROWS;
    if (run->n_logits == 1)
        step = bn_div_up(bn_div_up(PIECE_BYTES, row_bytes), BN_HEAD_ROWS) * BN_HEAD_ROWS;
    for (int64_t piece; (piece = bn_next(run, bn_div_up(mat->rows, step))) >= 0;) {
        size_t row = (size_t)piece * step, left = mat->rows - row, n_rows = left < step ? left : step;
        if (run->n_logits > 1)
            head_rows(run, op, row, n_rows, (float *)scratch);
        else
            gemv_for(&run->plan->ctx->kernels, mat->type)(mat->tiles + row * row_bytes, row_bytes, n_rows, mat->cols,
                                                          bn_row(run, op->in, run->n_tokens - 1), run->logits + row);
    }
}

/* ---- Quantised heads ---- */

static gemm_fn *gemm_for(const bn_kernels *k, bn_type type)
{
    return type == BN_TYPE_Q8_0   ? k->gemm_q8_0_i16
           : type == BN_TYPE_Q6_K ? k->gemm_q6_k_i16
           : type == BN_TYPE_Q4_0 ? k->gemm_q4_0_i16
                                  : k->gemm_q2_0_i16;
}

/* All threads quantise, and wait for each other. */
static void quantise(const bn_run *run, const bn_op *op)
{
    bn_tile_format f = op->head->format;
    size_t cols = op->head->cols, group_cols = f.cols / f.n_groups, n_groups = cols / group_cols;
    bn_acts_memory *to = &run->plan->acts;
    for (int64_t next; (next = bn_next(run, run->n_logits)) >= 0;) {
        size_t t = (size_t)next;
        const float *h = bn_row(run, op->in, run->n_tokens - run->n_logits + t);
        run->plan->ctx->kernels.quant_i16(h, cols, group_cols, f.bias, to->x + t * cols, to->digits + 2 * t * cols,
                                          to->offset + t * n_groups, &to->s[t]);
    }
    bn_pool_barrier(run->plan->ctx->pool);
}

static void play_tiles(const bn_run *run, const bn_op *op, float *y)
{
    const bn_dmat *mat = op->head;
    const bn_acts_memory *from = &run->plan->acts;
    const bn_acts_i16 acts = {from->x, from->digits, from->offset, from->s};
    gemm_fn *gemm = gemm_for(&run->plan->ctx->kernels, mat->type);
    quantise(run, op);
    size_t step = bn_div_up(PIECE_BYTES, mat->tile_bytes);
    if (run->n_logits > 1)
        step = 1;
    for (int64_t piece; (piece = bn_next(run, bn_div_up(mat->n_tiles, step))) >= 0;) {
        size_t tile = (size_t)piece * step, end = mat->n_tiles - tile < step ? mat->n_tiles : tile + step;
        for (; tile < end; tile++) {
            size_t row = tile * BN_TILE_ROWS, left = mat->rows - row;
            size_t n_rows = left < BN_TILE_ROWS ? left : BN_TILE_ROWS;
            gemm(mat->tiles + tile * mat->tile_bytes, mat->n_blocks, &acts, run->n_logits, y);
            for (size_t t = 0; t < run->n_logits; t++)
                memcpy(run->logits + t * mat->rows + row, y + t * BN_TILE_ROWS, n_rows * sizeof *y);
        }
    }
}

void bn_play_head(const bn_run *run, const bn_op *op, uint8_t *scratch)
{
    if (run->n_logits == 0)
        return;
    if (op->head->format.cols)
        play_tiles(run, op, (float *)scratch);
    else
        play_floats(run, op, scratch);
}
