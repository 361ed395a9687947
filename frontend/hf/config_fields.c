#include "frontend/hf/config_fields.h"

#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <math.h>
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

// "quantization_config.weight_block_size" is a member of a member.
static const mlcc_json_value *member_of(const mlcc_json_value *object, const char *key) {
    const char *dot = strchr(key, '.');
    if (dot == NULL) return mlcc_json_get(object, key);
    char owner[64];
    snprintf(owner, sizeof owner, "%.*s", (int)(dot - key), key);
    return mlcc_json_get(mlcc_json_get(object, owner), dot + 1);
}

// Of the object, or of the text_config inside it, where composite models keep their language model.
static const mlcc_json_value *lookup(const config_source *source, const char *key) {
    const mlcc_json_value *value = member_of(source->object, key);
    return !is_null(value) ? value : member_of(mlcc_json_get(source->object, "text_config"), key);
}

// The first of the field's names that is given, overlay before object; *key is the name found. NULL when none is.
static const mlcc_json_value *find_value(
    const arch_field *field, const config_source *source, const char **key) {
    *key = field->name;
    const mlcc_json_value *value =
        source->overlay != NULL ? mlcc_json_get(source->overlay, field->name) : NULL;
    bool is_absent_mark = mlcc_json_kind_of(value) == MLCC_JSON_INT && mlcc_json_int(value) == -1;
    if (!is_not_given(field, value) && !is_absent_mark) return value;
    value = lookup(source, field->name);
    if (!is_not_given(field, value)) return value;
    for (size_t i = 0; i < ARCH_MAX_ALIASES && field->aliases[i] != NULL; i++) {
        *key = field->aliases[i];
        value = lookup(source, field->aliases[i]);
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

// One of the texts; *out points at the table's own, which outlives every document. `fallback`: index of the default.
static mlcc_status *read_choice(
    const config_source *source, const char *key, const mlcc_json_value *value,
    const char *const *texts, size_t n_texts, int64_t fallback, const char **out) {
    *out = texts[fallback];
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

// Newer configs keep all that is said about the rotation in one object; of types whose layers with a window have a base of their own, in one for
// either kind of layer.
static const mlcc_json_value *rope_parameters(const config_source *source, bool is_local) {
    const mlcc_json_value *all = lookup(source, "rope_parameters");
    const mlcc_json_value *whole = mlcc_json_get(all, "full_attention");
    const bool is_apart = mlcc_json_kind_of(whole) == MLCC_JSON_OBJECT;
    if (is_local) return is_apart ? mlcc_json_get(all, "sliding_attention") : NULL;
    return is_apart ? whole : all;
}

static bool has_local_rope(const arch_info *arch) {
    for (size_t i = 0; i < arch->n_fields; i++)
        if (arch->fields[i].offset == offsetof(hf_model_config, rope_local_theta)) return true;
    return false;
}

static mlcc_status *read_rope_scaling(
    const config_source *source, const char *key, const mlcc_json_value *value,
    hf_model_config *config) {
    bool keep_json = false;
    if (value == NULL) return NULL;
    if (has_local_rope(source->arch) && value == lookup(source, "rope_parameters")) {
        value = rope_parameters(source, false);
        const mlcc_json_value *local = mlcc_json_get(rope_parameters(source, true), "rope_type");
        const char *type = mlcc_json_text(local, NULL);
        if (!is_null(local) && (type == NULL || strcmp(type, "default") != 0))
            return wrong_value(
                source, "rope_parameters.sliding_attention.rope_type", local, "\"default\"");
    }
    MLCC_TRY_NOTE(
        config_read_rope_scaling(value, key, config, &keep_json), "reading %s", source->what);
    config->rope_scaling_json = keep_json ? value : NULL;
    return NULL;
}

static mlcc_status *read_rope_base(
    const arch_field *field, const config_source *source, const char *key,
    const mlcc_json_value *value, hf_model_config *config) {
    if (value == NULL) {
        value = mlcc_json_get(rope_parameters(source, false), "rope_theta");
        key = "rope_parameters.rope_theta";
        if (is_null(value)) {
            config->rope_theta = field->otherwise;
            config->rope_theta_is_integer = true;
            return NULL;
        }
    }
    if (!is_number(value)) return wrong_value(source, key, value, "a number");
    config->rope_theta = mlcc_json_number(value);
    config->rope_theta_is_integer = mlcc_json_kind_of(value) == MLCC_JSON_INT;
    return NULL;
}

static size_t index_of(const arch_field *field, const config_source *source) {
    return (size_t)(field - source->arch->fields);
}

static mlcc_status *read_real(
    const arch_field *field, const config_source *source, const char *key,
    const mlcc_json_value *value, hf_model_config *config) {
    double *member = (double *)(void *)((char *)config + field->offset);
    *member = field->otherwise;
    if (value == NULL && field->offset == offsetof(hf_model_config, partial_rotary_factor)) {
        value = mlcc_json_get(rope_parameters(source, false), "partial_rotary_factor");
        key = "rope_parameters.partial_rotary_factor";
    }
    if (value == NULL && field->offset == offsetof(hf_model_config, rope_local_theta)) {
        value = mlcc_json_get(rope_parameters(source, true), "rope_theta");
        key = "rope_parameters.sliding_attention.rope_theta";
    }
    if (is_null(value)) return NULL;
    if (!is_number(value) || !isfinite(mlcc_json_number(value)))
        return wrong_value(source, key, value, "a number");
    *member = mlcc_json_number(value);
    config->spelling[index_of(field, source)] =
        mlcc_json_kind_of(value) == MLCC_JSON_INT ? HF_AS_INTEGER : HF_AS_REAL;
    return NULL;
}

static mlcc_status *read_layer_types(
    const config_source *source, const char *key, const mlcc_json_value *value,
    hf_model_config *config) {
    static const char expected[] =
        "an array with \"sliding_attention\" or \"full_attention\" for every layer";
    if (value == NULL) return NULL;
    if (mlcc_json_kind_of(value) != MLCC_JSON_ARRAY ||
        (int64_t)mlcc_json_count(value) != config->n_layers)
        return wrong_value(source, key, value, expected);
    for (size_t i = 0; i < mlcc_json_count(value); i++) {
        const char *type = mlcc_json_text(mlcc_json_at(value, i), NULL);
        if (type == NULL ||
            (strcmp(type, "sliding_attention") != 0 && strcmp(type, "full_attention") != 0))
            return wrong_value(source, key, value, expected);
    }
    config->layer_types = value;
    return NULL;
}

static mlcc_status *read_layers(
    const config_source *source, const char *key, const mlcc_json_value *value,
    const mlcc_json_value **out) {
    static const char expected[] = "an array of numbers of layers";
    if (value == NULL) return NULL;
    if (mlcc_json_kind_of(value) != MLCC_JSON_ARRAY)
        return wrong_value(source, key, value, expected);
    for (size_t i = 0; i < mlcc_json_count(value); i++)
        if (mlcc_json_kind_of(mlcc_json_at(value, i)) != MLCC_JSON_INT)
            return wrong_value(source, key, value, expected);
    *out = value;
    return NULL;
}

static const char *const activations[] = {
#define ARCH_ACTIVATION(id, text, op, squared) text,
#include "frontend/arch/activations.def"
};
static const char *const dtypes[] = {"float32", "float16", "bfloat16"};
enum {
    N_ACTIVATIONS = sizeof activations / sizeof activations[0],
    N_DTYPES = sizeof dtypes / sizeof dtypes[0]
};

const char *config_activation(int64_t id) {
    return activations[id];
}

static mlcc_status *read_field(
    const arch_field *field, const config_source *source, hf_model_config *config) {
    void *member = (char *)config + field->offset;
    const char *key = NULL;
    const mlcc_json_value *value = find_value(field, source, &key);
    if (value == NULL && field->presence == ARCH_REQUIRED) return missing(field, source);
    if (field->presence == ARCH_VERBATIM) config->found[index_of(field, source)] = value;
    switch (field->kind) {
    case ARCH_FIELD_INTEGER:
    case ARCH_FIELD_WINDOW:
    case ARCH_FIELD_COUNT: return read_integer(field, source, key, value, member);
    case ARCH_FIELD_ACTIVATION:
        return read_choice(source, key, value, activations, N_ACTIVATIONS, field->fallback, member);
    case ARCH_FIELD_CHOICE: {
        size_t n_choices = 0;
        while (field->choices[n_choices] != NULL) n_choices++;
        return read_choice(source, key, value, field->choices, n_choices, field->fallback, member);
    }
    case ARCH_FIELD_DTYPE: return read_choice(source, key, value, dtypes, N_DTYPES, 0, member);
    case ARCH_FIELD_ROPE_BASE: return read_rope_base(field, source, key, value, config);
    case ARCH_FIELD_REAL: return read_real(field, source, key, value, config);
    case ARCH_FIELD_KEPT: config->found[index_of(field, source)] = value; return NULL;
    case ARCH_FIELD_LAYERS: return read_layers(source, key, value, member);
    case ARCH_FIELD_LAYER_TYPES: return read_layer_types(source, key, value, config);
    case ARCH_FIELD_BOOL:
        *(bool *)member = value != NULL ? mlcc_json_is_true(value) : field->fallback != 0;
        if (value != NULL && mlcc_json_kind_of(value) != MLCC_JSON_BOOL)
            return wrong_value(source, key, value, "true or false");
        return NULL;
    case ARCH_FIELD_ROPE_SCALING: return read_rope_scaling(source, key, value, config);
    case ARCH_N_FIELD_KINDS: break;
    }
    return MLCC_ERROR(INTERNAL, "field '%s' has an unknown kind", field->name);
}

bool config_gives(const config_source *source, const char *name) {
    return mlcc_json_int(mlcc_json_get(source->overlay, name)) > 0 ||
           mlcc_json_int(mlcc_json_get(source->object, name)) > 0;
}

mlcc_status *config_read_fields(
    const arch_info *arch, const config_source *given, hf_model_config *config) {
    config_source with_arch = *given;
    const config_source *source = &with_arch;
    with_arch.arch = arch;
    // Scalings last: they are checked against the part of a head that turns.
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < arch->n_fields; i++)
            if ((arch->fields[i].kind == ARCH_FIELD_ROPE_SCALING) == (pass == 1))
                MLCC_TRY(read_field(&arch->fields[i], source, config));
    return NULL;
}

static mlcc_status *check_condition(
    const arch_condition *condition, const config_source *source, mlcc_str *found) {
    const mlcc_json_value *value = lookup(source, condition->key);
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

static bool has_row(const arch_info *arch, const char *key) {
    for (size_t i = 0; i < arch->n_fields; i++) {
        if (strcmp(arch->fields[i].name, key) == 0) return true;
        for (size_t k = 0; k < ARCH_MAX_ALIASES && arch->fields[i].aliases[k] != NULL; k++)
            if (strcmp(arch->fields[i].aliases[k], key) == 0) return true;
    }
    for (size_t i = 0; i < arch->n_conditions; i++)
        if (strcmp(arch->conditions[i].key, key) == 0) return true;
    for (const char *const *name = arch->ignored_keys; name != NULL && *name != NULL; name++)
        if (strcmp(*name, key) == 0) return true;
    return false;
}

// What such a key says when it changes nothing: null always, and one of these.
typedef struct arithmetic_key {
    const char *key;
    const char *neutral[2];
} arithmetic_key;

static const arithmetic_key arithmetic_keys[] = {
    {"alibi", {"false"}},
    {"attn_logit_softcapping", {NULL}},
    {"attention_multiplier", {NULL}},
    {"clip_qkv", {NULL}},
    {"dim_model_base", {NULL}},
    {"embedding_multiplier", {"1.0", "1"}},
    {"final_logit_softcapping", {NULL}},
    {"logit_scale", {"1.0", "1"}},
    {"logits_scaling", {"1.0", "1"}},
    {"partial_rotary_factor", {"1.0", "1"}},
    {"qk_layernorm", {"false"}},
    {"query_pre_attn_scalar", {NULL}},
    {"residual_multiplier", {"1.0", "1"}},
    {"rotary_dim", {NULL}},
    {"rotary_pct", {"1.0", "1"}},
    {"scale_attn_by_inverse_layer_idx", {"false"}},
    {"scale_depth", {NULL}},
    {"scale_emb", {"1.0", "1"}},
    {"use_qk_norm", {"false"}},
    {"use_parallel_residual", {"false"}},
    {"parallel_attn", {"false"}},
    {"num_experts", {"0"}},
    {"num_local_experts", {"0"}},
    {"n_routed_experts", {"0"}},
    {"n_shared_experts", {"0"}},
    {"shared_expert_intermediate_size", {"0"}},
    {"routed_scaling_factor", {"1.0", "1"}},
};

mlcc_status *config_check_arithmetic(const arch_info *arch, const config_source *source) {
    for (size_t i = 0; i < sizeof arithmetic_keys / sizeof arithmetic_keys[0]; i++) {
        const arithmetic_key *row = &arithmetic_keys[i];
        const mlcc_json_value *value = lookup(source, row->key);
        if (is_null(value) || has_row(arch, row->key)) continue;
        mlcc_str text = {0};
        value_text(value, &text);
        bool is_neutral = false;
        for (int k = 0; k < 2 && row->neutral[k] != NULL; k++)
            is_neutral |= strcmp(row->neutral[k], mlcc_str_text(&text)) == 0;
        mlcc_status *status =
            is_neutral
                ? NULL
                : MLCC_ERROR(
                      UNSUPPORTED,
                      "%s: key '%s' is %.120s, which changes the model's arithmetic in a way "
                      "that its model_type does not have%s%s; remove it, or name the right "
                      "type with --model-type",
                      source->what, row->key, mlcc_str_text(&text),
                      row->neutral[0] != NULL ? "; without effect is " : "",
                      row->neutral[0] != NULL ? row->neutral[0] : "");
        mlcc_str_free(&text);
        if (status != NULL) return status;
    }
    return NULL;
}

// Of checkpoints that hold a model of images beside the language model.
static const char *const composite_keys[] = {
    "text_config",          "vision_config",
    "ignore_index",         "image_seq_length",
    "image_token_id",       "image_token_index",
    "mm_tokens_per_image",  "multimodal_projector_bias",
    "projector_hidden_act", "spatial_merge_size",
    "vision_feature_layer", "vision_feature_select_strategy",
    "boi_token_index",      "eoi_token_index",
};

static bool holds_object(const config_source *source, const char *key) {
    return mlcc_json_kind_of(mlcc_json_get(source->object, key)) == MLCC_JSON_OBJECT;
}

static bool is_composite_key(const char *key) {
    for (size_t i = 0; i < sizeof composite_keys / sizeof composite_keys[0]; i++)
        if (strcmp(composite_keys[i], key) == 0) return true;
    return false;
}

static bool is_known(const arch_info *arch, const char *key) {
    if (has_row(arch, key)) return true;
    for (size_t i = 0; i < sizeof arithmetic_keys / sizeof arithmetic_keys[0]; i++)
        if (strcmp(arithmetic_keys[i].key, key) == 0) return true;
    for (size_t i = 0; i < sizeof harmless_keys / sizeof harmless_keys[0]; i++)
        if (strcmp(harmless_keys[i], key) == 0) return true;
    return false;
}

#define MAX_REPORTED_KEYS 24

void config_report_unknown(const arch_info *arch, const config_source *source) {
    mlcc_str keys = {0};
    size_t n_unknown = 0;
    const bool has_images =
        holds_object(source, "vision_config") || holds_object(source, "img_processor");
    const bool is_composite = has_images || holds_object(source, "text_config");
    if (has_images)
        mlcc_log(
            MLCC_LOG_WARN, "config",
            "%s: images are not supported yet; the language model alone is used", source->what);
    for (const mlcc_json_iter *it = mlcc_json_first(source->object); it != NULL;
         it = mlcc_json_next(source->object, it)) {
        const char *key = mlcc_json_iter_key(it);
        if (is_known(arch, key) || is_null(mlcc_json_iter_value(it))) continue;
        if (is_composite && is_composite_key(key)) continue;
        if (n_unknown++ < MAX_REPORTED_KEYS)
            mlcc_str_printf(&keys, "%s'%.60s'", n_unknown > 1 ? ", " : "", key);
    }
    if (n_unknown > MAX_REPORTED_KEYS)
        mlcc_str_printf(&keys, " and %zu more", n_unknown - MAX_REPORTED_KEYS);
    if (n_unknown > 0)
        mlcc_log(
            MLCC_LOG_WARN, "config", "%s: unknown key%s ignored: %s", source->what,
            n_unknown > 1 ? "s" : "", mlcc_str_text(&keys));
    mlcc_str_free(&keys);
}
