// The encoder: whole texts through the library's function "embed", as many at a time as a pass holds (runtime/mlcc.h). A pass's sequences stand side by
// side without padding; each token carries the rows of its own sequence.
#include "runtime/model/model.h"
#include "runtime/model/pooling.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct mlcc_encoder {
    mlcc_model *model;
    mlcc_encoder_info info;
    mlcc_runner *runner;
    mlcc_mirror inputs; // what the next four lie in, host's side, each with room for pass_tokens
    int32_t *ids, *positions, *token_types, *segments;
    mlcc_mirror rows; // [pass_tokens, width]
    void **args;      // [n_args]; the inputs' addresses never change
    int64_t *dims;    // [n_symbols]
};

// Where the caller wants the rows of a pass: as they are, or one vector an item.
typedef struct encoder_output {
    bool is_pooled, normalizes;
    mlcc_pooling pooling;
    float *next;
} encoder_output;

static mlcc_status *limit_texts(mlcc_encoder *encoder) {
    const mlcc_model *model = encoder->model;
    const int64_t limits[] = {
        model->info.context_window, model->embedding.max_tokens, encoder->info.pass_tokens};
    if (model->info.context_window < 1)
        return MLCC_ERROR(
            MISMATCH, "the library does not say how many positions its encoder has: compile the "
                      "model again");
    encoder->info.max_tokens = INT64_MAX;
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
        if (limits[i] > 0 && limits[i] < encoder->info.max_tokens)
            encoder->info.max_tokens = limits[i];
    return NULL;
}

static mlcc_status *create_inputs(mlcc_encoder *encoder) {
    int32_t **const lists[] = {
        &encoder->ids, &encoder->positions, &encoder->token_types, &encoder->segments};
    enum { N_LISTS = sizeof lists / sizeof lists[0] };
    // pass_tokens is below 2^31: each list at a multiple of 64 bytes, the last twice as long.
    const size_t list_bytes = ((size_t)encoder->info.pass_tokens * sizeof(int32_t) + 63) / 64 * 64;
    MLCC_TRY(mlcc_device_alloc_mirror(
        encoder->model->device, (N_LISTS + 1) * list_bytes, "the inputs of one pass",
        &encoder->inputs));
    for (size_t i = 0; i < N_LISTS; i++)
        *lists[i] = (int32_t *)(void *)((char *)encoder->inputs.host + i * list_bytes);
    return NULL;
}

static void *address_of(const mlcc_encoder *encoder, const int32_t *list) {
    return (char *)encoder->inputs.memory.address +
           ((const char *)list - (const char *)encoder->inputs.host);
}

static mlcc_status *create_call(mlcc_encoder *encoder) {
    const mlcc_model *model = encoder->model;
    const mlcc_forward *forward = &model->forward;
    const mlcc_abi_function *function = forward->function;
    const uint32_t index = (uint32_t)(function - model->library.abi->functions);
    MLCC_TRY(mlcc_runner_create(model->device, index, model->weights.params, &encoder->runner));
    MLCC_TRY(create_inputs(encoder));
    MLCC_TRY(mlcc_device_alloc_mirror(
        model->device,
        (size_t)encoder->info.pass_tokens * (size_t)encoder->info.width * sizeof(float),
        "the rows of one pass", &encoder->rows));
    encoder->args = calloc((size_t)function->n_args + 1, sizeof *encoder->args);
    encoder->dims = calloc((size_t)forward->n_symbols + 1, sizeof *encoder->dims);
    if (encoder->args == NULL || encoder->dims == NULL)
        return MLCC_ERROR(NO_MEMORY, "memory for the call tables cannot be had");
    const int32_t *const lists[MLCC_N_ARGS] = {
        [MLCC_ARG_IDS] = encoder->ids,
        [MLCC_ARG_POSITIONS] = encoder->positions,
        [MLCC_ARG_TOKEN_TYPES] = encoder->token_types,
        [MLCC_ARG_SEGMENTS] = encoder->segments};
    for (uint32_t i = 0; i < function->n_args; i++) {
        const int32_t *list = lists[forward->args[i].id];
        if (list == NULL)
            return MLCC_ERROR(
                MISMATCH,
                "the library's function 'embed' has the input '%s', which an encoder has "
                "not",
                function->args[i].name);
        encoder->args[i] = address_of(encoder, list);
    }
    return NULL;
}

mlcc_status *mlcc_encoder_create(mlcc_model *model, mlcc_encoder **out) {
    *out = NULL;
    if (!model->forward.is_encoder)
        return MLCC_ERROR(
            UNSUPPORTED,
            "the model is a decoder (model_type '%s'), which writes text and has no embeddings of "
            "texts; use mlcc generate or mlcc chat, or an encoder such as bert",
            model->info.model_type);
    mlcc_encoder *encoder = calloc(1, sizeof *encoder);
    if (encoder == NULL) return MLCC_ERROR(NO_MEMORY, "memory for an encoder cannot be had");
    encoder->model = model;
    encoder->info = (mlcc_encoder_info){.width = model->forward.width,
                                        .vocab = model->forward.vocab,
                                        .pass_tokens = model->forward.bounds[MLCC_SYMBOL_N_TOKENS],
                                        .pooling = model->embedding.pooling,
                                        .normalizes = model->embedding.normalizes};
    mlcc_status *status = limit_texts(encoder);
    if (status == NULL) status = create_call(encoder);
    if (status != NULL) {
        mlcc_encoder_free(encoder);
        return mlcc_status_note(status, "creating an encoder");
    }
    *out = encoder;
    return NULL;
}

void mlcc_encoder_free(mlcc_encoder *encoder) {
    if (encoder == NULL) return;
    mlcc_device *device = encoder->model->device;
    mlcc_runner_free(encoder->runner);
    mlcc_device_free_mirror(device, &encoder->inputs);
    mlcc_device_free_mirror(device, &encoder->rows);
    free(encoder->args);
    free(encoder->dims);
    free(encoder);
}

void mlcc_encoder_get_info(const mlcc_encoder *encoder, mlcc_encoder_info *info) {
    *info = encoder->info;
}

static mlcc_status *check_items(
    const mlcc_encoder *encoder, const mlcc_encoder_item *items, int64_t n_items) {
    const mlcc_encoder_info *info = &encoder->info;
    if (items == NULL || n_items < 1) return MLCC_ERROR(INVALID, "there is no text to encode");
    for (int64_t i = 0; i < n_items; i++) {
        const mlcc_encoder_item *item = &items[i];
        if (item->tokens == NULL || item->n_tokens < 1 || item->n_tokens > info->max_tokens)
            return MLCC_ERROR(
                INVALID, "text %" PRId64 " has %" PRId64 " tokens; accepted are 1 … %" PRId64, i,
                item->tokens == NULL ? 0 : item->n_tokens, info->max_tokens);
        for (int64_t t = 0; t < item->n_tokens; t++)
            if (item->tokens[t] < 0 || item->tokens[t] >= info->vocab)
                return MLCC_ERROR(
                    INVALID,
                    "token %" PRId64 " of text %" PRId64 " is %d; accepted are 0 … %" PRId64, t, i,
                    item->tokens[t], info->vocab - 1);
    }
    return NULL;
}

// As many items as a pass holds; their tokens are counted in *n_tokens.
static int64_t fill_pass(
    mlcc_encoder *encoder, const mlcc_encoder_item *items, int64_t n_items, int64_t *n_tokens) {
    int64_t n = 0, row = 0;
    for (; n < n_items && items[n].n_tokens <= encoder->info.pass_tokens - row; n++) {
        const int64_t begin = row, end = row + items[n].n_tokens;
        for (; row < end; row++) {
            encoder->ids[row] = items[n].tokens[row - begin];
            encoder->positions[row] = (int32_t)(row - begin);
            encoder->token_types[row] = 0;
            encoder->segments[2 * row] = (int32_t)begin;
            encoder->segments[2 * row + 1] = (int32_t)end;
        }
    }
    *n_tokens = row;
    return n;
}

static mlcc_status *run_pass(mlcc_encoder *encoder, int64_t n_tokens) {
    const mlcc_forward *forward = &encoder->model->forward;
    mlcc_device *device = encoder->model->device;
    // Other symbols belong to no input of the function.
    for (uint32_t i = 0; i < forward->n_symbols; i++)
        encoder->dims[i] = forward->symbols[i] == MLCC_SYMBOL_N_TOKENS ? n_tokens : 1;
    MLCC_TRY(mlcc_device_push(device, &encoder->inputs, 0, encoder->inputs.memory.size_bytes));
    void *results[1] = {encoder->rows.memory.address};
    MLCC_TRY(mlcc_runner_run(encoder->runner, encoder->args, results, encoder->dims));
    return mlcc_device_pull(
        device, &encoder->rows, 0, (size_t)n_tokens * (size_t)encoder->info.width * sizeof(float));
}

static void take_rows(
    const mlcc_encoder *encoder, const mlcc_encoder_item *items, int64_t n_items,
    encoder_output *output) {
    const int64_t width = encoder->info.width;
    const float *rows = encoder->rows.host;
    for (int64_t i = 0; i < n_items; i++) {
        const int64_t n_floats = items[i].n_tokens * width;
        if (output->is_pooled) {
            mlcc_pooling_apply(output->pooling, rows, items[i].n_tokens, width, output->next);
            if (output->normalizes) mlcc_pooling_normalize(output->next, width);
            output->next += width;
        } else {
            memcpy(output->next, rows, (size_t)n_floats * sizeof *rows);
            output->next += n_floats;
        }
        rows += n_floats;
    }
}

static mlcc_status *run(
    mlcc_encoder *encoder, const mlcc_encoder_item *items, int64_t n_items,
    encoder_output *output) {
    MLCC_TRY(check_items(encoder, items, n_items));
    for (int64_t first = 0; first < n_items;) {
        int64_t n_tokens = 0;
        const int64_t n = fill_pass(encoder, items + first, n_items - first, &n_tokens);
        MLCC_TRY(run_pass(encoder, n_tokens));
        take_rows(encoder, items + first, n, output);
        first += n;
    }
    return NULL;
}

mlcc_status *mlcc_encoder_embed(
    mlcc_encoder *encoder, const mlcc_encoder_item *items, int64_t n_items,
    const mlcc_embed_options *options, float *embeddings) {
    static const mlcc_embed_options defaults = {0};
    if (options == NULL) options = &defaults;
    if (options->pooling < MLCC_POOLING_DEFAULT || options->pooling > MLCC_POOLING_LAST ||
        options->normalize < MLCC_NORMALIZE_DEFAULT || options->normalize > MLCC_NORMALIZE_OFF)
        return MLCC_ERROR(
            INVALID, "pooling %d and normalize %d; accepted are 0 … %d and 0 … %d",
            (int)options->pooling, (int)options->normalize, MLCC_POOLING_LAST, MLCC_NORMALIZE_OFF);
    const bool is_default = options->normalize == MLCC_NORMALIZE_DEFAULT;
    encoder_output output = {
        .is_pooled = true,
        .normalizes =
            is_default ? encoder->info.normalizes : options->normalize == MLCC_NORMALIZE_ON,
        .pooling =
            options->pooling == MLCC_POOLING_DEFAULT ? encoder->info.pooling : options->pooling,
        .next = embeddings};
    return run(encoder, items, n_items, &output);
}

mlcc_status *mlcc_encoder_rows(
    mlcc_encoder *encoder, const mlcc_encoder_item *items, int64_t n_items, float *rows) {
    encoder_output output = {.next = rows};
    return run(encoder, items, n_items, &output);
}
