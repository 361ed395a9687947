#include "passes/pipeline.h"

#include "ir/fingerprint.h"
#include "ir/text.h"
#include "ir/verify.h"
#include "runtime/base/clock.h"
#include "runtime/base/file.h"
#include "runtime/base/log.h"

#include <string.h>

static const pass_info table[] = {
#define PASS(name, needs, leaves, why) \
    {#name, pass_##name, IR_LEVEL_##needs, IR_LEVEL_##leaves, why},
#include "passes/passes.def"
};
static const size_t n_table = sizeof table / sizeof table[0];

const pass_info *pass_table(size_t *n_passes) {
    *n_passes = n_table;
    return table;
}

const pass_info *pass_find(const char *name) {
    for (size_t i = 0; i < n_table; i++) {
        if (strcmp(table[i].name, name) == 0) return &table[i];
    }
    return NULL;
}

static mlcc_status *find_checked(const char *name, const char *option, const pass_info **out) {
    *out = pass_find(name);
    if (*out != NULL) return NULL;
    const char *names[sizeof table / sizeof table[0]];
    mlcc_str list = {0};
    for (size_t i = 0; i < n_table; i++) {
        names[i] = table[i].name;
        mlcc_str_printf(&list, "%s%s", i == 0 ? "" : ", ", table[i].name);
    }
    const char *near = mlcc_text_nearest(name, names, n_table);
    mlcc_status *status = MLCC_ERROR(
        INVALID, "%s names no pass: '%s'%s%s%s; passes in order: %s", option, name,
        near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "", mlcc_str_text(&list));
    mlcc_str_free(&list);
    return status;
}

// ---- dumps ----------------------------------------------------------------------------------------

typedef struct dump_request {
    bool all, changed;
    const char *before, *after; // comma separated names, or NULL
} dump_request;

static bool names_contain(const char *names, const char *name) {
    size_t length = strlen(name);
    for (const char *at = names; at != NULL && *at != '\0';) {
        const char *comma = strchr(at, ',');
        size_t n = comma ? (size_t)(comma - at) : strlen(at);
        if (n == length && memcmp(at, name, n) == 0) return true;
        at = comma ? comma + 1 : NULL;
    }
    return false;
}

static mlcc_status *check_names(const char *names) {
    char name[64];
    for (const char *at = names; at != NULL;) {
        const char *comma = strchr(at, ',');
        size_t n = comma ? (size_t)(comma - at) : strlen(at);
        if (n >= sizeof name) n = sizeof name - 1;
        memcpy(name, at, n);
        name[n] = '\0';
        const pass_info *found;
        MLCC_TRY(find_checked(name, "--dump-ir", &found));
        at = comma ? comma + 1 : NULL;
    }
    return NULL;
}

static mlcc_status *dump_parse(const char *spec, dump_request *out) {
    *out = (dump_request){0};
    if (spec == NULL) return NULL;
    if (strcmp(spec, "all") == 0) {
        out->all = true;
    } else if (strcmp(spec, "changed") == 0) {
        out->changed = true;
    } else if (mlcc_text_starts_with(spec, "after:")) {
        out->after = spec + strlen("after:");
        MLCC_TRY(check_names(out->after));
    } else if (mlcc_text_starts_with(spec, "before:")) {
        out->before = spec + strlen("before:");
        MLCC_TRY(check_names(out->before));
    } else {
        return MLCC_ERROR(
            INVALID,
            "--dump-ir is '%s'; accepted: all, changed, after:PASS[,PASS], before:PASS[,PASS]",
            spec);
    }
    return NULL;
}

static mlcc_status *dump(
    const ir_module *module, const pass_options *options, size_t number, const char *when,
    const char *name) {
    mlcc_str text = {0};
    mlcc_status *status = NULL;
    ir_print_module(module, &text);
    if (options->dump_dir != NULL) {
        mlcc_str path = {0};
        mlcc_str_printf(
            &path, "%s/%02zu-%s%s.mlcir", options->dump_dir, number,
            strcmp(when, "before") == 0 ? "before-" : "", name);
        status = mlcc_file_write_atomic(mlcc_str_text(&path), text.data, text.length);
        mlcc_str_free(&path);
    } else if (options->dump_stream != NULL) {
        fprintf(options->dump_stream, "# ---- %s %s\n", when, name);
        fwrite(text.data, 1, text.length, options->dump_stream);
    }
    mlcc_str_free(&text);
    return status;
}

// ---- running --------------------------------------------------------------------------------------

static mlcc_status *run_one(
    ir_module *module, const pass_info *pass, size_t number, const dump_request *request,
    const pass_options *options, pass_context *context) {
    if (request->before != NULL && names_contain(request->before, pass->name)) {
        MLCC_TRY(dump(module, options, number, "before", pass->name));
    }
    mlcc_hash128 before = {0};
    if (request->changed) before = ir_fingerprint_module(module);
    double start_s = mlcc_clock_s();
    MLCC_TRY_NOTE(pass->function(module, context), "running pass %s", pass->name);
    double seconds = mlcc_clock_s() - start_s;
    mlcc_arena_reset(context->scratch);
    if (module->level < pass->leaves) module->level = pass->leaves;
    MLCC_TRY_NOTE(
        ir_verify(module, module->level), "checking the module after pass %s", pass->name);
    mlcc_log(MLCC_LOG_DEBUG, "passes", "%s: %.3f ms", pass->name, seconds * 1e3);
    if (options->times) {
        mlcc_log(MLCC_LOG_INFO, "passes", "%-18s %9.3f ms", pass->name, seconds * 1e3);
    }
    bool wanted =
        request->all || (request->after != NULL && names_contain(request->after, pass->name));
    if (request->changed) {
        mlcc_hash128 after = ir_fingerprint_module(module);
        wanted = !mlcc_hash128_equal(before, after);
    }
    if (wanted) MLCC_TRY(dump(module, options, number, "after", pass->name));
    return NULL;
}

mlcc_status *pass_pipeline_run(
    ir_module *module, const pass_options *options, pass_context *context) {
    static const pass_options none = {.limit = -1};
    if (options == NULL) options = &none;
    dump_request request;
    MLCC_TRY(dump_parse(options->dump, &request));
    const pass_info *start_at = NULL, *stop_after = NULL;
    if (options->start_at) MLCC_TRY(find_checked(options->start_at, "--start-at", &start_at));
    if (options->stop_after)
        MLCC_TRY(find_checked(options->stop_after, "--stop-after", &stop_after));
    size_t n_rows = options->only != NULL ? options->n_only : n_table;
    bool started = start_at == NULL;
    int32_t n_run = 0;
    for (size_t i = 0; i < n_rows; i++) {
        const pass_info *pass = &table[i];
        if (options->only != NULL) MLCC_TRY(find_checked(options->only[i], "--passes", &pass));
        if (pass == start_at) started = true;
        if (!started) continue;
        // A dumped module can be fed back: rows whose work is behind it do not fit any more.
        if (options->only == NULL && pass->needs < module->level) continue;
        if (pass->needs > module->level) {
            return MLCC_ERROR(
                INVALID, "pass %s needs a module of level %s, this one is at level %s", pass->name,
                ir_level_text(pass->needs), ir_level_text(module->level));
        }
        if (options->limit >= 0 && n_run >= options->limit) break;
        n_run++;
        MLCC_TRY(run_one(module, pass, i + 1, &request, options, context));
        if (pass == stop_after) break;
    }
    return NULL;
}
