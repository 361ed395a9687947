// cuda_bench: single kernels on a CUDA device in the shapes of real models, beside what the device can do: bytes of weights and caches against the
// measured copy bandwidth and the data sheet, operations against the data sheet. One JSON object; tests/bench/torch_kernels.py adds what PyTorch
// needs for the same shapes, tests/gpu/report.py prints the table.
//
// Weights are larger than the L2 cache, or there are so many copies that they are together; the copies run one after the other in one graph.
//
// usage: cuda_bench [--only linear|attention|norm] [--seconds N] [--quick] [--output FILE] [--compile I/N]
//   --seconds  cases that would begin later are left out and counted; default 150
//   --quick    tiny shapes, one run each: the program itself is tested
//   --compile  part I of N, from 0, of all kernels is compiled into the cache, and nothing is run: several of these at a time save time later
// Exit code 77: no device. MLCC_CUDA_DRIVER names another driver.
#include "dist/cli/run/ceiling.h"
#include "dist/cli/run/gpu_sheet.h"
#include "ir/ir.h"
#include "runtime/base/clock.h"
#include "runtime/base/file.h"
#include "runtime/base/json.h"
#include "tests/bench/cuda_bench_run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct shape {
    const char *model;
    int64_t d_model, d_ff, n_heads, n_kv_heads, head_dim, vocab;
} shape;

// clang-format off
static const shape models[] = {
    {"llama3_1_8b", 4096, 14336, 32, 8,  128, 128256},
    {"llama3_2_1b", 2048, 8192,  32, 8,  64,  128256},
    {"llama2_7b",   4096, 11008, 32, 32, 128, 32000},
};
static const shape quick_models[] = {{"quick", 128, 256, 4, 2, 64, 256}};

static const struct { const char *mode; ir_dtype weight; bool is_fp8; } modes[] = {
    {"q4f16_1",       IR_Q4G32_F16,  false},
    {"q4f16_autoawq", IR_U4G128_F16, false},
    {"q0f16",         IR_F16,        false},
    {"e4m3_e4m3_f16", IR_E4M3_F32,   true},
};
// clang-format on
enum { N_MODES = sizeof modes / sizeof modes[0], MAX_ROWS = 2048, MAX_COPIES = 64 };

typedef struct bench_row {
    const char *kind, *model, *what, *mode; // "linear", "llama3_1_8b", "gate_up", "q4f16_1"
    const char *kernels;
    int64_t tokens, n, k;                                  // linear: [tokens, k] times [n, k]
    int64_t batch, context, n_heads, n_kv_heads, head_dim; // attention
    double us, spread, bytes, flop;                        // of one copy
} bench_row;

typedef struct benching {
    bool is_quick;
    const char *only;             // NULL: all
    int part, n_parts, n_modules; // --compile; n_parts 0: not given
    double end_s;
    bench_device device;
    const gpu_sheet *sheet; // NULL: unknown
    ceiling copy;
    bench_ceilings ceilings;
    bench_row rows[MAX_ROWS];
    size_t n_rows, n_left_out;
    mlcc_arena *keep;
} benching;

static bool wants(const benching *b, const char *kind) {
    return b->only == NULL || strcmp(b->only, kind) == 0;
}

// So many that all together are three times the cache.
static int64_t count_copies(const benching *b, double bytes) {
    if (b->is_quick) return 2;
    const double cache_bytes = (b->sheet != NULL ? b->sheet->l2_mib : 64) * 1048576.0;
    const double n = ceil(3 * cache_bytes / bytes);
    return n<2 ? 2 : n>(double) MAX_COPIES ? MAX_COPIES : (int64_t)n;
}

static bool has_time(benching *b) {
    if (mlcc_clock_s() < b->end_s && b->n_rows < MAX_ROWS) return true;
    b->n_left_out++;
    return false;
}

// NULL when the module is not for the device, or only to be compiled.
static bench_module *open_or_say(benching *b, const char *text, const char *what) {
    const char *why = NULL;
    if (b->n_parts > 0) {
        if (b->n_modules++ % b->n_parts == b->part) bench_module_compile(text);
        return NULL;
    }
    bench_module *module = bench_module_open(text, &why);
    if (module == NULL) fprintf(stderr, "left out: %s: %s\n", what, why);
    return module;
}

static void time_row(benching *b, bench_module *module, int64_t n_copies, bench_row row) {
    bench_timing timing;
    bench_module_time(module, b->is_quick ? 0.0 : 10.0, &timing);
    row.us = timing.us / (double)n_copies;
    row.spread = timing.spread;
    row.kernels = mlcc_arena_strdup(b->keep, bench_module_kernels(module));
    b->rows[b->n_rows++] = row;
    fprintf(
        stderr, "%s %s %s %s, %lld tokens: %.2f us\n", row.kind, row.model, row.what, row.mode,
        (long long)row.tokens, row.us);
}

// ---- linear -------------------------------------------------------------------------------------------

static double weight_bytes(ir_dtype dtype, int64_t n, int64_t k) {
    const double values = (double)n * (double)k;
    switch (dtype) {
    case IR_Q4G32_F16: return values * (0.5 + 2.0 / 32);
    case IR_U4G128_F16: return values * (0.5 + 2.5 / 128);
    case IR_E4M3_F32: return values;
    default: return values * 2;
    }
}

static void write_linear(
    mlcc_str *out, ir_dtype weight, bool is_fp8, const bench_row *row, int64_t n_copies,
    int64_t max_tokens) {
    const char *type = ir_dtype_get(weight)->text;
    mlcc_str_printf(out, "module @m level=graph\nsymbol n_tokens <= %lld\n", (long long)max_tokens);
    for (int i = 0; i < n_copies; i++)
        mlcc_str_printf(
            out, "param @w%d.weight : %s[%lld, %lld]\n", i, type, (long long)row->n,
            (long long)row->k);
    mlcc_str_puts(out, "func @forward(");
    for (int i = 0; i < n_copies; i++)
        mlcc_str_printf(
            out, "%s%%x%d: f16[n_tokens, %lld]", i > 0 ? ", " : "", i, (long long)row->k);
    mlcc_str_puts(out, ") {\n");
    for (int i = 0; i < n_copies; i++) {
        if (is_fp8)
            mlcc_str_printf(
                out, "  %%q%d = quantize_activation %%x%d : f16[n_tokens, %lld]\n", i, i,
                (long long)row->k);
        mlcc_str_printf(
            out, "  %%y%d = linear %%%s%d, @w%d.weight : f16[n_tokens, %lld]\n", i,
            is_fp8 ? "q" : "x", i, i, (long long)row->n);
    }
    mlcc_str_puts(out, "  return ");
    for (int i = 0; i < n_copies; i++) mlcc_str_printf(out, "%s%%y%d", i > 0 ? ", " : "", i);
    mlcc_str_puts(out, "\n}\n");
}

static void bench_linear(benching *b, bench_row row, size_t mode) {
    static const int64_t all[] = {1, 4, 8, 16, 64, 128, 512, 2048}, few[] = {1, 4, 8, 16, 64};
    static const int64_t quick[] = {1, 9};
    // The head sees the last token of a prompt.
    const bool is_head = strcmp(row.what, "head") == 0;
    const int64_t *tokens = b->is_quick ? quick : is_head ? few : all;
    const size_t n = b->is_quick ? 2 : is_head ? 5 : 8;
    row.kind = "linear";
    row.mode = modes[mode].mode;
    const double stored_bytes = weight_bytes(modes[mode].weight, row.n, row.k);
    const int64_t n_copies = count_copies(b, stored_bytes);
    if (!has_time(b)) return;
    mlcc_str text = {0};
    write_linear(&text, modes[mode].weight, modes[mode].is_fp8, &row, n_copies, tokens[n - 1]);
    bench_module *module = open_or_say(b, mlcc_str_text(&text), row.mode);
    mlcc_str_free(&text);
    for (size_t i = 0; module != NULL && i < n; i++) {
        if (!has_time(b)) continue;
        row.tokens = tokens[i];
        row.bytes = stored_bytes + 2.0 * (double)(row.n + row.k) * (double)row.tokens;
        row.flop = 2.0 * (double)row.n * (double)row.k * (double)row.tokens;
        bench_module_set(module, "n_tokens", row.tokens);
        time_row(b, module, n_copies, row);
    }
    if (module != NULL) bench_module_close(module);
}

static void bench_linears(benching *b, const shape *s) {
    const int64_t heads = s->n_heads * s->head_dim, kv_heads = s->n_kv_heads * s->head_dim;
    const struct {
        const char *what;
        int64_t n, k;
    } parts[] = {
        {"gate_up", 2 * s->d_ff, s->d_model},
        {"down", s->d_model, s->d_ff},
        {"qkv", heads + 2 * kv_heads, s->d_model},
        {"o", s->d_model, heads},
        {"head", s->vocab, s->d_model}};
    for (size_t p = b->is_quick ? 3 : 0; p < (b->is_quick ? 4 : 5); p++) {
        for (size_t m = 0; m < N_MODES; m++) {
            const bench_row row = {
                .model = s->model, .what = parts[p].what, .n = parts[p].n, .k = parts[p].k};
            bench_linear(b, row, m);
        }
    }
}

// ---- attention ----------------------------------------------------------------------------------------

static void write_attention(mlcc_str *out, const bench_row *row, int64_t n_copies) {
    const long long slots = (row->context + 15) / 16, columns = row->n_heads * row->head_dim;
    mlcc_str_printf(
        out,
        "module @m level=graph\nsymbol n_tokens <= %lld\nsymbol n_seqs <= %lld\n"
        "symbol n_pages <= %lld\nsymbol n_page_slots <= %lld\nfunc @forward(",
        (long long)row->tokens, (long long)row->batch, slots * row->batch, slots);
    for (int i = 0; i < n_copies; i++)
        mlcc_str_printf(
            out, "%%q%d: f16[n_tokens, %lld], %%c%d: f16[n_pages, 2, %lld, 16, %lld], ", i, columns,
            i, (long long)row->n_kv_heads, (long long)row->head_dim);
    mlcc_str_puts(
        out, "%pages: i32[n_seqs, n_page_slots], %seq: i32[n_tokens], %pos: i32[n_tokens]) {\n");
    for (int i = 0; i < n_copies; i++)
        mlcc_str_printf(
            out,
            "  %%y%d = paged_attention %%q%d, %%c%d, %%pages, %%seq, %%pos {head_dim = %lld, scale "
            "= %.6f} : f16[n_tokens, %lld]\n",
            i, i, i, (long long)row->head_dim, 1.0 / sqrt((double)row->head_dim), columns);
    mlcc_str_puts(out, "  return ");
    for (int i = 0; i < n_copies; i++) mlcc_str_printf(out, "%s%%y%d", i > 0 ? ", " : "", i);
    mlcc_str_puts(out, "\n}\n");
}

// The last tokens of every sequence; pages in order.
static void give_positions(bench_module *module, const bench_row *row) {
    const int64_t slots = (row->context + 15) / 16, fresh = row->tokens / row->batch;
    const size_t n_pages = (size_t)(slots * row->batch), n_tokens = (size_t)row->tokens;
    int32_t *ints = calloc(n_pages + n_tokens, sizeof *ints);
    if (ints == NULL) abort();
    for (size_t i = 0; i < n_pages; i++) ints[i] = (int32_t)i;
    bench_module_give_ints(module, "pages", ints, n_pages);
    for (size_t i = 0; i < n_tokens; i++) ints[i] = (int32_t)((int64_t)i / fresh);
    bench_module_give_ints(module, "seq", ints, n_tokens);
    for (size_t i = 0; i < n_tokens; i++)
        ints[i] = (int32_t)(row->context - fresh + (int64_t)i % fresh);
    bench_module_give_ints(module, "pos", ints, n_tokens);
    free(ints);
}

static void bench_attention(
    benching *b, const shape *s, int64_t batch, int64_t context, bool is_prompt) {
    bench_row row = {
        .kind = "attention",
        .model = s->model,
        .what = is_prompt ? "prefill" : "decode",
        .mode = "f16",
        .tokens = is_prompt ? context : batch,
        .batch = batch,
        .context = context,
        .n_heads = s->n_heads,
        .n_kv_heads = s->n_kv_heads,
        .head_dim = s->head_dim};
    const double cache_bytes =
        4.0 * (double)(s->n_kv_heads * s->head_dim) * (double)(context * batch);
    const double pairs = (double)row.tokens * (double)context * (is_prompt ? 0.5 : 1.0);
    row.bytes = cache_bytes + 4.0 * (double)(s->n_heads * s->head_dim * row.tokens);
    row.flop = 4.0 * (double)(s->n_heads * s->head_dim) * pairs;
    if (!has_time(b)) return;
    const int64_t n_copies = count_copies(b, cache_bytes);
    mlcc_str text = {0};
    write_attention(&text, &row, n_copies);
    bench_module *module = open_or_say(b, mlcc_str_text(&text), row.what);
    mlcc_str_free(&text);
    if (module == NULL) return;
    give_positions(module, &row);
    time_row(b, module, n_copies, row);
    bench_module_close(module);
}

static void bench_attentions(benching *b, const shape *s) {
    static const int64_t batches[] = {1, 4, 8, 32}, contexts[] = {16, 2048, 8192};
    static const int64_t prompts[] = {128, 512, 2048};
    if (b->is_quick) {
        bench_attention(b, s, 2, 40, false);
        bench_attention(b, s, 1, 40, true);
        return;
    }
    for (int c = 0; c < 3; c++) {
        for (int i = 0; i < 4; i++) bench_attention(b, s, batches[i], contexts[c], false);
        bench_attention(b, s, 1, prompts[c], true);
    }
}

// ---- norm ---------------------------------------------------------------------------------------------

static void bench_norm(benching *b, const shape *s, int64_t tokens) {
    bench_row row = {
        .kind = "norm",
        .model = s->model,
        .what = "add, rms_norm",
        .mode = "f16",
        .tokens = tokens,
        .n = s->d_model};
    row.bytes = 8.0 * (double)(s->d_model * tokens); // two read, two written
    if (!has_time(b)) return;
    const int64_t n_copies = b->is_quick ? 2 : tokens > 1000 ? 8 : 32;
    mlcc_str text = {0};
    const long long d = s->d_model;
    mlcc_str_printf(
        &text,
        "module @m level=graph\nsymbol n_tokens <= %lld\nparam @g.weight : f16[%lld]\n"
        "func @forward(",
        (long long)tokens, d);
    for (int i = 0; i < n_copies; i++)
        mlcc_str_printf(
            &text, "%s%%x%d: f16[n_tokens, %lld], %%y%d: f16[n_tokens, %lld]", i > 0 ? ", " : "", i,
            d, i, d);
    mlcc_str_puts(&text, ") {\n");
    for (int i = 0; i < n_copies; i++)
        mlcc_str_printf(
            &text,
            "  %%s%d = add %%x%d, %%y%d : f16[n_tokens, %lld]\n"
            "  %%z%d = rms_norm %%s%d, @g.weight {eps = 1e-05} : f16[n_tokens, %lld]\n",
            i, i, i, d, i, i, d);
    mlcc_str_puts(&text, "  return ");
    for (int i = 0; i < n_copies; i++)
        mlcc_str_printf(&text, "%s%%s%d, %%z%d", i > 0 ? ", " : "", i, i);
    mlcc_str_puts(&text, "\n}\n");
    bench_module *module = open_or_say(b, mlcc_str_text(&text), row.what);
    mlcc_str_free(&text);
    if (module == NULL) return;
    time_row(b, module, n_copies, row);
    bench_module_close(module);
}

// ---- output -------------------------------------------------------------------------------------------

static void put_text(mlcc_json_writer *w, const char *key, const char *text) {
    mlcc_json_key(w, key);
    mlcc_json_put_text(w, text);
}

static void put_real(mlcc_json_writer *w, const char *key, double value) {
    mlcc_json_key(w, key);
    mlcc_json_put_f64(w, value);
}

static void put_row(mlcc_json_writer *w, const bench_row *row) {
    const struct {
        const char *key;
        int64_t value;
    } counts[] = {
        {"tokens", row->tokens},
        {"n", row->n},
        {"k", row->k},
        {"batch", row->batch},
        {"context", row->context},
        {"n_heads", row->n_heads},
        {"n_kv_heads", row->n_kv_heads},
        {"head_dim", row->head_dim}};
    mlcc_json_begin_object(w);
    put_text(w, "kind", row->kind);
    put_text(w, "model", row->model);
    put_text(w, "what", row->what);
    put_text(w, "mode", row->mode);
    put_text(w, "kernels", row->kernels);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        if (counts[i].value == 0) continue;
        mlcc_json_key(w, counts[i].key);
        mlcc_json_put_i64(w, counts[i].value);
    }
    put_real(w, "us", row->us);
    put_real(w, "spread", row->spread);
    put_real(w, "gb_per_s", row->bytes / row->us * 1e-3);
    put_real(w, "tflop_per_s", row->flop / row->us * 1e-6);
    mlcc_json_end(w);
}

static mlcc_status *write_output(const benching *b, const char *path) {
    mlcc_str out = {0};
    mlcc_json_writer w;
    mlcc_json_writer_init(&w, &out, 1, false);
    mlcc_json_begin_object(&w);
    put_text(&w, "device", b->device.name);
    mlcc_json_key(&w, "capability");
    mlcc_json_put_i64(&w, b->device.capability);
    put_real(&w, "copy_gb_per_s", b->copy.gb_per_s);
    put_real(&w, "read_gb_per_s", b->ceilings.read_gb_per_s);
    put_real(&w, "mma_tflop_per_s", b->ceilings.mma_tflop_per_s);
    put_real(&w, "sheet_gb_per_s", b->copy.sheet_gb_per_s);
    put_real(&w, "sheet_f16_tflop_per_s", b->sheet != NULL ? b->sheet->f16_tflop_per_s : 0.0);
    put_real(&w, "sheet_fp8_tflop_per_s", b->sheet != NULL ? b->sheet->fp8_tflop_per_s : 0.0);
    mlcc_json_key(&w, "left_out");
    mlcc_json_put_i64(&w, (int64_t)b->n_left_out);
    mlcc_json_key(&w, "rows");
    mlcc_json_begin_array(&w);
    for (size_t i = 0; i < b->n_rows; i++) put_row(&w, &b->rows[i]);
    mlcc_json_end(&w);
    mlcc_json_end(&w);
    mlcc_str_putc(&out, '\n');
    mlcc_status *status = NULL;
    if (path != NULL) {
        status = mlcc_file_write_atomic(path, mlcc_str_text(&out), out.length);
    } else {
        fputs(mlcc_str_text(&out), stdout);
    }
    mlcc_str_free(&out);
    return status;
}

// ---- the run ------------------------------------------------------------------------------------------

static void bench_all(benching *b) {
    static const int64_t norm_tokens[] = {1, 128, 2048};
    const shape *shapes = b->is_quick ? quick_models : models;
    const size_t n_shapes = b->is_quick ? 1 : sizeof models / sizeof models[0];
    for (size_t i = 0; i < n_shapes; i++) {
        if (wants(b, "attention") && i == 0) bench_attentions(b, &shapes[i]);
        if (wants(b, "linear")) bench_linears(b, &shapes[i]);
        if (wants(b, "attention") && i > 0) bench_attentions(b, &shapes[i]);
        for (int t = 0; wants(b, "norm") && t < (b->is_quick ? 1 : 3); t++)
            bench_norm(b, &shapes[i], norm_tokens[t]);
    }
}

static int usage(void) {
    fprintf(
        stderr, "usage: cuda_bench [--only linear|attention|norm] [--seconds N] [--quick] "
                "[--output FILE] [--compile I/N]\n");
    return 2;
}

int main(int argc, char **argv) {
    static benching b;
    const char *output = NULL, *why = NULL;
    double seconds = 150;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--quick") == 0) {
            b.is_quick = true;
            continue;
        }
        if (value == NULL) return usage();
        if (strcmp(argv[i], "--only") == 0) {
            b.only = value;
        } else if (strcmp(argv[i], "--seconds") == 0) {
            seconds = strtod(value, NULL);
        } else if (strcmp(argv[i], "--output") == 0) {
            output = value;
        } else if (strcmp(argv[i], "--compile") == 0) {
            if (sscanf(value, "%d/%d", &b.part, &b.n_parts) != 2 || b.n_parts < 1) return usage();
        } else {
            return usage();
        }
        i++;
    }
    if (!bench_device_get(&b.device, &why)) {
        fprintf(stderr, "skipped: %s\n", why);
        return 77;
    }
    b.keep = mlcc_arena_create();
    b.end_s = mlcc_clock_s() + seconds;
    b.sheet = gpu_sheet_find(b.device.name);
    if (b.n_parts > 0) {
        bench_all(&b);
        mlcc_arena_free(b.keep);
        return 0;
    }
    mlcc_status *status = ceiling_measure_cuda("cuda:0", b.device.name, &b.copy);
    if (status == NULL) {
        bench_ceilings_measure(b.is_quick, &b.ceilings);
        bench_all(&b);
        status = write_output(&b, output);
    }
    mlcc_arena_free(b.keep);
    if (status == NULL) return 0;
    char *text = mlcc_status_format(status, 1);
    fprintf(stderr, "%s", text);
    free(text);
    mlcc_status_free(status);
    return 1;
}
