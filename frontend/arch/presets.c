#include "frontend/arch/presets.h"

#include <string.h>

typedef struct preset {
    const char *model_type;
    int32_t hidden, ffn, layers, heads, kv_heads, head_dim, vocab, context;
    const char *theta;
    const char *rope_scaling;
    bool is_tied;
    const char *eps, *bos, *eos, *pad;
    const char *members; // of a row that is text; NULL: the columns above
} preset;

static const char *const preset_names[] = {
#define PRESET(model, name, ...)       name,
#define PRESET_TEXT(model, name, json) name,
#include "frontend/arch/presets.def"
};

// The files of 3.1 and 3.2 have the keys in another order.
#define LLAMA3_1 \
    "{\"factor\": 8.0, \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, " LLAMA3_ORIGINAL
#define LLAMA3_2 \
    "{\"factor\": 32.0, \"high_freq_factor\": 4.0, \"low_freq_factor\": 1.0, " LLAMA3_ORIGINAL
#define LLAMA3_ORIGINAL "\"original_max_position_embeddings\": 8192, \"rope_type\": \"llama3\"}"

static const preset presets[] = {
#define PRESET(model, name, ...)       {#model, __VA_ARGS__, NULL},
#define PRESET_TEXT(model, name, json) {.model_type = #model, .members = json},
#include "frontend/arch/presets.def"
};

#define N_PRESETS (sizeof presets / sizeof presets[0])

const char *const *arch_preset_names(size_t *n_names) {
    *n_names = N_PRESETS;
    return preset_names;
}

// N_PRESETS when unknown.
static size_t find_preset(const char *name) {
    size_t row = 0;
    while (row < N_PRESETS && strcmp(preset_names[row], name) != 0) row++;
    return row;
}

const char *arch_preset_model_type(const char *name) {
    const size_t row = find_preset(name);
    return row < N_PRESETS ? presets[row].model_type : NULL;
}

static mlcc_status *unknown(const char *name) {
    mlcc_str list = {0};
    for (size_t i = 0; i < N_PRESETS; i++)
        mlcc_str_printf(&list, "%s%s", i == 0 ? "" : ", ", preset_names[i]);
    const char *nearest = mlcc_text_nearest(name, preset_names, N_PRESETS);
    mlcc_status *status = MLCC_ERROR(
        INVALID,
        "'%.200s' is neither a model folder, nor a config.json, nor a preset%s%s%s; presets: %s",
        name, nearest != NULL ? " (did you mean '" : "", nearest != NULL ? nearest : "",
        nearest != NULL ? "'?)" : "", mlcc_str_text(&list));
    mlcc_str_free(&list);
    return status;
}

// ,\n"key": json   unless the row leaves the key out
static void put(mlcc_str *text, const char *key, const char *json) {
    if (json[0] != '\0') mlcc_str_printf(text, ",\n  \"%s\": %s", key, json);
}

static void put_integer(mlcc_str *text, const char *key, int32_t value) {
    if (value != 0) mlcc_str_printf(text, ",\n  \"%s\": %d", key, (int)value);
}

mlcc_status *arch_preset_config(const char *name, mlcc_str *text) {
    const size_t row = find_preset(name);
    if (row == N_PRESETS) return unknown(name);
    const preset *chosen = &presets[row];

    mlcc_str_printf(text, "{\n  \"model_type\": \"%s\"", chosen->model_type);
    if (chosen->members != NULL) {
        mlcc_str_printf(text, ",\n  %s\n}\n", chosen->members);
        return NULL;
    }
    put_integer(text, "hidden_size", chosen->hidden);
    put_integer(text, "intermediate_size", chosen->ffn);
    put_integer(text, "num_hidden_layers", chosen->layers);
    put_integer(text, "num_attention_heads", chosen->heads);
    put_integer(text, "num_key_value_heads", chosen->kv_heads);
    put_integer(text, "head_dim", chosen->head_dim);
    put_integer(text, "vocab_size", chosen->vocab);
    put_integer(text, "max_position_embeddings", chosen->context);
    put(text, "rope_theta", chosen->theta);
    put(text, "rope_scaling", chosen->rope_scaling);
    put(text, "tie_word_embeddings", chosen->is_tied ? "true" : "false");
    put(text, "rms_norm_eps", chosen->eps);
    put(text, "hidden_act", "\"silu\"");
    put(text, "bos_token_id", chosen->bos);
    put(text, "eos_token_id", chosen->eos);
    put(text, "pad_token_id", chosen->pad);
    mlcc_str_puts(text, "\n}\n");
    return NULL;
}
