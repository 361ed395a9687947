// store_params: the weights of a model directory as ir/eval wants them: read from the store through quantization/format.h, dequantized, kept.
//
//   store_params params = {.keep = keep, .store = store, .tensors = MLCC_NEW_ARRAY(keep, ir_tensor *, module->n_params)};
//   ir_eval_options options = {.param = store_params_read, .user = &params};
#ifndef MLCC_TESTS_SUPPORT_STORE_PARAMS_H
#define MLCC_TESTS_SUPPORT_STORE_PARAMS_H

#include "ir/eval.h"
#include "quantization/format.h"
#include "runtime/model/tensor_cache.h"

#include <string.h>

typedef struct store_params {
    mlcc_arena *keep;
    const mlcc_tensor_cache *store; // mapped
    ir_tensor **tensors;            // by index of the param, filled when first asked for
} store_params;

// The stored piece, in memory aligned for its element type; float32 stored as halves becomes float32 again.
static inline mlcc_status *store_params_piece(
    const store_params *self, const ir_param *param, const quant_piece *piece, mlcc_arena *scratch,
    const void **out) {
    const char *name = quant_piece_name(scratch, param->value.name, piece);
    const mlcc_tensor_record *record = mlcc_tensor_cache_find(self->store, name);
    if (record == NULL) return MLCC_ERROR(INVALID, "the store lacks '%s'", name);
    const void *stored = mlcc_tensor_cache_data(self->store, record);
    char *copy = mlcc_arena_alloc_aligned(scratch, piece->size_bytes, 64);
    if (record->is_bf16_halves) {
        mlcc_tensor_widen_halves(stored, piece->size_bytes / sizeof(float), copy);
    } else {
        if (record->size_bytes != piece->size_bytes)
            return MLCC_ERROR(INVALID, "'%s' has another size than its format", name);
        memcpy(copy, stored, piece->size_bytes);
    }
    *out = copy;
    return NULL;
}

// An ir_eval_param; `user` is a store_params.
static inline mlcc_status *store_params_read(
    void *user, const ir_param *param, mlcc_arena *keep, ir_tensor **out) {
    const store_params *self = user;
    (void)keep;
    ir_tensor **kept = &self->tensors[param->value.index];
    *out = *kept;
    if (*kept != NULL) return NULL;
    const ir_type *type = &param->value.type;
    const quant_format *format = quant_format_of(type->dtype);
    quant_piece pieces[QUANT_MAX_PIECES];
    const void *inputs[QUANT_MAX_PIECES] = {NULL};
    int32_t n_pieces = 0;
    int64_t n_rows = 0, columns = 0, dims[IR_MAX_RANK];
    MLCC_TRY(format->pieces(type, pieces, &n_pieces));
    MLCC_TRY(quant_rows_of(type, &n_rows, &columns));
    mlcc_arena *scratch = mlcc_arena_create();
    mlcc_status *status = NULL;
    for (int32_t i = 0; i < n_pieces && status == NULL; i++)
        status = store_params_piece(self, param, &pieces[i], scratch, &inputs[i]);
    if (status == NULL) {
        for (int32_t i = 0; i < type->rank; i++) dims[i] = type->dims[i].value;
        *out = *kept = ir_tensor_create(self->keep, type->dtype, type->rank, dims);
        format->decode(inputs, &(quant_range){0, n_rows, n_rows, columns}, (*out)->f32);
    }
    mlcc_arena_free(scratch);
    return status;
}

#endif
