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

static int32_t online_cpus(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int32_t)n : 1;
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

enum { PATH_SIZE = 4096, TEXT_SIZE = 8192 };

/* Reads the beginning of a file: up to size - 1 bytes and a zero. Returns 0 if there is none. Plain descriptors: the
 * library does no stdio streams. */
static int read_text(const char *path, char *text, size_t size)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return 0;
    size_t n = 0;
    for (ssize_t got; n < size - 1 && (got = read(file, text + n, size - 1 - n)) > 0;)
        n += (size_t)got;
    close(file);
    text[n] = 0;
    return n > 0;
}

/* The number at *text, which is moved behind it and the space after it; -1 if there is none, as in "max". Stops growing
 * where a product of two could overflow. */
static int64_t parse_number(const char **text)
{
    int64_t number = 0;
    if (**text < '0' || **text > '9')
        return -1;
    for (; **text >= '0' && **text <= '9'; ++*text)
        number = number < 1 << 30 ? number * 10 + (**text - '0') : number;
    *text += **text == ' ';
    return number;
}

/* The first number of a one-line file, or -1. */
static int64_t read_number(const char *path)
{
    char text[32];
    const char *at = text;
    return read_text(path, text, sizeof text) ? parse_number(&at) : -1;
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
    int64_t first = read_number(path);
    return first < CPU_SETSIZE ? (int)first : -1;
}

/* Appends n bytes of text at *at, with a zero behind them. Returns 0 if they do not fit. */
static int append(char path[PATH_SIZE], size_t *at, const char *text, size_t n)
{
    if (n >= PATH_SIZE - *at)
        return 0;
    memcpy(path + *at, text, n);
    path[*at += n] = 0;
    return 1;
}

/* The whole CPUs of one group, a directory that ends at `at`; 0 if it has no limit. */
static int64_t group_cpus(char path[PATH_SIZE], size_t at, int is_v2)
{
    static const char both[] = "/cpu.max", quota_of[] = "/cpu.cfs_quota_us", period_of[] = "/cpu.cfs_period_us";
    int64_t quota = -1, period = -1;
    size_t end = at;
    if (is_v2) {
        char text[64];
        const char *next = text;
        if (append(path, &end, both, sizeof both - 1) && read_text(path, text, sizeof text)) {
            quota = parse_number(&next);
            period = parse_number(&next);
        }
    } else if (append(path, &end, quota_of, sizeof quota_of - 1)) {
        quota = read_number(path);
        end = at;
        if (append(path, &end, period_of, sizeof period_of - 1))
            period = read_number(path);
    }
    if (quota < 0 || period < 1)
        return 0;
    return quota / period > 0 ? quota / period : 1;
}

/* The tightest limit of a group and all groups around it; 0 if none has one. Groups that are not to be seen from here,
 * as those around a container, are passed over. */
static int64_t hierarchy_cpus(const char *root, const char *dir, size_t n_dir, const char *group, size_t n_group,
                              int is_v2)
{
    char path[PATH_SIZE];
    size_t at = 0;
    if (!append(path, &at, root, strlen(root)) || !append(path, &at, "/", 1) || !append(path, &at, dir, n_dir))
        return 0;
    size_t top = at;
    if (!append(path, &at, group, n_group) || strstr(path + top, "/.."))
        at = top;               /* a group outside of what this process may see */
    int64_t least = 0;
    for (;;) {
        int64_t cpus = group_cpus(path, at, is_v2);
        if (cpus > 0 && (least == 0 || cpus < least))
            least = cpus;
        if (at == top)
            return least;
        while (at > top && path[--at] != '/')
            continue;
    }
}

/* Is `cpu` among the n bytes of names between commas? */
static int names_cpu(const char *names, size_t n)
{
    for (size_t i = 0; i + 3 <= n; i++)
        if (memcmp(names + i, "cpu", 3) == 0 && (i == 0 || names[i - 1] == ',') && (i + 3 == n || names[i + 3] == ','))
            return 1;
    return 0;
}

/* Lines are `number:controllers:group`. Version 2 has one line, without controllers; where version 1 is in use beside
 * it, it lies in `unified`. Version 1 has one directory per set of controllers, often with links by single names. */
int32_t bn_os_quota_cpus(const char *groups_file, const char *root)
{
    char text[TEXT_SIZE];
    int64_t least = 0;
    if (!read_text(groups_file, text, sizeof text))
        return 0;
    for (char *line = text, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = 0;
        char *names = strchr(line, ':'), *group = names ? strchr(names + 1, ':') : NULL;
        if (!group)
            continue;
        size_t n_names = (size_t)(group - ++names), n_group = (size_t)(end - ++group);
        int is_v2 = n_names == 0;
        if (!is_v2 && !names_cpu(names, n_names))
            continue;
        int64_t found[2] = {
            hierarchy_cpus(root, names, n_names, group, n_group, is_v2),
            hierarchy_cpus(root, is_v2 ? "unified" : "cpu", is_v2 ? 7 : 3, group, n_group, is_v2),
        };
        for (int i = 0; i < 2; i++)
            if (found[i] > 0 && (least == 0 || found[i] < least))
                least = found[i];
    }
    return least < INT32_MAX ? (int32_t)least : INT32_MAX;
}

int32_t bn_os_cpus(void)
{
    cpu_set_t allowed;
    return sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? CPU_COUNT(&allowed) : online_cpus();
}

static int32_t allowed_cores(void)
{
    cpu_set_t allowed, seen;
    CPU_ZERO(&seen);
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return online_cpus();
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

int32_t bn_os_physical_cores(void)
{
    int32_t cores = allowed_cores(), quota = bn_os_quota_cpus("/proc/self/cgroup", "/sys/fs/cgroup");
    return quota > 0 && quota < cores ? quota : cores;
}

#elif defined(__APPLE__)
#include <sys/sysctl.h>

int32_t bn_os_cpus(void)
{
    return online_cpus();
}

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

int32_t bn_os_cpus(void)
{
    return online_cpus();
}

int32_t bn_os_physical_cores(void)
{
    return online_cpus();
}

#endif

int32_t bn_cpu_physical_cores(void)
{
    return bn_os_physical_cores();
}
