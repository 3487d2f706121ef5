/* dispatch.c: the list of ISAs in this library, and the kernel table for one of them. */
#include "dispatch.h"

#include <assert.h>
#include <string.h>

#include "entries.h"

#define BN_KERNEL(kernel, isa) {#kernel, BN_ISA_##isa, offsetof(bn_kernels, kernel), (void (*)(void))bn_##kernel##__##isa},
const bn_entry bn_entries[] = {
#include "kernels.def"
};
#undef BN_KERNEL
const size_t bn_n_entries = sizeof bn_entries / sizeof bn_entries[0];

static const struct {
    const char *name;
    bn_isa isa;
} compiled[] = {
    {"scalar", BN_ISA_scalar},
#if defined(BN_HAVE_AVX2)
    {"avx2", BN_ISA_avx2},
#endif
#if defined(BN_HAVE_AVXVNNI)
    {"avxvnni", BN_ISA_avxvnni},
#endif
#if defined(BN_HAVE_AVX512ICL)
    {"avx512icl", BN_ISA_avx512icl},
#endif
#if defined(BN_HAVE_NEON)
    {"neon", BN_ISA_neon},
#endif
#if defined(BN_HAVE_DOTPROD)
    {"dotprod", BN_ISA_dotprod},
#endif
#if defined(BN_HAVE_I8MM)
    {"i8mm", BN_ISA_i8mm},
#endif
};
enum { N_COMPILED = sizeof compiled / sizeof compiled[0] };

int32_t bn_isa_count(void)
{
    return N_COMPILED;
}

const char *bn_isa_name(int32_t index)
{
    return index >= 0 && index < N_COMPILED ? compiled[index].name : NULL;
}

int32_t bn_isa_supported(int32_t index)
{
    return index >= 0 && index < N_COMPILED && (bn_cpu_isas() >> compiled[index].isa & 1);
}

bn_status bn_isa_find(const char *name, bn_isa *out)
{
    for (int32_t i = N_COMPILED - 1; i >= 0; i--)
        if ((!name || strcmp(name, compiled[i].name) == 0) && bn_isa_supported(i)) {
            *out = compiled[i].isa;
            return BN_OK;
        }
    return BN_ERR_ISA;
}

/* kernels.def goes from weak to strong, so the last entry that may run is the one that stays. */
static int may_run(const bn_entry *entry, bn_isa isa, uint32_t cpu)
{
    return entry->isa <= isa && (cpu >> entry->isa & 1);
}

void bn_kernels_fill(bn_isa isa, bn_kernels *out)
{
    uint32_t cpu = bn_cpu_isas();
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < bn_n_entries; i++)
        if (may_run(&bn_entries[i], isa, cpu))
            memcpy((char *)out + bn_entries[i].slot, &bn_entries[i].fn, sizeof bn_entries[i].fn);
    for (size_t slot = 0; slot < sizeof *out; slot += sizeof(void (*)(void))) {
        void (*fn)(void);
        memcpy(&fn, (char *)out + slot, sizeof fn);
        assert(fn && "every kernel has a scalar version");
        (void)fn;
    }
}

const char *bn_kernel_isa(bn_isa isa, const char *kernel)
{
    const char *found = NULL;
    for (size_t i = 0; i < bn_n_entries; i++)
        if (may_run(&bn_entries[i], isa, bn_cpu_isas()) && strcmp(bn_entries[i].kernel, kernel) == 0)
            for (int32_t c = 0; c < N_COMPILED; c++)
                if (compiled[c].isa == bn_entries[i].isa)
                    found = compiled[c].name;
    return found;
}
