/* SPDX-License-Identifier: Apache-2.0 */
/* How many CPUs this process may really use: containers grant fewer than the machine has. */
#include "base/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "base/thread.h"

static int affinity_count(void)
{
    /* Masks of machines with more CPUs than the fixed-size set holds are refused with EINVAL: grow. */
    for (int cpus = CPU_SETSIZE; cpus <= 1 << 20; cpus *= 2) {
        cpu_set_t *set = CPU_ALLOC((size_t)cpus);
        if (!set) return 0;
        size_t size = CPU_ALLOC_SIZE((size_t)cpus);
        int count = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : -1;
        CPU_FREE(set);
        if (count > 0) return count;
    }
    return 0;
}

/* Kernel files hold one short line; false: absent. */
static bool read_line(const char *path, char *line, size_t size)
{
    FILE *file = fopen(path, "re");
    if (!file) return false;
    bool read = fgets(line, (int)size, file) != NULL;
    fclose(file);
    if (read) line[strcspn(line, "\n")] = '\0';
    return read;
}

static double quota_v2(const char *folder)
{
    char path[4200], line[64];
    snprintf(path, sizeof(path), "%s/cpu.max", folder);
    double quota, period;
    if (!read_line(path, line, sizeof(line)) || sscanf(line, "%lf %lf", &quota, &period) != 2 || period <= 0) return 0;
    return quota / period;
}

static double quota_v1(const char *folder)
{
    char path[4200], line[64];
    double quota, period;
    snprintf(path, sizeof(path), "%s/cpu.cfs_quota_us", folder);
    if (!read_line(path, line, sizeof(line)) || sscanf(line, "%lf", &quota) != 1 || quota <= 0) return 0;
    snprintf(path, sizeof(path), "%s/cpu.cfs_period_us", folder);
    if (!read_line(path, line, sizeof(line)) || sscanf(line, "%lf", &period) != 1 || period <= 0) return 0;
    return quota / period;
}

/* The folder of this process's control group below `root`: "ID:CONTROLLERS:PATH" in the kernel's list. */
static bool group_folder(bool v2, const char *root, char *folder, size_t size)
{
    FILE *file = fopen("/proc/self/cgroup", "re");
    if (!file) return false;
    char line[4096];
    bool found = false;
    while (!found && fgets(line, sizeof(line), file)) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path) continue;
        *path++ = '\0';
        controllers++;
        found = v2 ? controllers[0] == '\0' : strcmp(controllers, "cpu") == 0 || strncmp(controllers, "cpu,", 4) == 0 ||
                                                  strstr(controllers, ",cpu,") != NULL;
        if (found) snprintf(folder, size, "%s%s", root, strcmp(path, "/") == 0 ? "" : path);
    }
    fclose(file);
    return found;
}

/* The tightest quota, in CPUs, from this group up to the root; 0: none. */
static double cgroup_quota(bool v2, const char *root)
{
    char folder[4096];
    if (!group_folder(v2, root, folder, sizeof(folder))) snprintf(folder, sizeof(folder), "%s", root);
    double tightest = 0;
    for (;;) {
        double quota = v2 ? quota_v2(folder) : quota_v1(folder);
        if (quota > 0 && (tightest == 0 || quota < tightest)) tightest = quota;
        char *slash = strrchr(folder, '/');
        if (strlen(folder) <= strlen(root) || !slash) return tightest;
        *slash = '\0';
    }
}

int sw_cpu_count(void)
{
    int count = affinity_count();
    if (count == 0) {
        long online = sysconf(_SC_NPROCESSORS_ONLN);
        count = online > 0 ? (int)online : 1;
    }
    double quotas[2] = {cgroup_quota(true, "/sys/fs/cgroup"), cgroup_quota(false, "/sys/fs/cgroup/cpu")};
    for (int i = 0; i < 2; i++) {
        if (quotas[i] <= 0 || quotas[i] >= count) continue;
        int whole = (int)quotas[i];
        count = whole + (quotas[i] > whole); /* 1.5 CPUs keep two threads busy */
    }
    return count < 1 ? 1 : count;
}

bool sw_cpu_has_bf16(void)
{
#if defined(__x86_64__)
    unsigned a, b, c, d, subleaf_a = 0;
    /* AVX-512 at all: also whether the system saves its registers. */
    if (!__builtin_cpu_supports("avx512bw") || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    bool amx = d >> 22 & 1;
    if (a >= 1) __get_cpuid_count(7, 1, &subleaf_a, &b, &c, &d);
    return amx || (subleaf_a >> 5 & 1);
#else
    return false;
#endif
}

static double memory_limit(const char *path)
{
    char line[64];
    double limit;
    if (!read_line(path, line, sizeof(line)) || !sw_parse_double(line, &limit)) return 0;
    return limit;
}

int64_t sw_memory_bytes(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    double bytes = pages > 0 && page > 0 ? (double)pages * (double)page : 0;
    char folder[4096], path[4200];
    if (!group_folder(true, "/sys/fs/cgroup", folder, sizeof(folder))) snprintf(folder, sizeof(folder), "/sys/fs/cgroup");
    snprintf(path, sizeof(path), "%s/memory.max", folder);
    double limits[3] = {memory_limit(path), memory_limit("/sys/fs/cgroup/memory.max"),
                        memory_limit("/sys/fs/cgroup/memory/memory.limit_in_bytes")};
    for (int i = 0; i < 3; i++) {
        if (limits[i] > 0 && (bytes == 0 || limits[i] < bytes)) bytes = limits[i];
    }
    return (int64_t)bytes;
}

/* A named number of a file of lines "name value" or "name: value unit"; -1: not there. */
static double named_number(const char *path, const char *name)
{
    FILE *file = fopen(path, "re");
    if (!file) return -1;
    char line[256];
    double value = -1;
    size_t length = strlen(name);
    while (value < 0 && fgets(line, sizeof(line), file)) {
        if (strncmp(line, name, length) != 0) continue;
        const char *rest = line + length;
        if (*rest != ':' && *rest != ' ') continue;
        if (sscanf(rest + 1, "%lf", &value) != 1) value = -1;
    }
    fclose(file);
    return value;
}

/* What the control group in `folder` may still take; -1: it sets no limit. Cached files give way when memory is asked. */
static double group_room(const char *folder, const char *limit_name, const char *use_name, const char *cache_name)
{
    char path[4200];
    snprintf(path, sizeof(path), "%s/%s", folder, limit_name);
    double limit = memory_limit(path);
    if (limit <= 0) return -1;
    snprintf(path, sizeof(path), "%s/%s", folder, use_name);
    double used = memory_limit(path);
    snprintf(path, sizeof(path), "%s/memory.stat", folder);
    double cache = named_number(path, cache_name);
    if (cache > 0) used -= cache;
    return limit > used ? limit - (used > 0 ? used : 0) : 0;
}

int64_t sw_memory_available_bytes(void)
{
    double kib = named_number("/proc/meminfo", "MemAvailable");
    if (kib <= 0) return 0;
    double bytes = kib * 1024, limit = (double)sw_memory_bytes();
    if (limit > 0 && limit < bytes) bytes = limit;
    char folder[4096];
    if (!group_folder(true, "/sys/fs/cgroup", folder, sizeof(folder))) snprintf(folder, sizeof(folder), "/sys/fs/cgroup");
    double rooms[3] = {group_room(folder, "memory.max", "memory.current", "file"),
                       group_room("/sys/fs/cgroup", "memory.max", "memory.current", "file"),
                       group_room("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "cache")};
    for (int i = 0; i < 3; i++) {
        if (rooms[i] >= 0 && rooms[i] < bytes) bytes = rooms[i];
    }
    return (int64_t)bytes;
}

sw_process_memory sw_process_memory_now(void)
{
    static const char path[] = "/proc/self/status";
    double now = named_number(path, "VmRSS"), peak = named_number(path, "VmHWM");
    double own = named_number(path, "RssAnon"), shared = named_number(path, "RssShmem");
    sw_process_memory m = {.now = now > 0 ? (int64_t)now * 1024 : 0, .peak = peak > 0 ? (int64_t)peak * 1024 : 0};
    m.own = own > 0 ? (int64_t)(own + (shared > 0 ? shared : 0)) * 1024 : m.now;
    return m;
}
