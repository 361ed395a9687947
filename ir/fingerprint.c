// fingerprint: the module as one stream of tagged, length-prefixed fields into XXH3-128. Values are
// named by kind and place, so result names do not matter; argument names of groups do not either (a
// group is private to its module), those of entry functions do.
#include "ir/fingerprint.h"

#include "runtime/base/map.h"

#include <string.h>

typedef struct stream {
    mlcc_hasher *hasher;
    mlcc_map *numbers; // results of the function being read: address → running number
} stream;

static void put_u64(const stream *s, uint64_t value) {
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)(value >> (8 * i));
    mlcc_hasher_update(s->hasher, bytes, sizeof bytes);
}

static void put_i64(const stream *s, int64_t value) {
    put_u64(s, (uint64_t)value);
}

static void put_text(const stream *s, const char *text) {
    if (text == NULL) {
        put_u64(s, UINT64_MAX);
        return;
    }
    size_t length = strlen(text);
    put_u64(s, length);
    mlcc_hasher_update(s->hasher, text, length);
}

static void put_type(const stream *s, const ir_type *type) {
    put_text(s, ir_dtype_get(type->dtype)->text);
    put_i64(s, type->rank);
    for (int32_t i = 0; i < type->rank; i++) {
        put_text(s, type->dims[i].symbol != NULL ? type->dims[i].symbol->name : NULL);
        put_i64(s, type->dims[i].value);
    }
}

static void put_value(const stream *s, const ir_value *value) {
    put_u64(s, value->kind);
    uint64_t number = 0;
    switch (value->kind) {
    case IR_VALUE_PARAM:
    case IR_VALUE_CONST: put_text(s, value->name); return;
    case IR_VALUE_ARG: put_i64(s, value->index); return;
    case IR_VALUE_RESULT:
        mlcc_map_get(s->numbers, &value, sizeof value, &number);
        put_u64(s, number);
        return;
    }
}

static void put_attr(const stream *s, const ir_attr *attr) {
    put_text(s, attr->name);
    uint64_t bits = 0;
    switch (attr->kind) {
    case IR_ATTR_I64: put_i64(s, attr->as.i64); return;
    case IR_ATTR_F64:
        memcpy(&bits, &attr->as.f64, sizeof bits);
        put_u64(s, bits);
        return;
    case IR_ATTR_BOOL: put_u64(s, attr->as.boolean); return;
    case IR_ATTR_TEXT: put_text(s, attr->as.text); return;
    }
}

static void put_node(const stream *s, const ir_node *node) {
    put_text(s, ir_op_get(node->op)->text);
    put_i64(s, node->n_operands);
    for (int32_t i = 0; i < node->n_operands; i++) put_value(s, node->operands[i]);
    for (int32_t i = 0; i < node->n_attrs; i++) put_attr(s, &node->attrs[i]);
    put_i64(s, node->n_results);
    for (int32_t i = 0; i < node->n_results; i++) {
        const ir_value *result = node->results[i];
        put_type(s, &result->type);
        put_i64(s, result->offset_bytes);
        mlcc_map_set(s->numbers, &result, sizeof result, mlcc_map_count(s->numbers));
    }
}

static void put_function(stream *s, const ir_function *function) {
    s->numbers = mlcc_map_create(64);
    put_u64(s, function->is_group);
    put_i64(s, function->workspace_bytes);
    put_i64(s, function->n_args);
    for (int32_t i = 0; i < function->n_args; i++) {
        if (!function->is_group) put_text(s, function->args[i]->name);
        put_type(s, &function->args[i]->type);
    }
    for (const ir_node *node = function->first; node != NULL; node = node->next) put_node(s, node);
    put_text(s, "return");
    put_i64(s, function->n_returns);
    for (int32_t i = 0; i < function->n_returns; i++) put_value(s, function->returns[i]);
    mlcc_map_free(s->numbers);
}

static void put_param(const stream *s, const ir_param *param) {
    put_text(s, param->value.name);
    put_type(s, &param->value.type);
    put_i64(s, param->n_sources);
    for (int32_t i = 0; i < param->n_sources; i++) put_text(s, param->sources[i]);
    put_text(s, param->fused_name);
    put_u64(s, param->has_fallback);
    uint64_t bits = 0;
    memcpy(&bits, &param->fallback, sizeof bits);
    put_u64(s, bits);
    put_text(s, param->layout);
}

static void put_const(const stream *s, const ir_const *constant) {
    int64_t size_bytes = 0;
    put_text(s, constant->value.name);
    put_type(s, &constant->value.type);
    if (!ir_type_bound_bytes(&constant->value.type, &size_bytes)) return;
    mlcc_hasher_update(s->hasher, constant->data, (size_t)size_bytes);
}

mlcc_hash128 ir_fingerprint_function(const ir_function *function) {
    stream s = {.hasher = mlcc_hasher_create()};
    put_function(&s, function);
    mlcc_hash128 hash = mlcc_hasher_digest(s.hasher);
    mlcc_hasher_free(s.hasher);
    return hash;
}

mlcc_hash128 ir_fingerprint_module(const ir_module *module) {
    stream s = {.hasher = mlcc_hasher_create()};
    put_text(&s, module->name);
    put_u64(&s, module->level);
    put_u64(&s, module->n_symbols);
    for (size_t i = 0; i < module->n_symbols; i++) {
        put_text(&s, module->symbols[i]->name);
        put_i64(&s, module->symbols[i]->bound);
    }
    put_u64(&s, module->n_params);
    for (size_t i = 0; i < module->n_params; i++) put_param(&s, module->params[i]);
    put_u64(&s, module->n_consts);
    for (size_t i = 0; i < module->n_consts; i++) put_const(&s, module->consts[i]);
    put_u64(&s, module->n_functions);
    for (size_t i = 0; i < module->n_functions; i++) {
        put_text(&s, module->functions[i]->name);
        put_function(&s, module->functions[i]);
    }
    mlcc_hash128 hash = mlcc_hasher_digest(s.hasher);
    mlcc_hasher_free(s.hasher);
    return hash;
}
