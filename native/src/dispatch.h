/* dispatch.h: from the name of an ISA to a filled kernel table. */
#ifndef BN_DISPATCH_H
#define BN_DISPATCH_H

#include "bitnet.h"
#include "cpu.h"
#include "kernels.h"

/* Finds a supported ISA by name, the strongest if name is NULL. */
bn_status bn_isa_find(const char *name, bn_isa *out);

/* Fills every slot: scalar first, then each supported ISA up to `isa` overwrites what it has, weakest to strongest. */
void bn_kernels_fill(bn_isa isa, bn_kernels *out);

/* Name of the ISA that serves `kernel` in a table filled for `isa`; NULL if there is no such kernel. */
const char *bn_kernel_isa(bn_isa isa, const char *kernel);

#endif
