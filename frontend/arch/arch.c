#include "frontend/arch/arch.h"

#include "runtime/base/str.h"

#include <string.h>

typedef struct arch_row {
    const char *task;
    const arch_info *info;
} arch_row;

static const char *const model_types[] = {
#define ARCH(id, text, task, traits) text,
#include "frontend/arch/arch.def"
};

static const arch_row rows[] = {
#define ARCH(id, text, task, traits) {task, &arch_##id},
#include "frontend/arch/arch.def"
};

#define N_ROWS (sizeof rows / sizeof rows[0])

// N_ROWS when unknown.
static size_t find_row(const char *model_type) {
    size_t row = 0;
    while (row < N_ROWS && strcmp(model_types[row], model_type) != 0) row++;
    return row;
}

const arch_info *arch_find(const char *model_type) {
    size_t row = find_row(model_type);
    return row < N_ROWS ? rows[row].info : NULL;
}

const char *arch_model_type(const char *model_type) {
    size_t row = find_row(model_type);
    return row < N_ROWS ? model_types[row] : NULL;
}

const char *arch_task(const char *model_type) {
    size_t row = find_row(model_type);
    return row < N_ROWS ? rows[row].task : NULL;
}

const char *const *arch_model_types(size_t *n_types) {
    *n_types = N_ROWS;
    return model_types;
}

bool arch_has_graph(const arch_info *arch) {
    return arch->decoder != NULL;
}

static void list_types(bool with_graph, mlcc_str *out) {
    for (size_t i = 0; i < N_ROWS; i++)
        if (arch_has_graph(rows[i].info) == with_graph)
            mlcc_str_printf(out, "%s%s", out->length == 0 ? "" : ", ", model_types[i]);
}

mlcc_status *arch_find_graph(const char *model_type, const arch_info **out) {
    *out = arch_find(model_type);
    if (*out == NULL) return arch_unknown(model_type);
    if (arch_has_graph(*out)) return NULL;
    *out = NULL;
    mlcc_str accepted = {0};
    list_types(true, &accepted);
    mlcc_status *status = MLCC_ERROR(
        UNSUPPORTED,
        "model_type '%s' is recurrent: gen_config writes its configuration, which MLC LLM "
        "compiles, but mlcc does not build its graph; accepted here: %s",
        model_type, mlcc_str_text(&accepted));
    mlcc_str_free(&accepted);
    return status;
}

mlcc_status *arch_unknown(const char *model_type) {
    mlcc_str accepted = {0}, config_only = {0};
    list_types(true, &accepted);
    list_types(false, &config_only);
    const char *nearest = mlcc_text_nearest(model_type, model_types, N_ROWS);
    mlcc_status *status = MLCC_ERROR(
        UNSUPPORTED,
        "model_type '%.80s' is not supported%s%s%s; accepted: %s; by gen_config alone: %s",
        model_type, nearest != NULL ? ", did you mean '" : "", nearest != NULL ? nearest : "",
        nearest != NULL ? "'" : "", mlcc_str_text(&accepted), mlcc_str_text(&config_only));
    mlcc_str_free(&accepted);
    mlcc_str_free(&config_only);
    return status;
}

const arch_field *arch_find_field(const arch_info *arch, const char *name) {
    for (size_t i = 0; i < arch->n_fields; i++)
        if (strcmp(arch->fields[i].name, name) == 0) return &arch->fields[i];
    return NULL;
}
