/* chunk.h: large pieces of huge-page memory that matrices share.
 *
 * A matrix by itself ends in the middle of a huge page, and most are smaller than two: side by side they fill them. A
 * chunk lives until the last of its holders has let it go. */
#ifndef BN_CHUNK_H
#define BN_CHUNK_H

#include <stddef.h>
#include <stdint.h>

typedef struct bn_chunk bn_chunk;

/* Room of n_bytes, zeroed, at a multiple of 64 bytes, in *current or in a new chunk that takes its place; *holder is the
 * chunk to release afterwards. *current may be NULL and is itself released by its owner. NULL if there is no memory. */
uint8_t *bn_chunk_take(bn_chunk **current, size_t n_bytes, bn_chunk **holder);

void bn_chunk_release(bn_chunk *chunk);     /* NULL is allowed; any thread */

#endif
