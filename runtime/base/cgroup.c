#include "runtime/base/cgroup.h"

#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static const char cgroup_root[] = "/sys/fs/cgroup";

// ---- files of a group -------------------------------------------------------------------------

static FILE *open_in(const char *dir, const char *name) {
    char path[PATH_MAX];
    int length = snprintf(path, sizeof path, "%s/%s", dir, name);
    if (length < 0 || (size_t)length >= sizeof path) return NULL;
    return fopen(path, "re");
}

// The first line of DIR/NAME.
static bool read_line(const char *dir, const char *name, char *line, size_t size) {
    FILE *file = open_in(dir, name);
    if (file == NULL) return false;
    bool read = fgets(line, (int)size, file) != NULL;
    fclose(file);
    return read;
}

// A number alone in its file; "max" and everything else is none.
static bool read_bytes(const char *dir, const char *name, uint64_t *value) {
    char line[128];
    return read_line(dir, name, line, sizeof line) && sscanf(line, "%" SCNu64, value) == 1;
}

// The number behind `key` in lines of "key number [unit]"; 0 when there is none.
static uint64_t read_keyed(const char *dir, const char *name, const char *key) {
    FILE *file = open_in(dir, name);
    if (file == NULL) return 0;
    char line[256];
    uint64_t value = 0;
    size_t length = strlen(key);
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, key, length) != 0 || line[length] != ' ') continue;
        if (sscanf(line + length, "%" SCNu64, &value) != 1) value = 0;
        break;
    }
    fclose(file);
    return value;
}

// ---- the limit that one group directory sets; UINT64_MAX = none ---------------------------------

typedef uint64_t group_limit(const char *dir);

// Whole cores of `quota` microseconds in every `period`. Rounded down: threads that meet at barriers
// all wait for the one that the kernel has put to sleep, so one thread too many costs more than one
// too few.
static uint64_t quota_cores(int64_t quota, int64_t period) {
    if (quota <= 0 || period <= 0) return UINT64_MAX;
    return quota / period < 1 ? 1 : (uint64_t)(quota / period);
}

static uint64_t group_cores(const char *dir) {
    char line[128];
    int64_t quota = 0;
    int64_t period = 0;
    if (read_line(dir, "cpu.max", line, sizeof line)) { // v2: "max 100000" or "150000 100000"
        if (sscanf(line, "%" SCNd64 " %" SCNd64, &quota, &period) != 2) return UINT64_MAX;
        return quota_cores(quota, period);
    }
    // v1: two files; a quota of -1 is no limit.
    if (!read_line(dir, "cpu.cfs_quota_us", line, sizeof line)) return UINT64_MAX;
    if (sscanf(line, "%" SCNd64, &quota) != 1) return UINT64_MAX;
    if (!read_line(dir, "cpu.cfs_period_us", line, sizeof line)) return UINT64_MAX;
    if (sscanf(line, "%" SCNd64, &period) != 1) return UINT64_MAX;
    return quota_cores(quota, period);
}

// What is left below `limit`. Files that nobody reads at the moment are charged to the group, but go
// when memory is wanted.
static uint64_t left_below(uint64_t limit, uint64_t used, uint64_t idle_files) {
    used -= idle_files < used ? idle_files : used;
    return used < limit ? limit - used : 0;
}

static uint64_t group_memory(const char *dir) {
    static const struct {
        const char *limit, *used, *idle_files;
    } versions[] = {
        {"memory.max", "memory.current", "inactive_file"},
        {"memory.high", "memory.current", "inactive_file"},
        {"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"},
    };
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++) {
        uint64_t limit = 0, used = 0;
        if (!read_bytes(dir, versions[i].limit, &limit)) continue;
        if (!read_bytes(dir, versions[i].used, &used)) continue;
        uint64_t idle_files = read_keyed(dir, "memory.stat", versions[i].idle_files);
        uint64_t left = left_below(limit, used, idle_files);
        if (left < least) least = left;
    }
    return least;
}

// ---- all groups of a process --------------------------------------------------------------------

static uint64_t smaller(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

// The smallest limit from ROOT/CONTROLLER/GROUP up to ROOT/CONTROLLER. Inside a container the
// group's path is often that of the host and does not exist below the mount; its ancestors then do
// not either, except the mount itself.
static uint64_t hierarchy_limit(
    const char *root, const char *controller, const char *group, group_limit *limit_of) {
    char path[PATH_MAX];
    int base = snprintf(path, sizeof path, "%s/%s", root, controller);
    if (base < 0 || (size_t)base >= sizeof path) return UINT64_MAX;
    if (controller[0] == '\0') path[--base] = '\0';
    size_t room = sizeof path - (size_t)base;
    int length = snprintf(path + base, room, "%s", group);
    if (length < 0 || (size_t)length >= room) path[base] = '\0';
    uint64_t least = UINT64_MAX;
    for (;;) {
        least = smaller(least, limit_of(path));
        char *slash = strrchr(path, '/');
        if (slash == NULL || slash < path + base) return least;
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

static uint64_t process_limit(
    const char *self, const char *root, const char *controller, group_limit *limit_of) {
    char *text = strdup(self);
    if (text == NULL) return UINT64_MAX;
    uint64_t least = UINT64_MAX;
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        // HIERARCHY:CONTROLLERS:PATH; v2 has no controllers.
        char *controllers = strchr(line, ':');
        char *group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (group == NULL) continue;
        *controllers++ = '\0';
        *group++ = '\0';
        if (controllers[0] == '\0') {
            least = smaller(least, hierarchy_limit(root, "", group, limit_of));
            least = smaller(least, hierarchy_limit(root, "unified", group, limit_of));
        } else if (list_has(controllers, controller)) {
            least = smaller(least, hierarchy_limit(root, controllers, group, limit_of));
            if (strcmp(controllers, controller) != 0) {
                least = smaller(least, hierarchy_limit(root, controller, group, limit_of));
            }
        }
    }
    free(text);
    return least;
}

int32_t mlcc_cgroup_cores(const char *self, const char *root) {
    uint64_t cores = process_limit(self, root, "cpu", group_cores);
    if (cores == UINT64_MAX) return 0;
    return cores > INT32_MAX ? INT32_MAX : (int32_t)cores;
}

uint64_t mlcc_cgroup_memory_bytes(const char *self, const char *root) {
    return process_limit(self, root, "memory", group_memory);
}

// ---- this process -------------------------------------------------------------------------------

// "" when it cannot be read: then nothing limits us as far as anybody can tell.
static const char *read_self(char *text, size_t capacity) {
    text[0] = '\0';
    FILE *file = fopen("/proc/self/cgroup", "re");
    if (file == NULL) return text;
    size_t length = fread(text, 1, capacity - 1, file);
    fclose(file);
    text[length] = '\0';
    return text;
}

int32_t mlcc_own_cgroup_cores(void) {
    char text[16384];
    return mlcc_cgroup_cores(read_self(text, sizeof text), cgroup_root);
}

uint64_t mlcc_available_memory_bytes(void) {
    char text[16384];
    uint64_t granted = mlcc_cgroup_memory_bytes(read_self(text, sizeof text), cgroup_root);
    struct rlimit limit; // RLIM_INFINITY is the largest number
    if (getrlimit(RLIMIT_AS, &limit) == 0) granted = smaller(granted, limit.rlim_cur);
    if (getrlimit(RLIMIT_DATA, &limit) == 0) granted = smaller(granted, limit.rlim_cur);
    uint64_t available_kib = read_keyed("/proc", "meminfo", "MemAvailable:");
    if (available_kib == 0 || available_kib > UINT64_MAX / 1024) return granted;
    return smaller(granted, available_kib * 1024);
}
