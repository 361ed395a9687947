#include "dist/artifact/convert_plan.h"

#include "frontend/import.h"
#include "runtime/base/log.h"

#include <string.h>

enum { MAX_NAMES_IN_WARNING = 20 };

// The tensor of that name, or the one that may stand for it; NULL when both are absent.
static const hf_tensor *find_source(
    const hf_model_config *config, const hf_weight_source *source, const char *name) {
    const hf_tensor *tensor = hf_weight_source_find(source, name);
    if (tensor != NULL) return tensor;
    const char *alternative = import_source_alternative(config, name);
    return alternative == NULL ? NULL : hf_weight_source_find(source, alternative);
}

static mlcc_status *check_missing(
    const hf_model_config *config, const ir_module *module, const hf_weight_source *source) {
    mlcc_str list = {0};
    size_t n_missing = 0;
    for (size_t i = 0; i < module->n_params; i++) {
        const ir_param *param = module->params[i];
        for (int32_t j = 0; j < param->n_sources && !param->has_fallback; j++) {
            if (find_source(config, source, param->sources[j]) != NULL) continue;
            const char *alternative = import_source_alternative(config, param->sources[j]);
            mlcc_str_printf(&list, "%s'%s'", n_missing == 0 ? "" : ", ", param->sources[j]);
            if (alternative != NULL) mlcc_str_printf(&list, " (or '%s')", alternative);
            n_missing++;
        }
    }
    mlcc_status *status = NULL;
    if (n_missing != 0) {
        status = MLCC_ERROR(
            INVALID, "%zu tensor%s of the model %s missing in %s: %s", n_missing,
            n_missing == 1 ? "" : "s", n_missing == 1 ? "is" : "are", source->description,
            mlcc_str_text(&list));
    }
    mlcc_str_free(&list);
    return status;
}

static void put_shape(mlcc_str *text, const int64_t *dims, int32_t rank) {
    mlcc_str_putc(text, '[');
    for (int32_t i = 0; i < rank; i++)
        mlcc_str_printf(text, "%s%lld", i == 0 ? "" : ", ", (long long)dims[i]);
    mlcc_str_putc(text, ']');
}

static mlcc_status *shape_error(
    const ir_param *param, const hf_tensor *tensor, const hf_weight_source *source) {
    int64_t dims[IR_MAX_RANK];
    const ir_type *type = &param->value.type;
    for (int32_t i = 0; i < type->rank; i++) dims[i] = type->dims[i].value;
    mlcc_str expected = {0}, found = {0};
    put_shape(&expected, dims, type->rank);
    put_shape(&found, tensor->dims, tensor->rank);
    mlcc_status *status = MLCC_ERROR(
        INVALID,
        "tensor '%s' in %s has shape %s, but the config makes '%s' %s%s; config and weights are of "
        "different models",
        tensor->name, source->description, mlcc_str_text(&found), param->value.name,
        param->n_sources > 1 ? "a part of " : "", mlcc_str_text(&expected));
    mlcc_str_free(&expected);
    mlcc_str_free(&found);
    return status;
}

static mlcc_status *check_dtype(const hf_tensor *tensor, const hf_weight_source *source) {
    if (tensor->dtype == IR_F32 || tensor->dtype == IR_F16 || tensor->dtype == IR_BF16) return NULL;
    return MLCC_ERROR(
        UNSUPPORTED,
        "tensor '%s' in %s has element type %s; accepted for weights are F32, F16 and BF16",
        tensor->name, source->description,
        tensor->dtype_text != NULL ? tensor->dtype_text : ir_dtype_get(tensor->dtype)->text);
}

// Whether a source may be a part of the param: parts of a stack [E, N, K] may be matrices [n, K]. Its rows, if so.
static bool source_rows(const ir_type *type, const hf_tensor *tensor, int64_t *n_rows) {
    const int32_t missing = type->rank - tensor->rank;
    if (tensor->rank < 1 || (missing != 0 && (missing != 1 || type->rank != 3))) return false;
    *n_rows = tensor->dims[0];
    for (int32_t i = 1; i < tensor->rank; i++) {
        if (tensor->dims[i] != type->dims[i + missing].value) return false;
        if (i < tensor->rank - 1 && !mlcc_i64_mul(*n_rows, tensor->dims[i], n_rows)) return false;
    }
    return true;
}

static mlcc_status *check_param(
    const hf_model_config *config, const ir_param *param, const hf_weight_source *source) {
    const ir_type *type = &param->value.type;
    int64_t n_joined = 0, n_wanted = 0, columns = 0;
    const hf_tensor *tensor = NULL;
    MLCC_TRY(quant_rows_of(type, &n_wanted, &columns));
    for (int32_t j = 0; j < param->n_sources; j++) {
        MLCC_TRY(hf_weight_source_require(
            source, find_source(config, source, param->sources[j])->name, &tensor));
        MLCC_TRY(check_dtype(tensor, source));
        int64_t n_rows = 0;
        if (!source_rows(type, tensor, &n_rows) || n_rows > n_wanted - n_joined)
            return shape_error(param, tensor, source);
        n_joined += n_rows;
    }
    if (param->n_sources > 0 && n_joined != n_wanted) return shape_error(param, tensor, source);
    return NULL;
}

// Scales of activations that the mode has no use for.
static bool is_activation_scale(const char *name) {
    return mlcc_text_ends_with(name, ".input_scale") ||
           mlcc_text_ends_with(name, ".activation_scale");
}

void convert_warn_unused(
    const hf_model_config *config, const hf_weight_source *source, const mlcc_map *used) {
    mlcc_str list = {0};
    size_t n_unused = 0;
    uint64_t unused_value = 0;
    for (size_t i = 0; i < source->n_tensors; i++) {
        const char *name = source->tensors[i].name;
        if (mlcc_map_get_text(used, name, &unused_value) || import_source_is_unused(config, name) ||
            is_activation_scale(name))
            continue;
        if (n_unused++ < MAX_NAMES_IN_WARNING)
            mlcc_str_printf(&list, "%s'%s'", n_unused == 1 ? "" : ", ", name);
    }
    if (n_unused > MAX_NAMES_IN_WARNING)
        mlcc_str_printf(&list, " and %zu more", n_unused - MAX_NAMES_IN_WARNING);
    if (n_unused > 0) {
        mlcc_log(
            MLCC_LOG_WARN, "convert_weight", "%zu tensor%s in %s %s not used by the model: %s",
            n_unused, n_unused == 1 ? "" : "s", source->description, n_unused == 1 ? "is" : "are",
            mlcc_str_text(&list));
    }
    mlcc_str_free(&list);
}

mlcc_status *convert_check_sources(
    const hf_model_config *config, const ir_module *module, const hf_weight_source *source,
    mlcc_map *used) {
    MLCC_TRY(check_missing(config, module, source));
    for (size_t i = 0; i < module->n_params; i++) {
        const ir_param *param = module->params[i];
        if (param->has_fallback) continue;
        MLCC_TRY(check_param(config, param, source));
        for (int32_t j = 0; j < param->n_sources; j++)
            mlcc_map_add_text(used, find_source(config, source, param->sources[j])->name, 0);
    }
    return NULL;
}

// ---- the plan -----------------------------------------------------------------------------------

// A scale for all elements, or one for each.
static mlcc_status *check_optional(
    const convert_param *param, const hf_tensor *tensor, const hf_weight_source *source) {
    MLCC_TRY(check_dtype(tensor, source));
    const uint64_t count = tensor->size_bytes / ir_dtype_bytes(tensor->dtype),
                   needed = (uint64_t)(param->n_rows * param->columns);
    if (count == 1 || count == needed) return NULL;
    return MLCC_ERROR(
        INVALID, "tensor '%s' in %s has %llu elements; expected 1 or %llu", tensor->name,
        source->description, (unsigned long long)count, (unsigned long long)needed);
}

static mlcc_status *plan_param(
    const hf_model_config *config, const ir_param *param, const hf_weight_source *source,
    mlcc_arena *keep, convert_param *out) {
    const ir_type *type = &param->value.type;
    *out = (convert_param){.param = param, .format = quant_format_of(type->dtype)};
    if (out->format == NULL || (param->n_sources < 1 && !param->has_fallback)) {
        return MLCC_ERROR(
            INTERNAL, "param '%s' of type '%s' with %d sources cannot be stored", param->value.name,
            ir_dtype_get(type->dtype)->text, param->n_sources);
    }
    MLCC_TRY(quant_rows_of(type, &out->n_rows, &out->columns));
    MLCC_TRY(out->format->pieces(type, out->pieces, &out->n_pieces));
    out->sources = MLCC_NEW_ARRAY(keep, convert_source, (size_t)param->n_sources + 1);
    int64_t n_source_rows = 0;
    for (int32_t j = 0; j < param->n_sources; j++) {
        const hf_tensor *tensor = find_source(config, source, param->sources[j]);
        if (tensor == NULL && param->has_fallback) continue;
        if (tensor == NULL)
            return MLCC_ERROR(
                INTERNAL, "source '%s' of param '%s' vanished", param->sources[j],
                param->value.name);
        convert_source *next = &out->sources[out->n_sources++];
        *next = (convert_source){.tensor = tensor, .n_rows = out->n_rows};
        out->source_bytes += tensor->size_bytes;
        if (param->has_fallback) {
            MLCC_TRY(check_optional(out, tensor, source));
            continue;
        }
        next->first_row = n_source_rows;
        next->n_rows = (int64_t)(tensor->size_bytes / ir_dtype_bytes(tensor->dtype)) / out->columns;
        n_source_rows += next->n_rows;
    }
    if (n_source_rows != out->n_rows && !param->has_fallback) {
        return MLCC_ERROR(
            INTERNAL, "the sources of param '%s' have %lld rows, the param has %lld",
            param->value.name, (long long)n_source_rows, (long long)out->n_rows);
    }
    return NULL;
}

// What MLC's loader keeps open: a param loads the files that it needs and that are not loaded; only
// then are the others dropped.
typedef struct file_cache {
    bool *is_loaded;
    bool *is_needed;
    uint64_t *n_elements;
    int32_t n_files;
} file_cache;

static uint64_t load_files(file_cache *files, const convert_param *param) {
    uint64_t n_loaded_elements = 0;
    bool loads = false;
    memset(files->is_needed, 0, (size_t)files->n_files * sizeof *files->is_needed);
    for (size_t j = 0; j < param->n_sources; j++) {
        const int32_t file = param->sources[j].tensor->file;
        files->is_needed[file] = true;
        loads |= !files->is_loaded[file];
    }
    for (int32_t file = 0; loads && file < files->n_files; file++) {
        if (files->is_needed[file] && !files->is_loaded[file])
            n_loaded_elements += files->n_elements[file];
        files->is_loaded[file] = files->is_needed[file];
    }
    return n_loaded_elements;
}

static file_cache count_files(
    const hf_model_config *config, const hf_weight_source *source, const mlcc_map *used,
    mlcc_arena *keep) {
    file_cache files = {.n_files = 0};
    for (size_t i = 0; i < source->n_tensors; i++) {
        if (source->tensors[i].file >= files.n_files) files.n_files = source->tensors[i].file + 1;
    }
    files.is_loaded = MLCC_NEW_ARRAY(keep, bool, (size_t)files.n_files + 1);
    files.is_needed = MLCC_NEW_ARRAY(keep, bool, (size_t)files.n_files + 1);
    files.n_elements = MLCC_NEW_ARRAY(keep, uint64_t, (size_t)files.n_files + 1);
    for (size_t i = 0; i < source->n_tensors; i++) {
        const hf_tensor *tensor = &source->tensors[i];
        uint64_t value = 0;
        if (!mlcc_map_get_text(used, tensor->name, &value) &&
            import_source_is_unused(config, tensor->name))
            continue;
        uint64_t n_elements = 1;
        for (int32_t d = 0; d < tensor->rank; d++) n_elements *= (uint64_t)tensor->dims[d];
        files.n_elements[tensor->file] += n_elements;
    }
    return files;
}

// Files by first appearance, each with its tensors in order: indices into source->tensors.
static size_t *walk_order(const hf_weight_source *source, int32_t n_files, mlcc_arena *keep) {
    size_t *order = MLCC_NEW_ARRAY(keep, size_t, source->n_tensors + 1);
    bool *is_done = MLCC_NEW_ARRAY(keep, bool, (size_t)n_files + 1);
    size_t n = 0;
    for (size_t i = 0; i < source->n_tensors; i++) {
        const int32_t file = source->tensors[i].file;
        if (is_done[file]) continue;
        is_done[file] = true;
        for (size_t j = i; j < source->n_tensors; j++) {
            if (source->tensors[j].file == file) order[n++] = j;
        }
    }
    return order;
}

// Params that read a source tensor, as linked lists by tensor, each in param order.
typedef struct reader {
    size_t param;
    struct reader *next;
} reader;

static reader **list_readers(
    const convert_param *params, size_t n_params, const hf_weight_source *source,
    mlcc_arena *keep) {
    reader **first = MLCC_NEW_ARRAY(keep, reader *, source->n_tensors + 1);
    for (size_t i = n_params; i-- > 0;) {
        for (size_t j = params[i].n_sources; j-- > 0;) {
            reader *r = MLCC_NEW(keep, reader);
            const size_t tensor = (size_t)(params[i].sources[j].tensor - source->tensors);
            *r = (reader){i, first[tensor]};
            first[tensor] = r;
        }
    }
    return first;
}

typedef struct plan_walk {
    convert_param *params; // in module order
    bool *is_written;
    file_cache files;
    convert_plan *plan;
} plan_walk;

static void write_next(plan_walk *walk, size_t n_params, size_t index) {
    if (walk->is_written[index]) return;
    do {
        walk->is_written[index] = true;
        convert_param *next = &walk->plan->params[walk->plan->n_params++];
        *next = walk->params[index++];
        walk->plan->n_source_elements += load_files(&walk->files, next);
    } while (index < n_params && walk->params[index].n_sources == 0 && !walk->is_written[index]);
}

mlcc_status *convert_plan_make(
    const hf_model_config *config, const ir_module *module, const hf_weight_source *source,
    mlcc_map *used, mlcc_arena *keep, convert_plan *out) {
    *out = (convert_plan){0};
    const size_t n_params = module->n_params;
    plan_walk walk = {
        .params = MLCC_NEW_ARRAY(keep, convert_param, n_params + 1),
        .is_written = MLCC_NEW_ARRAY(keep, bool, n_params + 1),
        .plan = out};
    out->params = MLCC_NEW_ARRAY(keep, convert_param, n_params + 1);
    for (size_t i = 0; i < n_params; i++) {
        convert_param *param = &walk.params[i];
        MLCC_TRY(plan_param(config, module->params[i], source, keep, param));
        out->source_bytes += param->source_bytes;
        for (size_t j = 0; j < param->n_sources; j++)
            mlcc_map_add_text(used, param->sources[j].tensor->name, 0);
    }
    walk.files = count_files(config, source, used, keep);
    const size_t *order = walk_order(source, walk.files.n_files, keep);
    reader *const *readers = list_readers(walk.params, n_params, source, keep);
    for (size_t i = 0; i < source->n_tensors; i++) {
        for (const reader *r = readers[order[i]]; r != NULL; r = r->next)
            write_next(&walk, n_params, r->param);
    }
    // Only when the module begins with one.
    for (size_t i = 0; i < n_params; i++) write_next(&walk, n_params, i);
    return NULL;
}
