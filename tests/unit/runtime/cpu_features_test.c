// CPU features under LLVM's names: what /proc/cpuinfo says of this machine must agree with what the
// processor itself says.
#include "tests/unit/runtime/tiny_model.h"

#include "runtime/device/cpu_features.h"

static void missing_features_are_named(void **state) {
    (void)state;
    mlcc_str missing = {0};
    assert_int_equal(mlcc_cpu_missing("", &missing), 0);
    assert_int_equal(mlcc_cpu_missing(",,", &missing), 0);
    assert_string_equal(mlcc_str_text(&missing), "");
    assert_int_equal(mlcc_cpu_missing("warp", NULL), 1);
    char features[256];
    const char *common = strcmp(mlcc_cpu_architecture(), "x86-64") == 0 ? "sse2" : "neon";
    snprintf(features, sizeof features, "warp,%s,teleport", common);
    assert_int_equal(mlcc_cpu_missing(features, &missing), 2);
    assert_string_equal(missing.data, "warp, teleport");
    mlcc_str_clear(&missing);
    // Longer than any name that exists.
    memset(features, 'x', 200);
    features[200] = '\0';
    assert_int_equal(mlcc_cpu_missing(features, &missing), 1);
    assert_int_equal(missing.length, 200);
    mlcc_str_free(&missing);
    assert_false(mlcc_cpu_has(""));
    assert_true(mlcc_cpu_has(common));
    tiny_ok(mlcc_cpu_request(common));
    assert_true(mlcc_cpu_elf_machine() > 0);
}

static void the_kernel_agrees(void **state) {
    (void)state;
#if defined(__x86_64__)
    // LLVM's name, the kernel's name.
    static const char *const names[][2] = {
        {"sse3", "pni"},
        {"ssse3", "ssse3"},
        {"sse4.1", "sse4_1"},
        {"sse4.2", "sse4_2"},
        {"popcnt", "popcnt"},
        {"avx", "avx"},
        {"avx2", "avx2"},
        {"fma", "fma"},
        {"f16c", "f16c"},
        {"bmi", "bmi1"},
        {"bmi2", "bmi2"},
        {"lzcnt", "abm"},
        {"movbe", "movbe"},
        {"avx512f", "avx512f"},
        {"avx512bw", "avx512bw"},
        {"avx512dq", "avx512dq"},
        {"avx512vl", "avx512vl"},
        {"avx512cd", "avx512cd"},
        {"avx512vnni", "avx512_vnni"},
        {"avx512bf16", "avx512_bf16"},
        {"avx512fp16", "avx512_fp16"},
        {"avx512vbmi", "avx512vbmi"},
        {"avx512ifma", "avx512ifma"},
        {"avxvnni", "avx_vnni"},
        {"amx-tile", "amx_tile"},
        {"amx-int8", "amx_int8"},
        {"amx-bf16", "amx_bf16"},
        {"vaes", "vaes"},
        {"gfni", "gfni"},
        {"sha", "sha_ni"},
        {"adx", "adx"},
        {"clzero", "clzero"},
        {"sse4a", "sse4a"},
        {"aes", "aes"},
        {"pclmul", "pclmulqdq"},
        {"xsavec", "xsavec"},
        {"fsgsbase", "fsgsbase"},
        {"rdpid", "rdpid"},
        {"cx16", "cx16"},
        {"sahf", "lahf_lm"},
    };
    FILE *file = fopen("/proc/cpuinfo", "r");
    if (file == NULL) skip();
    static char line[16384];
    bool is_found = false;
    while (!is_found && fgets(line, sizeof line, file) != NULL)
        is_found = strncmp(line, "flags", 5) == 0;
    fclose(file);
    if (!is_found) skip();
    line[strcspn(line, "\n")] = ' ';
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char word[64];
        snprintf(word, sizeof word, " %s ", names[i][1]);
        bool expected = strstr(line, word) != NULL;
        if (mlcc_cpu_has(names[i][0]) != expected) {
            fail_msg("%s: the kernel says %d for %s", names[i][0], (int)expected, names[i][1]);
        }
    }
    // "prefer-…" and the like steer the compiler and need nothing.
    assert_int_equal(mlcc_cpu_missing("fast-gather,prefer-256-bit,slow-3ops-lea", NULL), 0);
    bool has_v3 = mlcc_cpu_has("avx2") && mlcc_cpu_has("fma") && mlcc_cpu_has("bmi2");
    assert_int_equal(strcmp(mlcc_cpu_baseline(), "x86-64-v3") >= 0, has_v3);
#else
    assert_string_equal(mlcc_cpu_baseline(), mlcc_cpu_architecture());
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(missing_features_are_named),
        cmocka_unit_test(the_kernel_agrees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
