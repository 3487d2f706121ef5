/* ctx.h: a context owns the kernel table, the thread pool and the chunk that matrices go into. */
#ifndef BN_CTX_H
#define BN_CTX_H

#include "bitnet.h"
#include "chunk.h"
#include "cpu.h"
#include "kernels.h"
#include "pool.h"

struct bn_ctx {
    bn_isa isa;
    bn_kernels kernels;
    bn_pool *pool;
    bn_chunk *chunk;        /* where the next matrix goes */
};

#endif
