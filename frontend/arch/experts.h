// experts: what a decoder has instead of an MLP in layers that are mixtures of experts.
//
//   chosen, weights = route_experts(linear(h, router) + its bias, choice bias)
//   gate_up = linear_experts(h, stack of [gate; up], chosen);   y = linear_experts(product(gate, up), stack of down, chosen)
//   combine_experts(y, weights)
//
//   product(g, u) = activation(g) * u, or where the config has a swiglu_limit L (gpt_oss): with g below L and u within ±L,
//                   g * sigmoid(1.702 g) * (u + 1)
//
// A stack [E, N, K] is one param. Its sources are the matrices of the experts in order, so that no loader needs to know of stacks, or the stack itself
// where Hugging Face's file has one. Shared experts, which every token reads, are an MLP beside this (decoder.h).
#ifndef MLCC_FRONTEND_ARCH_EXPERTS_H
#define MLCC_FRONTEND_ARCH_EXPERTS_H

#include "frontend/hf/arranged_source.h"
#include "frontend/hf/model_config.h"
#include "ir/builder.h"

// E experts of width F in a model of width D.
typedef enum arch_expert_role {
    ARCH_ROUTER,             // [E, D]
    ARCH_ROUTER_BIAS,        // [E]
    ARCH_CHOICE_BIAS,        // [E], moves the choice, not the weights
    ARCH_STACK_GATE_UP,      // [E, 2F, D], rows of gate, then up
    ARCH_STACK_GATE_UP_BIAS, // [E, 2F]
    ARCH_STACK_DOWN,         // [E, D, F]
    ARCH_STACK_DOWN_BIAS,    // [E, D]
    ARCH_N_EXPERT_ROLES
} arch_expert_role;

// Names stand below the layer. Those of one expert's tensors hold "%lld" for its number.
typedef struct arch_expert_weight {
    const char *name;         // MLC's; NULL: the family has none
    const char *sources[2];   // Hugging Face's, in order of the rows; none: the name
    hf_arrangement_form form; // of a source that is a whole stack
    bool may_be_mxfp4; // a stack that the file may have as SOURCE_blocks and SOURCE_scales instead
} arch_expert_weight;

typedef struct arch_experts {
    arch_expert_weight weights[ARCH_N_EXPERT_ROLES];
    // What the family always does; k, norm_topk_prob, routed_scaling_factor and groups come from the config.
    ir_routing routing;
} arch_experts;

typedef struct arch_experts_params {
    ir_value *by_role[ARCH_N_EXPERT_ROLES];
} arch_experts_params;

// `prefix`, then `pattern` with `index` in place of its %lld, if it has one.
const char *arch_numbered_name(
    mlcc_arena *keep, const char *prefix, const char *pattern, int64_t index);
// Whether the numbers of experts go together; INVALID names the keys. For configs with n_experts > 0.
mlcc_status *arch_experts_check(const hf_model_config *config);
// Adds the params of one layer in the order of their roles; `prefix` is "model.layers.0.". Sizes from the config: n_experts, d_model, d_expert.
mlcc_status *arch_experts_add(
    const arch_experts *experts, const hf_model_config *config, const char *prefix,
    ir_module *module, arch_experts_params *out);
// Rows for the stacks of one layer that are to be arranged; at most 2 * ARCH_N_EXPERT_ROLES are added behind *n_rows.
void arch_experts_arrange(
    const arch_experts *experts, const char *source_prefix, mlcc_arena *keep, hf_arrangement *rows,
    size_t *n_rows);
// The residual branch behind its norm.
ir_value *arch_experts_build(
    const arch_experts *experts, const hf_model_config *config, const arch_experts_params *params,
    ir_op activation, ir_dtype dtype, ir_value *h, ir_build *build);

#endif
