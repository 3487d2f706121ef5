/* ops.c: thin drivers of the ops that are not matrices or attention; each hands rows to a kernel. */
#include "plan.h"

typedef void dequant_fn(const void *row, size_t n, float *out);

static dequant_fn *dequant_for(const bn_kernels *k, int32_t type)
{
    switch ((bn_type)type) {
    case BN_TYPE_F32: return k->dequant_f32;
    case BN_TYPE_F16: return k->dequant_f16;
    case BN_TYPE_BF16: return k->dequant_bf16;
    case BN_TYPE_Q8_0: return k->dequant_q8_0;
    case BN_TYPE_Q6_K: return k->dequant_q6_k;
    case BN_TYPE_Q4_0: return k->dequant_q4_0;
    case BN_TYPE_Q2_0: return k->dequant_q2_0;
    }
    return NULL;
}

size_t bn_type_row_bytes(bn_type type, size_t cols)
{
    switch (type) {
    case BN_TYPE_F32: return cols * 4;
    case BN_TYPE_F16:
    case BN_TYPE_BF16: return cols * 2;
    case BN_TYPE_Q8_0: return cols % 32 ? 0 : cols / 32 * 34;
    case BN_TYPE_Q4_0: return cols % 32 ? 0 : cols / 32 * 18;
    case BN_TYPE_Q2_0: return cols % 64 ? 0 : cols / 64 * 18;
    case BN_TYPE_Q6_K: return cols % 256 ? 0 : cols / 256 * 210;
    }
    return 0;
}

/* A scale of 0 stands for none. */
static void scale_row(float *x, size_t n, float scale)
{
    for (size_t i = 0; scale != 0.0f && i < n; i++)
        x[i] = x[i] * scale;
}

/* Rows of a head, which lie in tiles, part by part. */
static void embed_from_head(const bn_run *run, const bn_op *op)
{
    const bn_dmat *mat = op->head;
    dequant_fn *dequant = dequant_for(&run->plan->ctx->kernels, mat->type);
    size_t row_bytes = bn_type_row_bytes(mat->type, mat->cols), cols = bn_dmat_part_cols(mat);
    for (int64_t t; (t = bn_next(run, run->n_tokens)) >= 0;) {
        size_t row = (size_t)run->tokens[t];
        float *out = bn_row(run, op->out[0], (size_t)t);
        uint8_t block[256];
        if (mat->format.cols == 0)
            dequant(mat->tiles + row * row_bytes, cols, out);
        for (size_t b = 0; b < mat->n_blocks; b++) {
            bn_dmat_part(mat, row, b, block);
            dequant(block, cols, out + b * cols);
        }
        scale_row(out, mat->cols, op->scale);
    }
}

void bn_play_embed(const bn_run *run, const bn_op *op)
{
    if (op->head) {
        embed_from_head(run, op);
        return;
    }
    dequant_fn *dequant = dequant_for(&run->plan->ctx->kernels, op->dense_type);
    size_t width = (size_t)run->plan->bufs[op->out[0]].width;
    size_t row_bytes = bn_type_row_bytes((bn_type)op->dense_type, width);
    for (int64_t t; (t = bn_next(run, run->n_tokens)) >= 0;) {
        float *x = bn_row(run, op->out[0], (size_t)t);
        dequant((const uint8_t *)op->dense + (size_t)run->tokens[t] * row_bytes, width, x);
        scale_row(x, width, op->scale);
    }
}

/* What is added to out is normed into the thread's scratch first. */
void bn_play_norm(const bn_run *run, const bn_op *op, uint8_t *scratch)
{
    size_t width = (size_t)run->plan->bufs[op->in].width, head_dim = op->head_dim ? (size_t)op->head_dim : width;
    for (int64_t t; (t = bn_next(run, run->n_tokens)) >= 0;) {
        const float *x = bn_row(run, op->in, (size_t)t);
        float *out = bn_row(run, op->out[0], (size_t)t), *y = op->add ? (float *)(void *)scratch : out;
        for (size_t i = 0; i < width; i += head_dim)
            run->plan->ctx->kernels.rmsnorm_f32(x + i, op->weight, head_dim, op->eps, y + i);
        for (size_t i = 0; op->add && i < width; i++)
            out[i] = out[i] + y[i];
    }
}

/* A norm before it goes to the thread's scratch: the input (often the residual stream) stays as it is. */
void bn_play_quant(const bn_run *run, const bn_op *op, uint8_t *scratch)
{
    const bn_kernels *k = &run->plan->ctx->kernels;
    const bn_buf_view *out = &run->plan->views[op->out[0]];
    size_t width = (size_t)run->plan->bufs[op->in].width;
    for (int64_t t; (t = bn_next(run, run->n_tokens)) >= 0;) {
        const float *x = bn_row(run, op->in, (size_t)t);
        if (op->weight) {
            k->rmsnorm_f32(x, op->weight, width, op->eps, (float *)scratch);
            x = (const float *)scratch;
        }
        k->quant_i8(x, width, out->i8 + (size_t)t * out->stride, &out->scale[t], &out->sum[t]);
    }
}

void bn_play_rope(const bn_run *run, const bn_op *op)
{
    size_t head_dim = (size_t)op->head_dim, n_rot = (size_t)op->n_rot, pairs = n_rot / 2;
    for (int64_t t; (t = bn_next(run, run->n_tokens)) >= 0;) {
        const float *cos = op->rope_cos + (run->pos + (size_t)t) * pairs;
        const float *sin = op->rope_sin + (run->pos + (size_t)t) * pairs;
        int neox = op->rope == BN_ROPE_NEOX;
        run->plan->ctx->kernels.rope_f32(bn_row(run, op->in, (size_t)t), (size_t)op->n_heads, head_dim, n_rot, neox,
                                         cos, sin);
        run->plan->ctx->kernels.rope_f32(bn_row(run, op->in2, (size_t)t), (size_t)op->n_kv_heads, head_dim, n_rot, neox,
                                         cos, sin);
    }
}
