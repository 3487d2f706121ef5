/* plan.c: the player. Checks a list of ops once, owns the buffers, and walks the list with all threads.
 *
 * After creation nothing can index outside a buffer: every op is checked here against the buffers, the matrices and the
 * context length, and bn_plan_run checks its own arguments. So the ops themselves check nothing. */
#include "plan.h"

#include <stdlib.h>
#include <string.h>

#include "os.h"

/* BOUND: quant_i8 adds up to MAX_WIDTH values of at least -128 in an int32, as the kernels do with codes up to 2. */
enum { ALIGN = 64, MAX_WIDTH = 1 << 22, MAX_TOKENS = 1 << 16, MAX_CTX = 1 << 24 };

_Static_assert(2LL * 128 * MAX_WIDTH <= 1LL << 31, "int32 sums of q and of code * q");

static size_t align_up(size_t n)
{
    return bn_div_up(n, ALIGN) * ALIGN;
}

/* ---- Checking ---- */

static int is_buf(const bn_plan *plan, int32_t index, bn_buf_kind kind)
{
    return index >= 0 && (size_t)index < plan->n_bufs && plan->bufs[index].kind == (int32_t)kind;
}

static int is_f32(const bn_plan *plan, int32_t index, int64_t width)
{
    return is_buf(plan, index, BN_BUF_F32) && plan->bufs[index].width == width;
}

/* Width of a float buffer, or -1. */
static int64_t f32_width(const bn_plan *plan, int32_t index)
{
    return is_buf(plan, index, BN_BUF_F32) ? plan->bufs[index].width : -1;
}

static int matmul_is_valid(const bn_plan *plan, const bn_op *op)
{
    if (!is_buf(plan, op->in, BN_BUF_I8) || op->n_mats < 1 || op->n_mats > 3)
        return 0;
    /* Cols are summed by all threads together, one matrix at a time. */
    for (int32_t m = 0; op->n_mats > 1 && m < op->n_mats; m++)
        if (op->mat[m] && op->mat[m]->layout == BN_LAYOUT_C2)
            return 0;
    for (int32_t m = 0; m < op->n_mats; m++)
        if (!op->mat[m] || op->mat[m]->cols != (size_t)plan->bufs[op->in].width ||
            !is_f32(plan, op->out[m], (int64_t)op->mat[m]->rows))
            return 0;
    /* Threads write the outputs side by side: no two may be the same buffer. */
    for (int32_t m = 1; m < op->n_mats; m++)
        if (op->out[m] == op->out[m - 1] || op->out[m] == op->out[0])
            return 0;
    return 1;
}

/* A norm of the whole width, or of heads of it; what it adds to is not what it reads. */
static int norm_is_valid(const bn_plan *plan, const bn_op *op, int64_t width)
{
    return width > 0 && op->weight && is_f32(plan, op->out[0], width) && !(op->add && op->in == op->out[0]) &&
           op->head_dim >= 0 && (op->head_dim == 0 || width % op->head_dim == 0);
}

static int heads_are_valid(const bn_op *op)
{
    return op->n_heads > 0 && op->n_kv_heads > 0 && op->head_dim > 0 && op->n_heads % op->n_kv_heads == 0;
}

static int dense_is_valid(const bn_op *op, int64_t width)
{
    return op->dense && op->dense_rows > 0 && op->dense_rows <= INT32_MAX && width > 0 &&
           bn_type_row_bytes((bn_type)op->dense_type, (size_t)width) > 0;
}

static int op_is_valid(const bn_plan *plan, const bn_op *op)
{
    int64_t in = f32_width(plan, op->in), queries = (int64_t)op->n_heads * op->head_dim;
    int64_t keys = (int64_t)op->n_kv_heads * op->head_dim;
    switch ((bn_op_kind)op->kind) {
    case BN_OP_EMBED:
        if (op->head)
            return !op->dense && is_f32(plan, op->out[0], (int64_t)op->head->cols);
        return dense_is_valid(op, f32_width(plan, op->out[0]));
    case BN_OP_NORM: return norm_is_valid(plan, op, in);
    case BN_OP_QUANT:
        return in > 0 && is_buf(plan, op->out[0], BN_BUF_I8) && plan->bufs[op->out[0]].width == in;
    case BN_OP_MATMUL: return matmul_is_valid(plan, op);
    case BN_OP_GATED_MATMUL:
        return op->n_mats == 1 && !op->add && matmul_is_valid(plan, op) &&
               is_f32(plan, op->in2, (int64_t)op->mat[0]->rows) && op->in2 != op->out[0] &&
               op->act >= BN_ACT_RELU2 && op->act <= BN_ACT_GELU;
    case BN_OP_ROPE:
        return heads_are_valid(op) && is_f32(plan, op->in, queries) && is_f32(plan, op->in2, keys) && op->n_rot > 0 &&
               op->n_rot % 2 == 0 && op->n_rot <= op->head_dim && op->rope_cos && op->rope_sin;
    case BN_OP_KV_STORE:
        return heads_are_valid(op) && op->layer >= 0 && is_f32(plan, op->in, keys) && is_f32(plan, op->in2, keys);
    case BN_OP_ATTENTION:
        return heads_are_valid(op) && op->layer >= 0 && op->window >= 0 && is_f32(plan, op->in, queries) &&
               is_f32(plan, op->out[0], queries) && op->in != op->out[0];
    case BN_OP_HEAD: return op->head && in > 0 && op->head->cols == (size_t)in;
    }
    return 0;
}

/* ---- Creation ---- */

/* What one thread may need at once for this op. */
static size_t scratch_for(const bn_plan *plan, const bn_op *op)
{
    size_t n = 0;
    if (op->kind == BN_OP_MATMUL || op->kind == BN_OP_GATED_MATMUL) {
        n = bn_matmul_scratch_bytes(op, plan->max_tokens);
    } else if (op->kind == BN_OP_ATTENTION) {
        n = bn_attention_scratch_bytes(op, plan->n_ctx);
    } else if (op->kind == BN_OP_KV_STORE) {
        n = (size_t)op->head_dim * sizeof(float);
    } else if (op->kind == BN_OP_QUANT || op->kind == BN_OP_NORM) {
        n = (size_t)plan->bufs[op->in].width * sizeof(float);
    } else if (op->kind == BN_OP_HEAD) {
        size_t rows = BN_HEAD_ROWS * op->head->cols, tokens = plan->max_tokens * BN_TILE_ROWS;
        n = (rows > tokens ? rows : tokens) * sizeof(float);
    }
    return align_up(n);
}

/* A place in memory; none while only counting. */
static void *place(uint8_t *memory, size_t at)
{
    return memory ? memory + at : NULL;
}

/* Hidden states for the quantised heads, from `at` on; one op plays at a time, so they share. Returns the end. */
static size_t place_acts(bn_plan *plan, uint8_t *memory, size_t at)
{
    size_t cols = 0, tokens = plan->max_tokens;
    for (size_t i = 0; i < plan->n_ops; i++)
        if (plan->ops[i].kind == BN_OP_HEAD && plan->ops[i].head->format.cols && plan->ops[i].head->cols > cols)
            cols = plan->ops[i].head->cols;
    size_t n = align_up(tokens * cols), scale_bytes = cols ? align_up(tokens * sizeof(float)) : 0;
    if (memory && cols)
        plan->acts = (bn_acts_memory){place(memory, at), place(memory, at + 2 * n), place(memory, at + 4 * n),
                                      place(memory, at + 5 * n)};
    return at + 5 * n + scale_bytes;
}

/* Gives every buffer its place; with memory NULL only counts. Returns the bytes needed. */
static size_t place_buffers(bn_plan *plan, uint8_t *memory)
{
    size_t at = 0, tokens = plan->max_tokens;
    for (size_t i = 0; i < plan->n_bufs; i++) {
        size_t width = (size_t)plan->bufs[i].width;
        bn_buf_view view = {.stride = width};
        if (plan->bufs[i].kind == BN_BUF_I8) {
            view.stride = bn_div_up(width, BN_GROUP_COLS) * BN_GROUP_COLS + ALIGN;  /* kernels.h: zeros that follow */
            view.i8 = place(memory, at);
            at += tokens * view.stride;
            view.scale = place(memory, at);
            at += align_up(tokens * sizeof(float));
            view.sum = place(memory, at);
            at += align_up(tokens * sizeof(int32_t));
        } else {
            view.f32 = place(memory, at);
            at += align_up(tokens * width * sizeof(float));
        }
        if (memory)
            plan->views[i] = view;
    }
    return place_acts(plan, memory, at);
}

static bn_status build(bn_plan *plan, const bn_op *ops, const bn_buf *bufs)
{
    plan->ops = malloc(plan->n_ops * sizeof *ops);
    plan->bufs = malloc(plan->n_bufs * sizeof *bufs);
    plan->views = calloc(plan->n_bufs, sizeof *plan->views);
    plan->times = calloc(plan->n_ops, sizeof *plan->times);
    if (!plan->ops || !plan->bufs || !plan->views || !plan->times)
        return BN_ERR_NOMEM;
    memcpy(plan->ops, ops, plan->n_ops * sizeof *ops);
    memcpy(plan->bufs, bufs, plan->n_bufs * sizeof *bufs);
    for (size_t i = 0; i < plan->n_bufs; i++)
        if (bufs[i].width < 1 || bufs[i].width > MAX_WIDTH ||
            (bufs[i].kind != BN_BUF_F32 && bufs[i].kind != BN_BUF_I8))
            return BN_ERR_ARG;
    for (size_t i = 0; i < plan->n_ops; i++) {
        if (!op_is_valid(plan, &ops[i]))
            return BN_ERR_ARG;
        size_t scratch = scratch_for(plan, &ops[i]);
        plan->scratch_bytes = scratch > plan->scratch_bytes ? scratch : plan->scratch_bytes;
        size_t scores = ops[i].kind == BN_OP_ATTENTION ? bn_attention_shared_scores(&ops[i], plan->n_ctx) : 0;
        plan->n_scores = scores > plan->n_scores ? scores : plan->n_scores;
    }
    size_t at = align_up(place_buffers(plan, NULL)), shared = align_up(plan->n_scores * sizeof *plan->scores);
    plan->n_bytes = at + shared + (size_t)bn_ctx_n_threads(plan->ctx) * plan->scratch_bytes + ALIGN;
    plan->memory = bn_os_pages_alloc(plan->n_bytes, 0);     /* one token touches a little of what a batch does */
    if (!plan->memory)
        return BN_ERR_NOMEM;
    place_buffers(plan, plan->memory);
    plan->scores = place(plan->memory, at);
    plan->scratch = plan->memory + at + shared;
    return BN_OK;
}

bn_status bn_plan_create(bn_ctx *ctx, const bn_op *ops, size_t n_ops, const bn_buf *bufs, size_t n_bufs, size_t n_ctx,
                         size_t max_tokens, bn_plan **out)
{
    if (!ctx || !ops || !bufs || !out || n_ops == 0 || n_ops > 1 << 20 || n_bufs == 0 || n_bufs > 1 << 10 ||
        n_ctx == 0 || n_ctx > MAX_CTX || max_tokens == 0 || max_tokens > MAX_TOKENS)
        return BN_ERR_ARG;
    *out = NULL;
    bn_plan *plan = calloc(1, sizeof *plan);
    if (!plan)
        return BN_ERR_NOMEM;
    *plan = (bn_plan){.ctx = ctx, .n_ops = n_ops, .n_bufs = n_bufs, .n_ctx = n_ctx, .max_tokens = max_tokens};
    bn_status status = build(plan, ops, bufs);
    if (status != BN_OK) {
        bn_plan_free(plan);
        return status;
    }
    *out = plan;
    return BN_OK;
}

void bn_plan_free(bn_plan *plan)
{
    if (!plan)
        return;
    if (plan->memory)
        bn_os_pages_free(plan->memory, plan->n_bytes);
    free(plan->ops);
    free(plan->bufs);
    free(plan->views);
    free(plan->times);
    free(plan);
}

/* ---- Playing ---- */

static void play_op(const bn_run *run, const bn_op *op, uint8_t *scratch)
{
    switch ((bn_op_kind)op->kind) {
    case BN_OP_EMBED: bn_play_embed(run, op); break;
    case BN_OP_NORM: bn_play_norm(run, op, scratch); break;
    case BN_OP_QUANT: bn_play_quant(run, op, scratch); break;
    case BN_OP_MATMUL:
    case BN_OP_GATED_MATMUL: bn_play_matmul(run, op, scratch); break;
    case BN_OP_ROPE: bn_play_rope(run, op); break;
    case BN_OP_KV_STORE: bn_play_kv_store(run, op, scratch); break;
    case BN_OP_ATTENTION: bn_play_attention(run, op, scratch); break;
    case BN_OP_HEAD: bn_play_head(run, op, scratch); break;
    }
}

/* Is there so little to do that one thread does it while the others wait? */
static int is_small(const bn_run *run, const bn_op *op)
{
    return run->n_tokens == 1 && (op->kind == BN_OP_EMBED || op->kind == BN_OP_NORM || op->kind == BN_OP_QUANT ||
                                  op->kind == BN_OP_ROPE || op->kind == BN_OP_KV_STORE);
}

/* Ops first..end-1 of a run, and the scratch of the thread that will play them if it is the last one at the barrier. */
typedef struct {
    const bn_run *run;
    size_t first, end;
    uint8_t *scratch;
} small_ops;

/* Notes the time at which all threads had arrived, and the time each small op took after that. */
static void play_alone(void *arg)
{
    const small_ops *small = arg;
    bn_plan *plan = small->run->plan;
    uint64_t before = plan->arrived_ns = bn_os_now_ns();
    for (size_t i = small->first; i < small->end; i++) {
        play_op(small->run, &plan->ops[i], small->scratch);
        bn_pool_next_step(plan->ctx->pool);
        uint64_t now = bn_os_now_ns();
        plan->times[i] += now - before;
        before = now;
    }
    plan->begun_ns = before;
}

static void play(void *arg, int32_t thread)
{
    bn_run run = *(const bn_run *)arg;
    bn_plan *plan = run.plan;
    uint8_t *scratch = plan->scratch + (size_t)thread * plan->scratch_bytes;
    uint64_t begun = thread == 0 ? bn_os_now_ns() : 0;
    run.thread = thread;
    for (size_t i = run.first; i < run.end;) {
        small_ops small = {&run, i + 1, i + 1, scratch};
        while (small.end < run.end && is_small(&run, &plan->ops[small.end]))
            small.end++;
        play_op(&run, &plan->ops[i], scratch);
        bn_pool_barrier_alone(plan->ctx->pool, play_alone, &small);
        if (thread == 0) {
            plan->times[i] += plan->arrived_ns - begun;
            begun = plan->begun_ns;
        }
        i = small.end;
    }
}

/* Does the cache have the shape that ops first..end-1 use, and is every token in the vocabulary? */
static int run_is_valid(const bn_run *run)
{
    const bn_kv *kv = run->kv;
    for (size_t i = run->first; i < run->end; i++) {
        const bn_op *op = &run->plan->ops[i];
        if ((op->kind == BN_OP_KV_STORE || op->kind == BN_OP_ATTENTION) &&
            (!kv || (size_t)op->layer >= kv->n_layers || (size_t)op->n_kv_heads != kv->n_kv_heads ||
             (size_t)op->head_dim != kv->head_dim || run->pos + run->n_tokens > kv->n_ctx))
            return 0;
        if (op->kind == BN_OP_HEAD && run->n_logits > 0 && !run->logits)
            return 0;
        for (size_t t = 0; op->kind == BN_OP_EMBED && t < run->n_tokens; t++)
            if (!run->tokens || run->tokens[t] < 0 ||
                (size_t)run->tokens[t] >= (op->head ? op->head->rows : op->dense_rows))
                return 0;
    }
    return 1;
}

bn_status bn_plan_run(bn_plan *plan, bn_kv *kv, const int32_t *tokens, size_t n_tokens, size_t pos, size_t first,
                      size_t end, float *logits, size_t n_logits)
{
    if (!plan || n_tokens == 0 || n_tokens > plan->max_tokens || pos > plan->n_ctx || n_tokens > plan->n_ctx - pos ||
        first > end || end > plan->n_ops || n_logits > n_tokens)
        return BN_ERR_ARG;
    if (!bn_pool_is_alive(plan->ctx->pool))
        return BN_ERR_THREAD;
    bn_run run = {plan, kv, tokens, n_tokens, pos, first, end, logits, n_logits, 0};
    if (!run_is_valid(&run))
        return BN_ERR_ARG;
    bn_pool_run(plan->ctx->pool, play, &run);
    return BN_OK;
}

bn_status bn_plan_buf(bn_plan *plan, int32_t index, bn_buf_view *out)
{
    if (!plan || !out || index < 0 || (size_t)index >= plan->n_bufs)
        return BN_ERR_ARG;
    *out = plan->views[index];
    return BN_OK;
}

bn_status bn_plan_times(bn_plan *plan, uint64_t *times, int32_t reset)
{
    if (!plan || !times)
        return BN_ERR_ARG;
    memcpy(times, plan->times, plan->n_ops * sizeof *times);
    if (reset)
        memset(plan->times, 0, plan->n_ops * sizeof *times);
    return BN_OK;
}
