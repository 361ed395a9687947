#include "frontend/arch/experts.h"

#include "runtime/base/str.h"

#include <math.h>
#include <string.h>

#define MAX_SHARED_WIDTH ((int64_t)1 << 28) // as every other width of an MLP

static mlcc_status *check_groups(const hf_model_config *config) {
    const int64_t n = config->n_experts, n_groups = config->n_expert_groups;
    if (n_groups <= 1) return NULL;
    if (n_groups > n || n % n_groups != 0)
        return MLCC_ERROR(
            INVALID, "n_group is %lld; %lld experts do not divide into so many groups",
            (long long)n_groups, (long long)n);
    if (config->n_top_groups < 1 || config->n_top_groups > n_groups)
        return MLCC_ERROR(
            INVALID, "topk_group is %lld; accepted are 1 to n_group, which is %lld",
            (long long)config->n_top_groups, (long long)n_groups);
    const int64_t most = config->n_top_groups * (n / n_groups);
    if (config->n_chosen_experts <= most) return NULL;
    return MLCC_ERROR(
        INVALID, "num_experts_per_tok is %lld; topk_group %lld groups of %lld experts hold %lld",
        (long long)config->n_chosen_experts, (long long)config->n_top_groups,
        (long long)(n / n_groups), (long long)most);
}

mlcc_status *arch_experts_check(const hf_model_config *config) {
    if (config->n_experts < 1 || config->n_experts > IR_MAX_EXPERTS) {
        return MLCC_ERROR(
            INVALID, "the config gives a layer %lld experts; accepted are 1 to %d",
            (long long)config->n_experts, IR_MAX_EXPERTS);
    }
    const int64_t most =
        config->n_experts < IR_MAX_CHOSEN_EXPERTS ? config->n_experts : IR_MAX_CHOSEN_EXPERTS;
    if (config->n_chosen_experts < 1 || config->n_chosen_experts > most)
        return MLCC_ERROR(
            INVALID, "num_experts_per_tok is %lld; a layer with %lld experts accepts 1 to %lld",
            (long long)config->n_chosen_experts, (long long)config->n_experts, (long long)most);
    MLCC_TRY(check_groups(config));
    if (config->d_shared > MAX_SHARED_WIDTH)
        return MLCC_ERROR(
            INVALID, "the shared experts are %lld wide together; accepted are 0 to %lld",
            (long long)config->d_shared, (long long)MAX_SHARED_WIDTH);
    return NULL;
}

// ---- params ---------------------------------------------------------------------------------------------

// "block_sparse_moe.experts.%lld.w1.weight" and 3; a name without a number is that of a whole stack.
const char *arch_numbered_name(
    mlcc_arena *keep, const char *prefix, const char *pattern, int64_t index) {
    const char *number = strstr(pattern, "%lld");
    if (number == NULL) return mlcc_arena_printf(keep, "%s%s", prefix, pattern);
    return mlcc_arena_printf(
        keep, "%s%.*s%lld%s", prefix, (int)(number - pattern), pattern, (long long)index,
        number + strlen("%lld"));
}

static ir_type type_of(const hf_model_config *config, arch_expert_role role) {
    const int64_t E = config->n_experts, D = config->d_model, F = config->d_expert;
    const struct {
        int32_t rank;
        int64_t dims[3];
    } rows[ARCH_N_EXPERT_ROLES] = {
        [ARCH_ROUTER] = {2, {E, D}},
        [ARCH_ROUTER_BIAS] = {1, {E}},
        [ARCH_CHOICE_BIAS] = {1, {E}},
        [ARCH_STACK_GATE_UP] = {3, {E, 2 * F, D}},
        [ARCH_STACK_GATE_UP_BIAS] = {2, {E, 2 * F}},
        [ARCH_STACK_DOWN] = {3, {E, D, F}},
        [ARCH_STACK_DOWN_BIAS] = {2, {E, D}},
    };
    ir_type type = {.dtype = IR_F32, .rank = rows[role].rank};
    for (int32_t i = 0; i < type.rank; i++) type.dims[i] = ir_dim_const(rows[role].dims[i]);
    return type;
}

// The one that stands in for sources that are not named is the param's own name.
static const char *source_of(const arch_expert_weight *weight, size_t i) {
    return i == 0 && weight->sources[0] == NULL ? weight->name : weight->sources[i];
}

static mlcc_status *add(
    const arch_expert_weight *weight, ir_type type, const char *prefix, ir_module *module,
    ir_value **out) {
    const bool is_stack = strstr(source_of(weight, 0), "%lld") == NULL;
    const int64_t n_experts = is_stack ? 1 : type.dims[0].value;
    const size_t n_parts = weight->sources[1] == NULL ? 1 : 2;
    const char **sources = MLCC_NEW_ARRAY(module->keep, const char *, (size_t)n_experts *n_parts);
    int32_t n_sources = 0;
    for (int64_t expert = 0; expert < n_experts; expert++) {
        for (size_t i = 0; i < n_parts; i++)
            sources[n_sources++] =
                arch_numbered_name(module->keep, prefix, source_of(weight, i), expert);
    }
    const char *full = mlcc_arena_printf(module->keep, "%s%s", prefix, weight->name);
    ir_param *param = ir_module_add_param(module, full, type, sources, n_sources);
    if (param == NULL) return MLCC_ERROR(INTERNAL, "two params are called '%s'", full);
    *out = &param->value;
    return NULL;
}

mlcc_status *arch_experts_add(
    const arch_experts *experts, const hf_model_config *config, const char *prefix,
    ir_module *module, arch_experts_params *out) {
    MLCC_TRY(arch_experts_check(config));
    for (size_t role = 0; role < ARCH_N_EXPERT_ROLES; role++) {
        const arch_expert_weight *weight = &experts->weights[role];
        if (weight->name == NULL) continue;
        const ir_type type = type_of(config, (arch_expert_role)role);
        MLCC_TRY(add(weight, type, prefix, module, &out->by_role[role]));
    }
    return NULL;
}

void arch_experts_arrange(
    const arch_experts *experts, const char *source_prefix, mlcc_arena *keep, hf_arrangement *rows,
    size_t *n_rows) {
    for (size_t role = 0; role < ARCH_N_EXPERT_ROLES; role++) {
        const arch_expert_weight *weight = &experts->weights[role];
        if (weight->name == NULL || weight->form == HF_AS_IT_IS) continue;
        const char *name = arch_numbered_name(keep, source_prefix, source_of(weight, 0), 0);
        rows[(*n_rows)++] = (hf_arrangement){.name = name, .form = weight->form};
        if (!weight->may_be_mxfp4) continue;
        // Rows of codes are those of the transposed stack already.
        const bool has_pairs = weight->form == HF_TRANSPOSED_PAIRS;
        rows[(*n_rows)++] = (hf_arrangement){.name = mlcc_arena_printf(keep, "%s_blocks", name),
                                             .as = name,
                                             .form = has_pairs ? HF_MXFP4_PAIRS : HF_MXFP4};
    }
}

// ---- nodes ----------------------------------------------------------------------------------------------

// x * sigmoid(alpha x) = silu(alpha x) / alpha.
static ir_value *clamped_product(
    const hf_model_config *config, ir_value *gate, ir_value *up, ir_build *build) {
    const double alpha = 1.702, limit = config->swiglu_limit;
    gate = ir_clamp(build, gate, -HUGE_VAL, limit);
    up = ir_clamp(build, up, -limit, limit);
    ir_value *swish = ir_unary(build, IR_OP_SILU, ir_scale(build, gate, alpha));
    swish = ir_scale(build, swish, 1 / alpha);
    return ir_binary(build, IR_OP_ADD, ir_binary(build, IR_OP_MUL, swish, up), swish);
}

ir_value *arch_experts_build(
    const arch_experts *experts, const hf_model_config *config, const arch_experts_params *params,
    ir_op activation, ir_dtype dtype, ir_value *h, ir_build *build) {
    ir_value *const *by_role = params->by_role;
    ir_routing routing = experts->routing;
    routing.k = config->n_chosen_experts;
    routing.renormalize |= config->norm_topk_prob;
    routing.scale = config->routed_scaling_factor;
    if (config->n_expert_groups > 1) {
        routing.n_groups = config->n_expert_groups;
        routing.top_groups = config->n_top_groups;
    } else {
        routing.group_best = 1;
    }
    ir_value *logits = ir_linear(build, h, by_role[ARCH_ROUTER], by_role[ARCH_ROUTER_BIAS], IR_F32);
    const ir_node *route = ir_route_experts(build, logits, by_role[ARCH_CHOICE_BIAS], &routing);
    if (route == NULL) return h;
    ir_value *chosen = route->results[0], *weights = route->results[1];
    ir_value *joined = ir_linear_experts(
        build, h, by_role[ARCH_STACK_GATE_UP], chosen, by_role[ARCH_STACK_GATE_UP_BIAS], dtype);
    const int64_t F = config->d_expert;
    ir_value *gate = ir_slice_parts(build, joined, routing.k, 0, F);
    ir_value *up = ir_slice_parts(build, joined, routing.k, F, 2 * F);
    ir_value *product = config->swiglu_limit > 0
                            ? clamped_product(config, gate, up, build)
                            : ir_binary(build, IR_OP_MUL, ir_unary(build, activation, gate), up);
    ir_value *y = ir_linear_experts(
        build, product, by_role[ARCH_STACK_DOWN], chosen, by_role[ARCH_STACK_DOWN_BIAS], dtype);
    return ir_combine_experts(build, y, weights);
}
