/* attention.c: keys and values into the cache, and causal attention over it with grouped heads.
 *
 * A block is all query heads that share a key head, for some tokens: its rows meet each key and value together. Blocks go
 * to threads whole. A few tokens far from the start have too few blocks for that: then all threads score positions,
 * soften rows and weigh dimensions together. Either way each score is one sum over the dimensions and each result one
 * sum over the positions that the token sees, both in ascending order: a token computed in a batch adds as a token
 * computed alone. With a window, what lies before it is neither read nor written. */
#include "plan.h"

#include <string.h>

#include "unroll.h"

enum {
    BLOCK_ROWS = 48,            /* rows of a block, about: four tiles of the widest kernel */
    BLOCK_SCORES = 1 << 20,     /* scores of a block of several tokens, at most: they should stay in a cache */
    CHUNK_POSITIONS = 1024,     /* positions whose weights and values meet at a time */
    BLOCKS_PER_THREAD = 4,      /* fewer blocks than these might leave threads idle at the end */
    SPLIT_TOKENS = 4,           /* most tokens that threads attend for together, */
    SPLIT_POSITIONS = 256,      /* from so many positions on */
    SPLIT_BLOCKS = 16,          /* blocks of 16 positions that a thread scores at a time */
    SPLIT_SLABS = 2             /* slabs of 16 dimensions that a thread weighs at a time */
};

/* ---- Into the cache ---- */

/* One head of one token as the cache's type: [head_dim] in scratch, or x itself. Writes the scale of int8. */
static const void *as_stored(const bn_kernels *k, const bn_kv *kv, const float *x, uint8_t *scratch, float *scale)
{
    if (kv->type == BN_KV_F32)
        return x;
    if (kv->type == BN_KV_F16) {
        k->f16_from_f32(x, kv->head_dim, (uint16_t *)(void *)scratch);
        return scratch;
    }
    float s;
    int32_t sum;
    k->quant_i8(x, kv->head_dim, (int8_t *)scratch, &s, &sum);
    *scale = 1.0f / s;
    return scratch;
}

/* Writes n values of `bytes` each (a constant) into the same lane of n groups of lanes. */
ALWAYS_INLINE void spread(uint8_t *to, const uint8_t *from, size_t n, size_t bytes)
{
    for (size_t i = 0; i < n; i++)
        memcpy(to + i * BN_LANES * bytes, from + i * bytes, bytes);
}

static void store_head(const bn_kernels *k, const bn_kv *kv, size_t index, size_t pos, const float *key,
                       const float *value, uint8_t *scratch)
{
    size_t bytes = kv->value_bytes, lane = pos % BN_LANES;
    float *key_scales = bn_kv_scales(kv, kv->key_scales, index);
    float *value_scales = bn_kv_scales(kv, kv->value_scales, index);
    const uint8_t *from = as_stored(k, kv, key, scratch, key_scales ? key_scales + pos : NULL);
    uint8_t *to = bn_kv_keys(kv, index, pos / BN_LANES) + lane * bytes;
    switch (kv->type) {
    case BN_KV_F32: spread(to, from, kv->head_dim, sizeof(float)); break;
    case BN_KV_F16: spread(to, from, kv->head_dim, sizeof(uint16_t)); break;
    case BN_KV_I8: spread(to, from, kv->head_dim, sizeof(int8_t)); break;
    }
    from = as_stored(k, kv, value, scratch, value_scales ? value_scales + pos : NULL);
    for (size_t d = 0; d < kv->head_dim; d += BN_LANES, from += BN_LANES * bytes) {
        size_t n = kv->head_dim - d < BN_LANES ? kv->head_dim - d : BN_LANES;
        memcpy(bn_kv_values(kv, index, d / BN_LANES, pos), from, n * bytes);
    }
}

void bn_play_kv_store(const bn_run *run, const bn_op *op, uint8_t *scratch)
{
    const bn_kv *kv = run->kv;
    /* Heads outside, tokens inside: neighbouring pieces write to the same keys. */
    for (int64_t piece; (piece = bn_next(run, kv->n_kv_heads * run->n_tokens)) >= 0;) {
        size_t head = (size_t)piece / run->n_tokens, t = (size_t)piece % run->n_tokens;
        store_head(&run->plan->ctx->kernels, kv, bn_kv_index(kv, (size_t)op->layer, head), run->pos + t,
                   bn_row(run, op->in, t) + head * kv->head_dim, bn_row(run, op->in2, t) + head * kv->head_dim, scratch);
    }
}

/* ---- One block ---- */

typedef __typeof__(*((bn_kernels *)0)->slabs_f32) slabs_fn;

static slabs_fn *slabs_of(const bn_kernels *k, bn_kv_type type)
{
    return type == BN_KV_F32 ? k->slabs_f32 : type == BN_KV_F16 ? k->slabs_f16 : k->slabs_i8;
}

/* Heads kv_head * group.. of tokens first..first+n_tokens-1 of a run; row t * group + h is head h of token t. */
typedef struct {
    size_t kv_head, group, first, n_tokens;
    size_t base;                /* position of the first score of a row, a multiple of 16 */
    float *scores;              /* [rows][stride], then weights */
    size_t stride;
    float *sums;                /* [rows]: of the weights */
} block;

/* From one row of scores to the next: whole blocks of positions, an odd number of them, so that the same position of many
 * rows does not fall into the same set of a cache. */
static size_t score_stride(size_t n_pos)
{
    return (bn_div_up(n_pos, BN_LANES) | 1) * BN_LANES;
}

/* The first position that the token at pos sees. */
static size_t seen_from(const bn_op *op, size_t pos)
{
    size_t window = (size_t)op->window;
    return window == 0 || pos < window ? 0 : pos - window + 1;
}

/* Where the scores of tokens from pos on begin. */
static size_t base_of(const bn_op *op, size_t pos)
{
    return seen_from(op, pos) / BN_LANES * BN_LANES;
}

/* Sums of products with the keys of n blocks of 16 positions, `from` blocks behind the base. q: room for
 * [rows][head_dim]. */
static void score(const bn_run *run, const bn_op *op, const block *b, size_t from, size_t n, float *q)
{
    const bn_kv *kv = run->kv;
    size_t width = b->group * kv->head_dim;
    for (size_t t = 0; t < b->n_tokens; t++)
        memcpy(q + t * width, bn_row(run, op->in, b->first + t) + b->kv_head * width, width * sizeof *q);
    slabs_of(&run->plan->ctx->kernels, kv->type)(
        q, kv->head_dim, b->n_tokens * b->group,
        bn_kv_keys(kv, bn_kv_index(kv, (size_t)op->layer, b->kv_head), b->base / BN_LANES + from),
        kv->head_dim * BN_LANES, n, kv->head_dim, 0, b->scores + from * BN_LANES, b->stride);
}

/* The scores of one row become weights. */
static void soften(const bn_run *run, const bn_op *op, const block *b, size_t row)
{
    const bn_kv *kv = run->kv;
    size_t index = bn_kv_index(kv, (size_t)op->layer, b->kv_head), pos = run->pos + b->first + row / b->group;
    size_t from = seen_from(op, pos);
    const float *key_scales = bn_kv_scales(kv, kv->key_scales, index);
    const float *value_scales = bn_kv_scales(kv, kv->value_scales, index);
    b->sums[row] = run->plan->ctx->kernels.softmax_f32(
        b->scores + row * b->stride + (from - b->base), pos + 1 - from, op->scale,
        key_scales ? key_scales + from : NULL, value_scales ? value_scales + from : NULL);
}

/* Adds the values of positions from..to-1 to the results of tokens t..t+n_tokens-1 of a block, in n slabs from `slab`
 * on; nothing if to <= from. */
static void weigh_range(const bn_run *run, const bn_op *op, const block *b, size_t t, size_t n_tokens, size_t from,
                        size_t to, size_t slab, size_t n, float *out)
{
    const bn_kv *kv = run->kv;
    slabs_fn *slabs = slabs_of(&run->plan->ctx->kernels, kv->type);
    size_t index = bn_kv_index(kv, (size_t)op->layer, b->kv_head), row = t * b->group, width = n * BN_LANES;
    for (size_t pos = from; pos < to; pos += CHUNK_POSITIONS)
        slabs(b->scores + row * b->stride + (pos - b->base), b->stride, n_tokens * b->group,
              bn_kv_values(kv, index, slab, pos), kv->n_pos * BN_LANES, n,
              to - pos < CHUNK_POSITIONS ? to - pos : CHUNK_POSITIONS, 1, out + row * width, width);
}

/* The result's dimensions of n slabs from `slab` on. out: room for [rows][16 * n]. */
static void weigh(const bn_run *run, const bn_op *op, const block *b, size_t slab, size_t n, float *out)
{
    const bn_kv *kv = run->kv;
    size_t rows = b->n_tokens * b->group, width = n * BN_LANES, d = slab * BN_LANES;
    size_t last = kv->head_dim - d < width ? kv->head_dim - d : width, pos = run->pos + b->first;
    /* All tokens see from..to-1, none if the window is shorter than the block; each sees some before and some after. */
    size_t to = pos + 1, from = seen_from(op, pos + b->n_tokens - 1);
    from = from < to ? from : to;
    memset(out, 0, rows * width * sizeof *out);
    for (size_t t = 0; op->window && t < b->n_tokens; t++)
        weigh_range(run, op, b, t, 1, seen_from(op, pos + t), from, slab, n, out);
    weigh_range(run, op, b, 0, b->n_tokens, from, to, slab, n, out);
    for (size_t t = 1; t < b->n_tokens; t++) {
        size_t seen = seen_from(op, pos + t);
        weigh_range(run, op, b, t, 1, seen > to ? seen : to, pos + t + 1, slab, n, out);
    }
    for (size_t row = 0; row < rows; row++, out += width) {
        size_t head = b->kv_head * b->group + row % b->group;
        for (size_t i = 0; i < width; i += BN_LANES)
            for (size_t l = 0; l < BN_LANES; l++)
                out[i + l] = out[i + l] / b->sums[row];
        memcpy(bn_row(run, op->out[0], b->first + row / b->group) + head * kv->head_dim + d, out, last * sizeof *out);
    }
}

/* ---- Blocks and threads ---- */

/* Tokens of a block whose last one stands at position n_pos - 1. */
static size_t tokens_per_block(const bn_op *op, size_t group, size_t n_pos)
{
    size_t most = (size_t)op->window + BLOCK_ROWS + BN_LANES;      /* that a block with a window sees */
    size_t rows = BLOCK_SCORES / score_stride(op->window && most < n_pos ? most : n_pos);
    rows = rows < BLOCK_ROWS ? rows : BLOCK_ROWS;
    return rows < group ? 1 : rows / group;
}

size_t bn_attention_scratch_bytes(const bn_op *op, size_t n_ctx)
{
    size_t group = (size_t)(op->n_heads / op->n_kv_heads), head_dim = (size_t)op->head_dim;
    size_t rows = BLOCK_ROWS > SPLIT_TOKENS * group ? BLOCK_ROWS : SPLIT_TOKENS * group;
    size_t scores = rows * score_stride(n_ctx), least = group * score_stride(n_ctx);
    if (scores > BLOCK_SCORES)
        scores = least > BLOCK_SCORES ? least : BLOCK_SCORES;
    return (scores + rows * (2 * head_dim + BN_LANES + 1)) * sizeof(float);
}

size_t bn_attention_shared_scores(const bn_op *op, size_t n_ctx)
{
    return SPLIT_TOKENS * (size_t)op->n_heads * (1 + score_stride(n_ctx));
}

/* The block of all tokens and one key head, with scores that the threads share: [kv_head][rows][stride], and the sums. */
static block shared_block(const bn_run *run, const bn_op *op, size_t kv_head, size_t group, size_t stride)
{
    size_t rows = group * run->n_tokens;
    float *sums = run->plan->scores + run->kv->n_kv_heads * rows * stride;
    return (block){.kv_head = kv_head, .group = group, .n_tokens = run->n_tokens, .base = base_of(op, run->pos),
                   .scores = run->plan->scores + kv_head * rows * stride, .stride = stride,
                   .sums = sums + kv_head * rows};
}

/* All threads together: scores, weights, values, with a barrier between. */
static void play_split(const bn_run *run, const bn_op *op, float *scratch)
{
    const bn_kv *kv = run->kv;
    size_t group = (size_t)op->n_heads / kv->n_kv_heads, rows = group * run->n_tokens;
    size_t n_pos = run->pos + run->n_tokens - base_of(op, run->pos);
    size_t stride = score_stride(n_pos), n_blocks = bn_div_up(n_pos, BN_LANES);
    size_t ranges = bn_div_up(n_blocks, SPLIT_BLOCKS), slabs = bn_div_up(kv->n_slabs, SPLIT_SLABS);
    for (int64_t piece; (piece = bn_next(run, kv->n_kv_heads * ranges)) >= 0;) {
        size_t from = (size_t)piece % ranges * SPLIT_BLOCKS, left = n_blocks - from;
        block b = shared_block(run, op, (size_t)piece / ranges, group, stride);
        score(run, op, &b, from, left < SPLIT_BLOCKS ? left : SPLIT_BLOCKS, scratch);
    }
    bn_pool_barrier(run->plan->ctx->pool);
    for (int64_t piece; (piece = bn_next(run, kv->n_kv_heads * rows)) >= 0;) {
        block b = shared_block(run, op, (size_t)piece / rows, group, stride);
        soften(run, op, &b, (size_t)piece % rows);
    }
    bn_pool_barrier(run->plan->ctx->pool);
    for (int64_t piece; (piece = bn_next(run, kv->n_kv_heads * slabs)) >= 0;) {
        size_t from = (size_t)piece % slabs * SPLIT_SLABS, left = kv->n_slabs - from;
        block b = shared_block(run, op, (size_t)piece / slabs, group, stride);
        weigh(run, op, &b, from, left < SPLIT_SLABS ? left : SPLIT_SLABS, scratch);
    }
}

/* Each thread takes whole blocks. Heads outside, tokens inside: neighbouring blocks read the same keys and values. */
static void play_blocks(const bn_run *run, const bn_op *op, float *scratch)
{
    const bn_kv *kv = run->kv;
    size_t group = (size_t)op->n_heads / kv->n_kv_heads, n_threads = (size_t)bn_ctx_n_threads(run->plan->ctx);
    size_t tokens = tokens_per_block(op, group, run->pos + run->n_tokens);
    size_t even = bn_div_up(run->n_tokens * kv->n_kv_heads, BLOCKS_PER_THREAD * n_threads);
    if (n_threads > 1 && even < tokens)
        tokens = even;
    size_t n_blocks = bn_div_up(run->n_tokens, tokens), most = tokens * group;
    float *out = scratch + most * kv->head_dim, *sums = out + most * kv->n_slabs * BN_LANES;
    for (int64_t piece; (piece = bn_next(run, kv->n_kv_heads * n_blocks)) >= 0;) {
        size_t first = (size_t)piece % n_blocks * tokens, left = run->n_tokens - first;
        block b = {.kv_head = (size_t)piece / n_blocks, .group = group, .first = first,
                   .n_tokens = left < tokens ? left : tokens, .base = base_of(op, run->pos + first),
                   .scores = sums + most, .sums = sums};
        size_t n_pos = run->pos + first + b.n_tokens - b.base;
        b.stride = score_stride(n_pos);
        score(run, op, &b, 0, bn_div_up(n_pos, BN_LANES), scratch);
        for (size_t row = 0; row < b.n_tokens * group; row++)
            soften(run, op, &b, row);
        weigh(run, op, &b, 0, kv->n_slabs, out);
    }
}

void bn_play_attention(const bn_run *run, const bn_op *op, uint8_t *scratch)
{
    int split = bn_ctx_n_threads(run->plan->ctx) > 1 && run->n_tokens <= SPLIT_TOKENS &&
                run->pos - base_of(op, run->pos) >= SPLIT_POSITIONS;
    if (split)
        play_split(run, op, (float *)(void *)scratch);
    else
        play_blocks(run, op, (float *)(void *)scratch);
}
