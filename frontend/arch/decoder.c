#include "frontend/arch/decoder.h"

#include "frontend/arch/arch.h"
#include "frontend/arch/rope_frequencies.h"
#include "ir/builder.h"

#include <math.h>
#include <string.h>

// The weights of a layer, or of the model around the layers.
typedef struct weight_set {
    bool has[ARCH_N_ROLES];
    ir_value *by_role[ARCH_N_ROLES]; // NULL: the family has none, or a norm has no weights
    arch_experts_params experts;     // where has[ARCH_EXPERTS]
} weight_set;

// Everything that lives while one module is built.
typedef struct builder {
    const arch_decoder *decoder;
    const hf_model_config *config;
    const import_options *options;
    mlcc_arena *keep;
    ir_module *module;
    ir_function *function;
    ir_build build;

    weight_set model, *layers;
    ir_value *ids, *positions, *seq_ids, *page_table, *logit_rows; // args
    ir_value **caches;
    ir_value *rope_tables
        [2]; // of layers that see everything; of layers with a window, where theirs is another
} builder;

// ---- weights -----------------------------------------------------------------------------------------

bool arch_weight_exists(const arch_weight *weight, const hf_model_config *config) {
    return weight->when == 0 || *(const bool *)((const char *)config + weight->when);
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
    case ARCH_GATE_UP_WIDTH: return 2 * config->d_ff;
    case ARCH_Q_WIDTH: return config->n_heads * config->head_dim;
    case ARCH_KV_WIDTH: return config->n_kv_heads * config->head_dim;
    case ARCH_QKV_WIDTH: return (config->n_heads + 2 * config->n_kv_heads) * config->head_dim;
    case ARCH_HEAD_WIDTH: return config->head_dim;
    case ARCH_VOCAB: return config->vocab;
    case ARCH_POSITIONS: return config->max_position;
    }
    return 0;
}

// `layer` -1: a weight of the model.
static mlcc_status *add_weight(
    builder *b, const arch_weight *weight, int64_t layer, weight_set *set) {
    set->has[weight->role] = true;
    const char *prefix =
        layer < 0 ? ""
                  : mlcc_arena_printf(b->keep, "%s%lld.", b->decoder->layers, (long long)layer);
    if (weight->role == ARCH_EXPERTS)
        return arch_experts_add(b->decoder->experts, b->config, prefix, b->module, &set->experts);
    if (weight->name == NULL) return NULL;
    const char *name = mlcc_arena_printf(b->keep, "%s%s", prefix, weight->name);
    const char *source = arch_weight_source(b->decoder, weight, layer, b->keep);
    ir_dim rows = ir_dim_const(extent_of(b->config, weight->rows));
    ir_dim columns = ir_dim_const(extent_of(b->config, weight->columns));
    ir_type type = weight->columns == ARCH_ABSENT ? ir_type_vector(IR_F32, rows)
                                                  : ir_type_matrix(IR_F32, rows, columns);
    ir_param *param = ir_module_add_param(b->module, name, type, &source, 1);
    if (param == NULL) return MLCC_ERROR(INTERNAL, "two params are called '%s'", name);
    if (weight->fused_name != NULL)
        param->fused_name = mlcc_arena_printf(b->keep, "%s%s", prefix, weight->fused_name);
    set->by_role[weight->role] = &param->value;
    return NULL;
}

static bool stands_before_layers(arch_role role) {
    return role == ARCH_EMBEDDING || role == ARCH_POSITION_EMBEDDING;
}

static mlcc_status *add_model_weights(builder *b, bool is_before_layers) {
    for (size_t i = 0; i < b->decoder->n_model_weights; i++) {
        const arch_weight *weight = &b->decoder->model[i];
        if (stands_before_layers(weight->role) != is_before_layers ||
            !arch_weight_exists(weight, b->config))
            continue;
        if (weight->role == ARCH_HEAD && b->config->tie_word_embeddings) continue;
        MLCC_TRY(add_weight(b, weight, -1, &b->model));
    }
    return NULL;
}

static mlcc_status *add_params(builder *b) {
    const int64_t n_layers = b->config->n_layers;
    b->layers = MLCC_NEW_ARRAY(b->keep, weight_set, (size_t)n_layers);
    MLCC_TRY(add_model_weights(b, true));
    for (int64_t layer = 0; layer < n_layers; layer++)
        for (size_t i = 0; i < b->decoder->n_layer_weights; i++) {
            const arch_weight *weight = &b->decoder->layer[i];
            if (!arch_weight_exists(weight, b->config)) continue;
            MLCC_TRY(add_weight(b, weight, layer, &b->layers[layer]));
        }
    return add_model_weights(b, false);
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
    b->caches = MLCC_NEW_ARRAY(b->keep, ir_value *, (size_t)config->n_layers);
    for (int64_t layer = 0; layer < config->n_layers; layer++)
        b->caches[layer] = ir_function_add_arg(
            b->function, mlcc_arena_printf(b->keep, "kv.%lld", (long long)layer), cache);
}

// ---- nodes ---------------------------------------------------------------------------------------------

// x itself where the family has no such norm.
static ir_value *norm(builder *b, ir_value *x, const weight_set *set, arch_role role) {
    if (!set->has[role]) return x;
    ir_value *gain = set->by_role[role], *bias = set->by_role[role + 1];
    const double eps = b->config->norm_eps;
    if (b->decoder->has_layer_norms) return ir_layer_norm(&b->build, x, gain, bias, eps);
    const int64_t group = gain->type.dims[0].value;
    return ir_rms_norm_groups(&b->build, x, gain, eps, group == x->type.dims[1].value ? 0 : group);
}

static ir_value *project(builder *b, ir_value *x, const weight_set *set, arch_role role) {
    return ir_linear(
        &b->build, x, set->by_role[role], set->by_role[role + 1], b->options->activation_dtype);
}

static ir_value *scale(builder *b, ir_value *x, double factor) {
    const bool is_one = factor >= 1 && factor <= 1;
    return is_one ? x : ir_scale(&b->build, x, factor);
}

static void project_qkv(builder *b, ir_value *h, const weight_set *set, ir_value *qkv[3]) {
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

static ir_value *rotate(builder *b, ir_value *x, int64_t window) {
    if (b->decoder->positions != ARCH_ROPE) return x;
    ir_value *table = b->rope_tables[window > 0 && b->rope_tables[1] != NULL ? 1 : 0];
    return ir_rope(&b->build, x, table, b->config->head_dim, b->decoder->rope_interleaves);
}

// Of h, the normed rows; caches[layer] becomes the cache with the new tokens in it.
static ir_value *build_attention(builder *b, ir_value *h, int64_t layer) {
    ir_build *build = &b->build;
    const hf_model_config *config = b->config;
    const weight_set *set = &b->layers[layer];
    const int64_t window = hf_model_config_window(config, layer);
    ir_value *qkv[3], **cache = &b->caches[layer];
    project_qkv(b, h, set, qkv);
    ir_value *q = rotate(b, norm(b, qkv[0], set, ARCH_Q_NORM), window);
    ir_value *k = rotate(b, norm(b, qkv[1], set, ARCH_K_NORM), window);
    *cache = ir_kv_append(build, *cache, k, qkv[2], b->page_table, b->seq_ids, b->positions);
    const double attention_scale =
        config->attention_scale > 0 ? config->attention_scale : 1 / sqrt((double)config->head_dim);
    ir_value *attention = ir_paged_attention(
        build, q, *cache, b->page_table, b->seq_ids, b->positions, config->head_dim,
        attention_scale, window, config->attention_softcap);
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

static ir_value *activate(builder *b, ir_value *x) {
    const activation_row *row = activation_of(b->config);
    ir_value *y = ir_unary(&b->build, row->op, x);
    return row->is_squared ? ir_binary(&b->build, IR_OP_MUL, y, y) : y;
}

static ir_value *build_mlp(builder *b, ir_value *h, const weight_set *set) {
    ir_build *build = &b->build;
    ir_value *up;
    if (set->has[ARCH_EXPERTS]) {
        up = arch_experts_build(
            b->decoder->experts, b->config, &set->experts, activation_of(b->config)->op,
            b->options->activation_dtype, h, build);
        return norm(b, up, set, ARCH_MLP_OUTPUT_NORM);
    }
    if (set->has[ARCH_GATE_UP]) {
        const int64_t d_ff = b->config->d_ff;
        ir_value *joined = project(b, h, set, ARCH_GATE_UP);
        ir_value *gate = ir_slice(build, joined, 0, d_ff);
        up = ir_slice(build, joined, d_ff, 2 * d_ff);
        up = ir_binary(build, IR_OP_MUL, activate(b, gate), up);
    } else if (set->has[ARCH_GATE]) {
        ir_value *gate = project(b, h, set, ARCH_GATE);
        up = project(b, h, set, ARCH_UP);
        up = ir_binary(build, IR_OP_MUL, activate(b, gate), up);
    } else {
        up = activate(b, project(b, h, set, ARCH_UP));
    }
    return norm(b, project(b, up, set, ARCH_DOWN), set, ARCH_MLP_OUTPUT_NORM);
}

static ir_value *build_layer(builder *b, ir_value *x, int64_t layer) {
    ir_build *build = &b->build;
    const weight_set *set = &b->layers[layer];
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
    return NULL;
}

static ir_value *build_embedding(builder *b) {
    const ir_dtype dtype = b->options->activation_dtype;
    ir_value *x = ir_embedding(&b->build, b->ids, b->model.by_role[ARCH_EMBEDDING], dtype);
    x = scale(b, x, b->config->embedding_scale);
    if (!b->model.has[ARCH_POSITION_EMBEDDING]) return x;
    ir_value *table = b->model.by_role[ARCH_POSITION_EMBEDDING];
    return ir_binary(&b->build, IR_OP_ADD, x, ir_embedding(&b->build, b->positions, table, dtype));
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
    if (b->decoder->positions == ARCH_ROPE) {
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
