// Linking: what lib.so shows and needs, which linker is called, and that a failure leaves nothing behind.
#include "codegen/link.h"
#include "codegen/object.h"
#include "tests/support/compile_module.h"

#include <elf.h>
#include <sys/stat.h>

static int set_up(void **state) {
    unsetenv("MLCC_LINKER");
    return test_folder_set_up(state);
}

static int tear_down(void **state) {
    unsetenv("MLCC_LINKER");
    return test_folder_tear_down(state);
}

static const char text[] = "module @m level=graph\nsymbol n_tokens <= 8\nparam @w.weight : "
                           "q4g32_f16[40, 64]\nparam @g.weight : f16[64]\n"
                           "func @forward(%x: f32[n_tokens, 64]) {\n"
                           "  %0 = rms_norm %x, @g.weight : f32[n_tokens, 64]\n  %1 = linear %0, "
                           "@w.weight : f32[n_tokens, 40]\n"
                           "  %2 = gelu %1 : f32[n_tokens, 40]\n  return %2\n}\n";

// Names in the dynamic symbol table, and how many libraries the file needs.
typedef struct dynamic_view {
    mlcc_str defined, undefined;
    int n_needed;
    bool has_build_id;
} dynamic_view;

static dynamic_view read_dynamic(const char *path) {
    dynamic_view view = {0};
    mlcc_mapping file = {0};
    assert_ok(mlcc_file_map(path, &file));
    const char *data = file.data;
    Elf64_Ehdr header;
    memcpy(&header, data, sizeof header);
    assert_int_equal(header.e_type, ET_DYN);
    Elf64_Shdr *sections = calloc(header.e_shnum, sizeof *sections);
    memcpy(sections, data + header.e_shoff, header.e_shnum * sizeof *sections);
    for (size_t i = 0; i < header.e_shnum; i++) {
        const Elf64_Shdr *section = &sections[i];
        for (uint64_t at = 0; section->sh_type == SHT_DYNAMIC && at < section->sh_size;
             at += sizeof(Elf64_Dyn)) {
            Elf64_Dyn entry;
            memcpy(&entry, data + section->sh_offset + at, sizeof entry);
            view.n_needed += entry.d_tag == DT_NEEDED;
        }
        for (uint64_t at = sizeof(Elf64_Sym);
             section->sh_type == SHT_DYNSYM && at < section->sh_size; at += sizeof(Elf64_Sym)) {
            Elf64_Sym symbol;
            memcpy(&symbol, data + section->sh_offset + at, sizeof symbol);
            const char *name = data + sections[section->sh_link].sh_offset + symbol.st_name;
            mlcc_str_printf(
                symbol.st_shndx == SHN_UNDEF ? &view.undefined : &view.defined, "%s ", name);
        }
        view.has_build_id = view.has_build_id || section->sh_type == SHT_NOTE;
    }
    free(sections);
    mlcc_file_unmap(&file);
    return view;
}

static void check_library(test_folder *f, const char *target) {
    char *path =
        compile_module(compile_parse(text, f->keep), target, NULL, f->path, "lib.so", f->keep);
    dynamic_view view = read_dynamic(path);
    assert_string_equal(mlcc_str_text(&view.defined), "mlcc_model_query ");
    assert_string_equal(mlcc_str_text(&view.undefined), "");
    assert_int_equal(view.n_needed, 0);
    assert_false(view.has_build_id);
    mlcc_str_free(&view.defined);
    mlcc_str_free(&view.undefined);
}

// The levels' tables, which the first object takes from the others, stay inside.
static void check_levels(test_folder *f) {
    static const char *const names[] = {"x86-64-v2", "x86-64-v3"};
    codegen_level levels[2];
    for (size_t i = 0; i < 2; i++) {
        const codegen_options options = {.target = names[i]};
        compile_target target = {0};
        assert_ok(codegen_open(&options, f->keep, &target.codegen));
        ir_module *module = compile_parse(text, f->keep);
        compile_plan(module, &target, NULL);
        levels[i] = (codegen_level){target.codegen, module};
    }
    const char *path = mlcc_path_join(f->keep, f->path, "levels.so");
    assert_ok(codegen_generate_levels(levels, 2, path));
    dynamic_view view = read_dynamic(path);
    assert_non_null(strstr(mlcc_str_text(&view.defined), "mlcc_model_query "));
    assert_non_null(strstr(mlcc_str_text(&view.defined), "mlcc_model_levels "));
    assert_int_equal(view.defined.length, strlen("mlcc_model_query mlcc_model_levels "));
    assert_string_equal(mlcc_str_text(&view.undefined), "");
    assert_int_equal(view.n_needed, 0);
    mlcc_str_free(&view.defined);
    mlcc_str_free(&view.undefined);
}

static void test_exports(void **state) {
    check_levels(*state);
    check_library(*state, "x86-64-v2");
    check_library(*state, "x86-64-v4");
    check_library(*state, "aarch64");
}

static mlcc_status *generate(
    test_folder *f, const char *linker, const char *dump, const char *path) {
    codegen_options options = {.target = "x86-64-v2", .linker = linker, .debug_dump = dump};
    compile_target target = {0};
    assert_ok(codegen_open(&options, f->keep, &target.codegen));
    ir_module *module = compile_parse(text, f->keep);
    compile_plan(module, &target, NULL);
    return codegen_generate(target.codegen, module, path);
}

static void expect_empty(test_folder *f, const char *folder) {
    char **names = NULL;
    size_t n_names = 0;
    assert_ok(mlcc_dir_list(folder, f->keep, &names, &n_names));
    for (size_t i = 0; i < n_names; i++) print_error("left behind: %s\n", names[i]);
    assert_int_equal(n_names, 0);
}

static void write_script(test_folder *f, const char *name, const char *script) {
    const char *path = mlcc_path_join(f->keep, f->path, name);
    assert_ok(mlcc_file_write_atomic(path, script, strlen(script)));
    assert_int_equal(chmod(path, 0700), 0);
}

static void test_linkers(void **state) {
    test_folder *f = *state;
    const char *out = mlcc_path_join(f->keep, f->path, "out");
    assert_ok(mlcc_dir_make(out));
    const char *path = mlcc_path_join(f->keep, out, "lib.so");

    assert_error(
        generate(f, "/nowhere/ld", NULL, path), MLCC_IO, "cannot start linker '/nowhere/ld'");
    expect_empty(f, out);

    write_script(f, "angry", "#!/bin/sh\necho 'cannot do this' >&2\nexit 3\n");
    const char *angry = mlcc_path_join(f->keep, f->path, "angry");
    assert_error(
        generate(f, angry, NULL, path), MLCC_INTERNAL, "failed with status 3: cannot do this");
    expect_empty(f, out);

    // More than a pipe holds: the linker must not block.
    write_script(f, "chatty", "#!/bin/sh\nyes 'much to say' | head -n 20000 >&2\nexit 1\n");
    assert_error(
        generate(f, mlcc_path_join(f->keep, f->path, "chatty"), NULL, path), MLCC_INTERNAL,
        "much to say");
    expect_empty(f, out);

    write_script(f, "killed", "#!/bin/sh\nkill -9 $$\n");
    assert_error(
        generate(f, mlcc_path_join(f->keep, f->path, "killed"), NULL, path), MLCC_INTERNAL,
        "ended by signal 9");

    setenv("MLCC_LINKER", angry, 1);
    assert_error(generate(f, NULL, NULL, path), MLCC_INTERNAL, "cannot do this");
    unsetenv("MLCC_LINKER");
    assert_ok(generate(f, NULL, NULL, path));
    assert_true(mlcc_file_exists(path));
}

static void test_bad_output(void **state) {
    test_folder *f = *state;
    write_script(f, "file", "x");
    const char *below_a_file = mlcc_path_join(f->keep, f->path, "file/lib.so");
    mlcc_status *status = generate(f, NULL, NULL, below_a_file);
    assert_int_equal(mlcc_status_code(status), MLCC_IO);
    mlcc_status_free(status);
}

static void test_dump(void **state) {
    test_folder *f = *state;
    const char *dump = mlcc_path_join(f->keep, f->path, "dump/deep");
    assert_ok(generate(f, NULL, dump, mlcc_path_join(f->keep, f->path, "lib.so")));
    static const char *const names[] = {"plan.mlcir", "linked.ll", "optimised.ll",
                                        "lib.s",      "lib.o",     "report.txt"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_true(mlcc_file_exists(mlcc_path_join(f->keep, dump, names[i])));
    }
    char *report = NULL;
    size_t n = 0;
    assert_ok(mlcc_file_read(mlcc_path_join(f->keep, dump, "report.txt"), 0, &report, &n));
    assert_non_null(strstr(report, "linear_panel16__portable"));
    assert_non_null(strstr(report, "linear + gelu"));
    assert_non_null(strstr(report, "w.weight"));
    free(report);
}

static void test_object_check(void **state) {
    test_folder *f = *state;
    const char *dump = mlcc_path_join(f->keep, f->path, "dump");
    assert_ok(generate(f, NULL, dump, mlcc_path_join(f->keep, f->path, "lib.so")));
    char *object = NULL;
    size_t n = 0;
    assert_ok(mlcc_file_read(mlcc_path_join(f->keep, dump, "lib.o"), 0, &object, &n));
    assert_ok(codegen_object_check(object, n));
    assert_error(codegen_object_check("no", 2), MLCC_INTERNAL, "no ELF file");
    assert_error(codegen_object_check(object, n / 2), MLCC_INTERNAL, "damaged section table");
    // The exported name becomes another.
    for (size_t i = 0; i + 16 < n; i++) {
        if (memcmp(object + i, "mlcc_model_query", 16) == 0) object[i + 5] = 'M';
    }
    assert_error(
        codegen_object_check(object, n), MLCC_INTERNAL,
        "exports more than mlcc_model_query: mlcc_Model_query");
    free(object);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_exports, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_linkers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bad_output, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_dump, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_object_check, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
