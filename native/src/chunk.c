/* chunk.c: the sharing of huge-page memory, by counting holders. */
#include "chunk.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "os.h"

enum { ALIGN = 64, CHUNK_BYTES = 1 << 26 };     /* pages are taken from the system as they are written */

struct bn_chunk {
    uint8_t *pages;
    size_t n_bytes, used;
    atomic_size_t holders;
};

static bn_chunk *create(size_t n_bytes)
{
    bn_chunk *chunk = malloc(sizeof *chunk);
    uint8_t *pages = chunk ? bn_os_pages_alloc(n_bytes, 1) : NULL;
    if (!pages) {
        free(chunk);
        return NULL;
    }
    chunk->pages = pages;
    chunk->n_bytes = n_bytes;
    chunk->used = 0;
    atomic_init(&chunk->holders, 1);
    return chunk;
}

uint8_t *bn_chunk_take(bn_chunk **current, size_t n_bytes, bn_chunk **holder)
{
    if (n_bytes > SIZE_MAX / 2)
        return NULL;
    size_t rounded = (n_bytes + ALIGN - 1) / ALIGN * ALIGN;
    if (rounded > CHUNK_BYTES / 2) {            /* has enough huge pages of its own */
        *holder = create(rounded);
        return *holder ? (*holder)->pages : NULL;
    }
    if (!*current || (*current)->n_bytes - (*current)->used < rounded) {
        bn_chunk *next = create(CHUNK_BYTES);
        if (!next)
            return NULL;
        bn_chunk_release(*current);
        *current = next;
    }
    uint8_t *room = (*current)->pages + (*current)->used;
    (*current)->used += rounded;
    atomic_fetch_add_explicit(&(*current)->holders, 1, memory_order_relaxed);
    *holder = *current;
    return room;
}

/* Release and acquire: what any holder did comes before the memory goes. */
void bn_chunk_release(bn_chunk *chunk)
{
    if (chunk && atomic_fetch_sub_explicit(&chunk->holders, 1, memory_order_acq_rel) == 1) {
        bn_os_pages_free(chunk->pages, chunk->n_bytes);
        free(chunk);
    }
}
