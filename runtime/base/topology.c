#include "runtime/base/topology.h"

#include "runtime/base/threads.h"

#include <hwloc.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- control groups ---------------------------------------------------------------------------

// Whole cores of `quota` microseconds in every `period`; 0 = no limit. Rounded down: threads that
// meet at barriers all wait for the one that the kernel has put to sleep, so one thread too many
// costs more than one too few.
static int32_t quota_cores(int64_t quota, int64_t period) {
    if (quota <= 0 || period <= 0) return 0;
    int64_t cores = quota / period;
    return cores < 1 ? 1 : cores > INT32_MAX ? INT32_MAX : (int32_t)cores;
}

// The first line of DIR/NAME.
static bool read_line(const char *dir, const char *name, char *line, size_t size) {
    char path[PATH_MAX];
    int length = snprintf(path, sizeof path, "%s/%s", dir, name);
    if (length < 0 || (size_t)length >= sizeof path) return false;
    FILE *file = fopen(path, "re");
    if (file == NULL) return false;
    bool read = fgets(line, (int)size, file) != NULL;
    fclose(file);
    return read;
}

// The limit that one group directory sets; 0 = none.
static int32_t group_cores(const char *dir) {
    char line[128];
    int64_t quota = 0;
    int64_t period = 0;
    if (read_line(dir, "cpu.max", line, sizeof line)) { // v2: "max 100000" or "150000 100000"
        if (sscanf(line, "%" SCNd64 " %" SCNd64, &quota, &period) != 2) return 0;
        return quota_cores(quota, period);
    }
    // v1: two files; a quota of -1 is no limit.
    if (!read_line(dir, "cpu.cfs_quota_us", line, sizeof line)) return 0;
    if (sscanf(line, "%" SCNd64, &quota) != 1) return 0;
    if (!read_line(dir, "cpu.cfs_period_us", line, sizeof line)) return 0;
    if (sscanf(line, "%" SCNd64, &period) != 1) return 0;
    return quota_cores(quota, period);
}

static int32_t smaller_limit(int32_t a, int32_t b) {
    if (a == 0 || b == 0) return a + b;
    return a < b ? a : b;
}

// The smallest limit from ROOT/CONTROLLER/GROUP up to ROOT/CONTROLLER. Inside a container the
// group's path is often that of the host and does not exist below the mount; its ancestors then do
// not either, except the mount itself.
static int32_t hierarchy_cores(const char *root, const char *controller, const char *group) {
    char path[PATH_MAX];
    int base = snprintf(path, sizeof path, "%s/%s", root, controller);
    if (base < 0 || (size_t)base >= sizeof path) return 0;
    if (controller[0] == '\0') path[--base] = '\0';
    size_t room = sizeof path - (size_t)base;
    int length = snprintf(path + base, room, "%s", group);
    if (length < 0 || (size_t)length >= room) path[base] = '\0';
    int32_t cores = 0;
    for (;;) {
        cores = smaller_limit(cores, group_cores(path));
        char *slash = strrchr(path, '/');
        if (slash == NULL || slash < path + base) return cores;
        *slash = '\0';
    }
}

static bool list_has(const char *list, const char *word) {
    size_t length = strlen(word);
    for (const char *p = list; p != NULL; p = strchr(p, ',')) {
        if (*p == ',') p++;
        if (strncmp(p, word, length) == 0 && (p[length] == ',' || p[length] == '\0')) return true;
    }
    return false;
}

int32_t mlcc_cgroup_cores(const char *self, const char *root) {
    char *text = strdup(self);
    if (text == NULL) return 0;
    int32_t cores = 0;
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        // HIERARCHY:CONTROLLERS:PATH; v2 has no controllers.
        char *controllers = strchr(line, ':');
        char *group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (group == NULL) continue;
        *controllers++ = '\0';
        *group++ = '\0';
        if (controllers[0] == '\0') {
            cores = smaller_limit(cores, hierarchy_cores(root, "", group));
            cores = smaller_limit(cores, hierarchy_cores(root, "unified", group));
        } else if (list_has(controllers, "cpu")) {
            cores = smaller_limit(cores, hierarchy_cores(root, controllers, group));
            if (strcmp(controllers, "cpu") != 0) {
                cores = smaller_limit(cores, hierarchy_cores(root, "cpu", group));
            }
        }
    }
    free(text);
    return cores;
}

static int32_t own_cgroup_cores(void) {
    FILE *file = fopen("/proc/self/cgroup", "re");
    if (file == NULL) return 0;
    char text[16384];
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = '\0';
    return mlcc_cgroup_cores(text, "/sys/fs/cgroup");
}

// ---- cores ------------------------------------------------------------------------------------

// Logical processors in this process's affinity mask, however many the machine has.
static int32_t affinity_processors(void) {
    for (int n_processors = 1024; n_processors <= 1 << 20; n_processors *= 2) {
        cpu_set_t *set = CPU_ALLOC((size_t)n_processors);
        if (set == NULL) break;
        size_t size_bytes = CPU_ALLOC_SIZE((size_t)n_processors);
        CPU_ZERO_S(size_bytes, set);
        int count = 0;
        if (sched_getaffinity(0, size_bytes, set) == 0) count = CPU_COUNT_S(size_bytes, set);
        CPU_FREE(set);
        if (count > 0) return count;
    }
    return 1;
}

// Cores with at least one processor that the process may run on; 0 when hwloc cannot tell.
static int32_t topology_cores(void) {
    hwloc_topology_t topology;
    if (hwloc_topology_init(&topology) != 0) return 0;
    // Only cores and processors: looking at caches, buses and devices would take many times longer.
    hwloc_topology_set_all_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_NONE);
    hwloc_topology_set_type_filter(topology, HWLOC_OBJ_CORE, HWLOC_TYPE_FILTER_KEEP_ALL);
    int32_t n_cores = 0;
    hwloc_bitmap_t allowed = hwloc_bitmap_alloc();
    if (allowed != NULL && hwloc_topology_load(topology) == 0 &&
        hwloc_get_cpubind(topology, allowed, HWLOC_CPUBIND_THREAD) == 0) {
        hwloc_obj_t core = NULL;
        while ((core = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_CORE, core)) != NULL) {
            if (hwloc_bitmap_intersects(core->cpuset, allowed)) n_cores++;
        }
    }
    hwloc_bitmap_free(allowed);
    hwloc_topology_destroy(topology);
    return n_cores;
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int32_t physical_cores;

static void count_cores(void) {
    int32_t processors = affinity_processors();
    int32_t cores = topology_cores();
    if (cores < 1 || cores > processors) cores = processors;
    int32_t granted = own_cgroup_cores();
    if (granted != 0 && granted < cores) cores = granted;
    physical_cores = cores < 1 ? 1 : cores;
}

int32_t mlcc_physical_cores(void) {
    pthread_once(&once, count_cores);
    return physical_cores;
}
