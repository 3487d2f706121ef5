/* check_arguments.c: wrong plans and wrong runs. */
#include <string.h>

#include "check_model.h"
#include "check_plan.h"

static const family PLAIN = {BN_ACT_RELU2, BN_ROPE_NEOX, HEAD_DIM, 1, BN_TYPE_F32, 0};
static const layouts ALL_TILES = {{BN_LAYOUT_T2, BN_LAYOUT_T2, BN_LAYOUT_T2, BN_LAYOUT_T2, BN_LAYOUT_T2, BN_LAYOUT_T2,
                                   BN_LAYOUT_T2}};

/* Makes the first op of `kind` wrong by writing one int32 field; the plan must be refused. */
static void check_refused(const model *m, bn_op_kind kind, size_t field, int32_t value)
{
    bn_op ops[MAX_OPS];
    bn_plan *plan = NULL;
    memcpy(ops, m->ops, sizeof ops);
    size_t at = 0;
    while (ops[at].kind != (int32_t)kind)
        at++;
    memcpy((char *)&ops[at] + field, &value, sizeof value);
    check_case("plan with op kind %d, field at byte %zu set to %d", (int)kind, field, (int)value);
    check(bn_plan_create(m->ctx, ops, m->n_ops, BUFS, N_BUFS, N_CTX, N_TOKENS, &plan) == BN_ERR_ARG, "is refused");
    check(!plan, "leaves nothing behind");
    bn_plan_free(plan);
}

static void check_wrong_ops(const model *m)
{
    static const int32_t bad_buffers[] = {-1, N_BUFS, INT32_MAX, INT32_MIN, XQ + 100};
    static const struct { bn_op_kind kind; size_t field; } buffers[] = {
        {BN_OP_EMBED, offsetof(bn_op, out)},      {BN_OP_NORM, offsetof(bn_op, in)},
        {BN_OP_NORM, offsetof(bn_op, out)},       {BN_OP_QUANT, offsetof(bn_op, in)},
        {BN_OP_QUANT, offsetof(bn_op, out)},      {BN_OP_MATMUL, offsetof(bn_op, in)},
        {BN_OP_MATMUL, offsetof(bn_op, out)},     {BN_OP_MATMUL, offsetof(bn_op, out) + 4},
        {BN_OP_MATMUL, offsetof(bn_op, out) + 8}, {BN_OP_ROPE, offsetof(bn_op, in)},
        {BN_OP_ROPE, offsetof(bn_op, in2)},       {BN_OP_KV_STORE, offsetof(bn_op, in)},
        {BN_OP_KV_STORE, offsetof(bn_op, in2)},   {BN_OP_ATTENTION, offsetof(bn_op, in)},
        {BN_OP_ATTENTION, offsetof(bn_op, out)},  {BN_OP_GATED_MATMUL, offsetof(bn_op, in)},
        {BN_OP_GATED_MATMUL, offsetof(bn_op, in2)}, {BN_OP_GATED_MATMUL, offsetof(bn_op, out)},
        {BN_OP_HEAD, offsetof(bn_op, in)}};
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++)
        for (size_t j = 0; j < sizeof bad_buffers / sizeof bad_buffers[0]; j++)
            check_refused(m, buffers[i].kind, buffers[i].field, bad_buffers[j]);
    static const struct { bn_op_kind kind; size_t field; int32_t value; } others[] = {
        {BN_OP_EMBED, offsetof(bn_op, out), XQ},        {BN_OP_EMBED, offsetof(bn_op, dense_type), 3},
        {BN_OP_EMBED, offsetof(bn_op, dense_type), -1}, {BN_OP_EMBED, offsetof(bn_op, kind), 9},
        {BN_OP_EMBED, offsetof(bn_op, kind), -1},       {BN_OP_EMBED, offsetof(bn_op, kind), INT32_MIN},
        {BN_OP_NORM, offsetof(bn_op, out), Q + 1},      {BN_OP_QUANT, offsetof(bn_op, out), Q},
        {BN_OP_QUANT, offsetof(bn_op, out), FFQ},       {BN_OP_MATMUL, offsetof(bn_op, n_mats), 0},
        {BN_OP_MATMUL, offsetof(bn_op, n_mats), 4},     {BN_OP_MATMUL, offsetof(bn_op, n_mats), -1},
        {BN_OP_MATMUL, offsetof(bn_op, in), FFQ},       {BN_OP_MATMUL, offsetof(bn_op, out), GATE},
        {BN_OP_ROPE, offsetof(bn_op, n_rot), 0},        {BN_OP_ROPE, offsetof(bn_op, n_rot), 7},
        {BN_OP_ROPE, offsetof(bn_op, n_rot), HEAD_DIM + 2}, {BN_OP_ROPE, offsetof(bn_op, n_rot), -2},
        {BN_OP_ROPE, offsetof(bn_op, n_heads), 0},      {BN_OP_ROPE, offsetof(bn_op, n_heads), HEADS + 1},
        {BN_OP_ROPE, offsetof(bn_op, head_dim), HEAD_DIM - 1}, {BN_OP_KV_STORE, offsetof(bn_op, layer), -1},
        {BN_OP_KV_STORE, offsetof(bn_op, n_kv_heads), 3}, {BN_OP_KV_STORE, offsetof(bn_op, n_kv_heads), 0},
        {BN_OP_ATTENTION, offsetof(bn_op, n_kv_heads), 3}, {BN_OP_ATTENTION, offsetof(bn_op, head_dim), -HEAD_DIM},
        {BN_OP_ATTENTION, offsetof(bn_op, window), -1}, {BN_OP_NORM, offsetof(bn_op, add), 1},
        {BN_OP_NORM, offsetof(bn_op, head_dim), -1},    {BN_OP_NORM, offsetof(bn_op, head_dim), HIDDEN - 1},
        {BN_OP_ATTENTION, offsetof(bn_op, layer), -7},  {BN_OP_ATTENTION, offsetof(bn_op, out), Q},
        {BN_OP_GATED_MATMUL, offsetof(bn_op, act), 3},  {BN_OP_GATED_MATMUL, offsetof(bn_op, act), -1},
        {BN_OP_GATED_MATMUL, offsetof(bn_op, in2), X},  {BN_OP_GATED_MATMUL, offsetof(bn_op, add), 1},
        {BN_OP_GATED_MATMUL, offsetof(bn_op, n_mats), 2}, {BN_OP_HEAD, offsetof(bn_op, in), ATTQ}};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        check_refused(m, others[i].kind, others[i].field, others[i].value);
}

static void check_wrong_lists(const model *m)
{
    bn_plan *plan;
    bn_buf bufs[N_BUFS];
    check_case("plan arguments");
    check(bn_plan_create(NULL, m->ops, m->n_ops, BUFS, N_BUFS, N_CTX, 1, &plan) == BN_ERR_ARG, "no context");
    check(bn_plan_create(m->ctx, NULL, m->n_ops, BUFS, N_BUFS, N_CTX, 1, &plan) == BN_ERR_ARG, "no list");
    check(bn_plan_create(m->ctx, m->ops, 0, BUFS, N_BUFS, N_CTX, 1, &plan) == BN_ERR_ARG, "no ops");
    check(bn_plan_create(m->ctx, m->ops, m->n_ops, NULL, N_BUFS, N_CTX, 1, &plan) == BN_ERR_ARG, "no buffer list");
    check(bn_plan_create(m->ctx, m->ops, m->n_ops, BUFS, 0, N_CTX, 1, &plan) == BN_ERR_ARG, "no buffers");
    check(bn_plan_create(m->ctx, m->ops, m->n_ops, BUFS, N_BUFS - 1, N_CTX, 1, &plan) == BN_ERR_ARG, "one buffer less");
    check(bn_plan_create(m->ctx, m->ops, m->n_ops, BUFS, N_BUFS, 0, 1, &plan) == BN_ERR_ARG, "no positions");
    check(bn_plan_create(m->ctx, m->ops, m->n_ops, BUFS, N_BUFS, N_CTX, 0, &plan) == BN_ERR_ARG, "no tokens");
    const size_t endless = SIZE_MAX, ops = m->n_ops;
    check(bn_plan_create(m->ctx, m->ops, ops, BUFS, N_BUFS, endless, 1, &plan) == BN_ERR_ARG, "endless positions");
    check(bn_plan_create(m->ctx, m->ops, ops, BUFS, N_BUFS, N_CTX, endless, &plan) == BN_ERR_ARG, "endless tokens");
    check(bn_plan_create(m->ctx, m->ops, m->n_ops, BUFS, N_BUFS, N_CTX, 1, NULL) == BN_ERR_ARG, "no result");
    static const bn_buf wrong[] = {{BN_BUF_F32, 0}, {BN_BUF_F32, -1}, {BN_BUF_I8, HIDDEN}, {2, HIDDEN}, {-1, HIDDEN},
                                   {BN_BUF_F32, INT32_MAX}, {BN_BUF_F32, INT32_MIN}, {BN_BUF_F32, HIDDEN + 1}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        memcpy(bufs, BUFS, sizeof bufs);
        bufs[X] = wrong[i];
        check(bn_plan_create(m->ctx, m->ops, m->n_ops, bufs, N_BUFS, N_CTX, 1, &plan) == BN_ERR_ARG, "a wrong buffer");
    }
}

static void check_wrong_runs(model *m)
{
    static float logits[N_TOKENS * VOCAB];
    const int32_t *tokens = weights.tokens;
    int32_t outside[2] = {0, VOCAB}, negative[1] = {-1};
    size_t n = m->n_ops, end = N_CTX;
    bn_kv *kv = m->kv, *other;
    bn_buf_view view;
    check_case("run arguments");
    check(bn_plan_run(m->plan, kv, tokens, 2, end - 2, 0, n, logits, 2) == BN_OK, "the last positions");
    check(bn_plan_run(m->plan, kv, tokens, 2, 0, 3, 3, NULL, 0) == BN_OK, "no ops");
    check(bn_plan_run(NULL, kv, tokens, 1, 0, 0, n, logits, 1) == BN_ERR_ARG, "no plan");
    check(bn_plan_run(m->plan, kv, tokens, 0, 0, 0, n, logits, 0) == BN_ERR_ARG, "0 tokens");
    check(bn_plan_run(m->plan, kv, tokens, N_TOKENS + 1, 0, 0, n, logits, 1) == BN_ERR_ARG, "too many tokens");
    check(bn_plan_run(m->plan, kv, tokens, SIZE_MAX, 1, 0, n, logits, 1) == BN_ERR_ARG, "endless tokens");
    check(bn_plan_run(m->plan, kv, tokens, 2, end - 1, 0, n, logits, 1) == BN_ERR_ARG, "past the last position");
    check(bn_plan_run(m->plan, kv, tokens, 2, SIZE_MAX, 0, n, logits, 1) == BN_ERR_ARG, "a position that wraps");
    check(bn_plan_run(m->plan, kv, tokens, 1, 0, 2, 1, logits, 1) == BN_ERR_ARG, "ops backwards");
    check(bn_plan_run(m->plan, kv, tokens, 1, 0, 0, n + 1, logits, 1) == BN_ERR_ARG, "more ops than there are");
    check(bn_plan_run(m->plan, kv, tokens, 1, 0, 0, n, logits, 2) == BN_ERR_ARG, "more logits than tokens");
    check(bn_plan_run(m->plan, kv, tokens, 1, 0, 0, n, NULL, 1) == BN_ERR_ARG, "no room for logits");
    check(bn_plan_run(m->plan, kv, NULL, 1, 0, 0, n, logits, 1) == BN_ERR_ARG, "no tokens");
    check(bn_plan_run(m->plan, kv, outside, 2, 0, 0, n, logits, 1) == BN_ERR_ARG, "a token outside of the vocabulary");
    check(bn_plan_run(m->plan, kv, negative, 1, 0, 0, n, logits, 1) == BN_ERR_ARG, "a negative token");
    check(bn_plan_run(m->plan, NULL, tokens, 1, 0, 0, n, logits, 1) == BN_ERR_ARG, "no cache");
    static const size_t caches[][4] = {{LAYERS - 1, KV_HEADS, HEAD_DIM, N_CTX}, {LAYERS, KV_HEADS + 1, HEAD_DIM, N_CTX},
                                       {LAYERS, KV_HEADS, HEAD_DIM - 1, N_CTX}, {LAYERS, KV_HEADS, HEAD_DIM, 3}};
    for (size_t i = 0; i < sizeof caches / sizeof caches[0]; i++) {
        const size_t *c = caches[i];
        if (check(bn_kv_create(BN_KV_F16, c[0], c[1], c[2], c[3], &other) == BN_OK, "create"))
            check(bn_plan_run(m->plan, other, tokens, 4, 0, 0, n, logits, 1) == BN_ERR_ARG, "a cache of another shape");
        bn_kv_free(other);
    }
    check(bn_plan_buf(m->plan, -1, &view) == BN_ERR_ARG && bn_plan_buf(m->plan, N_BUFS, &view) == BN_ERR_ARG &&
              bn_plan_buf(m->plan, 0, NULL) == BN_ERR_ARG && bn_plan_times(m->plan, NULL, 0) == BN_ERR_ARG,
          "buffers and times");
}

/* Random damage: either refused, or harmless to run. Pointers are left alone or taken away, never redirected. */
static void check_damaged(const model *m, int n_rounds)
{
    static float logits[N_TOKENS * VOCAB];
    static const int32_t values[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 14, 16, 30, 31, 32, 64, 255, 256, 424, -1, -2,
                                     INT32_MAX, INT32_MIN};
    int refused = 0, ran = 0;
    check_case("randomly damaged plans");
    for (int round = 0; round < n_rounds; round++) {
        bn_op ops[MAX_OPS];
        bn_buf bufs[N_BUFS];
        memcpy(ops, m->ops, sizeof ops);
        memcpy(bufs, BUFS, sizeof bufs);
        for (size_t damage = 1 + check_below(3); damage > 0; damage--) {
            bn_op *op = &ops[check_below(m->n_ops)];
            int32_t value = values[check_below(sizeof values / sizeof values[0])];
            bn_buf *buf = &bufs[check_below(N_BUFS)];
            int32_t *const fields[] = {&op->kind,     &op->in,     &op->in2,     &op->out[0],     &op->out[1],
                                       &op->out[2],   &op->n_mats, &op->add,     &op->dense_type, &op->layer,
                                       &op->n_heads,  &op->n_rot,  &op->rope,    &op->n_kv_heads, &op->act,
                                       &op->head_dim, &op->window, &buf->kind,  &buf->width};
            size_t field = check_below(sizeof fields / sizeof fields[0] + 3);
            if (field < sizeof fields / sizeof fields[0])
                *fields[field] = value;
            else if (check_below(2))
                op->weight = op->rope_cos = NULL;
            else
                op->mat[check_below(3)] = NULL;
        }
        bn_plan *plan = NULL;
        bn_status status = bn_plan_create(m->ctx, ops, m->n_ops, bufs, N_BUFS, N_CTX, N_TOKENS, &plan);
        if (status != BN_OK) {
            refused += status == BN_ERR_ARG;
            continue;
        }
        size_t n = 1 + check_below(N_TOKENS), pos = check_below(N_CTX - n + 1);
        status = bn_plan_run(plan, m->kv, weights.tokens, n, pos, 0, m->n_ops, logits, check_below(n + 1));
        ran += status == BN_OK || status == BN_ERR_ARG;
        bn_plan_free(plan);
    }
    check(refused + ran == n_rounds, "refused as a wrong argument, or run");
    check(refused > 0 && ran > 0, "both happen");
}

void check_plan_arguments(int quick)
{
    model m;
    draw_dense(PLAIN.dense);
    check_case("plan for wrong arguments");
    if (check(model_open(&m, &PLAIN, &ALL_TILES, NULL, 2), "create")) {
        check_wrong_ops(&m);
        check_wrong_lists(&m);
        check_wrong_runs(&m);
        check_damaged(&m, quick ? 300 : 5000);
    }
    model_close(&m);
}
