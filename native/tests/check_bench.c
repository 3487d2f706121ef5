/* check_bench.c: every kernel can be timed, and the machine's limits come out as numbers that can be true. */
#include <stdio.h>
#include <string.h>

#include "bitnet.h"
#include "check.h"
#include "entries.h"

/* Does a stronger ISA of this CPU have the kernel, too? Then they share a row. */
static int has_stronger(size_t index)
{
    for (size_t i = index + 1; i < bn_n_entries; i++)
        if (strcmp(bn_entries[i].kernel, bn_entries[index].kernel) == 0 && (bn_cpu_isas() >> bn_entries[i].isa & 1))
            return 1;
    return 0;
}

/* One call of each kernel: with --quick only of the strongest ISA. */
static void check_kernels_are_timed(int quick)
{
    for (size_t i = 0; i < bn_bench_count(); i++) {
        bn_bench_result r = {0};
        if (quick && has_stronger(i))
            continue;
        bn_status status = bn_bench_run(i, 0, &r);
        check_case("timing of %s %s", r.kernel ? r.kernel : "?", r.isa ? r.isa : "(not on this CPU)");
        check(status == BN_OK || (status == BN_ERR_ISA && !r.isa), "it has no row in bench_kernels.c");
        if (status == BN_OK)
            check(r.min_ns > 0 && r.median_ns >= r.min_ns && r.bytes > 0, "a time and a size");
    }
    bn_bench_result r;
    check_case("timing: arguments");
    check(bn_bench_run(bn_bench_count(), 0, &r) == BN_ERR_ARG, "an index past the end");
    check(bn_bench_run(0, -1, &r) == BN_ERR_ARG && bn_bench_run(0, 1e9, &r) == BN_ERR_ARG, "no number of seconds");
    check(bn_bench_run(0, 0, NULL) == BN_ERR_ARG, "no result");
}

static void check_rooflines(void)
{
    bn_ctx *ctx;
    double rate;
    check_case("limits of the machine");
    if (!check(bn_ctx_create(NULL, 2, &ctx) == BN_OK, "a context"))
        return;
    check(bn_roofline_bandwidth(ctx, (size_t)3 << 20, &rate) == BN_OK && rate > 0, "bytes per second");
    check(bn_roofline_bandwidth(ctx, ((size_t)1 << 20) + 65, &rate) == BN_OK && rate > 0, "a size that is not round");
    check(bn_roofline_bandwidth(ctx, 1000, &rate) == BN_ERR_ARG, "too few bytes");
    check(bn_roofline_bandwidth(ctx, (size_t)1 << 30, NULL) == BN_ERR_ARG, "no result");
    check(bn_roofline_bandwidth(NULL, (size_t)1 << 30, &rate) == BN_ERR_ARG, "no context");
    check(bn_roofline_int8(ctx, &rate) == BN_OK && rate > 0, "products per second");
    check(bn_roofline_int8(ctx, NULL) == BN_ERR_ARG && bn_roofline_int8(NULL, &rate) == BN_ERR_ARG, "arguments");
    bn_ctx_free(ctx);
}

int main(int argc, char **argv)
{
    int quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
    if (argc > 2 || (argc == 2 && !quick)) {
        fprintf(stderr, "usage: %s [--quick]\n", argv[0]);
        return 2;
    }
    check_begin("check_bench", 1);
    check_kernels_are_timed(quick);
    check_rooflines();
    return check_end();
}
