#include "dist/artifact/diff_side.h"

#include "dist/artifact/store_directory.h"
#include "dist/artifact/tensor_cache_write.h"
#include "frontend/import.h"
#include "quantization/formats/plain.h"
#include "runtime/base/file.h"

#include <stdlib.h>
#include <string.h>

static const char chat_config_name[] = "mlc-chat-config.json";

// A stored piece of the param at work.
typedef struct stored_piece {
    const mlcc_tensor_record *record;
    const char *data; // as stored, or `copy`
    void *copy;       // aligned and widened; NULL where the stored bytes can be used
    bool needs_copy;  // of piece 0 of a streamed format, chunk by chunk
} stored_piece;

struct diff_side {
    mlcc_arena *keep;
    const char *path;
    const quant_mode *mode;
    hf_model_config *config;
    mlcc_json *chat_config;
    ir_module *module;
    diff_param *params;
    size_t n_params;

    mlcc_tensor_cache *cache; // NULL: a source
    convert_model model;
    convert_rows *rows;

    // The param at work.
    const diff_param *param;
    int32_t n_threads;
    quant_piece pieces[QUANT_MAX_PIECES];
    int32_t n_pieces;
    stored_piece stored[QUANT_MAX_PIECES];
    void **scratch; // [n_threads], a chunk of piece 0
    float *values;  // of a param with a fallback
    bool is_absent; // from the store: it has its fallback's value
};

bool diff_side_is_store(const diff_side *side) {
    return side->cache != NULL;
}

const quant_mode *diff_side_mode(const diff_side *side) {
    return side->mode;
}

const char *diff_side_path(const diff_side *side) {
    return side->path;
}

const diff_param *diff_side_params(const diff_side *side, size_t *n_params) {
    *n_params = side->n_params;
    return side->params;
}

// ---- a store ------------------------------------------------------------------------------------

static bool is_same_record(const mlcc_tensor_record *record, const quant_piece *piece) {
    bool is_same = record->rank == (uint32_t)piece->rank;
    uint64_t n_elements = 1;
    for (int32_t i = 0; is_same && i < piece->rank; i++) {
        is_same = record->dims[i] == piece->dims[i];
        n_elements *= (uint64_t)piece->dims[i];
    }
    const size_t element = record->is_bf16_halves ? 2 : ir_dtype_bytes(piece->dtype);
    return is_same && record->n_elements == n_elements &&
           record->size_bytes == n_elements * element;
}

static mlcc_status *find_piece(
    const diff_side *side, const ir_param *param, const quant_piece *piece,
    const mlcc_tensor_record **out) {
    mlcc_arena *scratch = mlcc_arena_create();
    const char *name = quant_piece_name(scratch, param->value.name, piece);
    mlcc_status *status = NULL;
    *out = mlcc_tensor_cache_find(side->cache, name);
    if (*out == NULL && !param->has_fallback) {
        status = MLCC_ERROR(
            MISMATCH, "%s lacks '%s', which the mode %s has; convert the weights anew",
            side->cache->path, name, side->mode->name);
    } else if (*out != NULL && !is_same_record(*out, piece)) {
        mlcc_str expected = {0}, found = {0};
        mlcc_tensor_shape_text(
            artifact_dtype_name(piece->dtype), (uint32_t)piece->rank, piece->dims, &expected);
        mlcc_tensor_shape_text((*out)->dtype, (*out)->rank, (*out)->dims, &found);
        status = MLCC_ERROR(
            MISMATCH, "'%s' in %s is %s, the mode %s makes it %s", name, side->cache->path,
            mlcc_str_text(&found), side->mode->name, mlcc_str_text(&expected));
        mlcc_str_free(&expected);
        mlcc_str_free(&found);
    }
    mlcc_arena_free(scratch);
    return status;
}

static mlcc_status *list_stored(diff_side *side) {
    const ir_module *module = side->module;
    side->params = MLCC_NEW_ARRAY(side->keep, diff_param, module->n_params + 1);
    for (size_t i = 0; i < module->n_params; i++) {
        const ir_param *param = module->params[i];
        diff_param *out = &side->params[side->n_params++];
        *out = (diff_param){.name = param->value.name,
                            .is_optional = param->has_fallback,
                            .param = param,
                            .format = quant_format_of(param->value.type.dtype)};
        quant_piece pieces[QUANT_MAX_PIECES];
        int32_t n_pieces = 0;
        MLCC_TRY(quant_rows_of(&param->value.type, &out->n_rows, &out->columns));
        MLCC_TRY(out->format->pieces(&param->value.type, pieces, &n_pieces));
        out->row_multiple = out->format->row_multiple;
        for (int32_t j = 0; j < n_pieces; j++) {
            const mlcc_tensor_record *record = NULL;
            MLCC_TRY(find_piece(side, param, &pieces[j], &record));
            out->size_bytes += record != NULL ? record->size_bytes : 0;
        }
    }
    return NULL;
}

static mlcc_status *read_chat_config(diff_side *side, const char *path) {
    MLCC_TRY(mlcc_json_read_file(path, 0, &side->chat_config));
    const mlcc_json_value *root = mlcc_json_root(side->chat_config);
    const char *quantization = NULL;
    MLCC_TRY(hf_model_config_from_mlc(root, path, NULL, side->keep, &side->config));
    quant_options options = {0};
    MLCC_TRY(import_quant_options(side->config, side->keep, &options));
    mlcc_status *status = mlcc_json_get_text(root, "quantization", true, &quantization);
    if (status == NULL)
        status = quant_mode_resolve(quantization, &options, side->keep, &side->mode);
    return mlcc_status_note(status, "reading '%s'", path);
}

static mlcc_status *open_store(diff_side *side) {
    const char *path = mlcc_path_join(side->keep, side->path, chat_config_name);
    MLCC_TRY(mlcc_tensor_cache_open(side->path, &side->cache));
    MLCC_TRY(mlcc_tensor_cache_map(side->cache));
    if (!mlcc_file_exists(path)) return NULL;
    MLCC_TRY(read_chat_config(side, path));
    MLCC_TRY(convert_module_make(side->config, side->mode, side->keep, &side->module));
    return list_stored(side);
}

// ---- which mode made a store --------------------------------------------------------------------

static size_t count_pieces(const diff_side *side, const ir_param *param, ir_dtype dtype) {
    ir_type type = param->value.type;
    type.dtype = dtype;
    quant_piece pieces[QUANT_MAX_PIECES];
    int32_t n_pieces = 0;
    const quant_format *format = quant_format_of(dtype);
    mlcc_status *status =
        quant_format_accepts(format, &type) ? format->pieces(&type, pieces, &n_pieces) : NULL;
    if (status != NULL) n_pieces = 0;
    mlcc_status_free(status);
    mlcc_arena *scratch = mlcc_arena_create();
    size_t n_found = 0;
    for (int32_t i = 0; i < n_pieces; i++) {
        const mlcc_tensor_record *record = mlcc_tensor_cache_find(
            side->cache, quant_piece_name(scratch, param->value.name, &pieces[i]));
        const char *name = artifact_dtype_name(pieces[i].dtype);
        n_found += record != NULL && is_same_record(record, &pieces[i]) && name != NULL &&
                   strcmp(name, record->dtype) == 0;
    }
    mlcc_arena_free(scratch);
    return n_found == (size_t)n_pieces ? n_found : 0;
}

// Records of the store that the params account for; 0 when some param has none. Linears that the
// checkpoint kept in float get the mode's float format.
static size_t fit_module(const diff_side *side, ir_module *module, const quant_mode *mode) {
    size_t n_records = 0;
    for (size_t i = 0; i < module->n_params; i++) {
        ir_param *param = module->params[i];
        size_t n = count_pieces(side, param, param->value.type.dtype);
        if (n == 0 && !param->has_fallback) {
            n = count_pieces(side, param, mode->model);
            param->value.type.dtype = mode->model;
            if (n == 0) return 0;
        }
        n_records += n;
    }
    return n_records;
}

typedef struct best_fit {
    const quant_mode *mode;
    ir_module *module;
    size_t n_records, n_grouped;
} best_fit;

static size_t count_grouped(const ir_module *module) {
    size_t n = 0;
    for (size_t i = 0; i < module->n_params; i++)
        n += ir_dtype_get(module->params[i]->value.type.dtype)->kind == IR_KIND_GROUPED;
    return n;
}

static mlcc_status *try_mode(
    diff_side *side, const char *name, int64_t group_size, best_fit *best) {
    const quant_options options = {.group_size = group_size};
    const quant_mode *mode = NULL;
    ir_module *module = NULL;
    MLCC_TRY(quant_mode_resolve(name, &options, side->keep, &mode));
    MLCC_TRY(convert_module_make(side->config, mode, side->keep, &module));
    const size_t n_records = fit_module(side, module, mode), n_grouped = count_grouped(module);
    if (n_records > best->n_records ||
        (n_records == best->n_records && n_records > 0 && n_grouped > best->n_grouped))
        *best = (best_fit){mode, module, n_records, n_grouped};
    return NULL;
}

static mlcc_status *other_config(diff_side *side, const diff_side *other) {
    if (other->cache == NULL)
        return hf_model_config_read(other->path, NULL, NULL, side->keep, &side->config);
    if (other->chat_config == NULL)
        return MLCC_ERROR(
            INVALID,
            "neither '%s' nor '%s' holds %s, which says what model it is; run mlcc "
            "gen_config",
            side->path, other->path, chat_config_name);
    return hf_model_config_from_mlc(
        mlcc_json_root(other->chat_config), other->path, NULL, side->keep, &side->config);
}

mlcc_status *diff_side_find_mode(diff_side *side, const diff_side *other) {
    static const int64_t group_sizes[] = {32, 64, 128};
    size_t n_modes = 0;
    const quant_mode *modes = quant_mode_table(&n_modes);
    best_fit best = {0};
    MLCC_TRY(other_config(side, other));
    for (size_t i = 0; i < n_modes; i++) {
        // Only AWQ has groups of the checkpoint's choosing.
        const size_t n_sizes = strcmp(modes[i].kind, "awq") == 0 ? 3 : 1;
        for (size_t j = 0; j < n_sizes; j++)
            MLCC_TRY(try_mode(side, modes[i].name, n_sizes > 1 ? group_sizes[j] : 0, &best));
    }
    if (best.n_records == 0)
        return MLCC_ERROR(
            MISMATCH,
            "the weights of '%s' are those of no quantization mode for the model of '%s'; run mlcc "
            "gen_config for '%s' if it is of another model",
            side->path, other->path, side->path);
    side->mode = best.mode;
    side->module = best.module;
    return list_stored(side);
}

mlcc_status *diff_side_open(const char *path, diff_side **out) {
    *out = NULL;
    mlcc_arena *keep = mlcc_arena_create();
    diff_side *side = MLCC_NEW(keep, diff_side);
    side->keep = keep;
    side->path = mlcc_arena_strdup(keep, path);
    mlcc_status *status = store_directory_has_index(path) ? open_store(side) : NULL;
    if (status != NULL) {
        diff_side_close(side);
        return mlcc_status_note(status, "opening '%s'", path);
    }
    *out = side;
    return NULL;
}

void diff_side_close(diff_side *side) {
    if (side == NULL) return;
    diff_side_end(side);
    convert_rows_free(side->rows);
    convert_model_close(&side->model);
    mlcc_tensor_cache_close(side->cache);
    hf_model_config_free(side->config);
    mlcc_json_free(side->chat_config);
    mlcc_arena_free(side->keep);
}

// ---- a source -----------------------------------------------------------------------------------

mlcc_status *diff_side_open_source(
    diff_side *side, const quant_mode *mode, const char *source_format) {
    const convert_model_options options = {
        .config = side->path, .mode = mode, .source_format = source_format};
    side->mode = mode;
    MLCC_TRY_NOTE(
        convert_model_open(&options, side->keep, &side->model), "opening '%s'", side->path);
    const convert_plan *plan = &side->model.plan;
    side->params = MLCC_NEW_ARRAY(side->keep, diff_param, plan->n_params + 1);
    for (size_t i = 0; i < plan->n_params; i++) {
        const convert_param *param = &plan->params[i];
        side->params[side->n_params++] = (diff_param){.name = param->param->value.name,
                                                      .is_optional = param->param->has_fallback,
                                                      .param = param->param,
                                                      .format = param->format,
                                                      .of_source = param,
                                                      .n_rows = param->n_rows,
                                                      .columns = param->columns,
                                                      .row_multiple = 1,
                                                      .size_bytes = param->source_bytes};
    }
    return NULL;
}

// ---- the param at work --------------------------------------------------------------------------

static mlcc_status *memory_error(const diff_side *side) {
    return MLCC_ERROR(NO_MEMORY, "host memory ended while '%s' was read", side->param->name);
}

// Decoders want aligned elements of the format's type; a record may lie anywhere and hold halves.
static mlcc_status *begin_piece(diff_side *side, int32_t index) {
    stored_piece *stored = &side->stored[index];
    const quant_piece *piece = &side->pieces[index];
    MLCC_TRY(find_piece(side, side->param->param, piece, &stored->record));
    if (stored->record == NULL) {
        side->is_absent = true;
        return NULL;
    }
    stored->data = mlcc_tensor_cache_data(side->cache, stored->record);
    stored->needs_copy = stored->record->is_bf16_halves ||
                         (uintptr_t)stored->data % ir_dtype_bytes(piece->dtype) != 0;
    if (!stored->needs_copy || (index == 0 && side->param->format->is_streamed)) return NULL;
    stored->copy = malloc(piece->size_bytes);
    if (stored->copy == NULL) return memory_error(side);
    if (stored->record->is_bf16_halves) {
        mlcc_tensor_widen_halves(stored->data, stored->record->n_elements, stored->copy);
    } else {
        memcpy(stored->copy, stored->data, piece->size_bytes);
    }
    stored->data = stored->copy;
    return NULL;
}

static mlcc_status *begin_stored(diff_side *side, convert_row_counts counts) {
    const diff_param *param = side->param;
    MLCC_TRY(param->format->pieces(&param->param->value.type, side->pieces, &side->n_pieces));
    for (int32_t i = 0; i < side->n_pieces; i++) MLCC_TRY(begin_piece(side, i));
    if (side->is_absent || !side->stored[0].needs_copy || !param->format->is_streamed) return NULL;
    const size_t row_bytes = side->pieces[0].size_bytes / (size_t)param->n_rows;
    side->scratch = calloc((size_t)side->n_threads, sizeof *side->scratch);
    if (side->scratch == NULL) return memory_error(side);
    for (int32_t i = 0; i < side->n_threads; i++) {
        side->scratch[i] = malloc((size_t)counts.of_chunk * row_bytes);
        if (side->scratch[i] == NULL) return memory_error(side);
    }
    return NULL;
}

static mlcc_status *begin_source(diff_side *side, convert_row_counts counts) {
    const diff_param *param = side->param;
    if (param->is_optional) {
        side->values = malloc((size_t)(param->n_rows * param->columns) * sizeof(float));
        if (side->values == NULL) return memory_error(side);
        return convert_optional_values(side->model.source, param->of_source, side->values);
    }
    if (side->rows == NULL) {
        side->rows = convert_rows_create(side->model.source, side->n_threads);
        if (side->rows == NULL) return memory_error(side);
    }
    return convert_rows_open(side->rows, param->of_source, counts);
}

mlcc_status *diff_side_begin(
    diff_side *side, const diff_param *param, convert_row_counts counts, int32_t n_threads) {
    diff_side_end(side);
    side->param = param;
    side->n_threads = n_threads;
    return param->of_source != NULL ? begin_source(side, counts) : begin_stored(side, counts);
}

mlcc_status *diff_side_load(diff_side *side, int64_t first_row, int64_t n_rows) {
    if (side->param->of_source == NULL || side->values != NULL) return NULL;
    convert_rows_release(side->rows, first_row);
    return convert_rows_load(side->rows, 0, first_row, n_rows);
}

void diff_side_end(diff_side *side) {
    if (side->rows != NULL) convert_rows_close(side->rows);
    for (int32_t i = 0; i < QUANT_MAX_PIECES; i++) {
        free(side->stored[i].copy);
        if (side->stored[i].record != NULL)
            mlcc_tensor_cache_release(side->cache, side->stored[i].record);
        side->stored[i] = (stored_piece){0};
    }
    for (int32_t i = 0; side->scratch != NULL && i < side->n_threads; i++) free(side->scratch[i]);
    free(side->scratch);
    free(side->values);
    side->scratch = NULL;
    side->values = NULL;
    side->is_absent = false;
    side->param = NULL;
}

// ---- rows and codes -----------------------------------------------------------------------------

static void stored_rows(
    const diff_side *side, int32_t thread, const quant_range *range, float *output) {
    const quant_format *format = side->param->format;
    const void *pieces[QUANT_MAX_PIECES];
    for (int32_t i = 0; i < side->n_pieces; i++) pieces[i] = side->stored[i].data;
    if (format->is_streamed) {
        const stored_piece *first = &side->stored[0];
        const size_t row_bytes = side->pieces[0].size_bytes / (size_t)side->param->n_rows,
                     stored_bytes = first->record->is_bf16_halves ? row_bytes / 2 : row_bytes;
        const char *data = first->data + (size_t)range->first_row * stored_bytes;
        pieces[0] = data;
        if (first->needs_copy) {
            pieces[0] = side->scratch[thread];
            if (first->record->is_bf16_halves) {
                mlcc_tensor_widen_halves(
                    data, (uint64_t)(range->n_rows * range->columns), side->scratch[thread]);
            } else {
                memcpy(side->scratch[thread], data, (size_t)range->n_rows * row_bytes);
            }
        }
    }
    format->decode(pieces, range, output);
}

void diff_side_rows(diff_side *side, int32_t thread, const quant_range *range, float *output) {
    const int64_t count = range->n_rows * range->columns;
    if (side->values != NULL) {
        memcpy(
            output, side->values + range->first_row * range->columns,
            (size_t)count * sizeof *output);
    } else if (side->is_absent) {
        for (int64_t i = 0; i < count; i++) output[i] = (float)side->param->param->fallback;
    } else if (side->param->of_source == NULL) {
        stored_rows(side, thread, range, output);
    } else {
        ir_dtype dtype = IR_F32;
        const void *data =
            convert_rows_floats(side->rows, 0, thread, range->first_row, range->n_rows, &dtype);
        quant_cast_to_f32(data, dtype, count, output);
    }
}

static const quant_canon *canon_of(const diff_side *side) {
    if (side->param->of_source == NULL || side->values != NULL ||
        !convert_rows_are_quantized(side->rows))
        return NULL;
    return convert_rows_canon_of(side->rows, 0);
}

int32_t diff_side_n_codes(const diff_side *side) {
    if (side->param->of_source != NULL) {
        const quant_canon *canon = canon_of(side);
        if (canon == NULL) return 0;
        return canon->kind == QUANT_CANON_INT ? 1 << canon->bits : DIFF_MAX_CODES;
    }
    const ir_dtype_info *info = ir_dtype_get(side->param->format->dtype);
    return info->kind == IR_KIND_GROUPED && !side->is_absent ? 1 << info->bits : 0;
}

// The part of piece 0 that this range stands for, in whatever order codes lie there.
static void count_stored(
    const diff_side *side, const quant_range *range, uint64_t counts[DIFF_MAX_CODES]) {
    const quant_piece *piece = &side->pieces[0];
    const uint32_t bits = (uint32_t)ir_dtype_get(side->param->format->dtype)->bits;
    const size_t element = ir_dtype_bytes(piece->dtype), n_words = piece->size_bytes / element;
    const uint32_t n_codes = 8 * (uint32_t)element / bits, mask = (1u << bits) - 1;
    const size_t n_rows = (size_t)side->param->n_rows,
                 begin = n_words * (size_t)range->first_row / n_rows,
                 end = n_words * (size_t)(range->first_row + range->n_rows) / n_rows;
    for (size_t i = begin; i < end; i++) {
        uint32_t word = 0;
        memcpy(&word, side->stored[0].data + i * element, element);
        for (uint32_t code = 0; code < n_codes; code++) counts[word >> (code * bits) & mask]++;
    }
}

void diff_side_count_codes(
    diff_side *side, int32_t thread, const quant_range *range, uint64_t counts[DIFF_MAX_CODES]) {
    if (side->param->of_source == NULL) {
        count_stored(side, range, counts);
        return;
    }
    quant_canon canon;
    quant_canon_rows rows;
    if (!convert_rows_canon(side->rows, thread, range->first_row, range->n_rows, &canon, &rows))
        return;
    for (int64_t i = 0; i < range->n_rows * range->columns; i++) counts[rows.codes[i]]++;
}

const char *diff_side_format(const diff_side *side) {
    const diff_param *param = side->param;
    if (side->is_absent) return "absent";
    if (param->of_source == NULL) return ir_dtype_get(param->format->dtype)->text;
    if (side->values == NULL && convert_rows_are_quantized(side->rows))
        return convert_rows_layout_of(side->rows, 0);
    return param->of_source->n_sources == 0
               ? "absent"
               : ir_dtype_get(param->of_source->sources[0].tensor->dtype)->text;
}
