#include "frontend/hf/model_config.h"

#include "frontend/arch/arch.h"
#include "frontend/arch/presets.h"
#include "frontend/arch/rope_frequencies.h"
#include "frontend/hf/config_fields.h"
#include "runtime/base/file.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <assert.h>
#include <string.h>

#define MAX_CONFIG_BYTES ((size_t)4 << 20)
#define MAX_HEADS_WIDTH \
    ((int64_t)1 << 24) // n_heads * head_dim: keeps the sizes of caches and weights within 63 bits

#define MAX_ROPE_THETA 1e15
#define MAX_FACTOR     1e15

// ---- what follows from the fields ---------------------------------------------------------------------

// The smallest of the sizes that are on, at most the type's limit. A chunk that was given stays if the context holds it.
static void derive_chunk(const arch_info *arch, hf_model_config *config) {
    int64_t context = config->context_window_size, window = config->sliding_window_size;
    bool fits = context == -1 || config->prefill_chunk_size <= context;
    if (config->prefill_chunk_size > 0 && fits) return;
    int64_t chunk = arch->max_prefill_chunk;
    if (context != -1 && context < chunk) chunk = context;
    if (arch->rolls_context && window != -1 && window < chunk) chunk = window;
    config->prefill_chunk_size = chunk;
}

// Values that were not given; called again after overrides, as MLC LLM does.
static mlcc_status *derive(const arch_info *arch, const char *what, hf_model_config *config) {
    if (config->context_window_size == 0)
        return MLCC_ERROR(
            INVALID,
            "%s: the context length is missing; expected key 'max_position_embeddings', "
            "'max_sequence_length' or 'context_window_size'",
            what);
    if (!(config->rope_theta < 0 || config->rope_theta > 0)) {
        config->rope_theta = 10000;
        config->rope_theta_is_integer = true;
    }
    if (config->max_position == 0) config->max_position = config->context_window_size;
    if (config->n_kv_heads == 0) config->n_kv_heads = config->n_heads;
    if (config->latent_rank > 0) config->head_dim = config->n_plain + config->rotary_dim;
    if (config->head_dim == 0) {
        if (config->d_model % config->n_heads != 0)
            return MLCC_ERROR(
                INVALID,
                "%s: hidden_size %lld is no multiple of num_attention_heads %lld, and head_dim is "
                "not given",
                what, (long long)config->d_model, (long long)config->n_heads);
        config->head_dim = config->d_model / config->n_heads;
    }
    if (config->rotary_dim == 0) {
        const double part = config->partial_rotary_factor;
        if (!(part > 0 && part <= 1))
            return MLCC_ERROR(
                INVALID, "%s: the rotated part of a head is %g; expected a number above 0, up to 1",
                what, part);
        config->rotary_dim = (int64_t)((double)config->head_dim * part);
    }
    // Where a type's config may leave the size of the MLP out, it is four times the model's.
    if (config->d_ff < 1) config->d_ff = 4 * config->d_model;
    if (config->d_expert < 1) config->d_expert = config->d_ff;
    if (config->n_shared_experts > 0)
        config->d_shared = config->n_shared_experts * config->d_expert;
    config->has_shared_experts = config->d_shared > 0;
    derive_chunk(arch, config);
    return NULL;
}

// What a type's own words amount to, once, before overrides.
static mlcc_status *finish(const arch_info *arch, const char *what, hf_model_config *config) {
    if (arch->finish == NULL) return NULL;
    return mlcc_status_note(arch->finish(config), "reading %s", what);
}

// As the type calls it.
static const char *norm_eps_name(const arch_info *arch) {
    for (size_t i = 0; i < arch->n_fields; i++)
        if (arch->fields[i].offset == offsetof(hf_model_config, norm_eps))
            return arch->fields[i].name;
    return "the epsilon of norms";
}

static mlcc_status *validate_norm_eps(
    const arch_info *arch, const char *what, const hf_model_config *config) {
    if (config->norm_eps >= 0 && config->norm_eps < 1) return NULL;
    return MLCC_ERROR(
        INVALID, "%s: %s is %g; expected a number from 0 to below 1", what, norm_eps_name(arch),
        config->norm_eps);
}

// What the skeleton multiplies with and caps by.
static mlcc_status *validate_factors(const char *what, const hf_model_config *config) {
    const struct {
        const char *name;
        double value, least;
    } rows[] = {
        {"factor of the embedding", config->embedding_scale, -MAX_FACTOR},
        {"factor of the residual branches", config->residual_scale, -MAX_FACTOR},
        {"factor of the experts' weights", config->routed_scaling_factor, -MAX_FACTOR},
        {"limit of the experts' gates", config->swiglu_limit, 0},
        {"factor of the attention scores", config->attention_scale, 0},
        {"factor of the logits", config->logit_scale, -MAX_FACTOR},
        {"soft cap of the attention scores", config->attention_softcap, 0},
        {"soft cap of the logits", config->logit_softcap, 0},
        {"rope base of local layers", config->rope_local_theta, 0},
        {"query_pre_attn_scalar", config->query_pre_attn_scalar, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (!(rows[i].value >= rows[i].least && rows[i].value <= MAX_FACTOR))
            return MLCC_ERROR(
                INVALID, "%s: the %s is %g; expected a number from %g to %g", what, rows[i].name,
                rows[i].value, rows[i].least, MAX_FACTOR);
    return NULL;
}

static mlcc_status *validate_latents(const char *what, const hf_model_config *config) {
    if (config->n_kv_heads != config->n_heads)
        return MLCC_ERROR(
            INVALID,
            "%s: num_key_value_heads is %lld; latent attention has one for each of the %lld heads",
            what, (long long)config->n_kv_heads, (long long)config->n_heads);
    const struct {
        const char *name;
        int64_t value;
    } rows[] = {{"kv_lora_rank", config->latent_rank}, {"v_head_dim", config->value_dim}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (config->n_heads * rows[i].value > MAX_HEADS_WIDTH)
            return MLCC_ERROR(
                INVALID, "%s: num_attention_heads %lld times %s %lld is above the limit of %lld",
                what, (long long)config->n_heads, rows[i].name, (long long)rows[i].value,
                (long long)MAX_HEADS_WIDTH);
    return NULL;
}

static mlcc_status *validate(
    const arch_info *arch, const char *what, const hf_model_config *config) {
    const bool has_rope = arch_has_rope(arch->decoder, config);
    if (config->n_heads % config->n_kv_heads != 0)
        return MLCC_ERROR(
            INVALID, "%s: num_attention_heads %lld is no multiple of num_key_value_heads %lld",
            what, (long long)config->n_heads, (long long)config->n_kv_heads);
    if (has_rope && config->rotary_dim % 2 != 0)
        return MLCC_ERROR(
            INVALID, "%s: %s %lld is odd; rotary embedding needs pairs", what,
            config->rotary_dim == config->head_dim ? "head_dim" : "the rotated part of head_dim",
            (long long)config->rotary_dim);
    if (has_rope && config->rotary_dim > config->head_dim)
        return MLCC_ERROR(
            INVALID, "%s: %lld columns of a head rotate, but head_dim is %lld", what,
            (long long)config->rotary_dim, (long long)config->head_dim);
    if (has_rope && config->rotary_dim < 2)
        return MLCC_ERROR(
            INVALID, "%s: no pair of columns of a head rotates; head_dim is %lld", what,
            (long long)config->head_dim);
    if (config->n_heads * config->head_dim > MAX_HEADS_WIDTH)
        return MLCC_ERROR(
            INVALID, "%s: num_attention_heads %lld times head_dim %lld is above the limit of %lld",
            what, (long long)config->n_heads, (long long)config->head_dim,
            (long long)MAX_HEADS_WIDTH);
    MLCC_TRY(validate_norm_eps(arch, what, config));
    if (!(config->rope_theta > 0 && config->rope_theta <= MAX_ROPE_THETA))
        return MLCC_ERROR(
            INVALID, "%s: rope_theta is %g; expected a number above 0, up to %g", what,
            config->rope_theta, MAX_ROPE_THETA);
    if (config->n_experts > 0) MLCC_TRY_NOTE(arch_experts_check(config), "reading %s", what);
    if (config->latent_rank > 0) MLCC_TRY(validate_latents(what, config));
    MLCC_TRY(validate_factors(what, config));
    double magnitude = 0;
    if (!has_rope) return NULL;
    return mlcc_status_note(
        arch_rope_frequencies(config, false, NULL, &magnitude), "reading %s", what);
}

// ---- overrides ------------------------------------------------------------------------------------------

static mlcc_status *override_field(
    const arch_info *arch, const char *name, int64_t value, hf_model_config *config) {
    if (value == 0) return NULL;
    const arch_field *field = arch_find_field(arch, name);
    if (field == NULL) {
        mlcc_log(
            MLCC_LOG_WARN, "config", "model type '%s' has no %s; the override %lld is ignored",
            config->model_type, name, (long long)value);
        return NULL;
    }
    if (value < 1 || value > field->max)
        return MLCC_ERROR(
            INVALID, "override %s is %lld; expected an integer from 1 to %lld", name,
            (long long)value, (long long)field->max);
    *(int64_t *)(void *)((char *)config + field->offset) = value;
    return NULL;
}

static mlcc_status *apply_overrides(
    const arch_info *arch, const hf_config_overrides *overrides, hf_model_config *config) {
    if (overrides == NULL) return NULL;
    const struct {
        const char *name;
        int64_t value;
    } rows[] = {
        {"context_window_size", overrides->context_window_size},
        {"sliding_window_size", overrides->sliding_window_size},
        {"prefill_chunk_size", overrides->prefill_chunk_size},
        {"attention_sink_size", overrides->attention_sink_size},
        {"tensor_parallel_shards", overrides->tensor_parallel_shards},
        {"pipeline_parallel_stages", overrides->pipeline_parallel_stages},
        {"max_batch_size", overrides->max_batch_size},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        MLCC_TRY(override_field(arch, rows[i].name, rows[i].value, config));
    return NULL;
}

// ---- the common middle of both readers -------------------------------------------------------------------

// model_type, else model_config.model_type, as MLC LLM looks for it; `wanted` from the command line wins.
static mlcc_status *find_model_type(
    const config_source *source, const char *wanted, const char **model_type) {
    if (wanted != NULL && strcmp(wanted, "auto") != 0) {
        *model_type = wanted;
    } else {
        const mlcc_json_value *owner = source->overlay != NULL ? source->overlay : source->object;
        const char *text = mlcc_json_text(mlcc_json_get(owner, "model_type"), NULL);
        if (text == NULL)
            text = mlcc_json_text(
                mlcc_json_get(mlcc_json_get(owner, "model_config"), "model_type"), NULL);
        if (text == NULL)
            return MLCC_ERROR(
                INVALID,
                "%s: key 'model_type' is missing; add it or name the type with --model-type",
                source->what);
        *model_type = text;
        // A composite model of a type of its own is known by its language model's.
        const char *inner = mlcc_json_text(
            mlcc_json_get(mlcc_json_get(source->object, "text_config"), "model_type"), NULL);
        if (arch_find(text) == NULL && inner != NULL && arch_find(inner) != NULL)
            *model_type = inner;
    }
    if (arch_find(*model_type) == NULL)
        return mlcc_status_note(arch_unknown(*model_type), "reading %s", source->what);
    *model_type = arch_model_type(*model_type);
    return NULL;
}

// What MLC LLM does to the context where a sliding window is on: unless somebody gave it under its own name, there is no limit.
static void roll_context(
    const config_source *source, const hf_config_overrides *overrides, hf_model_config *config) {
    bool is_overridden = overrides != NULL && overrides->context_window_size > 0;
    if (config->sliding_window_size > 0 && !is_overridden &&
        !config_gives(source, "context_window_size"))
        config->context_window_size = -1;
}

static mlcc_status *check_context(const char *what, const hf_model_config *config) {
    if (config->context_window_size == -1 && config->sliding_window_size == -1)
        return MLCC_ERROR(
            INVALID,
            "%s: context_window_size and sliding_window_size are both -1; at least one must be on",
            what);
    return NULL;
}

// Members of types whose tables lack the field.
static const hf_model_config absent_fields = {
    .hidden_act = "silu", // the conditions accept no other activation and no biases in configs
    .dtype = "float32",
    .sliding_window_size = -1,
    .attention_sink_size = -1,
    .tensor_parallel_shards = 1,
    .pipeline_parallel_stages = 1,
    .max_batch_size = 1,
    .embedding_scale = 1,
    .residual_scale = 1,
    .routed_scaling_factor = 1,
    .alibi_factor = 1,
    .partial_rotary_factor = 1,
    .logit_scale = 1};

// What attention needs: sizes of heads, positions, a limit of the context.
static mlcc_status *complete(
    const arch_info *arch, const config_source *source, const hf_config_overrides *overrides,
    hf_model_config *config) {
    if (arch->rolls_context) roll_context(source, overrides, config);
    MLCC_TRY(derive(arch, source->what, config));
    MLCC_TRY(finish(arch, source->what, config));
    MLCC_TRY(apply_overrides(arch, overrides, config));
    if (arch->rolls_context) roll_context(source, overrides, config);
    MLCC_TRY(derive(arch, source->what, config));
    MLCC_TRY(check_context(source->what, config));
    return validate(arch, source->what, config);
}

// A recurrent type has none of it: its context has no limit, and its sizes stay as they are given.
static mlcc_status *complete_recurrent(
    const arch_info *arch, const config_source *source, const hf_config_overrides *overrides,
    hf_model_config *config) {
    MLCC_TRY(apply_overrides(arch, overrides, config));
    MLCC_TRY(finish(arch, source->what, config));
    return validate_norm_eps(arch, source->what, config);
}

// Where composite models keep their language model.
static mlcc_status *check_text_config(const config_source *source) {
    const mlcc_json_kind kind = mlcc_json_kind_of(mlcc_json_get(source->object, "text_config"));
    if (kind == MLCC_JSON_NULL || kind == MLCC_JSON_OBJECT) return NULL;
    return MLCC_ERROR(
        INVALID, "%s: key 'text_config' is %s; expected an object", source->what,
        mlcc_json_kind_text(kind));
}

static mlcc_status *read_config(
    const config_source *source, const char *wanted_type, const hf_config_overrides *overrides,
    hf_model_config *config) {
    mlcc_json *document = config->document;
    *config = absent_fields;
    config->document = document;
    MLCC_TRY(check_text_config(source));
    MLCC_TRY(find_model_type(source, wanted_type, &config->model_type));
    const arch_info *arch = arch_find(config->model_type);
    MLCC_TRY(config_check_conditions(arch, source));
    MLCC_TRY(config_check_arithmetic(arch, source));
    MLCC_TRY(config_read_fields(arch, source, config));
    config_report_unknown(arch, source);
    return arch_has_graph(arch) ? complete(arch, source, overrides, config)
                                : complete_recurrent(arch, source, overrides, config);
}

// ---- Hugging Face ------------------------------------------------------------------------------------------

// Takes `document`, also on error.
static mlcc_status *read_document(
    mlcc_json *document, const char *what, const char *model_type,
    const hf_config_overrides *overrides, mlcc_arena *keep, hf_model_config **out) {
    hf_model_config *config = MLCC_NEW(keep, hf_model_config);
    config->document = document;
    config_source source = {
        .object = mlcc_json_root(document), .what = mlcc_arena_strdup(keep, what)};
    mlcc_status *status;
    if (mlcc_json_kind_of(source.object) != MLCC_JSON_OBJECT)
        status = MLCC_ERROR(
            INVALID, "%s holds %s; expected an object", what,
            mlcc_json_kind_text(mlcc_json_kind_of(source.object)));
    else
        status = read_config(&source, model_type, overrides, config);
    if (status != NULL) {
        hf_model_config_free(config);
        return status;
    }
    *out = config;
    return NULL;
}

mlcc_status *hf_model_config_parse(
    const char *text, size_t length, const char *what, const char *model_type,
    const hf_config_overrides *overrides, mlcc_arena *keep, hf_model_config **out) {
    *out = NULL;
    mlcc_json *document = NULL;
    MLCC_TRY(mlcc_json_parse(text, length, what, MAX_CONFIG_BYTES, &document));
    return read_document(document, what, model_type, overrides, keep, out);
}

static mlcc_status *read_preset(
    const char *name, const char *model_type, const hf_config_overrides *overrides,
    mlcc_arena *keep, hf_model_config **out) {
    mlcc_str text = {0};
    mlcc_status *status = arch_preset_config(name, &text);
    if (status == NULL) {
        const char *what = mlcc_arena_printf(keep, "preset %s", name);
        status = hf_model_config_parse(
            mlcc_str_text(&text), text.length, what, model_type, overrides, keep, out);
    }
    mlcc_str_free(&text);
    return status;
}

mlcc_status *hf_model_config_read(
    const char *path, const char *model_type, const hf_config_overrides *overrides,
    mlcc_arena *keep, hf_model_config **out) {
    *out = NULL;
    const char *file = path;
    if (mlcc_dir_exists(path)) {
        file = mlcc_path_join(keep, path, "config.json");
        if (!mlcc_file_exists(file))
            return MLCC_ERROR(
                INVALID, "directory %s holds no config.json; expected a Hugging Face model folder",
                path);
    } else if (!mlcc_file_exists(path)) {
        return read_preset(path, model_type, overrides, keep, out);
    }
    mlcc_json *document = NULL;
    MLCC_TRY(mlcc_json_read_file(file, MAX_CONFIG_BYTES, &document));
    MLCC_TRY(read_document(document, file, model_type, overrides, keep, out));
    (*out)->directory = mlcc_path_dir(keep, file);
    return NULL;
}

// ---- MLC LLM -------------------------------------------------------------------------------------------------

// Key "quantization_options", which only mlcc writes: {"group_size": G, "modules_to_not_convert": [names]}, either may be absent.
static mlcc_status *read_quant_options(
    const mlcc_json_value *root, mlcc_arena *keep, quant_options *out) {
    const mlcc_json_value *object = NULL, *modules = NULL;
    MLCC_TRY(mlcc_json_get_object(root, "quantization_options", false, &object));
    if (object == NULL) return NULL;
    MLCC_TRY(mlcc_json_get_i64(object, "group_size", false, -1, INT32_MAX, &out->group_size));
    MLCC_TRY(mlcc_json_get_array(object, "modules_to_not_convert", false, &modules));
    size_t n_modules = mlcc_json_count(modules);
    const char **names = MLCC_NEW_ARRAY(keep, const char *, n_modules + 1);
    for (size_t i = 0; i < n_modules; i++) {
        const char *name = mlcc_json_text(mlcc_json_at(modules, i), NULL);
        if (name == NULL)
            return MLCC_ERROR(
                INVALID, "entry %zu of 'modules_to_not_convert' is %s; expected a module name", i,
                mlcc_json_kind_text(mlcc_json_kind_of(mlcc_json_at(modules, i))));
        names[i] = mlcc_arena_strdup(keep, name);
    }
    out->float_modules = names;
    out->n_float_modules = n_modules;
    return NULL;
}

mlcc_status *hf_model_config_from_mlc(
    const mlcc_json_value *mlc_chat_config, const char *what, const hf_config_overrides *overrides,
    mlcc_arena *keep, hf_model_config **out) {
    *out = NULL;
    if (mlcc_json_kind_of(mlc_chat_config) != MLCC_JSON_OBJECT)
        return MLCC_ERROR(
            INVALID, "%s holds %s; expected an object", what,
            mlcc_json_kind_text(mlcc_json_kind_of(mlc_chat_config)));
    config_source source = {.overlay = mlc_chat_config, .what = mlcc_arena_strdup(keep, what)};
    MLCC_TRY_NOTE(
        mlcc_json_get_object(mlc_chat_config, "model_config", true, &source.object), "reading %s",
        what);
    hf_model_config *config = MLCC_NEW(keep, hf_model_config);
    MLCC_TRY(read_config(&source, NULL, overrides, config));
    MLCC_TRY_NOTE(
        read_quant_options(mlc_chat_config, keep, &config->quantization), "reading %s", what);
    *out = config;
    return NULL;
}

// Fields that MLC's class lacks are written only where they change something.
static bool says_something(const arch_field *field, const hf_model_config *config) {
    if (field->presence != ARCH_EXTRA) return true;
    const void *member = (const char *)config + field->offset;
    switch (field->kind) {
    case ARCH_FIELD_ROPE_SCALING: return config->rope_scaling.kind != HF_ROPE_NONE;
    case ARCH_FIELD_KEPT: return false; // only whether it was there matters
    case ARCH_FIELD_LAYERS: return mlcc_json_count(config->dense_layers) > 0;
    case ARCH_FIELD_LAYER_TYPES: return config->layer_types != NULL;
    case ARCH_FIELD_ROPE_BASE:
        return config->rope_theta < field->otherwise || config->rope_theta > field->otherwise;
    case ARCH_FIELD_ACTIVATION:
        return strcmp(config->hidden_act, config_activation(field->fallback)) != 0;
    case ARCH_FIELD_REAL:
        return *(const double *)member < field->otherwise ||
               *(const double *)member > field->otherwise;
    case ARCH_FIELD_BOOL: return *(const bool *)member != (field->fallback != 0);
    case ARCH_FIELD_INTEGER:
    case ARCH_FIELD_WINDOW:
    case ARCH_FIELD_COUNT:
        return *(const int64_t *)member != field->fallback &&
               *(const int64_t *)member != config->context_window_size;
    default: return false; // kept only to be looked at
    }
}

static void put_found(mlcc_json_writer *writer, const mlcc_json_value *value) {
    if (value != NULL)
        mlcc_json_put_value(writer, value);
    else
        mlcc_json_put_null(writer);
}

// JSON that a table holds as text.
static void put_text(mlcc_json_writer *writer, const char *text) {
    mlcc_json *json = NULL;
    mlcc_status *status = mlcc_json_parse(text, strlen(text), "a table", 0, &json);
    assert(status == NULL);
    mlcc_status_free(status);
    put_found(writer, mlcc_json_root(json));
    mlcc_json_free(json);
}

// MLC LLM knows longrope by the key "type" alone, has one name for it, and keeps both contexts in the object. The key's number in its list; N_LONGROPE_KEYS: none.
static const char *const longrope_keys[] = {
    "type", "rope_type", "max_position_embeddings", "original_max_position_embeddings"};
enum { N_LONGROPE_KEYS = sizeof longrope_keys / sizeof longrope_keys[0] };

static size_t longrope_key(const char *key) {
    size_t i = 0;
    while (i < N_LONGROPE_KEYS && strcmp(longrope_keys[i], key) != 0) i++;
    return i;
}

static void put_longrope_key(mlcc_json_writer *writer, size_t i, const hf_model_config *config) {
    mlcc_json_key(writer, longrope_keys[i]);
    if (i < 2)
        mlcc_json_put_text(writer, "longrope");
    else
        mlcc_json_put_i64(writer, i == 2 ? config->max_position : config->original_context);
}

// Keys keep their places. A base that has a field of its own does not stay in rope_parameters, as in MLC LLM.
static void put_rope_scaling(
    mlcc_json_writer *writer, const arch_field *field, const hf_model_config *config) {
    const mlcc_json_value *found = config->rope_scaling_json;
    const bool base_is_apart = strcmp(field->name, "rope_parameters") == 0;
    const bool is_completed = arch_find(config->model_type)->completes_longrope &&
                              config->rope_scaling.kind == HF_ROPE_LONGROPE &&
                              mlcc_json_get(found, "type") != NULL;
    if (found == NULL) {
        mlcc_json_put_null(writer);
        return;
    }
    mlcc_json_begin_object(writer);
    for (const mlcc_json_iter *it = mlcc_json_first(found); it != NULL;
         it = mlcc_json_next(found, it)) {
        const char *key = mlcc_json_iter_key(it);
        const size_t i = is_completed ? longrope_key(key) : N_LONGROPE_KEYS;
        if (i < N_LONGROPE_KEYS) {
            put_longrope_key(writer, i, config);
        } else if (!base_is_apart || strcmp(key, "rope_theta") != 0) {
            mlcc_json_key(writer, key);
            mlcc_json_put_value(writer, mlcc_json_iter_value(it));
        }
    }
    for (size_t i = 0; is_completed && i < N_LONGROPE_KEYS; i++)
        if (mlcc_json_get(found, longrope_keys[i]) == NULL) put_longrope_key(writer, i, config);
    mlcc_json_end(writer);
}

static void write_field(
    const arch_field *field, const hf_model_config *config, mlcc_json_writer *writer) {
    const size_t index = (size_t)(field - arch_find(config->model_type)->fields);
    const hf_spelling spelling = config->spelling[index];
    if (!says_something(field, config)) return;
    const void *member = (const char *)config + field->offset;
    mlcc_json_key(writer, field->name);
    if (field->presence == ARCH_VERBATIM) {
        put_found(writer, config->found[index]);
        return;
    }
    switch (field->kind) {
    case ARCH_FIELD_INTEGER:
    case ARCH_FIELD_WINDOW:
    case ARCH_FIELD_COUNT: mlcc_json_put_i64(writer, *(const int64_t *)member); break;
    case ARCH_FIELD_REAL:
        if (spelling == HF_AS_INTEGER)
            mlcc_json_put_i64(writer, (int64_t)*(const double *)member);
        else
            mlcc_json_put_f64(writer, *(const double *)member);
        break;
    case ARCH_FIELD_KEPT:
        if (config->found[index] == NULL && field->json != NULL)
            put_text(writer, field->json);
        else
            put_found(writer, config->found[index]);
        break;
    case ARCH_FIELD_BOOL: mlcc_json_put_bool(writer, *(const bool *)member); break;
    case ARCH_FIELD_ACTIVATION:
    case ARCH_FIELD_CHOICE:
    case ARCH_FIELD_DTYPE: mlcc_json_put_text(writer, *(const char *const *)member); break;
    case ARCH_FIELD_ROPE_BASE:
        if (config->rope_theta_is_integer)
            mlcc_json_put_i64(writer, (int64_t)config->rope_theta);
        else
            mlcc_json_put_f64(writer, config->rope_theta);
        break;
    case ARCH_FIELD_ROPE_SCALING: put_rope_scaling(writer, field, config); break;
    case ARCH_FIELD_LAYERS: put_found(writer, config->dense_layers); break;
    case ARCH_FIELD_LAYER_TYPES: put_found(writer, config->layer_types); break;
    case ARCH_N_FIELD_KINDS: break;
    }
}

void hf_model_config_write(const hf_model_config *config, mlcc_json_writer *writer) {
    const arch_info *arch = arch_find(config->model_type);
    mlcc_json_begin_object(writer);
    for (size_t i = 0; i < arch->n_fields; i++) {
        if (arch->n_nested > 0 && i == arch->n_before) {
            mlcc_json_key(writer, "text_config");
            mlcc_json_begin_object(writer);
        }
        if (arch->n_nested > 0 && i == arch->n_before + arch->n_nested) mlcc_json_end(writer);
        write_field(&arch->fields[i], config, writer);
    }
    mlcc_json_end(writer);
}

bool hf_model_config_has_experts(const hf_model_config *config, int64_t layer) {
    if (config->n_experts < 1 || layer < config->n_dense_layers) return false;
    if (config->expert_period > 0 && (layer + config->expert_phase) % config->expert_period != 0)
        return false;
    for (size_t i = 0; i < mlcc_json_count(config->dense_layers); i++)
        if (mlcc_json_int(mlcc_json_at(config->dense_layers, i)) == layer) return false;
    return true;
}

int64_t hf_model_config_window(const hf_model_config *config, int64_t layer) {
    if (config->sliding_window_size <= 0) return 0;
    bool is_global = config->global_period > 0 && (layer + 1) % config->global_period == 0;
    if (config->layer_types != NULL) {
        const char *type = mlcc_json_text(mlcc_json_at(config->layer_types, (size_t)layer), NULL);
        is_global = type == NULL || strcmp(type, "sliding_attention") != 0;
    }
    return is_global ? 0 : config->sliding_window_size;
}

void hf_model_config_free(hf_model_config *config) {
    if (config == NULL) return;
    mlcc_json_free(config->document);
    config->document = NULL;
    config->rope_scaling_json = NULL;
}
