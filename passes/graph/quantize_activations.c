// quantize_activations: fp8 modes round the input of every linear whose weight they quantize, or record its maximum; modes that leave activations
// alone get whole numbers where the target multiplies them.
//
//     %1 = linear %0, @o_proj.weight   becomes
//
//     E5M2               %1 = quantize_activation %0, @activation_scale.one {mantissa_bits = 2}      a constant [1.0]
//     E4M3_CALIBRATED    %1 = quantize_activation %0, @o_proj.q_calibration_scale {floor = 1/512}    0 = scale of each row at run time
//     E4M3_OBSERVED      %1 = observe_max %"o_proj.q_calibration_scale", %0                          a new argument, returned too
//                        %2 = quantize_activation %0 {floor = 1/512}
//     E4M3_BLOCK         %1 = quantize_activation %0 {group = 128}
//     E4M3_BLOCK_STATIC  %1 = quantize_activation %0, @o_proj.activation_scale {group = 128}         0 = as E4M3_BLOCK
//
//     none of these      %1 = quantize_activation %0 {mantissa_bits = 7, group = 32, floor = 1e-30}  where the target takes such codes, unless exact
//
//     and linear reads the rounded rows; linear_experts too where the target takes such codes for stacks
//
// Linears of the same rows share the rounding where it is the same. Scale params stand behind their weight (MLC's order of records), take
// what the checkpoint has under each source's name, and are 0 where it has nothing. Arguments are named like the records that calibration writes.
// Needs: graph level, after quantize (it looks at dtypes) and fuse_projections (one maximum for a joined weight). Cost: one walk; a linear
// searches the nodes since its rows were made. Source: MLC LLM, per_tensor_quantization.py and block_scale_quantization.py (what is rounded,
// names, floors); a scale per row instead of one per call is ours, so that a batch never changes a result.
#include "ir/builder.h"
#include "ir/walk.h"
#include "passes/analysis/codes.h"
#include "passes/pass.h"
#include "runtime/base/str.h"

#include <string.h>

#define MAX_SUFFIXES 2
#define BLOCK        128

typedef struct rounding {
    int64_t mantissa_bits, group;
    double floor;
    bool has_unit_scale;
    // What stands for "weight" in the name of the scale: a param, or an argument; NULL: no scale.
    const char *scale;
    bool is_observed;
    const char *suffixes[MAX_SUFFIXES]; // likewise, of the checkpoint's tensors that may hold it
} rounding;

// clang-format off
static const rounding recipes[] = {
    //                                   bits group  floor      unit   scale                  observed suffixes
    [QUANT_ACTIVATION_E5M2]              = {2, 0,     1e-10,     true,  NULL,                  false, {NULL}},
    [QUANT_ACTIVATION_E4M3_CALIBRATED]   = {3, 0,     1.0 / 512, false, "q_calibration_scale", false, {"input_scale"}},
    [QUANT_ACTIVATION_E4M3_OBSERVED]     = {3, 0,     1.0 / 512, false, "q_calibration_scale", true,  {NULL}},
    [QUANT_ACTIVATION_E4M3_BLOCK]        = {3, BLOCK, 1e-10,     false, NULL,                  false, {NULL}},
    [QUANT_ACTIVATION_E4M3_BLOCK_STATIC] = {3, BLOCK, 1e-10,     false, "activation_scale",    false, {"activation_scale", "input_scale"}},
};
// clang-format on

// A byte per number and a scale for every 32, the group of most weights: llama.cpp's Q8_0, with scales in float32.
static const rounding bytes = {7, 32, 1e-30, false, NULL, false, {NULL}};

typedef struct rewriter {
    ir_module *module;
    const pass_target *target;
    const rounding *recipe;
    ir_dtype linear; // element format of the weights that the mode quantizes
    ir_value *one;   // the constant [1.0], once it is needed
    mlcc_arena *scratch;
} rewriter;

// "a.b.weight" and "scale": "a.b.scale".
static const char *sibling_name(mlcc_arena *keep, const char *name, const char *part) {
    size_t length = strlen(name);
    if (mlcc_text_ends_with(name, ".weight")) length -= strlen(".weight");
    return mlcc_arena_printf(keep, "%.*s.%s", (int)length, name, part);
}

static mlcc_status *name_is_taken(const char *name) {
    return MLCC_ERROR(
        INVALID, "the name '%s', which the activation scale of a linear needs, is taken", name);
}

// ---- scales ------------------------------------------------------------------------------------------------------------------------

static mlcc_status *unit_scale(rewriter *r, ir_value **out) {
    static const char name[] = "activation_scale.one";
    static const float one[] = {1.0f};
    if (r->one == NULL) {
        const ir_type type = ir_type_vector(IR_F32, ir_dim_const(1));
        ir_const *constant = ir_module_add_const(r->module, name, type, one);
        if (constant == NULL) return name_is_taken(name);
        r->one = &constant->value;
    }
    *out = r->one;
    return NULL;
}

static ir_type scale_type(const rounding *recipe, const ir_param *weight) {
    const int64_t columns = weight->value.type.dims[1].value, group = recipe->group;
    const int64_t n_groups = group == 0 ? 1 : columns / group + (columns % group != 0);
    return ir_type_vector(IR_F32, ir_dim_const(n_groups));
}

// Every tensor that may hold the scale of one of the weight's sources.
static int32_t scale_sources(const rewriter *r, const ir_param *weight, const char **sources) {
    int32_t n_sources = 0;
    for (int32_t s = 0; s < weight->n_sources; s++) {
        for (int32_t i = 0; i < MAX_SUFFIXES && r->recipe->suffixes[i] != NULL; i++) {
            sources[n_sources++] =
                sibling_name(r->scratch, weight->sources[s], r->recipe->suffixes[i]);
        }
    }
    return n_sources;
}

// The scale param of a weight: there already when another linear reads the weight too.
static mlcc_status *scale_param(rewriter *r, const ir_param *weight, ir_value **out) {
    const char *name = sibling_name(r->scratch, weight->value.name, r->recipe->scale);
    const ir_type type = scale_type(r->recipe, weight);
    ir_param *param = ir_module_find_param(r->module, name);
    if (param == NULL) {
        const char **sources =
            MLCC_NEW_ARRAY(r->scratch, const char *, (size_t)weight->n_sources *MAX_SUFFIXES + 1);
        const int32_t n_sources = scale_sources(r, weight, sources);
        param = ir_module_add_param(r->module, name, type, sources, n_sources);
        if (param == NULL) return name_is_taken(name);
        param->has_fallback = true;
        param->fallback = 0.0;
        ir_module_move_param(r->module, param, (size_t)weight->value.index + 1);
    }
    if (!ir_type_equal(&param->value.type, &type)) return name_is_taken(name);
    *out = &param->value;
    return NULL;
}

// ---- maxima ------------------------------------------------------------------------------------------------------------------------

// Puts `observe_max` of the rows that `linear` reads before it. arg->user is what the argument has become so far.
static mlcc_status *observe(rewriter *r, ir_build *b, const ir_node *linear) {
    ir_function *function = linear->function;
    const ir_param *weight = ir_param_of(linear->operands[1]);
    const char *name = sibling_name(r->scratch, weight->value.name, r->recipe->scale);
    const ir_type type = scale_type(r->recipe, weight);
    ir_value *arg = NULL;
    for (int32_t i = 0; i < function->n_args && arg == NULL; i++) {
        if (strcmp(function->args[i]->name, name) == 0) arg = function->args[i];
    }
    if (arg == NULL) {
        arg = ir_function_add_arg(function, name, type);
        arg->user = arg;
    }
    if (!ir_type_equal(&arg->type, &type)) return name_is_taken(name);
    arg->user = ir_observe_max(b, arg->user, linear->operands[0]);
    return b->status;
}

// The function returns every argument that was changed, behind what it returned before.
static void return_maxima(rewriter *r, ir_function *function) {
    const size_t n_values = (size_t)function->n_returns + (size_t)function->n_args;
    ir_value **values = MLCC_NEW_ARRAY(r->scratch, ir_value *, n_values);
    int32_t n_returns = 0;
    for (; n_returns < function->n_returns; n_returns++) {
        values[n_returns] = function->returns[n_returns];
    }
    for (int32_t i = 0; i < function->n_args; i++) {
        if (function->args[i]->user == function->args[i]) continue;
        values[n_returns++] = function->args[i]->user;
    }
    if (n_returns > function->n_returns) ir_function_set_returns(function, values, n_returns);
}

// ---- linears -----------------------------------------------------------------------------------------------------------------------

// Modes say nothing of stacks of experts: those are rounded only where the target wants it.
static bool is_wanted(const rewriter *r, const ir_node *node) {
    if (node->n_operands < 2 || node->operands[1]->kind != IR_VALUE_PARAM) return false;
    const bool is_quantized =
        r->recipe == &bytes
            ? codes_are_wanted(r->target, node, bytes.mantissa_bits, bytes.group)
            : node->op == IR_OP_LINEAR && node->operands[1]->type.dtype == r->linear;
    if (!is_quantized) return false;
    const ir_value *x = node->operands[0];
    return x->kind != IR_VALUE_RESULT || x->def->op != IR_OP_QUANTIZE_ACTIVATION;
}

static bool rounds_likewise(
    const rounding *recipe, const ir_node *node, const ir_value *x, const ir_value *scale) {
    return node->op == IR_OP_QUANTIZE_ACTIVATION && node->operands[0] == x &&
           (node->n_operands > 1 ? node->operands[1] : NULL) == scale &&
           ir_attr_i64(node, "mantissa_bits") == recipe->mantissa_bits &&
           ir_attr_i64(node, "group") == recipe->group &&
           ir_attr_f64(node, "floor") == recipe->floor;
}

// The rows that `linear` reads, rounded: by a node before it, or by a new one.
static ir_value *rounded_rows(
    const rounding *recipe, ir_build *b, const ir_node *linear, ir_value *scale) {
    ir_value *x = linear->operands[0];
    const ir_node *node = x->kind == IR_VALUE_RESULT ? x->def->next : linear->function->first;
    for (; node != linear; node = node->next) {
        if (rounds_likewise(recipe, node, x, scale)) return node->results[0];
    }
    return ir_quantize_activation(b, x, scale, recipe->mantissa_bits, recipe->group, recipe->floor);
}

static mlcc_status *rewrite_linear(rewriter *r, ir_node *linear) {
    const rounding *recipe = r->recipe;
    ir_build b = ir_build_start(linear->function);
    b.before = linear;
    ir_value *scale = NULL;
    if (recipe->has_unit_scale) {
        MLCC_TRY(unit_scale(r, &scale));
    } else if (recipe->is_observed) {
        MLCC_TRY(observe(r, &b, linear));
    } else if (recipe->scale != NULL) {
        MLCC_TRY(scale_param(r, ir_param_of(linear->operands[1]), &scale));
    }
    ir_value *rounded = rounded_rows(recipe, &b, linear, scale);
    MLCC_TRY(b.status);
    linear->operands[0] = rounded;
    return NULL;
}

mlcc_status *pass_quantize_activations(ir_module *module, pass_context *context) {
    const quant_mode *mode = context->mode;
    const pass_target *target = context->target;
    if (mode == NULL) return NULL;
    const bool is_free = mode->activation == QUANT_ACTIVATION_NONE;
    if (is_free && (context->exact || target == NULL || target->takes_codes == NULL)) return NULL;
    rewriter r = {
        .module = module,
        .target = target,
        .recipe = is_free ? &bytes : &recipes[mode->activation],
        .linear = mode->linear,
        .scratch = context->scratch,
    };
    for (size_t f = 0; f < module->n_functions; f++) {
        ir_function *function = module->functions[f];
        for (int32_t i = 0; i < function->n_args; i++) function->args[i]->user = function->args[i];
        for (ir_node *node = function->first; node != NULL; node = node->next) {
            if (is_wanted(&r, node)) MLCC_TRY(rewrite_linear(&r, node));
        }
        return_maxima(&r, function);
    }
    return NULL;
}
