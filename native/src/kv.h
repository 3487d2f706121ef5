/* kv.h: the cache of keys and values, f16, [layer][kv_head][pos][head_dim]. */
#ifndef BN_KV_H
#define BN_KV_H

#include "bitnet.h"

struct bn_kv {
    size_t n_layers, n_kv_heads, head_dim, n_ctx;
    uint16_t *keys, *values;
    size_t n_bytes;             /* of both together, one allocation starting at keys */
};

/* First value of position 0 of one head in keys or values. */
static inline uint16_t *bn_kv_head(const bn_kv *kv, uint16_t *side, size_t layer, size_t kv_head)
{
    return side + (layer * kv->n_kv_heads + kv_head) * kv->n_ctx * kv->head_dim;
}

#endif
