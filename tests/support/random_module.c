// random_module: see the header. The generator keeps one running activation `x` [n_tokens, d_model]
// and adds blocks to it.
#include "tests/support/random_module.h"

#include "ir/builder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t random_u64(random_state *random) {
    uint64_t z = (random->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

int64_t random_below(random_state *random, int64_t n) {
    return (int64_t)(random_u64(random) % (uint64_t)n);
}

double random_unit(random_state *random) {
    return (double)random_below(random, 1 << 24) / (1 << 23) - 1.0;
}

ir_tensor *random_tensor(
    ir_dtype dtype, int32_t rank, const int64_t *dims, double size, uint64_t seed,
    mlcc_arena *keep) {
    ir_tensor *tensor = ir_tensor_create(keep, dtype, rank, dims);
    random_state random = {seed};
    for (int64_t i = 0; i < ir_tensor_count(tensor); i++)
        tensor->f32[i] = ir_round_to(dtype, (float)(size * random_unit(&random)));
    return tensor;
}

ir_tensor *random_matrix(
    ir_dtype dtype, int64_t rows, int64_t columns, double size, uint64_t seed, mlcc_arena *keep) {
    return random_tensor(dtype, 2, (int64_t[]){rows, columns}, size, seed, keep);
}

// ---- the module --------------------------------------------------------------------------------

enum { MAX_LAYERS = 4, MAX_OBSERVED = 16 };

typedef struct generator {
    random_state random;
    ir_module *module;
    ir_build b;
    ir_dtype dtype; // of activations
    int64_t d_model, d_ff, n_heads, n_kv_heads, head_dim, vocab;
    int32_t layer;
    int32_t n_names; // for names that only need to differ
    uint32_t features;
    ir_value *observed[MAX_OBSERVED]; // what the arguments "observed.N" have become
    int32_t n_observed;
    ir_value *ids, *positions, *seq_ids, *page_table, *logit_rows;
    ir_value *rope_table;
} generator;

static bool chance(generator *g, int64_t percent) {
    return random_below(&g->random, 100) < percent;
}

static int64_t pick(generator *g, const int64_t *choices, int64_t n) {
    return choices[random_below(&g->random, n)];
}

static const char *name_of(generator *g, const char *part) {
    return mlcc_arena_printf(g->module->keep, "model.layers.%d.%s", g->layer, part);
}

// A param with one source whose name tells its rows; `fused` may be NULL.
static ir_value *add_param(generator *g, const char *name, ir_type type, const char *fused) {
    char source[160];
    snprintf(source, sizeof source, "%s.rows%lld", name, (long long)type.dims[0].value);
    const char *sources[] = {source};
    ir_param *param = ir_module_add_param(g->module, name, type, sources, 1);
    param->fused_name = fused;
    return &param->value;
}

static ir_value *add_weight(
    generator *g, const char *part, int64_t n, int64_t k, const char *fused) {
    ir_type type = ir_type_matrix(IR_F32, ir_dim_const(n), ir_dim_const(k));
    return add_param(g, name_of(g, part), type, fused != NULL ? name_of(g, fused) : NULL);
}

static ir_value *add_vector(generator *g, const char *part, int64_t n, const char *fused) {
    ir_type type = ir_type_vector(IR_F32, ir_dim_const(n));
    return add_param(g, name_of(g, part), type, fused != NULL ? name_of(g, fused) : NULL);
}

static ir_value *add_random_const(generator *g, ir_type type) {
    int64_t count = 0;
    if (!ir_type_bound_elements(&type, &count)) abort();
    float *data = MLCC_NEW_ARRAY(g->module->keep, float, (size_t)count);
    for (int64_t i = 0; i < count; i++) data[i] = (float)random_unit(&g->random);
    const char *name = mlcc_arena_printf(g->module->keep, "const.%d", g->n_names++);
    return &ir_module_add_const(g->module, name, type, data)->value;
}

static ir_value *norm(generator *g, ir_value *x, const char *part) {
    return ir_rms_norm(
        &g->b, x, add_vector(g, part, g->d_model, NULL), chance(g, 50) ? 1e-5 : 1e-6);
}

// A constant expression of `length` numbers: what folding is for.
static ir_value *foldable_vector(generator *g, int64_t length) {
    ir_type type = ir_type_vector(IR_F32, ir_dim_const(length));
    ir_value *value = add_random_const(g, type);
    if (chance(g, 50)) value = ir_scale(&g->b, value, 0.5);
    if (chance(g, 50)) value = ir_binary(&g->b, IR_OP_ADD, value, add_random_const(g, type));
    if (chance(g, 30)) value = ir_unary(&g->b, IR_OP_SIGMOID, value);
    return value;
}

static ir_value *no_op(generator *g, ir_value *x) {
    switch (random_below(&g->random, 4)) {
    case 0: return ir_scale(&g->b, x, 1.0);
    case 1: return ir_cast(&g->b, x, x->type.dtype);
    case 2: return ir_slice(&g->b, x, 0, x->type.dims[1].value);
    default: return ir_scale(&g->b, ir_scale(&g->b, x, 2.0), 0.5);
    }
}

static ir_value *elementwise_step(generator *g, ir_value *x) {
    static const ir_op ops[] = {IR_OP_SILU, IR_OP_GELU, IR_OP_GELU_TANH, IR_OP_RELU, IR_OP_SIGMOID};
    switch (random_below(&g->random, 7)) {
    case 0: return ir_unary(&g->b, ops[random_below(&g->random, 5)], x);
    case 1: return ir_softcap(&g->b, x, 5.0);
    case 2: return ir_scale(&g->b, x, random_unit(&g->random));
    case 3: return ir_binary(&g->b, IR_OP_ADD, x, foldable_vector(g, x->type.dims[1].value));
    case 4: return ir_binary(&g->b, IR_OP_MUL, x, foldable_vector(g, x->type.dims[1].value));
    case 5: return ir_clamp(&g->b, x, chance(g, 50) ? -HUGE_VAL : -0.75, 0.75);
    default: return no_op(g, x);
    }
}

static ir_value *elementwise_chain(generator *g, ir_value *x) {
    int64_t n_steps = random_below(&g->random, 4);
    for (int64_t i = 0; i < n_steps; i++) x = elementwise_step(g, x);
    return x;
}

static void dead_nodes(generator *g, ir_value *x) {
    if (!chance(g, 40)) return;
    ir_value *dead = elementwise_step(g, x);
    if (chance(g, 50)) {
        const char *part = mlcc_arena_printf(g->module->keep, "unused.%d.weight", g->n_names++);
        dead = ir_linear(&g->b, dead, add_weight(g, part, 5, g->d_model, NULL), NULL, IR_N_DTYPES);
    }
    elementwise_chain(g, dead);
}

// A scale for `n_groups` groups of columns that says "computed at run time" in all, some or no entries.
static ir_value *activation_scale(generator *g, int64_t n_groups) {
    const ir_type type = ir_type_vector(IR_F32, ir_dim_const(n_groups));
    const char *name = mlcc_arena_printf(g->module->keep, "scale.%d", g->n_names++);
    if (chance(g, 50)) {
        float *data = MLCC_NEW_ARRAY(g->module->keep, float, (size_t)n_groups);
        for (int64_t i = 0; i < n_groups; i++)
            data[i] = chance(g, 70) ? (float)random_below(&g->random, 100) / 1024.0f : 0.0f;
        return &ir_module_add_const(g->module, name, type, data)->value;
    }
    const char *source = mlcc_arena_printf(g->module->keep, "%s.input_scale", name);
    ir_param *param = ir_module_add_param(g->module, name, type, &source, 1);
    param->has_fallback = true;
    param->fallback = 0.0;
    return &param->value;
}

static void observe(generator *g, ir_value *x) {
    ir_value *maximum = NULL;
    if (g->n_observed == MAX_OBSERVED) return;
    // Sometimes one argument sees two values.
    if (g->n_observed > 0 && chance(g, 20)) {
        maximum = g->observed[g->n_observed - 1];
        g->observed[g->n_observed - 1] = ir_observe_max(&g->b, maximum, x);
        return;
    }
    const char *name = mlcc_arena_printf(g->module->keep, "observed.%d", g->n_observed);
    maximum = ir_function_add_arg(g->b.function, name, ir_type_vector(IR_F32, ir_dim_const(1)));
    g->observed[g->n_observed++] = ir_observe_max(&g->b, maximum, x);
}

// The rows as an fp8 mode hands them to a linear.
static ir_value *quantized(generator *g, ir_value *x) {
    if ((g->features & RANDOM_FLOAT8) == 0 || chance(g, 30)) return x;
    if (chance(g, 30)) observe(g, x);
    const int64_t columns = x->type.dims[1].value;
    const int64_t group = chance(g, 50) ? 0 : 1 + random_below(&g->random, columns + 3);
    const int64_t n_groups = group == 0 ? 1 : (columns + group - 1) / group;
    ir_value *scale = chance(g, 50) ? activation_scale(g, n_groups) : NULL;
    const int64_t mantissa_bits = chance(g, 70) ? 3 : 2;
    return ir_quantize_activation(
        &g->b, x, scale, mantissa_bits, group, chance(g, 50) ? 1e-10 : 1.0 / 512);
}

// ---- blocks ------------------------------------------------------------------------------------

static ir_value *projection(
    generator *g, ir_value *x, const char *name, int64_t n, const char *fused, bool bias) {
    mlcc_arena *keep = g->module->keep;
    int64_t k = x->type.dims[1].value;
    ir_value *weight = add_weight(
        g, mlcc_arena_printf(keep, "%s.weight", name), n, k,
        fused != NULL ? mlcc_arena_printf(keep, "%s.weight", fused) : NULL);
    ir_value *offset = NULL;
    if (bias) {
        offset = add_vector(
            g, mlcc_arena_printf(keep, "%s.bias", name), n,
            fused != NULL ? mlcc_arena_printf(keep, "%s.bias", fused) : NULL);
    }
    return ir_linear(&g->b, x, weight, offset, IR_N_DTYPES);
}

static ir_value *attention_block(generator *g, ir_value *x, ir_value **cache) {
    bool bias = chance(g, 25);
    const char *fused = chance(g, 85) ? "self_attn.qkv_proj" : NULL;
    int64_t kv_columns = g->n_kv_heads * g->head_dim;
    ir_value *h = quantized(g, norm(g, x, "input_layernorm.weight"));
    ir_value *q = projection(g, h, "self_attn.q_proj", g->n_heads * g->head_dim, fused, bias);
    ir_value *k = projection(g, h, "self_attn.k_proj", kv_columns, fused, bias);
    dead_nodes(g, h);
    ir_value *v = projection(g, h, "self_attn.v_proj", kv_columns, fused, bias);
    bool interleaved = chance(g, 20);
    q = ir_rope(&g->b, q, g->rope_table, g->head_dim, interleaved);
    k = ir_rope(&g->b, k, g->rope_table, g->head_dim, interleaved);
    *cache = ir_kv_append(&g->b, *cache, k, v, g->page_table, g->seq_ids, g->positions);
    ir_attention attention = {
        .head_dim = g->head_dim,
        .scale = 0.4,
        .window = chance(g, 25) ? 5 : 0,
        .softcap = chance(g, 25) ? 20.0 : 0.0};
    const ir_type heads = ir_type_vector(IR_F32, ir_dim_const(g->n_heads));
    if (chance(g, 25)) attention.sinks = add_random_const(g, heads);
    if (attention.sinks != NULL && chance(g, 50)) attention.slopes = add_random_const(g, heads);
    ir_value *attended =
        ir_paged_attention(&g->b, q, *cache, g->page_table, g->seq_ids, g->positions, &attention);
    attended = quantized(g, attended);
    ir_value *out = projection(g, attended, "self_attn.o_proj", g->d_model, NULL, false);
    if (chance(g, 30)) out = no_op(g, out);
    return chance(g, 50) ? ir_binary(&g->b, IR_OP_ADD, x, out)
                         : ir_binary(&g->b, IR_OP_ADD, out, x);
}

static ir_value *feed_forward_block(generator *g, ir_value *x) {
    const char *fused = chance(g, 85) ? "mlp.gate_up_proj" : NULL;
    ir_value *h = quantized(g, norm(g, x, "post_attention_layernorm.weight"));
    ir_value *gate = projection(g, h, "mlp.gate_proj", g->d_ff, fused, false);
    ir_value *up = projection(g, h, "mlp.up_proj", g->d_ff, fused, false);
    ir_value *activated = ir_unary(&g->b, chance(g, 70) ? IR_OP_SILU : IR_OP_GELU_TANH, gate);
    ir_value *product = quantized(g, ir_binary(&g->b, IR_OP_MUL, activated, up));
    ir_value *out = projection(g, product, "mlp.down_proj", g->d_model, NULL, false);
    return ir_binary(&g->b, IR_OP_ADD, x, elementwise_chain(g, out));
}

// The two halves of x change places through slices and products; reads x twice.
static ir_value *slice_block(generator *g, ir_value *x) {
    int64_t columns = g->d_model;
    int64_t cut = 1 + random_below(&g->random, columns - 1);
    ir_value *left = ir_slice(&g->b, x, 0, cut);
    ir_value *part = ir_slice(&g->b, left, cut / 2, cut);
    const char *mixed = mlcc_arena_printf(g->module->keep, "mix.%d.weight", g->n_names++);
    ir_value *weight = add_weight(g, mixed, columns, cut - cut / 2, NULL);
    ir_value *out = ir_linear(&g->b, elementwise_chain(g, part), weight, NULL, IR_F32);
    return ir_binary(&g->b, IR_OP_ADD, x, ir_cast(&g->b, out, g->dtype));
}

static void add_inputs(generator *g) {
    ir_function *function = g->b.function;
    ir_dim n_tokens = ir_dim_symbol(ir_module_symbol(g->module, "n_tokens", 48));
    ir_dim n_seqs = ir_dim_symbol(ir_module_symbol(g->module, "n_seqs", 4));
    ir_dim n_slots = ir_dim_symbol(ir_module_symbol(g->module, "n_page_slots", 8));
    ir_dim n_logits = ir_dim_symbol(ir_module_symbol(g->module, "n_logits", 4));
    ir_type tokens = ir_type_vector(IR_I32, n_tokens);
    g->ids = ir_function_add_arg(function, "ids", tokens);
    g->positions = ir_function_add_arg(function, "positions", tokens);
    g->seq_ids = ir_function_add_arg(function, "seq_ids", tokens);
    g->page_table =
        ir_function_add_arg(function, "page_table", ir_type_matrix(IR_I32, n_seqs, n_slots));
    g->logit_rows = ir_function_add_arg(function, "logit_rows", ir_type_vector(IR_I32, n_logits));
}

static ir_value *add_cache(generator *g) {
    ir_type type = {.dtype = chance(g, 70) ? g->dtype : IR_F16, .rank = 5};
    type.dims[0] = ir_dim_symbol(ir_module_symbol(g->module, "n_pages", 64));
    type.dims[1] = ir_dim_const(2);
    type.dims[2] = ir_dim_const(g->n_kv_heads);
    type.dims[3] = ir_dim_const(16);
    type.dims[4] = ir_dim_const(g->head_dim);
    const char *name = mlcc_arena_printf(g->module->keep, "kv.%d", g->layer);
    return ir_function_add_arg(g->b.function, name, type);
}

static void choose_sizes(generator *g) {
    g->dtype = chance(g, 70) ? IR_F32 : chance(g, 60) ? IR_F16 : IR_BF16;
    g->head_dim = pick(g, (const int64_t[]){2, 4, 6, 8}, 4);
    g->n_kv_heads = 1 + random_below(&g->random, 2);
    g->n_heads = g->n_kv_heads * (1 + random_below(&g->random, 3));
    g->d_model = pick(g, (const int64_t[]){7, 8, 12, 16, 32}, 5);
    g->d_ff = pick(g, (const int64_t[]){9, 16, 20, 33}, 4);
    g->vocab = 17 + random_below(&g->random, 30);
}

static ir_value *add_rope_table(generator *g) {
    // Sometimes only the first columns of a head turn.
    int64_t half = chance(g, 75) ? g->head_dim / 2 : 1;
    float frequencies[8];
    for (int64_t i = 0; i < half; i++) frequencies[i] = 1.0f / (float)(1 << (2 * i));
    ir_type type = ir_type_vector(IR_F32, ir_dim_const(half));
    ir_const *constant = ir_module_add_const(g->module, "inv_freq", type, frequencies);
    return ir_rope_table(&g->b, g->positions, &constant->value, 1.0);
}

ir_module *random_module(uint64_t seed, mlcc_arena *keep) {
    return random_module_with(seed, 0, keep);
}

ir_module *random_module_with(uint64_t seed, uint32_t features, mlcc_arena *keep) {
    generator g = {
        .random = {seed}, .module = ir_module_create(keep, "random"), .features = features};
    ir_value *caches[MAX_LAYERS];
    ir_value *returns[1 + MAX_LAYERS + MAX_OBSERVED];
    choose_sizes(&g);
    g.b = ir_build_start(ir_module_add_function(g.module, "forward", false));
    add_inputs(&g);
    int32_t n_layers = 1 + (int32_t)random_below(&g.random, 3);
    for (g.layer = 0; g.layer < n_layers; g.layer++) caches[g.layer] = add_cache(&g);
    g.rope_table = add_rope_table(&g);
    ir_type table = ir_type_matrix(IR_F32, ir_dim_const(g.vocab), ir_dim_const(g.d_model));
    ir_value *embedding = add_param(&g, "model.embed_tokens.weight", table, NULL);
    ir_value *x = ir_embedding(&g.b, g.ids, embedding, g.dtype);
    for (g.layer = 0; g.layer < n_layers; g.layer++) {
        if (chance(&g, 90)) x = attention_block(&g, x, &caches[g.layer]);
        dead_nodes(&g, x);
        if (chance(&g, 30)) x = slice_block(&g, x);
        if (chance(&g, 90)) x = feed_forward_block(&g, x);
        if (chance(&g, 20)) x = no_op(&g, x);
    }
    ir_value *last = ir_take_rows(&g.b, norm(&g, x, "norm.weight"), g.logit_rows);
    bool tied = chance(&g, 30);
    ir_value *head = tied ? embedding : add_param(&g, "lm_head.weight", table, NULL);
    returns[0] = ir_linear(&g.b, last, head, NULL, IR_F32);
    if (chance(&g, 30)) returns[0] = ir_softcap(&g.b, returns[0], 30.0);
    int32_t n_returns = 1;
    for (int32_t i = 0; i < n_layers; i++) returns[n_returns++] = caches[i];
    for (int32_t i = 0; i < g.n_observed; i++) returns[n_returns++] = g.observed[i];
    ir_function_set_returns(g.b.function, returns, n_returns);
    if (g.b.status != NULL) {
        fprintf(
            stderr, "random_module(%llu): %s\n", (unsigned long long)seed,
            mlcc_status_message(g.b.status));
        abort();
    }
    return g.module;
}

// FNV-1a
static uint64_t hash_name(const char *name) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (const char *c = name; *c != '\0'; c++) hash = (hash ^ (unsigned char)*c) * 0x100000001b3u;
    return hash;
}

// ---- inputs ------------------------------------------------------------------------------------

enum { MAX_SEQUENCES = 3, PAGE_TOKENS = 16 };

// A ragged batch: sequence s has `past[s]` tokens in the cache and brings `fresh[s]` more.
typedef struct batch {
    random_state random;
    int64_t n_seqs, n_tokens, n_slots, n_pages;
    int64_t past[MAX_SEQUENCES], fresh[MAX_SEQUENCES];
    int32_t pages[64]; // a permutation of 0 … n_pages-1
} batch;

static batch random_batch(uint64_t seed) {
    batch made = {.random = {seed ^ 0x5eedu}};
    made.n_seqs = 1 + random_below(&made.random, MAX_SEQUENCES);
    for (int64_t s = 0; s < made.n_seqs; s++) {
        made.past[s] = random_below(&made.random, 2) * random_below(&made.random, 40);
        made.fresh[s] = 1 + random_below(&made.random, 12);
        made.n_tokens += made.fresh[s];
        int64_t n_slots = (made.past[s] + made.fresh[s] + PAGE_TOKENS - 1) / PAGE_TOKENS;
        if (n_slots > made.n_slots) made.n_slots = n_slots;
    }
    made.n_pages = made.n_seqs * made.n_slots + random_below(&made.random, 3);
    for (int32_t i = 0; i < made.n_pages; i++) {
        int64_t other = random_below(&made.random, i + 1);
        made.pages[i] = made.pages[other];
        made.pages[other] = i;
    }
    return made;
}

static int64_t symbol_value(const batch *made, const char *name) {
    if (strcmp(name, "n_seqs") == 0 || strcmp(name, "n_logits") == 0) return made->n_seqs;
    if (strcmp(name, "n_page_slots") == 0) return made->n_slots;
    if (strcmp(name, "n_pages") == 0) return made->n_pages;
    return made->n_tokens;
}

static void fill_per_token(const batch *made, const char *name, int32_t *out) {
    int64_t token = 0;
    for (int64_t s = 0; s < made->n_seqs; s++) {
        for (int64_t i = 0; i < made->fresh[s]; i++, token++) {
            bool position = strcmp(name, "positions") == 0;
            out[token] = (int32_t)(position ? made->past[s] + i : s);
        }
    }
}

static void fill_input(const batch *made, uint64_t seed, const char *name, ir_tensor *tensor) {
    int64_t count = ir_tensor_count(tensor);
    random_state random = {seed ^ hash_name(name)};
    if (ir_dtype_get(tensor->dtype)->kind != IR_KIND_INT) {
        for (int64_t i = 0; i < count; i++) {
            tensor->f32[i] = ir_round_to(tensor->dtype, (float)random_unit(&random));
        }
    } else if (strcmp(name, "positions") == 0 || strcmp(name, "seq_ids") == 0) {
        fill_per_token(made, name, tensor->i32);
    } else if (strcmp(name, "page_table") == 0) {
        for (int64_t i = 0; i < count; i++) tensor->i32[i] = made->pages[i];
    } else if (strcmp(name, "logit_rows") == 0) {
        int64_t end = 0;
        for (int64_t s = 0; s < count; s++) tensor->i32[s] = (int32_t)((end += made->fresh[s]) - 1);
    } else {
        for (int64_t i = 0; i < count; i++) tensor->i32[i] = (int32_t)random_below(&random, 16);
    }
}

ir_tensor **random_inputs(const ir_function *f, uint64_t seed, mlcc_arena *keep) {
    batch made = random_batch(seed);
    ir_tensor **tensors = MLCC_NEW_ARRAY(keep, ir_tensor *, (size_t)f->n_args);
    for (int32_t i = 0; i < f->n_args; i++) {
        const ir_type *type = &f->args[i]->type;
        int64_t dims[IR_MAX_RANK] = {0};
        for (int32_t axis = 0; axis < type->rank; axis++) {
            const ir_symbol *symbol = type->dims[axis].symbol;
            dims[axis] =
                symbol != NULL ? symbol_value(&made, symbol->name) : type->dims[axis].value;
        }
        tensors[i] = ir_tensor_create(keep, type->dtype, type->rank, dims);
        fill_input(&made, seed, f->args[i]->name, tensors[i]);
    }
    return tensors;
}

// ---- params ------------------------------------------------------------------------------------

// Numbers of a piece follow from its name and are multiples of 2^-9 or 2^-7 with 8 significant
// bits: exact in every float dtype.
static void fill_piece(const char *name, bool is_vector, float *out, int64_t count) {
    random_state random = {hash_name(name)};
    for (int64_t i = 0; i < count; i++) {
        if (is_vector)
            out[i] = 1.0f + (float)random_below(&random, 64) / 128.0f;
        else
            out[i] = (float)(random_below(&random, 255) - 127) / 512.0f;
    }
}

static void fill_scale(const ir_param *param, float *out, int64_t count) {
    random_state random = {hash_name(param->value.name)};
    const bool is_static = random_below(&random, 2) == 0;
    for (int64_t i = 0; i < count; i++) {
        const float scale = (float)(1 + random_below(&random, 100)) / 1024.0f;
        out[i] = is_static ? scale : (float)param->fallback;
    }
}

static int64_t rows_of(const char *source, int64_t all_rows) {
    const char *rows = strstr(source, ".rows");
    return rows != NULL ? atoll(rows + 5) : all_rows;
}

mlcc_status *random_param(void *user, const ir_param *param, mlcc_arena *keep, ir_tensor **out) {
    (void)user;
    const ir_type *type = &param->value.type;
    int64_t dims[IR_MAX_RANK] = {0};
    for (int32_t i = 0; i < type->rank; i++) dims[i] = type->dims[i].value;
    *out = ir_tensor_create(keep, type->dtype, type->rank, dims);
    int64_t columns = type->rank > 1 ? dims[1] : 1;
    int64_t row = 0;
    if (param->has_fallback) {
        fill_scale(param, (*out)->f32, ir_tensor_count(*out));
        return NULL;
    }
    for (int32_t i = 0; i < param->n_sources; i++) {
        int64_t n_rows = rows_of(param->sources[i], dims[0]);
        if (row + n_rows > dims[0]) break;
        fill_piece(
            param->sources[i], type->rank == 1, (*out)->f32 + row * columns, n_rows * columns);
        row += n_rows;
    }
    if (param->n_sources == 0) {
        fill_piece(param->value.name, type->rank == 1, (*out)->f32, dims[0] * columns);
        row = dims[0];
    }
    if (row == dims[0]) return NULL;
    return MLCC_ERROR(
        INVALID, "sources of param '%s' do not have its %lld rows", param->value.name,
        (long long)dims[0]);
}
