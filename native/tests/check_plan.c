/* check_plan.c: what plans compute: the same whichever way it is computed, and what the trits say. */
#include "check_plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check_model.h"
#include "dispatch.h"

enum { MAX_HEAD_COLS = 1024 };

/* Logits of all tokens, evaluated `step` at a time; `wanted` of each step (the last ones) are asked for. */
static int model_run(model *m, size_t step, size_t wanted, float *logits)
{
    for (size_t pos = 0; pos < N_TOKENS; pos += step) {
        size_t n = N_TOKENS - pos < step ? N_TOKENS - pos : step, n_logits = wanted < n ? wanted : n;
        if (bn_plan_run(m->plan, m->kv, weights.tokens + pos, n, pos, 0, m->n_ops,
                        logits + (pos + n - n_logits) * VOCAB, n_logits) != BN_OK)
            return 0;
    }
    return 1;
}

static int all_finite_and_varied(const float *x, size_t n)
{
    int varied = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i]))
            return 0;
        varied |= x[i] != x[0];
    }
    return varied;
}

/* Everything read whole; what the engine takes for relu2; any other mixture; lookups, alone and among others. */
static const layouts LAYOUTS[] = {
    {{BN_LAYOUT_T2, BN_LAYOUT_T2, BN_LAYOUT_T2, BN_LAYOUT_T2, BN_LAYOUT_T2, BN_LAYOUT_T2, BN_LAYOUT_T2}},
    {{BN_LAYOUT_T2, BN_LAYOUT_T2, BN_LAYOUT_T2, BN_LAYOUT_T2, BN_LAYOUT_T2, BN_LAYOUT_R2, BN_LAYOUT_C2}},
    {{BN_LAYOUT_R2, BN_LAYOUT_T2, BN_LAYOUT_R2, BN_LAYOUT_C2, BN_LAYOUT_C2, BN_LAYOUT_C2, BN_LAYOUT_R2}},
    {{BN_LAYOUT_L3, BN_LAYOUT_L3, BN_LAYOUT_L3, BN_LAYOUT_L3, BN_LAYOUT_L3, BN_LAYOUT_L3, BN_LAYOUT_L3}},
    {{BN_LAYOUT_T2, BN_LAYOUT_L3, BN_LAYOUT_R2, BN_LAYOUT_L3, BN_LAYOUT_C2, BN_LAYOUT_L3, BN_LAYOUT_C2}}};
enum { N_LAYOUTS = sizeof LAYOUTS / sizeof LAYOUTS[0] };

static void check_model(const family *f, const layouts *layouts, const float *expected, const char *isa,
                        int32_t n_threads)
{
    static float logits[N_TOKENS * VOCAB];
    static const size_t steps[] = {N_TOKENS, 1, 2, 3, 4, 7, 16};
    int which = (int)(layouts - LAYOUTS);
    check_case("model of type %d, act %d, rope %d, layouts %d: %s, %d threads", (int)f->dense, (int)f->act,
               (int)f->rope, which, isa, (int)n_threads);
    model m;
    if (check(model_open(&m, f, layouts, isa, n_threads), "create")) {
        for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
            check_case("model of type %d, act %d, rope %d, layouts %d: %s, %d threads, %zu tokens at a time",
                       (int)f->dense, (int)f->act, (int)f->rope, which, isa, (int)n_threads, steps[i]);
            memset(logits, 0xff, sizeof logits);
            check(model_run(&m, steps[i], steps[i], logits), "run");
            check(memcmp(logits, expected, sizeof logits) == 0, "logits differ from scalar, one thread, one batch");
        }
        memset(logits, 0xff, sizeof logits);
        check(model_run(&m, N_TOKENS, 1, logits), "run for the last logits");
        size_t last = (N_TOKENS - 1) * VOCAB;
        check(memcmp(logits + last, expected + last, VOCAB * sizeof *logits) == 0, "the last logits alone");
        uint64_t times[MAX_OPS], total = 0;
        check(bn_plan_times(m.plan, times, 1) == BN_OK, "times");
        for (size_t i = 0; i < m.n_ops; i++)
            total += times[i];
        check(total > 0 && bn_plan_times(m.plan, times, 0) == BN_OK && times[1] == 0, "times are counted and reset");
    }
    model_close(&m);
}

void check_models(int quick)
{
    static const family families[] = {
        {BN_ACT_RELU2, BN_ROPE_NEOX, HEAD_DIM, 1, BN_TYPE_F16, 0},
        {BN_ACT_GELU, BN_ROPE_NEOX, HEAD_DIM, 0, BN_TYPE_Q8_0, 5},
        {BN_ACT_SILU, BN_ROPE_NORM, HEAD_DIM, 0, BN_TYPE_Q6_K, 0},
        {BN_ACT_RELU2, BN_ROPE_NORM, 20, 1, BN_TYPE_BF16, 0},
        {BN_ACT_SILU, BN_ROPE_NEOX, 18, 1, BN_TYPE_Q8_0, 17},
        {BN_ACT_SILU, BN_ROPE_NEOX, HEAD_DIM, 0, BN_TYPE_Q4_0, 0},
        {BN_ACT_SILU, BN_ROPE_NEOX, HEAD_DIM, 0, BN_TYPE_Q2_0, 0},
        {BN_ACT_RELU2, BN_ROPE_NEOX, 2, 1, BN_TYPE_F32, 0}};
    static float expected[N_TOKENS * VOCAB];
    draw_weights();
    for (size_t i = 0; i < (quick ? 3 : sizeof families / sizeof families[0]); i++) {
        const family *f = &families[i];
        draw_dense(f->dense);
        check_case("model of type %d, reference", (int)f->dense);
        model m;
        int ok = model_open(&m, f, &LAYOUTS[0], "scalar", 1) && model_run(&m, N_TOKENS, N_TOKENS, expected);
        model_close(&m);
        if (!check(ok, "run") || !check(all_finite_and_varied(expected, N_TOKENS * VOCAB), "logits mean something"))
            continue;
        for (int32_t isa = 0; isa < bn_isa_count(); isa++)
            for (int32_t n_threads = 1; n_threads <= 3 && bn_isa_supported(isa); n_threads++)
                for (size_t l = 0; l < N_LAYOUTS; l++)
                    check_model(f, &LAYOUTS[l], expected, bn_isa_name(isa), n_threads);
    }
}

/* ---- One matrix product ---- */

enum { N_PRODUCTS = 3, MAX_ROWS = 528, MAX_GROUPS = 16 };

/* Random trits with scales: one, one per row, or one per group of `group_cols`. */
typedef struct {
    size_t rows, cols, n_scale_rows, n_groups;
    int8_t *trits;
    float scales[MAX_ROWS * MAX_GROUPS];
} product;

/* What has a scale of its own. */
typedef enum { BY_TENSOR = 0, BY_ROW = 1 /* or by so many cols */ } scale_kind;

static void product_fill(product *p, size_t rows, size_t cols, size_t kind)
{
    *p = (product){.rows = rows, .cols = cols, .n_scale_rows = kind == BY_TENSOR ? 1 : rows, .n_groups = 1};
    if (kind > BY_ROW)
        p->n_groups = cols / kind;
    p->trits = malloc(rows * cols);
    for (size_t i = 0; i < rows * cols; i++)
        p->trits[i] = (int8_t)((int)check_below(3) - 1);
    for (size_t i = 0; i < p->n_scale_rows * p->n_groups; i++)
        p->scales[i] = check_below(8) ? check_uniform() : check_below(2) ? 0.0f : -0.0f;
    if (check_below(2) && kind > BY_ROW)        /* numbers of f16, down to the smallest */
        for (size_t i = 0; i < rows * p->n_groups; i++)
            p->scales[i] = ldexpf((float)check_below(2048), -(int)check_below(25));
}

/* One value of a product of token t, from the trits: exact integers, then the float operations of the contract. */
static float product_value(const product *p, size_t row, const bn_buf_view *q, size_t t)
{
    const float *scales = p->scales + (p->n_scale_rows > 1 ? row * p->n_groups : 0);
    size_t group_cols = p->cols / p->n_groups;
    float acc = 0.0f;
    for (size_t g = 0; g < p->n_groups; g++) {
        int32_t sum = 0;
        for (size_t col = g * group_cols; col < (g + 1) * group_cols; col++)
            sum += p->trits[row * p->cols + col] * q->i8[t * q->stride + col];
        if (p->n_groups == 1)
            return ((float)sum / q->scale[t]) * scales[0];
        acc += (float)sum * scales[g];
    }
    return acc / q->scale[t];
}

/* before: what the product was added to, or NULL. */
static int product_is_right(const product *p, const bn_buf_view *q, const float *before, const bn_buf_view *y,
                            size_t n_tokens)
{
    const size_t rows = p->rows;
    for (size_t t = 0; t < n_tokens; t++)
        for (size_t row = 0; row < rows; row++) {
            float value = product_value(p, row, q, t);
            if (before)
                value = before[t * rows + row] + value;
            if (memcmp(&value, &y->f32[t * y->stride + row], sizeof value) != 0)
                return 0;
        }
    return 1;
}

static int quant_is_right(const bn_buf_view *q, size_t cols, size_t n_tokens)
{
    for (size_t t = 0; t < n_tokens; t++) {
        int32_t sum = 0, largest = 0;
        for (size_t col = 0; col < q->stride; col++) {
            int32_t value = q->i8[t * q->stride + col];
            sum += value;
            largest = abs(value) > largest ? abs(value) : largest;
            if (col >= cols && value != 0)
                return 0;
        }
        if (sum != q->sum[t] || largest != 127)
            return 0;
    }
    return 1;
}

/* kind: a scale_kind; with scales per group only the first matrix has them. */
static void check_product(bn_ctx *ctx, bn_layout layout, size_t kind, size_t rows0, size_t cols, size_t n_tokens,
                          int add)
{
    check_case("matmul %s: layout %d, scales %zu, %zu rows, %zu cols, %zu tokens, %d threads, add %d", bn_ctx_isa(ctx),
               (int)layout, kind, rows0, cols, n_tokens, (int)bn_ctx_n_threads(ctx), add);
    const size_t rows[N_PRODUCTS] = {rows0, rows0 + 7, 3};
    const int32_t n_products = layout == BN_LAYOUT_C2 ? 1 : N_PRODUCTS;     /* cols come alone */
    bn_buf bufs[2 + N_PRODUCTS] = {{BN_BUF_F32, (int32_t)cols}, {BN_BUF_I8, (int32_t)cols}};
    static product products[N_PRODUCTS];
    bn_tmat *mats[N_PRODUCTS] = {NULL};
    float *before[N_PRODUCTS];
    for (size_t m = 0; m < N_PRODUCTS; m++) {
        bufs[2 + m] = (bn_buf){BN_BUF_F32, (int32_t)rows[m]};
        before[m] = malloc(n_tokens * rows[m] * sizeof(float));
        int groups = kind > BY_ROW && cols / kind > 1 && m != 1;
        product *p = &products[m];
        product_fill(p, rows[m], cols, kind > BY_ROW && !groups ? BY_ROW : kind);
        check(bn_tmat_pack(ctx, BN_PACK_TRITS, groups ? BN_LAYOUT_G2 : layout, p->trits, rows[m] * cols, rows[m], cols,
                           NULL, p->scales, p->n_scale_rows, p->n_groups, &mats[m]) == BN_OK,
              "pack");
    }
    bn_op ops[2] = {quant_of(0, 1, 0), matmul_of(1, n_products, mats, 2, 3, 4)};
    ops[1].add = add;
    bn_plan *plan = NULL;
    bn_buf_view x, q, y[N_PRODUCTS];
    if (check(bn_plan_create(ctx, ops, 2, bufs, 2 + N_PRODUCTS, 32, 32, &plan) == BN_OK, "create")) {
        check(bn_plan_buf(plan, 0, &x) == BN_OK && x.f32 && !x.i8 && x.stride == cols, "view of a float buffer");
        check(bn_plan_buf(plan, 1, &q) == BN_OK && q.i8 && !q.f32 && q.stride >= cols, "view of an int8 buffer");
        for (size_t i = 0; i < n_tokens * cols; i++) {      /* no token may be all but zero: its scale would be clamped */
            float value = check_uniform();
            x.f32[i] = value + (value < 0.0f ? -0.01f : 0.01f);
        }
        for (size_t m = 0; m < N_PRODUCTS; m++) {
            bn_plan_buf(plan, 2 + (int32_t)m, &y[m]);
            for (size_t i = 0; i < n_tokens * rows[m]; i++)
                before[m][i] = y[m].f32[i] = check_uniform();
        }
        check(bn_plan_run(plan, NULL, NULL, n_tokens, 0, 0, 2, NULL, 0) == BN_OK, "run, no tokens, cache or logits");
        check(quant_is_right(&q, cols, n_tokens), "int8 values, their sums, and zeros behind them");
        for (int32_t m = 0; m < n_products; m++)
            check(product_is_right(&products[m], &q, add ? before[m] : NULL, &y[m], n_tokens),
                  "product differs from the integers");
    }
    bn_plan_free(plan);
    for (size_t m = 0; m < N_PRODUCTS; m++) {
        bn_tmat_free(mats[m]);
        free(products[m].trits);
        free(before[m]);
    }
}

void check_matmuls(int quick)
{
    static const size_t shapes[][2] = {{33, 640}, {1, 1},     {5, 3},    {16, 16},
                                       {17, 100}, {100, 129}, {63, 257}, {130, 64},
                                       {75, 768}, {129, 1024}, {300, 1100}, {513, 769}};
    static const size_t kinds[] = {BY_TENSOR, BY_ROW, 64, 128, 256};
    static const size_t token_counts[] = {5, 1, 2, 3, 4, 17, 32};
    static const int32_t thread_counts[] = {1, 2, 5};
    for (int32_t isa = 0; isa < bn_isa_count(); isa++)
        for (size_t i = 0; bn_isa_supported(isa) && i < 3; i++) {
            bn_ctx *ctx = NULL;
            check_case("matmul context %s", bn_isa_name(isa));
            if (!check(bn_ctx_create(bn_isa_name(isa), thread_counts[i], &ctx) == BN_OK, "create"))
                continue;
            for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s += quick ? 4 : 1)
                for (size_t t = 0; t < sizeof token_counts / sizeof token_counts[0]; t += quick ? 3 : 1) {
                    size_t rows = shapes[s][0], cols = shapes[s][1];
                    for (int layout = BN_LAYOUT_T2; layout <= BN_LAYOUT_L3; layout++)
                        check_product(ctx, (bn_layout)layout, (s + t / 2) % 2, rows, cols, token_counts[t],
                                      (int)(s + t) % 2);
                    for (size_t k = 2; k < sizeof kinds / sizeof kinds[0]; k++)
                        if (cols % kinds[k] == 0)
                            check_product(ctx, (s + t) % 3 ? BN_LAYOUT_T2 : BN_LAYOUT_L3, kinds[k], rows, cols,
                                          token_counts[t], (int)(s + t) % 2);
                }
            bn_ctx_free(ctx);
        }
}

/* ---- One head ---- */

/* One row of the types that a head may have, as floats. */
static void row_as_floats(bn_type type, const uint8_t *row, size_t cols, float *out)
{
    bn_kernels k;
    bn_kernels_fill(BN_ISA_scalar, &k);
    switch (type) {
    case BN_TYPE_Q8_0: k.dequant_q8_0(row, cols, out); break;
    case BN_TYPE_Q6_K: k.dequant_q6_k(row, cols, out); break;
    case BN_TYPE_Q4_0: k.dequant_q4_0(row, cols, out); break;
    case BN_TYPE_Q2_0: k.dequant_q2_0(row, cols, out); break;
    case BN_TYPE_F32: k.dequant_f32(row, cols, out); break;
    case BN_TYPE_F16: k.dequant_f16(row, cols, out); break;
    case BN_TYPE_BF16: k.dequant_bf16(row, cols, out); break;
    }
}

/* The bytes that a matrix was packed from come back, and its rows serve as an embedding. */
static void check_rows(bn_ctx *ctx, const uint8_t *rows, const bn_dmat *mat)
{
    static float row[MAX_HEAD_COLS];
    size_t cols = bn_dmat_cols(mat), n = bn_dmat_rows(mat), row_bytes = bn_type_row_bytes(bn_dmat_type(mat), cols);
    uint8_t *back = malloc(n * row_bytes);
    check(bn_dmat_unpack(mat, back) == BN_OK && memcmp(back, rows, n * row_bytes) == 0, "unpacks to the same");
    free(back);
    const bn_buf buf = {BN_BUF_F32, (int32_t)cols};
    const bn_op op = {.kind = BN_OP_EMBED, .in = -1, .in2 = -1, .out = {0, -1, -1}, .head = mat};
    const int32_t tokens[4] = {(int32_t)n - 1, 0, (int32_t)check_below(n), (int32_t)n};
    bn_plan *plan = NULL;
    bn_buf_view x;
    if (check(bn_plan_create(ctx, &op, 1, &buf, 1, 4, 4, &plan) == BN_OK, "create an embedding")) {
        bn_plan_buf(plan, 0, &x);
        check(bn_plan_run(plan, NULL, tokens, 3, 0, 0, 1, NULL, 0) == BN_OK, "run");
        for (size_t t = 0; t < 3; t++) {
            row_as_floats(bn_dmat_type(mat), rows + (size_t)tokens[t] * row_bytes, cols, row);
            check(check_same_floats(x.f32 + t * cols, row, cols), "the embedding is a row");
        }
        check(bn_plan_run(plan, NULL, tokens, 4, 0, 0, 1, NULL, 0) == BN_ERR_ARG, "a token past the last row");
    }
    bn_plan_free(plan);
}

/* The rows as floats and the dot products in double: within what rounding h to 16 bits and adding floats change. */
static int logits_are_right(const uint8_t *rows, const bn_dmat *mat, const float *h, const float *logits)
{
    static float row[MAX_HEAD_COLS];
    size_t cols = bn_dmat_cols(mat), row_bytes = bn_type_row_bytes(bn_dmat_type(mat), cols);
    float amax = 0;
    for (size_t i = 0; i < cols; i++)
        amax = fmaxf(amax, fabsf(h[i]));
    for (size_t r = 0; r < bn_dmat_rows(mat); r++) {
        double sum = 0, size = 0;
        row_as_floats(bn_dmat_type(mat), rows + r * row_bytes, cols, row);
        for (size_t i = 0; i < cols; i++) {
            sum += (double)row[i] * h[i];
            size += fabs((double)row[i]) * (fabs((double)h[i]) * 0x1p-17 + amax / 65000.0);
        }
        if (!(fabs(logits[r] - sum) <= size))
            return 0;
    }
    return 1;
}

static void check_head(bn_ctx *ctx, bn_type type, size_t rows, size_t cols, size_t n_tokens, int not_finite)
{
    check_case("head %s of type %d: %zu rows, %zu cols, %zu tokens, %d threads, not finite %d", bn_ctx_isa(ctx),
               (int)type, rows, cols, n_tokens, (int)bn_ctx_n_threads(ctx), not_finite);
    draw_dense(type);
    bn_dmat *mat = NULL;
    bn_plan *plan = NULL;
    bn_buf_view h;
    const bn_buf buf = {BN_BUF_F32, (int32_t)cols};
    bn_op op = {.kind = BN_OP_HEAD, .in2 = -1, .out = {-1, -1, -1}};
    float *logits = malloc(n_tokens * rows * sizeof *logits);
    if (check(bn_dmat_pack(ctx, type, weights.dense, rows * bn_type_row_bytes(type, cols), rows, cols, &mat) == BN_OK,
              "pack")) {
        op.head = mat;
        check_rows(ctx, weights.dense, mat);
        if (check(bn_plan_create(ctx, &op, 1, &buf, 1, 32, 32, &plan) == BN_OK, "create")) {
            bn_plan_buf(plan, 0, &h);
            for (size_t i = 0; i < (n_tokens + 1) * cols; i++)
                h.f32[i] = check_uniform();
            if (not_finite)
                h.f32[cols + check_below(cols)] = check_below(2) ? NAN : -INFINITY;
            /* The first token wants no logits; a value that is not finite is in the second. */
            check(bn_plan_run(plan, NULL, NULL, n_tokens + 1, 0, 0, 1, logits, n_tokens) == BN_OK, "run");
            for (size_t t = not_finite ? 1 : 0; t < n_tokens; t++)
                check(logits_are_right(weights.dense, mat, h.f32 + (t + 1) * cols, logits + t * rows), "logits");
            for (size_t r = 0; not_finite && r < rows; r++)
                check(!isfinite(logits[r]), "no finite logit of a hidden state that is not finite");
        }
    }
    bn_plan_free(plan);
    bn_dmat_free(mat);
    free(logits);
}

void check_heads(int quick)
{
    static const bn_type types[] = {BN_TYPE_Q6_K, BN_TYPE_Q8_0, BN_TYPE_Q4_0, BN_TYPE_Q2_0,
                                    BN_TYPE_F32,  BN_TYPE_F16,  BN_TYPE_BF16};
    static const size_t shapes[][2] = {{149, 256}, {1, 512}, {16, 768}, {17, 256}, {33, MAX_HEAD_COLS}, {100, 512}};
    static const size_t token_counts[] = {1, 2, 5, 9};
    for (int32_t isa = 0; isa < bn_isa_count(); isa++)
        for (int32_t n_threads = 1; bn_isa_supported(isa) && n_threads <= 3; n_threads += 2) {
            bn_ctx *ctx = NULL;
            check_case("head context %s", bn_isa_name(isa));
            if (!check(bn_ctx_create(bn_isa_name(isa), n_threads, &ctx) == BN_OK, "create"))
                continue;
            for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
                for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s += quick ? 2 : 1)
                    for (size_t t = 0; t < sizeof token_counts / sizeof token_counts[0]; t++)
                        check_head(ctx, types[i], shapes[s][0], shapes[s][1], token_counts[t],
                                   types[i] != BN_TYPE_F32 && (s + t) % 3 == 1);
            bn_ctx_free(ctx);
        }
}
