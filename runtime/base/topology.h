// topology: which cores and memory nodes this process should use.
//
// hwloc's view of the machine, cut by affinity and control groups; how many cores that makes is
// mlcc_physical_cores of threads.h. Looked at once in a process.
// Thread rule: any.
#ifndef MLCC_RUNTIME_BASE_TOPOLOGY_H
#define MLCC_RUNTIME_BASE_TOPOLOGY_H

#include <stddef.h>
#include <stdint.h>

// Memory nodes (NUMA) beside the processors that this process may run on; at least 1.
int32_t mlcc_memory_nodes(void);

// Spreads the pages of untouched anonymous memory evenly over those nodes; `data` at a page border.
// For what all threads read: rows go to whichever thread is free, so no node is nearer to a row than
// another, and what counts is that every node's memory carries its share. Does nothing where there is
// one node, and where the kernel refuses.
void mlcc_memory_interleave(void *data, size_t size_bytes);

// What the two rest on, looked at anew.
typedef struct mlcc_topology_facts {
    int32_t n_cores; // physical ones, ≥ 1
    int32_t n_memory_nodes;
} mlcc_topology_facts;
mlcc_topology_facts mlcc_topology_read(void);

#endif
