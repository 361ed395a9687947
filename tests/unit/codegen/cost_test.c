// cost: the model's tables cover every CPU and kernel row, its times are what counting gives, and its choices are the ones that are known.
#include "codegen/cpu/cpu_cost.h"
#include "codegen/cpu/cpu_kernels.h"
#include "codegen/cpu/features.h"
#include "codegen/cpu/kernels/panel16.h"
#include "tests/support/compile_module.h"

static const char *const cpu_names[] = {
#define CPU(name, family, level, features, since) name,
#include "codegen/cpu/cpus.def"
};
enum { N_CPUS = sizeof cpu_names / sizeof cpu_names[0] };

static codegen_cpu resolve(const char *name, mlcc_arena *keep) {
    codegen_cpu cpu;
    assert_ok(codegen_cpu_resolve(name, keep, &cpu));
    return cpu;
}

// A group that multiplies, of a module that `keep` holds.
static const ir_function *group_of(
    const char *op, const char *weight, const char *x, int n, int k, mlcc_arena *keep) {
    mlcc_str text = {0};
    const bool scaled = strcmp(op, "linear_scaled") == 0;
    mlcc_str_puts(&text, "module @m level=fused\nsymbol n_tokens <= 64\n");
    mlcc_str_printf(&text, "group @g(%%a0: %s[n_tokens, %d], %%a1: %s[%d, %d]", x, k, weight, n, k);
    if (scaled) mlcc_str_printf(&text, ", %%a2: f32[n_tokens, %d]", (k + 31) / 32);
    mlcc_str_printf(
        &text, ") {\n    %%0 = %s %%a0, %%a1%s : f32[n_tokens, %d]\n    return %%0\n}\n", op,
        scaled ? ", %a2 {group = 32}" : "", n);
    ir_module *module = NULL;
    assert_ok(ir_parse_module(text.data, text.length, "test", keep, &module));
    mlcc_str_free(&text);
    return module->functions[0];
}

static void tables(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    for (size_t i = 0; i < N_CPUS; i++) {
        const codegen_cpu cpu = resolve(cpu_names[i], keep);
        const cpu_cost_machine *machine = cpu_cost_machine_of(&cpu);
        assert_string_equal(machine->name, cpu_names[i]);
        assert_in_range(machine->mhz, 1000, 6000);
        assert_in_range(machine->l1d_kib, 16, 256);
        assert_true(machine->l2_kib > machine->l1d_kib);
        assert_true(machine->latency_ns > 0 && machine->read_gb_s > 0);
        assert_true(machine->pipes >= machine->multiply_pipes && machine->multiply_pipes > 0);
        assert_true(
            machine->pipe_bytes == 16 || machine->pipe_bytes == 32 || machine->pipe_bytes == 64);
        assert_int_equal(machine->tile_products > 0, codegen_cpu_has(&cpu, "amx-int8"));
    }
    // A CPU without a row counts as its level.
    codegen_cpu cpu = resolve("znver4", keep);
    cpu.llvm_cpu = "somelake";
    assert_string_equal(cpu_cost_machine_of(&cpu)->name, "x86-64-v4");
    cpu.features = "avx2";
    assert_string_equal(cpu_cost_machine_of(&cpu)->name, "x86-64-v3");
    mlcc_arena_free(keep);
}

// Every row that multiplies has a time, for every format that it takes.
static void kernels(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    size_t n_rows = 0, n_known = 0;
    const kernel_row *rows = cpu_kernel_table(&n_rows);
    for (size_t i = 0; i < n_rows; i++) {
        const bool scaled = rows[i].op == IR_OP_LINEAR_SCALED;
        if (!scaled && rows[i].op != IR_OP_LINEAR) continue;
        for (int32_t dtype = 0; dtype < (int32_t)IR_N_DTYPES; dtype++) {
            const cpu_cost_shape shape = {256, 256, (ir_dtype)dtype};
            int64_t bytes = 0;
            if (!kernel_panel16_size(dtype, shape.n, shape.k, &bytes)) continue;
            const bool is_bf16 = strstr(rows[i].name, "linear_bf16") != NULL;
            const ir_function *group = group_of(
                ir_op_get(rows[i].op)->text, ir_dtype_get(shape.dtype)->text,
                scaled    ? "i8"
                : is_bf16 ? "bf16"
                          : "f32",
                256, 256, keep);
            const bool takes = rows[i].refuses == NULL || rows[i].refuses(group) == NULL;
            const codegen_cpu cpu = resolve(
                mlcc_text_starts_with(rows[i].bitcode, "arm_") ? "neoverse-v2" : "sapphirerapids",
                keep);
            const cpu_cost few = cpu_cost_of(&cpu, rows[i].name, &shape, 1);
            const cpu_cost many = cpu_cost_of(&cpu, rows[i].name, &shape, 128);
            assert_int_equal(few.seconds > 0, takes);
            assert_true(many.seconds >= few.seconds);
            n_known += takes;
        }
    }
    assert_true(n_known > 40);
    mlcc_arena_free(keep);
}

static void times(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    const codegen_cpu zen = resolve("znver4", keep), rapids = resolve("sapphirerapids", keep);
    const cpu_cost_shape shape = {4096, 4096, IR_Q4G32_F16};
    int64_t bytes = 0;
    assert_true(kernel_panel16_size((int32_t)shape.dtype, shape.n, shape.k, &bytes));
    const cpu_cost one = cpu_cost_of(&zen, "linear_scaled_panel16__x86_avx512vnni", &shape, 1);
    assert_string_equal(one.limit, "memory");
    assert_true(one.seconds == (double)bytes / 20e9);
    // Two pipes of 32 bytes are one of 64: 64 products of bytes a cycle, and a quarter more for scales.
    const cpu_cost many = cpu_cost_of(&zen, "linear_scaled_panel16__x86_avx512vnni", &shape, 128);
    assert_string_equal(many.limit, "products");
    const double products = 4096.0 * 4096 * 128, expected = products / 16 * 0.31 / 3.4e9;
    assert_true(many.seconds > 0.999 * expected && many.seconds < 1.001 * expected);
    // Tile registers: 1024 products a cycle.
    const cpu_cost tiles = cpu_cost_of(&rapids, "linear_scaled_panel16__x86_amx", &shape, 128);
    const cpu_cost vectors =
        cpu_cost_of(&rapids, "linear_scaled_panel16__x86_avx512vnni", &shape, 128);
    assert_true(tiles.seconds * 2 < vectors.seconds);
    // Pairs: a product for two k, and half as many as of bytes in tile registers.
    const cpu_cost_shape wide = {4096, 4096, IR_BF16};
    const cpu_cost pairs = cpu_cost_of(&zen, "linear_bf16_panel16__x86_avx512bf16", &wide, 128);
    const cpu_cost floats = cpu_cost_of(&zen, "linear_panel16__x86_avx512", &wide, 128);
    assert_true(floats.seconds > 1.8 * pairs.seconds);
    const cpu_cost tiled = cpu_cost_of(&rapids, "linear_bf16_panel16__x86_amx", &wide, 512);
    const double tiled_s = products * 4 / 512 / 2.6e9;
    assert_true(tiled.seconds > 0.999 * tiled_s && tiled.seconds < 1.001 * tiled_s);
    assert_true(cpu_cost_of(&zen, "rms_norm__portable", &shape, 1).seconds <= 0);
    // No machine turns an upper number of rows into less time.
    for (int64_t rows = 1; rows < 300; rows++) {
        assert_true(
            cpu_cost_of(&zen, "linear_panel16__x86_avx512", &shape, rows + 1).seconds >=
            cpu_cost_of(&zen, "linear_panel16__x86_avx512", &shape, rows).seconds);
    }
    mlcc_arena_free(keep);
}

static void choices_of_rows(void **state) {
    (void)state;
    static const char *const linear[] = {
        "linear_elements__portable", "linear_panel16__portable", "linear_panel16__x86_avx2",
        "linear_panel16__x86_avx512", "linear_panel16__x86_avx512vnni"};
    static const char *const scaled[] = {
        "linear_scaled_panel16__x86_avx2", "linear_scaled_panel16__x86_avx512vnni",
        "linear_scaled_panel16__x86_amx"};
    mlcc_arena *keep = mlcc_arena_create();
    const codegen_cpu rapids = resolve("sapphirerapids", keep);
    const ir_function *group = group_of("linear", "q4g32_f16", "f32", 2048, 2048, keep);
    for (size_t n = 1; n <= 5; n++) // the last is the best whatever stands before it
        assert_string_equal(cpu_cost_choose_row(&rapids, linear, n, group), linear[n - 1]);
    // In another order the better one is found.
    static const char *const reversed[] = {
        "linear_panel16__x86_avx512", "linear_panel16__portable", "linear_elements__portable"};
    assert_string_equal(cpu_cost_choose_row(&rapids, reversed, 3, group), reversed[0]);
    // A row that the model does not know stays where the table puts it.
    static const char *const strange[] = {"linear_panel16__x86_avx512", "linear_magic"};
    assert_string_equal(cpu_cost_choose_row(&rapids, strange, 2, group), "linear_magic");
    group = group_of("linear_scaled", "q8g32_f16", "i8", 2048, 2048, keep);
    for (size_t n = 1; n <= 3; n++)
        assert_string_equal(cpu_cost_choose_row(&rapids, scaled, n, group), scaled[n - 1]);
    mlcc_arena_free(keep);
}

static void choices_of_knobs(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    static const char *const formats[] = {"q4g32_f16", "q8g32_f16"};
    static const int sizes[][2] = {{16, 32}, {2048, 2048}, {11264, 2048}, {152064, 8192}};
    const char *kernel = "linear_scaled_panel16__x86_avx512vnni";
    for (size_t i = 0; i < N_CPUS; i++) {
        const codegen_cpu cpu = resolve(cpu_names[i], keep);
        for (size_t s = 0; s < 4; s++) {
            const ir_function *group =
                group_of("linear_scaled", formats[s % 2], "i8", sizes[s][0], sizes[s][1], keep);
            const cpu_knobs knobs = cpu_cost_choose_knobs(&cpu, kernel, group);
            const cpu_knobs again = cpu_cost_choose_knobs(&cpu, kernel, group);
            assert_memory_equal(&knobs, &again, sizeof knobs);
            for (int32_t k = 0; k < (int32_t)CPU_N_KNOBS; k++)
                assert_true(cpu_knob_accepts((cpu_knob)k, knobs.values[k]));
        }
    }
    const ir_function *group = group_of("linear_scaled", "q4g32_f16", "i8", 2048, 2048, keep);
    const codegen_cpu zen = resolve("znver4", keep), rapids = resolve("sapphirerapids", keep);
    const cpu_knobs small = cpu_cost_choose_knobs(&zen, kernel, group);
    assert_int_equal(small.values[CPU_KNOB_scaled_block], 16); // 32 KiB of first cache
    assert_int_equal(small.values[CPU_KNOB_scaled_ahead], 2304);
    const cpu_knobs large = cpu_cost_choose_knobs(&rapids, kernel, group);
    assert_int_equal(large.values[CPU_KNOB_scaled_block], 32); // 48 KiB
    // Other kernels' knobs are left alone.
    assert_int_equal(large.values[CPU_KNOB_panel_ahead], 2304);
    mlcc_str text = {0};
    cpu_cost_explain(&zen, kernel, group, &text);
    static const char *const parts[] = {
        "q4g32_f16 [2048, 2048]",
        "znver4",
        "1 row",
        "(memory)",
        "128 rows",
        "(products)",
        "scaled_ahead 2304, scaled_block 16, scaled_chunks"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        assert_non_null(strstr(mlcc_str_text(&text), parts[i]));
    mlcc_str_free(&text);
    mlcc_arena_free(keep);
}

static void knob_table(void **state) {
    (void)state;
    size_t n_rows = 0;
    const kernel_row *rows = cpu_kernel_table(&n_rows);
    for (int32_t k = 0; k < (int32_t)CPU_N_KNOBS; k++) {
        const cpu_knob_row *row = cpu_knob_get((cpu_knob)k);
        assert_true(cpu_knob_accepts((cpu_knob)k, row->fallback));
        assert_int_equal(cpu_knob_find(row->name), k);
        assert_true(cpu_knob_candidates((cpu_knob)k) >= 2);
        for (int32_t i = 1; i < cpu_knob_candidates((cpu_knob)k); i++)
            assert_true(row->candidates[i] > row->candidates[i - 1]);
        size_t n_users = 0;
        for (size_t i = 0; i < n_rows; i++) n_users += cpu_knob_belongs((cpu_knob)k, rows[i].name);
        assert_true(n_users > 0);
    }
    assert_int_equal(cpu_knob_find("nothing"), CPU_N_KNOBS);
    assert_false(cpu_knob_accepts(CPU_KNOB_scaled_block, 0));
    assert_false(cpu_knob_accepts(CPU_KNOB_scaled_block, 17));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables),
        cmocka_unit_test(kernels),
        cmocka_unit_test(times),
        cmocka_unit_test(choices_of_rows),
        cmocka_unit_test(choices_of_knobs),
        cmocka_unit_test(knob_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
