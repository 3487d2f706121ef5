/* plan.h: what the files that play ops share: a plan, its buffers, and one run of it. */
#ifndef BN_PLAN_H
#define BN_PLAN_H

#include "bitnet.h"
#include "ctx.h"
#include "dmat.h"
#include "kernels.h"
#include "kv.h"
#include "tmat.h"

enum {
    BN_HEAD_ROWS = 16,          /* rows of a head of floats that become float32 together for several tokens */
    BN_GEMM_MIN_TOKENS = 4,     /* fewer tokens are cheaper one by one, while the tiles are in cache */
    BN_PANEL_BLOCKS = 33,       /* most blocks of 16 cols of a panel: it stays in the L1 cache */
    BN_PANEL_BYTES = BN_GEMM_TILES * BN_PANEL_BLOCKS * 256
};

/* Memory for what bn_acts_i16 points to: the hidden states of max_tokens tokens. */
typedef struct {
    int16_t *x;
    int8_t *digits;
    int32_t *offset;
    float *s;
} bn_acts_memory;

struct bn_plan {
    bn_ctx *ctx;
    bn_op *ops;
    size_t n_ops;
    bn_buf *bufs;
    bn_buf_view *views;
    size_t n_bufs;
    size_t n_ctx, max_tokens;
    bn_acts_memory acts;        /* for quantised heads */
    uint8_t *memory;            /* all buffers, the hidden states of heads, then one scratch area per thread */
    size_t n_bytes;
    uint8_t *scratch;
    size_t scratch_bytes;       /* per thread */
    float *scores;              /* shared by all threads: of a few tokens that they attend for together */
    size_t n_scores;
    uint64_t *times;
    uint64_t arrived_ns, begun_ns;      /* when all threads stood at the last barrier, and when they went on */
};

/* One call of bn_plan_run as one thread sees it. */
typedef struct {
    bn_plan *plan;
    bn_kv *kv;
    const int32_t *tokens;
    size_t n_tokens, pos;
    size_t first, end;
    float *logits;
    size_t n_logits;
    int32_t thread;
} bn_run;

/* Each plays the calling thread's share of one op; pieces of work come from bn_pool_next. */
void bn_play_embed(const bn_run *run, const bn_op *op);
void bn_play_norm(const bn_run *run, const bn_op *op, uint8_t *scratch);
void bn_play_quant(const bn_run *run, const bn_op *op, uint8_t *scratch);
void bn_play_matmul(const bn_run *run, const bn_op *op, uint8_t *scratch);     /* MATMUL and GATED_MATMUL */
void bn_play_rope(const bn_run *run, const bn_op *op);
void bn_play_kv_store(const bn_run *run, const bn_op *op, uint8_t *scratch);
void bn_play_attention(const bn_run *run, const bn_op *op, uint8_t *scratch);
void bn_play_head(const bn_run *run, const bn_op *op, uint8_t *scratch);

/* What one thread may need at once for a MATMUL or GATED_MATMUL. */
size_t bn_matmul_scratch_bytes(const bn_op *op, size_t max_tokens);

/* What one thread may need at once for an ATTENTION, and how many scores the threads of a plan share for it. */
size_t bn_attention_scratch_bytes(const bn_op *op, size_t n_ctx);
size_t bn_attention_shared_scores(const bn_op *op, size_t n_ctx);

/* Row t of a float buffer. */
static inline float *bn_row(const bn_run *run, int32_t buf, size_t t)
{
    const bn_buf_view *view = &run->plan->views[buf];
    return view->f32 + t * view->stride;
}

/* The next of n pieces of the current op for this thread, or -1. */
static inline int64_t bn_next(const bn_run *run, size_t n)
{
    return bn_pool_next(run->plan->ctx->pool, run->thread, (int64_t)n);
}

#endif
