/* check_attention.c: rows times slabs, the matrix products of attention, for slabs of every type. */
#include <string.h>

#include "check_kernels.h"
#include "lanes.h"

static check_guard guard_a, guard_b, guard_out;
static scratch master_a, master_b, expected_out;

typedef __typeof__(*((bn_kernels *)0)->slabs_f32) slabs_fn;

typedef struct {
    size_t rows, slabs, n;
    size_t a_stride, b_stride, out_stride;
    int add;
} slabs_case;

/* From one row or slab to the next, `least` values being in use. */
static size_t stride_of(size_t least)
{
    return least + (check_below(2) ? 0 : check_below(40));
}

static void check_one(const target *t, slabs_fn *reference, size_t value_bytes, const slabs_case *c, const float *a0,
                      const void *b0, check_place place)
{
    size_t n_a = c->rows && c->n ? (c->rows - 1) * c->a_stride + c->n : 0;
    size_t n_b = c->slabs && c->n ? (c->slabs - 1) * c->b_stride + c->n * BN_LANES : 0;
    size_t n_out = c->rows && c->slabs ? (c->rows - 1) * c->out_stride + c->slabs * BN_LANES : 0;
    float *expected = scratch_get(&expected_out, n_out * sizeof *expected);
    fill_floats(expected, n_out, FLOATS_UNIFORM);
    float *a = check_copy(&guard_a, a0, n_a * sizeof *a, sizeof *a, place);
    void *b = check_copy(&guard_b, b0, n_b * value_bytes, value_bytes, place);
    float *out = check_copy(&guard_out, expected, n_out * sizeof *out, sizeof *out, place);
    reference(a0, c->a_stride, c->rows, b0, c->b_stride, c->slabs, c->n, c->add, expected, c->out_stride);
    ((slabs_fn *)t->fn)(a, c->a_stride, c->rows, b, c->b_stride, c->slabs, c->n, c->add, out, c->out_stride);
    check(check_same_floats(out, expected, n_out), "out differs from the reference, or what lies between its rows");
    check(check_surroundings(&guard_out), "wrote outside of out");
    check(memcmp(a, a0, n_a * sizeof *a) == 0 && memcmp(b, b0, n_b * value_bytes) == 0, "changed its inputs");
}

/* What the slabs hold: values as wide as they are. */
static void fill_values(void *b, size_t n, size_t value_bytes, size_t turn)
{
    if (value_bytes == sizeof(float))
        fill_floats(b, n, (float_pattern)(turn % FLOATS_COUNT));
    else if (value_bytes == sizeof(uint16_t))
        fill_halves(b, n, (half_pattern)(turn % HALVES_COUNT));
    else if (turn % 4 == 0)
        memset(b, -128, n);
    else
        fill_bytes(b, n);
}

/* The first numbers of i are dimensions of heads and positions as models have them, then edges of loops. */
static void check_slabs(const target *t, slabs_fn *reference, size_t value_bytes)
{
    static const size_t steps[] = {128, 64, 80, 96, 100, 256, 0, 1, 2, 15, 16, 17, 31, 37, 127, 129, 257};
    static const size_t rows[] = {4, 1, 12, 48, 0, 2, 3, 5, 6, 7, 11, 13, 15, 16, 17, 23, 24, 31, 47};
    static const size_t slabs[] = {1, 2, 3, 8, 0};
    size_t turn = 0;
    for (size_t i = 0; i < COUNT_OF(steps); i++)
        for (size_t j = 0; j < COUNT_OF(rows); j++)
            for (size_t k = 0; k < COUNT_OF(slabs); k += t->quick ? 2 : 1, turn++) {
                slabs_case c = {.rows = rows[j], .slabs = slabs[k], .n = steps[i], .add = turn % 3 == 0};
                c.a_stride = stride_of(c.n);
                c.b_stride = stride_of(c.n * BN_LANES);
                c.out_stride = stride_of(c.slabs * BN_LANES);
                float_pattern pattern = turn % 3 ? FLOATS_UNIFORM : (float_pattern)(turn / 3 % FLOATS_COUNT);
                check_case("%s %s: %zu rows, %zu slabs of %zu, strides %zu %zu %zu, add %d, %s, turn %zu", t->kernel,
                           t->isa, c.rows, c.slabs, c.n, c.a_stride, c.b_stride, c.out_stride, c.add,
                           float_pattern_name(pattern), turn);
                size_t n_a = c.rows * c.a_stride, n_b = c.slabs * c.b_stride;
                float *a = scratch_get(&master_a, n_a * sizeof *a);
                void *b = scratch_get(&master_b, n_b * value_bytes);
                fill_floats(a, n_a, pattern);
                fill_values(b, n_b, value_bytes, turn % 2 ? 0 : turn / 2);
                check_one(t, reference, value_bytes, &c, a, b, turn % 4 == 3 ? CHECK_AT_START : CHECK_AT_END);
            }
}

static void check_f32(const target *t)
{
    check_slabs(t, bn_slabs_f32__scalar, sizeof(float));
}

static void check_f16(const target *t)
{
    check_slabs(t, bn_slabs_f16__scalar, sizeof(uint16_t));
}

static void check_i8(const target *t)
{
    check_slabs(t, bn_slabs_i8__scalar, sizeof(int8_t));
}

const kernel_check attention_checks[] = {
    {"slabs_f32", check_f32}, {"slabs_f16", check_f16}, {"slabs_i8", check_i8}, {NULL, NULL}};
