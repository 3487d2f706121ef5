/* kv.c: life and death of a KV cache. Its pages are taken from the system as positions are written. */
#include "kv.h"

#include <stdlib.h>

#include "os.h"

bn_status bn_kv_create(size_t n_layers, size_t n_kv_heads, size_t head_dim, size_t n_ctx, bn_kv **out)
{
    size_t limit = SIZE_MAX / 8;
    if (!out || n_layers == 0 || n_kv_heads == 0 || head_dim == 0 || n_ctx == 0)
        return BN_ERR_ARG;
    *out = NULL;
    if (n_layers > limit / n_kv_heads || n_layers * n_kv_heads > limit / head_dim ||
        n_layers * n_kv_heads * head_dim > limit / n_ctx)
        return BN_ERR_ARG;
    bn_kv *kv = calloc(1, sizeof *kv);
    if (!kv)
        return BN_ERR_NOMEM;
    size_t n_values = n_layers * n_kv_heads * head_dim * n_ctx;
    *kv = (bn_kv){.n_layers = n_layers, .n_kv_heads = n_kv_heads, .head_dim = head_dim, .n_ctx = n_ctx,
                  .n_bytes = 2 * n_values * sizeof(uint16_t)};
    kv->keys = bn_os_pages_alloc(kv->n_bytes, 0);
    if (!kv->keys) {
        free(kv);
        return BN_ERR_NOMEM;
    }
    kv->values = kv->keys + n_values;
    *out = kv;
    return BN_OK;
}

void bn_kv_free(bn_kv *kv)
{
    if (!kv)
        return;
    bn_os_pages_free(kv->keys, kv->n_bytes);
    free(kv);
}

size_t bn_kv_bytes(const bn_kv *kv)
{
    return kv->n_bytes;
}
