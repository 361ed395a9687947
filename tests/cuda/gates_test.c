// What the compiled kernels look like, without a GPU: every kernel row, as real models use it, through NVRTC, and the cubins are read. No spills, no
// stack frame, no local memory; registers and instructions of the inner loop within the budgets of the row. Skipped where NVRTC is absent.
#include "codegen/cuda/cubin.h"
#include "codegen/cuda/cuda_target.h"
#include "codegen/cuda/emit_cuda.h"
#include "tests/support/cuda_group.h"
#include "tests/support/import_preset.h"
#include "tests/support/random_module.h"

#include <ctype.h>

// Opcodes are known from sm_80 to sm_90; registers and frames are read everywhere.
enum { FIRST_WAITING_ARCH = 90, FIRST_UNKNOWN_ARCH = 100 };

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

// Bytes of a thread that may be spilled. Block fp8 keeps a scale for every output in a register, and on sm_120 four registers too many; elsewhere nothing
// is spilled.
static int allowed_spill(const cuda_entry *entry, const cubin *code, const char *where) {
    const bool is_known = code->arch >= 120 && strstr(where, "e4m3b128") != NULL &&
                          strcmp(entry->symbol, "linear_experts_many") == 0;
    return is_known ? 24 : 0;
}

static void gate_entry(
    ir_op op, const cuda_entry *entry, const cubin *code, const cuda_image *image,
    const char *where) {
    const cubin_kernel *kernel = cubin_find(code, entry->symbol);
    cuda_usage usage;
    if (kernel == NULL) fail_msg("%s: no entry '%s' in the cubin", where, entry->symbol);
    if (!cuda_log_usage(image->log, entry->symbol, &usage)) {
        fail_msg("%s: the log does not mention '%s'", where, entry->symbol);
    }
    assert_int_equal(kernel->registers, usage.registers);
    assert_int_equal(kernel->frame_bytes, usage.stack_bytes);
    const int allowed = allowed_spill(entry, code, where);
    if (usage.spill_store_bytes > allowed || usage.spill_load_bytes > allowed ||
        kernel->frame_bytes > allowed) {
        fail_msg(
            "%s, %s: %d bytes of stack, %d bytes of spill stores, %d of loads", where,
            entry->symbol, kernel->frame_bytes, usage.spill_store_bytes, usage.spill_load_bytes);
    }
    if (entry->max_registers > 0 && kernel->registers > entry->max_registers) {
        fail_msg(
            "%s, %s: %d registers, allowed are %d", where, entry->symbol, kernel->registers,
            entry->max_registers);
    }
    if (code->arch >= FIRST_WAITING_ARCH && kernel->counts.n_grid_waits == 0) {
        fail_msg("%s, %s: no grid_wait() on its way", where, entry->symbol);
    }
    // What is bound by the bytes of weights asks for some of them first.
    const bool is_few = entry->max_rows > 0 && entry->max_rows <= CUDA_FEW_ROWS;
    const bool is_linear = op == IR_OP_LINEAR || op == IR_OP_LINEAR_SCALED || op == CUDA_CHAIN_OP;
    if (code->arch >= FIRST_WAITING_ARCH && is_linear && is_few && kernel->n_early_loads == 0) {
        fail_msg("%s, %s: no weights are loaded before grid_wait()", where, entry->symbol);
    }
    if (code->arch >= FIRST_UNKNOWN_ARCH) return;
    if (kernel->counts.n_local != 0) {
        fail_msg("%s, %s: %d local accesses", where, entry->symbol, kernel->counts.n_local);
    }
    if (entry->max_issue_per_unit == 0) return;
    const cubin_unit unit = is_few ? CUBIN_WIDE_LOADS : CUBIN_MATRIX;
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

static bool fits(
    const gates *g, const cuda_kernel_row *row, const cuda_arch *arch,
    const codegen_instance *instance) {
    if (cuda_row_refusal(g->nvrtc, row, arch, g->keep) != NULL) return false;
    return row->refuses == NULL || row->refuses(instance->group) == NULL;
}

// The architectures among `archs` for which the row is the variant of the instance: no later row fits.
static void give_archs(
    const gates *g, cuda_unit *unit, const cuda_kernel_row *row, const codegen_instance *instance,
    const cuda_arch *archs, size_t n_archs, mlcc_arena *keep) {
    size_t n_rows = 0;
    const cuda_kernel_row *end = cuda_kernel_table(&n_rows) + n_rows;
    unit->archs = MLCC_NEW_ARRAY(keep, const cuda_arch *, n_archs + 1);
    for (size_t a = 0; a < n_archs; a++) {
        bool is_variant = fits(g, row, &archs[a], instance);
        for (const cuda_kernel_row *later = row + 1; later < end && is_variant; later++) {
            is_variant = later->op != row->op || !fits(g, later, &archs[a], instance);
        }
        if (is_variant) unit->archs[unit->n_archs++] = &archs[a];
    }
}

// Every row that can compile an instance is a variant of it. Compiles those that are new, or all with `every`, and looks into them.
static void gate_artifact(
    gates *g, const codegen_artifact *artifact, const cuda_arch *archs, size_t n_archs,
    const char *what, bool every) {
    mlcc_arena *keep = mlcc_arena_create();
    const size_t n = (size_t)artifact->n_instances;
    size_t n_rows = 0, n_units = 0;
    const cuda_kernel_row *table = cuda_kernel_table(&n_rows);
    cuda_unit *units = MLCC_NEW_ARRAY(keep, cuda_unit, n * n_rows + 1);
    const cuda_kernel_row **rows = MLCC_NEW_ARRAY(keep, const cuda_kernel_row *, n *n_rows + 1);
    for (size_t i = 0; i < n * n_rows; i++) {
        const codegen_instance *instance = &artifact->instances[i / n_rows];
        const cuda_kernel_row *row = &table[i % n_rows],
                              *planned = cuda_kernel_find(instance->kernel);
        assert_non_null(planned);
        if (row < planned || row->op != planned->op) continue;
        if (row != planned && row->refuses != NULL && row->refuses(instance->group) != NULL)
            continue;
        if (!every && g->was_gated[row - table]) continue;
        g->was_gated[row - table] = true;
        mlcc_str source = {0}, again = {0};
        assert_ok(emit_cuda_source(instance, row, &source));
        assert_ok(emit_cuda_source(instance, row, &again));
        assert_string_equal(mlcc_str_text(&source), mlcc_str_text(&again));
        rows[n_units] = row;
        units[n_units] = (cuda_unit){.name = row->name,
                                     .source = mlcc_arena_strdup(keep, mlcc_str_text(&source))};
        give_archs(g, &units[n_units++], row, instance, archs, n_archs, keep);
        mlcc_str_free(&source);
        mlcc_str_free(&again);
    }
    const cuda_compile_options options = {.cache_directory = mlcc_path_cache(keep)};
    assert_ok(cuda_compile(g->nvrtc, &options, units, n_units, keep));
    for (size_t u = 0; u < n_units; u++) {
        for (size_t a = 0; a < units[u].n_archs; a++) {
            const cuda_image *image = &units[u].images[a];
            const char *where =
                mlcc_arena_printf(keep, "%s, %s for %s", what, rows[u]->name, image->arch->text);
            cubin *code = NULL;
            assert_ok(cubin_read(image->data, image->size_bytes, keep, &code));
            assert_int_equal(code->arch, image->arch->number);
            for (int32_t i = 0; i < rows[u]->n_entries; i++) {
                gate_entry(rows[u]->op, &rows[u]->entries[i], code, image, where);
            }
        }
    }
    mlcc_arena_free(keep);
}

// ---- real models --------------------------------------------------------------------------------------

static const codegen_artifact *plan_model(
    const char *preset, const char *mode_name, mlcc_arena *keep) {
    cuda_subject subject = {.keep = keep};
    const quant_mode *mode = NULL;
    assert_ok(import_preset(preset, mode_name, keep, &mode, &subject.module));
    cuda_subject_plan(&subject, mode);
    return subject.artifact;
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

static void gate_text(gates *g, const char *text, const char *what, bool every) {
    cuda_subject subject = cuda_subject_write(text, NULL, "");
    gate_artifact(g, subject.artifact, g->archs, g->n_archs, what, every);
    cuda_subject_close(&subject);
}

// What the model of the modes does not have.
static const struct {
    const char *what, *text;
} other_modules[] = {
    {"rounded rows that are no linear's",
     "module @m level=graph\nsymbol n_tokens <= 64\nfunc @forward(%x: f16[n_tokens, 2048]) {\n"
     "  %0 = quantize_activation %x : f16[n_tokens, 2048]\n  return %0\n}\n"},
    {"layer norm",
     "module @m level=graph\nsymbol n_tokens <= 64\nparam @g : f32[2048]\nparam @b : f32[2048]\n"
     "func @forward(%x: f16[n_tokens, 2048]) {\n"
     "  %0 = layer_norm %x, @g, @b : f16[n_tokens, 2048]\n  return %0\n}\n"},
    {"experts of any dtype",
     "module @m level=graph\nsymbol n_tokens <= 64\nparam @w.weight : q4g32_f16[8, 512, 1024]\n"
     "func @forward(%x: f32[n_tokens, 1024], %e: i32[n_tokens, 2]) {\n"
     "  %0 = linear_experts %x, @w.weight, %e : f32[n_tokens, 1024]\n  return %0\n}\n"},
    {"experts",
     "module @m level=graph\nsymbol n_tokens <= 64\nparam @w.weight : q4g32_f16[8, 512, 1024]\n"
     "func @forward(%x: f16[n_tokens, 1024], %l: f32[n_tokens, 8]) {\n"
     "  %0, %1 = route_experts %l {k = 2} : i32[n_tokens, 2], f32[n_tokens, 2]\n"
     "  %2 = linear_experts %x, @w.weight, %0 : f16[n_tokens, 1024]\n"
     "  %3 = combine_experts %2, %1 : f16[n_tokens, 512]\n  return %3\n}\n"},
    {"attention of whole sequences",
     "module @m level=graph\nsymbol n_tokens <= 512\n"
     "func @forward(%q: f16[n_tokens, 2304], %s: i32[n_tokens, 2]) {\n"
     "  %0 = slice %q {begin = 0, end = 768} : f16[n_tokens, 768]\n"
     "  %1 = slice %q {begin = 768, end = 1536} : f16[n_tokens, 768]\n"
     "  %2 = slice %q {begin = 1536, end = 2304} : f16[n_tokens, 768]\n"
     "  %3 = segment_attention %0, %1, %2, %s {head_dim = 64} : f16[n_tokens, 768]\n"
     "  return %3\n}\n"},
    {"latent attention",
     "module @m level=graph\nsymbol n_tokens <= 64\nsymbol n_seqs <= 4\nsymbol n_pages <= 64\n"
     "symbol n_page_slots <= 16\nparam @w : f16[16, 512, 128]\n"
     "func @forward(%x: f16[n_tokens, 2048], %r: f16[n_tokens, 1024], %l: f16[n_tokens, 512], "
     "%k: f16[n_tokens, 64], %cache: f16[n_pages, 16, 576], %pt: i32[n_seqs, n_page_slots], "
     "%seq: i32[n_tokens], %pos: i32[n_tokens]) {\n"
     "  %c = latent_append %cache, %l, %k, %pt, %seq, %pos : f16[n_pages, 16, 576]\n"
     "  %q = linear_heads %x, @w : f16[n_tokens, 8192]\n"
     "  %0 = latent_attention %q, %r, %c, %pt, %seq, %pos {rank = 512} : f16[n_tokens, 8192]\n"
     "  return %0, %c\n}\n"},
};

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
    for (size_t i = 0; i < sizeof other_modules / sizeof other_modules[0]; i++)
        gate_text(g, other_modules[i].text, other_modules[i].what, false);
    for (size_t i = 0; i < n_rows; i++) {
        if (!g->was_gated[i]) fail_msg("no module of this test uses '%s'", rows[i].name);
    }
}

// Every variant of a linear of codes, with and without scales along K.
static void fp8_linears(void **state) {
    static const struct {
        const char *weight, *codes;
        int group;
    } cases[] = {{"e4m3_f32", "f8e4m3", 0}, {"e4m3b128_f32", "f8e4m3", 128}, {"e5m2", "f8e5m2", 0}};
    gates *g = *state;
    if (g->nvrtc == NULL) skip();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[1024];
        snprintf(
            text, sizeof text,
            "module @m level=graph\nsymbol n_tokens <= 2048\nparam @w.weight : %s[2048, 4096]\n"
            "func @forward(%%x: %s[n_tokens, 4096], %%s: f32[n_tokens, %d]) {\n"
            "  %%0 = linear_scaled %%x, @w.weight, %%s {group = %d} : f16[n_tokens, 2048]\n"
            "  return %%0\n}\n",
            cases[i].weight, cases[i].codes, cases[i].group == 0 ? 1 : 4096 / cases[i].group,
            cases[i].group);
        gate_text(g, text, cases[i].weight, true);
    }
}

// Experts in other formats than those of every_row. Of 3 bits no loop holds matrix instructions alone, which is what is counted.
static void experts(void **state) {
    static const struct {
        const char *weight, *x;
    } cases[] = {{"q8g32_f16", "f16"}, {"bf16", "bf16"}, {"e4m3b128_f32", "bf16"}};
    gates *g = *state;
    if (g->nvrtc == NULL) skip();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[1024];
        snprintf(
            text, sizeof text,
            "module @m level=graph\nsymbol n_tokens <= 2048\n"
            "param @w.weight : %s[8, 512, 1280]\nparam @w.bias : f16[8, 512]\n"
            "func @forward(%%x: %s[n_tokens, 2560], %%e: i32[n_tokens, 2]) {\n"
            "  %%0 = linear_experts %%x, @w.weight, %%e, @w.bias : %s[n_tokens, 1024]\n"
            "  return %%0\n}\n",
            cases[i].weight, cases[i].x, cases[i].x);
        gate_text(g, text, cases[i].weight, true);
    }
}

// ---- waiting for the launch before --------------------------------------------------------------------

// Without comments, so that words in them do not count.
static char *without_comments(const char *text, mlcc_arena *keep) {
    char *copy = mlcc_arena_strdup(keep, text);
    for (char *at = copy; (at = strstr(at, "//")) != NULL;) memset(at, ' ', strcspn(at, "\n"));
    return copy;
}

static bool is_word(char c) {
    return isalnum((unsigned char)c) || c == '_';
}

// Behind the bracket that belongs to the one at `open`; NULL: there is none.
static const char *behind_bracket(const char *open, char left, char right) {
    int depth = 0;
    for (const char *at = open; *at != '\0'; at++) {
        depth += (*at == left) - (*at == right);
        if (depth == 0) return at + 1;
    }
    return NULL;
}

// The body of a function that the text defines, from its brace to behind it; false for a call or a macro.
static bool find_body(const char *text, const char *name, const char **begin, const char **end) {
    const size_t length = strlen(name);
    for (const char *at = text; (at = strstr(at, name)) != NULL; at += length) {
        if (at[length] != '(' || (at > text && is_word(at[-1]))) continue;
        const char *brace = behind_bracket(at + length, '(', ')');
        if (brace == NULL) return false;
        brace += strspn(brace, " \n");
        if (*brace != '{') continue;
        *begin = brace;
        *end = behind_bracket(brace, '{', '}');
        return *end != NULL;
    }
    return false;
}

// Whether every thread of function `name` meets grid_wait(): itself, or in a function of the same text that it calls, and nothing returns before.
static bool waits(const char *text, const char *name, int depth) {
    const char *begin = NULL, *end = NULL;
    if (depth > 4 || !find_body(text, name, &begin, &end)) return false;
    for (const char *at = begin; at < end; at++) {
        if (!is_word(*at) || is_word(at[-1])) continue;
        char word[128];
        size_t length = 0;
        while (is_word(at[length])) length++;
        snprintf(word, sizeof word, "%.*s", (int)length, at);
        if (strcmp(word, "return") == 0) return false;
        if (at[length] != '(') continue;
        if (strcmp(word, "grid_wait") == 0 || waits(text, word, depth + 1)) return true;
    }
    return false;
}

static void every_entry_waits(void **state) {
    gates *g = *state;
    size_t n_rows = 0;
    const cuda_kernel_row *rows = cuda_kernel_table(&n_rows);
    for (size_t r = 0; r < n_rows; r++) {
        for (int32_t e = 0; e < rows[r].n_entries; e++) {
            const char *symbol = rows[r].entries[e].symbol;
            bool is_found = false;
            for (const char *file = rows[r].file; *file != '\0';) {
                const size_t length = strcspn(file, ",");
                const char *text =
                    cuda_source_find(mlcc_arena_printf(g->keep, "%.*s.cu", (int)length, file));
                is_found =
                    is_found || (text != NULL && waits(without_comments(text, g->keep), symbol, 0));
                file += length + (file[length] == ',');
            }
            if (!is_found) fail_msg("%s: '%s' may end without grid_wait()", rows[r].name, symbol);
        }
    }
    const char *early = "KERNEL void f(int x) {\n if (x) return;\n grid_wait();\n}\n"
                        "KERNEL void g(int x) { h(x); }\nDEVICE void h(int x) { grid_wait(); }\n"
                        "KERNEL void n(int x) { x++; }";
    assert_false(waits(early, "f", 0));
    assert_true(waits(early, "g", 0));
    assert_false(waits(early, "n", 0));
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
        cmocka_unit_test(real_models),       cmocka_unit_test(every_row),
        cmocka_unit_test(fp8_linears),       cmocka_unit_test(experts),
        cmocka_unit_test(every_entry_waits), cmocka_unit_test(broken_cubins),
    };
    return cmocka_run_group_tests(tests, open_gates, close_gates);
}
