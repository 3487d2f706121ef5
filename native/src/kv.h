/* kv.h: the cache of keys and values, in slabs of 16 lanes that vectors read whole.
 *
 *   keys    [layer][kv_head][pos / 16][head_dim][pos % 16]
 *   values  [layer][kv_head][d / 16][pos][d % 16]
 *
 * So a vector of keys is the same dimension of 16 positions, and a vector of values 16 dimensions of one position; both
 * are what the kernels slabs_* take. n_ctx is padded to whole blocks of positions, head_dim of the values to whole slabs.
 * Int8 values count times a scale: scales [layer][kv_head][pos]. */
#ifndef BN_KV_H
#define BN_KV_H

#include "bitnet.h"
#include "lanes.h"

struct bn_kv {
    bn_kv_type type;
    size_t n_layers, n_kv_heads, head_dim, n_ctx;
    size_t n_pos, n_slabs;      /* positions and slabs of values that there is room for */
    size_t value_bytes;
    uint8_t *keys, *values;
    float *key_scales, *value_scales;   /* int8 only */
    size_t n_bytes;             /* of all together, one allocation starting at keys */
};

/* Number of a head among the heads of all layers. */
static inline size_t bn_kv_index(const bn_kv *kv, size_t layer, size_t kv_head)
{
    return layer * kv->n_kv_heads + kv_head;
}

/* Keys of 16 positions of one head, `block` being pos / 16. */
static inline uint8_t *bn_kv_keys(const bn_kv *kv, size_t index, size_t block)
{
    return kv->keys + (index * kv->n_pos + block * BN_LANES) * kv->head_dim * kv->value_bytes;
}

/* Values of one head from dimension 16 * slab and position pos on. */
static inline uint8_t *bn_kv_values(const bn_kv *kv, size_t index, size_t slab, size_t pos)
{
    return kv->values + ((index * kv->n_slabs + slab) * kv->n_pos + pos) * BN_LANES * kv->value_bytes;
}

/* Scales of one head, NULL if the type has none. */
static inline float *bn_kv_scales(const bn_kv *kv, float *scales, size_t index)
{
    return scales ? scales + index * kv->n_pos : NULL;
}

#endif
