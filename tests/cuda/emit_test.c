// The text of kernel instances, and NVRTC behind it: hooks that a group gives to a kernel, pairs of columns, architectures, the cache, errors.
#include "codegen/cuda/cuda_compile.h"
#include "codegen/cuda/cuda_target.h"
#include "tests/support/cuda_group.h"
#include "tests/support/ptx_nvrtc.h"

// ---- text ---------------------------------------------------------------------------------------------

static void assert_holds(const mlcc_str *text, const char *part) {
    if (strstr(mlcc_str_text(text), part) != NULL) return;
    const char *generated = strstr(mlcc_str_text(text), "#line 1 \"generated\"");
    fail_msg("'%s' is not in\n%s", part, generated != NULL ? generated : mlcc_str_text(text));
}

static void assert_lacks(const mlcc_str *text, const char *part) {
    if (strstr(mlcc_str_text(text), part) != NULL) fail_msg("'%s' is in the text", part);
}

// The source of the first instance whose kernel is of this op.
static const mlcc_str *source_of(const cuda_subject *s, ir_op op) {
    for (int32_t i = 0; i < s->artifact->n_instances; i++) {
        if (s->rows[i]->op == op) return &s->sources[i];
    }
    fail_msg("no instance around op %d", (int)op);
    return NULL;
}

static const char silu_text[] =
    "module @m level=graph\nsymbol n_tokens <= 256\n"
    "func @forward(%x: f16[n_tokens, 64], %y: bf16[n_tokens, 32], %v: f32[32]) {\n"
    "  %0 = slice %x {begin = 0, end = 32} : f16[n_tokens, 32]\n"
    "  %1 = slice %x {begin = 32, end = 64} : f16[n_tokens, 32]\n"
    "  %2 = silu %0 : f16[n_tokens, 32]\n  %3 = mul %2, %1 : f16[n_tokens, 32]\n"
    "  %4 = cast %y : f16[n_tokens, 32]\n  %5 = add %3, %4 : f16[n_tokens, 32]\n"
    "  return %5\n}\n";

static void elementwise_pairs(void **state) {
    (void)state;
    cuda_subject s = cuda_subject_write(silu_text, NULL, NULL);
    const mlcc_str *text = source_of(&s, IR_N_OPS);
    // One 4-byte load for two columns, also behind a slice; every op's result is rounded before the next reads it.
    assert_holds(
        text, "unpack_f16x2(((const u32 *)env->in[0])[((i32)row * (i32)64 + (i32)col) >> 1])");
    assert_holds(text, "(i32)(col + 32)) >> 1])");
    assert_holds(text, "unpack_bf16x2(((const u32 *)env->in[1])");
    assert_holds(text, "kernel_silu(v");
    assert_holds(text, "f16_to_f32(f32_to_f16(v");
    assert_holds(text, "((u32 *)env->out[0])");
    assert_holds(text, "= pack_f16x2(v");
    assert_holds(text, "#define KERNEL_THREADS_elementwise 256");
    assert_holds(text, "i64 dims[1];");
    assert_lacks(text, "env->in[2]"); // the group does not read v
    cuda_subject_close(&s);
}

// Slices at odd columns and rows of odd length are loaded one by one.
static void odd_places(void **state) {
    (void)state;
    cuda_subject s = cuda_subject_write(
        "module @m level=graph\nsymbol n_tokens <= 256\n"
        "func @forward(%x: f16[n_tokens, 64]) {\n"
        "  %0 = slice %x {begin = 1, end = 33} : f16[n_tokens, 32]\n"
        "  %1 = scale %0 {factor = -0.5} : f16[n_tokens, 32]\n  return %1\n}\n",
        NULL, NULL);
    const mlcc_str *text = source_of(&s, IR_N_OPS);
    assert_holds(text, "((const u16 *)env->in[0])[(i32)row * (i32)64 + (i32)(col + 1)]");
    assert_holds(text, "((const u16 *)env->in[0])[(i32)row * (i32)64 + (i32)((col + 1) + 1)]");
    assert_holds(text, "* (-0.5f)");
    cuda_subject_close(&s);
    s = cuda_subject_write(
        "module @m level=graph\nsymbol n_tokens <= 256\n"
        "func @forward(%x: f16[n_tokens, 31]) {\n"
        "  %0 = relu %x : f16[n_tokens, 31]\n  return %0\n}\n",
        NULL, NULL);
    assert_lacks(source_of(&s, IR_N_OPS), "unpack_f16x2(((const u32 *)env->in");
    cuda_subject_close(&s);
}

static void anchor_constants(void **state) {
    (void)state;
    cuda_subject s = cuda_subject_write(
        "module @m level=graph\nsymbol n_tokens <= 256\nparam @gain.weight : f32[64]\n"
        "func @forward(%x: f16[n_tokens, 64], %y: f16[n_tokens, 64]) {\n"
        "  %0 = add %x, %y : f16[n_tokens, 64]\n"
        "  %1 = rms_norm %0, @gain.weight {eps = 1e-06} : f16[n_tokens, 64]\n"
        "  return %0, %1\n}\n",
        NULL, NULL);
    const mlcc_str *text = source_of(&s, IR_OP_RMS_NORM);
    assert_holds(text, "#define KERNEL_ATTR_eps (1e-06)");
    assert_holds(text, "#define KERNEL_DIM_0_1 64");
    assert_holds(text, "#define KERNEL_MEMORY_0 0"); // x + y is a prologue
    assert_holds(text, "#define KERNEL_MEMORY_1 1");
    assert_holds(text, "#define KERNEL_DTYPE_0 1");
    assert_holds(text, "void *out[2];"); // the sum is kept, because the function returns it
    assert_lacks(text, "#define KERNEL_DIM_0_0 ");
    assert_lacks(text, "#include \"codegen/cuda/kernels/");
    mlcc_str again = {0};
    for (int32_t i = 0; i < s.artifact->n_instances; i++) {
        mlcc_str_clear(&again);
        assert_ok(emit_cuda_source(&s.artifact->instances[i], s.rows[i], &again));
        assert_string_equal(mlcc_str_text(&again), mlcc_str_text(&s.sources[i]));
    }
    mlcc_str_free(&again);
    cuda_subject_close(&s);
}

// A row whose kernel never stores what the group returns is a mistake of ours, and is found before NVRTC runs.
static void missing_store(void **state) {
    (void)state;
    cuda_subject s = cuda_subject_write(silu_text, NULL, NULL);
    cuda_kernel_row row = *s.rows[0];
    row.file = "rope_table";
    row.op = IR_N_OPS;
    row.name = "test_row";
    mlcc_str source = {0};
    mlcc_status *status = emit_cuda_source(&s.artifact->instances[0], &row, &source);
    if (strstr(cuda_source_find("rope_table.cu"), "kernel_store") == NULL) {
        assert_error(status, MLCC_INTERNAL, "has no hook that stores return 0");
    } else {
        mlcc_status_free(status);
    }
    row.file = "no_such_file";
    mlcc_str_clear(&source);
    assert_error(
        emit_cuda_source(&s.artifact->instances[0], &row, &source), MLCC_INTERNAL, "has no hook");
    row = *s.rows[0];
    row.headers = "no_such_header.h";
    mlcc_str_clear(&source);
    assert_error(
        emit_cuda_source(&s.artifact->instances[0], &row, &source), MLCC_INTERNAL,
        "'no_such_header.h', which is not part of this build");
    mlcc_str_free(&source);
    cuda_subject_close(&s);
}

static void log_usage(void **state) {
    (void)state;
    static const char log[] =
        "ptxas info    : 0 bytes gmem\n"
        "ptxas info    : Compiling entry function 'a_long' for 'sm_80'\n"
        "ptxas info    : Function properties for a_long\n"
        "    16 bytes stack frame, 8 bytes spill stores, 24 bytes spill loads\n"
        "ptxas info    : Used 255 registers, used 1 barriers, 16 bytes cumulative stack size\n"
        "ptxas info    : Compiling entry function 'a' for 'sm_80'\n"
        "ptxas info    : Function properties for a\n"
        "    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
        "ptxas info    : Used 40 registers, 400 bytes cmem[0]\n"
        "ptxas info    : Compiling entry function 'cut' for 'sm_80'\n";
    cuda_usage usage;
    assert_true(cuda_log_usage(log, "a_long", &usage));
    assert_int_equal(usage.registers, 255);
    assert_int_equal(usage.stack_bytes, 16);
    assert_int_equal(usage.spill_store_bytes, 8);
    assert_int_equal(usage.spill_load_bytes, 24);
    assert_true(cuda_log_usage(log, "a", &usage));
    assert_int_equal(usage.registers, 40);
    assert_int_equal(usage.stack_bytes, 0);
    assert_false(cuda_log_usage(log, "cut", &usage));
    assert_false(cuda_log_usage(log, "b", &usage));
    assert_false(cuda_log_usage("", "a", &usage));
}

// ---- NVRTC --------------------------------------------------------------------------------------------

static void architectures(void **state) {
    (void)state;
    nvrtc_library *nvrtc = ptx_nvrtc_open();
    mlcc_arena *keep = mlcc_arena_create();
    cuda_arch *archs = NULL;
    size_t n = 0;
    assert_ok(cuda_archs_parse("cuda", nvrtc, keep, &archs, &n));
    assert_true(n >= 2);
    assert_string_equal(archs[0].text, "sm_80");
    assert_string_equal(archs[n - 1].text, "compute_80");
    assert_true(archs[n - 1].is_ptx && !archs[0].is_ptx);
    assert_ok(
        cuda_archs_parse("cuda:compute_80,sm_90a,sm_80,sm_90,sm_80", nvrtc, keep, &archs, &n));
    static const char *const sorted[] = {"sm_80", "sm_90", "sm_90a", "compute_80"};
    assert_int_equal(n, 4);
    for (size_t i = 0; i < n; i++) assert_string_equal(archs[i].text, sorted[i]);
    assert_true(archs[2].is_specific && !archs[1].is_specific);
    static const char *const wrong[] = {
        "cuda:",       "cuda:sm_80,", "cuda:sm_75", "cuda:sm_81",       "cuda:sm_80a",
        "cuda:sm_90b", "cuda:80",     "cuda:sm_",   "cuda:compute_90a", "cuda:sm_99999999999",
        "cuda:sm_-80", "cuda:sm_80 ", "cuda:SM_80"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_error(
            cuda_archs_parse(wrong[i], nvrtc, keep, &archs, &n), MLCC_UNSUPPORTED,
            "accepted: sm_80");
    }
    assert_error(cuda_archs_parse("cudax", nvrtc, keep, &archs, &n), MLCC_UNSUPPORTED, "'cudax'");
    mlcc_arena_free(keep);
    nvrtc_close(nvrtc);
}

static const char kernel_a[] =
    "extern \"C\" __global__ void a(float *p) { p[threadIdx.x] *= 2.0f; }";
static const char kernel_b[] =
    "extern \"C\" __global__ void b(float *p) { p[threadIdx.x] += 1.0f; }";

static void compile_two(
    const nvrtc_library *nvrtc, const char *cache, int32_t n_threads, mlcc_arena *keep,
    cuda_unit units[2]) {
    cuda_arch *archs = NULL;
    size_t n = 0;
    assert_ok(cuda_archs_parse("cuda:sm_80,compute_80", nvrtc, keep, &archs, &n));
    const cuda_arch **all = MLCC_NEW_ARRAY(keep, const cuda_arch *, n);
    for (size_t i = 0; i < n; i++) all[i] = &archs[i];
    units[0] = (cuda_unit){.name = "a", .source = kernel_a, .archs = all, .n_archs = n};
    units[1] = (cuda_unit){.name = "b", .source = kernel_b, .archs = all, .n_archs = n};
    const cuda_compile_options options = {.cache_directory = cache, .n_threads = n_threads};
    assert_ok(cuda_compile(nvrtc, &options, units, 2, keep));
}

static void assert_same_units(const cuda_unit *x, const cuda_unit *y) {
    for (int u = 0; u < 2; u++) {
        for (int a = 0; a < 2; a++) {
            const cuda_image *i = &x[u].images[a], *k = &y[u].images[a];
            assert_int_equal(i->size_bytes, k->size_bytes);
            assert_memory_equal(i->data, k->data, i->size_bytes);
        }
    }
}

static bool is_all_cached(const cuda_unit *units, bool expected) {
    bool all = true;
    for (int u = 0; u < 2; u++) {
        for (int a = 0; a < 2; a++) all = all && units[u].images[a].is_from_cache == expected;
    }
    return all;
}

// Threads and the cache change no byte; a damaged entry is made anew.
static void cache(void **state) {
    (void)state;
    nvrtc_library *nvrtc = ptx_nvrtc_open();
    mlcc_arena *keep = mlcc_arena_create();
    char *folder = test_folder_make(keep);
    cuda_unit first[2], second[2], third[2];
    compile_two(nvrtc, NULL, 1, keep, first);
    assert_true(is_all_cached(first, false));
    assert_memory_equal(first[0].images[0].data, "\177ELF", 4);
    assert_int_equal(((const char *)first[0].images[1].data)[first[0].images[1].size_bytes - 1], 0);
    compile_two(nvrtc, folder, 4, keep, second);
    assert_true(is_all_cached(second, false));
    assert_same_units(first, second);
    compile_two(nvrtc, folder, 2, keep, third);
    assert_true(is_all_cached(third, true));
    assert_same_units(first, third);
    char *entries = mlcc_path_join(keep, folder, "nvrtc"), **names = NULL;
    size_t n_names = 0;
    assert_ok(mlcc_dir_list(entries, keep, &names, &n_names));
    assert_int_equal(n_names, 4);
    for (size_t i = 0; i < n_names; i++) {
        const char *path = mlcc_path_join(keep, entries, names[i]);
        char *data = NULL;
        size_t size_bytes = 0;
        assert_ok(mlcc_file_read(path, 0, &data, &size_bytes));
        data[size_bytes / 2] ^= 1;
        assert_ok(mlcc_file_write_atomic(path, data, i % 2 == 0 ? size_bytes : i));
        free(data);
    }
    compile_two(nvrtc, folder, 2, keep, third);
    assert_true(is_all_cached(third, false));
    assert_same_units(first, third);
    mlcc_status_free(mlcc_dir_remove_tree(folder));
    mlcc_arena_free(keep);
    nvrtc_close(nvrtc);
}

static void compile_errors(void **state) {
    (void)state;
    nvrtc_library *nvrtc = ptx_nvrtc_open();
    nvrtc_output output;
    assert_error(
        nvrtc_compile(nvrtc, "broken.cu", "int f() { return undeclared; }", "sm_80", &output),
        MLCC_INTERNAL, "undeclared");
    nvrtc_output_free(&output);
    assert_error(
        nvrtc_compile(nvrtc, "a.cu", kernel_a, "sm_1", &output), MLCC_INTERNAL, "for sm_1");
    nvrtc_output_free(&output);
    assert_ok(nvrtc_compile(nvrtc, "a.cu", kernel_a, "compute_80", &output));
    assert_null(output.cubin);
    assert_non_null(strstr(output.ptx, ".visible .entry a("));
    nvrtc_output_free(&output);
    nvrtc_close(nvrtc);
}

static void absent_library(void **state) {
    (void)state;
    nvrtc_library *nvrtc = NULL;
    assert_int_equal(setenv("MLCC_NVRTC_PATH", "/nonexistent/libnvrtc.so", 1), 0);
    assert_error(
        nvrtc_open(&nvrtc), MLCC_UNSUPPORTED, "looked for /nonexistent/libnvrtc.so; install");
    assert_null(nvrtc);
    assert_int_equal(setenv("MLCC_NVRTC_PATH", "/", 1), 0);
    assert_error(nvrtc_open(&nvrtc), MLCC_UNSUPPORTED, "MLCC_NVRTC_PATH");
    unsetenv("MLCC_NVRTC_PATH");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(elementwise_pairs),
        cmocka_unit_test(odd_places),
        cmocka_unit_test(anchor_constants),
        cmocka_unit_test(missing_store),
        cmocka_unit_test(log_usage),
        cmocka_unit_test(architectures),
        cmocka_unit_test(cache),
        cmocka_unit_test(compile_errors),
        cmocka_unit_test(absent_library),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
