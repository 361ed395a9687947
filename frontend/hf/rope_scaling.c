// Which changes of the rotary frequencies a config asks for. Sources: Hugging Face transformers, modeling_rope_utils (names and meaning of the keys);
// MLC LLM drops an object without rope_type and accepts llama3 only.
#include "frontend/hf/config_fields.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <math.h>
#include <string.h>

#define ACCEPTED_TYPES "'llama3', 'linear' and 'default'"

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

// What stands in the object besides the numbers above: a partial rotation and anything nested are refused (the object goes to MLC's file as it is),
// other keys are reported.
static mlcc_status *check_rest(const mlcc_json_value *object, const char *key) {
    static const char *const known[] = {
        "rope_type",
        "type",
        "rope_theta",
        "factor",
        "low_freq_factor",
        "high_freq_factor",
        "original_max_position_embeddings",
        "partial_rotary_factor",
    };
    double rotated_part = 1;
    MLCC_TRY_NOTE(
        mlcc_json_get_f64(object, "partial_rotary_factor", false, &rotated_part), "reading '%s'",
        key);
    if (rotated_part < 1 || rotated_part > 1)
        return MLCC_ERROR(
            UNSUPPORTED, "'%s.partial_rotary_factor' is %g; accepted: 1, or absent", key,
            rotated_part);
    for (const mlcc_json_iter *it = mlcc_json_first(object); it != NULL;
         it = mlcc_json_next(object, it)) {
        mlcc_json_kind kind = mlcc_json_kind_of(mlcc_json_iter_value(it));
        if (kind == MLCC_JSON_ARRAY || kind == MLCC_JSON_OBJECT)
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
    const mlcc_json_value *value, const char *key, hf_rope_scaling *out, bool *keep_json) {
    *out = (hf_rope_scaling){0};
    *keep_json = false;
    if (mlcc_json_kind_of(value) != MLCC_JSON_OBJECT)
        return MLCC_ERROR(
            INVALID, "key '%s' is %s; expected an object with rope_type, or null", key,
            mlcc_json_kind_text(mlcc_json_kind_of(value)));
    MLCC_TRY(check_rest(value, key));
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
    if (strcmp(type, "llama3") == 0) return read_llama3(value, key, out);
    if (strcmp(type, "linear") == 0) {
        out->kind = HF_ROPE_LINEAR;
        return read_positive(value, key, "factor", &out->factor);
    }
    return MLCC_ERROR(
        UNSUPPORTED, "'%s' has rope_type '%.40s'; accepted are " ACCEPTED_TYPES, key, type);
}
