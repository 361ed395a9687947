// cgroup: limits of both versions of control groups, of every enclosing group, on made-up file systems.
#include "runtime/base/cgroup.h"
#include "runtime/base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

static char root[64];

static int make_root(void **state) {
    (void)state;
    snprintf(root, sizeof root, "/tmp/mlcc_cgroup_test_XXXXXX");
    return mkdtemp(root) == NULL;
}

static int remove_root(void **state) {
    (void)state;
    mlcc_status_free(mlcc_dir_remove_tree(root));
    return 0;
}

static void put_file(const char *name, const char *text) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", root, name);
    for (char *p = path + strlen(root) + 1; (p = strchr(p, '/')) != NULL; p++) {
        *p = '\0';
        mkdir(path, 0777);
        *p = '/';
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void cores_of_version_2(void **state) {
    (void)state;
    assert_int_equal(mlcc_cgroup_cores("0::/none\n", root), 0);
    assert_int_equal(mlcc_cgroup_cores("", root), 0);
    assert_int_equal(mlcc_cgroup_cores("nonsense\n0:x\n::\n", root), 0);
    put_file("a/b/cpu.max", "350000 100000\n");
    put_file("a/cpu.max", "max 100000\n");
    put_file("c/cpu.max", "10000 100000\n");
    assert_int_equal(mlcc_cgroup_cores("0::/a/b\n", root), 3);
    assert_int_equal(mlcc_cgroup_cores("0::/a/b/not/mounted\n", root), 3);
    assert_int_equal(mlcc_cgroup_cores("0::/a\n", root), 0);
    assert_int_equal(mlcc_cgroup_cores("0::/c\n", root), 1);
    put_file("a/cpu.max", "200000 100000\n"); // the outer group is tighter
    assert_int_equal(mlcc_cgroup_cores("0::/a/b\n", root), 2);
}

// Under either name of the mount; inside a container only the mount's root exists.
static void cores_of_version_1(void **state) {
    (void)state;
    put_file("cpu,cpuacct/g/cpu.cfs_quota_us", "800000\n");
    put_file("cpu,cpuacct/g/cpu.cfs_period_us", "100000\n");
    assert_int_equal(mlcc_cgroup_cores("5:memory:/g\n4:cpu,cpuacct:/g\n", root), 8);
    put_file("cpu/cpu.cfs_quota_us", "500000\n");
    put_file("cpu/cpu.cfs_period_us", "100000\n");
    assert_int_equal(mlcc_cgroup_cores("4:cpuacct,cpu:/docker/f00\n", root), 5);
    put_file("cpu/cpu.cfs_quota_us", "-1\n");
    assert_int_equal(mlcc_cgroup_cores("4:cpu:/docker/f00\n", root), 0);
    put_file("cpu/cpu.cfs_quota_us", "garbage\n");
    assert_int_equal(mlcc_cgroup_cores("4:cpu:/\n", root), 0);
    assert_int_equal(mlcc_cgroup_cores("4:cpuset:/\n", root), 0);
}

static void expect_left(const char *self, uint64_t expected) {
    assert_true(mlcc_cgroup_memory_bytes(self, root) == expected);
}

static void memory_of_version_2(void **state) {
    (void)state;
    expect_left("0::/m\n", UINT64_MAX);
    put_file("m/memory.max", "max\n");
    put_file("m/memory.current", "3000\n");
    expect_left("0::/m\n", UINT64_MAX);
    put_file("m/memory.max", "10000\n");
    expect_left("0::/m\n", 7000);
    expect_left("0::/m/inner/one\n", 7000);
    put_file("m/memory.stat", "anon 1000\nfile 2000\ninactive_file 1500\nactive_file 500\n");
    expect_left("0::/m\n", 8500);
    put_file("m/memory.high", "4000\n"); // where the kernel begins to slow the group down
    expect_left("0::/m\n", 2500);
    put_file("m/memory.current", "90000\n");
    expect_left("0::/m\n", 0);
    put_file("m/memory.stat", "inactive_file 18446744073709551615\n"); // more than is used
    expect_left("0::/m\n", 4000);
    put_file("m/memory.high", "max\n");
    put_file("m/inner/memory.max", "20\n");
    put_file("m/inner/memory.current", "5\n");
    expect_left("0::/m/inner\n", 15);
    expect_left("0::/m\n", 10000);
}

static void memory_of_version_1(void **state) {
    (void)state;
    put_file("memory/docker/memory.limit_in_bytes", "9223372036854771712\n"); // how v1 says "none"
    put_file("memory/docker/memory.usage_in_bytes", "100\n");
    expect_left("4:memory:/docker\n", 9223372036854771712u - 100);
    put_file("memory/docker/memory.limit_in_bytes", "1000\n");
    put_file("memory/docker/memory.stat", "inactive_file 1\ntotal_inactive_file 40\n");
    expect_left("4:memory:/docker\n", 940);
    expect_left("5:cpu:/docker\n", UINT64_MAX);
    put_file("memory/docker/memory.limit_in_bytes", "garbage\n");
    expect_left("4:memory:/docker\n", UINT64_MAX);
}

static void this_process(void **state) {
    (void)state;
    assert_true(mlcc_own_cgroup_cores() >= 0);
    // The test runs, so there is some; and less than the machine could address.
    assert_true(mlcc_available_memory_bytes() > 1 << 20);
    FILE *file = fopen("/proc/meminfo", "r");
    if (file == NULL) skip();
    unsigned long long total_kib = 0;
    assert_int_equal(fscanf(file, "MemTotal: %llu kB", &total_kib), 1);
    fclose(file);
    assert_true(mlcc_available_memory_bytes() <= total_kib * 1024);
}

static void limits_of_the_process(void **state) {
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); // their shadow memory is more than any limit
#endif
    struct rlimit before, tight;
    assert_int_equal(getrlimit(RLIMIT_DATA, &before), 0);
    tight = before;
    tight.rlim_cur = 512 << 20;
    assert_int_equal(setrlimit(RLIMIT_DATA, &tight), 0);
    const uint64_t available = mlcc_available_memory_bytes();
    assert_int_equal(setrlimit(RLIMIT_DATA, &before), 0);
    assert_true(available <= 512 << 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cores_of_version_2),  cmocka_unit_test(cores_of_version_1),
        cmocka_unit_test(memory_of_version_2), cmocka_unit_test(memory_of_version_1),
        cmocka_unit_test(this_process),        cmocka_unit_test(limits_of_the_process),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
