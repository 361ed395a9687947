// experts: what a decoder has instead of an MLP where its layers are mixtures of experts.
//
//   chosen, weights = route_experts(linear(h, router))
//   gate_up = linear_experts(h, stack of [gate; up], chosen);   y = linear_experts(activation(gate) * up, stack of down, chosen)
//   combine_experts(y, weights)
//
// A stack [E, N, K] is one param; its sources are the matrices of the experts in order, so that no loader needs to know of stacks.
#ifndef MLCC_FRONTEND_ARCH_EXPERTS_H
#define MLCC_FRONTEND_ARCH_EXPERTS_H

#include "frontend/hf/model_config.h"
#include "ir/builder.h"

// Names stand below the layer. Those of one expert's weights hold "%lld" for its number.
typedef struct arch_experts {
    const char *router, *gate_up, *down;               // MLC's
    const char *router_source;                         // Hugging Face's
    const char *gate_source, *up_source, *down_source; // the same, of one expert
    ir_routing routing;                                // k comes from the config
} arch_experts;

typedef struct arch_experts_params {
    ir_value *router, *gate_up, *down;
} arch_experts_params;

// Adds the params of one layer, router first; `prefix` is "model.layers.0.". Sizes from the config: n_experts, n_chosen_experts, d_model, d_ff.
mlcc_status *arch_experts_add(
    const arch_experts *experts, const hf_model_config *config, const char *prefix,
    ir_module *module, arch_experts_params *out);
// The residual branch behind its norm.
ir_value *arch_experts_build(
    const arch_experts *experts, const hf_model_config *config, const arch_experts_params *params,
    ir_op activation, ir_dtype dtype, ir_value *h, ir_build *build);

#endif
