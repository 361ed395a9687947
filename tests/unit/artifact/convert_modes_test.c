// convert_weight in every mode, against the formats applied to the whole joined weight at once:
// blocks, chunks, joins at odd rows and the measuring pass must not change a byte. And params with a
// fallback.
#include "dist/artifact/convert_weight.h"
#include "dist/artifact/diff.h"
#include "frontend/import.h"
#include "passes/pipeline.h"
#include "quantization/format.h"
#include "quantization/formats/plain.h"
#include "quantization/mode.h"
#include "runtime/base/log.h"
#include "tests/unit/artifact/artifact_fixture.h"

// Widths that no block of 8, 16, 32 or 128 divides: sources are joined at rows 200, 240 and 1420. Some
// params have several chunks.
enum { D = 200, KV = 40, FF = 1420, VOCAB = 53 };
static const char config_text[] =
    "{\"model_type\": \"llama\", \"hidden_act\": \"silu\", \"hidden_size\": 200, "
    "\"intermediate_size\": 1420, \"max_position_embeddings\": 64, \"num_attention_heads\": 25, "
    "\"num_key_value_heads\": 5, \"head_dim\": 8, \"num_hidden_layers\": 1, \"rms_norm_eps\": "
    "1e-05, \"vocab_size\": 53, \"tie_word_embeddings\": false}";

static const made_tensor shapes[] = {
    {"lm_head.weight", "F16", VOCAB, D, NULL},
    {"model.embed_tokens.weight", "F16", VOCAB, D, NULL},
    {"model.layers.0.input_layernorm.weight", "F32", D, 0, NULL},
    {"model.layers.0.mlp.down_proj.weight", "BF16", D, FF, NULL},
    // Element types differ inside a join.
    {"model.layers.0.mlp.gate_proj.weight", "F16", FF, D, NULL},
    {"model.layers.0.mlp.up_proj.weight", "F32", FF, D, NULL},
    {"model.layers.0.post_attention_layernorm.weight", "F32", D, 0, NULL},
    {"model.layers.0.self_attn.k_proj.weight", "F16", KV, D, NULL},
    {"model.layers.0.self_attn.o_proj.weight", "F32", D, D, NULL},
    {"model.layers.0.self_attn.q_proj.weight", "F16", D, D, NULL},
    {"model.layers.0.self_attn.v_proj.weight", "BF16", KV, D, NULL},
    {"model.norm.weight", "F32", D, 0, NULL},
};
enum { N_TENSORS = sizeof shapes / sizeof shapes[0], MAX_TENSORS = N_TENSORS + 4 };

static mlcc_str warnings;

static void keep_warnings(void *user, mlcc_log_level level, const char *area, const char *message) {
    (void)user;
    if (level <= MLCC_LOG_WARN) mlcc_str_printf(&warnings, "%s: %s\n", area, message);
}

typedef struct made_model {
    mlcc_arena *keep;
    char *dir, *out;
    made_tensor tensors[MAX_TENSORS];
    size_t n_tensors;
    const float *values[MAX_TENSORS]; // of every tensor
} made_model;

static ir_dtype dtype_of(const char *text) {
    return strcmp(text, "F32") == 0 ? IR_F32 : strcmp(text, "F16") == 0 ? IR_F16 : IR_BF16;
}

static void add_tensor(made_model *model, made_tensor tensor, const float *values) {
    const int64_t count = tensor.rows * (tensor.columns == 0 ? 1 : tensor.columns);
    void *stored = mlcc_arena_alloc(model->keep, (size_t)count * 4);
    float *exact = MLCC_NEW_ARRAY(model->keep, float, (size_t)count);
    const quant_range all = quant_range_all(count, 1);
    const ir_dtype dtype = dtype_of(tensor.dtype);
    quant_format_of(dtype)->encode(values, IR_F32, &all, 0, &stored);
    quant_cast_to_f32(stored, dtype, count, exact);
    tensor.data = stored;
    model->values[model->n_tensors] = exact;
    model->tensors[model->n_tensors++] = tensor;
}

static made_model make_model(void) {
    made_model model = {.keep = mlcc_arena_create()};
    model.dir = test_folder_make(model.keep);
    model.out = mlcc_path_join(model.keep, model.dir, "out");
    for (size_t i = 0; i < N_TENSORS; i++) {
        const size_t count = (size_t)made_bytes(&shapes[i]);
        float *values = MLCC_NEW_ARRAY(model.keep, float, count);
        for (size_t k = 0; k < count; k++)
            values[k] = (float)((k * 2654435761u + i * 40503u) % 20011u) / 10005.5f - 1.0f;
        add_tensor(&model, shapes[i], values);
    }
    write_text(model.dir, "config.json", config_text);
    return model;
}

static void write_model(const made_model *model) {
    write_safetensors(
        mlcc_path_join(model->keep, model->dir, "model.safetensors"), model->tensors,
        model->n_tensors);
}

static void drop_model(made_model *model) {
    must(mlcc_dir_remove_tree(model->dir));
    mlcc_arena_free(model->keep);
    mlcc_str_clear(&warnings);
}

static void convert(const made_model *model, const char *mode, int32_t n_threads) {
    must(artifact_convert_weight(
        &(artifact_convert_options){.config = model->dir,
                                    .quantization = mode,
                                    .output = model->out,
                                    .n_threads = n_threads},
        NULL));
}

// All sources of a param below each other.
static float *join(const made_model *model, const ir_param *param, int64_t count) {
    float *all = MLCC_NEW_ARRAY(model->keep, float, (size_t)count);
    int64_t n = 0;
    for (int32_t j = 0; j < param->n_sources; j++) {
        for (size_t i = 0; i < model->n_tensors; i++) {
            if (strcmp(model->tensors[i].name, param->sources[j]) != 0) continue;
            const int64_t more = (int64_t)made_bytes(&model->tensors[i]) /
                                 (int64_t)ir_dtype_bytes(dtype_of(model->tensors[i].dtype));
            memcpy(all + n, model->values[i], (size_t)more * sizeof *all);
            n += more;
        }
    }
    assert_int_equal(n, count);
    return all;
}

static void check_param(
    const made_model *model, const ir_param *param, const mlcc_tensor_cache *cache) {
    const quant_format *format = quant_format_of(param->value.type.dtype);
    int64_t n_rows = 0, columns = 0;
    quant_piece pieces[QUANT_MAX_PIECES];
    int32_t n_pieces = 0;
    must(quant_rows_of(&param->value.type, &n_rows, &columns));
    must(format->pieces(&param->value.type, pieces, &n_pieces));
    const float *values = join(model, param, n_rows * columns);
    void *expected[QUANT_MAX_PIECES];
    for (int32_t i = 0; i < n_pieces; i++)
        expected[i] = mlcc_arena_alloc(model->keep, pieces[i].size_bytes);
    const quant_range all = quant_range_all(n_rows, columns);
    const float largest =
        format->measure != NULL ? format->measure(values, IR_F32, n_rows, columns) : 0.0f;
    format->encode(values, IR_F32, &all, largest, expected);
    for (int32_t i = 0; i < n_pieces; i++) {
        const char *name = quant_piece_name(model->keep, param->value.name, &pieces[i]);
        const mlcc_tensor_record *record = mlcc_tensor_cache_find(cache, name);
        if (record == NULL) fail_msg("no record %s", name);
        assert_int_equal(record->size_bytes, pieces[i].size_bytes);
        if (memcmp(mlcc_tensor_cache_data(cache, record), expected[i], pieces[i].size_bytes) != 0)
            fail_msg("%s differs", name);
    }
}

static void every_mode(void **state) {
    (void)state;
    size_t n_modes = 0;
    const quant_mode *modes = quant_mode_table(&n_modes);
    made_model model = make_model();
    write_model(&model);
    for (size_t i = 0; i < n_modes; i++) {
        convert(&model, modes[i].name, 1 + (int32_t)(i % 3));
        mlcc_tensor_cache *cache = open_store(model.out);
        hf_model_config *config = NULL;
        ir_module *module = NULL;
        must(hf_model_config_read(model.dir, NULL, NULL, model.keep, &config));
        must(convert_module_make(config, &modes[i], model.keep, &module));
        for (size_t p = 0; p < module->n_params; p++) {
            if (!module->params[p]->has_fallback) check_param(&model, module->params[p], cache);
        }
        hf_model_config_free(config);
        mlcc_tensor_cache_close(cache);
    }
    drop_model(&model);
}

static const float *scale_of(const mlcc_tensor_cache *cache, const char *name) {
    const mlcc_tensor_record *record = mlcc_tensor_cache_find(cache, name);
    if (record == NULL) fail_msg("no record %s", name);
    assert_string_equal(record->dtype, "float32");
    return mlcc_tensor_cache_data(cache, record);
}

static void activation_scales(void **state) {
    (void)state;
    made_model model = make_model();
    write_model(&model);
    convert(&model, "e4m3_e4m3_f16", 2);
    // gate_up, down, qkv, o.
    assert_non_null(strstr(mlcc_str_text(&warnings), "4 of 4 activation scales"));
    assert_non_null(strstr(mlcc_str_text(&warnings), "mlcc calibrate"));
    mlcc_tensor_cache *cache = open_store(model.out);
    assert_true(*scale_of(cache, "model.layers.0.mlp.down_proj.q_calibration_scale") == 0.0f);
    mlcc_tensor_cache_close(cache);
    mlcc_str_clear(&warnings);

    // The largest of the joined ones; a vector of one; other types.
    const float low = 0.25f, high = 0.75f, other = 0.5f;
    add_tensor(
        &model, (made_tensor){"model.layers.0.self_attn.k_proj.input_scale", "F32", 1, 0, NULL},
        &low);
    add_tensor(
        &model, (made_tensor){"model.layers.0.self_attn.q_proj.input_scale", "BF16", 1, 0, NULL},
        &high);
    add_tensor(
        &model, (made_tensor){"model.layers.0.mlp.down_proj.input_scale", "F16", 1, 0, NULL},
        &other);
    write_model(&model);
    convert(&model, "e4m3_e4m3_f16", 2);
    assert_non_null(strstr(mlcc_str_text(&warnings), "2 of 4 activation scales"));
    cache = open_store(model.out);
    assert_true(*scale_of(cache, "model.layers.0.self_attn.qkv_proj.q_calibration_scale") == high);
    assert_true(*scale_of(cache, "model.layers.0.mlp.down_proj.q_calibration_scale") == other);
    mlcc_tensor_cache_close(cache);
    mlcc_str_clear(&warnings);
    convert(&model, "fp8_e4m3fn_bf16_block_scale_static_activation", 2);
    cache = open_store(model.out);
    const float *scales = scale_of(cache, "model.layers.0.mlp.down_proj.activation_scale");
    for (int i = 0; i < (FF + 127) / 128; i++) assert_true(scales[i] == other);
    mlcc_tensor_cache_close(cache);
    mlcc_str_clear(&warnings);
    // Modes without activation scales do not mind them.
    convert(&model, "q4f16_1", 2);
    assert_string_equal(mlcc_str_text(&warnings), "");
    drop_model(&model);
}

static void bad_activation_scales(void **state) {
    (void)state;
    made_model model = make_model();
    const float values[2] = {-1.0f, 1.0f};
    add_tensor(
        &model, (made_tensor){"model.layers.0.mlp.down_proj.input_scale", "F32", 2, 0, NULL},
        values);
    model.tensors[model.n_tensors - 1].rows = 1;
    write_model(&model);
    const artifact_convert_options options = {
        .config = model.dir, .quantization = "e4m3_e4m3_f16", .output = model.out, .n_threads = 1};
    must_fail(
        artifact_convert_weight(&options, NULL), MLCC_INVALID,
        "'model.layers.0.mlp.down_proj.input_scale'");
    model.tensors[model.n_tensors - 1].rows = 2;
    write_model(&model);
    must_fail(artifact_convert_weight(&options, NULL), MLCC_INVALID, "has 2 elements; expected 1");
    assert_false(mlcc_dir_exists(model.out));
    drop_model(&model);
}

// diff against sums that are made here.
static void diff_of_a_store_and_its_source(void **state) {
    (void)state;
    made_model model = make_model();
    write_model(&model);
    convert(&model, "q4f16_0", 2);
    artifact_diff_result result;
    const artifact_diff_options options = {.a = model.out, .b = model.dir, .n_threads = 2};
    must(artifact_diff(&options, model.keep, &result));
    assert_int_equal(result.n_only_a + result.n_only_b + result.n_shapes, 0);
    const quant_format *format = quant_format_of(IR_Q4G32T_F16);
    const int64_t n_rows = 2 * FF, columns = D;
    float *values = MLCC_NEW_ARRAY(model.keep, float, (size_t)(n_rows * columns)),
          *decoded = MLCC_NEW_ARRAY(model.keep, float, (size_t)(n_rows * columns));
    memcpy(values, model.values[4], FF * D * sizeof(float));
    memcpy(values + FF * D, model.values[5], FF * D * sizeof(float));
    mlcc_tensor_cache *cache = open_store(model.out);
    const mlcc_tensor_record *words = mlcc_tensor_cache_find(
                                 cache, "model.layers.0.mlp.gate_up_proj.q_weight"),
                             *scales = mlcc_tensor_cache_find(
                                 cache, "model.layers.0.mlp.gate_up_proj.q_scale");
    const void *pieces[2] = {
        mlcc_arena_memdup(
            model.keep, mlcc_tensor_cache_data(cache, words), (size_t)words->size_bytes),
        mlcc_arena_memdup(
            model.keep, mlcc_tensor_cache_data(cache, scales), (size_t)scales->size_bytes)};
    mlcc_tensor_cache_close(cache);
    const quant_range all = quant_range_all(n_rows, columns);
    format->decode(pieces, &all, decoded);
    double largest = 0, squares = 0;
    for (int64_t i = 0; i < n_rows * columns; i++) {
        const double d = (double)decoded[i] - (double)values[i];
        largest = d > largest ? d : -d > largest ? -d : largest;
        squares += d * d;
    }
    bool is_found = false;
    for (size_t i = 0; i < result.n_rows; i++) {
        const diff_row *row = &result.rows[i];
        if (strcmp(row->name, "model.layers.0.mlp.gate_up_proj.weight") != 0) continue;
        is_found = true;
        const double mean = squares / (double)(n_rows * columns);
        assert_true(row->max_abs == largest);
        assert_true(
            row->mean_square_error > mean * (1 - 1e-9) &&
            row->mean_square_error < mean * (1 + 1e-9));
        assert_string_equal(row->format_a, "q4g32t_f16");
        assert_int_equal(row->n_codes_a, 16);
        assert_int_equal(row->n_codes_b, 0);
    }
    assert_true(is_found);
    assert_false(artifact_diff_is_within(&result, 0));
    assert_true(artifact_diff_is_within(&result, result.max_abs));
    drop_model(&model);
}

int main(void) {
    mlcc_log_set(keep_warnings, NULL, MLCC_LOG_WARN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_mode),
        cmocka_unit_test(activation_scales),
        cmocka_unit_test(bad_activation_scales),
        cmocka_unit_test(diff_of_a_store_and_its_source),
    };
    const int n_failed = cmocka_run_group_tests(tests, NULL, NULL);
    mlcc_str_free(&warnings);
    return n_failed;
}
