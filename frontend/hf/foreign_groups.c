#include "frontend/hf/foreign_groups.h"

#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <string.h>

// A module has at most its parts, a bias, a few scales.
enum { MAX_MEMBERS = 16, MAX_SHAPE_BYTES = 64 };

typedef struct module_group {
    const char *name;
    size_t members[MAX_MEMBERS]; // indices in the base source
    size_t n_members, n_known;   // n_known: with a suffix that some layout names
} module_group;

typedef struct group_finder {
    hf_weight_source *base;
    const hf_quantization_config *config;
    const char *family;
    mlcc_arena *keep;
    foreign_groups *out;
    module_group *groups;
    size_t n_groups;
    mlcc_map *by_name; // module -> index into groups
} group_finder;

// "qweight" of "model.layers.0.mlp.down_proj.qweight"; NULL: no dot.
static const char *suffix_of(const hf_tensor *tensor) {
    const char *dot = strrchr(tensor->name, '.');
    return dot != NULL && dot != tensor->name ? dot + 1 : NULL;
}

static bool is_float(ir_dtype dtype) {
    return dtype < IR_N_DTYPES && ir_dtype_get(dtype)->kind == IR_KIND_FLOAT;
}

static mlcc_status *sort_by_module(group_finder *f) {
    f->groups = MLCC_NEW_ARRAY(f->keep, module_group, f->base->n_tensors + 1);
    for (size_t i = 0; i < f->base->n_tensors; i++) {
        const hf_tensor *tensor = &f->base->tensors[i];
        const char *suffix = suffix_of(tensor);
        if (suffix == NULL) continue;
        const char *name =
            mlcc_arena_strndup(f->keep, tensor->name, (size_t)(suffix - 1 - tensor->name));
        uint64_t index = f->n_groups;
        if (mlcc_map_add_text(f->by_name, name, index))
            f->groups[f->n_groups++].name = name;
        else
            mlcc_map_get_text(f->by_name, name, &index);
        module_group *group = &f->groups[index];
        bool is_known = quant_foreign_knows(suffix);
        if (group->n_members == MAX_MEMBERS) {
            if (group->n_known == 0) continue; // a list of parameters, no linear
            return MLCC_ERROR(
                UNSUPPORTED, "module '%s' in %s has more than %d tensors", name,
                f->base->description, MAX_MEMBERS);
        }
        group->members[group->n_members++] = i;
        group->n_known += is_known;
    }
    return NULL;
}

static const hf_tensor *member(
    const group_finder *f, const module_group *group, const char *suffix) {
    for (size_t i = 0; i < group->n_members; i++) {
        const hf_tensor *tensor = &f->base->tensors[group->members[i]];
        if (strcmp(suffix_of(tensor), suffix) == 0) return tensor;
    }
    return NULL;
}

// Whether the module may be left alone: nothing in it says "quantized".
static bool is_plain(const group_finder *f, const module_group *group) {
    if (group->n_known == 0) return true;
    if (group->n_known > 1) return false;
    const hf_tensor *weight = member(f, group, "weight");
    if (weight != NULL)
        return weight->dtype != IR_F8E4M3 && weight->dtype != IR_F8E5M2 &&
               !(weight->dtype == IR_I8 && weight->rank == 2);
    // Activation scales, and names too short to say anything.
    return member(f, group, "scales") != NULL || member(f, group, "s") != NULL ||
           member(f, group, "B") != NULL;
}

// Of tensors that hold a shape, the data too: packed words alone do not tell where a row ends.
static mlcc_status *list_members(
    const group_finder *f, const module_group *group, const char **suffixes,
    quant_foreign_tensor *tensors) {
    for (size_t i = 0; i < group->n_members; i++) {
        const hf_tensor *tensor = &f->base->tensors[group->members[i]];
        suffixes[i] = suffix_of(tensor);
        tensors[i] = (quant_foreign_tensor){.dtype = tensor->dtype, .rank = tensor->rank};
        memcpy(tensors[i].dims, tensor->dims, sizeof tensor->dims);
        if (tensor->dtype != IR_I64 || tensor->size_bytes > MAX_SHAPE_BYTES) continue;
        int64_t *data = MLCC_NEW_ARRAY(f->keep, int64_t, MAX_SHAPE_BYTES / sizeof(int64_t));
        MLCC_TRY(f->base->read(f->base, tensor, 0, tensor->size_bytes, data, NULL));
        tensors[i].data = data;
    }
    return NULL;
}

// A stored weight beside the parts of a quantized one: which of them is meant?
static mlcc_status *stored_twice(const group_finder *f, const module_group *group) {
    const hf_tensor *weight = member(f, group, "weight");
    const hf_tensor *other = NULL;
    for (size_t i = 0; i < group->n_members && other == NULL; i++) {
        const hf_tensor *tensor = &f->base->tensors[group->members[i]];
        if (tensor != weight && quant_foreign_knows(suffix_of(tensor))) other = tensor;
    }
    return MLCC_ERROR(
        INVALID,
        "linear '%s' in %s is stored twice: as '%s' in float and as '%s' quantized; remove one of "
        "them",
        group->name, f->base->description, weight->name, other->name);
}

static mlcc_status *no_layout(
    const group_finder *f, const module_group *group, const char *const *suffixes,
    const quant_foreign_tensor *tensors, const quant_foreign_hints *hints) {
    const hf_tensor *weight = member(f, group, "weight");
    bool has_words =
        member(f, group, "qweight") != NULL || member(f, group, "weight_packed") != NULL;
    if (weight != NULL && is_float(weight->dtype) && has_words) return stored_twice(f, group);
    return mlcc_status_note(
        quant_foreign_explain(
            group->name, suffixes, tensors, group->n_members, f->family, f->config->format, hints),
        "reading %s", f->base->description);
}

static mlcc_status *add_linear(
    group_finder *f, const module_group *group, const quant_foreign_layout *layout,
    const char *const *suffixes, const quant_foreign_tensor *tensors) {
    foreign_linear *linear = &f->out->linears[f->out->n_linears++];
    linear->name = group->name;
    linear->first = SIZE_MAX;
    if (f->config->method != NULL && quant_foreign_is_of(layout, f->config->method))
        linear->quantized.hints = f->config->hints;
    quant_foreign_weight *weight = &linear->quantized.weight;
    quant_foreign_weight_init(weight, layout, group->name, suffixes, tensors, group->n_members);
    for (int32_t p = 0; p < QUANT_FOREIGN_MAX_PARTS && layout->parts[p].suffix != NULL; p++) {
        if (weight->parts[p].rank < 0) continue;
        const quant_foreign_part *part = &layout->parts[p];
        linear->parts[p] =
            member(f, group, weight->uses_alternative[p] ? part->alternative : part->suffix);
        size_t index = (size_t)(linear->parts[p] - f->base->tensors);
        f->out->owners[index] = f->out->n_linears;
        if (index < linear->first) linear->first = index;
    }
    MLCC_TRY_NOTE(
        layout->describe(weight, &linear->quantized.hints, &linear->quantized.canon),
        "reading %s (%s)", f->base->description, layout->name);
    return NULL;
}

static mlcc_status *find_linear(group_finder *f, const module_group *group) {
    const char *suffixes[MAX_MEMBERS];
    quant_foreign_tensor tensors[MAX_MEMBERS];
    if (is_plain(f, group)) return NULL;
    MLCC_TRY(list_members(f, group, suffixes, tensors));
    const quant_foreign_layout *layout =
        quant_foreign_detect(suffixes, tensors, group->n_members, f->config->format);
    if (layout == NULL) return no_layout(f, group, suffixes, tensors, &f->config->hints);
    if (f->family != NULL && !quant_foreign_is_of(layout, f->family))
        return MLCC_ERROR(
            MISMATCH,
            "linear '%s' in %s is stored as %s, a layout of %s; the source format asked for is %s",
            group->name, f->base->description, layout->name, layout->family, f->family);
    return add_linear(f, group, layout, suffixes, tensors);
}

// ---- activation scales ---------------------------------------------------------------------------------------

// Where AutoAWQ hangs them: behind the activation of an MLP without a gate.
static const char *const activation_names[] = {"act", "gelu_impl"};
// The linear that reads the activation, beside it.
static const char *const reader_names[] = {"dense_4h_to_h", "c_proj", "fc_out",
                                           "down_proj",     "fc2",    "dense"};

static const char *ending_after(const char *name, size_t *parent_length) {
    const char *dot = strrchr(name, '.');
    *parent_length = dot != NULL ? (size_t)(dot - name) + 1 : 0;
    return name + *parent_length;
}

// The linear whose columns the scales divide; it becomes one of ours if it is not.
static mlcc_status *find_reader(
    group_finder *f, const module_group *group, size_t parent_length, foreign_linear **out) {
    *out = NULL;
    for (size_t i = 0; i < sizeof reader_names / sizeof *reader_names && *out == NULL; i++) {
        uint64_t index = 0;
        const char *name =
            mlcc_arena_printf(f->keep, "%.*s%s", (int)parent_length, group->name, reader_names[i]);
        if (!mlcc_map_get_text(f->by_name, name, &index)) continue;
        for (size_t k = 0; k < f->out->n_linears && *out == NULL; k++)
            if (strcmp(f->out->linears[k].name, name) == 0) *out = &f->out->linears[k];
        const hf_tensor *weight = member(f, &f->groups[index], "weight");
        if (*out != NULL || weight == NULL || !is_float(weight->dtype) || weight->rank != 2)
            continue;
        *out = &f->out->linears[f->out->n_linears++];
        **out = (foreign_linear){
            .name = name,
            .plain = weight,
            .first = (size_t)(weight - f->base->tensors),
            .quantized.canon = {.n_rows = weight->dims[0], .columns = weight->dims[1]}};
        f->out->owners[(*out)->first] = f->out->n_linears;
    }
    if (*out != NULL) return NULL;
    return MLCC_ERROR(
        INVALID,
        "activation scales '%s.scales' in %s: no linear beside them reads the activation; expected "
        "one of %.*s{dense_4h_to_h, c_proj, fc_out, down_proj, fc2, dense}",
        group->name, f->base->description, (int)parent_length, group->name);
}

static mlcc_status *fold_scales(group_finder *f, const module_group *group, size_t *n_folded) {
    size_t parent_length = 0;
    const char *ending = ending_after(group->name, &parent_length);
    const hf_tensor *scales = member(f, group, "scales");
    if (scales == NULL || group->n_known != 1 || !is_plain(f, group)) return NULL;
    if (strcmp(ending, activation_names[0]) != 0 && strcmp(ending, activation_names[1]) != 0)
        return NULL;
    foreign_linear *linear = NULL;
    MLCC_TRY(find_reader(f, group, parent_length, &linear));
    if (!is_float(scales->dtype) || scales->rank != 1 ||
        scales->dims[0] != linear->quantized.canon.columns)
        return MLCC_ERROR(
            INVALID,
            "activation scales '%s' in %s have rank %d and %lld elements; expected a float vector "
            "of %lld, the columns of '%s'",
            scales->name, f->base->description, scales->rank,
            (long long)(scales->rank > 0 ? scales->dims[0] : 1),
            (long long)linear->quantized.canon.columns, linear->name);
    linear->divisor = scales;
    f->out->owners[scales - f->base->tensors] = (size_t)(linear - f->out->linears) + 1;
    ++*n_folded;
    return NULL;
}

static mlcc_status *fold_activation_scales(group_finder *f) {
    size_t n_folded = 0;
    for (size_t i = 0; i < f->n_groups; i++) MLCC_TRY(fold_scales(f, &f->groups[i], &n_folded));
    if (n_folded > 0)
        mlcc_log(
            MLCC_LOG_WARN, "weights",
            "%s: %zu vectors of activation scales are folded into the linears that read them, "
            "whose "
            "codes cannot be kept: they are quantized anew",
            f->base->description, n_folded);
    return NULL;
}

// ---- all together --------------------------------------------------------------------------------------------

// What the config says and what is there may differ; tensors decide.
static mlcc_status *compare_with_config(const group_finder *f) {
    const foreign_groups *out = f->out;
    if (out->n_linears == 0 && f->family != NULL)
        return MLCC_ERROR(
            MISMATCH, "%s holds no quantized linear; the source format asked for is %s",
            f->base->description, f->family);
    if (f->config->method == NULL) return NULL;
    if (out->n_linears == 0) {
        mlcc_log(
            MLCC_LOG_WARN, "weights",
            "%s says %s, but no linear in %s is quantized: weights are taken as they are",
            f->config->file, f->config->method, f->base->description);
        return NULL;
    }
    for (size_t i = 0; i < out->n_linears; i++) {
        const quant_foreign_layout *layout = out->linears[i].quantized.weight.layout;
        if (layout == NULL || quant_foreign_is_of(layout, f->config->method)) continue;
        mlcc_log(
            MLCC_LOG_WARN, "weights", "%s says %s, but '%s' is stored as %s: tensors decide",
            f->config->file, f->config->method, out->linears[i].name, layout->name);
        return NULL;
    }
    return NULL;
}

mlcc_status *foreign_groups_find(
    hf_weight_source *base, const hf_quantization_config *config, const char *family,
    mlcc_arena *keep, foreign_groups *out) {
    *out = (foreign_groups){.owners = MLCC_NEW_ARRAY(keep, size_t, base->n_tensors + 1)};
    group_finder f = {
        .base = base,
        .config = config,
        .family = family,
        .keep = keep,
        .out = out,
        .by_name = mlcc_map_create(base->n_tensors)};
    mlcc_status *status = sort_by_module(&f);
    out->linears = MLCC_NEW_ARRAY(keep, foreign_linear, f.n_groups + 1);
    for (size_t i = 0; i < f.n_groups && status == NULL; i++)
        status = find_linear(&f, &f.groups[i]);
    if (status == NULL) status = fold_activation_scales(&f);
    if (status == NULL) status = compare_with_config(&f);
    mlcc_map_free(f.by_name);
    return status;
}
