// eval_tensor: tensors, their agreement with IR types, and rounding.
#include "ir/eval_ops.h"
#include "ir/text.h"
#include "runtime/base/str.h"

#include <math.h>
#include <string.h>

bool eval_is_int(ir_dtype dtype) {
    return ir_dtype_get(dtype)->kind == IR_KIND_INT;
}

// ---- tensors -----------------------------------------------------------------------------------

int64_t ir_tensor_count(const ir_tensor *tensor) {
    int64_t count = 1;
    for (int32_t i = 0; i < tensor->rank; i++) count *= tensor->dims[i];
    return count;
}

ir_tensor *eval_tensor_head(mlcc_arena *keep, ir_dtype dtype, int32_t rank, const int64_t *dims) {
    ir_tensor *tensor = MLCC_NEW(keep, ir_tensor);
    tensor->dtype = dtype;
    tensor->rank = rank;
    for (int32_t i = 0; i < rank; i++) tensor->dims[i] = dims[i];
    return tensor;
}

ir_tensor *ir_tensor_create(mlcc_arena *keep, ir_dtype dtype, int32_t rank, const int64_t *dims) {
    ir_tensor *tensor = eval_tensor_head(keep, dtype, rank, dims);
    size_t count = (size_t)ir_tensor_count(tensor);
    if (eval_is_int(dtype))
        tensor->i32 = MLCC_NEW_ARRAY(keep, int32_t, count);
    else
        tensor->f32 = MLCC_NEW_ARRAY(keep, float, count);
    return tensor;
}

void eval_tensor_copy(ir_tensor *to, const ir_tensor *from) {
    size_t size_bytes = (size_t)ir_tensor_count(from) * 4;
    if (size_bytes == 0) return;
    if (eval_is_int(from->dtype))
        memcpy(to->i32, from->i32, size_bytes);
    else
        memcpy(to->f32, from->f32, size_bytes);
}

float eval_round(ir_dtype dtype, double value) {
    float nearest = (float)value;
    if (dtype != IR_F16 && dtype != IR_BF16) return nearest;
    uint32_t bits = 0;
    memcpy(&bits, &nearest, sizeof bits);
    // Inexact and even: take the odd neighbour on the other side of the exact value. Then the
    // second rounding sees on which side of a tie it lies.
    if ((double)nearest != value && (bits & 1) == 0 && !isnan(value)) {
        nearest = nextafterf(nearest, value > (double)nearest ? HUGE_VALF : -HUGE_VALF);
    }
    return ir_round_to(dtype, nearest);
}

ir_tensor *eval_const_tensor(mlcc_arena *keep, const ir_const *constant) {
    const ir_type *type = &constant->value.type;
    int64_t dims[IR_MAX_RANK] = {0};
    for (int32_t i = 0; i < type->rank; i++) dims[i] = type->dims[i].value;
    ir_tensor *tensor = ir_tensor_create(keep, type->dtype, type->rank, dims);
    int64_t count = ir_tensor_count(tensor);
    const void *data = constant->data;
    for (int64_t i = 0; i < count; i++) {
        switch (type->dtype) {
        case IR_F32: tensor->f32[i] = ((const float *)data)[i]; break;
        case IR_F16: tensor->f32[i] = ir_f16_to_f32(((const uint16_t *)data)[i]); break;
        case IR_BF16: tensor->f32[i] = ir_bf16_to_f32(((const uint16_t *)data)[i]); break;
        case IR_I32:
        case IR_U32: tensor->i32[i] = ((const int32_t *)data)[i]; break;
        case IR_I8: tensor->i32[i] = ((const int8_t *)data)[i]; break;
        case IR_U8: tensor->i32[i] = ((const uint8_t *)data)[i]; break;
        default: break; // never the dtype of a constant
        }
    }
    return tensor;
}

// ---- shapes ------------------------------------------------------------------------------------

mlcc_status *eval_bind_type(
    const ir_type *type, const ir_tensor *tensor, int64_t *symbols, const char *what) {
    bool agrees = tensor->dtype == type->dtype && tensor->rank == type->rank;
    for (int32_t i = 0; agrees && i < type->rank; i++) {
        int64_t *value =
            type->dims[i].symbol != NULL ? &symbols[type->dims[i].symbol->index] : NULL;
        if (value != NULL && *value < 0) *value = tensor->dims[i];
        agrees = tensor->dims[i] >= 0 &&
                 tensor->dims[i] == (value != NULL ? *value : type->dims[i].value);
    }
    if (agrees) return NULL;
    mlcc_str text = {0};
    ir_print_type(type, &text);
    mlcc_str_printf(&text, ", the tensor is %s[", ir_dtype_get(tensor->dtype)->text);
    for (int32_t i = 0; i < tensor->rank; i++) {
        mlcc_str_printf(&text, "%s%lld", i > 0 ? ", " : "", (long long)tensor->dims[i]);
    }
    mlcc_status *status = MLCC_ERROR(INVALID, "'%s' is %s]", what, mlcc_str_text(&text));
    mlcc_str_free(&text);
    return status;
}

mlcc_status *eval_resolve_dims(const ir_type *type, const int64_t *symbols, int64_t *dims) {
    int64_t count = 1;
    for (int32_t i = 0; i < type->rank; i++) {
        const ir_symbol *symbol = type->dims[i].symbol;
        dims[i] = symbol != NULL ? symbols[symbol->index] : type->dims[i].value;
        if (dims[i] < 0) {
            return MLCC_ERROR(
                INVALID, "symbol '%s' has no value: no argument has it as a dimension",
                symbol != NULL ? symbol->name : "");
        }
        if (!mlcc_i64_mul(count, dims[i], &count) || count > (int64_t)1 << 40) {
            return MLCC_ERROR(INVALID, "a tensor would have more than 2^40 elements");
        }
    }
    return NULL;
}
