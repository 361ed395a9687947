// Which changes of the rotary frequencies a config asks for. Sources: Hugging Face transformers, modeling_rope_utils (names and meaning of the keys);
// MLC LLM drops an object without rope_type and accepts llama3 only.
#include "frontend/hf/config_fields.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <math.h>
#include <string.h>

#define ACCEPTED_TYPES "'llama3', 'linear', 'yarn', 'longrope', 'su', 'dynamic' and 'default'"

static mlcc_status *read_positive(
    const mlcc_json_value *object, const char *key, const char *name, double *out) {
    MLCC_TRY_NOTE(mlcc_json_get_f64(object, name, true, out), "reading '%s'", key);
    if (!(*out > 0) || !isfinite(*out))
        return MLCC_ERROR(INVALID, "'%s.%s' is %g; expected a number above 0", key, name, *out);
    return NULL;
}

static mlcc_status *read_llama3(
    const mlcc_json_value *object, const char *key, hf_rope_scaling *out) {
    MLCC_TRY(read_positive(object, key, "factor", &out->factor));
    MLCC_TRY(read_positive(object, key, "low_freq_factor", &out->low_freq_factor));
    MLCC_TRY(read_positive(object, key, "high_freq_factor", &out->high_freq_factor));
    MLCC_TRY_NOTE(
        mlcc_json_get_i64(
            object, "original_max_position_embeddings", true, 1, INT32_MAX, &out->original_context),
        "reading '%s'", key);
    if (!(out->low_freq_factor < out->high_freq_factor))
        return MLCC_ERROR(
            INVALID, "'%s.low_freq_factor' is %g; expected less than high_freq_factor, which is %g",
            key, out->low_freq_factor, out->high_freq_factor);
    out->kind = HF_ROPE_LLAMA3;
    return NULL;
}

// A number that may be absent.
static mlcc_status *read_optional(
    const mlcc_json_value *object, const char *key, const char *name, double otherwise,
    double *out) {
    *out = otherwise;
    if (mlcc_json_kind_of(mlcc_json_get(object, name)) == MLCC_JSON_NULL) return NULL;
    return read_positive(object, key, name, out);
}

// What deep models multiply cosines and sines with (Peng et al. 2023, arXiv 2309.00071, section 3.4).
static double yarn_magnitude(double factor, double mscale) {
    return factor <= 1 ? 1.0 : 0.1 * mscale * log(factor) + 1.0;
}

// Queries grow by 1 + growth * ln(1 + position / original context), the quotient being whole: what Llama 4 brought in.
static mlcc_status *read_growth(
    const mlcc_json_value *object, const char *key, hf_rope_scaling *out) {
    static const char name[] = "llama_4_scaling_beta";
    out->growth = 0;
    MLCC_TRY_NOTE(mlcc_json_get_f64(object, name, false, &out->growth), "reading '%s'", key);
    if (!(out->growth >= 0) || !isfinite(out->growth))
        return MLCC_ERROR(
            INVALID, "'%s.%s' is %g; expected 0 or a number above it", key, name, out->growth);
    if (out->growth > 0 && out->original_context == 0)
        return MLCC_ERROR(
            INVALID, "'%s.%s' needs key 'original_max_position_embeddings' beside it", key, name);
    return NULL;
}

static mlcc_status *read_yarn(
    const mlcc_json_value *object, const char *key, hf_rope_scaling *out) {
    double attention_factor = 0, mscale = 0, mscale_all = 0;
    MLCC_TRY(read_positive(object, key, "factor", &out->factor));
    MLCC_TRY(read_optional(object, key, "beta_fast", 32, &out->beta_fast));
    MLCC_TRY(read_optional(object, key, "beta_slow", 1, &out->beta_slow));
    MLCC_TRY(read_optional(object, key, "attention_factor", 0, &attention_factor));
    MLCC_TRY(read_optional(object, key, "mscale", 0, &mscale));
    MLCC_TRY(read_optional(object, key, "mscale_all_dim", 0, &mscale_all));
    out->truncates = true;
    MLCC_TRY_NOTE(
        mlcc_json_get_bool(object, "truncate", false, &out->truncates), "reading '%s'", key);
    MLCC_TRY_NOTE(
        mlcc_json_get_i64(
            object, "original_max_position_embeddings", false, 1, INT32_MAX,
            &out->original_context),
        "reading '%s'", key);
    MLCC_TRY(read_growth(object, key, out));
    out->magnitude = yarn_magnitude(out->factor, 1);
    if (mscale > 0 && mscale_all > 0)
        out->magnitude =
            yarn_magnitude(out->factor, mscale) / yarn_magnitude(out->factor, mscale_all);
    if (attention_factor > 0) out->magnitude = attention_factor;
    if (mscale_all > 0) {
        const double all = yarn_magnitude(out->factor, mscale_all);
        out->score_factor = all * all;
    }
    out->kind = HF_ROPE_YARN;
    return NULL;
}

static mlcc_status *read_factors(
    const mlcc_json_value *object, const char *key, const char *name, const mlcc_json_value **out) {
    MLCC_TRY_NOTE(mlcc_json_get_array(object, name, true, out), "reading '%s'", key);
    for (size_t i = 0; i < mlcc_json_count(*out); i++) {
        const double factor = mlcc_json_number(mlcc_json_at(*out, i));
        if (!(factor > 0) || !isfinite(factor))
            return MLCC_ERROR(INVALID, "entry %zu of '%s.%s' is no number above 0", i, key, name);
    }
    return NULL;
}

static mlcc_status *read_longrope(
    const mlcc_json_value *object, const char *key, hf_rope_scaling *out) {
    MLCC_TRY(read_factors(object, key, "short_factor", &out->short_factors));
    MLCC_TRY(read_factors(object, key, "long_factor", &out->long_factors));
    MLCC_TRY(read_optional(object, key, "factor", 0, &out->factor));
    MLCC_TRY(read_optional(object, key, "attention_factor", 0, &out->magnitude));
    MLCC_TRY_NOTE(
        mlcc_json_get_i64(
            object, "original_max_position_embeddings", false, 0, INT32_MAX,
            &out->original_context),
        "reading '%s'", key);
    out->kind = HF_ROPE_LONGROPE;
    return NULL;
}

static bool is_list(const char *name) {
    return strcmp(name, "short_factor") == 0 || strcmp(name, "long_factor") == 0;
}

// What stands in the object besides the numbers above: a partial rotation that the type does not have and anything nested are refused (the object goes
// to MLC's file as it is), other keys are reported.
static mlcc_status *check_rest(
    const mlcc_json_value *object, const char *key, const hf_model_config *config) {
    static const char *const known[] = {
        "rope_type",
        "type",
        "rope_theta",
        "factor",
        "low_freq_factor",
        "high_freq_factor",
        "max_position_embeddings",
        "original_max_position_embeddings",
        "partial_rotary_factor",
        "beta_fast",
        "beta_slow",
        "mscale",
        "mscale_all_dim",
        "attention_factor",
        "truncate",
        "llama_4_scaling_beta",
        "short_factor",
        "long_factor",
        "short_mscale",
        "long_mscale",
    };
    double rotated_part = 1;
    MLCC_TRY_NOTE(
        mlcc_json_get_f64(object, "partial_rotary_factor", false, &rotated_part), "reading '%s'",
        key);
    const bool is_read = config->partial_rotary_factor == rotated_part;
    if ((rotated_part < 1 || rotated_part > 1) && !is_read)
        return MLCC_ERROR(
            UNSUPPORTED, "'%s.partial_rotary_factor' is %g; accepted: 1, or absent", key,
            rotated_part);
    for (const mlcc_json_iter *it = mlcc_json_first(object); it != NULL;
         it = mlcc_json_next(object, it)) {
        mlcc_json_kind kind = mlcc_json_kind_of(mlcc_json_iter_value(it));
        if ((kind == MLCC_JSON_ARRAY && !is_list(mlcc_json_iter_key(it))) ||
            kind == MLCC_JSON_OBJECT)
            return MLCC_ERROR(
                INVALID, "'%s.%.60s' is %s; expected a number or a text", key,
                mlcc_json_iter_key(it), mlcc_json_kind_text(kind));
        size_t i = 0;
        while (i < sizeof known / sizeof known[0] && strcmp(known[i], mlcc_json_iter_key(it)) != 0)
            i++;
        if (i == sizeof known / sizeof known[0])
            mlcc_log(
                MLCC_LOG_WARN, "config", "unknown key '%s.%.60s' ignored", key,
                mlcc_json_iter_key(it));
    }
    return NULL;
}

mlcc_status *config_read_rope_scaling(
    const mlcc_json_value *value, const char *key, hf_model_config *config, bool *keep_json) {
    hf_rope_scaling *out = &config->rope_scaling;
    *out = (hf_rope_scaling){0};
    *keep_json = false;
    if (mlcc_json_kind_of(value) != MLCC_JSON_OBJECT)
        return MLCC_ERROR(
            INVALID, "key '%s' is %s; expected an object with rope_type, or null", key,
            mlcc_json_kind_text(mlcc_json_kind_of(value)));
    MLCC_TRY(check_rest(value, key, config));
    const char *type = NULL; // older configs spell rope_type "type"
    MLCC_TRY_NOTE(mlcc_json_get_text(value, "type", false, &type), "reading '%s'", key);
    MLCC_TRY_NOTE(mlcc_json_get_text(value, "rope_type", false, &type), "reading '%s'", key);
    if (type == NULL) {
        // rope_parameters may hold nothing but rope_theta; anything else looks like a scaling somebody meant.
        bool is_plain = mlcc_json_count(value) == 0 || mlcc_json_get(value, "rope_theta") != NULL;
        if (!is_plain)
            mlcc_log(MLCC_LOG_WARN, "config", "'%s' has no rope_type and is ignored", key);
        return NULL;
    }
    if (strcmp(type, "default") == 0) return NULL;
    *keep_json = true;
    // Hugging Face's dynamic scaling leaves the frequencies alone up to the model's own context.
    if (strcmp(type, "dynamic") == 0) return NULL;
    if (strcmp(type, "yarn") == 0) return read_yarn(value, key, out);
    if (strcmp(type, "longrope") == 0 || strcmp(type, "su") == 0)
        return read_longrope(value, key, out);
    if (strcmp(type, "llama3") == 0) return read_llama3(value, key, out);
    if (strcmp(type, "linear") == 0) {
        out->kind = HF_ROPE_LINEAR;
        return read_positive(value, key, "factor", &out->factor);
    }
    return MLCC_ERROR(
        UNSUPPORTED, "'%s' has rope_type '%.40s'; accepted are " ACCEPTED_TYPES, key, type);
}
