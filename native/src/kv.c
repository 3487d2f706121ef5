/* kv.c: life and death of a KV cache. Its pages are taken from the system as positions are written. */
#include "kv.h"

#include <stdlib.h>

#include "os.h"

static size_t round_up(size_t n)
{
    return (n + BN_LANES - 1) / BN_LANES * BN_LANES;
}

bn_status bn_kv_create(bn_kv_type type, size_t n_layers, size_t n_kv_heads, size_t head_dim, size_t n_ctx, bn_kv **out)
{
    static const size_t value_bytes[] = {[BN_KV_F32] = 4, [BN_KV_F16] = 2, [BN_KV_I8] = 1};
    size_t limit = SIZE_MAX / 64;
    if (!out || (size_t)type >= sizeof value_bytes / sizeof value_bytes[0] || n_layers == 0 || n_kv_heads == 0 ||
        head_dim == 0 || n_ctx == 0)
        return BN_ERR_ARG;
    *out = NULL;
    if (head_dim > limit || n_ctx > limit || n_layers > limit / n_kv_heads ||
        n_layers * n_kv_heads > limit / round_up(head_dim) ||
        n_layers * n_kv_heads * round_up(head_dim) > limit / round_up(n_ctx))
        return BN_ERR_ARG;
    bn_kv *kv = calloc(1, sizeof *kv);
    if (!kv)
        return BN_ERR_NOMEM;
    *kv = (bn_kv){.type = type, .n_layers = n_layers, .n_kv_heads = n_kv_heads, .head_dim = head_dim, .n_ctx = n_ctx,
                  .n_pos = round_up(n_ctx), .n_slabs = round_up(head_dim) / BN_LANES, .value_bytes = value_bytes[type]};
    size_t n_heads = n_layers * n_kv_heads, n_scales = type == BN_KV_I8 ? n_heads * kv->n_pos : 0;
    size_t key_bytes = n_heads * kv->n_pos * head_dim * kv->value_bytes;
    size_t bytes = n_heads * kv->n_pos * kv->n_slabs * BN_LANES * kv->value_bytes;
    kv->n_bytes = key_bytes + bytes + 2 * n_scales * sizeof(float);
    kv->keys = bn_os_pages_alloc(kv->n_bytes, 0);
    if (!kv->keys) {
        free(kv);
        return BN_ERR_NOMEM;
    }
    kv->values = kv->keys + key_bytes;
    if (n_scales) {
        kv->key_scales = (float *)(void *)(kv->values + bytes);
        kv->value_scales = kv->key_scales + n_scales;
    }
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
