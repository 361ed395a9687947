// builder: one general constructor, and one short function per op on top of it.
#include "ir/builder.h"

#include "ir/module.h"
#include "ir/shape.h"
#include "ir/tables.h"

#include <string.h>

ir_build ir_build_start(ir_function *function) {
    return (ir_build){.function = function};
}

// All attributes of the op: the given ones over the defaults.
static mlcc_status *complete_attrs(
    ir_op op, const ir_attr *given, int32_t n_given, ir_attr *attrs, int32_t *n_attrs) {
    const char *op_text = ir_op_get(op)->text;
    const ir_attr_row *rows = ir_attr_rows(op, n_attrs);
    for (int32_t i = 0; i < n_given; i++) {
        bool known = false;
        for (int32_t r = 0; r < *n_attrs; r++) {
            known = known || strcmp(rows[r].initial.name, given[i].name) == 0;
        }
        if (!known) {
            return MLCC_ERROR(INVALID, "%s has no attribute '%s'", op_text, given[i].name);
        }
    }
    for (int32_t r = 0; r < *n_attrs; r++) {
        attrs[r] = rows[r].initial;
        bool written = false;
        for (int32_t i = 0; i < n_given; i++) {
            if (strcmp(given[i].name, attrs[r].name) != 0) continue;
            if (given[i].kind != attrs[r].kind) {
                return MLCC_ERROR(
                    INVALID, "%s: attribute '%s' is %s", op_text, attrs[r].name,
                    ir_attr_kind_text(attrs[r].kind));
            }
            attrs[r].as = given[i].as;
            written = true;
        }
        if (rows[r].required && !written) {
            return MLCC_ERROR(
                INVALID, "%s: attribute '%s' (%s) must be written", op_text, attrs[r].name,
                ir_attr_kind_text(attrs[r].kind));
        }
    }
    return NULL;
}

static mlcc_status *build_node(
    ir_build *b, ir_op op, ir_value *const *operands, int32_t n_operands, const ir_attr *given,
    int32_t n_given, ir_dtype result_dtype, ir_node **out) {
    ir_attr attrs[IR_MAX_ATTRS];
    int32_t n_attrs = 0;
    MLCC_TRY(complete_attrs(op, given, n_given, attrs, &n_attrs));
    ir_shape_query query = {
        .op = op,
        .operands = operands,
        .n_operands = n_operands,
        .attrs = attrs,
        .result_dtype = result_dtype,
    };
    if (op == IR_OP_CALL || op == IR_OP_LAUNCH) {
        query.callee = ir_module_find(b->function->module, attrs[0].as.text);
    }
    ir_type types[IR_MAX_OPERANDS];
    int32_t n_results = 0;
    MLCC_TRY(ir_shape_infer(&query, types, &n_results));
    *out = ir_function_insert(
        b->function, b->before, op, operands, n_operands, attrs, n_attrs, types, n_results);
    return NULL;
}

ir_node *ir_build_node(
    ir_build *b, ir_op op, ir_value *const *operands, int32_t n_operands, const ir_attr *attrs,
    int32_t n_attrs, ir_dtype result_dtype) {
    if (b->status != NULL) return NULL;
    ir_node *node = NULL;
    b->status = build_node(b, op, operands, n_operands, attrs, n_attrs, result_dtype, &node);
    return node;
}

// ---- one function per op -----------------------------------------------------------------------

static ir_attr attr_i64(const char *name, int64_t value) {
    return (ir_attr){.name = name, .kind = IR_ATTR_I64, .as = {.i64 = value}};
}

static ir_attr attr_f64(const char *name, double value) {
    return (ir_attr){.name = name, .kind = IR_ATTR_F64, .as = {.f64 = value}};
}

static ir_attr attr_bool(const char *name, bool value) {
    return (ir_attr){.name = name, .kind = IR_ATTR_BOOL, .as = {.boolean = value}};
}

#define COUNT(array) ((int32_t)(sizeof(array) / sizeof *(array)))

// The value that stands for results after an error, so that the caller's code can go on.
static ir_value *dummy_value(ir_build *b) {
    ir_value *dummy = MLCC_NEW(b->function->module->keep, ir_value);
    dummy->kind = IR_VALUE_ARG;
    dummy->name = "none";
    dummy->type = ir_type_matrix(IR_F32, ir_dim_const(1), ir_dim_const(1));
    dummy->offset_bytes = -1;
    return dummy;
}

static ir_value *build_value(
    ir_build *b, ir_op op, ir_value *const *operands, int32_t n_operands, const ir_attr *attrs,
    int32_t n_attrs, ir_dtype result_dtype) {
    ir_node *node = ir_build_node(b, op, operands, n_operands, attrs, n_attrs, result_dtype);
    return node != NULL ? node->results[0] : dummy_value(b);
}

ir_value *ir_embedding(ir_build *b, ir_value *ids, ir_value *table, ir_dtype result) {
    ir_value *operands[] = {ids, table};
    return build_value(b, IR_OP_EMBEDDING, operands, 2, NULL, 0, result);
}

ir_value *ir_linear(ir_build *b, ir_value *x, ir_value *weight, ir_value *bias, ir_dtype result) {
    ir_value *operands[] = {x, weight, bias};
    return build_value(b, IR_OP_LINEAR, operands, bias != NULL ? 3 : 2, NULL, 0, result);
}

ir_value *ir_rms_norm(ir_build *b, ir_value *x, ir_value *gain, double eps) {
    return ir_rms_norm_groups(b, x, gain, eps, 0);
}

ir_value *ir_rms_norm_groups(ir_build *b, ir_value *x, ir_value *gain, double eps, int64_t group) {
    ir_value *operands[] = {x, gain};
    const ir_attr attrs[] = {attr_f64("eps", eps), attr_i64("group", group)};
    return build_value(b, IR_OP_RMS_NORM, operands, 2, attrs, COUNT(attrs), IR_N_DTYPES);
}

ir_value *ir_layer_norm(ir_build *b, ir_value *x, ir_value *gain, ir_value *bias, double eps) {
    return ir_layer_norm_groups(b, x, gain, bias, eps, 0);
}

ir_value *ir_layer_norm_groups(
    ir_build *b, ir_value *x, ir_value *gain, ir_value *bias, double eps, int64_t group) {
    ir_value *operands[] = {x, gain, bias};
    const ir_attr attrs[] = {attr_f64("eps", eps), attr_i64("group", group)};
    const int32_t n_operands = gain == NULL ? 1 : bias == NULL ? 2 : 3;
    return build_value(b, IR_OP_LAYER_NORM, operands, n_operands, attrs, COUNT(attrs), IR_N_DTYPES);
}

ir_value *ir_binary(ir_build *b, ir_op op, ir_value *a, ir_value *b_operand) {
    ir_value *operands[] = {a, b_operand};
    return build_value(b, op, operands, 2, NULL, 0, IR_N_DTYPES);
}

ir_value *ir_unary(ir_build *b, ir_op op, ir_value *x) {
    return build_value(b, op, &x, 1, NULL, 0, IR_N_DTYPES);
}

ir_value *ir_scale(ir_build *b, ir_value *x, double factor) {
    const ir_attr attrs[] = {attr_f64("factor", factor)};
    return build_value(b, IR_OP_SCALE, &x, 1, attrs, COUNT(attrs), IR_N_DTYPES);
}

ir_value *ir_softcap(ir_build *b, ir_value *x, double cap) {
    const ir_attr attrs[] = {attr_f64("cap", cap)};
    return build_value(b, IR_OP_SOFTCAP, &x, 1, attrs, COUNT(attrs), IR_N_DTYPES);
}

ir_value *ir_clamp(ir_build *b, ir_value *x, double min, double max) {
    const ir_attr attrs[] = {attr_f64("min", min), attr_f64("max", max)};
    return build_value(b, IR_OP_CLAMP, &x, 1, attrs, COUNT(attrs), IR_N_DTYPES);
}

ir_value *ir_cast(ir_build *b, ir_value *x, ir_dtype dtype) {
    return build_value(b, IR_OP_CAST, &x, 1, NULL, 0, dtype);
}

ir_value *ir_slice(ir_build *b, ir_value *x, int64_t begin, int64_t end) {
    const ir_attr attrs[] = {attr_i64("begin", begin), attr_i64("end", end)};
    return build_value(b, IR_OP_SLICE, &x, 1, attrs, COUNT(attrs), IR_N_DTYPES);
}

ir_value *ir_slice_parts(ir_build *b, ir_value *x, int64_t parts, int64_t begin, int64_t end) {
    const ir_attr attrs[] = {
        attr_i64("begin", begin), attr_i64("end", end), attr_i64("parts", parts)};
    return build_value(b, IR_OP_SLICE, &x, 1, attrs, COUNT(attrs), IR_N_DTYPES);
}

ir_value *ir_rope_table(ir_build *b, ir_value *positions, ir_value *inv_freq, double magnitude) {
    return ir_rope_table_growing(b, positions, inv_freq, magnitude, 0, 1);
}

ir_value *ir_rope_table_growing(
    ir_build *b, ir_value *positions, ir_value *inv_freq, double magnitude, double growth,
    int64_t period) {
    ir_value *operands[] = {positions, inv_freq};
    const ir_attr attrs[] = {
        attr_f64("magnitude", magnitude), attr_f64("growth", growth), attr_i64("period", period)};
    return build_value(b, IR_OP_ROPE_TABLE, operands, 2, attrs, COUNT(attrs), IR_N_DTYPES);
}

ir_value *ir_rope(ir_build *b, ir_value *x, ir_value *table, int64_t head_dim, bool interleaved) {
    ir_value *operands[] = {x, table};
    const ir_attr attrs[] = {attr_i64("head_dim", head_dim), attr_bool("interleaved", interleaved)};
    return build_value(b, IR_OP_ROPE, operands, 2, attrs, COUNT(attrs), IR_N_DTYPES);
}

ir_value *ir_kv_append(
    ir_build *b, ir_value *cache, ir_value *k, ir_value *v, ir_value *page_table, ir_value *seq_ids,
    ir_value *positions) {
    ir_value *operands[] = {cache, k, v, page_table, seq_ids, positions};
    return build_value(b, IR_OP_KV_APPEND, operands, COUNT(operands), NULL, 0, IR_N_DTYPES);
}

ir_value *ir_paged_attention(
    ir_build *b, ir_value *q, ir_value *cache, ir_value *page_table, ir_value *seq_ids,
    ir_value *positions, const ir_attention *attention) {
    ir_value *operands[] = {
        q, cache, page_table, seq_ids, positions, attention->sinks, attention->slopes};
    const int32_t n_operands = attention->slopes != NULL ? 7 : attention->sinks != NULL ? 6 : 5;
    if (n_operands == 7 && attention->sinks == NULL && b->status == NULL)
        b->status = MLCC_ERROR(INVALID, "paged_attention: slopes without sinks");
    const ir_attr attrs[] = {
        attr_i64("head_dim", attention->head_dim),
        attr_f64("scale", attention->scale),
        attr_i64("window", attention->window),
        attr_f64("softcap", attention->softcap),
    };
    return build_value(
        b, IR_OP_PAGED_ATTENTION, operands, n_operands, attrs, COUNT(attrs), IR_N_DTYPES);
}

ir_value *ir_segment_attention(
    ir_build *b, ir_value *q, ir_value *k, ir_value *v, ir_value *segments, int64_t head_dim,
    double scale) {
    ir_value *operands[] = {q, k, v, segments};
    const ir_attr attrs[] = {attr_i64("head_dim", head_dim), attr_f64("scale", scale)};
    return build_value(
        b, IR_OP_SEGMENT_ATTENTION, operands, COUNT(operands), attrs, COUNT(attrs), IR_N_DTYPES);
}

ir_value *ir_latent_append(
    ir_build *b, ir_value *cache, ir_value *latent, ir_value *rotated, ir_value *page_table,
    ir_value *seq_ids, ir_value *positions) {
    ir_value *operands[] = {cache, latent, rotated, page_table, seq_ids, positions};
    return build_value(b, IR_OP_LATENT_APPEND, operands, COUNT(operands), NULL, 0, IR_N_DTYPES);
}

ir_value *ir_latent_attention(
    ir_build *b, ir_value *q, ir_value *rotated, ir_value *cache, ir_value *page_table,
    ir_value *seq_ids, ir_value *positions, int64_t rank, double scale) {
    ir_value *operands[] = {q, rotated, cache, page_table, seq_ids, positions};
    const ir_attr attrs[] = {attr_i64("rank", rank), attr_f64("scale", scale)};
    return build_value(
        b, IR_OP_LATENT_ATTENTION, operands, COUNT(operands), attrs, COUNT(attrs), IR_N_DTYPES);
}

ir_value *ir_linear_heads(ir_build *b, ir_value *x, ir_value *weight) {
    return ir_binary(b, IR_OP_LINEAR_HEADS, x, weight);
}

ir_value *ir_take_rows(ir_build *b, ir_value *x, ir_value *rows) {
    ir_value *operands[] = {x, rows};
    return build_value(b, IR_OP_TAKE_ROWS, operands, 2, NULL, 0, IR_N_DTYPES);
}

// quantize_activation or encode_activation.
static ir_node *build_rounding(
    ir_build *b, ir_op op, ir_value *x, ir_value *scale, int64_t mantissa_bits, int64_t group,
    double floor) {
    ir_value *operands[] = {x, scale};
    const ir_attr attrs[] = {
        attr_i64("mantissa_bits", mantissa_bits),
        attr_i64("group", group),
        attr_f64("floor", floor),
    };
    return ir_build_node(b, op, operands, scale == NULL ? 1 : 2, attrs, COUNT(attrs), IR_N_DTYPES);
}

ir_value *ir_quantize_activation(
    ir_build *b, ir_value *x, ir_value *scale, int64_t mantissa_bits, int64_t group, double floor) {
    const ir_node *node =
        build_rounding(b, IR_OP_QUANTIZE_ACTIVATION, x, scale, mantissa_bits, group, floor);
    return node != NULL ? node->results[0] : dummy_value(b);
}

ir_node *ir_encode_activation(
    ir_build *b, ir_value *x, ir_value *scale, int64_t mantissa_bits, int64_t group, double floor) {
    return build_rounding(b, IR_OP_ENCODE_ACTIVATION, x, scale, mantissa_bits, group, floor);
}

ir_value *ir_linear_scaled(
    ir_build *b, ir_value *codes, ir_value *weight, ir_value *scales, ir_value *bias, int64_t group,
    ir_dtype result) {
    ir_value *operands[] = {codes, weight, scales, bias};
    const ir_attr attrs[] = {attr_i64("group", group)};
    return build_value(
        b, IR_OP_LINEAR_SCALED, operands, bias != NULL ? 4 : 3, attrs, COUNT(attrs), result);
}

ir_value *ir_observe_max(ir_build *b, ir_value *maximum, ir_value *x) {
    ir_value *operands[] = {maximum, x};
    return build_value(b, IR_OP_OBSERVE_MAX, operands, 2, NULL, 0, IR_N_DTYPES);
}

ir_value *ir_sample(
    ir_build *b, ir_value *logits, ir_value *settings, ir_value *random,
    ir_value *const history[3]) {
    ir_value *operands[] = {logits, settings, random, history[0], history[1], history[2]};
    return build_value(b, IR_OP_SAMPLE, operands, COUNT(operands), NULL, 0, IR_N_DTYPES);
}

ir_node *ir_route_experts(
    ir_build *b, ir_value *logits, ir_value *bias, const ir_routing *routing) {
    ir_value *operands[] = {logits, bias};
    const ir_routing *r = routing;
    const ir_attr attrs[] = {
        attr_i64("k", r->k),
        attr_i64("scoring", r->scoring),
        attr_bool("renormalize", r->renormalize),
        attr_f64("scale", r->scale == 0.0 ? 1.0 : r->scale),
        attr_i64("n_groups", r->n_groups == 0 ? 1 : r->n_groups),
        attr_i64("top_groups", r->top_groups == 0 ? 1 : r->top_groups),
        attr_i64("group_best", r->group_best == 0 ? 1 : r->group_best),
    };
    return ir_build_node(
        b, IR_OP_ROUTE_EXPERTS, operands, bias != NULL ? 2 : 1, attrs, COUNT(attrs), IR_N_DTYPES);
}

ir_value *ir_linear_experts(
    ir_build *b, ir_value *x, ir_value *weight, ir_value *experts, ir_value *bias,
    ir_dtype result) {
    ir_value *operands[] = {x, weight, experts, bias};
    return build_value(b, IR_OP_LINEAR_EXPERTS, operands, bias != NULL ? 4 : 3, NULL, 0, result);
}

ir_value *ir_linear_scaled_experts(
    ir_build *b, ir_value *codes, ir_value *weight, ir_value *experts, ir_value *scales,
    ir_value *bias, int64_t group, ir_dtype result) {
    ir_value *operands[] = {codes, weight, experts, scales, bias};
    const ir_attr attrs[] = {attr_i64("group", group)};
    return build_value(
        b, IR_OP_LINEAR_SCALED_EXPERTS, operands, bias != NULL ? 5 : 4, attrs, COUNT(attrs),
        result);
}

ir_value *ir_combine_experts(ir_build *b, ir_value *y, ir_value *weights) {
    return ir_binary(b, IR_OP_COMBINE_EXPERTS, y, weights);
}

ir_node *ir_call(ir_build *b, ir_function *callee, ir_value *const *operands, int32_t n_operands) {
    const ir_attr attrs[] = {
        {.name = "callee", .kind = IR_ATTR_TEXT, .as = {.text = callee->name}},
    };
    return ir_build_node(b, IR_OP_CALL, operands, n_operands, attrs, COUNT(attrs), IR_N_DTYPES);
}
