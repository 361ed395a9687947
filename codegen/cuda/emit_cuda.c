#include "codegen/cuda/emit_cuda.h"

#include "codegen/cuda/emit_cuda_inside.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

// ---- what the files share -----------------------------------------------------------------------------

int32_t emit_cuda_input(const emit_cuda *e, const ir_value *value) {
    for (int32_t i = 0; i < e->instance->n_inputs; i++) {
        if (e->instance->inputs[i] == value) return i;
    }
    return -1;
}

const char *emit_cuda_return_memory(const emit_cuda *e, int32_t index) {
    const int32_t *in_place = e->instance->in_place;
    if (in_place[index] >= 0) return mlcc_arena_printf(e->keep, "env->in[%d]", in_place[index]);
    int32_t place = 0;
    for (int32_t r = 0; r < index; r++) place += in_place[r] < 0;
    return mlcc_arena_printf(e->keep, "env->out[%d]", place);
}

const char *emit_cuda_dim(const emit_cuda *e, ir_dim dim) {
    if (dim.symbol != NULL) return mlcc_arena_printf(e->keep, "env->dims[%d]", dim.symbol->index);
    return mlcc_arena_printf(e->keep, "%lld", (long long)dim.value);
}

const char *emit_cuda_f32(const emit_cuda *e, double value) {
    if (isinf((float)value)) return value < 0.0 ? "(-INFINITY_F32)" : "INFINITY_F32";
    mlcc_str text = {0};
    mlcc_str_put_f32(&text, (float)value);
    const char *result =
        mlcc_arena_printf(e->keep, value < 0.0 ? "(%sf)" : "%sf", mlcc_str_text(&text));
    mlcc_str_free(&text);
    return result;
}

// ---- files --------------------------------------------------------------------------------------------

// Whether a line includes a file of kernels/, which stands in the text already.
static bool is_own_include(emit_cuda *e, const char *line, size_t length) {
    while (length > 0 && isspace((unsigned char)*line)) line++, length--;
    if (length < 10 || strncmp(line, "#include \"", 10) != 0) return false;
    const char *path = mlcc_arena_strndup(e->keep, line + 10, length - 10);
    const char *end = strchr(path, '"');
    if (end == NULL) return false;
    path = mlcc_arena_strndup(e->keep, path, (size_t)(end - path));
    const char *base = strrchr(path, '/');
    return cuda_source_find(base != NULL ? base + 1 : path) != NULL;
}

// Line numbers stay those of the file, for messages and debuggers.
static mlcc_status *emit_file(emit_cuda *e, const char *name) {
    const char *text = cuda_source_find(name);
    if (text == NULL) {
        return MLCC_ERROR(
            INTERNAL, "kernel '%s' names file '%s', which is not part of this build of mlcc",
            e->row->name, name);
    }
    mlcc_str_printf(e->out, "#line 1 \"%s\"\n", name);
    for (const char *p = text; *p != '\0';) {
        const size_t length = strcspn(p, "\n");
        if (!is_own_include(e, p, length)) mlcc_str_append(e->out, p, length);
        mlcc_str_putc(e->out, '\n');
        p += length + (p[length] == '\n');
    }
    return NULL;
}

// Adds the names of a comma separated list, each with `ending`.
static void add_files(
    const emit_cuda *e, const char *list, const char *ending, const char **names, size_t *n) {
    for (const char *p = list; *p != '\0';) {
        const size_t length = strcspn(p, ",");
        names[(*n)++] = mlcc_arena_printf(e->keep, "%.*s%s", (int)length, p, ending);
        p += length + (p[length] == ',');
    }
}

// The row's headers, then its kernel files.
static const char **row_files(const emit_cuda *e, size_t *n_headers, size_t *n_files) {
    const size_t most = strlen(e->row->headers) + strlen(e->row->file) + 2;
    const char **names = MLCC_NEW_ARRAY(e->keep, const char *, most);
    *n_files = 0;
    add_files(e, e->row->headers, "", names, n_files);
    *n_headers = *n_files;
    add_files(e, e->row->file, ".cu", names, n_files);
    return names;
}

// ---- generated text -----------------------------------------------------------------------------------

static void emit_env(const emit_cuda *e) {
    const codegen_instance *instance = e->instance;
    int32_t n_out = 0;
    for (int32_t r = 0; r < e->group->n_returns; r++) n_out += instance->in_place[r] < 0;
    const size_t n_symbols = e->group->module->n_symbols;
    // An empty array would still take a place in the struct.
    mlcc_str_puts(e->out, "typedef struct kernel_env {\n");
    if (instance->n_inputs > 0) {
        mlcc_str_printf(e->out, "    const void *in[%d];\n", instance->n_inputs);
    }
    if (n_out > 0) mlcc_str_printf(e->out, "    void *out[%d];\n", n_out);
    mlcc_str_puts(e->out, "    u8 *scratch;\n");
    if (n_symbols > 0) mlcc_str_printf(e->out, "    i64 dims[%zu];\n", n_symbols);
    mlcc_str_puts(e->out, "} kernel_env;\n");
    mlcc_str_puts(
        e->out, "DEVICE u8 *kernel_scratch(const kernel_env *env) { return env->scratch; }\n");
}

static void emit_entries(const emit_cuda *e) {
    for (int32_t i = 0; i < e->row->n_entries; i++) {
        const cuda_entry *entry = &e->row->entries[i];
        mlcc_str_printf(
            e->out, "#define KERNEL_THREADS_%s %d\n#define KERNEL_BLOCKS_%s %d\n", entry->symbol,
            entry->threads, entry->symbol, entry->min_blocks);
    }
}

// `names`: files whose hooks are wanted.
static mlcc_status *emit_generated(emit_cuda *e, const char *const *names, size_t n_names) {
    // Without the group's name: equal groups of two models are one entry of the cache.
    mlcc_str_puts(e->out, "#line 1 \"generated\"\n");
    emit_env(e);
    emit_entries(e);
    mlcc_str text = {0};
    for (size_t i = 0; i < n_names; i++) {
        const char *source = cuda_source_find(names[i]);
        if (source != NULL) mlcc_str_puts(&text, source);
    }
    mlcc_status *status = emit_cuda_hooks(e, mlcc_str_text(&text));
    mlcc_str_free(&text);
    return status;
}

static mlcc_status *emit_unit(emit_cuda *e) {
    static const char *const layer[] = {"device.h", "kernel.h", "math.h"};
    size_t n_headers = 0, n_files = 0;
    const char *const *files = row_files(e, &n_headers, &n_files);
    for (size_t i = 0; i < sizeof layer / sizeof layer[0]; i++) MLCC_TRY(emit_file(e, layer[i]));
    for (size_t i = 0; i < n_headers; i++) MLCC_TRY(emit_file(e, files[i]));
    MLCC_TRY(emit_generated(e, files, n_files));
    for (size_t i = n_headers; i < n_files; i++) MLCC_TRY(emit_file(e, files[i]));
    return NULL;
}

mlcc_status *emit_cuda_source(
    const codegen_instance *instance, const cuda_kernel_row *row, mlcc_str *source) {
    emit_cuda e = {
        .instance = instance,
        .row = row,
        .group = instance->group,
        .anchor = codegen_group_anchor(instance->group),
        .keep = mlcc_arena_create(),
        .out = source,
    };
    mlcc_status *status = emit_unit(&e);
    mlcc_arena_free(e.keep);
    return mlcc_status_note(
        status, "writing kernel '%s' for group '%s'", row->name, instance->group->name);
}
