/* entries.h: kernels.def as declarations and as a list that dispatch and the checks walk. */
#ifndef BN_ENTRIES_H
#define BN_ENTRIES_H

#include <stddef.h>

#include "cpu.h"
#include "kernels.h"

/* Every function of kernels.def has exactly the type of its slot in bn_kernels. */
#define BN_KERNEL(kernel, isa) extern __typeof__(*((bn_kernels *)0)->kernel) bn_##kernel##__##isa;
#include "kernels.def"
#undef BN_KERNEL

typedef struct {
    const char *kernel;     /* member of bn_kernels */
    bn_isa isa;
    size_t slot;            /* offset of the member */
    void (*fn)(void);
} bn_entry;

extern const bn_entry bn_entries[];
extern const size_t bn_n_entries;

#endif
