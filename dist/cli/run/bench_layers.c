// A stretch is what runs between two waits of the library's threads: one launch, or some that do not depend on each other. The runtime notes when
// each ends, the metadata says what is in it. Stretches of the same kind in all layers are added up.
#include "dist/cli/run/bench_layers.h"

#include "dist/cli/run/roofline.h"
#include "runtime/base/arena.h"
#include "runtime/base/file.h"
#include "runtime/base/json.h"
#include "runtime/model/engine_trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CASES = 4, N_REPEATS = 9 };
#define LEAST_SHARE 0.005

// Stretches with the same label.
typedef struct layer {
    const char *label;
    double seconds, operations, bytes;
} layer;

typedef struct layers {
    const char *name; // "decode at 2048"
    layer *items;
    size_t n_items;
    double seconds; // all of them
} layers;

typedef struct reading {
    const benching *b;
    mlcc_arena *keep;
    const mlcc_json_value *kernels, *stretches, *attention; // of the metadata
    _Atomic uint64_t *ends_ns;                              // [n_stretches]
    double *stretch_s;                                      // [n_stretches]
    size_t n_stretches;
} reading;

// ---- what a launch is and does

// "model.layers.3.mlp.down_proj.weight" is "mlp.down_proj" in every layer.
static const char *label_of(const mlcc_json_value *kernel, mlcc_arena *keep) {
    const char *name = mlcc_json_text(mlcc_json_get(kernel, "weight"), NULL);
    if (name == NULL || *name == '\0') name = mlcc_json_text(mlcc_json_get(kernel, "group"), NULL);
    if (name == NULL) return "?";
    for (const char *dot = strchr(name, '.'); dot != NULL; dot = strchr(dot + 1, '.')) {
        const size_t digits = strspn(dot + 1, "0123456789");
        if (digits > 0 && dot[1 + digits] == '.') name = dot + digits + 2;
    }
    static const char suffix[] = ".weight";
    const size_t length = strlen(name), tail = strlen(suffix);
    const bool is_weight = length > tail && strcmp(name + length - tail, suffix) == 0;
    return mlcc_arena_printf(keep, "%.*s", (int)(is_weight ? length - tail : length), name);
}

static double number(const mlcc_json_value *object, const char *key) {
    return mlcc_json_number(mlcc_json_get(object, key));
}

// Adds what one launch of the kernel does for `n_tokens` tokens behind `depth` others.
static void add_work(
    const reading *r, const mlcc_json_value *kernel, int64_t n_tokens, int64_t depth, layer *out) {
    const double tokens = (double)n_tokens, before = (double)depth;
    out->operations +=
        tokens * number(kernel, "flop_per_token") + number(kernel, "flop_per_logits_row");
    out->bytes += number(kernel, "weight_bytes_per_step");
    const char *name = mlcc_json_text(mlcc_json_get(kernel, "kernel"), NULL);
    if (name == NULL || (!mlcc_text_starts_with(name, "paged_attention") &&
                         !mlcc_text_starts_with(name, "latent_attention")))
        return;
    // Every token looks at itself and all before it: a multiply-add for its score, one for its value. (Values of latents lack the columns that turn: up
    // to a tenth less.)
    const double width =
        number(r->attention, "num_attention_heads") * number(r->attention, "head_dim");
    out->operations += 4.0 * width * tokens * (before + (tokens + 1.0) / 2.0);
    const double n_layers = number(r->attention, "num_hidden_layers");
    out->bytes += (double)r->b->info.kv_bytes_per_token / n_layers * (before + tokens);
}

// ---- measuring

// A stretch's least time over some steps: what disturbs it only adds.
static void keep_least(reading *r, const mlcc_run_trace *trace) {
    uint64_t start_ns = trace->start_ns;
    for (size_t i = 0; i < r->n_stretches; i++) {
        const uint64_t end_ns = trace->ends_ns[i];
        const double stretch_s = (double)(end_ns - start_ns) * 1e-9;
        if (stretch_s < r->stretch_s[i]) r->stretch_s[i] = stretch_s;
        start_ns = end_ns;
    }
}

static mlcc_status *time_stretches(
    reading *r, const bench_case *c, mlcc_engine *engine, mlcc_run_trace *trace) {
    mlcc_batch_item items[MAX_BATCH];
    double seconds;
    MLCC_TRY(bench_start(r->b, c, engine, items));
    MLCC_TRY(bench_run_once(r->b, c, engine, items, &seconds));
    mlcc_engine_trace(engine, trace);
    for (size_t i = 0; i < r->n_stretches; i++) r->stretch_s[i] = 1e30;
    for (int repeat = 0; repeat < N_REPEATS; repeat++) {
        MLCC_TRY(bench_run_once(r->b, c, engine, items, &seconds));
        if (trace->n_ends != r->n_stretches)
            return MLCC_ERROR(
                MISMATCH,
                "the library's metadata lists %zu stretches of launches, %zu ran: compile the "
                "model again",
                r->n_stretches, trace->n_ends);
        keep_least(r, trace);
    }
    return NULL;
}

static layer *find_layer(layers *out, const char *label) {
    for (size_t i = 0; i < out->n_items; i++) {
        if (strcmp(out->items[i].label, label) == 0) return &out->items[i];
    }
    layer *added = &out->items[out->n_items++];
    *added = (layer){.label = label};
    return added;
}

static void add_up(const reading *r, const bench_case *c, layers *out) {
    const int64_t n_tokens = c->gen > 0 ? 1 : c->prompt;
    out->items = MLCC_NEW_ARRAY(r->keep, layer, r->n_stretches);
    for (size_t i = 0; i < r->n_stretches; i++) {
        const mlcc_json_value *indices = mlcc_json_at(r->stretches, i);
        const char *label = "";
        layer sum = {.seconds = r->stretch_s[i]};
        for (size_t j = 0; j < mlcc_json_count(indices); j++) {
            const int64_t index = mlcc_json_int(mlcc_json_at(indices, j));
            const mlcc_json_value *kernel = mlcc_json_at(r->kernels, (size_t)index);
            const char *own = label_of(kernel, r->keep);
            label = j == 0 ? own : mlcc_arena_printf(r->keep, "%s + %s", label, own);
            add_work(r, kernel, n_tokens, c->depth, &sum);
        }
        layer *found = find_layer(out, label);
        found->seconds += sum.seconds;
        found->operations += sum.operations;
        found->bytes += sum.bytes;
        out->seconds += sum.seconds;
    }
}

static mlcc_status *measure_case(reading *r, const bench_case *c, layers *out) {
    // One step is enough, and one sequence: the trace keeps one pass.
    const bench_case step = {
        .prompt = c->prompt, .gen = c->gen > 0 ? 1 : 0, .batch = 1, .depth = c->depth};
    const int64_t longest = step.gen > 0 ? step.depth + 1 : step.prompt;
    mlcc_engine *engine;
    mlcc_engine_options options = {.max_sequences = 1, .max_tokens = longest + 17};
    mlcc_run_trace trace = {.ends_ns = r->ends_ns, .capacity = r->n_stretches};
    out->name = step.gen == 0  ? mlcc_arena_printf(r->keep, "prefill %lld", (long long)step.prompt)
                : c->depth > 0 ? mlcc_arena_printf(r->keep, "decode at %lld", (long long)step.depth)
                               : "decode";
    MLCC_TRY(mlcc_engine_create(r->b->model, &options, &engine));
    mlcc_status *status = time_stretches(r, &step, engine, &trace);
    mlcc_engine_free(engine);
    if (status == NULL) add_up(r, &step, out);
    return status;
}

// ---- output

static void print_layers(const layers *l) {
    fprintf(
        stderr, "\n%s: %.3g ms, the least of %d steps for every part\n", l->name, l->seconds * 1e3,
        N_REPEATS);
    for (size_t i = 0; i < l->n_items; i++) {
        const layer *item = &l->items[i];
        fprintf(
            stderr, "  %5.1f %%  %9.3f ms  %7.2f GB/s  %8.1f GOP/s  %s\n",
            item->seconds / l->seconds * 100, item->seconds * 1e3,
            item->bytes / item->seconds * 1e-9, item->operations / item->seconds * 1e-9,
            item->label);
    }
}

static int by_rate(const void *a, const void *b) {
    const double left = ((const roofline_point *)a)->gop_per_s;
    const double right = ((const roofline_point *)b)->gop_per_s;
    return left > right ? -1 : left < right;
}

// Layers that multiply; the others have no place on either roof. Nor is there room for what takes no time.
static roofline_series to_series(const layers *l, mlcc_arena *keep) {
    roofline_point *points = MLCC_NEW_ARRAY(keep, roofline_point, l->n_items);
    roofline_series series = {.name = l->name, .points = points};
    for (size_t i = 0; i < l->n_items; i++) {
        const layer *item = &l->items[i];
        const double share = item->seconds / l->seconds;
        if (item->operations <= 0.0 || item->bytes <= 0.0 || share < LEAST_SHARE) continue;
        points[series.n_points++] = (roofline_point){
            .label = item->label,
            .operations_per_byte = item->operations / item->bytes,
            .gop_per_s = item->operations / item->seconds * 1e-9,
            .share = share,
        };
    }
    qsort(points, series.n_points, sizeof *points, by_rate);
    return series;
}

// One roof for each kind of arithmetic that the library may use.
static size_t list_roofs(const benching *b, roofline_roof *roofs) {
    size_t n = 0, last = n_ceiling_units;
    for (int kind = CEILING_F32; kind <= CEILING_INT8; kind++) {
        const size_t unit = ceiling_unit_for(&b->machine, (ceiling_arithmetic)kind, b->features);
        if (unit == last || ceiling_units[unit].arithmetic != (ceiling_arithmetic)kind) continue;
        roofs[n++] = (roofline_roof){ceiling_units[unit].name, b->machine.unit_gop_per_s[unit]};
        last = unit;
    }
    return n;
}

static mlcc_status *write_svg(
    const reading *r, const layers *cases, size_t n_cases, const char *path) {
    const benching *b = r->b;
    roofline_series series[MAX_CASES];
    roofline_roof roofs[CEILING_INT8 + 1];
    for (size_t i = 0; i < n_cases; i++) series[i] = to_series(&cases[i], r->keep);
    const roofline drawing = {
        .title = mlcc_arena_printf(
            r->keep, "%s, %s, %s, %d threads", b->label, b->info.quantization, b->info.target,
            b->info.n_threads),
        .gb_per_s = b->machine.gb_per_s,
        .roofs = roofs,
        .n_roofs = list_roofs(b, roofs),
        .series = series,
        .n_series = n_cases,
    };
    mlcc_str out = {0};
    roofline_svg(&drawing, &out);
    mlcc_status *status = mlcc_file_write_atomic(path, mlcc_str_text(&out), out.length);
    mlcc_str_free(&out);
    return status;
}

static mlcc_status *measure_cases(
    reading *r, const bench_case *cases, size_t n_cases, const char *path) {
    layers found[MAX_CASES] = {0};
    size_t n_found = 0;
    for (size_t i = 0; i < n_cases && n_found < MAX_CASES; i++) {
        const bool is_one_pass = cases[i].gen > 0 || cases[i].prompt <= r->b->info.prefill_chunk;
        if (!is_one_pass) continue;
        MLCC_TRY(measure_case(r, &cases[i], &found[n_found]));
        print_layers(&found[n_found++]);
    }
    return write_svg(r, found, n_found, path);
}

mlcc_status *bench_layers(
    const benching *b, const bench_case *cases, size_t n_cases, const char *path) {
    if (strcmp(b->info.device, "cpu") != 0)
        return MLCC_ERROR(
            UNSUPPORTED, "--svg is for the CPU; the library is for %s", b->info.device);
    mlcc_json *json;
    const char *text = mlcc_model_metadata(b->model);
    MLCC_TRY(mlcc_json_parse(text, strlen(text), "the library's metadata", 0, &json));
    const mlcc_json_value *root = mlcc_json_root(json), *own = mlcc_json_get(root, "mlcc");
    reading r = {
        .b = b,
        .keep = mlcc_arena_create(),
        .kernels = mlcc_json_get(own, "kernels"),
        .stretches = mlcc_json_get(own, "stretches"),
        .attention = mlcc_json_get(root, "kv_cache"),
    };
    r.n_stretches = mlcc_json_count(r.stretches);
    r.ends_ns = MLCC_NEW_ARRAY(r.keep, _Atomic uint64_t, r.n_stretches + 1);
    r.stretch_s = MLCC_NEW_ARRAY(r.keep, double, r.n_stretches + 1);
    mlcc_status *status =
        r.n_stretches > 0
            ? measure_cases(&r, cases, n_cases, path)
            : MLCC_ERROR(
                  MISMATCH,
                  "the library's metadata does not list its stretches: compile the model again");
    mlcc_arena_free(r.keep);
    mlcc_json_free(json);
    return status;
}
