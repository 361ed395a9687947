// convert_weight from end to end: a small untied model made here, the real stories260K, bad
// sources, and the memory bound.
#include "dist/artifact/convert_weight.h"

#include "dist/artifact/random_weights.h"
#include "frontend/import.h"
#include "quantization/format.h"
#include "quantization/round.h"
#include "runtime/base/log.h"
#include "tests/support/sanitized.h"
#include "tests/unit/artifact/artifact_fixture.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static const char *data_dir(void) {
    const char *dir = getenv("MLCC_DATA");
    return dir != NULL ? dir : "../shared/data";
}

static mlcc_str warnings;

static void keep_warnings(void *user, mlcc_log_level level, const char *area, const char *message) {
    (void)user;
    if (level <= MLCC_LOG_WARN) mlcc_str_printf(&warnings, "%s: %s\n", area, message);
}

static int before_each(void **state) {
    (void)state;
    mlcc_str_clear(&warnings);
    mlcc_log_set(keep_warnings, NULL, MLCC_LOG_WARN);
    return 0;
}

static mlcc_status *convert(const char *config, const char *quantization, const char *output) {
    return artifact_convert_weight(
        &(artifact_convert_options){
            .config = config, .quantization = quantization, .output = output, .n_threads = 2},
        NULL);
}

// ---- a model of one layer -----------------------------------------------------------------------

enum { D_MODEL = 64, D_FF = 172, VOCAB = 50, Q_WIDTH = 64, KV_WIDTH = 32, N_TENSORS = 12 };

static const char config_text[] = "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": "
                                  "\"llama\", \"hidden_act\": \"silu\", \"hidden_size\": 64, "
                                  "\"intermediate_size\": 172, \"max_position_embeddings\": 64, "
                                  "\"num_attention_heads\": 4, \"num_key_value_heads\": 2, "
                                  "\"head_dim\": 16, \"num_hidden_layers\": 1, \"rms_norm_eps\": "
                                  "1e-05, \"rope_theta\": 10000.0, \"vocab_size\": 50, "
                                  "\"tie_word_embeddings\": %s}";

// Sorted by name, as index files are.
static const made_tensor layer_tensors[N_TENSORS] = {
    {"lm_head.weight", "F32", VOCAB, D_MODEL, NULL},
    {"model.embed_tokens.weight", "F32", VOCAB, D_MODEL, NULL},
    {"model.layers.0.input_layernorm.weight", "F32", D_MODEL, 0, NULL},
    {"model.layers.0.mlp.down_proj.weight", "F32", D_MODEL, D_FF, NULL},
    {"model.layers.0.mlp.gate_proj.weight", "F32", D_FF, D_MODEL, NULL},
    {"model.layers.0.mlp.up_proj.weight", "F32", D_FF, D_MODEL, NULL},
    {"model.layers.0.post_attention_layernorm.weight", "F32", D_MODEL, 0, NULL},
    {"model.layers.0.self_attn.k_proj.weight", "F32", KV_WIDTH, D_MODEL, NULL},
    {"model.layers.0.self_attn.o_proj.weight", "F32", D_MODEL, Q_WIDTH, NULL},
    {"model.layers.0.self_attn.q_proj.weight", "F32", Q_WIDTH, D_MODEL, NULL},
    {"model.layers.0.self_attn.v_proj.weight", "F32", KV_WIDTH, D_MODEL, NULL},
    {"model.norm.weight", "F32", D_MODEL, 0, NULL},
};

typedef struct made_model {
    char *dir;
    made_tensor tensors[N_TENSORS + 1];
    size_t n_tensors;
    bool is_tied;
} made_model;

// Numbers that float16 has to round; every tensor has others.
static made_model make_model(mlcc_arena *keep) {
    made_model model = {.dir = test_folder_make(keep), .n_tensors = N_TENSORS};
    for (size_t i = 0; i < N_TENSORS; i++) {
        model.tensors[i] = layer_tensors[i];
        const size_t count = (size_t)made_bytes(&layer_tensors[i]) / sizeof(float);
        float *values = MLCC_NEW_ARRAY(keep, float, count);
        for (size_t k = 0; k < count; k++)
            values[k] = (float)((k * 2654435761u + i * 40503u) % 20011u) / 10005.5f - 1.0f;
        model.tensors[i].data = values;
    }
    return model;
}

static void write_model(const made_model *model) {
    mlcc_arena *scratch = mlcc_arena_create();
    write_text(
        model->dir, "config.json",
        mlcc_arena_printf(scratch, config_text, model->is_tied ? "true" : "false"));
    write_safetensors(
        mlcc_path_join(scratch, model->dir, "model.safetensors"), model->tensors, model->n_tensors);
    mlcc_arena_free(scratch);
}

static const float *values_of(const char *name, const made_model *model, int64_t *rows) {
    for (size_t i = 0; i < model->n_tensors; i++) {
        if (strcmp(model->tensors[i].name, name) != 0) continue;
        *rows = model->tensors[i].rows;
        return model->tensors[i].data;
    }
    fail_msg("no tensor %s", name);
    return NULL;
}

// The sources of a param joined, as they should be.
static float *joined(
    const made_model *model, const char *const *names, int n_names, int64_t columns, int64_t *rows,
    mlcc_arena *keep) {
    float *all = MLCC_NEW_ARRAY(keep, float, 512 * 172);
    *rows = 0;
    for (int i = 0; i < n_names; i++) {
        int64_t n = 0;
        const float *values = values_of(names[i], model, &n);
        memcpy(all + *rows * columns, values, (size_t)(n * columns) * sizeof(float));
        *rows += n;
    }
    return all;
}

static const void *stored(const mlcc_tensor_cache *cache, const char *name, size_t size_bytes) {
    const mlcc_tensor_record *record = mlcc_tensor_cache_find(cache, name);
    if (record == NULL) fail_msg("no record %s", name);
    assert_int_equal(record->size_bytes, size_bytes);
    return mlcc_tensor_cache_data(cache, record);
}

static const char *const qkv_sources[] = {
    "model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.k_proj.weight",
    "model.layers.0.self_attn.v_proj.weight"};
static const char *const down_source[] = {"model.layers.0.mlp.down_proj.weight"};

static void order_and_names(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    const made_model model = make_model(keep);
    write_model(&model);
    const char *out = mlcc_path_join(keep, model.dir, "out");
    must(convert(model.dir, "q4f16_1", out));
    mlcc_tensor_cache *cache = open_store(out);
    char *names = mlcc_arena_strdup(keep, "");
    for (size_t i = 0; i < cache->n_records; i++)
        names = mlcc_arena_printf(keep, "%s%s\n", names, cache->records[i].name);
    // gate_proj pulls gate_up_proj, k_proj pulls qkv_proj.
    assert_string_equal(
        names, "lm_head.q_weight\nlm_head.q_scale\nmodel.embed_tokens.q_weight\nmodel.embed_tokens."
               "q_scale\nmodel.layers.0.input_layernorm.weight\n"
               "model.layers.0.mlp.down_proj.q_weight\nmodel.layers.0.mlp.down_proj.q_scale\nmodel."
               "layers.0.mlp.gate_up_proj.q_weight\n"
               "model.layers.0.mlp.gate_up_proj.q_scale\nmodel.layers.0.post_attention_layernorm."
               "weight\nmodel.layers.0.self_attn.qkv_proj.q_weight\n"
               "model.layers.0.self_attn.qkv_proj.q_scale\nmodel.layers.0.self_attn.o_proj.q_"
               "weight\nmodel.layers.0.self_attn.o_proj.q_scale\n"
               "model.norm.weight\n");
    uint64_t n_elements = 0, n_bytes = 0;
    for (size_t i = 0; i < model.n_tensors; i++) n_elements += made_bytes(&model.tensors[i]) / 4;
    for (size_t i = 0; i < cache->n_records; i++) n_bytes += cache->records[i].size_bytes;
    assert_true(cache->bits_per_param == (double)n_bytes * 8.0 / (double)n_elements);
    assert_string_equal(mlcc_str_text(&warnings), "");
    mlcc_tensor_cache_close(cache);
    must(mlcc_dir_remove_tree(model.dir));
    mlcc_arena_free(keep);
}

static void contents(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    const made_model model = make_model(keep);
    write_model(&model);
    const char *out = mlcc_path_join(keep, model.dir, "out");
    int64_t rows = 0;
    const float *qkv = joined(&model, qkv_sources, 3, D_MODEL, &rows, keep);
    assert_int_equal(rows, Q_WIDTH + 2 * KV_WIDTH);
    int64_t down_rows = 0;
    const float *down = joined(&model, down_source, 1, D_FF, &down_rows, keep);

    must(convert(model.dir, "q0f32", out));
    mlcc_tensor_cache *cache = open_store(out);
    assert_memory_equal(
        stored(cache, "model.layers.0.self_attn.qkv_proj.weight", (size_t)(rows * D_MODEL) * 4),
        qkv, (size_t)(rows * D_MODEL) * 4);
    assert_memory_equal(
        stored(cache, "model.layers.0.mlp.down_proj.weight", (size_t)(down_rows * D_FF) * 4), down,
        (size_t)(down_rows * D_FF) * 4);
    mlcc_tensor_cache_close(cache);

    // Over the first store, in the same folder.
    must(convert(model.dir, "q0f16", out));
    cache = open_store(out);
    const uint16_t *halves =
        stored(cache, "model.layers.0.self_attn.qkv_proj.weight", (size_t)(rows * D_MODEL) * 2);
    for (int64_t i = 0; i < rows * D_MODEL; i++)
        assert_int_equal(halves[i], quant_f32_to_f16(qkv[i]));
    mlcc_tensor_cache_close(cache);

    must(convert(model.dir, "q4f16_1", out));
    cache = open_store(out);
    uint32_t *words = MLCC_NEW_ARRAY(keep, uint32_t, D_MODEL * 24);
    uint16_t *scales = MLCC_NEW_ARRAY(keep, uint16_t, D_MODEL * 6);
    const quant_range all = quant_range_all(down_rows, D_FF);
    quant_format_of(IR_Q4G32_F16)->encode(down, IR_F32, &all, 0, (void *[]){words, scales});
    assert_memory_equal(
        stored(cache, "model.layers.0.mlp.down_proj.q_weight", (size_t)down_rows * 24 * 4), words,
        (size_t)down_rows * 24 * 4);
    assert_memory_equal(
        stored(cache, "model.layers.0.mlp.down_proj.q_scale", (size_t)down_rows * 6 * 2), scales,
        (size_t)down_rows * 6 * 2);
    mlcc_tensor_cache_close(cache);
    assert_string_equal(names_in(out, keep), "params_shard_0.bin tensor-cache.json");
    must(mlcc_dir_remove_tree(model.dir));
    mlcc_arena_free(keep);
}

static void a_tied_model_that_stores_its_head(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    made_model model = make_model(keep);
    model.is_tied = true;
    model.tensors[1] = model.tensors[--model.n_tensors]; // lm_head.weight stays, embed_tokens goes
    write_model(&model);
    const char *out = mlcc_path_join(keep, model.dir, "out");
    must(convert(model.dir, "q0f32", out));
    mlcc_tensor_cache *cache = open_store(out);
    const size_t size_bytes = VOCAB * D_MODEL * 4;
    assert_memory_equal(
        stored(cache, "model.embed_tokens.weight", size_bytes), model.tensors[0].data, size_bytes);
    assert_null(mlcc_tensor_cache_find(cache, "lm_head.weight"));
    // The head is read, so it counts.
    assert_true(cache->bits_per_param == 32.0);
    mlcc_tensor_cache_close(cache);
    assert_string_equal(mlcc_str_text(&warnings), "");
    must(mlcc_dir_remove_tree(model.dir));
    mlcc_arena_free(keep);
}

static void bad_sources(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    made_model model = make_model(keep);
    const char *out = mlcc_path_join(keep, model.dir, "out");
    // Two are missing: both are named.
    made_model bad = model;
    bad.tensors[3] = bad.tensors[11];
    bad.tensors[4] = bad.tensors[10];
    bad.n_tensors = 10;
    write_model(&bad);
    mlcc_status *status = convert(model.dir, "q4f16_1", out);
    assert_non_null(strstr(mlcc_status_message(status), "'model.layers.0.mlp.gate_proj.weight'"));
    must_fail(status, MLCC_INVALID, "2 tensors of the model are missing");
    assert_false(mlcc_dir_exists(out));
    // A shape of another model.
    bad = model;
    bad.tensors[7].rows = KV_WIDTH * 2;
    bad.tensors[7].data = bad.tensors[9].data;
    write_model(&bad);
    status = convert(model.dir, "q4f16_1", out);
    assert_non_null(
        strstr(mlcc_status_message(status), "'model.layers.0.self_attn.k_proj.weight'"));
    must_fail(
        status, MLCC_INVALID,
        "has shape [64, 64], but the config makes 'model.layers.0.self_attn.k_proj.weight' [32, "
        "64]");
    // An element type that is none for weights.
    bad = model;
    bad.tensors[2].dtype = "I64";
    bad.tensors[2].data = NULL;
    write_model(&bad);
    must_fail(convert(model.dir, "q4f16_1", out), MLCC_UNSUPPORTED, "I64");
    assert_false(mlcc_dir_exists(out));
    // Names of modes, formats, folders.
    write_model(&model);
    must_fail(convert(model.dir, "q4f16_9", out), MLCC_UNSUPPORTED, "q4f16_1");
    must_fail(convert("tinyllama_1b_chat_v1.0", "q4f16_1", out), MLCC_INVALID, "--source");
    must_fail(
        artifact_convert_weight(
            &(artifact_convert_options){.config = model.dir,
                                        .quantization = "q0f16",
                                        .source_format = "awq",
                                        .output = out},
            NULL),
        MLCC_MISMATCH, "awq");
    must_fail(
        convert(model.dir, "q0f16", mlcc_path_join(keep, model.dir, "config.json/x")), MLCC_IO,
        "config.json");
    assert_false(mlcc_dir_exists(out));
    must(mlcc_dir_remove_tree(model.dir));
    mlcc_arena_free(keep);
}

static void warnings_for_unused_and_infinite(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    made_model model = make_model(keep);
    const char *out = mlcc_path_join(keep, model.dir, "out");
    model.tensors[N_TENSORS] = (made_tensor){"model.extra", "F32", 3, 0, NULL};
    model.n_tensors++;
    float *down = mlcc_arena_memdup(keep, model.tensors[3].data, made_bytes(&model.tensors[3]));
    down[5] = 1e30f;
    model.tensors[3].data = down;
    write_model(&model);
    must(convert(model.dir, "q0f32", out));
    assert_non_null(strstr(mlcc_str_text(&warnings), "1 tensor in"));
    assert_non_null(strstr(mlcc_str_text(&warnings), "'model.extra'"));
    assert_null(strstr(mlcc_str_text(&warnings), "infinite"));
    mlcc_str_clear(&warnings);
    must(convert(model.dir, "q0f16", out));
    assert_non_null(strstr(mlcc_str_text(&warnings), "'model.layers.0.mlp.down_proj.weight' (1)"));
    must(mlcc_dir_remove_tree(model.dir));
    mlcc_arena_free(keep);
}

typedef struct progress_seen {
    uint64_t last_bytes, total_bytes;
    int n_calls, n_publish;
    bool ordered;
} progress_seen;

static void note_progress(
    void *user, const char *phase, uint64_t done_bytes, uint64_t total_bytes) {
    progress_seen *seen = user;
    seen->ordered &= done_bytes >= seen->last_bytes && done_bytes <= total_bytes;
    seen->last_bytes = done_bytes;
    seen->total_bytes = total_bytes;
    seen->n_calls++;
    seen->n_publish += strcmp(phase, "publish") == 0;
}

// Made-up weights in a preset's shape: progress, threads and repetition do not change a byte.
static void random_weights_are_repeatable(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    const char *dir = test_folder_make(keep);
    write_text(dir, "config.json", mlcc_arena_printf(keep, config_text, "false"));
    progress_seen seen = {.ordered = true};
    char *index[2] = {NULL, NULL};
    for (int i = 0; i < 2; i++) {
        const char *out = mlcc_arena_printf(keep, "%s/out%d", dir, i);
        artifact_convert_result result;
        must(artifact_convert_weight(
            &(artifact_convert_options){.config = dir,
                                        .quantization = "q4f16_1",
                                        .random_weights = true,
                                        .output = out,
                                        .n_threads = 1 + 3 * i,
                                        .progress = note_progress,
                                        .progress_user = &seen},
            &result));
        assert_int_equal(result.source_bytes, seen.total_bytes);
        assert_int_equal(seen.last_bytes, seen.total_bytes);
        seen.last_bytes = 0;
        size_t length = 0;
        must(mlcc_file_read(mlcc_path_join(keep, out, "tensor-cache.json"), 0, &index[i], &length));
    }
    assert_true(seen.ordered);
    assert_int_equal(seen.n_publish, 2);
    assert_string_equal(index[0], index[1]);
    free(index[0]);
    free(index[1]);
    must(mlcc_dir_remove_tree(dir));
    mlcc_arena_free(keep);
}

static void die_at(void *user, const char *phase, uint64_t done_bytes, uint64_t total_bytes) {
    (void)phase;
    (void)done_bytes;
    (void)total_bytes;
    int *n_left = user;
    if ((*n_left)-- == 0) raise(SIGKILL);
}

// Killed after every block and before publishing: the old store stands as if nothing had happened,
// and the next run clears what was left.
static void killed_while_converting(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    const made_model model = make_model(keep);
    write_model(&model);
    const char *out = mlcc_path_join(keep, model.dir, "out");
    must(convert(model.dir, "q0f32", out));
    bool died = true;
    int n_deaths = 0;
    for (; died; n_deaths++) {
        const pid_t child = fork();
        if (child == 0) {
            int n_left = n_deaths;
            mlcc_status *status = artifact_convert_weight(
                &(artifact_convert_options){.config = model.dir,
                                            .quantization = "q4f16_1",
                                            .output = out,
                                            .n_threads = 2,
                                            .progress = die_at,
                                            .progress_user = &n_left},
                NULL);
            _exit(status == NULL ? 0 : 1);
        }
        int result = 0;
        assert_int_equal(waitpid(child, &result, 0), child);
        died = WIFSIGNALED(result);
        if (!died) assert_int_equal(result, 0);
        mlcc_tensor_cache *cache = open_store(out);
        assert_non_null(
            mlcc_tensor_cache_find(cache, died ? "lm_head.weight" : "lm_head.q_weight"));
        mlcc_tensor_cache_close(cache);
    }
    assert_true(n_deaths > N_TENSORS - 3); // qkv and gate_up are one param each
    assert_string_equal(names_in(out, keep), "params_shard_0.bin tensor-cache.json");
    must(mlcc_dir_remove_tree(model.dir));
    mlcc_arena_free(keep);
}

static ir_module *random_module_of(const char *dir, mlcc_arena *keep) {
    hf_model_config *config = NULL;
    ir_module *module = NULL;
    must(hf_model_config_read(dir, NULL, NULL, keep, &config));
    must(import_model(
        config, &(import_options){.activation_dtype = IR_F32, .kv_dtype = IR_F16}, keep, &module));
    hf_model_config_free(config);
    return module;
}

// Numbers follow from name and index: any part is the same as that part of the whole; their spread
// is what the header says.
static void random_weights_by_parts(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    const char *dir = test_folder_make(keep);
    write_text(dir, "config.json", mlcc_arena_printf(keep, config_text, "false"));
    hf_weight_source *source = NULL;
    must(artifact_random_weights_open(random_module_of(dir, keep), "a test", keep, &source));
    assert_int_equal(source->n_tensors, N_TENSORS);
    for (size_t t = 0; t < source->n_tensors; t++) {
        assert_string_equal(source->tensors[t].name, layer_tensors[t].name);
        const uint64_t size_bytes = source->tensors[t].size_bytes;
        uint16_t *whole = MLCC_NEW_ARRAY(keep, uint16_t, size_bytes / 2),
                 *part = MLCC_NEW_ARRAY(keep, uint16_t, size_bytes / 2);
        must(source->read(source, &source->tensors[t], 0, size_bytes, whole, NULL));
        for (uint64_t begin = 0, step = 2; begin < size_bytes;
             begin += step, step = step % 64 + 6) {
            const uint64_t n = size_bytes - begin < step ? size_bytes - begin : step;
            must(source->read(source, &source->tensors[t], begin, n, part + begin / 2, NULL));
        }
        assert_memory_equal(whole, part, size_bytes);
        double sum = 0, squares = 0;
        const double count = (double)size_bytes / 2;
        for (uint64_t i = 0; i < size_bytes / 2; i++) {
            const double x = (double)quant_f16_to_f32(whole[i]);
            sum += x;
            squares += x * x;
        }
        if (source->tensors[t].rank == 1) {
            assert_true(sum / count > 0.97 && sum / count < 1.03);
        } else {
            assert_true(sum / count > -0.002 && sum / count < 0.002);
            assert_true(squares / count > 0.018 * 0.018 && squares / count < 0.022 * 0.022);
        }
        const void *view = NULL;
        must_fail(
            source->read(source, &source->tensors[t], size_bytes, 2, part, &view), MLCC_INTERNAL,
            "made-up");
    }
    source->close(source);
    must(mlcc_dir_remove_tree(dir));
    mlcc_arena_free(keep);
}

// ---- the real model -----------------------------------------------------------------------------

static void need_real_model(void) {
    mlcc_arena *keep = mlcc_arena_create();
    const bool is_there =
        mlcc_file_exists(mlcc_path_join(keep, data_dir(), "models/stories260K/model.safetensors"));
    mlcc_arena_free(keep);
    if (!is_there) {
        print_message("skipped: %s/models/stories260K is absent (set MLCC_DATA)\n", data_dir());
        skip();
    }
}

static void stories260k(void **state) {
    (void)state;
    need_real_model();
    mlcc_arena *keep = mlcc_arena_create();
    const char *dir = test_folder_make(keep);
    const char *model = mlcc_path_join(keep, data_dir(), "models/stories260K");
    const char *exact = mlcc_path_join(keep, dir, "q0f32"),
               *small = mlcc_path_join(keep, dir, "q4f16_1");
    hf_weight_source *source = NULL;
    must(hf_safetensors_open(model, keep, &source));
    must(convert(model, "q0f32", exact));
    must(convert(model, "q4f16_1", small));
    mlcc_tensor_cache *f32 = open_store(exact), *q4 = open_store(small);
    assert_int_equal(f32->n_records, 5 * 6 + 2);
    for (int layer = 0; layer < 5; layer++) {
        // A fused param is its sources one after the other, bit by bit.
        static const char *const parts[2][3] = {
            {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"},
            {"mlp.gate_proj", "mlp.up_proj", NULL}};
        static const char *const fused[2] = {"self_attn.qkv_proj", "mlp.gate_up_proj"};
        for (int f = 0; f < 2; f++) {
            const mlcc_tensor_record *record = mlcc_tensor_cache_find(
                f32, mlcc_arena_printf(keep, "model.layers.%d.%s.weight", layer, fused[f]));
            assert_non_null(record);
            const char *data = mlcc_tensor_cache_data(f32, record);
            uint64_t at = 0;
            for (int p = 0; p < 3 && parts[f][p] != NULL; p++) {
                const hf_tensor *tensor = hf_weight_source_find(
                    source,
                    mlcc_arena_printf(keep, "model.layers.%d.%s.weight", layer, parts[f][p]));
                const void *view = NULL;
                must(source->read(source, tensor, 0, tensor->size_bytes, NULL, &view));
                assert_memory_equal(data + at, view, tensor->size_bytes);
                at += tensor->size_bytes;
            }
            assert_int_equal(at, record->size_bytes);
            // The quantized one lies within half a step of it.
            const int64_t n_rows = record->dims[0], columns = record->dims[1];
            const mlcc_tensor_record *words = mlcc_tensor_cache_find(
                q4, mlcc_arena_printf(keep, "model.layers.%d.%s.q_weight", layer, fused[f]));
            const mlcc_tensor_record *scales = mlcc_tensor_cache_find(
                q4, mlcc_arena_printf(keep, "model.layers.%d.%s.q_scale", layer, fused[f]));
            const uint16_t *scale = mlcc_tensor_cache_data(q4, scales);
            float *decoded = MLCC_NEW_ARRAY(keep, float, (size_t)(n_rows * columns));
            const quant_range all = quant_range_all(n_rows, columns);
            quant_format_of(IR_Q4G32_F16)
                ->decode((const void *[]){mlcc_tensor_cache_data(q4, words), scale}, &all, decoded);
            for (int64_t i = 0; i < n_rows * columns; i++) {
                float weight;
                memcpy(&weight, data + 4 * i, 4);
                const float step =
                    quant_f16_to_f32(scale[i / columns * (columns / 32) + i % columns / 32]);
                const float error = decoded[i] > weight ? decoded[i] - weight : weight - decoded[i];
                assert_true(error <= 0.52f * step + 1e-4f);
            }
        }
    }
    mlcc_tensor_cache_close(f32);
    mlcc_tensor_cache_close(q4);
    source->close(source);
    must(mlcc_dir_remove_tree(dir));
    mlcc_arena_free(keep);
}

// The sharded folder holds the f16 model in two files: same names, and the same bytes wherever no
// fused param spans both.
static void sharded_source_gives_the_same_store(void **state) {
    (void)state;
    need_real_model();
    mlcc_arena *keep = mlcc_arena_create();
    const char *dir = test_folder_make(keep);
    const char *one = mlcc_path_join(keep, dir, "one"), *two = mlcc_path_join(keep, dir, "two");
    must(convert(mlcc_path_join(keep, data_dir(), "models/stories260K-f16"), "q4f16_1", one));
    must(convert(mlcc_path_join(keep, data_dir(), "models/stories260K-sharded"), "q4f16_1", two));
    mlcc_tensor_cache *a = open_store(one), *b = open_store(two);
    assert_int_equal(a->n_records, b->n_records);
    for (size_t i = 0; i < a->n_records; i++) {
        const mlcc_tensor_record *other = mlcc_tensor_cache_find(b, a->records[i].name);
        assert_non_null(other);
        assert_int_equal(other->size_bytes, a->records[i].size_bytes);
        assert_memory_equal(
            mlcc_tensor_cache_data(a, &a->records[i]), mlcc_tensor_cache_data(b, other),
            other->size_bytes);
    }
    mlcc_tensor_cache_close(a);
    mlcc_tensor_cache_close(b);
    must(mlcc_dir_remove_tree(dir));
    mlcc_arena_free(keep);
}

// ---- memory -------------------------------------------------------------------------------------

// A model of 640 MiB (zeros in a file with holes) whose largest tensor has 64 MiB is converted
// below 2 x 64 + 64 MiB.
static void memory_bound(void **state) {
    (void)state;
    if (IS_SANITIZED) skip();
    mlcc_arena *keep = mlcc_arena_create();
    const char *dir = test_folder_make(keep);
    write_text(
        dir, "config.json",
        "{\"model_type\": \"llama\", \"hidden_act\": \"silu\", \"hidden_size\": 4096, "
        "\"intermediate_size\": 8192, \"max_position_embeddings\": 64, "
        "\"num_attention_heads\": 32, \"num_key_value_heads\": 32, \"num_hidden_layers\": 2, "
        "\"rms_norm_eps\": 1e-05, \"vocab_size\": 1000, "
        "\"tie_word_embeddings\": true}");
    made_tensor tensors[32] = {
        {"model.embed_tokens.weight", "F16", 1000, 4096, NULL},
        {"model.norm.weight", "F16", 4096, 0, NULL}};
    size_t n = 2;
    for (int layer = 0; layer < 2; layer++) {
        static const made_tensor rows[9] = {
            {"input_layernorm.weight", "F16", 4096, 0, NULL},
            {"mlp.down_proj.weight", "F16", 4096, 8192, NULL},
            {"mlp.gate_proj.weight", "F16", 8192, 4096, NULL},
            {"mlp.up_proj.weight", "F16", 8192, 4096, NULL},
            {"post_attention_layernorm.weight", "F16", 4096, 0, NULL},
            {"self_attn.k_proj.weight", "F16", 4096, 4096, NULL},
            {"self_attn.o_proj.weight", "F16", 4096, 4096, NULL},
            {"self_attn.q_proj.weight", "F16", 4096, 4096, NULL},
            {"self_attn.v_proj.weight", "F16", 4096, 4096, NULL}};
        for (int i = 0; i < 9; i++) {
            tensors[n] = rows[i];
            tensors[n++].name = mlcc_arena_printf(keep, "model.layers.%d.%s", layer, rows[i].name);
        }
    }
    write_safetensors(mlcc_path_join(keep, dir, "model.safetensors"), tensors, n);
    const pid_t child = fork();
    if (child == 0) {
        mlcc_status *status = convert(dir, "q4f16_1", mlcc_path_join(keep, dir, "out"));
        if (status != NULL) fputs(mlcc_status_format(status, 1), stderr);
        _exit(status == NULL ? 0 : 1);
    }
    int result = 0;
    struct rusage usage;
    assert_int_equal(wait4(child, &result, 0, &usage), child);
    assert_int_equal(result, 0);
    print_message("peak memory %ld KiB\n", usage.ru_maxrss);
    assert_true(usage.ru_maxrss <= (2 * 64 + 64) * 1024);
    must(mlcc_dir_remove_tree(dir));
    mlcc_arena_free(keep);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(order_and_names, before_each),
        cmocka_unit_test_setup(contents, before_each),
        cmocka_unit_test_setup(a_tied_model_that_stores_its_head, before_each),
        cmocka_unit_test_setup(bad_sources, before_each),
        cmocka_unit_test_setup(warnings_for_unused_and_infinite, before_each),
        cmocka_unit_test_setup(killed_while_converting, before_each),
        cmocka_unit_test_setup(random_weights_are_repeatable, before_each),
        cmocka_unit_test_setup(random_weights_by_parts, before_each),
        cmocka_unit_test_setup(stories260k, before_each),
        cmocka_unit_test_setup(sharded_source_gives_the_same_store, before_each),
        cmocka_unit_test_setup(memory_bound, before_each),
    };
    const int result = cmocka_run_group_tests(tests, NULL, NULL);
    mlcc_str_free(&warnings);
    return result;
}
