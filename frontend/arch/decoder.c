#include "frontend/arch/decoder.h"

#include "frontend/arch/alibi.h"
#include "frontend/arch/arch.h"
#include "frontend/arch/rope_frequencies.h"
#include "ir/builder.h"

#include <math.h>
#include <string.h>

// Everything that lives while one module is built.
typedef struct builder {
    const arch_decoder *decoder;
    const hf_model_config *config;
    const import_options *options;
    mlcc_arena *keep;
    ir_module *module;
    ir_function *function;
    ir_build build;

    arch_weight_set model, *layers;
    ir_value *ids, *positions, *seq_ids, *page_table, *logit_rows; // args
    ir_value **caches;
    ir_value *rope_tables
        [2]; // of layers that see everything; of layers with a window, where theirs is another
    ir_value *query_table;       // where queries are longer than what turns them; NULL = as keys
    ir_value *slopes, *no_sinks; // of the heads, where there are slopes
} builder;

// ---- weights -----------------------------------------------------------------------------------------

bool arch_has_rope(const arch_decoder *decoder, const hf_model_config *config) {
    return decoder->positions == ARCH_ROPE && !config->has_alibi;
}

bool arch_weight_exists(const arch_weight *weight, const hf_model_config *config, int64_t layer) {
    const bool is_wanted =
        weight->when == 0 || *(const bool *)((const char *)config + weight->when);
    if (!is_wanted || weight->layers == ARCH_ALL_LAYERS) return is_wanted;
    return hf_model_config_has_experts(config, layer) == (weight->layers == ARCH_EXPERT_LAYERS);
}

const arch_weight *arch_decoder_find(const arch_decoder *decoder, arch_role role) {
    for (size_t i = 0; i < decoder->n_model_weights; i++)
        if (decoder->model[i].role == role) return &decoder->model[i];
    return NULL;
}

const char *arch_weight_source(
    const arch_decoder *decoder, const arch_weight *weight, int64_t layer, mlcc_arena *keep) {
    const char *name = weight->source != NULL ? weight->source : weight->name;
    if (layer < 0) return name;
    const char *layers = decoder->layers_source != NULL ? decoder->layers_source : decoder->layers;
    return mlcc_arena_printf(keep, "%s%lld.%s", layers, (long long)layer, name);
}

static int64_t extent_of(const hf_model_config *config, arch_extent extent) {
    switch (extent) {
    case ARCH_ABSENT: return 0;
    case ARCH_D_MODEL: return config->d_model;
    case ARCH_D_FF: return config->d_ff;
    case ARCH_D_SHARED: return config->d_shared;
    case ARCH_ONE: return 1;
    case ARCH_N_HEADS: return config->n_heads;
    case ARCH_GATE_UP_WIDTH: return 2 * config->d_ff;
    case ARCH_Q_WIDTH: return config->n_heads * config->head_dim;
    case ARCH_KV_WIDTH: return config->n_kv_heads * config->head_dim;
    case ARCH_QKV_WIDTH: return (config->n_heads + 2 * config->n_kv_heads) * config->head_dim;
    case ARCH_HEAD_WIDTH: return config->head_dim;
    case ARCH_QUERY_RANK: return config->query_rank;
    case ARCH_LATENT_RANK: return config->latent_rank;
    case ARCH_LATENT_WIDTH: return config->latent_rank + config->rotary_dim;
    case ARCH_PLAIN_WIDTH: return config->n_plain;
    case ARCH_VALUE_WIDTH: return config->value_dim;
    case ARCH_VALUES_WIDTH: return config->n_heads * config->value_dim;
    case ARCH_VOCAB: return config->vocab;
    case ARCH_POSITIONS: return config->max_position;
    case ARCH_TOKEN_TYPES: return config->type_vocab;
    }
    return 0;
}

// Where the param's numbers are in Hugging Face's file.
static const char *const *sources_of(
    const builder *b, const arch_weight *weight, int64_t layer, int32_t *n_sources) {
    const char *name = arch_weight_source(b->decoder, weight, layer, b->keep);
    const bool is_per_head = strstr(name, "%lld") != NULL;
    const int64_t n = is_per_head ? extent_of(b->config, weight->rows) / b->config->head_dim : 1;
    const char **names = MLCC_NEW_ARRAY(b->keep, const char *, (size_t)n);
    for (int64_t i = 0; i < n; i++) names[i] = arch_numbered_name(b->keep, "", name, i);
    *n_sources = (int32_t)n;
    return names;
}

// `layer` -1: a weight of the model.
static mlcc_status *add_weight(
    builder *b, const arch_weight *weight, int64_t layer, arch_weight_set *set) {
    set->has[weight->role] = true;
    const char *prefix =
        layer < 0 ? ""
                  : mlcc_arena_printf(b->keep, "%s%lld.", b->decoder->layers, (long long)layer);
    if (weight->role == ARCH_EXPERTS)
        return arch_experts_add(b->decoder->experts, b->config, prefix, b->module, &set->experts);
    if (weight->name == NULL) return NULL;
    const char *name = mlcc_arena_printf(b->keep, "%s%s", prefix, weight->name);
    int32_t n_sources = 0;
    const char *const *sources = sources_of(b, weight, layer, &n_sources);
    ir_dim rows = ir_dim_const(extent_of(b->config, weight->rows));
    ir_dim columns = ir_dim_const(extent_of(b->config, weight->columns));
    ir_type type = weight->columns == ARCH_ABSENT ? ir_type_vector(IR_F32, rows)
                                                  : ir_type_matrix(IR_F32, rows, columns);
    if (weight->is_per_head)
        type = (ir_type){
            .dtype = IR_F32, .rank = 3, .dims = {ir_dim_const(b->config->n_heads), rows, columns}};
    ir_param *param = ir_module_add_param(b->module, name, type, sources, n_sources);
    if (param == NULL) return MLCC_ERROR(INTERNAL, "two params are called '%s'", name);
    if (weight->fused_name != NULL)
        param->fused_name = mlcc_arena_printf(b->keep, "%s%s", prefix, weight->fused_name);
    set->by_role[weight->role] = &param->value;
    return NULL;
}

static bool stands_before_layers(arch_role role) {
    return role >= ARCH_EMBEDDING && role <= ARCH_EMBEDDING_NORM_BIAS;
}

static mlcc_status *add_model_weights(builder *b, bool is_before_layers) {
    for (size_t i = 0; i < b->decoder->n_model_weights; i++) {
        const arch_weight *weight = &b->decoder->model[i];
        if (stands_before_layers(weight->role) != is_before_layers ||
            !arch_weight_exists(weight, b->config, -1))
            continue;
        if (weight->role == ARCH_HEAD && b->config->tie_word_embeddings) continue;
        MLCC_TRY(add_weight(b, weight, -1, &b->model));
    }
    return NULL;
}

static mlcc_status *add_params(builder *b) {
    const int64_t n_layers = b->config->n_layers;
    b->layers = MLCC_NEW_ARRAY(b->keep, arch_weight_set, (size_t)n_layers);
    MLCC_TRY(add_model_weights(b, true));
    for (int64_t layer = 0; layer < n_layers; layer++)
        for (size_t i = 0; i < b->decoder->n_layer_weights; i++) {
            const arch_weight *weight = &b->decoder->layer[i];
            if (!arch_weight_exists(weight, b->config, layer)) continue;
            MLCC_TRY(add_weight(b, weight, layer, &b->layers[layer]));
        }
    return add_model_weights(b, false);
}

mlcc_status *arch_decoder_add_params(
    const arch_decoder *decoder, const hf_model_config *config, ir_module *module, mlcc_arena *keep,
    arch_weight_set *model, arch_weight_set **layers) {
    builder b = {.decoder = decoder, .config = config, .keep = keep, .module = module};
    MLCC_TRY(add_params(&b));
    *model = b.model;
    *layers = b.layers;
    return NULL;
}

// ---- args ----------------------------------------------------------------------------------------------

static int64_t min_i64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static void add_args(builder *b) {
    const hf_model_config *config = b->config;
    int64_t max_tokens =
        b->options->max_tokens > 0 ? b->options->max_tokens : config->prefill_chunk_size;
    int64_t max_sequences =
        b->options->max_sequences > 0 ? b->options->max_sequences : config->max_batch_size;
    int64_t max_context = config->context_window_size > 0 ? config->context_window_size : INT32_MAX;
    int64_t max_slots = (max_context + ARCH_PAGE_TOKENS - 1) / ARCH_PAGE_TOKENS;
    // Caches are caller memory, so this bound plans nothing; it only has to be a number that a page id can hold.
    int64_t max_pages =
        max_slots > INT32_MAX / max_sequences ? INT32_MAX : max_slots * max_sequences;

    ir_dim n_tokens = ir_dim_symbol(ir_module_symbol(b->module, "n_tokens", max_tokens));
    ir_dim n_seqs = ir_dim_symbol(ir_module_symbol(b->module, "n_seqs", max_sequences));
    ir_dim n_logits = ir_dim_symbol(ir_module_symbol(b->module, "n_logits", max_sequences));
    ir_dim n_slots = ir_dim_symbol(ir_module_symbol(b->module, "n_page_slots", max_slots));
    ir_dim n_pages =
        ir_dim_symbol(ir_module_symbol(b->module, "n_pages", min_i64(max_pages, INT32_MAX)));

    ir_type per_token = ir_type_vector(IR_I32, n_tokens);
    b->ids = ir_function_add_arg(b->function, "ids", per_token);
    b->positions = ir_function_add_arg(b->function, "positions", per_token);
    b->seq_ids = ir_function_add_arg(b->function, "seq_ids", per_token);
    b->page_table =
        ir_function_add_arg(b->function, "page_table", ir_type_matrix(IR_I32, n_seqs, n_slots));
    b->logit_rows =
        ir_function_add_arg(b->function, "logit_rows", ir_type_vector(IR_I32, n_logits));

    ir_type cache = {
        .dtype = b->options->kv_dtype,
        .rank = 5,
        .dims = {
            n_pages, ir_dim_const(2), ir_dim_const(config->n_kv_heads),
            ir_dim_const(ARCH_PAGE_TOKENS), ir_dim_const(config->head_dim)}};
    if (config->latent_rank > 0)
        cache = (ir_type){.dtype = b->options->kv_dtype,
                          .rank = 3,
                          .dims = {
                              n_pages, ir_dim_const(ARCH_PAGE_TOKENS),
                              ir_dim_const(config->latent_rank + config->rotary_dim)}};
    b->caches = MLCC_NEW_ARRAY(b->keep, ir_value *, (size_t)config->n_layers);
    for (int64_t layer = 0; layer < config->n_layers; layer++)
        b->caches[layer] = ir_function_add_arg(
            b->function, mlcc_arena_printf(b->keep, "kv.%lld", (long long)layer), cache);
}

// ---- nodes ---------------------------------------------------------------------------------------------

// x itself where the family has no such norm.
static ir_value *norm(builder *b, ir_value *x, const arch_weight_set *set, arch_role role) {
    if (!set->has[role]) return x;
    ir_value *gain = set->by_role[role], *bias = set->by_role[role + 1];
    const double eps = b->config->norm_eps;
    if (b->decoder->has_layer_norms) {
        const bool is_of_heads = role == ARCH_Q_NORM || role == ARCH_K_NORM;
        const int64_t head = is_of_heads ? b->config->head_dim : 0;
        return ir_layer_norm_groups(&b->build, x, gain, bias, eps, head);
    }
    const int64_t group = gain->type.dims[0].value;
    return ir_rms_norm_groups(&b->build, x, gain, eps, group == x->type.dims[1].value ? 0 : group);
}

static ir_value *project(builder *b, ir_value *x, const arch_weight_set *set, arch_role role) {
    return ir_linear(
        &b->build, x, set->by_role[role], set->by_role[role + 1], b->options->activation_dtype);
}

static ir_value *scale(builder *b, ir_value *x, double factor) {
    const bool is_one = factor >= 1 && factor <= 1;
    return is_one ? x : ir_scale(&b->build, x, factor);
}

static void project_qkv(builder *b, ir_value *h, const arch_weight_set *set, ir_value *qkv[3]) {
    if (!set->has[ARCH_QKV]) {
        qkv[0] = project(b, h, set, ARCH_Q);
        qkv[1] = project(b, h, set, ARCH_K);
        qkv[2] = project(b, h, set, ARCH_V);
        return;
    }
    const int64_t q = extent_of(b->config, ARCH_Q_WIDTH), kv = extent_of(b->config, ARCH_KV_WIDTH);
    ir_value *joined = project(b, h, set, ARCH_QKV);
    qkv[0] = ir_slice(&b->build, joined, 0, q);
    qkv[1] = ir_slice(&b->build, joined, q, q + kv);
    qkv[2] = ir_slice(&b->build, joined, q + kv, q + 2 * kv);
}

static void clip_qkv(builder *b, ir_value *qkv[3]) {
    const double bound = b->config->clip_qkv;
    if (!(bound > 0)) return;
    for (int i = 0; i < 3; i++) qkv[i] = ir_clamp(&b->build, qkv[i], -bound, bound);
}

static ir_value *rotate(builder *b, ir_value *x, int64_t window, bool is_query) {
    if (!arch_has_rope(b->decoder, b->config)) return x;
    ir_value *table = b->rope_tables[window > 0 && b->rope_tables[1] != NULL ? 1 : 0];
    if (is_query && b->query_table != NULL) table = b->query_table;
    return ir_rope(&b->build, x, table, b->config->head_dim, b->decoder->rope_interleaves);
}

static double attention_scale(const hf_model_config *config) {
    return config->attention_scale > 0 ? config->attention_scale
                                       : 1 / sqrt((double)config->head_dim);
}

// Latents are normed by Hugging Face's models with their own epsilon, whatever the config's is.
static ir_value *norm_latent(builder *b, ir_value *x, const arch_weight_set *set, arch_role role) {
    return ir_rms_norm(&b->build, x, set->by_role[role], 1e-6);
}

// As build_attention.
static ir_value *build_latent_attention(builder *b, ir_value *h, int64_t layer) {
    ir_build *build = &b->build;
    const hf_model_config *config = b->config;
    const arch_weight_set *set = &b->layers[layer];
    const int64_t plain = config->n_plain, rotated = config->rotary_dim;
    const int64_t rank = config->latent_rank, n_heads = config->n_heads;
    const bool interleaves = b->decoder->rope_interleaves;
    ir_value **cache = &b->caches[layer], *table = b->rope_tables[0], *q = h;
    if (set->has[ARCH_Q_A]) q = norm_latent(b, project(b, h, set, ARCH_Q_A), set, ARCH_Q_A_NORM);
    q = project(b, q, set, set->has[ARCH_Q_A] ? ARCH_Q_B : ARCH_Q);
    ir_value *q_plain = ir_slice_parts(build, q, n_heads, 0, plain);
    ir_value *q_rotated = ir_slice_parts(build, q, n_heads, plain, plain + rotated);
    q_rotated = ir_rope(build, q_rotated, table, rotated, interleaves);
    ir_value *row = project(b, h, set, ARCH_KV_A);
    ir_value *latent = norm_latent(b, ir_slice(build, row, 0, rank), set, ARCH_KV_A_NORM);
    ir_value *key = ir_slice(build, row, rank, rank + rotated);
    key = ir_rope(build, key, table, rotated, interleaves);
    *cache = ir_latent_append(build, *cache, latent, key, b->page_table, b->seq_ids, b->positions);
    q_plain = ir_linear_heads(build, q_plain, set->by_role[ARCH_KEY_HEADS]);
    ir_value *attention = ir_latent_attention(
        build, q_plain, q_rotated, *cache, b->page_table, b->seq_ids, b->positions, rank,
        attention_scale(config));
    attention = ir_linear_heads(build, attention, set->by_role[ARCH_VALUE_HEADS]);
    return norm(b, project(b, attention, set, ARCH_O), set, ARCH_ATTENTION_OUTPUT_NORM);
}

// Of h, the normed rows; caches[layer] becomes the cache with the new tokens in it.
static ir_value *build_attention(builder *b, ir_value *h, int64_t layer) {
    if (b->layers[layer].has[ARCH_KV_A]) return build_latent_attention(b, h, layer);
    ir_build *build = &b->build;
    const hf_model_config *config = b->config;
    const arch_weight_set *set = &b->layers[layer];
    const int64_t window = hf_model_config_window(config, layer);
    ir_value *qkv[3], **cache = &b->caches[layer];
    project_qkv(b, h, set, qkv);
    clip_qkv(b, qkv);
    ir_value *q = rotate(b, norm(b, qkv[0], set, ARCH_Q_NORM), window, true);
    ir_value *k = rotate(b, norm(b, qkv[1], set, ARCH_K_NORM), window, false);
    *cache = ir_kv_append(build, *cache, k, qkv[2], b->page_table, b->seq_ids, b->positions);
    ir_value *attention = ir_paged_attention(
        build, q, *cache, b->page_table, b->seq_ids, b->positions,
        &(ir_attention){.head_dim = config->head_dim,
                        .scale = attention_scale(config),
                        .window = window,
                        .softcap = config->attention_softcap,
                        .sinks = b->slopes != NULL ? b->no_sinks : set->by_role[ARCH_SINKS],
                        .slopes = b->slopes});
    return norm(b, project(b, attention, set, ARCH_O), set, ARCH_ATTENTION_OUTPUT_NORM);
}

typedef struct activation_row {
    const char *text;
    ir_op op;
    bool is_squared;
} activation_row;

static const activation_row *activation_of(const hf_model_config *config) {
    static const activation_row rows[] = {
#define ARCH_ACTIVATION(id, text, op, squared) {text, op, squared},
#include "frontend/arch/activations.def"
    };
    size_t row = 0;
    while (row + 1 < ARCH_N_ACTIVATIONS && strcmp(rows[row].text, config->hidden_act) != 0) row++;
    return &rows[row];
}

ir_value *arch_activate(const hf_model_config *config, ir_build *build, ir_value *x) {
    const activation_row *row = activation_of(config);
    ir_value *y = ir_unary(build, row->op, x);
    return row->is_squared ? ir_binary(build, IR_OP_MUL, y, y) : y;
}

// `first` is the role of the gate: ARCH_GATE, or ARCH_SHARED_GATE, behind which the other roles come in the same order.
static ir_value *build_dense(builder *b, ir_value *h, const arch_weight_set *set, arch_role first) {
    const arch_role shift = first - ARCH_GATE;
    ir_build *build = &b->build;
    ir_value *up;
    if (set->has[ARCH_GATE_UP + shift]) {
        ir_value *joined = project(b, h, set, ARCH_GATE_UP + shift);
        const int64_t width = joined->type.dims[1].value / 2;
        ir_value *gate = ir_slice(build, joined, 0, width);
        up = ir_slice(build, joined, width, 2 * width);
        up = ir_binary(build, IR_OP_MUL, arch_activate(b->config, build, gate), up);
    } else if (set->has[ARCH_GATE + shift]) {
        ir_value *gate = project(b, h, set, ARCH_GATE + shift);
        up = project(b, h, set, ARCH_UP + shift);
        up = ir_binary(build, IR_OP_MUL, arch_activate(b->config, build, gate), up);
    } else {
        up = arch_activate(b->config, build, project(b, h, set, ARCH_UP + shift));
    }
    return project(b, up, set, ARCH_DOWN + shift);
}

// A weight for each token is what a mixture of one expert has.
static ir_value *build_shared(builder *b, ir_value *h, const arch_weight_set *set) {
    ir_value *y = build_dense(b, h, set, ARCH_SHARED_GATE);
    if (!set->has[ARCH_SHARED_WEIGHT]) return y;
    ir_value *logit = ir_linear(
        &b->build, h, set->by_role[ARCH_SHARED_WEIGHT], set->by_role[ARCH_SHARED_WEIGHT_BIAS],
        IR_F32);
    return ir_combine_experts(&b->build, y, ir_unary(&b->build, IR_OP_SIGMOID, logit));
}

static ir_value *build_mlp(builder *b, ir_value *h, const arch_weight_set *set) {
    if (!set->has[ARCH_EXPERTS])
        return norm(b, build_dense(b, h, set, ARCH_GATE), set, ARCH_MLP_OUTPUT_NORM);
    ir_value *y = arch_experts_build(
        b->decoder->experts, b->config, &set->experts, activation_of(b->config)->op,
        b->options->activation_dtype, h, &b->build);
    if (set->has[ARCH_SHARED_DOWN]) y = ir_binary(&b->build, IR_OP_ADD, y, build_shared(b, h, set));
    return norm(b, y, set, ARCH_MLP_OUTPUT_NORM);
}

static ir_value *build_layer(builder *b, ir_value *x, int64_t layer) {
    ir_build *build = &b->build;
    const arch_weight_set *set = &b->layers[layer];
    const double factor = b->config->residual_scale;
    ir_value *h = norm(b, x, set, ARCH_INPUT_NORM);
    ir_value *attention = scale(b, build_attention(b, h, layer), factor);
    if (b->decoder->is_parallel || b->config->parallel_residual) {
        ir_value *m = set->has[ARCH_MLP_NORM] ? norm(b, x, set, ARCH_MLP_NORM) : h;
        ir_value *mlp = scale(b, build_mlp(b, m, set), factor);
        return ir_binary(build, IR_OP_ADD, ir_binary(build, IR_OP_ADD, x, attention), mlp);
    }
    x = ir_binary(build, IR_OP_ADD, x, attention);
    ir_value *mlp = scale(b, build_mlp(b, norm(b, x, set, ARCH_MLP_NORM), set), factor);
    return ir_binary(build, IR_OP_ADD, x, mlp);
}

static mlcc_status *build_rope_table(builder *b, bool is_local, const char *name) {
    const int64_t n_pairs = b->config->rotary_dim / 2;
    float *frequencies = MLCC_NEW_ARRAY(b->keep, float, (size_t)n_pairs + 1);
    double magnitude = 1;
    MLCC_TRY(arch_rope_frequencies(b->config, is_local, frequencies, &magnitude));
    ir_type pairs = ir_type_vector(IR_F32, ir_dim_const(n_pairs));
    ir_const *inv_freq = ir_module_add_const(b->module, name, pairs, frequencies);
    b->rope_tables[is_local] = ir_rope_table(&b->build, b->positions, &inv_freq->value, magnitude);
    const hf_rope_scaling *scaling = &b->config->rope_scaling;
    if (!is_local && scaling->growth > 0)
        b->query_table = ir_rope_table_growing(
            &b->build, b->positions, &inv_freq->value, magnitude, scaling->growth,
            scaling->original_context);
    return NULL;
}

// One for all layers. Slopes stand behind sinks, of which there are none.
static void build_slopes(builder *b) {
    const int64_t n_heads = b->config->n_heads;
    float *values = MLCC_NEW_ARRAY(b->keep, float, (size_t)n_heads);
    const ir_type heads = ir_type_vector(IR_F32, ir_dim_const(n_heads));
    arch_alibi_slopes(n_heads, b->config->alibi_factor, values);
    b->slopes = &ir_module_add_const(b->module, "slopes", heads, values)->value;
    for (int64_t i = 0; i < n_heads; i++) values[i] = -HUGE_VALF;
    b->no_sinks = &ir_module_add_const(b->module, "no_sinks", heads, values)->value;
}

static ir_value *build_embedding(builder *b) {
    const ir_dtype dtype = b->options->activation_dtype;
    ir_value *x = ir_embedding(&b->build, b->ids, b->model.by_role[ARCH_EMBEDDING], dtype);
    x = scale(b, x, b->config->embedding_scale);
    if (b->model.has[ARCH_POSITION_EMBEDDING]) {
        ir_value *table = b->model.by_role[ARCH_POSITION_EMBEDDING];
        ir_value *position = ir_embedding(&b->build, b->positions, table, dtype);
        x = ir_binary(&b->build, IR_OP_ADD, x, position);
    }
    return norm(b, x, &b->model, ARCH_EMBEDDING_NORM);
}

static ir_value *build_logits(builder *b, ir_value *x) {
    const hf_model_config *config = b->config;
    x = norm(b, ir_take_rows(&b->build, x, b->logit_rows), &b->model, ARCH_FINAL_NORM);
    ir_value *head = config->tie_word_embeddings ? b->model.by_role[ARCH_EMBEDDING]
                                                 : b->model.by_role[ARCH_HEAD];
    ir_value *logits = ir_linear(&b->build, x, head, b->model.by_role[ARCH_HEAD_BIAS], IR_F32);
    logits = scale(b, logits, config->logit_scale);
    return config->logit_softcap > 0 ? ir_softcap(&b->build, logits, config->logit_softcap)
                                     : logits;
}

static mlcc_status *build_nodes(builder *b) {
    const hf_model_config *config = b->config;
    b->build = ir_build_start(b->function);
    ir_build *build = &b->build;
    if (config->has_alibi) build_slopes(b);
    if (arch_has_rope(b->decoder, config)) {
        MLCC_TRY(build_rope_table(b, false, "inv_freq"));
        if (config->rope_local_theta > 0) MLCC_TRY(build_rope_table(b, true, "inv_freq.local"));
    }
    ir_value *x = build_embedding(b);
    for (int64_t layer = 0; layer < config->n_layers && build->status == NULL; layer++)
        x = build_layer(b, x, layer);
    ir_value *logits = build_logits(b, x);
    MLCC_TRY(build->status);

    ir_value **returns = MLCC_NEW_ARRAY(b->keep, ir_value *, (size_t)config->n_layers + 1);
    returns[0] = logits;
    for (int64_t layer = 0; layer < config->n_layers; layer++)
        returns[layer + 1] = b->caches[layer];
    ir_function_set_returns(b->function, returns, (int32_t)config->n_layers + 1);
    return NULL;
}

mlcc_status *arch_decoder_build(
    const arch_decoder *decoder, const hf_model_config *config, const import_options *options,
    mlcc_arena *keep, ir_module **out) {
    *out = NULL;
    builder b = {.decoder = decoder, .config = config, .options = options, .keep = keep};
    b.module = ir_module_create(keep, config->model_type);
    b.function = ir_module_add_function(b.module, "forward", false);
    MLCC_TRY(add_params(&b));
    add_args(&b);
    MLCC_TRY(build_nodes(&b));
    *out = b.module;
    return NULL;
}
