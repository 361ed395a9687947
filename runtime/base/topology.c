#include "runtime/base/topology.h"

#include "runtime/base/cgroup.h"
#include "runtime/base/threads.h"

#include <hwloc.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>

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

// NULL when hwloc cannot tell. The caller destroys it.
static hwloc_topology_t load_topology(void) {
    hwloc_topology_t topology;
    if (hwloc_topology_init(&topology) != 0) return NULL;
    // Only cores, processors and memory: looking at caches, buses and devices would take many times
    // longer.
    hwloc_topology_set_all_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_NONE);
    hwloc_topology_set_type_filter(topology, HWLOC_OBJ_CORE, HWLOC_TYPE_FILTER_KEEP_ALL);
    if (hwloc_topology_load(topology) == 0) return topology;
    hwloc_topology_destroy(topology);
    return NULL;
}

// The memory nodes of `processors` that the process may take memory from.
static hwloc_nodeset_t nodes_of(hwloc_topology_t topology, hwloc_const_cpuset_t processors) {
    hwloc_nodeset_t nodes = hwloc_bitmap_alloc();
    if (nodes == NULL) return NULL;
    hwloc_cpuset_to_nodeset(topology, processors, nodes);
    hwloc_bitmap_and(nodes, nodes, hwloc_topology_get_allowed_nodeset(topology));
    return nodes;
}

typedef struct machine {
    mlcc_topology_facts facts;
    hwloc_topology_t topology; // kept, with `nodes`, where there are several memory nodes
    hwloc_nodeset_t nodes;
} machine;

static void machine_free(machine *m) {
    hwloc_bitmap_free(m->nodes);
    if (m->topology != NULL) hwloc_topology_destroy(m->topology);
    *m = (machine){0};
}

// Cores with at least one processor that the process may run on, and the memory beside them.
static void look_at(hwloc_topology_t topology, machine *m) {
    hwloc_bitmap_t allowed = hwloc_bitmap_alloc();
    if (allowed != NULL && hwloc_get_cpubind(topology, allowed, HWLOC_CPUBIND_THREAD) == 0) {
        hwloc_obj_t core = NULL;
        while ((core = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_CORE, core)) != NULL) {
            if (hwloc_bitmap_intersects(core->cpuset, allowed)) m->facts.n_cores++;
        }
        m->nodes = nodes_of(topology, allowed);
        if (m->nodes != NULL) m->facts.n_memory_nodes = hwloc_bitmap_weight(m->nodes);
    }
    hwloc_bitmap_free(allowed);
}

static machine read_machine(void) {
    machine m = {.topology = load_topology()};
    if (m.topology != NULL) look_at(m.topology, &m);
    int32_t processors = affinity_processors();
    if (m.facts.n_cores < 1 || m.facts.n_cores > processors) m.facts.n_cores = processors;
    int32_t granted = mlcc_own_cgroup_cores();
    if (granted != 0 && granted < m.facts.n_cores) m.facts.n_cores = granted;
    if (m.facts.n_cores < 1) m.facts.n_cores = 1;
    if (m.facts.n_memory_nodes < 2) {
        const mlcc_topology_facts facts = {.n_cores = m.facts.n_cores, .n_memory_nodes = 1};
        machine_free(&m);
        m.facts = facts;
    }
    return m;
}

mlcc_topology_facts mlcc_topology_read(void) {
    machine m = read_machine();
    const mlcc_topology_facts facts = m.facts;
    machine_free(&m);
    return facts;
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static machine this_machine; // as long as the process

static void look_once(void) {
    this_machine = read_machine();
}

int32_t mlcc_physical_cores(void) {
    pthread_once(&once, look_once);
    return this_machine.facts.n_cores;
}

int32_t mlcc_memory_nodes(void) {
    pthread_once(&once, look_once);
    return this_machine.facts.n_memory_nodes;
}

void mlcc_memory_interleave(void *data, size_t size_bytes) {
    if (size_bytes == 0 || mlcc_memory_nodes() < 2) return;
    // Only a wish: a kernel that refuses it puts pages where they are first touched.
    (void)hwloc_set_area_membind(
        this_machine.topology, data, size_bytes, this_machine.nodes, HWLOC_MEMBIND_INTERLEAVE,
        HWLOC_MEMBIND_BYNODESET);
}
