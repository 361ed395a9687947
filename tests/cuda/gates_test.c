// What the compiled kernels look like, without a GPU: every kernel row, as real models use it, through NVRTC, and the cubins are read. No spills, no
// stack frame, no local memory; registers and instructions of the inner loop within the budgets of the row. Skipped where NVRTC is absent.
#include "codegen/cuda/cubin.h"
#include "codegen/cuda/cuda_target.h"
#include "codegen/cuda/emit_cuda.h"
#include "frontend/import.h"
#include "quantization/mode.h"
#include "tests/support/cuda_group.h"
#include "tests/support/random_module.h"

// Opcodes are known from sm_80 to sm_90; registers and frames are read everywhere.
enum { FIRST_UNKNOWN_ARCH = 100 };

typedef struct gates {
    mlcc_arena *keep;
    nvrtc_library *nvrtc; // NULL: absent
    cuda_arch *archs;     // every one that NVRTC compiles cubins for
    size_t n_archs;
    bool *was_gated; // per kernel row
} gates;

static int open_gates(void **state) {
    gates *g = calloc(1, sizeof *g);
    g->keep = mlcc_arena_create();
    *state = g;
    mlcc_status *absent = nvrtc_open(&g->nvrtc);
    if (absent != NULL) {
        print_message("skipped: %s\n", mlcc_status_message(absent));
        mlcc_status_free(absent);
        return 0;
    }
    size_t n_numbers = 0, n_rows = 0;
    const int *numbers = nvrtc_archs(g->nvrtc, &n_numbers);
    mlcc_str list = {0};
    for (size_t i = 0; i < n_numbers; i++) {
        if (numbers[i] < 80) continue;
        mlcc_str_printf(
            &list, "%ssm_%d%s", list.length > 0 ? "," : "cuda:", numbers[i],
            numbers[i] == 90 ? "a" : "");
    }
    assert_ok(cuda_archs_parse(mlcc_str_text(&list), g->nvrtc, g->keep, &g->archs, &g->n_archs));
    mlcc_str_free(&list);
    cuda_kernel_table(&n_rows);
    g->was_gated = MLCC_NEW_ARRAY(g->keep, bool, n_rows + 1);
    return 0;
}

static int close_gates(void **state) {
    gates *g = *state;
    nvrtc_close(g->nvrtc);
    mlcc_arena_free(g->keep);
    free(g);
    return 0;
}

// ---- one image ----------------------------------------------------------------------------------------

static void gate_entry(
    const cuda_entry *entry, const cubin *code, const cuda_image *image, const char *where) {
    const cubin_kernel *kernel = cubin_find(code, entry->symbol);
    cuda_usage usage;
    if (kernel == NULL) fail_msg("%s: no entry '%s' in the cubin", where, entry->symbol);
    if (!cuda_log_usage(image->log, entry->symbol, &usage)) {
        fail_msg("%s: the log does not mention '%s'", where, entry->symbol);
    }
    assert_int_equal(kernel->registers, usage.registers);
    assert_int_equal(kernel->frame_bytes, usage.stack_bytes);
    if (usage.spill_store_bytes + usage.spill_load_bytes != 0 || kernel->frame_bytes != 0) {
        fail_msg(
            "%s, %s: %d bytes of stack, %d bytes of spill stores, %d of loads", where,
            entry->symbol, kernel->frame_bytes, usage.spill_store_bytes, usage.spill_load_bytes);
    }
    if (entry->max_registers > 0 && kernel->registers > entry->max_registers) {
        fail_msg(
            "%s, %s: %d registers, allowed are %d", where, entry->symbol, kernel->registers,
            entry->max_registers);
    }
    if (code->arch >= FIRST_UNKNOWN_ARCH) return;
    if (kernel->counts.n_local != 0) {
        fail_msg("%s, %s: %d local accesses", where, entry->symbol, kernel->counts.n_local);
    }
    if (entry->max_issue_per_unit == 0) return;
    const cubin_unit unit = entry->max_rows > 0 ? CUBIN_WIDE_LOADS : CUBIN_MATRIX;
    const double issue = cubin_issue_per_unit(kernel, unit);
    if (issue == 0.0) fail_msg("%s, %s: no inner loop with what is counted", where, entry->symbol);
    print_message(
        "%s, %s: %d registers, %.1f instructions per %s\n", where, entry->symbol, kernel->registers,
        issue, unit == CUBIN_MATRIX ? "matrix instruction" : "16-byte load");
    if (issue > entry->max_issue_per_unit) {
        fail_msg(
            "%s, %s: %.1f instructions of the inner loop per %s, allowed are %d", where,
            entry->symbol, issue, unit == CUBIN_MATRIX ? "matrix instruction" : "16-byte load",
            entry->max_issue_per_unit);
    }
}

// ---- one module ---------------------------------------------------------------------------------------

// Compiles the instances whose row is new, or all with `every`, and looks into them.
static void gate_artifact(
    gates *g, const codegen_artifact *artifact, const cuda_arch *archs, size_t n_archs,
    const char *what, bool every) {
    mlcc_arena *keep = mlcc_arena_create();
    const size_t n = (size_t)artifact->n_instances;
    cuda_unit *units = MLCC_NEW_ARRAY(keep, cuda_unit, n + 1);
    const cuda_kernel_row **rows = MLCC_NEW_ARRAY(keep, const cuda_kernel_row *, n + 1);
    size_t n_rows = 0, n_units = 0;
    const cuda_kernel_row *table = cuda_kernel_table(&n_rows);
    for (size_t i = 0; i < n; i++) {
        const codegen_instance *instance = &artifact->instances[i];
        const cuda_kernel_row *row = cuda_kernel_find(instance->kernel);
        assert_non_null(row);
        if (!every && g->was_gated[row - table]) continue;
        g->was_gated[row - table] = true;
        mlcc_str source = {0}, again = {0};
        assert_ok(emit_cuda_source(instance, row, &source));
        assert_ok(emit_cuda_source(instance, row, &again));
        assert_string_equal(mlcc_str_text(&source), mlcc_str_text(&again));
        rows[n_units] = row;
        units[n_units++] = (cuda_unit){.name = row->name,
                                       .source = mlcc_arena_strdup(keep, mlcc_str_text(&source))};
        mlcc_str_free(&source);
        mlcc_str_free(&again);
    }
    const cuda_compile_options options = {.cache_directory = mlcc_path_cache(keep)};
    assert_ok(cuda_compile(g->nvrtc, &options, archs, n_archs, units, n_units, keep));
    for (size_t u = 0; u < n_units; u++) {
        for (size_t a = 0; a < n_archs; a++) {
            const cuda_image *image = &units[u].images[a];
            const char *where =
                mlcc_arena_printf(keep, "%s, %s for %s", what, rows[u]->name, image->arch->text);
            cubin *code = NULL;
            assert_ok(cubin_read(image->data, image->size_bytes, keep, &code));
            assert_int_equal(code->arch, image->arch->number);
            for (int32_t i = 0; i < rows[u]->n_entries; i++) {
                gate_entry(&rows[u]->entries[i], code, image, where);
            }
        }
    }
    mlcc_arena_free(keep);
}

// ---- real models --------------------------------------------------------------------------------------

static codegen_artifact *plan_model(const char *preset, const char *mode_name, mlcc_arena *keep) {
    hf_model_config *config = NULL;
    const quant_mode *mode = NULL;
    ir_module *module = NULL;
    const hf_config_overrides overrides = {.max_batch_size = 16, .prefill_chunk_size = 2048};
    assert_ok(hf_model_config_read(preset, NULL, &overrides, keep, &config));
    assert_ok(quant_mode_resolve(mode_name, NULL, keep, &mode));
    const import_options options = {
        .activation_dtype = mode->model,
        .kv_dtype = mode->model == IR_F32 ? IR_F32 : IR_F16,
        .max_tokens = 2048,
        .max_sequences = 16};
    assert_ok(import_model(config, &options, keep, &module));
    cuda_subject subject = {.keep = keep, .module = module};
    const pass_target target = {&subject, cuda_subject_choose_kernel, cuda_subject_choose_layout};
    mlcc_arena *scratch = mlcc_arena_create();
    pass_context context = {.scratch = scratch, .mode = mode, .target = &target};
    const pass_options passes = {.limit = -1};
    assert_ok(pass_pipeline_run(module, &passes, &context));
    mlcc_arena_free(scratch);
    codegen_artifact *artifact = NULL;
    assert_ok(codegen_artifact_build(module, keep, &artifact));
    hf_model_config_free(config);
    return artifact;
}

// Every group of a 1B model in the common modes, for the oldest and the newest architecture whose opcodes are known.
static void real_models(void **state) {
    static const char *const modes[] = {"q4f16_1", "q4f16_autoawq", "q0bf16", "q0f32"};
    gates *g = *state;
    if (g->nvrtc == NULL) skip();
    for (size_t m = 0; m < sizeof modes / sizeof modes[0]; m++) {
        mlcc_arena *keep = mlcc_arena_create();
        const codegen_artifact *artifact = plan_model("llama3_2_1b", modes[m], keep);
        for (size_t a = 0; a < g->n_archs; a++) {
            const bool is_wanted = g->archs[a].number == 80 || g->archs[a].number == 90;
            if (is_wanted) gate_artifact(g, artifact, &g->archs[a], 1, modes[m], true);
        }
        mlcc_arena_free(keep);
    }
}

// Every row once for every architecture that NVRTC knows.
static void every_row(void **state) {
    gates *g = *state;
    if (g->nvrtc == NULL) skip();
    static const char *const modes[] = {"q4f16_1", "q0f32", "e4m3_e4m3_f16_max_calibrate"};
    size_t n_rows = 0;
    const cuda_kernel_row *rows = cuda_kernel_table(&n_rows);
    memset(g->was_gated, 0, n_rows * sizeof *g->was_gated);
    for (size_t m = 0; m < sizeof modes / sizeof modes[0]; m++) {
        mlcc_arena *keep = mlcc_arena_create();
        const codegen_artifact *artifact = plan_model("llama3_2_1b", modes[m], keep);
        gate_artifact(g, artifact, g->archs, g->n_archs, modes[m], false);
        mlcc_arena_free(keep);
    }
    for (size_t i = 0; i < n_rows; i++) {
        if (!g->was_gated[i]) fail_msg("no module of this test uses '%s'", rows[i].name);
    }
}

// ---- broken cubins ------------------------------------------------------------------------------------

// Cut off anywhere and with bytes changed: an answer or an error, never a crash.
static void broken_cubins(void **state) {
    gates *g = *state;
    if (g->nvrtc == NULL) skip();
    nvrtc_output output;
    assert_ok(nvrtc_compile(
        g->nvrtc, "small.cu",
        "extern \"C\" __global__ void small(float *p) { for (int i = 0; i < p[0]; i++) p[i] += 1; "
        "}",
        "sm_80", &output));
    random_state random = {1};
    for (size_t n = 0; n < output.cubin_bytes + 4000; n++) {
        mlcc_arena *keep = mlcc_arena_create();
        const size_t size_bytes = n < output.cubin_bytes ? n : output.cubin_bytes;
        unsigned char *copy = malloc(size_bytes + 1);
        memcpy(copy, output.cubin, size_bytes);
        for (int i = 0; n >= output.cubin_bytes && i < 4; i++) {
            copy[random_below(&random, (int64_t)size_bytes)] =
                (unsigned char)random_below(&random, 256);
        }
        // The address sanitizer watches what lies behind `copy`.
        copy = realloc(copy, size_bytes > 0 ? size_bytes : 1);
        cubin *code = NULL;
        mlcc_status_free(cubin_read(copy, size_bytes, keep, &code));
        free(copy);
        mlcc_arena_free(keep);
    }
    nvrtc_output_free(&output);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(real_models),
        cmocka_unit_test(every_row),
        cmocka_unit_test(broken_cubins),
    };
    return cmocka_run_group_tests(tests, open_gates, close_gates);
}
