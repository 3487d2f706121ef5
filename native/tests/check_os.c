/* check_os.c: how many CPUs the quotas of control groups allow, from files as Linux shows them. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "os.h"

#if defined(__linux__)

enum { MAX_FILES = 6 };

typedef struct {
    const char *path, *text;    /* below the root; directories are made */
} file;

typedef struct {
    const char *what;
    int32_t expected;
    const char *groups;         /* what /proc/self/cgroup says */
    file files[MAX_FILES];
} quota_case;

#define DEEP "/a/b/c"
#define X256 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" \
             "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" \
             "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" \
             "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx/"
#define X4096 X256 X256 X256 X256 X256 X256 X256 X256 X256 X256 X256 X256 X256 X256 X256 X256

static const quota_case CASES[] = {
    {"no control groups", 0, NULL, {{NULL, NULL}}},
    {"an empty list", 0, "", {{NULL, NULL}}},
    {"v2, no limit", 0, "0::/a\n", {{"/a/cpu.max", "max 100000\n"}}},
    {"v2, two CPUs", 2, "0::/a\n", {{"/a/cpu.max", "200000 100000\n"}}},
    {"v2, rounded down", 1, "0::/a\n", {{"/a/cpu.max", "199999 100000\n"}}},
    {"v2, at least one", 1, "0::/a\n", {{"/a/cpu.max", "1000 100000\n"}}},
    {"v2, quota 0", 1, "0::/a\n", {{"/a/cpu.max", "0 100000\n"}}},
    {"v2, a limit further up", 3, "0::" DEEP "\n",
     {{DEEP "/cpu.max", "max 100000\n"}, {"/a/cpu.max", "300000 100000\n"}}},
    {"v2, the tightest of several", 2, "0::" DEEP "\n",
     {{DEEP "/cpu.max", "800000 100000\n"}, {"/a/b/cpu.max", "100000 50000\n"}, {"/a/cpu.max", "300000 100000\n"}}},
    {"v2, only the root is seen", 4, "0::/not/here\n", {{"/cpu.max", "400000 100000\n"}}},
    {"v2, a group outside", 4, "0::/../other\n", {{"/cpu.max", "400000 100000\n"}, {"/other/cpu.max", "1 1\n"}}},
    {"v2 beside v1", 5, "1:name=systemd:/\n0::/a\n", {{"/unified/a/cpu.max", "500000 100000\n"}}},
    {"v1, no limit", 0, "4:cpu,cpuacct:/a\n", {{"/cpu,cpuacct/a/cpu.cfs_quota_us", "-1\n"},
                                               {"/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n"}}},
    {"v1", 2, "9:memory:/m\n4:cpu,cpuacct:/a\n", {{"/cpu,cpuacct/a/cpu.cfs_quota_us", "250000\n"},
                                                  {"/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n"}}},
    {"v1 by its short name, further up", 3, "4:cpuacct,cpu:/a/b\n", {{"/cpu/a/cpu.cfs_quota_us", "150000\n"},
                                                                    {"/cpu/a/cpu.cfs_period_us", "50000\n"}}},
    {"v1 without the controller", 0, "4:cpuset,cpuacct:/a\n", {{"/cpu/a/cpu.cfs_quota_us", "150000\n"},
                                                              {"/cpu/a/cpu.cfs_period_us", "50000\n"}}},
    {"v1 without a period", 0, "4:cpu:/\n", {{"/cpu/cpu.cfs_quota_us", "150000\n"}}},
    {"a period of 0", 0, "0::/\n", {{"/cpu.max", "100000 0\n"}}},
    {"no period", 0, "0::/\n", {{"/cpu.max", "100000\n"}}},
    {"an empty file", 0, "0::/\n", {{"/cpu.max", ""}}},
    {"words", 0, "0::/\n", {{"/cpu.max", "what ever\n"}}},
    {"digits without end", 2147483647, "0::/\n",
     {{"/cpu.max", "9999999999999999999999999999999999999999 1\n"}}},
    {"more digits than there is room for", 0, "0::/\n",
     {{"/cpu.max", "999999999999999999999999999999999999999999999999999999999999999999999999999999999999 1\n"}}},
    {"lines that are none", 2, "\n:\nabc\n7\n0::/\n", {{"/cpu.max", "200000 100000\n"}}},
    {"a line without an end", 0, "0::/", {{"/cpu.max", "200000 100000\n"}}},
    {"a group too long for a path", 2, "0::/" X4096 "\n", {{"/cpu.max", "200000 100000\n"}}},
    {"a list too long to read", 0, "1:" X4096 X4096 "\n0::/\n", {{"/cpu.max", "200000 100000\n"}}},
};

/* Writes a file and the directories it lies in. */
static int write_file(const char *root, const char *below, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s%s", root, below);
    for (char *slash = path + strlen(root); (slash = strchr(slash + 1, '/')) != NULL; *slash = '/') {
        *slash = 0;
        mkdir(path, 0700);
    }
    int out = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    size_t n = strlen(text);
    int ok = out >= 0 && write(out, text, n) == (ssize_t)n;
    if (out >= 0)
        close(out);
    return ok;
}

/* Removes a file and the directories it lies in as far as they are empty. */
static void remove_file(const char *root, const char *below)
{
    char path[512];
    snprintf(path, sizeof path, "%s%s", root, below);
    unlink(path);
    for (char *slash; (slash = strrchr(path, '/')) != NULL && (size_t)(slash - path) > strlen(root);) {
        *slash = 0;
        rmdir(path);
    }
}

static void check_quota(const quota_case *c)
{
    char root[] = "/tmp/check_os_XXXXXX", groups[64];
    int ready = mkdtemp(root) != NULL;
    snprintf(groups, sizeof groups, "%s/groups", root);
    if (c->groups)
        ready &= write_file(root, "/groups", c->groups);
    for (int i = 0; i < MAX_FILES && c->files[i].path; i++)
        ready &= write_file(root, c->files[i].path, c->files[i].text);
    int32_t found = bn_os_quota_cpus(groups, root);
    check_case("quota: %s: expected %d, found %d", c->what, (int)c->expected, (int)found);
    check(ready, "files written");
    check(found == c->expected, "CPUs");
    for (int i = 0; i < MAX_FILES && c->files[i].path; i++)
        remove_file(root, c->files[i].path);
    remove_file(root, "/groups");
    rmdir(root);
}

static void check_quotas(void)
{
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
        check_quota(&CASES[i]);
}

#else

static void check_quotas(void)
{
}

#endif

int main(int argc, char **argv)
{
    uint64_t seed = 1;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--quick") != 0)
            return 2;
    }
    check_begin("check_os", seed);
    int32_t cores = bn_os_physical_cores();
    check_case("physical cores: found %d", (int)cores);
    check(cores >= 1 && cores <= sysconf(_SC_NPROCESSORS_ONLN), "range");
    check_quotas();
    return check_end();
}
