#include "codegen/artifact.h"

#include "ir/chain.h"
#include "ir/fingerprint.h"
#include "runtime/base/str.h"

#include <string.h>

const ir_node *codegen_group_anchor(const ir_function *group) {
    const ir_node *anchor = NULL;
    for (const ir_node *node = group->first; node != NULL; node = node->next) {
        if ((ir_op_get(node->op)->flags & IR_ANCHOR) == 0) continue;
        if (anchor == NULL || node->op == IR_OP_LINEAR) anchor = node;
    }
    return anchor;
}

// ---- instances ----------------------------------------------------------------------------------------

// The value of the same function whose memory `value` is: follows in-place ops to the first that is none.
static const ir_value *in_place_root(const ir_value *value) {
    while (value->kind == IR_VALUE_RESULT && value->index == 0 &&
           (ir_op_get(value->def->op)->flags & IR_IN_PLACE)) {
        value = value->def->operands[0];
    }
    return value;
}

static int32_t input_index(const codegen_instance *instance, const ir_value *value) {
    for (int32_t i = 0; i < instance->n_inputs; i++) {
        if (instance->inputs[i] == value) return i;
    }
    return -1;
}

static void fill_instance(codegen_instance *instance, mlcc_arena *keep) {
    const ir_function *group = instance->group;
    size_t n_operands = (size_t)group->n_args;
    for (const ir_node *node = group->first; node != NULL; node = node->next) {
        n_operands += (size_t)node->n_operands;
    }
    instance->inputs = MLCC_NEW_ARRAY(keep, const ir_value *, n_operands);
    for (int32_t i = 0; i < group->n_args; i++) instance->inputs[i] = group->args[i];
    instance->n_inputs = group->n_args;
    for (const ir_node *node = group->first; node != NULL; node = node->next) {
        for (int32_t i = 0; i < node->n_operands; i++) {
            const ir_value *value = node->operands[i];
            if (value->kind != IR_VALUE_PARAM && value->kind != IR_VALUE_CONST) continue;
            if (input_index(instance, value) < 0) instance->inputs[instance->n_inputs++] = value;
        }
    }
    instance->in_place = MLCC_NEW_ARRAY(keep, int32_t, (size_t)group->n_returns);
    for (int32_t r = 0; r < group->n_returns; r++) {
        instance->in_place[r] = input_index(instance, in_place_root(group->returns[r]));
    }
}

static mlcc_status *find_instance(
    codegen_artifact *artifact, const ir_node *launch, mlcc_arena *keep, int32_t *index) {
    const char *callee = ir_attr_text(launch, "callee");
    const char *kernel = ir_attr_text(launch, "kernel");
    const ir_function *group = ir_module_find(artifact->module, callee);
    if (group == NULL || !group->is_group) {
        return MLCC_ERROR(INTERNAL, "launch of '%s', which is no group function", callee);
    }
    for (int32_t i = 0; i < artifact->n_instances; i++) {
        const codegen_instance *instance = &artifact->instances[i];
        if (instance->group == group && strcmp(instance->kernel, kernel) == 0) {
            *index = i;
            return NULL;
        }
    }
    *index = artifact->n_instances++;
    codegen_instance *instance = &artifact->instances[*index];
    instance->group = group;
    instance->kernel = kernel;
    fill_instance(instance, keep);
    return NULL;
}

static int32_t find_chain_instance(
    codegen_artifact *artifact, const ir_function *function, const char *kernel, mlcc_arena *keep) {
    const mlcc_hash128 wanted = ir_fingerprint_function(function);
    for (int32_t i = 0; i < artifact->n_instances; i++) {
        const codegen_instance *instance = &artifact->instances[i];
        if (!instance->is_chain || strcmp(instance->kernel, kernel) != 0) continue;
        if (mlcc_hash128_equal(ir_fingerprint_function(instance->group), wanted)) return i;
    }
    codegen_instance *instance = &artifact->instances[artifact->n_instances];
    instance->group = function;
    instance->is_chain = true;
    instance->kernel = kernel;
    fill_instance(instance, keep);
    return artifact->n_instances++;
}

// ---- places -------------------------------------------------------------------------------------------

typedef struct resolver {
    codegen_artifact *artifact;
    codegen_function *function;
    mlcc_arena *keep;
} resolver;

// The value of the entry function whose memory `value` is, across launches.
static mlcc_status *entry_root(resolver *r, const ir_value *value, const ir_value **root) {
    while (value->kind == IR_VALUE_RESULT) {
        int32_t index = 0;
        MLCC_TRY(find_instance(r->artifact, value->def, r->keep, &index));
        const codegen_instance *instance = &r->artifact->instances[index];
        int32_t input = instance->in_place[value->index];
        if (input < 0) break;
        value =
            input < value->def->n_operands ? value->def->operands[input] : instance->inputs[input];
    }
    *root = value;
    return NULL;
}

static mlcc_status *number_results(resolver *r) {
    codegen_function *f = r->function;
    const ir_function *function = f->function;
    f->results = MLCC_NEW_ARRAY(r->keep, int32_t, (size_t)function->n_returns);
    for (int32_t i = 0; i < function->n_returns; i++) {
        const ir_value *root = NULL;
        MLCC_TRY(entry_root(r, function->returns[i], &root));
        if (root->kind == IR_VALUE_ARG) continue;
        if (root->kind != IR_VALUE_RESULT) {
            return MLCC_ERROR(
                UNSUPPORTED,
                "function '%s' returns '@%s'; only computed values and arguments changed in place "
                "can be returned",
                function->name, root->name);
        }
        for (int32_t j = 0; j < f->n_results; j++) {
            const ir_value *other = NULL;
            MLCC_TRY(entry_root(r, function->returns[f->results[j]], &other));
            if (other == root) {
                return MLCC_ERROR(
                    UNSUPPORTED,
                    "function '%s' returns one value as results %d and %d; each result "
                    "must be a value of its own",
                    function->name, j, f->n_results);
            }
        }
        f->results[f->n_results++] = i;
    }
    return NULL;
}

static mlcc_status *result_place(resolver *r, const ir_value *root, codegen_place *place) {
    const codegen_function *f = r->function;
    for (int32_t i = 0; i < f->n_results; i++) {
        const ir_value *returned = NULL;
        MLCC_TRY(entry_root(r, f->function->returns[f->results[i]], &returned));
        if (returned != root) continue;
        *place = (codegen_place){.kind = CODEGEN_PLACE_RESULT, .index = i};
        return NULL;
    }
    int64_t size_bytes = 0;
    if (!ir_type_bound_bytes(&root->type, &size_bytes)) {
        return MLCC_ERROR(
            INTERNAL, "an intermediate of function '%s' has no size", f->function->name);
    }
    if (root->offset_bytes < 0 || size_bytes > f->function->workspace_bytes ||
        root->offset_bytes > f->function->workspace_bytes - size_bytes) {
        return MLCC_ERROR(
            INTERNAL,
            "an intermediate of function '%s' has no place in its workspace of %lld bytes "
            "(offset %lld, %lld bytes); run pass plan_memory first",
            f->function->name, (long long)f->function->workspace_bytes,
            (long long)root->offset_bytes, (long long)size_bytes);
    }
    *place = (codegen_place){.kind = CODEGEN_PLACE_WORKSPACE,
                             .offset_bytes = root->offset_bytes,
                             .size_bytes = size_bytes};
    return NULL;
}

static mlcc_status *place_of(resolver *r, const ir_value *value, codegen_place *place) {
    const ir_value *root = NULL;
    MLCC_TRY(entry_root(r, value, &root));
    *place = (codegen_place){.index = root->index};
    switch (root->kind) {
    case IR_VALUE_ARG: place->kind = CODEGEN_PLACE_ARG; return NULL;
    case IR_VALUE_PARAM: place->kind = CODEGEN_PLACE_PARAM; return NULL;
    case IR_VALUE_CONST: place->kind = CODEGEN_PLACE_CONST; return NULL;
    case IR_VALUE_RESULT: break;
    }
    return result_place(r, root, place);
}

// ---- waits --------------------------------------------------------------------------------------------

static bool places_overlap(const codegen_place *a, const codegen_place *b) {
    if (a->kind != b->kind) return false;
    if (a->kind != CODEGEN_PLACE_WORKSPACE) return a->index == b->index;
    return a->offset_bytes < b->offset_bytes + b->size_bytes &&
           b->offset_bytes < a->offset_bytes + a->size_bytes;
}

// Whether `later` touches what `earlier` writes, or writes what `earlier` reads.
static bool launches_conflict(
    const codegen_artifact *artifact, const codegen_launch *earlier, const codegen_launch *later) {
    const codegen_instance *a = &artifact->instances[earlier->instance];
    const codegen_instance *b = &artifact->instances[later->instance];
    for (int32_t w = 0; w < a->group->n_returns; w++) {
        for (int32_t i = 0; i < b->n_inputs; i++) {
            if (places_overlap(&earlier->results[w], &later->inputs[i])) return true;
        }
        for (int32_t i = 0; i < b->group->n_returns; i++) {
            if (places_overlap(&earlier->results[w], &later->results[i])) return true;
        }
    }
    for (int32_t i = 0; i < a->n_inputs; i++) {
        for (int32_t w = 0; w < b->group->n_returns; w++) {
            if (places_overlap(&earlier->inputs[i], &later->results[w])) return true;
        }
    }
    return false;
}

static void decide_waits(const codegen_artifact *artifact, codegen_function *f) {
    int32_t since = 0; // first launch that may still be running
    for (int32_t i = 1; i < f->n_launches; i++) {
        for (int32_t j = since; j < i && !f->launches[i].waits; j++) {
            f->launches[i].waits = launches_conflict(artifact, &f->launches[j], &f->launches[i]);
        }
        if (f->launches[i].waits) since = i;
    }
}

// Kernels may assume that no result overlaps an input (other than its own in-place operand).
static mlcc_status *check_overlap(const codegen_artifact *artifact, const codegen_launch *launch) {
    const codegen_instance *instance = &artifact->instances[launch->instance];
    for (int32_t r = 0; r < instance->group->n_returns; r++) {
        for (int32_t i = 0; i < instance->n_inputs; i++) {
            if (instance->in_place[r] == i) continue;
            if (!places_overlap(&launch->results[r], &launch->inputs[i])) continue;
            return MLCC_ERROR(
                INTERNAL, "result %d of a launch of group '%s' overwrites its input %d", r,
                instance->group->name, i);
        }
    }
    return NULL;
}

// ---- functions ----------------------------------------------------------------------------------------

static mlcc_status *build_launch(resolver *r, const ir_node *node, codegen_launch *launch) {
    MLCC_TRY(find_instance(r->artifact, node, r->keep, &launch->instance));
    const codegen_instance *instance = &r->artifact->instances[launch->instance];
    launch->inputs = MLCC_NEW_ARRAY(r->keep, codegen_place, (size_t)instance->n_inputs);
    launch->results = MLCC_NEW_ARRAY(r->keep, codegen_place, (size_t)node->n_results);
    for (int32_t i = 0; i < instance->n_inputs; i++) {
        const ir_value *value = i < node->n_operands ? node->operands[i] : instance->inputs[i];
        MLCC_TRY(place_of(r, value, &launch->inputs[i]));
    }
    for (int32_t i = 0; i < node->n_results; i++) {
        MLCC_TRY(place_of(r, node->results[i], &launch->results[i]));
    }
    return check_overlap(r->artifact, launch);
}

// The chain that begins with `first` as a launch of its own.
static mlcc_status *build_chain(resolver *r, const ir_node *first, codegen_launch *launch) {
    const ir_chain chain = ir_chain_join(first, ir_attr_i64(first, "chain"), r->keep);
    launch->instance = find_chain_instance(
        r->artifact, chain.function, ir_attr_text(first, "chain_kernel"), r->keep);
    const codegen_instance *instance = &r->artifact->instances[launch->instance];
    const ir_node *anchor = codegen_group_anchor(instance->group);
    if (anchor == NULL) {
        return MLCC_ERROR(INTERNAL, "chain '%s' has no anchor", instance->group->name);
    }
    launch->max_rows = ir_attr_i64(first, "chain_rows");
    launch->rows = &anchor->operands[0]->type.dims[0];
    launch->inputs = MLCC_NEW_ARRAY(r->keep, codegen_place, (size_t)instance->n_inputs + 1);
    launch->results =
        MLCC_NEW_ARRAY(r->keep, codegen_place, (size_t)instance->group->n_returns + 1);
    for (int32_t i = 0; i < instance->n_inputs; i++) {
        const bool is_arg = i < instance->group->n_args;
        const ir_value *value = is_arg ? chain.inputs[i] : instance->inputs[i];
        MLCC_TRY(place_of(r, value, &launch->inputs[i]));
    }
    for (int32_t i = 0; i < instance->group->n_returns; i++) {
        MLCC_TRY(place_of(r, chain.results[i], &launch->results[i]));
    }
    return check_overlap(r->artifact, launch);
}

// The launch of `node`, after that of the chain that it begins. `*chain` is the chain's launch while its members follow.
static mlcc_status *build_launches(
    resolver *r, const ir_node *node, int64_t *n_left, const codegen_launch **chain) {
    codegen_function *f = r->function;
    if (!ir_chain_continues(node, n_left)) {
        *chain = NULL;
        if (ir_attr_i64(node, "chain") > 0) {
            codegen_launch *launch = &f->launches[f->n_launches];
            MLCC_TRY(build_chain(r, node, launch));
            f->n_launches++;
            *chain = launch;
        }
    }
    codegen_launch *launch = &f->launches[f->n_launches];
    MLCC_TRY(build_launch(r, node, launch));
    f->n_launches++;
    if (*chain == NULL) return NULL;
    launch->min_rows = (*chain)->max_rows + 1;
    launch->rows = (*chain)->rows;
    return NULL;
}

static mlcc_status *build_function(
    codegen_artifact *artifact, const ir_function *function, mlcc_arena *keep,
    codegen_function *out) {
    *out = (codegen_function){.function = function};
    resolver r = {.artifact = artifact, .function = out, .keep = keep};
    if (function->workspace_bytes < 0) {
        return MLCC_ERROR(
            INTERNAL, "function '%s' has no workspace; run pass plan_memory first", function->name);
    }
    size_t n_nodes = 0;
    for (const ir_node *node = function->first; node != NULL; node = node->next, n_nodes++) {
        if (node->op == IR_OP_LAUNCH) continue;
        return MLCC_ERROR(
            INTERNAL, "function '%s' holds op '%s'; at PLAN level only launches are left",
            function->name, ir_op_get(node->op)->text);
    }
    MLCC_TRY(number_results(&r));
    out->launches = MLCC_NEW_ARRAY(keep, codegen_launch, 2 * n_nodes);
    const codegen_launch *chain = NULL;
    int64_t n_left = 0;
    for (const ir_node *node = function->first; node != NULL; node = node->next) {
        MLCC_TRY(build_launches(&r, node, &n_left, &chain));
    }
    decide_waits(artifact, out);
    return NULL;
}

int64_t codegen_shared_offset(const codegen_function *f) {
    return (f->function->workspace_bytes + 63) / 64 * 64;
}

int64_t codegen_workspace_bytes(const codegen_function *f) {
    if (f->shared_bytes == 0) return f->function->workspace_bytes;
    return codegen_shared_offset(f) + f->shared_bytes;
}

// ---- params -------------------------------------------------------------------------------------------

// Layouts know matrices; a stack is one with the rows of all.
static int32_t find_prepare(codegen_artifact *artifact, const char *layout, const ir_type *stored) {
    const ir_type flat = ir_type_flat(stored), *type = &flat;
    for (int32_t i = 0; i < artifact->n_prepares; i++) {
        const codegen_prepare *prepare = &artifact->prepares[i];
        if (strcmp(prepare->layout, layout) == 0 && ir_type_equal(&prepare->type, type)) return i;
    }
    artifact->prepares[artifact->n_prepares] = (codegen_prepare){.layout = layout, .type = *type};
    return artifact->n_prepares++;
}

static mlcc_status *build_param(
    codegen_artifact *artifact, const ir_param *param, mlcc_arena *keep, codegen_param *out) {
    const ir_type *type = &param->value.type;
    *out = (codegen_param){.param = param, .prepare = -1};
    if (param->layout == NULL) {
        return MLCC_ERROR(
            INTERNAL, "param '%s' has no layout; run pass choose_layouts first", param->value.name);
    }
    const quant_format *format = quant_format_of(type->dtype);
    MLCC_TRY_NOTE(
        format->pieces(type, out->pieces, &out->n_pieces), "laying out param '%s'",
        param->value.name);
    for (int32_t i = 0; i < out->n_pieces; i++) {
        out->piece_names[i] = quant_piece_name(keep, param->value.name, &out->pieces[i]);
    }
    if (strcmp(param->layout, "rows") != 0) {
        out->prepare = find_prepare(artifact, param->layout, type);
    } else if (out->n_pieces != 1) {
        return MLCC_ERROR(
            INTERNAL,
            "param '%s' of format %s is stored in %d pieces and cannot have layout 'rows'",
            param->value.name, ir_dtype_get(type->dtype)->text, out->n_pieces);
    }
    return NULL;
}

mlcc_status *codegen_artifact_build(
    const ir_module *module, mlcc_arena *keep, codegen_artifact **out) {
    *out = NULL;
    if (module->level != IR_LEVEL_PLAN) {
        return MLCC_ERROR(INTERNAL, "module '%s' is not at PLAN level", module->name);
    }
    codegen_artifact *artifact = MLCC_NEW(keep, codegen_artifact);
    artifact->module = module;
    // Every launch may be an instance of its own and begin a chain; the last place of the table is never needed.
    size_t n_launches = 1;
    for (size_t i = 0; i < module->n_functions; i++) {
        const ir_function *function = module->functions[i];
        if (function->is_group) continue;
        for (const ir_node *node = function->first; node != NULL; node = node->next) {
            n_launches += 2;
        }
    }
    artifact->instances = MLCC_NEW_ARRAY(keep, codegen_instance, n_launches);
    artifact->functions = MLCC_NEW_ARRAY(keep, codegen_function, module->n_functions + 1);
    artifact->params = MLCC_NEW_ARRAY(keep, codegen_param, module->n_params + 1);
    artifact->prepares = MLCC_NEW_ARRAY(keep, codegen_prepare, module->n_params + 1);
    for (size_t i = 0; i < module->n_params; i++) {
        MLCC_TRY(build_param(artifact, module->params[i], keep, &artifact->params[i]));
        artifact->n_params++;
    }
    for (size_t i = 0; i < module->n_functions; i++) {
        if (module->functions[i]->is_group) continue;
        codegen_function *function = &artifact->functions[artifact->n_functions];
        MLCC_TRY_NOTE(
            build_function(artifact, module->functions[i], keep, function),
            "planning function '%s'", module->functions[i]->name);
        artifact->n_functions++;
    }
    *out = artifact;
    return NULL;
}

// ---- fingerprints -------------------------------------------------------------------------------------

static mlcc_hash128 fingerprint(const ir_module *module, const char *version) {
    mlcc_str text = {0};
    if (version != NULL) mlcc_str_printf(&text, "%s\n", version);
    for (size_t i = 0; i < module->n_params; i++) {
        const ir_param *param = module->params[i];
        const ir_type *type = &param->value.type;
        mlcc_str_printf(&text, "%s\t%s", param->value.name, ir_dtype_get(type->dtype)->text);
        for (int32_t d = 0; d < type->rank; d++) {
            mlcc_str_printf(&text, "\t%lld", (long long)ir_dim_bound(type->dims[d]));
        }
        if (version != NULL && param->layout != NULL) mlcc_str_printf(&text, "\t%s", param->layout);
        mlcc_str_putc(&text, '\n');
    }
    mlcc_hash128 hash = mlcc_hash128_of(mlcc_str_text(&text), text.length);
    mlcc_str_free(&text);
    return hash;
}

mlcc_hash128 codegen_param_fingerprint(const ir_module *module) {
    return fingerprint(module, NULL);
}

mlcc_hash128 codegen_layout_fingerprint(const ir_module *module, const char *version) {
    return fingerprint(module, version);
}
