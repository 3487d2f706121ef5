/* os.h: what the operating system gives beyond threads: zeroed pages in large pieces, the number of cores and a clock. */
#ifndef BN_OS_H
#define BN_OS_H

#include <stddef.h>
#include <stdint.h>

/* Zeroed memory, page aligned, taken from the system as it is touched; in huge pages if asked for and to be had, which
 * suits what is read from end to end, not what is touched here and there. NULL on failure. */
void *bn_os_pages_alloc(size_t n_bytes, int huge);
void bn_os_pages_free(void *pages, size_t n_bytes);

/* Physical cores this process may keep busy (affinity, hyper-threads and CPU quota considered); at least 1. */
int32_t bn_os_physical_cores(void);

/* CPUs this process may run on, hyper-threads counted; at least 1. */
int32_t bn_os_cpus(void);

#if defined(__linux__)
/* The whole CPUs that the quotas of control groups allow, rounded down but at least 1; 0 if there is none. groups_file:
 * "/proc/self/cgroup"; root: where control groups are mounted, "/sys/fs/cgroup". */
int32_t bn_os_quota_cpus(const char *groups_file, const char *root);
#endif

/* A clock that never goes back, in nanoseconds. */
uint64_t bn_os_now_ns(void);

#endif
