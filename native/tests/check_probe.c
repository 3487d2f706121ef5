/* check_probe.c: the probes return what the reference returns, so they have done their work. */
#include "check_kernels.h"

static check_guard guard_data, guard_q;

static void check_probe_read(const target *t)
{
    static const size_t counts[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 64, 1009};
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        check_case("%s %s: %zu lines", t->kernel, t->isa, counts[i]);
        uint8_t *data = check_alloc(&guard_data, counts[i] * 64, 64, CHECK_AT_END);
        fill_bytes(data, counts[i] * 64);
        check(TARGET_FN(t, probe_read)(data, counts[i]) == bn_probe_read__scalar(data, counts[i]), "another checksum");
    }
}

/* Extremes of both signs, then random ones; q as kernels meet it, codes 0..2. */
static void check_probe_int8(const target *t)
{
    static const size_t steps[] = {0, 1, 2, 7, 8, 9, 15, 16, 17, 33, 1009};
    for (size_t i = 0; i < COUNT_OF(steps); i++)
        for (int pattern = 0; pattern < 3; pattern++) {
            check_case("%s %s: %zu steps, pattern %d", t->kernel, t->isa, steps[i], pattern);
            uint8_t *codes = check_alloc(&guard_data, 64, 64, CHECK_AT_END);
            int8_t *q = check_alloc(&guard_q, 64, 64, CHECK_AT_END);
            for (size_t j = 0; j < 64; j++) {
                codes[j] = pattern < 2 ? 2 : (uint8_t)check_below(3);
                q[j] = (int8_t)(pattern == 0 ? -128 : pattern == 1 ? 127 : (int)check_below(256) - 128);
            }
            uint32_t sum = 0, got = TARGET_FN(t, probe_int8)(codes, q, steps[i]);
            for (size_t j = 0; j < 64; j++)
                sum += (uint32_t)(codes[j] * q[j]);
            check(got == (uint32_t)(steps[i] * (BN_PROBE_PRODUCTS / 64)) * sum, "another sum");
        }
}

const kernel_check probe_checks[] = {{"probe_read", check_probe_read}, {"probe_int8", check_probe_int8}, {NULL, NULL}};
