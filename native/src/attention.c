/* attention.c: keys and values into the cache, and causal attention over it with grouped heads.
 *
 * Every (token, head) walks its positions in ascending order, alone: a token computed in a batch adds in the same order
 * as a token computed by itself. */
#include "plan.h"

void bn_play_kv_store(const bn_run *run, const bn_op *op)
{
    const bn_kernels *k = &run->plan->ctx->kernels;
    bn_kv *kv = run->kv;
    for (int64_t t; (t = bn_next(run, run->n_tokens)) >= 0;)
        for (size_t head = 0; head < kv->n_kv_heads; head++) {
            size_t at = (run->pos + (size_t)t) * kv->head_dim, from = head * kv->head_dim;
            k->f16_from_f32(bn_row(run, op->in, (size_t)t) + from, kv->head_dim,
                            bn_kv_head(kv, kv->keys, (size_t)op->layer, head) + at);
            k->f16_from_f32(bn_row(run, op->in2, (size_t)t) + from, kv->head_dim,
                            bn_kv_head(kv, kv->values, (size_t)op->layer, head) + at);
        }
}

void bn_play_attention(const bn_run *run, const bn_op *op, uint8_t *scratch)
{
    const bn_kernels *k = &run->plan->ctx->kernels;
    const bn_kv *kv = run->kv;
    size_t n_heads = (size_t)op->n_heads, group = n_heads / kv->n_kv_heads, head_dim = kv->head_dim;
    float *scores = (float *)scratch;       /* [n_ctx] */

    /* Heads outside, tokens inside: neighbouring pieces read the same keys and values. */
    for (int64_t piece; (piece = bn_next(run, n_heads * run->n_tokens)) >= 0;) {
        size_t head = (size_t)piece / run->n_tokens, t = (size_t)piece % run->n_tokens;
        size_t n_pos = run->pos + t + 1;
        const uint16_t *keys = bn_kv_head(kv, kv->keys, (size_t)op->layer, head / group);
        const uint16_t *values = bn_kv_head(kv, kv->values, (size_t)op->layer, head / group);
        k->attn_qk_f16(bn_row(run, op->in, t) + head * head_dim, keys, n_pos, head_dim, op->scale, scores);
        k->softmax_f32(scores, n_pos);
        k->attn_pv_f16(scores, values, n_pos, head_dim, bn_row(run, op->out[0], t) + head * head_dim);
    }
}
