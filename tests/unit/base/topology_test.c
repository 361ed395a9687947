// topology: machines that hwloc is told to see (HWLOC_SYNTHETIC), this machine, and spreading memory, which must do no harm.
#include "runtime/base/cgroup.h"
#include "runtime/base/threads.h"
#include "runtime/base/topology.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

// What the machine's own limits leave of `n_cores`.
static int32_t cut(int32_t n_cores) {
    cpu_set_t set;
    assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
    int32_t granted = mlcc_own_cgroup_cores();
    // A topology that sees more cores than there are processors is not believed.
    if (n_cores > CPU_COUNT(&set)) n_cores = CPU_COUNT(&set);
    return granted != 0 && granted < n_cores ? granted : n_cores;
}

static void made_up_machines(void **state) {
    (void)state;
    static const struct {
        const char *synthetic;
        int32_t n_cores, n_memory_nodes;
    } machines[] = {
        {"pack:1 [numa] core:1 pu:2", 1, 1},
        {"pack:2 [numa] core:4 pu:2", 8, 2},
        {"pack:2 [numa] [numa] core:1 pu:1", 2, 4}, // two kinds of memory beside each package
        {"pack:8 [numa] core:1 pu:1", 8, 8},
        {"core:1 pu:1", 1, 1},
        {"pu:2", INT32_MAX, 1}, // no cores: the processors of the affinity mask count
    };
    for (size_t i = 0; i < sizeof machines / sizeof machines[0]; i++) {
        setenv("HWLOC_SYNTHETIC", machines[i].synthetic, 1);
        const mlcc_topology_facts facts = mlcc_topology_read();
        if (facts.n_memory_nodes != machines[i].n_memory_nodes)
            fail_msg("%s: %d nodes", machines[i].synthetic, facts.n_memory_nodes);
        if (facts.n_cores != cut(machines[i].n_cores))
            fail_msg("%s: %d cores", machines[i].synthetic, facts.n_cores);
    }
    setenv("HWLOC_SYNTHETIC", "nonsense", 1);
    const mlcc_topology_facts facts = mlcc_topology_read();
    assert_true(facts.n_cores >= 1);
    assert_true(facts.n_memory_nodes >= 1);
    unsetenv("HWLOC_SYNTHETIC");
}

static void this_machine(void **state) {
    (void)state;
    const mlcc_topology_facts facts = mlcc_topology_read();
    assert_int_equal(facts.n_cores, mlcc_physical_cores());
    assert_int_equal(facts.n_memory_nodes, mlcc_memory_nodes());
    assert_int_equal(facts.n_cores, cut(facts.n_cores));
}

// A process that may run on one processor has one core, whatever the machine has.
static void affinity_counts(void **state) {
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        cpu_set_t set, one;
        CPU_ZERO(&one);
        if (sched_getaffinity(0, sizeof set, &set) != 0) _exit(2);
        for (size_t i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++) {
            if (CPU_ISSET(i, &set)) CPU_SET(i, &one);
        }
        if (sched_setaffinity(0, sizeof one, &one) != 0) _exit(2);
        _exit(mlcc_topology_read().n_cores == 1 ? 0 : 1);
    }
    int result = 0;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result));
    assert_int_equal(WEXITSTATUS(result), 0);
}

static int spread_and_use(void) {
    const size_t size_bytes = 4 << 20;
    char *data = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) return 2;
    mlcc_memory_interleave(data, size_bytes);
    mlcc_memory_interleave(data, 0);
    memset(data, 7, size_bytes);
    int is_sound = data[0] == 7 && data[size_bytes - 1] == 7;
    munmap(data, size_bytes);
    return is_sound ? 0 : 1;
}

// As on this machine; as if it had two memory nodes, once only in name and once with the kernel asked for nodes that it may not have.
static void spreading_does_no_harm(void **state) {
    (void)state;
    assert_int_equal(spread_and_use(), 0);
    for (int asks_kernel = 0; asks_kernel < 2; asks_kernel++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            // The machine was looked at above: a new program looks again.
            setenv("HWLOC_SYNTHETIC", "pack:2 [numa] core:2 pu:1", 1);
            if (asks_kernel) setenv("HWLOC_THISSYSTEM", "1", 1);
            execl("/proc/self/exe", "topology_test", "spread", (char *)NULL);
            _exit(3);
        }
        int result = 0;
        assert_int_equal(waitpid(child, &result, 0), child);
        assert_true(WIFEXITED(result));
        assert_int_equal(WEXITSTATUS(result), 0);
    }
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "spread") == 0)
        return mlcc_memory_nodes() == 2 ? spread_and_use() : 4;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_up_machines),
        cmocka_unit_test(this_machine),
        cmocka_unit_test(affinity_counts),
        cmocka_unit_test(spreading_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
