/* os.c: the one file that differs between operating systems, given POSIX threads: Linux, macOS, other Unix. */
#define _GNU_SOURCE
#include "os.h"

#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "bitnet.h"

static uint8_t *map(size_t n_bytes)
{
    void *pages = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return pages == MAP_FAILED ? NULL : pages;
}

#if defined(MADV_HUGEPAGE)
enum { HUGE_PAGE = 1 << 21 };       /* where they are larger, nothing is lost but the wish */

/* Starts at a multiple of a huge page: only whole ones inside the range can be huge. */
static uint8_t *map_huge(size_t n_bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), whole = (n_bytes + page - 1) / page * page;
    uint8_t *pages = map(whole + HUGE_PAGE);
    if (!pages)
        return NULL;
    size_t before = (HUGE_PAGE - (uintptr_t)pages % HUGE_PAGE) % HUGE_PAGE, behind = HUGE_PAGE - before;
    if (before > 0)
        munmap(pages, before);
    if (behind > 0)
        munmap(pages + before + whole, behind);
    madvise(pages + before, whole, MADV_HUGEPAGE);      /* a wish: without huge pages everything still works */
    return pages + before;
}
#endif

void *bn_os_pages_alloc(size_t n_bytes, int huge)
{
    if (n_bytes > SIZE_MAX / 2)
        return NULL;
#if defined(MADV_HUGEPAGE)
    if (huge && n_bytes >= HUGE_PAGE)
        return map_huge(n_bytes);
#else
    (void)huge;
#endif
    return map(n_bytes);
}

void bn_os_pages_free(void *pages, size_t n_bytes)
{
    munmap(pages, n_bytes);
}

uint64_t bn_os_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

#if defined(__linux__)
#include <fcntl.h>
#include <sched.h>
#include <string.h>

/* The first number of a one-line file of sysfs, or -1. Plain descriptors: the library does no stdio streams. */

static int read_number(const char *path)
{
    char text[32];
    int file = open(path, O_RDONLY | O_CLOEXEC), number = 0;
    if (file < 0)
        return -1;
    ssize_t n = read(file, text, sizeof text);
    close(file);
    if (n <= 0 || text[0] < '0' || text[0] > '9')
        return -1;
    for (ssize_t i = 0; i < n && text[i] >= '0' && text[i] <= '9' && number < 100000; i++)
        number = number * 10 + (text[i] - '0');
    return number;
}

/* "/sys/devices/system/cpu/cpu<cpu>/topology/thread_siblings_list": its first number names the core. */
static int first_sibling(int cpu)
{
    static const char head[] = "/sys/devices/system/cpu/cpu", tail[] = "/topology/thread_siblings_list";
    char path[sizeof head + sizeof tail + 12], digits[12];
    size_t n = 0, at = sizeof head - 1;
    memcpy(path, head, at);
    do
        digits[n++] = (char)('0' + cpu % 10);
    while ((cpu /= 10) > 0);
    while (n > 0)
        path[at++] = digits[--n];
    memcpy(path + at, tail, sizeof tail);
    return read_number(path);
}

int32_t bn_os_physical_cores(void)
{
    cpu_set_t allowed, seen;
    CPU_ZERO(&seen);
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) {
        long n = sysconf(_SC_NPROCESSORS_ONLN);
        return n > 0 ? (int32_t)n : 1;
    }
    int32_t cores = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &allowed))
            continue;
        int core = first_sibling(cpu);
        if (core < 0 || core >= CPU_SETSIZE)
            core = cpu;
        if (!CPU_ISSET(core, &seen)) {
            CPU_SET(core, &seen);
            cores++;
        }
    }
    return cores > 0 ? cores : 1;
}

#elif defined(__APPLE__)
#include <sys/sysctl.h>

int32_t bn_os_physical_cores(void)
{
    int32_t cores = 0;
    size_t size = sizeof cores;
    if (sysctlbyname("hw.perflevel0.physicalcpu", &cores, &size, NULL, 0) == 0 && cores > 0)
        return cores;
    size = sizeof cores;
    return sysctlbyname("hw.physicalcpu", &cores, &size, NULL, 0) == 0 && cores > 0 ? cores : 1;
}

#else

int32_t bn_os_physical_cores(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int32_t)n : 1;
}

#endif

int32_t bn_cpu_physical_cores(void)
{
    return bn_os_physical_cores();
}
