/* check_model.c: builds the small random model. */
#include "check_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dense_tiles.h"
#include "scalar/half_scalar.h"

const bn_buf BUFS[N_BUFS] = {
    [X] = {BN_BUF_F32, HIDDEN}, [XQ] = {BN_BUF_I8, HIDDEN},   [Q] = {BN_BUF_F32, HEADS * HEAD_DIM},
    [K] = {BN_BUF_F32, KEYS},   [V] = {BN_BUF_F32, KEYS},     [ATT] = {BN_BUF_F32, HEADS * HEAD_DIM},
    [ATTQ] = {BN_BUF_I8, HEADS * HEAD_DIM},                   [GATE] = {BN_BUF_F32, FF},
    [FFN] = {BN_BUF_F32, FF},   [FFQ] = {BN_BUF_I8, FF}};

/* Rows and cols of the seven matrices of a layer: q, k, v, output, gate, up, down. */
static const size_t SHAPES[7][2] = {{HEADS * HEAD_DIM, HIDDEN}, {KEYS, HIDDEN}, {KEYS, HIDDEN},
                                    {HIDDEN, HEADS * HEAD_DIM}, {FF, HIDDEN},   {FF, HIDDEN},   {HIDDEN, FF}};

model_weights weights;

void draw_weights(void)
{
    for (size_t m = 0; m < MATS; m++) {
        size_t n = SHAPES[m % 7][0] * SHAPES[m % 7][1];
        free(weights.trits[m]);
        weights.trits[m] = malloc(n);
        for (size_t i = 0; i < n; i++)
            weights.trits[m][i] = (int8_t)((int)check_below(3) - 1);
    }
    for (size_t i = 0; i < WIDEST; i++)
        weights.norm[i] = 1.0f + 0.5f * check_uniform();
    for (size_t i = 0; i < N_CTX * WIDEST; i++) {
        float angle = 3.0f * check_uniform();
        weights.cos[i] = cosf(angle);
        weights.sin[i] = sinf(angle);
    }
    for (size_t i = 0; i < N_TOKENS; i++)
        weights.tokens[i] = (int32_t)check_below(VOCAB);
}

void draw_dense(bn_type type)
{
    for (size_t i = 0; i < sizeof weights.dense; i++)
        weights.dense[i] = (uint8_t)check_random();
    size_t n = bn_tile_format_of(type).cols;
    n = n ? n : 1;
    size_t block = bn_type_row_bytes(type, n);
    for (size_t at = 0; at + block <= sizeof weights.dense; at += block) {
        float value = check_uniform();
        uint16_t half = bn_f16_from_f32(value * 0.01f), brain = (uint16_t)(bn_bits_from_float(value) >> 16);
        if (type == BN_TYPE_F32)
            memcpy(weights.dense + at, &value, 4);
        else
            memcpy(weights.dense + at + (type == BN_TYPE_Q6_K ? 208 : 0), type == BN_TYPE_BF16 ? &brain : &half, 2);
    }
}

static const bn_op NOTHING = {.in = -1, .in2 = -1, .out = {-1, -1, -1}};

static bn_op op_of(bn_op_kind kind, int32_t in, int32_t in2, int32_t out)
{
    bn_op op = NOTHING;
    op.kind = kind;
    op.in = in;
    op.in2 = in2;
    op.out[0] = out;
    op.eps = 1e-5f;
    if (kind == BN_OP_ROPE || kind == BN_OP_KV_STORE || kind == BN_OP_ATTENTION) {
        op.n_heads = HEADS;
        op.n_kv_heads = KV_HEADS;
        op.head_dim = HEAD_DIM;
    }
    op.scale = kind == BN_OP_ATTENTION ? 1.0f / sqrtf((float)HEAD_DIM) : 0.0f;
    return op;
}

bn_op quant_of(int32_t in, int32_t out, int normed)
{
    bn_op op = op_of(BN_OP_QUANT, in, -1, out);
    op.weight = normed ? weights.norm : NULL;
    return op;
}

bn_op matmul_of(int32_t in, int32_t n_mats, bn_tmat *const *mats, int32_t out, int32_t out1, int32_t out2)
{
    bn_op op = op_of(BN_OP_MATMUL, in, -1, out);
    op.n_mats = n_mats;
    for (int32_t m = 0; m < n_mats; m++)
        op.mat[m] = mats[m];
    op.out[1] = out1;
    op.out[2] = out2;
    op.add = out == X;
    return op;
}

/* The norm of a buffer, of the whole width if head_dim is 0. */
static bn_op norm_of(int32_t in, int32_t out, int32_t head_dim)
{
    bn_op op = op_of(BN_OP_NORM, in, -1, out);
    op.weight = weights.norm;
    op.head_dim = head_dim;
    op.add = out != in;
    return op;
}

/* X += mat @ in, or, with norms after, X += norm(mat @ in) by way of a buffer that nobody needs any more. */
static size_t list_residual(const family *f, int32_t in, bn_tmat *const *mat, bn_op *ops)
{
    if (!f->window) {
        ops[0] = matmul_of(in, 1, mat, X, -1, -1);
        return 1;
    }
    ops[0] = matmul_of(in, 1, mat, ATT, -1, -1);
    ops[1] = norm_of(ATT, X, 0);
    return 2;
}

/* The ops of one layer. Returns how many. */
static size_t list_layer(const family *f, int32_t layer, bn_tmat *const *mats, bn_op *ops)
{
    size_t n = 0;
    ops[n++] = quant_of(X, XQ, 1);
    ops[n++] = matmul_of(XQ, 3, mats, Q, K, V);
    if (f->window) {
        ops[n++] = norm_of(Q, Q, HEAD_DIM);
        ops[n++] = norm_of(K, K, HEAD_DIM);
    }
    ops[n] = op_of(BN_OP_ROPE, Q, K, -1);
    ops[n].n_rot = f->n_rot;
    ops[n].rope = f->rope;
    ops[n].rope_cos = weights.cos;
    ops[n++].rope_sin = weights.sin;
    ops[n] = op_of(BN_OP_KV_STORE, K, V, -1);
    ops[n++].layer = layer;
    ops[n] = op_of(BN_OP_ATTENTION, Q, -1, ATT);
    ops[n].window = f->window;
    ops[n++].layer = layer;
    ops[n++] = quant_of(ATT, ATTQ, f->sub_norms);
    n += list_residual(f, ATTQ, mats + 3, ops + n);
    ops[n++] = quant_of(X, XQ, 1);
    ops[n++] = matmul_of(XQ, 1, mats + 4, GATE, -1, -1);
    ops[n] = matmul_of(XQ, 1, mats + 5, FFN, -1, -1);
    ops[n].kind = BN_OP_GATED_MATMUL;
    ops[n].in2 = GATE;
    ops[n++].act = f->act;
    ops[n++] = quant_of(FFN, FFQ, f->sub_norms);
    return n + list_residual(f, FFQ, mats + 6, ops + n);
}

static size_t list_model(const family *f, bn_tmat *const *mats, const bn_dmat *head, bn_op *ops)
{
    size_t n = 0;
    ops[n] = op_of(BN_OP_EMBED, -1, -1, X);
    ops[n].scale = f->window ? 16.0f : 0.0f;
    ops[n].dense_type = (int32_t)f->dense;
    ops[n].dense = weights.dense;
    ops[n++].dense_rows = VOCAB;
    for (int32_t layer = 0; layer < LAYERS; layer++)
        n += list_layer(f, layer, mats + 7 * layer, ops + n);
    ops[n] = op_of(BN_OP_NORM, X, -1, X);
    ops[n++].weight = weights.norm;
    ops[n] = op_of(BN_OP_HEAD, X, -1, -1);
    ops[n++].head = head;
    return n;
}

int model_open(model *m, const family *f, const layouts *layouts, const char *isa, int32_t n_threads)
{
    memset(m, 0, sizeof *m);
    int ok = bn_ctx_create(isa, n_threads, &m->ctx) == BN_OK;
    for (size_t i = 0; ok && i < MATS; i++) {
        const size_t *shape = SHAPES[i % 7];
        const float scale = 0.01f * (float)(i + 1);
        ok = bn_tmat_pack(m->ctx, BN_PACK_TRITS, layouts->of[i % 7], weights.trits[i], shape[0] * shape[1], shape[0],
                          shape[1], NULL, &scale, 1, 1, &m->mats[i]) == BN_OK;
    }
    size_t head_bytes = VOCAB * bn_type_row_bytes(f->dense, HIDDEN);
    if (!ok || bn_dmat_pack(m->ctx, f->dense, weights.dense, head_bytes, VOCAB, HIDDEN, &m->head) != BN_OK)
        return 0;
    m->n_ops = list_model(f, m->mats, m->head, m->ops);
    return bn_plan_create(m->ctx, m->ops, m->n_ops, BUFS, N_BUFS, N_CTX, N_TOKENS, &m->plan) == BN_OK &&
           bn_kv_create(BN_KV_F16, LAYERS, KV_HEADS, HEAD_DIM, N_CTX, &m->kv) == BN_OK;
}

void model_close(model *m)
{
    bn_plan_free(m->plan);
    bn_kv_free(m->kv);
    for (size_t i = 0; i < MATS; i++)
        bn_tmat_free(m->mats[i]);
    bn_dmat_free(m->head);
    bn_ctx_free(m->ctx);
}
