/* check_float.c: the float operations between matrices: RoPE, softmax, gated activations, exp. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check_kernels.h"
#include "scalar/exp_scalar.h"

static check_guard guard_a, guard_b, guard_out;
static scratch master_a, master_b, expected_out;

static check_place place_of(size_t turn)
{
    return turn % 4 == 3 ? CHECK_AT_START : CHECK_AT_END;
}

/* ---- RoPE ---- */

static void check_one_rope(const target *t, size_t n_heads, size_t head_dim, size_t n_rot, int neox,
                           float_pattern pattern, check_place place)
{
    check_case("%s %s: %zu heads of %zu, %zu turn, neox %d, %s, place %d", t->kernel, t->isa, n_heads, head_dim, n_rot,
               neox, float_pattern_name(pattern), (int)place);
    size_t bytes = n_heads * head_dim * sizeof(float), turn_bytes = n_rot / 2 * sizeof(float);
    float *x0 = scratch_get(&expected_out, bytes);
    float *cos0 = scratch_get(&master_a, turn_bytes), *sin0 = scratch_get(&master_b, turn_bytes);
    fill_floats(x0, n_heads * head_dim, pattern);
    fill_floats(cos0, n_rot / 2, check_below(4) ? FLOATS_UNIFORM : FLOATS_BITS);
    fill_floats(sin0, n_rot / 2, check_below(4) ? FLOATS_UNIFORM : FLOATS_MINUS_ZERO);
    float *x = check_copy(&guard_out, x0, bytes, sizeof *x, place);
    float *cos = check_copy(&guard_a, cos0, turn_bytes, sizeof *cos, place);
    float *sin = check_copy(&guard_b, sin0, turn_bytes, sizeof *sin, place);
    bn_rope_f32__scalar(x0, n_heads, head_dim, n_rot, neox, cos0, sin0);
    TARGET_FN(t, rope_f32)(x, n_heads, head_dim, n_rot, neox, cos, sin);
    check(check_same_floats(x, x0, n_heads * head_dim), "x differs from the reference");
    check(check_surroundings(&guard_out), "wrote outside of x");
    check(memcmp(cos, cos0, turn_bytes) == 0 && memcmp(sin, sin0, turn_bytes) == 0, "changed its inputs");
}

static void check_rope(const target *t)
{
    static const size_t heads[] = {0, 1, 2, 5, 20};
    static const struct { size_t dim, rot; } shapes[] = {
        {128, 128}, {2, 2},   {4, 2},   {6, 6},     {16, 16},  {18, 10}, {20, 20},   {32, 32},  {34, 30}, {64, 64},
        {64, 32},   {66, 66}, {80, 80}, {96, 96}, {100, 100}, {128, 64}, {128, 0}, {130, 126}, {256, 256}};
    size_t turn = 0;
    for (size_t i = 0; i < COUNT_OF(shapes); i++)
        for (size_t j = 0; j < COUNT_OF(heads); j++)
            for (int pattern = 0; pattern < FLOATS_COUNT; pattern += t->quick ? 4 : 1)
                for (int neox = 0; neox <= 1; neox++)
                    check_one_rope(t, heads[j], shapes[i].dim, shapes[i].rot, neox, (float_pattern)pattern,
                                   place_of(turn++));
}

/* ---- exp: alone in the reference, inside of softmax and silu in the kernels ---- */

enum { N_EXP_INPUTS = 1 << 15 };

/* Where exp is delicate: halfway between two multiples of ln 2, at its bounds, and where results are subnormal. */
static void fill_exp_inputs(float *x, size_t n)
{
    static const float special[] = {0.0f, -0.0f, 1.0f, -1.0f, 88.72283f, 88.72284f, 89.0f, 89.00001f, 1e30f, INFINITY,
                                    -87.33654f, -87.33655f, -103.27893f, -103.97207f, -103.97209f, -104.0f, -104.00001f,
                                    -1e30f, -INFINITY, NAN, 1e-30f, -1e-30f, 1e-45f};
    for (size_t i = 0; i < n; i++) {
        if (i < COUNT_OF(special)) {
            x[i] = special[i];
        } else if (i % 2) {
            uint32_t bits = bn_bits_from_float(((float)check_below(282) - 152.5f) * 0.69314718f);
            x[i] = bn_float_from_bits(bits + (uint32_t)check_below(9) - 4);
        } else {
            x[i] = check_uniform() * 105.0f;
        }
    }
}

/* Units in the last place between y and the exact value, where a unit never gets below the least subnormal. */
static double ulps(float y, double exact)
{
    int exponent;
    frexp(exact, &exponent);
    double unit = ldexp(1.0, exponent - 24 < -149 ? -149 : exponent - 24);
    return fabs((double)y - exact) / unit;
}

static void check_exp_accuracy(void)
{
    double worst = 0, worst_subnormal = 0;
    check_case("exp against the double precision exp");
    for (long i = -104 * 16384; i < 88 * 16384 + 11800; i++) {
        float x = (float)i / 16384.0f + check_uniform() * 0x1p-15f;
        double exact = exp((double)x), error = ulps(bn_exp(x), exact);
        if (exact >= 0x1p-126)
            worst = error > worst ? error : worst;
        else
            worst_subnormal = error > worst_subnormal ? error : worst_subnormal;
    }
    printf("exp: at most %.3f ulp, %.3f where the result is subnormal\n", worst, worst_subnormal);
    check(worst < 1.25, "exp is off by more than 1.25 ulp");
    check(worst_subnormal < 1.0, "exp is off by one ulp or more among the subnormals");
    check(bn_exp(0.0f) == 1.0f && bn_exp(-0.0f) == 1.0f, "exp(0) is 1");
    check(bn_exp(-INFINITY) == 0.0f && bn_exp(-104.5f) == 0.0f && bn_exp(NAN) == 0.0f, "exp of -inf and NaN is 0");
    check(bn_exp(INFINITY) == INFINITY && bn_exp(89.5f) == INFINITY, "exp of +inf is +inf");
    float before = 0.0f;
    int rises = 1;
    for (float x = -104.0f; x < 88.75f; x += 0x1p-9f) {
        float y = bn_exp(x);
        rises &= y >= before;
        before = y;
    }
    check(rises, "exp never falls");
}

/* ---- Softmax ---- */

/* scales: bit 0, keys have scales; bit 1, values have. */
static void check_one_softmax(const target *t, const float *x0, size_t n, float scale, int scales, check_place place)
{
    float *expected = scratch_get(&expected_out, n * sizeof *expected);
    float *scale0 = scratch_get(&master_b, n * sizeof *scale0);
    fill_floats(scale0, n, check_below(4) ? FLOATS_UNIFORM : FLOATS_WIDE);
    float *k_scale = scales & 1 ? check_copy(&guard_a, scale0, n * sizeof *scale0, sizeof *scale0, place) : NULL;
    float *v_scale = scales & 2 ? check_copy(&guard_b, scale0, n * sizeof *scale0, sizeof *scale0, place) : NULL;
    memcpy(expected, x0, n * sizeof *expected);
    float expected_sum = bn_softmax_f32__scalar(expected, n, scale, k_scale, v_scale);
    float *x = check_copy(&guard_out, x0, n * sizeof *x, sizeof *x, place);
    float sum = TARGET_FN(t, softmax_f32)(x, n, scale, k_scale, v_scale);
    check(check_same_floats(x, expected, n), "x differs from the reference");
    check(check_same_floats(&sum, &expected_sum, 1), "the sum differs from the reference");
    check(check_surroundings(&guard_out), "wrote outside of x");
    check(!k_scale || memcmp(k_scale, scale0, n * sizeof *scale0) == 0, "changed the scales of keys");
    check(!v_scale || memcmp(v_scale, scale0, n * sizeof *scale0) == 0, "changed the scales of values");
}

static void check_softmax(const target *t)
{
    if (t->is_scalar)
        check_exp_accuracy();
    size_t turn = 0, n;
    for (size_t index = 1; element_count(index, t->quick, &n) == 0; index++)
        for (int pattern = 0; pattern < FLOATS_COUNT; pattern++, turn++) {
            check_case("%s %s: n %zu, %s", t->kernel, t->isa, n, float_pattern_name((float_pattern)pattern));
            float *x0 = scratch_get(&master_a, n * sizeof *x0);
            fill_floats(x0, n, (float_pattern)pattern);
            if (turn % 2 && pattern == FLOATS_UNIFORM)
                for (size_t i = 0; i < n; i++)
                    x0[i] *= 30.0f;
            check_one_softmax(t, x0, n, turn % 3 ? 0.0883883461f : 1.0f, (int)(turn % 4), place_of(turn / 4));
        }
    check_case("%s %s: inputs delicate for exp", t->kernel, t->isa);
    size_t n_exp = t->quick ? N_EXP_INPUTS / 8 : N_EXP_INPUTS;
    float *x0 = scratch_get(&master_a, n_exp * sizeof *x0);
    fill_exp_inputs(x0, n_exp);
    for (size_t i = 0; i < n_exp; i++)
        x0[i] = x0[i] > 0.0f ? 0.0f : x0[i];        /* the largest is 0, so exp meets the others unchanged */
    check_one_softmax(t, x0, n_exp, 1.0f, 0, CHECK_AT_END);
}

/* ---- Gated activations ---- */

typedef __typeof__(*((bn_kernels *)0)->glu_silu_f32) glu_fn;

/* alias: 0 = out is its own, 1 = out is g, 2 = out is u */
static void check_one_glu(const target *t, glu_fn *reference, const float *g0, const float *u0, size_t n, int alias,
                          check_place place)
{
    float *expected = scratch_get(&expected_out, n * sizeof *expected);
    reference(g0, u0, n, expected);
    float *g = check_copy(&guard_a, g0, n * sizeof *g, sizeof *g, place);
    float *u = check_copy(&guard_b, u0, n * sizeof *u, sizeof *u, place);
    float *own = check_alloc(&guard_out, n * sizeof *own, sizeof *own, place);
    float *out = alias == 0 ? own : alias == 1 ? g : u;
    ((glu_fn *)t->fn)(g, u, n, out);
    check(check_same_floats(out, expected, n), "out differs from the reference");
    check(check_surroundings(&guard_a) && check_surroundings(&guard_b) && check_surroundings(&guard_out),
          "wrote outside of out");
    check((alias == 1 || memcmp(g, g0, n * sizeof *g) == 0) && (alias == 2 || memcmp(u, u0, n * sizeof *u) == 0),
          "changed its inputs");
}

static void check_glu(const target *t, glu_fn *reference)
{
    size_t turn = 0, n;
    for (size_t index = 0; element_count(index, t->quick, &n) == 0; index++)
        for (int pattern = 0; pattern < FLOATS_COUNT; pattern++, turn++) {
            float *g0 = scratch_get(&master_a, n * sizeof *g0), *u0 = scratch_get(&master_b, n * sizeof *u0);
            float_pattern other = (float_pattern)check_below(FLOATS_COUNT);
            fill_floats(g0, n, (float_pattern)pattern);
            fill_floats(u0, n, other);
            check_case("%s %s: n %zu, g %s, u %s, alias %zu", t->kernel, t->isa, n,
                       float_pattern_name((float_pattern)pattern), float_pattern_name(other), turn % 3);
            check_one_glu(t, reference, g0, u0, n, (int)(turn % 3), place_of(turn));
        }
    check_case("%s %s: inputs delicate for exp", t->kernel, t->isa);
    size_t n_exp = t->quick ? N_EXP_INPUTS / 8 : N_EXP_INPUTS;
    float *g0 = scratch_get(&master_a, n_exp * sizeof *g0), *u0 = scratch_get(&master_b, n_exp * sizeof *u0);
    fill_exp_inputs(g0, n_exp);
    for (size_t i = 0; i < n_exp; i++) {
        g0[i] = -g0[i];
        u0[i] = 1.0f;
    }
    check_one_glu(t, reference, g0, u0, n_exp, 0, CHECK_AT_END);
}

static void check_glu_relu2(const target *t)
{
    check_glu(t, bn_glu_relu2_f32__scalar);
}

static void check_glu_silu(const target *t)
{
    check_glu(t, bn_glu_silu_f32__scalar);
}

/* GELU by its tanh formula in double precision; 1 + tanh(z) as 2 / (1 + exp(-2z)), which does not cancel. */
static double exact_gelu(double x)
{
    double z = 0.7978845608028654 * (x + 0.044715 * x * x * x);
    return x / (1.0 + exp(-2.0 * z));
}

/* The exponent w = -2z carries about four roundings of 2^-24 of itself, which exp turns into a relative error of as
 * many times |w|; exp, sum and division add three units. Where w is large and positive the result is next to nothing. */
static void check_gelu_accuracy(void)
{
    double worst = 0, worst_share = 0;
    check_case("gelu against double precision");
    for (long i = -9 * 65536; i < 12 * 65536; i++) {
        float x = (float)i / 65536.0f + check_uniform() * 0x1p-17f;
        double exact = exact_gelu((double)x), error = fabs((double)bn_gelu(x) - exact);
        double w = fabs(log(fabs(x / exact - 1.0)));
        worst = error > worst ? error : worst;
        if (x < -1e-3f) {
            double bound = fabs(exact) * (4.0 * w + 3.0) * 0x1p-24;
            worst_share = error / bound > worst_share ? error / bound : worst_share;
        }
    }
    printf("gelu: at most %.3g off for |x| < 12, %.2f of the bound for negative x\n", worst, worst_share);
    check(worst < 1.1e-6, "gelu is off by more than a unit of 8..16");
    check(worst_share < 1.0, "gelu is off by more than its roundings explain");
    check(bn_gelu(0.0f) == 0.0f && bn_gelu(1e30f) == 1e30f && bn_gelu(-1e30f) == 0.0f, "gelu far out");
}

static void check_glu_gelu(const target *t)
{
    if (t->is_scalar)
        check_gelu_accuracy();
    check_glu(t, bn_glu_gelu_f32__scalar);
}

const kernel_check float_checks[] = {{"rope_f32", check_rope},
                                     {"softmax_f32", check_softmax},
                                     {"glu_relu2_f32", check_glu_relu2},
                                     {"glu_silu_f32", check_glu_silu},
                                     {"glu_gelu_f32", check_glu_gelu},
                                     {NULL, NULL}};
