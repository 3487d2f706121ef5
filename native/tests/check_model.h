/* check_model.h: a small random model, as a plan, in one context. Shared by the checks of results and of arguments. */
#ifndef BN_CHECK_MODEL_H
#define BN_CHECK_MODEL_H

#include "bitnet.h"
#include "check.h"

enum {
    HIDDEN = 256,               /* a multiple of every dense block */
    HEADS = 8, KV_HEADS = 2, HEAD_DIM = 32, KEYS = KV_HEADS * HEAD_DIM,
    FF = 424,                   /* no multiple of a tile's 16 rows: 26.5 tiles */
    VOCAB = 149, LAYERS = 2, N_CTX = 24, N_TOKENS = 19,
    MATS = 7 * LAYERS, MAX_OPS = 18 * LAYERS,
    WIDEST = 1024               /* a fuzzed plan may read this many values per row of what it is given */
};

/* Buffers: the residual stream, its int8, queries, keys, values, attention and its int8, the gate, the gated product and its int8. */
enum { X, XQ, Q, K, V, ATT, ATTQ, GATE, FFN, FFQ, N_BUFS };

extern const bn_buf BUFS[N_BUFS];

/* Weights are drawn once, so that every context packs the same. */
typedef struct {
    int8_t *trits[MATS];
    float norm[WIDEST];
    float cos[N_CTX * WIDEST], sin[N_CTX * WIDEST];
    uint8_t dense[VOCAB * WIDEST * 4];
    int32_t tokens[N_TOKENS];
} model_weights;

extern model_weights weights;

typedef struct {
    bn_act act;
    bn_rope rope;
    int32_t n_rot, sub_norms;
    bn_type dense;
    int32_t window;             /* not 0: layers see so many positions, heads are normed, what is added is, too, and
                                 * embeddings are scaled */
} family;

void draw_weights(void);
/* Random bytes whose scales (or values) are small finite numbers. */
void draw_dense(bn_type type);

typedef struct {
    bn_ctx *ctx;
    bn_tmat *mats[MATS];
    bn_dmat *head;
    bn_op ops[MAX_OPS];
    size_t n_ops;
    bn_plan *plan;
    bn_kv *kv;
} model;

/* The layouts of a layer's seven matrices: q, k, v, output, gate, up, down. */
typedef struct {
    bn_layout of[7];
} layouts;

/* Returns 1 if everything could be created; model_close is needed either way. */
int model_open(model *m, const family *f, const layouts *layouts, const char *isa, int32_t n_threads);
void model_close(model *m);

/* Ops with the model's shapes; fields they do not use are nothing. */
bn_op quant_of(int32_t in, int32_t out, int normed);
bn_op matmul_of(int32_t in, int32_t n_mats, bn_tmat *const *mats, int32_t out, int32_t out1, int32_t out2);

#endif
