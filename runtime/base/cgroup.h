// cgroup: what the system leaves to this process: the limits of control groups on processors and
// memory, and the memory that is free at all.
//
// `self` is the text of /proc/self/cgroup, `root` the place of the cgroup file systems
// (/sys/fs/cgroup). Both versions are understood, and the limits of all enclosing groups count.
// Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst of Linux.
// Thread rule: any.
#ifndef MLCC_RUNTIME_BASE_CGROUP_H
#define MLCC_RUNTIME_BASE_CGROUP_H

#include <stdint.h>

// The processor time that control groups grant, in whole cores (at least 1), or 0 where nothing
// limits it.
int32_t mlcc_cgroup_cores(const char *self, const char *root);
// The bytes that control groups still grant: what is used counts, except files that the kernel keeps
// for later. UINT64_MAX where nothing limits it.
uint64_t mlcc_cgroup_memory_bytes(const char *self, const char *root);

// The same two for this process; the second also cut to what the machine has available and to the
// process's own limits (ulimit -v, -d). UINT64_MAX where the system does not tell.
int32_t mlcc_own_cgroup_cores(void);
uint64_t mlcc_available_memory_bytes(void);

#endif
