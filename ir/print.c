// print: the module as .mlcir. Equal modules give equal bytes: results are numbered in order,
// attributes equal to their default are left out, numbers have the fewest digits that read back to
// the same bits.
#include "ir/eval.h"
#include "ir/lex.h"
#include "ir/tables.h"
#include "ir/text.h"
#include "runtime/base/map.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- names and numbers -------------------------------------------------------------------------

static void print_quoted(const char *text, mlcc_str *out) {
    mlcc_str_putc(out, '"');
    for (const char *c = text; *c != '\0'; c++) {
        unsigned char byte = (unsigned char)*c;
        if (byte == '"' || byte == '\\') {
            mlcc_str_putc(out, '\\');
            mlcc_str_putc(out, *c);
        } else if (byte < 0x20 || byte == 0x7f) {
            mlcc_str_printf(out, "\\x%02x", byte);
        } else {
            mlcc_str_putc(out, *c);
        }
    }
    mlcc_str_putc(out, '"');
}

static void print_name(char sigil, const char *name, mlcc_str *out) {
    mlcc_str_putc(out, sigil);
    // %12 is a result: an argument of that name needs quotes.
    bool numeric = sigil == '%' && strspn(name, "0123456789") == strlen(name);
    if (lex_is_plain_name(name) && !numeric)
        mlcc_str_puts(out, name);
    else
        print_quoted(name, out);
}

// A symbol stands without a sigil, so it must also begin like a word.
static void print_symbol(const char *name, mlcc_str *out) {
    bool plain = lex_is_plain_name(name) && strspn(name, "0123456789.-/") == 0;
    if (plain)
        mlcc_str_puts(out, name);
    else
        print_quoted(name, out);
}

void ir_print_type(const ir_type *type, mlcc_str *out) {
    mlcc_str_puts(out, ir_dtype_get(type->dtype)->text);
    mlcc_str_putc(out, '[');
    for (int32_t i = 0; i < type->rank; i++) {
        if (i > 0) mlcc_str_puts(out, ", ");
        if (type->dims[i].symbol != NULL)
            print_symbol(type->dims[i].symbol->name, out);
        else
            mlcc_str_printf(out, "%lld", (long long)type->dims[i].value);
    }
    mlcc_str_putc(out, ']');
}

// The shortest decimal that the parser reads back to the same 16-bit code.
static void print_f16(ir_dtype dtype, uint16_t code, mlcc_str *out) {
    float value = dtype == IR_F16 ? ir_f16_to_f32(code) : ir_bf16_to_f32(code);
    if (!isfinite(value)) {
        bool canonical = isinf(value) || code == (dtype == IR_F16 ? 0x7e00 : 0x7fc0);
        if (canonical)
            mlcc_str_put_f32(out, value);
        else
            mlcc_str_printf(out, "0x%04x", code);
        return;
    }
    char digits[32] = "";
    for (int precision = 1; precision <= 9; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, (double)value);
        float read = strtof(digits, NULL);
        if ((dtype == IR_F16 ? ir_f32_to_f16(read) : ir_f32_to_bf16(read)) == code) break;
    }
    mlcc_str_put_f64(out, strtod(digits, NULL));
}

static void print_f32(const float *element, mlcc_str *out) {
    uint32_t bits = 0;
    memcpy(&bits, element, sizeof bits);
    if (isnan(*element) && bits != 0x7fc00000)
        mlcc_str_printf(out, "0x%08x", bits);
    else
        mlcc_str_put_f32(out, *element);
}

static void print_element(ir_dtype dtype, const void *data, int64_t i, mlcc_str *out) {
    switch (dtype) {
    case IR_F32: print_f32((const float *)data + i, out); return;
    case IR_F16:
    case IR_BF16: print_f16(dtype, ((const uint16_t *)data)[i], out); return;
    case IR_I32: mlcc_str_printf(out, "%d", ((const int32_t *)data)[i]); return;
    case IR_U32: mlcc_str_printf(out, "%u", ((const uint32_t *)data)[i]); return;
    case IR_I8: mlcc_str_printf(out, "%d", ((const int8_t *)data)[i]); return;
    case IR_U8: mlcc_str_printf(out, "%u", ((const uint8_t *)data)[i]); return;
    default: return; // never the dtype of a constant
    }
}

// ---- values ------------------------------------------------------------------------------------

// Results have no names: their numbers, by address.
static mlcc_map *number_results(const ir_function *function) {
    mlcc_map *numbers = mlcc_map_create(64);
    uint64_t n_results = 0;
    for (const ir_node *node = function->first; node != NULL; node = node->next) {
        for (int32_t i = 0; i < node->n_results; i++) {
            const ir_value *result = node->results[i];
            mlcc_map_add(numbers, &result, sizeof result, n_results++);
        }
    }
    return numbers;
}

static void print_value(const ir_value *value, const mlcc_map *numbers, mlcc_str *out) {
    switch (value->kind) {
    case IR_VALUE_PARAM:
    case IR_VALUE_CONST: print_name('@', value->name, out); return;
    case IR_VALUE_ARG: print_name('%', value->name, out); return;
    case IR_VALUE_RESULT: break;
    }
    uint64_t number = 0;
    // Only in messages about broken modules: a result of another function.
    if (!mlcc_map_get(numbers, &value, sizeof value, &number))
        mlcc_str_puts(out, "%?");
    else
        mlcc_str_printf(out, "%%%llu", (unsigned long long)number);
}

static void print_values(
    ir_value *const *values, int32_t n_values, const mlcc_map *numbers, mlcc_str *out) {
    for (int32_t i = 0; i < n_values; i++) {
        if (i > 0) mlcc_str_puts(out, ", ");
        print_value(values[i], numbers, out);
    }
}

// ---- nodes -------------------------------------------------------------------------------------

static void print_attr_value(const ir_attr *attr, mlcc_str *out) {
    switch (attr->kind) {
    case IR_ATTR_I64: mlcc_str_printf(out, "%lld", (long long)attr->as.i64); return;
    case IR_ATTR_F64: mlcc_str_put_f64(out, attr->as.f64); return;
    case IR_ATTR_BOOL: mlcc_str_puts(out, attr->as.boolean ? "true" : "false"); return;
    case IR_ATTR_TEXT: print_quoted(attr->as.text, out); return;
    }
}

static void print_attrs(const ir_node *node, mlcc_str *out) {
    int32_t n_rows = 0;
    const ir_attr_row *rows = ir_attr_rows(node->op, &n_rows);
    const char *before = " {";
    for (int32_t i = 0; i < node->n_attrs && i < n_rows; i++) {
        if (!rows[i].required && ir_attr_equal(&node->attrs[i], &rows[i].initial)) continue;
        mlcc_str_printf(out, "%s%s = ", before, node->attrs[i].name);
        print_attr_value(&node->attrs[i], out);
        before = ", ";
    }
    if (before[0] == ',') mlcc_str_putc(out, '}');
}

static void print_offsets(const ir_node *node, mlcc_str *out) {
    bool planned = false;
    for (int32_t i = 0; i < node->n_results; i++) {
        planned = planned || node->results[i]->offset_bytes >= 0;
    }
    if (!planned) return;
    for (int32_t i = 0; i < node->n_results; i++) {
        mlcc_str_puts(out, i == 0 ? " at " : ", ");
        long long offset_bytes = node->results[i]->offset_bytes;
        if (offset_bytes < 0)
            mlcc_str_putc(out, '-');
        else
            mlcc_str_printf(out, "%lld", offset_bytes);
    }
}

static void print_node(const ir_node *node, const mlcc_map *numbers, mlcc_str *out) {
    if (node->n_results > 0) {
        print_values(node->results, node->n_results, numbers, out);
        mlcc_str_puts(out, " = ");
    }
    mlcc_str_puts(out, ir_op_get(node->op)->text);
    if (node->n_operands > 0) mlcc_str_putc(out, ' ');
    print_values(node->operands, node->n_operands, numbers, out);
    print_attrs(node, out);
    for (int32_t i = 0; i < node->n_results; i++) {
        mlcc_str_puts(out, i == 0 ? " : " : ", ");
        ir_print_type(&node->results[i]->type, out);
    }
    print_offsets(node, out);
}

void ir_print_node(const ir_node *node, mlcc_str *out) {
    mlcc_map *numbers = number_results(node->function);
    print_node(node, numbers, out);
    mlcc_map_free(numbers);
}

// ---- functions and modules ---------------------------------------------------------------------

void ir_print_function(const ir_function *function, mlcc_str *out) {
    mlcc_map *numbers = number_results(function);
    mlcc_str_puts(out, function->is_group ? "group " : "func ");
    print_name('@', function->name, out);
    mlcc_str_putc(out, '(');
    for (int32_t i = 0; i < function->n_args; i++) {
        if (i > 0) mlcc_str_puts(out, ", ");
        print_name('%', function->args[i]->name, out);
        mlcc_str_puts(out, ": ");
        ir_print_type(&function->args[i]->type, out);
    }
    mlcc_str_puts(out, ") ");
    if (function->workspace_bytes >= 0) {
        mlcc_str_printf(out, "workspace=%lld ", (long long)function->workspace_bytes);
    }
    mlcc_str_puts(out, "{\n");
    for (const ir_node *node = function->first; node != NULL; node = node->next) {
        mlcc_str_puts(out, "    ");
        print_node(node, numbers, out);
        mlcc_str_putc(out, '\n');
    }
    mlcc_str_puts(out, function->n_returns > 0 ? "    return " : "    return");
    print_values(function->returns, function->n_returns, numbers, out);
    mlcc_str_puts(out, "\n}\n");
    mlcc_map_free(numbers);
}

static void print_param(const ir_param *param, mlcc_str *out) {
    mlcc_str_puts(out, "param ");
    print_name('@', param->value.name, out);
    mlcc_str_puts(out, " : ");
    ir_print_type(&param->value.type, out);
    for (int32_t i = 0; i < param->n_sources; i++) {
        mlcc_str_puts(out, i == 0 ? " from " : ", ");
        print_quoted(param->sources[i], out);
    }
    if (param->fused_name != NULL) {
        mlcc_str_puts(out, " fused ");
        print_quoted(param->fused_name, out);
    }
    if (param->has_fallback) {
        mlcc_str_puts(out, " else ");
        mlcc_str_put_f64(out, param->fallback);
    }
    if (param->layout != NULL) {
        mlcc_str_puts(out, " layout ");
        print_quoted(param->layout, out);
    }
    mlcc_str_putc(out, '\n');
}

static void print_const(const ir_const *constant, mlcc_str *out) {
    int64_t n_elements = 0;
    if (!ir_type_bound_elements(&constant->value.type, &n_elements)) n_elements = 0;
    mlcc_str_puts(out, "const ");
    print_name('@', constant->value.name, out);
    mlcc_str_puts(out, " : ");
    ir_print_type(&constant->value.type, out);
    mlcc_str_puts(out, " = [");
    for (int64_t i = 0; i < n_elements; i++) {
        if (i > 0) mlcc_str_puts(out, ", ");
        print_element(constant->value.type.dtype, constant->data, i, out);
    }
    mlcc_str_puts(out, "]\n");
}

void ir_print_module(const ir_module *module, mlcc_str *out) {
    mlcc_str_puts(out, "module ");
    print_name('@', module->name, out);
    mlcc_str_printf(out, " level=%s\n", ir_level_text(module->level));
    for (size_t i = 0; i < module->n_symbols; i++) {
        mlcc_str_puts(out, "symbol ");
        print_symbol(module->symbols[i]->name, out);
        mlcc_str_printf(out, " <= %lld\n", (long long)module->symbols[i]->bound);
    }
    for (size_t i = 0; i < module->n_params; i++) print_param(module->params[i], out);
    for (size_t i = 0; i < module->n_consts; i++) print_const(module->consts[i], out);
    for (size_t i = 0; i < module->n_functions; i++) {
        mlcc_str_putc(out, '\n');
        ir_print_function(module->functions[i], out);
    }
}
