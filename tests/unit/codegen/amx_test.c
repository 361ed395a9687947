// Code with tile registers: which targets get it, that tiles stay inside the kernel that is made of them, and, on any machine with AVX-512 and
// VNNI, that the code computes what the model says: the instructions that the machine lacks are emulated as they come (tile_trap.h).
#include "tests/support/amx/tile_emulation.h"
#include "tests/support/amx/tile_trap.h"
#include "tests/support/compile_module.h"
#include "tests/support/random_module.h"

// Constant zeros, bytes, stored zeros, experts, and bfloat16; a bias, fused epilogues, tails of panels and groups.
static const char text[] =
    "module @m level=graph\nsymbol n_tokens <= 256\n"
    "param @a.weight : q4g32_f16[72, 320]\nparam @b.weight : q8g32_f16[41, 100]\n"
    "param @c.weight : u4g128_f16[64, 384]\nparam @b.bias : f16[41]\n"
    "param @d.weight : bf16[41, 100]\nparam @e.weight : q8g32_f16[3, 40, 320]\n"
    "func @forward(%x: f32[n_tokens, 320], %y: f32[n_tokens, 100], %z: f32[n_tokens, 384]) {\n"
    "  %0, %1 = encode_activation %x {mantissa_bits = 7, group = 32, floor = 1e-30} : "
    "i8[n_tokens, 320], f32[n_tokens, 10]\n"
    "  %2 = linear_scaled %0, @a.weight, %1 {group = 32} : f32[n_tokens, 72]\n"
    "  %3, %4 = encode_activation %y {mantissa_bits = 7, group = 32, floor = 1e-30} : "
    "i8[n_tokens, 100], f32[n_tokens, 4]\n"
    "  %5 = linear_scaled %3, @b.weight, %4, @b.bias {group = 32} : f32[n_tokens, 41]\n"
    "  %6 = silu %5 : f32[n_tokens, 41]\n"
    "  %7, %8 = encode_activation %z {mantissa_bits = 7, group = 32, floor = 1e-30} : "
    "i8[n_tokens, 384], f32[n_tokens, 12]\n"
    "  %9 = linear_scaled %7, @c.weight, %8 {group = 32} : f32[n_tokens, 64]\n"
    "  %10 = cast %y : bf16[n_tokens, 100]\n"
    "  %11 = linear %10, @d.weight, @b.bias : f32[n_tokens, 41]\n"
    "  %12 = silu %11 : f32[n_tokens, 41]\n"
    "  %13 = slice %x {begin = 0, end = 3} : f32[n_tokens, 3]\n"
    "  %14, %15 = route_experts %13 {k = 2} : i32[n_tokens, 2], f32[n_tokens, 2]\n"
    "  %16 = linear_scaled_experts %0, @e.weight, %14, %1 {group = 32} : f32[n_tokens, 80]\n"
    "  return %2, %6, %9, %16, %12, %15\n}\n";
static const int64_t columns[] = {320, 100, 384};
enum { N_ARGS = 3, N_RESULTS = 6, N_PRODUCTS = 5, N_BYTE_PRODUCTS = 4 };
static const char tiles_rows[] = "_panel16__x86_amx"; // how the names of rows with tiles end

static const kernel_row *find_row(const char *name) {
    size_t n_rows = 0;
    const kernel_row *rows = codegen_kernel_table(&n_rows);
    for (size_t i = 0; i < n_rows; i++) {
        if (strcmp(rows[i].name, name) == 0) return &rows[i];
    }
    fail_msg("no kernel '%s'", name);
    return NULL;
}

typedef struct built {
    ir_module *module;
    const char *path, *assembly;
} built;

// Compiled for a target with `more` features than its name says, with its own choice of kernels or `only` this one.
static built build(test_folder *f, const char *target_name, const char *more, const char *only) {
    built b = {.module = compile_parse(text, f->keep)};
    const char *dump = mlcc_arena_printf(f->keep, "%s/%s%s", f->path, target_name, more);
    b.path = mlcc_arena_printf(f->keep, "%s.so", dump);
    const codegen_options options = {
        .target = target_name, .metadata_json = "{\"test\": true}", .debug_dump = dump};
    compile_target target = {.only = only != NULL ? find_row(only) : NULL};
    assert_ok(codegen_open(&options, f->keep, &target.codegen));
    // No name stands for this machine with tiles beside what it has.
    const codegen_cpu *found = codegen_cpu_of(target.codegen);
    codegen_cpu *cpu;
    memcpy(&cpu, &found, sizeof cpu);
    cpu->features = mlcc_arena_printf(f->keep, "%s%s", cpu->features, more);
    compile_plan(b.module, &target, NULL);
    assert_ok(codegen_generate(target.codegen, b.module, b.path));
    codegen_close(target.codegen);
    char *assembly = NULL;
    size_t n_bytes = 0;
    assert_ok(mlcc_file_read(mlcc_path_join(f->keep, dump, "lib.s"), 0, &assembly, &n_bytes));
    b.assembly = mlcc_arena_strdup(f->keep, assembly);
    free(assembly);
    return b;
}

static int count(const char *haystack, const char *needle) {
    int n = 0;
    for (const char *at = haystack; (at = strstr(at, needle)) != NULL; at += strlen(needle)) n++;
    return n;
}

// ---- where tiles are ----------------------------------------------------------------------------------

static bool uses_tiles(const char *line) {
    static const char *const words[] = {"\ttdp", "\ttile", "tilecfg", "%tmm"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strstr(line, words[i]) != NULL) return true;
    }
    return false;
}

// Lines that use tiles; all of them must belong to functions of the kernel.
static int tile_lines(mlcc_arena *keep, const char *assembly) {
    char *copy = mlcc_arena_strdup(keep, assembly), *state = NULL;
    const char *function = "";
    int n = 0;
    for (char *line = strtok_r(copy, "\n", &state); line != NULL;
         line = strtok_r(NULL, "\n", &state)) {
        if (*line != '\t' && *line != '.' && *line != '#' && strchr(line, ':') != NULL)
            function = line;
        if (!uses_tiles(line)) continue;
        n++;
        if (strstr(function, tiles_rows) == NULL) fail_msg("%s in %s", line, function);
    }
    return n;
}

static void test_where_tiles_are(void **state) {
    test_folder *f = *state;
    const built b = build(f, "sapphirerapids", "", NULL);
    assert_true(tile_lines(f->keep, b.assembly) > 0);
    assert_true(count(b.assembly, "\ttdpbssd") > 0 && count(b.assembly, "\ttdpbsud") > 0);
    assert_true(count(b.assembly, "\ttdpbf16ps") > 0);
    // A function for each product configures tiles and releases them.
    assert_true(count(b.assembly, "\tldtilecfg") >= N_PRODUCTS);
    assert_true(count(b.assembly, "\ttilerelease") >= N_PRODUCTS);
    int n_launches = 0;
    for (const ir_node *node = ir_module_find(b.module, "forward")->first; node != NULL;
         node = node->next) {
        if (node->op == IR_OP_LAUNCH)
            n_launches += mlcc_text_ends_with(ir_attr_text(node, "kernel"), tiles_rows);
    }
    assert_int_equal(n_launches, N_PRODUCTS);
    static const char *const without[] = {"x86-64-v4", "icelake-server", "znver4"};
    for (size_t i = 0; i < sizeof without / sizeof without[0]; i++)
        assert_int_equal(tile_lines(f->keep, build(f, without[i], "", NULL).assembly), 0);
}

// ---- what the code computes ---------------------------------------------------------------------------

static void run(
    const model_library *library, const ir_function *forward, ir_tensor **args, int32_t threads,
    mlcc_arena *keep, ir_tensor **results, const char *what) {
    model_library_run(library, forward, args, threads, keep, results);
    if (tile_threads_configured() != 0) fail_msg("%s: tiles stay configured", what);
}

static void test_emulated(void **state) {
    test_folder *f = *state;
    if (!compile_can_run("cascadelake")) {
        print_message("this machine lacks AVX-512 with VNNI: skipped\n");
        skip();
    }
    const built tiles = build(f, "native", ",amx-bf16,amx-int8,amx-tile", NULL);
    const bool has_tiles = compile_can_run("sapphirerapids"); // nothing is emulated then
    const built vnni = build(f, "native", "", "linear_scaled_panel16__x86_avx512vnni");
    model_weights *weights = model_weights_make(tiles.module, NULL, f->keep);
    const ir_function *forward = ir_module_find(tiles.module, "forward");
    model_library *libraries[] = {
        model_library_open(tiles.path, weights, f->keep),
        model_library_open(vnni.path, weights, f->keep)};
    static const int64_t rows[] = {1, 8, 9, 16, 17, 45, 200};
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        mlcc_arena *keep = mlcc_arena_create();
        ir_tensor *args[N_ARGS], *expected[N_RESULTS], *one[N_RESULTS], *three[N_RESULTS],
            *other[N_RESULTS];
        for (int i = 0; i < N_ARGS; i++)
            args[i] = random_matrix(IR_F32, rows[r], columns[i], 2, (uint64_t)i + r * 7, keep);
        ir_eval_options options = {.param = model_weights_eval, .user = weights};
        assert_ok(ir_eval_function(forward, args, &options, keep, expected));
        tile_trap_install();
        const long before = tile_products(0) + tile_products(1), pairs = tile_products(2);
        run(libraries[0], forward, args, 1, keep, one, "one thread");
        run(libraries[0], forward, args, 3, keep, three, "three threads");
        const long products = tile_products(0) + tile_products(1) - before;
        tile_trap_remove();
        model_library_run(
            libraries[1], ir_module_find(vnni.module, "forward"), args, 2, keep, other);
        print_message("  M = %d: %ld products of tiles\n", (int)rows[r], products);
        if (!has_tiles) {
            assert_int_equal(products > 0, rows[r] > 8);
            assert_true(tile_products(2) > pairs);
        }
        for (int i = 0; i < N_PRODUCTS; i++) {
            assert_tensors_near(one[i], expected[i], 1e-5, 1e-5, "tiles");
            assert_tensors_near(three[i], one[i], 0, 0, "threads change no bit");
            if (i < N_BYTE_PRODUCTS)
                assert_tensors_near(other[i], one[i], 0, 0, "the bits of VNNI");
        }
        mlcc_arena_free(keep);
    }
    model_library_close(libraries[0]);
    model_library_close(libraries[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_where_tiles_are, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_emulated, test_folder_set_up, test_folder_tear_down)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
