#include "frontend/arch/experts.h"

#include "runtime/base/str.h"

#include <string.h>

static mlcc_status *check_counts(const hf_model_config *config) {
    if (config->n_experts < 1 || config->n_experts > IR_MAX_EXPERTS) {
        return MLCC_ERROR(
            INVALID, "the config gives a layer %lld experts; accepted are 1 to %d",
            (long long)config->n_experts, IR_MAX_EXPERTS);
    }
    const int64_t most =
        config->n_experts < IR_MAX_CHOSEN_EXPERTS ? config->n_experts : IR_MAX_CHOSEN_EXPERTS;
    if (config->n_chosen_experts >= 1 && config->n_chosen_experts <= most) return NULL;
    return MLCC_ERROR(
        INVALID, "num_experts_per_tok is %lld; a layer with %lld experts accepts 1 to %lld",
        (long long)config->n_chosen_experts, (long long)config->n_experts, (long long)most);
}

// "block_sparse_moe.experts.%lld.w1.weight" and 3.
static const char *name_of_expert(
    mlcc_arena *keep, const char *prefix, const char *pattern, int64_t expert) {
    const char *number = strstr(pattern, "%lld");
    const int length = number == NULL ? (int)strlen(pattern) : (int)(number - pattern);
    if (number == NULL) return mlcc_arena_printf(keep, "%s%s", prefix, pattern);
    return mlcc_arena_printf(
        keep, "%s%.*s%lld%s", prefix, length, pattern, (long long)expert, number + strlen("%lld"));
}

// `patterns`: the sources of one expert, in order of its rows.
static mlcc_status *add(
    ir_module *module, const char *prefix, const char *name, ir_type type,
    const char *const *patterns, int32_t n_patterns, ir_value **out) {
    const int64_t n_experts = type.rank == 3 ? type.dims[0].value : 1;
    const char **sources =
        MLCC_NEW_ARRAY(module->keep, const char *, (size_t)(n_experts * n_patterns));
    int32_t n_sources = 0;
    for (int64_t expert = 0; expert < n_experts; expert++) {
        for (int32_t i = 0; i < n_patterns; i++)
            sources[n_sources++] = name_of_expert(module->keep, prefix, patterns[i], expert);
    }
    const char *full = mlcc_arena_printf(module->keep, "%s%s", prefix, name);
    ir_param *param = ir_module_add_param(module, full, type, sources, n_sources);
    if (param == NULL) return MLCC_ERROR(INTERNAL, "two params are called '%s'", full);
    *out = &param->value;
    return NULL;
}

static ir_type stack(int64_t n_experts, int64_t rows, int64_t columns) {
    return (ir_type){.dtype = IR_F32,
                     .rank = 3,
                     .dims = {ir_dim_const(n_experts), ir_dim_const(rows), ir_dim_const(columns)}};
}

mlcc_status *arch_experts_add(
    const arch_experts *experts, const hf_model_config *config, const char *prefix,
    ir_module *module, arch_experts_params *out) {
    MLCC_TRY(check_counts(config));
    const int64_t n = config->n_experts, d_model = config->d_model, d_ff = config->d_ff;
    const char *const gate_up[] = {experts->gate_source, experts->up_source};
    const ir_type router = ir_type_matrix(IR_F32, ir_dim_const(n), ir_dim_const(d_model));
    MLCC_TRY(
        add(module, prefix, experts->router, router, &experts->router_source, 1, &out->router));
    MLCC_TRY(add(
        module, prefix, experts->gate_up, stack(n, 2 * d_ff, d_model), gate_up, 2, &out->gate_up));
    return add(
        module, prefix, experts->down, stack(n, d_model, d_ff), &experts->down_source, 1,
        &out->down);
}

ir_value *arch_experts_build(
    const arch_experts *experts, const hf_model_config *config, const arch_experts_params *params,
    ir_op activation, ir_dtype dtype, ir_value *h, ir_build *build) {
    ir_routing routing = experts->routing;
    routing.k = config->n_chosen_experts;
    ir_value *logits = ir_linear(build, h, params->router, NULL, IR_F32);
    const ir_node *route = ir_route_experts(build, logits, NULL, &routing);
    if (route == NULL) return h;
    ir_value *chosen = route->results[0], *weights = route->results[1];
    ir_value *joined = ir_linear_experts(build, h, params->gate_up, chosen, NULL, dtype);
    ir_value *gate = ir_slice_parts(build, joined, routing.k, 0, config->d_ff);
    ir_value *up = ir_slice_parts(build, joined, routing.k, config->d_ff, 2 * config->d_ff);
    ir_value *product = ir_binary(build, IR_OP_MUL, ir_unary(build, activation, gate), up);
    ir_value *y = ir_linear_experts(build, product, params->down, chosen, NULL, dtype);
    return ir_combine_experts(build, y, weights);
}
