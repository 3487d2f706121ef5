/* ctx.c: the only constructor of a context. */
#include "ctx.h"

#include <stdlib.h>

#include "dispatch.h"

enum { MAX_THREADS = 256 };

bn_status bn_ctx_create(const char *isa, int32_t n_threads, bn_ctx **out)
{
    if (!out || n_threads < 1 || n_threads > MAX_THREADS)
        return BN_ERR_ARG;
    *out = NULL;
    bn_ctx *ctx = calloc(1, sizeof *ctx);
    if (!ctx)
        return BN_ERR_NOMEM;
    bn_status status = bn_isa_find(isa, &ctx->isa);
    if (status == BN_OK)
        status = bn_pool_create(n_threads, &ctx->pool);
    if (status != BN_OK) {
        free(ctx);
        return status;
    }
    bn_kernels_fill(ctx->isa, &ctx->kernels);
    *out = ctx;
    return BN_OK;
}

void bn_ctx_free(bn_ctx *ctx)
{
    if (!ctx)
        return;
    bn_pool_free(ctx->pool);
    bn_chunk_release(ctx->chunk);
    free(ctx);
}

const char *bn_ctx_isa(const bn_ctx *ctx)
{
    for (int32_t i = 0; i < bn_isa_count(); i++) {
        bn_isa isa;
        if (bn_isa_find(bn_isa_name(i), &isa) == BN_OK && isa == ctx->isa)
            return bn_isa_name(i);
    }
    return "scalar";
}

int32_t bn_ctx_n_threads(const bn_ctx *ctx)
{
    return bn_pool_n_threads(ctx->pool);
}

const char *bn_ctx_kernel_isa(const bn_ctx *ctx, const char *kernel)
{
    return kernel ? bn_kernel_isa(ctx->isa, kernel) : NULL;
}
