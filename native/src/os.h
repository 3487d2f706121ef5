/* os.h: what the operating system gives beyond threads: zeroed pages in large pieces and the number of cores. */
#ifndef BN_OS_H
#define BN_OS_H

#include <stddef.h>
#include <stdint.h>

/* Zeroed memory, page aligned, backed by huge pages where the system has them; taken as it is touched. NULL on failure. */
void *bn_os_pages_alloc(size_t n_bytes);
void bn_os_pages_free(void *pages, size_t n_bytes);

/* Physical cores this process may run on (affinity and hyper-threads considered); at least 1. */
int32_t bn_os_physical_cores(void);

/* A clock that never goes back, in nanoseconds. */
uint64_t bn_os_now_ns(void);

#endif
