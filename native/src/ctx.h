/* ctx.h: a context owns the kernel table and the thread pool; everything else borrows them. */
#ifndef BN_CTX_H
#define BN_CTX_H

#include "bitnet.h"
#include "cpu.h"
#include "kernels.h"
#include "pool.h"

struct bn_ctx {
    bn_isa isa;
    bn_kernels kernels;
    bn_pool *pool;
};

#endif
