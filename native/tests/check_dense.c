/* check_dense.c: rows of the dense types as floats, and dot products of the float types. */
#include <stdio.h>
#include <string.h>

#include "check_kernels.h"
#include "scalar/half_scalar.h"

typedef __typeof__(*((bn_kernels *)0)->dequant_f32) dequant_fn;
typedef __typeof__(*((bn_kernels *)0)->gemv_f32_f32) gemv_fn;

typedef struct {
    const char *name;
    size_t block, block_bytes;
    int scale_at;               /* offset of the block's f16 scale, -1 for the float types */
    dequant_fn *dequant;
    gemv_fn *gemv;              /* of the float types */
} dense_type;

static const dense_type types[] = {
    {"f32", 1, 4, -1, bn_dequant_f32__scalar, bn_gemv_f32_f32__scalar},
    {"f16", 1, 2, -1, bn_dequant_f16__scalar, bn_gemv_f16_f32__scalar},
    {"bf16", 1, 2, -1, bn_dequant_bf16__scalar, bn_gemv_bf16_f32__scalar},
    {"q8_0", 32, 34, 0, bn_dequant_q8_0__scalar, NULL},
    {"q6_k", 256, 210, 208, bn_dequant_q6_k__scalar, NULL},
    {"q4_0", 32, 18, 0, bn_dequant_q4_0__scalar, NULL},
    {"q2_0", 64, 18, 0, bn_dequant_q2_0__scalar, NULL},
};

typedef enum {
    ROWS_SANE,                  /* floats in [-1, 1), scales too */
    ROWS_BITS,                  /* random bits, scales and floats with infinities and NaNs among them */
    ROWS_ZEROS,                 /* bytes 0: the most negative of q6_k, q4_0 and q2_0 */
    ROWS_ONES,                  /* bytes 0xff, scales sane: the most positive of q6_k, q4_0 and q2_0 */
    ROWS_LEAST,                 /* bytes 0x80, scales sane: -128 */
    ROWS_COUNT
} row_pattern;

static const char *const row_names[ROWS_COUNT] = {"sane", "bits", "zeros", "ones", "bytes 0x80"};

static check_guard guard_w, guard_x, guard_y;
static scratch master_w, master_x, expected_y;

static void fill_row(uint8_t *row, const dense_type *type, size_t cols, row_pattern pattern)
{
    size_t n_bytes = cols / type->block * type->block_bytes;
    switch (pattern) {
    case ROWS_ZEROS: memset(row, 0, n_bytes); break;
    case ROWS_ONES: memset(row, 0xff, n_bytes); break;
    case ROWS_LEAST: memset(row, 0x80, n_bytes); break;
    default: fill_bytes(row, n_bytes); break;
    }
    if (pattern == ROWS_BITS)
        return;
    for (size_t block = 0; block < cols / type->block; block++, row += type->block_bytes) {
        float value = check_uniform();
        uint32_t bits = bn_bits_from_float(value);
        uint16_t half = bn_f16_from_f32(value), brain = (uint16_t)(bits >> 16);
        if (type->scale_at >= 0)
            memcpy(row + type->scale_at, &half, 2);
        else if (pattern == ROWS_SANE)
            memcpy(row, type->block_bytes == 4 ? (void *)&bits : strcmp(type->name, "f16") == 0 ? &half : &brain,
                   type->block_bytes);
    }
}

static const dense_type *type_of(const target *t, const char *format)
{
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        char name[32];
        snprintf(name, sizeof name, format, types[i].name);
        if (strcmp(name, t->kernel) == 0)
            return &types[i];
    }
    return NULL;
}

static void check_one_dequant(const target *t, const dense_type *type, size_t n, row_pattern pattern, check_place place)
{
    check_case("%s %s: n %zu, %s, place %d", t->kernel, t->isa, n, row_names[pattern], (int)place);
    size_t row_bytes = n / type->block * type->block_bytes;
    uint8_t *row0 = scratch_get(&master_w, row_bytes);
    float *expected = scratch_get(&expected_y, n * sizeof *expected);
    fill_row(row0, type, n, pattern);
    type->dequant(row0, n, expected);
    uint8_t *row = check_copy(&guard_w, row0, row_bytes, 1, place);
    float *out = check_alloc(&guard_y, n * sizeof *out, sizeof *out, place);
    ((dequant_fn *)t->fn)(row, n, out);
    /* A plain conversion keeps even the bits of a NaN; a product has some NaN. */
    check(type->scale_at < 0 ? memcmp(out, expected, n * sizeof *out) == 0 : check_same_floats(out, expected, n),
          "out differs from the reference");
    check(check_surroundings(&guard_y), "wrote outside of out");
    check(memcmp(row, row0, row_bytes) == 0, "changed its input");
}

/* All 65536 values, the bits of NaNs included. */
static void check_all_halves(const target *t)
{
    check_case("%s %s: every value of 16 bits", t->kernel, t->isa);
    static uint16_t all[1 << 16];
    static float expected[1 << 16];
    for (size_t i = 0; i < COUNT_OF(all); i++)
        all[i] = (uint16_t)i;
    const dense_type *type = type_of(t, "dequant_%s");
    type->dequant(all, COUNT_OF(all), expected);
    float *out = check_alloc(&guard_y, sizeof expected, sizeof *out, CHECK_AT_END);
    ((dequant_fn *)t->fn)(all, COUNT_OF(all), out);
    check(memcmp(out, expected, sizeof expected) == 0, "out differs from the reference");
}

static void check_dequant(const target *t)
{
    const dense_type *type = type_of(t, "dequant_%s");
    size_t turn = 0, n;
    for (size_t index = 0; element_count(index, t->quick, &n) == 0; index++) {
        if (type->block > 1 && n > 80)
            continue;
        size_t count = type->block == 1 ? n : type->block < 256 || n <= 27 ? n * type->block : 0;
        for (int pattern = 0; pattern < ROWS_COUNT; pattern++)
            for (int repeat = 0; repeat < 2; repeat++)
                check_one_dequant(t, type, count, (row_pattern)pattern,
                                  turn++ % 4 == 3 ? CHECK_AT_START : CHECK_AT_END);
    }
    if (type->block_bytes == 2)
        check_all_halves(t);
}

static void check_one_gemv(const target *t, const dense_type *type, size_t rows, size_t cols, row_pattern pattern,
                           float_pattern floats, check_place place)
{
    size_t used = cols / type->block * type->block_bytes, row_bytes = used + check_below(2) * type->block_bytes;
    check_case("%s %s: %zu rows, %zu cols, row_bytes %zu, %s, x %s, place %d", t->kernel, t->isa, rows, cols, row_bytes,
               row_names[pattern], float_pattern_name(floats), (int)place);
    size_t w_bytes = rows ? (rows - 1) * row_bytes + used : 0;
    uint8_t *w0 = scratch_get(&master_w, rows * row_bytes);
    float *x0 = scratch_get(&master_x, cols * sizeof *x0);
    float *expected = scratch_get(&expected_y, rows * sizeof *expected);
    memset(w0, 0x7f, rows * row_bytes);
    for (size_t r = 0; r < rows; r++)
        fill_row(w0 + r * row_bytes, type, cols, pattern);
    fill_floats(x0, cols, floats);
    type->gemv(w0, row_bytes, rows, cols, x0, expected);
    uint8_t *w = check_copy(&guard_w, w0, w_bytes, 1, place);
    float *x = check_copy(&guard_x, x0, cols * sizeof *x, sizeof *x, place);
    float *y = check_alloc(&guard_y, rows * sizeof *y, sizeof *y, place);
    ((gemv_fn *)t->fn)(w, row_bytes, rows, cols, x, y);
    check(check_same_floats(y, expected, rows), "y differs from the reference");
    check(check_surroundings(&guard_y), "wrote outside of y");
    check(memcmp(w, w0, w_bytes) == 0 && memcmp(x, x0, cols * sizeof *x) == 0, "changed its inputs");
}

static void check_gemv(const target *t)
{
    static const size_t row_counts[] = {0, 1, 2, 3, 4, 5, 8, 9, 6, 7, 13, 16, 17, 33};
    static const size_t plain_cols[] = {1,  2,  3,  4,  7,   8,   15,  16,  17,  24,  31,  32,  33,
                                        40, 63, 64, 65, 100, 255, 256, 257, 272, 511, 640, 2560};
    static const struct { row_pattern rows; float_pattern floats; } inputs[] = {
        {ROWS_SANE, FLOATS_UNIFORM},  {ROWS_BITS, FLOATS_WIDE}, {ROWS_LEAST, FLOATS_CONSTANT},
        {ROWS_ONES, FLOATS_OUTLIER},  {ROWS_SANE, FLOATS_HUGE}, {ROWS_SANE, FLOATS_INF},
        {ROWS_ZEROS, FLOATS_UNIFORM}, {ROWS_SANE, FLOATS_NAN},  {ROWS_SANE, FLOATS_SUBNORMAL},
        {ROWS_BITS, FLOATS_MINUS_ZERO}};
    const dense_type *type = type_of(t, "gemv_%s_f32");
    size_t turn = 0;
    for (size_t i = 0; i < COUNT_OF(row_counts) - (t->quick ? 6 : 0); i++)
        for (size_t j = 0; j < COUNT_OF(plain_cols) - (t->quick ? 2 : 0); j++)
            for (size_t k = 0; k < COUNT_OF(inputs); k += t->quick ? 3 : 1)
                check_one_gemv(t, type, row_counts[i], plain_cols[j], inputs[k].rows, inputs[k].floats,
                               turn++ % 4 == 3 ? CHECK_AT_START : CHECK_AT_END);
}

const kernel_check dense_checks[] = {
    {"dequant_f32", check_dequant},   {"dequant_f16", check_dequant},   {"dequant_bf16", check_dequant},
    {"dequant_q8_0", check_dequant},  {"dequant_q6_k", check_dequant},  {"dequant_q4_0", check_dequant},
    {"dequant_q2_0", check_dequant},
    {"gemv_f32_f32", check_gemv},     {"gemv_f16_f32", check_gemv},     {"gemv_bf16_f32", check_gemv},
    {NULL, NULL}};
