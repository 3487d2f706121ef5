/* check_library.c: the public API: contexts, ternary matrices, KV caches, plans; right results and refused arguments.
 *
 *   check_library [--seed N] [--quick] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bitnet.h"
#include "check.h"
#include "check_plan.h"
#include "entries.h"

/* ---- Contexts ---- */

/* Name of the strongest ISA up to `isa` that has `kernel`, from kernels.def alone. */
static const char *strongest(const char *kernel, int32_t isa_index)
{
    const char *found = NULL;
    for (int32_t i = 0; i <= isa_index; i++)
        for (size_t e = 0; e < bn_n_entries; e++) {
            static const char *const names[BN_ISA_COUNT] = {"scalar", "avx2",    "avxvnni", "avx512icl",
                                                            "neon",   "dotprod", "i8mm"};
            if (bn_isa_supported(i) && strcmp(names[bn_entries[e].isa], bn_isa_name(i)) == 0 &&
                strcmp(bn_entries[e].kernel, kernel) == 0)
                found = bn_isa_name(i);
        }
    return found;
}

static void check_contexts(void)
{
    bn_ctx *ctx;
    for (int32_t i = 0; i < bn_isa_count(); i++) {
        check_case("context for %s", bn_isa_name(i));
        bn_status status = bn_ctx_create(bn_isa_name(i), 2, &ctx);
        if (!bn_isa_supported(i)) {
            check(status == BN_ERR_ISA && !ctx, "an ISA that the CPU lacks is refused");
            continue;
        }
        if (!check(status == BN_OK, "create"))
            continue;
        check(strcmp(bn_ctx_isa(ctx), bn_isa_name(i)) == 0, "the context tells its ISA");
        check(bn_ctx_n_threads(ctx) == 2, "the context tells its threads");
        for (size_t e = 0; e < bn_n_entries; e++) {
            const char *kernel = bn_entries[e].kernel, *got = bn_ctx_kernel_isa(ctx, kernel);
            check_case("%s in a context for %s", kernel, bn_isa_name(i));
            check(got && strcmp(got, strongest(kernel, i)) == 0, "served by the strongest ISA that has it");
        }
        check(!bn_ctx_kernel_isa(ctx, "no_such_kernel") && !bn_ctx_kernel_isa(ctx, NULL), "unknown kernels");
        bn_ctx_free(ctx);
    }
    check_case("context arguments");
    check(bn_ctx_create("sse9", 1, &ctx) == BN_ERR_ISA && !ctx, "an unknown ISA");
    check(bn_ctx_create("", 1, &ctx) == BN_ERR_ISA, "an empty ISA");
    check(bn_ctx_create(NULL, 0, &ctx) == BN_ERR_ARG, "0 threads");
    check(bn_ctx_create(NULL, -5, &ctx) == BN_ERR_ARG, "-5 threads");
    check(bn_ctx_create(NULL, 257, &ctx) == BN_ERR_ARG, "257 threads");
    check(bn_ctx_create(NULL, 1, NULL) == BN_ERR_ARG, "no result");
    check(bn_isa_name(-1) == NULL && bn_isa_name(bn_isa_count()) == NULL, "names past the ends");
    check(!bn_isa_supported(-1) && !bn_isa_supported(bn_isa_count()), "support past the ends");
    for (int status = -1; status < 8; status++)
        check(strlen(bn_status_str((bn_status)status)) > 5, "a text for every status");
    bn_ctx_free(NULL);
    bn_tmat_free(NULL);
    bn_kv_free(NULL);
    bn_plan_free(NULL);
}

/* ---- Ternary matrices ---- */

/* bn_tmat_pack with one scale for all. */
static bn_status pack(bn_ctx *ctx, bn_pack_format format, bn_layout layout, const void *data, size_t n_bytes,
                      size_t rows, size_t cols, bn_tmat **out)
{
    static const float one = 1.0f;
    return bn_tmat_pack(ctx, format, layout, data, n_bytes, rows, cols, NULL, &one, 1, 1, out);
}

static int8_t *random_trits(size_t n)
{
    int8_t *trits = malloc(n + 1);
    for (size_t i = 0; i < n; i++)
        trits[i] = (int8_t)((int)check_below(3) - 1);
    return trits;
}

/* I2_S, layout A, from its description: value i of a block of 128 is in byte i % 32, the first 32 in the top bits. */
static uint8_t *encode_i2_s(const int8_t *trits, size_t n)
{
    uint8_t *codes = calloc(n / 4 + 1, 1);
    for (size_t i = 0; i < n; i++)
        codes[i / 128 * 32 + i % 32] |= (uint8_t)((trits[i] + 1) << (6 - i % 128 / 32 * 2));
    return codes;
}

/* A head made of trits with a scale of 1 holds them, in the type that suits the width. */
static void check_head_of_trits(bn_ctx *ctx, const bn_tmat *mat, const int8_t *trits)
{
    size_t cols = bn_tmat_cols(mat), n = bn_tmat_rows(mat) * cols;
    bn_dmat *head = NULL;
    if (!check(bn_dmat_from_tmat(ctx, mat, &head) == BN_OK, "a head of trits"))
        return;
    bn_type type = bn_dmat_type(head);
    check(type == (cols % 64 ? BN_TYPE_F16 : BN_TYPE_Q2_0), "has the smallest type");
    float *values = malloc((n + 1) * sizeof *values);
    uint8_t *rows = malloc(n / cols * bn_type_row_bytes(type, cols));
    check(bn_dmat_unpack(head, rows) == BN_OK, "unpacks");
    int same = 1;
    (type == BN_TYPE_F16 ? bn_dequant_f16__scalar : bn_dequant_q2_0__scalar)(rows, n, values);
    for (size_t i = 0; i < n; i++)
        same &= values[i] == (float)trits[i];
    check(same, "holds the trits");
    free(rows);
    free(values);
    bn_dmat_free(head);
}

static void check_round_trip(bn_ctx *ctx, bn_layout layout, size_t rows, size_t cols)
{
    size_t n = rows * cols;
    check_case("matrix of %zu rows, %zu cols, layout %d, %d threads", rows, cols, (int)layout,
               (int)bn_ctx_n_threads(ctx));
    int8_t *trits = random_trits(n), *back = malloc(n + 1);
    bn_tmat *mat = NULL;
    back[n] = 99;
    if (check(pack(ctx, BN_PACK_TRITS, layout, trits, n, rows, cols, &mat) == BN_OK, "pack trits")) {
        check(bn_tmat_unpack(mat, back) == BN_OK && memcmp(back, trits, n) == 0, "unpacks to the same");
        check(back[n] == 99, "unpacks no further");
        check(bn_tmat_rows(mat) == rows && bn_tmat_cols(mat) == cols, "tells its shape");
        check_head_of_trits(ctx, mat, trits);
        size_t least = layout == BN_LAYOUT_L3 ? n * 5 / 24 : n / 4;     /* 5/3 or 2 bits a weight, and padding */
        check(bn_tmat_bytes(mat) >= least, "tells its size");
        if (rows % BN_SLAB_ROWS == 0 && cols % BN_LOOKUP_COLS == 0 && layout == BN_LAYOUT_L3)
            check(bn_tmat_bytes(mat) == least, "takes no more than it says");
    }
    bn_tmat_free(mat);
    mat = NULL;
    if (cols % 128 == 0) {
        uint8_t *codes = encode_i2_s(trits, n), *moved = malloc(n / 4 + 3);
        memcpy(moved + 3, codes, n / 4);        /* a file's codes may lie anywhere */
        memset(back, 0, n);
        if (check(pack(ctx, BN_PACK_I2_S, layout, moved + 3, n / 4, rows, cols, &mat) == BN_OK, "pack I2_S"))
            check(bn_tmat_unpack(mat, back) == BN_OK && memcmp(back, trits, n) == 0, "I2_S unpacks to the same");
        bn_tmat_free(mat);
        size_t at = check_below(n / 4);
        codes[at] |= (uint8_t)(3 << check_below(4) * 2);
        check(pack(ctx, BN_PACK_I2_S, layout, codes, n / 4, rows, cols, &mat) == BN_ERR_CODE && !mat,
              "code 3 is refused");
        free(moved);
        free(codes);
    }
    static const int8_t wrong[] = {2, -2, 3, 127, -128, 65};
    for (size_t i = 0; i < sizeof wrong; i++) {
        size_t at = check_below(n);
        int8_t kept = trits[at];
        trits[at] = wrong[i];
        check(pack(ctx, BN_PACK_TRITS, layout, trits, n, rows, cols, &mat) == BN_ERR_CODE && !mat,
              "a weight that is no trit is refused");
        trits[at] = kept;
    }
    free(back);
    free(trits);
}

/* The same into the first layout. */
#define PACK(ctx, format, ...) pack(ctx, format, BN_LAYOUT_T2, __VA_ARGS__)

static void check_matrix_arguments(bn_ctx *ctx)
{
    static int8_t trits[1024];
    bn_tmat *mat;
    check_case("matrix arguments");
    check(PACK(NULL, BN_PACK_TRITS, trits, 1024, 4, 256, &mat) == BN_ERR_ARG, "no context");
    check(PACK(ctx, BN_PACK_TRITS, NULL, 1024, 4, 256, &mat) == BN_ERR_ARG, "no data");
    check(PACK(ctx, BN_PACK_TRITS, trits, 1024, 4, 256, NULL) == BN_ERR_ARG, "no result");
    check(PACK(ctx, BN_PACK_TRITS, trits, 1023, 4, 256, &mat) == BN_ERR_ARG, "too few bytes");
    check(PACK(ctx, BN_PACK_TRITS, trits, 1025, 4, 256, &mat) == BN_ERR_ARG, "too many bytes");
    check(PACK(ctx, BN_PACK_TRITS, trits, 0, 0, 256, &mat) == BN_ERR_ARG, "no rows");
    check(PACK(ctx, BN_PACK_TRITS, trits, 0, 4, 0, &mat) == BN_ERR_ARG, "no cols");
    check(PACK(ctx, BN_PACK_I2_S, trits, 256, 4, 256, &mat) == BN_OK, "I2_S takes a quarter of the bytes");
    bn_tmat_free(mat);
    check(PACK(ctx, BN_PACK_I2_S, trits, 1024, 4, 256, &mat) == BN_ERR_ARG, "I2_S with bytes for trits");
    check(PACK(ctx, BN_PACK_I2_S, trits, 48, 3, 64, &mat) == BN_ERR_ARG, "I2_S with half a block");
    check(PACK(ctx, (bn_pack_format)11, trits, 1024, 4, 256, &mat) == BN_ERR_ARG, "an unknown format");
    check(pack(ctx, BN_PACK_TRITS, (bn_layout)9, trits, 1024, 4, 256, &mat) == BN_ERR_ARG, "an unknown layout");
    size_t huge = (size_t)1 << 62;
    check(PACK(ctx, BN_PACK_TRITS, trits, 0, huge, 4, &mat) == BN_ERR_ARG, "rows * cols wraps to 0");
    check(PACK(ctx, BN_PACK_TRITS, trits, huge, huge / 4, 4, &mat) != BN_OK, "more than fits");
    check(bn_tmat_unpack(NULL, trits) == BN_ERR_ARG, "unpack nothing");
}

static void check_head_arguments(bn_ctx *ctx)
{
    static uint8_t data[17 * 210];
    bn_dmat *mat;
    size_t huge = (size_t)1 << 62, n = sizeof data;
    check_case("head arguments");
    check(bn_dmat_pack(NULL, BN_TYPE_Q6_K, data, n, 17, 256, &mat) == BN_ERR_ARG, "no context");
    check(bn_dmat_pack(ctx, BN_TYPE_Q6_K, NULL, n, 17, 256, &mat) == BN_ERR_ARG, "no data");
    check(bn_dmat_pack(ctx, BN_TYPE_Q6_K, data, n, 17, 256, NULL) == BN_ERR_ARG, "no result");
    check(bn_dmat_pack(ctx, BN_TYPE_Q6_K, data, n - 1, 17, 256, &mat) == BN_ERR_ARG, "too few bytes");
    check(bn_dmat_pack(ctx, BN_TYPE_Q6_K, data, n, 16, 256, &mat) == BN_ERR_ARG, "too many bytes");
    check(bn_dmat_pack(ctx, BN_TYPE_Q6_K, data, 0, 0, 256, &mat) == BN_ERR_ARG, "no rows");
    check(bn_dmat_pack(ctx, BN_TYPE_Q6_K, data, 0, 17, 0, &mat) == BN_ERR_ARG, "no cols");
    check(bn_dmat_pack(ctx, BN_TYPE_Q6_K, data, 17 * 105, 17, 128, &mat) == BN_ERR_ARG, "half a block");
    check(bn_dmat_pack(ctx, (bn_type)3, data, n, 17, 256, &mat) == BN_ERR_ARG, "an unknown type");
    check(bn_dmat_pack(ctx, BN_TYPE_F32, data, 0, huge, 4, &mat) == BN_ERR_ARG, "rows * cols wraps to 0");
    check(bn_dmat_pack(ctx, BN_TYPE_F32, data, 0, 4, huge, &mat) == BN_ERR_ARG, "cols without end");
    if (check(bn_dmat_pack(ctx, BN_TYPE_Q6_K, data, n, 17, 256, &mat) == BN_OK, "pack"))
        check(bn_dmat_rows(mat) == 17 && bn_dmat_cols(mat) == 256 && bn_dmat_type(mat) == BN_TYPE_Q6_K &&
                  bn_dmat_bytes(mat) >= n,
              "what was packed");
    bn_dmat_free(mat);
    if (check(bn_dmat_pack(ctx, BN_TYPE_F16, data, 17 * 64, 17, 32, &mat) == BN_OK, "floats"))
        check(bn_dmat_bytes(mat) == 32 * 64, "floats as they are, in whole tiles");
    bn_dmat_free(mat);
    bn_dmat_free(NULL);
    check(bn_dmat_unpack(NULL, data) == BN_ERR_ARG, "unpack no head");
    check(bn_dmat_from_tmat(ctx, NULL, &mat) == BN_ERR_ARG, "a head of no trits");
}

static void check_count(void)
{
    static uint8_t data[1001];
    uint64_t counts[4], expected[4] = {0};
    check_case("code counts");
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)check_random();
        for (unsigned shift = 0; shift < 8; shift += 2)
            expected[data[i] >> shift & 3]++;
    }
    bn_count_codes(data, sizeof data, counts);
    check(memcmp(counts, expected, sizeof counts) == 0, "each code is counted");
    bn_count_codes(data, 0, counts);
    check(counts[0] == 0 && counts[1] == 0 && counts[2] == 0 && counts[3] == 0, "nothing is counted in nothing");
}

static void check_matrices(void)
{
    static const size_t shapes[][2] = {{1, 1},   {1, 3},    {2, 15},   {15, 16}, {16, 17},  {17, 31},
                                       {33, 127}, {1, 128}, {3, 128},  {16, 64}, {16, 128}, {31, 256},
                                       {48, 640}, {65, 384}, {7, 1000}, {5, 6912}, {127, 1}, {640, 128}, {192, 384}, {300, 896}};
    static const int32_t threads[] = {1, 3, 9};
    for (size_t i = 0; i < sizeof threads / sizeof threads[0]; i++) {
        bn_ctx *ctx = NULL;
        check_case("context of %d threads", (int)threads[i]);
        if (!check(bn_ctx_create(NULL, threads[i], &ctx) == BN_OK, "create"))
            return;
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
            for (int layout = BN_LAYOUT_T2; layout <= BN_LAYOUT_L3; layout++)
                check_round_trip(ctx, (bn_layout)layout, shapes[s][0], shapes[s][1]);
        check_matrix_arguments(ctx);
        check_head_arguments(ctx);
        bn_ctx_free(ctx);
    }
    check_count();
}

/* ---- The rest ---- */

static void check_caches(void)
{
    bn_kv *kv;
    check_case("KV cache arguments");
    check(bn_kv_create(BN_KV_F16, 2, 3, 16, 96, &kv) == BN_OK && bn_kv_bytes(kv) == 2 * 2 * 3 * 16 * 96 * 2,
          "two sides of f16");
    bn_kv_free(kv);
    check(bn_kv_create(BN_KV_F32, 2, 3, 16, 96, &kv) == BN_OK && bn_kv_bytes(kv) == 2 * 2 * 3 * 16 * 96 * 4,
          "of float32");
    bn_kv_free(kv);
    check(bn_kv_create(BN_KV_I8, 2, 3, 16, 96, &kv) == BN_OK && bn_kv_bytes(kv) == 2 * 2 * 3 * (16 + 4) * 96,
          "of int8, with a scale per position");
    bn_kv_free(kv);
    check(bn_kv_create(BN_KV_F16, 1, 1, 20, 100, &kv) == BN_OK && bn_kv_bytes(kv) == (20 + 32) * 112 * 2,
          "whole slabs");
    bn_kv_free(kv);
    check(bn_kv_create((bn_kv_type)3, 2, 3, 16, 96, &kv) == BN_ERR_ARG, "an unknown type");
    check(bn_kv_create((bn_kv_type)-1, 2, 3, 16, 96, &kv) == BN_ERR_ARG, "a negative type");
    check(bn_kv_create(BN_KV_F16, 0, 3, 16, 100, &kv) == BN_ERR_ARG, "no layers");
    check(bn_kv_create(BN_KV_F16, 2, 0, 16, 100, &kv) == BN_ERR_ARG, "no heads");
    check(bn_kv_create(BN_KV_F16, 2, 3, 0, 100, &kv) == BN_ERR_ARG, "no values");
    check(bn_kv_create(BN_KV_F16, 2, 3, 16, 0, &kv) == BN_ERR_ARG, "no positions");
    check(bn_kv_create(BN_KV_F16, 2, 3, 16, 100, NULL) == BN_ERR_ARG, "no result");
    size_t big = (size_t)1 << 33;
    check(bn_kv_create(BN_KV_F16, big, big, 16, 100, &kv) == BN_ERR_ARG, "a size that wraps");
    check(bn_kv_create(BN_KV_F16, big, 1, 64, (size_t)1 << 24, &kv) != BN_OK, "a size that no machine has");
}

static void check_row_bytes(void)
{
    check_case("bytes of a dense row");
    check(bn_type_row_bytes(BN_TYPE_F32, 7) == 28 && bn_type_row_bytes(BN_TYPE_F16, 7) == 14 &&
              bn_type_row_bytes(BN_TYPE_BF16, 7) == 14,
          "float types");
    check(bn_type_row_bytes(BN_TYPE_Q8_0, 64) == 68 && bn_type_row_bytes(BN_TYPE_Q4_0, 64) == 36 &&
              bn_type_row_bytes(BN_TYPE_Q6_K, 512) == 420 && bn_type_row_bytes(BN_TYPE_Q2_0, 128) == 36,
          "block types");
    check(bn_type_row_bytes(BN_TYPE_Q8_0, 33) == 0 && bn_type_row_bytes(BN_TYPE_Q4_0, 16) == 0 &&
              bn_type_row_bytes(BN_TYPE_Q6_K, 128) == 0 && bn_type_row_bytes(BN_TYPE_Q2_0, 96) == 0,
          "part of a block");
    check(bn_type_row_bytes((bn_type)3, 256) == 0 && bn_type_row_bytes((bn_type)-1, 256) == 0, "unknown types");
}

int main(int argc, char **argv)
{
    int quick = 0;
    uint64_t seed = 1;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--quick") == 0) {
            quick = 1;
        } else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
            seed = strtoull(argv[++i], NULL, 10);
        } else {
            fprintf(stderr, "usage: %s [--seed N] [--quick]\n", argv[0]);
            return 2;
        }
    }
    check_begin("check_library", seed);
    check_contexts();
    check_matrices();
    check_file_codes(quick);
    check_file_codes_tl(quick);
    check_caches();
    check_row_bytes();
    check_matmuls(quick);
    check_heads(quick);
    check_models(quick);
    check_plan_arguments(quick);
    check_far();
    return check_end();
}
