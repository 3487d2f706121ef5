/* check_far.c: attention far from the start, where threads share the work on single tokens, for every type of cache. */
#include <string.h>

#include "bitnet.h"
#include "check.h"
#include "check_plan.h"

enum { FAR_HEADS = 6, FAR_KV_HEADS = 2, FAR_DIM = 20, FAR_CTX = 300, FAR_BATCH = 32, FAR_END = 290 };
enum { FAR_WIDTH = FAR_HEADS * FAR_DIM, FAR_KEYS = FAR_KV_HEADS * FAR_DIM };

static float queries[FAR_END][FAR_WIDTH], keys[FAR_END][FAR_KEYS], values[FAR_END][FAR_KEYS];

static bn_op far_op(bn_op_kind kind, int32_t in, int32_t in2, int32_t out)
{
    return (bn_op){.kind = (int32_t)kind, .in = in, .in2 = in2, .out = {out, -1, -1}, .n_heads = FAR_HEADS,
                   .n_kv_heads = FAR_KV_HEADS, .head_dim = FAR_DIM, .scale = 0.2236068f};
}

/* Results of all positions, those before `first` in full batches and the rest `step` at a time. Returns 1 if all went
 * well. */
static int attend(const char *isa, int32_t n_threads, bn_kv_type type, int32_t window, size_t first, size_t step,
                  float out[FAR_END][FAR_WIDTH])
{
    static const bn_buf bufs[] = {{BN_BUF_F32, FAR_WIDTH}, {BN_BUF_F32, FAR_KEYS}, {BN_BUF_F32, FAR_KEYS},
                                  {BN_BUF_F32, FAR_WIDTH}};
    bn_op ops[] = {far_op(BN_OP_KV_STORE, 1, 2, -1), far_op(BN_OP_ATTENTION, 0, -1, 3)};
    ops[1].window = window;
    bn_ctx *ctx = NULL;
    bn_plan *plan = NULL;
    bn_kv *kv = NULL;
    bn_buf_view view[4];
    int ok = bn_ctx_create(isa, n_threads, &ctx) == BN_OK &&
             bn_plan_create(ctx, ops, 2, bufs, 4, FAR_CTX, FAR_BATCH, &plan) == BN_OK &&
             bn_kv_create(type, 1, FAR_KV_HEADS, FAR_DIM, FAR_CTX, &kv) == BN_OK;
    for (int32_t i = 0; ok && i < 4; i++)
        ok = bn_plan_buf(plan, i, &view[i]) == BN_OK;
    for (size_t pos = 0, n; ok && pos < FAR_END; pos += n) {
        n = pos < first ? FAR_BATCH : step;
        n = n < FAR_END - pos ? n : FAR_END - pos;
        memcpy(view[0].f32, queries[pos], n * sizeof queries[0]);
        memcpy(view[1].f32, keys[pos], n * sizeof keys[0]);
        memcpy(view[2].f32, values[pos], n * sizeof values[0]);
        ok = bn_plan_run(plan, kv, NULL, n, pos, 0, 2, NULL, 0) == BN_OK;
        memcpy(out[pos], view[3].f32, n * sizeof out[0]);
    }
    bn_plan_free(plan);
    bn_kv_free(kv);
    bn_ctx_free(ctx);
    return ok;
}

static void fill(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = check_uniform() * 3.0f;
}

void check_far(void)
{
    static float expected[FAR_END][FAR_WIDTH], out[FAR_END][FAR_WIDTH];
    static const bn_kv_type types[] = {BN_KV_F32, BN_KV_F16, BN_KV_I8};
    fill(queries[0], FAR_END * FAR_WIDTH);
    fill(keys[0], FAR_END * FAR_KEYS);
    fill(values[0], FAR_END * FAR_KEYS);
    static const int32_t windows[] = {0, 7, 280};
    for (size_t i = 0; i < 9; i++) {
        bn_kv_type type = types[i / 3];
        int32_t window = windows[i % 3];
        check_case("attention, cache type %d, window %d, one thread", (int)type, (int)window);
        check(attend("scalar", 1, type, window, FAR_END, 1, expected), "runs");
        for (int32_t n_threads = 1; n_threads <= 2; n_threads++)
            for (size_t step = 1; step <= 5; step += 2) {
                check_case("attention, cache type %d, window %d, %d threads, %zu tokens at a time", (int)type,
                           (int)window, (int)n_threads, step);
                check(attend(NULL, n_threads, type, window, 256, step, out), "runs");
                check(memcmp(out, expected, sizeof out) == 0, "leaves the same bits");
            }
    }
}
