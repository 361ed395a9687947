// topology: how many cores this process should use.
//
// Private to runtime/base; the public face is mlcc_physical_cores in threads.h.
#ifndef MLCC_RUNTIME_BASE_TOPOLOGY_H
#define MLCC_RUNTIME_BASE_TOPOLOGY_H

#include <stdint.h>

// The CPU time that control groups grant, in whole cores (at least 1), or 0 where nothing limits
// it. `self` is the text of /proc/self/cgroup, `root` the place of the cgroup file systems
// (/sys/fs/cgroup). Understands v1 and v2, and counts the limits of all enclosing groups.
int32_t mlcc_cgroup_cores(const char *self, const char *root);

#endif
