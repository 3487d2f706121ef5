/* bitnet.h: the public header of libbitnet, for C and C++ callers.
 *
 * The declarations live in bitnet_api.h, which has no preprocessor lines so that the C compiler and cffi read the same
 * bytes and cannot drift apart. */
#ifndef BITNET_H
#define BITNET_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "bitnet_api.h"

#ifdef __cplusplus
}
#endif

#endif
