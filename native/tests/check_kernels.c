/* check_kernels.c: every function of kernels.def against the reference, bit for bit, at the edges of its contract.
 *
 *   check_kernels [--seed N] [--isa NAME] [--kernel NAME] [--require NAME]... [--quick] [--list]
 *
 * --require fails if the ISA could not run here; without it, an ISA that the CPU lacks is skipped in one line. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check_kernels.h"

static const kernel_check *const rooms[] = {ternary_checks, live_checks,  quant_checks, float_checks, attention_checks,
                                           half_checks,    dense_checks, head_checks,  probe_checks};

static const char *const isa_names[BN_ISA_COUNT] = {
    [BN_ISA_scalar] = "scalar",       [BN_ISA_avx2] = "avx2", [BN_ISA_avxvnni] = "avxvnni",
    [BN_ISA_avx512icl] = "avx512icl", [BN_ISA_neon] = "neon", [BN_ISA_dotprod] = "dotprod",
    [BN_ISA_i8mm] = "i8mm"};

/* The avxvnni sources once more, with the same instructions in the encoding of AVX-512: bn_<kernel>__avxvnni_evex. So
 * they are checked on CPUs of the AVX-512 family that have VNNI but not AVX-VNNI. */
#if defined(BN_HAVE_EVEX_VNNI)
#define EVEX_DECLARE_avxvnni(kernel) extern __typeof__(*((bn_kernels *)0)->kernel) bn_##kernel##__avxvnni_evex;
#define EVEX_ENTRY_avxvnni(kernel) {#kernel, BN_ISA_avx512icl, 0, (void (*)(void))bn_##kernel##__avxvnni_evex},
#define EVEX_DECLARE_scalar(kernel)
#define EVEX_DECLARE_avx2(kernel)
#define EVEX_DECLARE_avx512icl(kernel)
#define EVEX_ENTRY_scalar(kernel)
#define EVEX_ENTRY_avx2(kernel)
#define EVEX_ENTRY_avx512icl(kernel)
#define BN_KERNEL(kernel, isa) EVEX_DECLARE_##isa(kernel)
#include "kernels.def"
#undef BN_KERNEL
#define BN_KERNEL(kernel, isa) EVEX_ENTRY_##isa(kernel)
static const bn_entry evex_entries[] = {
#include "kernels.def"
    {NULL, BN_ISA_scalar, 0, NULL}};
#undef BN_KERNEL
#else
static const bn_entry evex_entries[] = {{NULL, BN_ISA_scalar, 0, NULL}};
#endif

enum { MAX_REQUIRED = 16 };

static struct {
    uint64_t seed;
    const char *isa, *kernel, *require[MAX_REQUIRED];
    int n_required, quick, list;
} options = {.seed = 1};

static int parse(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--quick") == 0) {
            options.quick = 1;
            continue;
        }
        if (strcmp(argv[i], "--list") == 0) {
            options.list = 1;
            continue;
        }
        if (!value)
            return 0;
        if (strcmp(argv[i], "--seed") == 0)
            options.seed = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--isa") == 0)
            options.isa = value;
        else if (strcmp(argv[i], "--kernel") == 0)
            options.kernel = value;
        else if (strcmp(argv[i], "--require") == 0 && options.n_required < MAX_REQUIRED)
            options.require[options.n_required++] = value;
        else
            return 0;
        i++;
    }
    return 1;
}

static const kernel_check *find_check(const char *kernel)
{
    for (size_t room = 0; room < COUNT_OF(rooms); room++)
        for (const kernel_check *c = rooms[room]; c->kernel; c++)
            if (strcmp(c->kernel, kernel) == 0)
                return c;
    return NULL;
}

static int supported(const bn_entry *entry)
{
    return bn_cpu_isas() >> entry->isa & 1;
}

/* Checks one entry under the name `isa`. Returns 1 if it ran. */
static int run_entry(const bn_entry *entry, const char *isa)
{
    if (options.isa && strcmp(options.isa, isa) != 0)
        return 0;
    if (options.kernel && strcmp(options.kernel, entry->kernel) != 0)
        return 0;
    if (options.list) {
        printf("%-16s %-12s %s\n", entry->kernel, isa, supported(entry) ? "runs here" : "not on this CPU");
        return 0;
    }
    if (!supported(entry))
        return 0;
    check_case("%s %s", entry->kernel, isa);
    const kernel_check *c = find_check(entry->kernel);
    if (!check(c != NULL, "no check is written for this kernel"))
        return 0;
    target t = {entry->kernel, isa, entry->isa, entry->fn, entry->isa == BN_ISA_scalar, options.quick};
    c->check(&t);
    return 1;
}

/* One line per ISA that has entries. Returns the number of entries that ran. */
static size_t run_isa(const bn_entry *entries, size_t n, bn_isa isa, const char *name)
{
    size_t found = 0, ran = 0;
    int runs_here = 0;
    for (size_t i = 0; i < n; i++)
        if (entries[i].isa == isa) {
            found++;
            runs_here = supported(&entries[i]);
            ran += (size_t)run_entry(&entries[i], name);
        }
    if (found == 0 || options.list || (options.isa && strcmp(options.isa, name) != 0))
        return 0;
    if (runs_here)
        printf("%s: %zu of %zu kernels checked\n", name, ran, found);
    else
        printf("%s: skipped, this CPU lacks it\n", name);
    fflush(stdout);
    return ran;
}

static void check_required(const char *const names[], const size_t ran[], size_t n)
{
    for (int i = 0; i < options.n_required; i++) {
        size_t count = 0;
        for (size_t k = 0; k < n; k++)
            if (strcmp(names[k], options.require[i]) == 0)
                count = ran[k];
        check_case("--require %s", options.require[i]);
        check(count > 0, "no kernel of this ISA ran");
    }
}

int main(int argc, char **argv)
{
    if (!parse(argc, argv)) {
        fprintf(stderr, "usage: %s [--seed N] [--isa NAME] [--kernel NAME] [--require NAME]... [--quick] [--list]\n",
                argv[0]);
        return 2;
    }
    if (!options.list)
        check_begin("check_kernels", options.seed);
    const char *names[BN_ISA_COUNT + 1];
    size_t ran[BN_ISA_COUNT + 1];
    for (int isa = 0; isa < BN_ISA_COUNT; isa++) {
        names[isa] = isa_names[isa];
        ran[isa] = run_isa(bn_entries, bn_n_entries, (bn_isa)isa, isa_names[isa]);
    }
    names[BN_ISA_COUNT] = "avxvnni_evex";
    ran[BN_ISA_COUNT] = run_isa(evex_entries, COUNT_OF(evex_entries) - 1, BN_ISA_avx512icl, "avxvnni_evex");
    if (options.list)
        return 0;
    check_required(names, ran, BN_ISA_COUNT + 1);
    return check_end();
}
