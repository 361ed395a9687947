#include "frontend/hf/config_fields.h"

#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <stdio.h>
#include <string.h>

// Keys of Hugging Face configs that say nothing about the computation of a decoder, or that other parts of mlcc read (token ids and sampling
// values: gen_config).
static const char *const harmless_keys[] = {
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_commit_hash",
    "_name_or_path",
    "add_cross_attention",
    "architectures",
    "attention_dropout",
    "attn_implementation",
    "auto_map",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token_id",
    "chunk_size_feed_forward",
    "compression_config",
    "cross_attention_hidden_size",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "dtype",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "eos_token_id",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "frequency_penalty",
    "hidden_dropout",
    "id2label",
    "initializer_range",
    "is_decoder",
    "is_encoder_decoder",
    "is_llama_config",
    "label2id",
    "length_penalty",
    "max_length",
    "min_length",
    "model_type",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "pad_token_id",
    "prefix",
    "presence_penalty",
    "pretraining_tp",
    "problem_type",
    "pruned_heads",
    "quantization_config",
    "remove_invalid_values",
    "repetition_penalty",
    "resid_pdrop",
    "return_dict",
    "return_dict_in_generate",
    "sep_token_id",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tie_encoder_decoder",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torch_dtype",
    "torchscript",
    "transformers.js_config",
    "transformers_version",
    "typical_p",
    "unk_token_id",
    "use_bfloat16",
    "use_cache",
};

static void value_text(const mlcc_json_value *value, mlcc_str *out) {
    mlcc_json_writer writer;
    mlcc_json_writer_init(&writer, out, 0, true);
    mlcc_json_put_value(&writer, value);
}

static bool is_null(const mlcc_json_value *value) {
    return mlcc_json_kind_of(value) == MLCC_JSON_NULL;
}

// The text of a value in an error, cut to what a line can hold.
static mlcc_status *wrong_value(
    const config_source *source, const char *key, const mlcc_json_value *value,
    const char *expected) {
    mlcc_str text = {0};
    value_text(value, &text);
    mlcc_status *status = MLCC_ERROR(
        INVALID, "%s: key '%s' is %.80s; expected %s", source->what, key, mlcc_str_text(&text),
        expected);
    mlcc_str_free(&text);
    return status;
}

static bool is_not_given(const arch_field *field, const mlcc_json_value *value) {
    if (is_null(value)) return true;
    bool zero_means_derive = field->kind == ARCH_FIELD_INTEGER ||
                             field->kind == ARCH_FIELD_WINDOW ||
                             field->kind == ARCH_FIELD_ROPE_BASE;
    return zero_means_derive && field->presence != ARCH_REQUIRED &&
           mlcc_json_kind_of(value) != MLCC_JSON_STRING && mlcc_json_number(value) == 0 &&
           (mlcc_json_kind_of(value) == MLCC_JSON_INT ||
            mlcc_json_kind_of(value) == MLCC_JSON_REAL);
}

// The first of the field's names that is given, overlay before object; *key is the name found. NULL when none is.
static const mlcc_json_value *find_value(
    const arch_field *field, const config_source *source, const char **key) {
    *key = field->name;
    const mlcc_json_value *value =
        source->overlay != NULL ? mlcc_json_get(source->overlay, field->name) : NULL;
    bool is_absent_mark = mlcc_json_kind_of(value) == MLCC_JSON_INT && mlcc_json_int(value) == -1;
    if (!is_not_given(field, value) && !is_absent_mark) return value;
    value = mlcc_json_get(source->object, field->name);
    if (!is_not_given(field, value)) return value;
    for (size_t i = 0; i < ARCH_MAX_ALIASES && field->aliases[i] != NULL; i++) {
        *key = field->aliases[i];
        value = mlcc_json_get(source->object, field->aliases[i]);
        if (!is_not_given(field, value)) return value;
    }
    *key = field->name;
    return NULL;
}

static mlcc_status *missing(const arch_field *field, const config_source *source) {
    mlcc_str names = {0};
    mlcc_str_printf(&names, "'%s'", field->name);
    for (size_t i = 0; i < ARCH_MAX_ALIASES && field->aliases[i] != NULL; i++)
        mlcc_str_printf(&names, " or '%s'", field->aliases[i]);
    mlcc_status *status =
        MLCC_ERROR(INVALID, "%s: required key %s is missing", source->what, mlcc_str_text(&names));
    mlcc_str_free(&names);
    return status;
}

// What an integer may be besides 1 … max.
static bool is_special(const arch_field *field, int64_t number) {
    return (field->kind == ARCH_FIELD_WINDOW && number == -1) ||
           (field->kind == ARCH_FIELD_COUNT && number == 0);
}

static mlcc_status *read_integer(
    const arch_field *field, const config_source *source, const char *key,
    const mlcc_json_value *value, int64_t *out) {
    *out = field->fallback;
    if (value == NULL) return NULL;
    int64_t number = mlcc_json_int(value);
    if (mlcc_json_kind_of(value) != MLCC_JSON_INT ||
        ((number < 1 || number > field->max) && !is_special(field, number))) {
        char expected[96];
        snprintf(
            expected, sizeof expected, "an integer from %d to %lld%s",
            field->kind == ARCH_FIELD_COUNT ? 0 : 1, (long long)field->max,
            field->kind == ARCH_FIELD_WINDOW ? ", or -1 for off" : "");
        return wrong_value(source, key, value, expected);
    }
    *out = number;
    return NULL;
}

// One of the texts; *out points at the table's own, which outlives every document. The first is the default.
static mlcc_status *read_choice(
    const config_source *source, const char *key, const mlcc_json_value *value,
    const char *const *texts, size_t n_texts, const char **out) {
    *out = texts[0];
    if (value == NULL) return NULL;
    const char *text = mlcc_json_text(value, NULL);
    for (size_t i = 0; text != NULL && i < n_texts; i++)
        if (strcmp(text, texts[i]) == 0) {
            *out = texts[i];
            return NULL;
        }
    mlcc_str expected = {0};
    for (size_t i = 0; i < n_texts; i++)
        mlcc_str_printf(&expected, "%s\"%s\"", i == 0 ? "" : " or ", texts[i]);
    mlcc_status *status = wrong_value(source, key, value, mlcc_str_text(&expected));
    mlcc_str_free(&expected);
    return status;
}

static bool is_number(const mlcc_json_value *value) {
    mlcc_json_kind kind = mlcc_json_kind_of(value);
    return kind == MLCC_JSON_INT || kind == MLCC_JSON_REAL;
}

static mlcc_status *read_rope_base(
    const config_source *source, const char *key, const mlcc_json_value *value,
    hf_model_config *config) {
    if (value == NULL) { // newer configs keep it beside the scaling
        value = mlcc_json_get(mlcc_json_get(source->object, "rope_parameters"), "rope_theta");
        key = "rope_parameters.rope_theta";
        if (is_null(value)) return NULL;
    }
    if (!is_number(value)) return wrong_value(source, key, value, "a number");
    config->rope_theta = mlcc_json_number(value);
    config->rope_theta_is_integer = mlcc_json_kind_of(value) == MLCC_JSON_INT;
    return NULL;
}

static const char *const activations[] = {"silu", "swish"};
static const char *const dtypes[] = {"float32", "float16", "bfloat16"};
enum {
    N_ACTIVATIONS = sizeof activations / sizeof activations[0],
    N_DTYPES = sizeof dtypes / sizeof dtypes[0]
};

static mlcc_status *read_field(
    const arch_field *field, const config_source *source, hf_model_config *config) {
    void *member = (char *)config + field->offset;
    const char *key = NULL;
    const mlcc_json_value *value = find_value(field, source, &key);
    if (value == NULL && field->presence == ARCH_REQUIRED) return missing(field, source);
    switch (field->kind) {
    case ARCH_FIELD_INTEGER:
    case ARCH_FIELD_WINDOW:
    case ARCH_FIELD_COUNT: return read_integer(field, source, key, value, member);
    case ARCH_FIELD_ACTIVATION:
        return read_choice(source, key, value, activations, N_ACTIVATIONS, member);
    case ARCH_FIELD_DTYPE: return read_choice(source, key, value, dtypes, N_DTYPES, member);
    case ARCH_FIELD_ROPE_BASE: return read_rope_base(source, key, value, config);
    case ARCH_FIELD_REAL:
        if (value == NULL) return NULL;
        if (!is_number(value)) return wrong_value(source, key, value, "a number");
        *(double *)member = mlcc_json_number(value);
        return NULL;
    case ARCH_FIELD_BOOL:
        *(bool *)member = value != NULL ? mlcc_json_is_true(value) : field->fallback != 0;
        if (value != NULL && mlcc_json_kind_of(value) != MLCC_JSON_BOOL)
            return wrong_value(source, key, value, "true or false");
        return NULL;
    case ARCH_FIELD_ROPE_SCALING: {
        bool keep_json = false;
        if (value == NULL) return NULL;
        MLCC_TRY_NOTE(
            config_read_rope_scaling(value, key, member, &keep_json), "reading %s", source->what);
        config->rope_scaling_json = keep_json ? value : NULL;
        return NULL;
    }
    case ARCH_N_FIELD_KINDS: break;
    }
    return MLCC_ERROR(INTERNAL, "field '%s' has an unknown kind", field->name);
}

bool config_gives(const config_source *source, const char *name) {
    return mlcc_json_int(mlcc_json_get(source->overlay, name)) > 0 ||
           mlcc_json_int(mlcc_json_get(source->object, name)) > 0;
}

mlcc_status *config_read_fields(
    const arch_info *arch, const config_source *source, hf_model_config *config) {
    for (size_t i = 0; i < arch->n_fields; i++)
        MLCC_TRY(read_field(&arch->fields[i], source, config));
    return NULL;
}

static mlcc_status *check_condition(
    const arch_condition *condition, const config_source *source, mlcc_str *found) {
    const mlcc_json_value *value = mlcc_json_get(source->object, condition->key);
    if (is_null(value)) return NULL;
    value_text(value, found);
    for (size_t i = 0; i < ARCH_MAX_ACCEPTED && condition->accepted[i] != NULL; i++)
        if (strcmp(condition->accepted[i], mlcc_str_text(found)) == 0) return NULL;
    const char *second = condition->accepted[1];
    return MLCC_ERROR(
        UNSUPPORTED, "%s: key '%s' is %.120s; accepted: %s%s%s, or absent%s%s", source->what,
        condition->key, mlcc_str_text(found), condition->accepted[0], second != NULL ? ", " : "",
        second != NULL ? second : "", condition->hint != NULL ? "; " : "",
        condition->hint != NULL ? condition->hint : "");
}

mlcc_status *config_check_conditions(const arch_info *arch, const config_source *source) {
    for (size_t i = 0; i < arch->n_conditions; i++) {
        mlcc_str found = {0};
        mlcc_status *status = check_condition(&arch->conditions[i], source, &found);
        mlcc_str_free(&found);
        if (status != NULL) return status;
    }
    return NULL;
}

static bool is_known(const arch_info *arch, const char *key) {
    for (size_t i = 0; i < arch->n_fields; i++) {
        if (strcmp(arch->fields[i].name, key) == 0) return true;
        for (size_t k = 0; k < ARCH_MAX_ALIASES && arch->fields[i].aliases[k] != NULL; k++)
            if (strcmp(arch->fields[i].aliases[k], key) == 0) return true;
    }
    for (size_t i = 0; i < arch->n_conditions; i++)
        if (strcmp(arch->conditions[i].key, key) == 0) return true;
    for (const char *const *name = arch->ignored_keys; name != NULL && *name != NULL; name++)
        if (strcmp(*name, key) == 0) return true;
    for (size_t i = 0; i < sizeof harmless_keys / sizeof harmless_keys[0]; i++)
        if (strcmp(harmless_keys[i], key) == 0) return true;
    return false;
}

#define MAX_REPORTED_KEYS 24

void config_report_unknown(const arch_info *arch, const config_source *source) {
    mlcc_str keys = {0};
    size_t n_unknown = 0;
    for (const mlcc_json_iter *it = mlcc_json_first(source->object); it != NULL;
         it = mlcc_json_next(source->object, it)) {
        if (is_known(arch, mlcc_json_iter_key(it))) continue;
        if (n_unknown++ < MAX_REPORTED_KEYS)
            mlcc_str_printf(&keys, "%s'%.60s'", n_unknown > 1 ? ", " : "", mlcc_json_iter_key(it));
    }
    if (n_unknown > MAX_REPORTED_KEYS)
        mlcc_str_printf(&keys, " and %zu more", n_unknown - MAX_REPORTED_KEYS);
    if (n_unknown > 0)
        mlcc_log(
            MLCC_LOG_WARN, "config", "%s: unknown key%s ignored: %s", source->what,
            n_unknown > 1 ? "s" : "", mlcc_str_text(&keys));
    mlcc_str_free(&keys);
}
