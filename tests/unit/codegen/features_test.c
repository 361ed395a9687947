// What target names mean, and what the CPU's tables answer.
#include "codegen/cpu/cpu_kernels.h"
#include "codegen/cpu/features.h"
#include "codegen/cpu/kernels/panel16.h"
#include "tests/support/compile_module.h"

static mlcc_arena *keep;

static int set_up(void **state) {
    (void)state;
    keep = mlcc_arena_create();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    mlcc_arena_free(keep);
    return 0;
}

static void test_levels(void **state) {
    (void)state;
    codegen_cpu v2, v3, v4;
    assert_ok(codegen_cpu_resolve("x86-64-v2", keep, &v2));
    assert_ok(codegen_cpu_resolve("x86-64-v3", keep, &v3));
    assert_ok(codegen_cpu_resolve("x86-64-v4", keep, &v4));
    assert_string_equal(v2.features, "cx16,popcnt,sahf,sse3,sse4.1,sse4.2,ssse3");
    assert_string_equal(v4.name, "x86-64-v4");
    assert_string_equal(v4.triple, "x86_64-unknown-linux-gnu");
    assert_true(codegen_cpu_is_x86(&v2));
    assert_false(codegen_cpu_has(&v2, "avx"));
    assert_true(codegen_cpu_has(&v3, "f16c"));
    assert_false(codegen_cpu_has(&v3, "avx512f"));
    assert_true(codegen_cpu_has(&v4, "avx512f"));
    assert_false(codegen_cpu_has(&v4, "avx512")); // whole words only
    assert_null(codegen_cpu_lacks(&v4, "avx2,avx512vl", keep));
    assert_string_equal(codegen_cpu_lacks(&v3, "avx2,avx512vl,amx-tile", keep), "avx512vl");
    assert_null(codegen_cpu_lacks(&v2, "", keep));
}

static void test_names(void **state) {
    (void)state;
    codegen_cpu cpu;
    assert_ok(codegen_cpu_resolve("sapphirerapids", keep, &cpu));
    assert_true(codegen_cpu_has(&cpu, "avx512fp16"));
    assert_null(codegen_cpu_lacks(&cpu, "amx-bf16,amx-int8,amx-tile", keep));
    assert_string_equal(codegen_cpu_tune(&cpu), "sapphirerapids");
    assert_ok(codegen_cpu_resolve("x86-64-v4", keep, &cpu));
    assert_false(codegen_cpu_has(&cpu, "amx-tile"));
    assert_ok(codegen_cpu_resolve("aarch64", keep, &cpu));
    assert_false(codegen_cpu_is_x86(&cpu));
    assert_string_equal(cpu.triple, "aarch64-unknown-linux-gnu");
    assert_string_equal(codegen_cpu_tune(&cpu), "generic");
    assert_error(
        codegen_cpu_resolve("znver44", keep, &cpu), MLCC_UNSUPPORTED, "did you mean 'znver4'?");
    assert_error(
        codegen_cpu_resolve("pentium", keep, &cpu), MLCC_UNSUPPORTED,
        "accepted are native, x86-64-v2");
    assert_error(codegen_cpu_resolve("", keep, &cpu), MLCC_UNSUPPORTED, "unknown target ''");
}

static void test_native(void **state) {
    (void)state;
    codegen_cpu cpu;
    assert_ok(codegen_cpu_resolve("native", keep, &cpu));
    assert_string_not_equal(cpu.name, "native");
    assert_true(strlen(cpu.features) > 0);
    assert_null(strstr(cpu.features, "+"));
}

// Every CPU of the table has at least the portable row of every op, and its features are sorted words.
static void test_every_cpu(void **state) {
    (void)state;
    static const char *const names[] = {
#define CPU(name, family, level, features, since) name,
#include "codegen/cpu/cpus.def"
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        codegen_cpu cpu;
        assert_ok(codegen_cpu_resolve(names[i], keep, &cpu));
        char *list = mlcc_arena_strdup(keep, cpu.features), *state_of = NULL;
        const char *before = "";
        for (char *f = strtok_r(list, ",", &state_of); f != NULL;
             f = strtok_r(NULL, ",", &state_of)) {
            assert_true(strcmp(before, f) < 0);
            before = f;
        }
        size_t n_rows = 0;
        const kernel_row *rows = cpu_kernel_table(&n_rows);
        for (size_t r = 0; r < n_rows; r++) {
            if (rows[r].needs[0] != '\0' || rows[r].refuses != NULL) continue;
            assert_null(cpu_kernel_refusal(&rows[r], &cpu, NULL, keep));
        }
    }
}

static void test_layouts(void **state) {
    (void)state;
    ir_type matrix = ir_type_matrix(IR_Q4G32_F16, ir_dim_const(33), ir_dim_const(100));
    ir_type vector = ir_type_vector(IR_F16, ir_dim_const(33));
    assert_string_equal(cpu_layout_choose(IR_OP_LINEAR, 1, &matrix), "panel16");
    assert_string_equal(cpu_layout_choose(IR_OP_EMBEDDING, 1, &matrix), "panel16");
    assert_string_equal(cpu_layout_choose(IR_OP_LINEAR, 2, &vector), "rows");
    assert_string_equal(cpu_layout_choose(IR_OP_RMS_NORM, 1, &vector), "rows");
    assert_string_equal(cpu_layout_choose(IR_OP_MUL, 1, &matrix), "rows");
    assert_null(cpu_layout_find("rows"));
    const cpu_layout *layout = cpu_layout_find("panel16");
    assert_non_null(layout);
    int64_t prepared_bytes = 0, n_items = 0;
    assert_true(layout->measure(&matrix, &prepared_bytes, &n_items));
    assert_int_equal(n_items, 3);
    assert_int_equal(prepared_bytes, 3 * 2 * 576);
    ir_type huge = ir_type_matrix(IR_F32, ir_dim_const(INT64_MAX / 2), ir_dim_const(INT64_MAX / 2));
    assert_false(layout->measure(&huge, &prepared_bytes, &n_items));
    assert_false(layout->measure(&vector, &prepared_bytes, &n_items));
}

// Every element format that weights may have, 33 rows of 100: three panels.
static void test_sizes(void **state) {
    (void)state;
    static const struct {
        ir_dtype dtype;
        int64_t n_units, unit_bytes; // of a panel
    } rows[] = {
        {IR_F32, 100, 64},       {IR_F16, 100, 32},          {IR_BF16, 4, 1024},
        {IR_Q4G32_F16, 2, 576},  {IR_Q4G32_BF16, 2, 576},    {IR_Q4G32_F32, 2, 640},
        {IR_Q4G32T_F16, 2, 576}, {IR_Q4G32T_BF16, 2, 576},   {IR_Q3G40_F16, 2, 576},
        {IR_Q3G40T_F16, 2, 576}, {IR_Q8G32_F16, 2, 1088},    {IR_U4G32_F16, 2, 640},
        {IR_U4G64_F16, 2, 576},  {IR_U4G128_F16, 1, 1088},   {IR_Q4FT_F16, 1, 1088},
        {IR_E4M3_F32, 1, 2112},  {IR_E4M3B128_F32, 1, 2112}, {IR_E5M2, 1, 2112},
    };
    const cpu_layout *layout = cpu_layout_find("panel16");
    int32_t n_measured = 0;
    for (int32_t i = 0; i < IR_N_DTYPES; i++) {
        ir_type type = ir_type_matrix((ir_dtype)i, ir_dim_const(33), ir_dim_const(100));
        int64_t prepared_bytes = 0, n_items = 0;
        bool measured = layout->measure(&type, &prepared_bytes, &n_items);
        const ir_dtype_kind kind = ir_dtype_get((ir_dtype)i)->kind;
        assert_int_equal(measured, kind == IR_KIND_FLOAT || kind == IR_KIND_GROUPED);
        for (size_t r = 0; measured && r < sizeof rows / sizeof rows[0]; r++) {
            if (rows[r].dtype != (ir_dtype)i) continue;
            n_measured++;
            assert_int_equal(n_items, 3);
            assert_int_equal(prepared_bytes, 3 * rows[r].n_units * rows[r].unit_bytes);
            const kernel_panel16_format format = kernel_panel16_format_of(i);
            if (kind != IR_KIND_GROUPED) continue;
            const int32_t group = ir_dtype_get((ir_dtype)i)->group;
            assert_int_equal(format.group, group == 0 ? 128 : group);
            assert_int_equal(kernel_code_bits(format.code), ir_dtype_get((ir_dtype)i)->bits);
            assert_int_equal(format.scale, ir_dtype_get((ir_dtype)i)->scale);
            assert_int_equal(kernel_panel16_unit_bytes(format) % 64, 0);
        }
    }
    assert_int_equal(n_measured, sizeof rows / sizeof rows[0]);
}

// Which machine's kernel multiplies which weights.
static void test_weight_kernels(void **state) {
    (void)state;
    static const struct {
        const char *target, *weight, *kernel;
    } rows[] = {
        {"cascadelake", "u4g128_f16[8, 128]", "linear_panel16__x86_avx512vnni"},
        {"cascadelake", "q4ft_f16[64, 128]", "linear_panel16__x86_avx512vnni"},
        {"cascadelake", "q8g32_f16[8, 128]", "linear_panel16__x86_avx512"},
        {"cascadelake", "q3g40_f16[8, 128]", "linear_panel16__x86_avx512"},
        {"cascadelake", "f16[8, 128]", "linear_panel16__x86_avx512"},
        {"x86-64-v4", "q4g32_f32[8, 128]", "linear_panel16__x86_avx512"},
        {"x86-64-v3", "e4m3b128_f32[8, 128]", "linear_panel16__x86_avx2"},
        {"aarch64", "e5m2[8, 128]", "linear_panel16__portable"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[512];
        const int n = (int)strcspn(strchr(rows[i].weight, '[') + 1, ",");
        snprintf(
            text, sizeof text,
            "module @m level=fused\nsymbol n_tokens <= 8\n"
            "group @linear(%%x: f32[n_tokens, 128], %%w: %s) {\n"
            "  %%0 = linear %%x, %%w : f32[n_tokens, %.*s]\n  return %%0\n}\n"
            "func @forward(%%x: f32[n_tokens, 128]) {\n  return %%x\n}\n",
            rows[i].weight, n, strchr(rows[i].weight, '[') + 1);
        ir_module *module = NULL;
        assert_ok(ir_parse_module(text, strlen(text), "test", keep, &module));
        codegen_options options = {.target = rows[i].target};
        codegen_target *target = NULL;
        assert_ok(codegen_open(&options, keep, &target));
        const char *kernel = NULL;
        mlcc_str why = {0};
        assert_ok(codegen_choose_kernel(target, ir_module_find(module, "linear"), &kernel, &why));
        assert_string_equal(kernel, rows[i].kernel);
        if (strcmp(rows[i].kernel, "linear_panel16__x86_avx512") == 0 &&
            strcmp(rows[i].target, "cascadelake") == 0) {
            assert_non_null(strstr(mlcc_str_text(&why), "codes are not 4-bit integers"));
        }
        mlcc_str_free(&why);
    }
}

// Which machine multiplies pairs of bfloat16, and whose rows stay floats.
static void test_takes_dtype(void **state) {
    (void)state;
    static const struct {
        const char *target, *kernel; // of a linear whose rows are bf16
        ir_dtype weight, rows;
        int64_t columns;
        bool takes;
    } rows[] = {
        {"znver4", "linear_bf16_panel16__x86_avx512bf16", IR_BF16, IR_BF16, 128, true},
        {"cooperlake", "linear_bf16_panel16__x86_avx512bf16", IR_BF16, IR_BF16, 128, true},
        {"sapphirerapids", "linear_bf16_panel16__x86_amx", IR_BF16, IR_BF16, 128, true},
        {"znver4", "linear_elements__portable", IR_F16, IR_BF16, 128, false},
        {"znver4", "linear_bf16_panel16__x86_avx512bf16", IR_BF16, IR_F16, 128, false},
        {"znver4", "linear_elements__portable", IR_BF16, IR_BF16, 131073, false},
        {"icelake-server", "linear_elements__portable", IR_BF16, IR_BF16, 128, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        codegen_options options = {.target = rows[i].target};
        codegen_target *target = NULL;
        assert_ok(codegen_open(&options, keep, &target));
        const ir_type weight =
            ir_type_matrix(rows[i].weight, ir_dim_const(8), ir_dim_const(rows[i].columns));
        assert_int_equal(codegen_takes_dtype(target, &weight, rows[i].rows), rows[i].takes);
        char text[512];
        const int k = (int)rows[i].columns;
        snprintf(
            text, sizeof text,
            "module @m level=fused\nsymbol n_tokens <= 8\n"
            "group @linear(%%x: bf16[n_tokens, %d], %%w: %s[8, %d]) {\n"
            "  %%0 = linear %%x, %%w : f32[n_tokens, 8]\n  return %%0\n}\n"
            "func @forward(%%x: f32[n_tokens, 8]) {\n  return %%x\n}\n",
            k, ir_dtype_get(rows[i].weight)->text, k);
        ir_module *module = NULL;
        assert_ok(ir_parse_module(text, strlen(text), "test", keep, &module));
        const char *kernel = NULL;
        assert_ok(codegen_choose_kernel(target, ir_module_find(module, "linear"), &kernel, NULL));
        assert_string_equal(kernel, rows[i].kernel);
    }
}

// Which machine multiplies bytes, and of which weights.
static void test_takes_codes(void **state) {
    (void)state;
    static const struct {
        const char *target;
        ir_dtype weight;
        int64_t mantissa_bits, group;
        bool takes;
    } rows[] = {
        {"x86-64-v2", IR_Q4G32_F16, 7, 32, false},  {"x86-64-v3", IR_Q4G32_F16, 7, 32, true},
        {"x86-64-v3", IR_Q3G40_F16, 7, 32, false},  {"x86-64-v3", IR_Q4G32_F16, 3, 0, false},
        {"aarch64", IR_Q4G32_F16, 7, 32, false},    {"cortex-a72", IR_Q8G32_F16, 7, 32, false},
        {"cortex-a76", IR_U4G128_F16, 7, 32, true}, {"apple-m1", IR_Q8G32_F16, 7, 32, true},
        {"neoverse-v1", IR_Q4FT_F16, 7, 32, true},  {"neoverse-v1", IR_E4M3_F32, 7, 32, false},
        {"neoverse-v1", IR_F16, 7, 32, false},      {"neoverse-v1", IR_Q8G32_F16, 7, 64, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        codegen_options options = {.target = rows[i].target};
        codegen_target *target = NULL;
        assert_ok(codegen_open(&options, keep, &target));
        const ir_type weight = ir_type_matrix(rows[i].weight, ir_dim_const(64), ir_dim_const(256));
        assert_int_equal(
            codegen_takes_codes(target, &weight, rows[i].mantissa_bits, rows[i].group),
            rows[i].takes);
    }
}

static void test_choice(void **state) {
    (void)state;
    static const char text[] =
        "module @m level=fused\nsymbol n_tokens <= 8\n"
        "group @linear(%x: f32[n_tokens, 8], %w: f32[4, 8]) {\n  %0 = linear %x, %w : "
        "f32[n_tokens, 4]\n  return %0\n}\n"
        "group @wide(%x: f32[n_tokens, 100000], %g: f32[100000]) {\n"
        "  %0 = rms_norm %x, %g : f32[n_tokens, 100000]\n  return %0\n}\n"
        "func @forward(%x: f32[n_tokens, 8], %w: f32[4, 8], %y: f32[n_tokens, 100000], %g: "
        "f32[100000]) {\n"
        "  %0 = call %x, %w {callee = \"linear\"} : f32[n_tokens, 4]\n"
        "  %1 = call %y, %g {callee = \"wide\"} : f32[n_tokens, 100000]\n  return %0, %1\n}\n";
    ir_module *module = NULL;
    assert_ok(ir_parse_module(text, strlen(text), "test", keep, &module));
    const char *kernel = NULL;
    codegen_target *target = NULL;
    codegen_options options = {.target = "x86-64-v3"};
    assert_ok(codegen_open(&options, keep, &target));
    mlcc_str why = {0};
    assert_ok(codegen_choose_kernel(target, ir_module_find(module, "linear"), &kernel, &why));
    assert_string_equal(kernel, "linear_panel16__x86_avx2");
    assert_non_null(
        strstr(mlcc_str_text(&why), "refused: linear_panel16__x86_avx512: needs 'avx512bw'\n"));
    mlcc_str_free(&why);
    assert_error(
        codegen_choose_kernel(target, ir_module_find(module, "wide"), &kernel, NULL),
        MLCC_UNSUPPORTED, "rows have more than 65536 columns");
    assert_null(kernel);
    options.target = "aarch64";
    assert_ok(codegen_open(&options, keep, &target));
    assert_ok(codegen_choose_kernel(target, ir_module_find(module, "linear"), &kernel, NULL));
    assert_string_equal(kernel, "linear_panel16__portable");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels),         cmocka_unit_test(test_names),
        cmocka_unit_test(test_native),         cmocka_unit_test(test_every_cpu),
        cmocka_unit_test(test_layouts),        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_weight_kernels), cmocka_unit_test(test_takes_codes),
        cmocka_unit_test(test_takes_dtype),    cmocka_unit_test(test_choice),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
