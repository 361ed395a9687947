// quantize_activations on a small Llama, with weights that went through their stored format: what it adds, that every later pass keeps the
// logits to the last bit, and what the modes have in common.
#include "frontend/import.h"
#include "ir/eval.h"
#include "ir/verify.h"
#include "passes/pipeline.h"
#include "quantization/format.h"
#include "tests/support/random_module.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N_TOKENS = 5, VOCAB = 11, D_MODEL = 132, N_LAYERS = 2, LINEARS = 4, MAX_RETURNS = 32 };

static const char config_text[] =
    "{\"model_type\":\"llama\",\"hidden_size\":132,\"intermediate_size\":260,"
    "\"num_attention_heads\":2,\"num_key_value_heads\":1,\"head_dim\":4,\"num_hidden_layers\":%d,"
    "\"rms_norm_eps\":1e-06,\"vocab_size\":11,\"max_position_embeddings\":40}";

static const char *const modes[] = {
    "e5m2_e5m2_f16", "e4m3_e4m3_f16", "e4m3_e4m3_f16_max_calibrate", "fp8_e4m3fn_bf16_block_scale",
    "fp8_e4m3fn_bf16_block_scale_static_activation"};
enum { N_MODES = sizeof modes / sizeof modes[0] };

static void assert_ok(mlcc_status *status) {
    if (status == NULL) return;
    char *text = mlcc_status_format(status, 1);
    print_error("%s", text);
    free(text);
    fail();
}

typedef struct model {
    mlcc_arena *keep, *scratch;
    hf_model_config *config;
    ir_module *plain; // as imported: tells the rows of every source
    ir_module *module;
    const quant_mode *mode;
    float scale; // of every scale param; 0 = its fallback
} model;

static model make_model(const char *mode, ir_dtype activations, int n_layers) {
    model m = {.keep = mlcc_arena_create(), .scratch = mlcc_arena_create()};
    const char *text = mlcc_arena_printf(m.keep, config_text, n_layers);
    assert_ok(
        hf_model_config_parse(text, strlen(text), "config.json", NULL, NULL, m.keep, &m.config));
    const import_options options = {activations, IR_F32, 7, 3, false};
    assert_ok(import_model(m.config, &options, m.keep, &m.plain));
    assert_ok(import_model(m.config, &options, m.keep, &m.module));
    assert_ok(quant_mode_find(mode, &m.mode));
    return m;
}

static void free_model(model *m) {
    hf_model_config_free(m->config);
    mlcc_arena_free(m->scratch);
    mlcc_arena_free(m->keep);
}

// ---- weights -----------------------------------------------------------------------------------

static int64_t rows_of_source(const model *m, const char *source) {
    for (size_t i = 0; i < m->plain->n_params; i++) {
        const ir_param *param = m->plain->params[i];
        if (strcmp(param->sources[0], source) == 0) return param->value.type.dims[0].value;
    }
    fail_msg("nobody has the source '%s'", source);
    return 0;
}

// Numbers that follow from the name.
static void fill_source(const char *source, bool is_vector, int64_t count, float *out) {
    random_state random = {7};
    for (const char *c = source; *c != '\0'; c++) random.state = random.state * 31 + (uint8_t)*c;
    for (int64_t i = 0; i < count; i++) {
        const double number = random_unit(&random);
        out[i] = is_vector ? (float)(1.0 + number / 4) : (float)(number * number * number / 4);
    }
}

// What a store that mlcc wrote would give back.
static void through_the_format(const ir_type *type, float *values) {
    const quant_format *format = quant_format_of(type->dtype);
    quant_piece pieces[QUANT_MAX_PIECES];
    void *memory[QUANT_MAX_PIECES] = {0};
    int32_t n_pieces = 0;
    int64_t n_rows = 0, columns = 0;
    assert_ok(format->pieces(type, pieces, &n_pieces));
    assert_ok(quant_rows_of(type, &n_rows, &columns));
    const quant_range all = quant_range_all(n_rows, columns);
    for (int32_t i = 0; i < n_pieces; i++) memory[i] = calloc(1, pieces[i].size_bytes);
    float largest = 0;
    if (format->measure != NULL) largest = format->measure(values, IR_F32, n_rows, columns);
    format->encode(values, IR_F32, &all, largest, memory);
    const void *stored[QUANT_MAX_PIECES] = {memory[0], memory[1], memory[2], memory[3]};
    format->decode(stored, &all, values);
    for (int32_t i = 0; i < n_pieces; i++) free(memory[i]);
}

static mlcc_status *read_param(
    void *user, const ir_param *param, mlcc_arena *keep, ir_tensor **out) {
    const model *m = user;
    const ir_type *type = &param->value.type;
    int64_t dims[IR_MAX_RANK] = {0};
    for (int32_t i = 0; i < type->rank; i++) dims[i] = type->dims[i].value;
    *out = ir_tensor_create(keep, type->dtype, type->rank, dims);
    float *values = (*out)->f32;
    if (param->has_fallback) {
        for (int64_t i = 0; i < ir_tensor_count(*out); i++)
            values[i] = m->scale != 0 ? m->scale : (float)param->fallback;
        return NULL;
    }
    const int64_t columns = type->rank > 1 ? dims[1] : 1;
    for (int32_t i = 0; i < param->n_sources; i++) {
        const int64_t count = rows_of_source(m, param->sources[i]) * columns;
        fill_source(param->sources[i], type->rank == 1, count, values);
        values += count;
    }
    assert_ptr_equal(values, (*out)->f32 + ir_tensor_count(*out));
    through_the_format(type, (*out)->f32);
    return NULL;
}

// ---- running -----------------------------------------------------------------------------------

static mlcc_status *choose_kernel(
    void *user, const ir_function *group, const char **kernel, mlcc_str *why) {
    (void)user;
    (void)group;
    (void)why;
    *kernel = "stub";
    return NULL;
}

static const char *choose_layout(void *user, ir_op op, int32_t operand, const ir_type *type) {
    (void)user;
    (void)op;
    (void)operand;
    (void)type;
    return "rows";
}

static void run_pass(model *m, const char *name) {
    pass_target target = {.choose_kernel = choose_kernel, .choose_layout = choose_layout};
    pass_context context = {.scratch = m->scratch, .mode = m->mode, .target = &target};
    const pass_options options = {.only = &name, .n_only = 1, .limit = -1};
    assert_ok(pass_pipeline_run(m->module, &options, &context));
}

// The module as quantize_activations finds it.
static void prepare(model *m) {
    run_pass(m, "canonicalize");
    run_pass(m, "fuse_projections");
    run_pass(m, "quantize");
}

static ir_tensor *integers(mlcc_arena *keep, int64_t count, int32_t first, int32_t step) {
    ir_tensor *tensor = ir_tensor_create(keep, IR_I32, 1, &count);
    for (int64_t i = 0; i < count; i++) tensor->i32[i] = first + step * (int32_t)i;
    return tensor;
}

// Results of @forward on five tokens of one sequence; maxima start at zero.
static ir_tensor **forward(model *m) {
    const ir_function *f = ir_module_find(m->module, "forward");
    ir_tensor **args = MLCC_NEW_ARRAY(m->keep, ir_tensor *, (size_t)f->n_args);
    ir_tensor **results = MLCC_NEW_ARRAY(m->keep, ir_tensor *, MAX_RETURNS);
    args[0] = integers(m->keep, N_TOKENS, 1, 2);
    args[1] = integers(m->keep, N_TOKENS, 0, 1);
    args[2] = integers(m->keep, N_TOKENS, 0, 0);
    args[3] = ir_tensor_create(m->keep, IR_I32, 2, (int64_t[]){1, 1});
    args[4] = integers(m->keep, 1, N_TOKENS - 1, 0);
    for (int32_t i = 5; i < f->n_args; i++) {
        int64_t dims[IR_MAX_RANK] = {0};
        const ir_type *type = &f->args[i]->type;
        for (int32_t d = 0; d < type->rank; d++)
            dims[d] = type->dims[d].symbol != NULL ? 1 : type->dims[d].value;
        args[i] = ir_tensor_create(m->keep, type->dtype, type->rank, dims);
    }
    assert_true(f->n_returns <= MAX_RETURNS);
    const ir_eval_options options = {.param = read_param, .user = m};
    assert_ok(ir_eval_function(f, args, &options, m->keep, results));
    return results;
}

static void expect_same_bits(const ir_tensor *a, const ir_tensor *b, const char *what) {
    assert_int_equal(ir_tensor_count(a), ir_tensor_count(b));
    const size_t size_bytes = (size_t)ir_tensor_count(a) * sizeof(float);
    if (memcmp(a->f32, b->f32, size_bytes) != 0) fail_msg("%s changed a result", what);
}

// Mean square difference of the logits over their mean square.
static double relative_error(const ir_tensor *a, const ir_tensor *b) {
    double error = 0, size = 0;
    for (int64_t i = 0; i < ir_tensor_count(a); i++) {
        error += pow((double)a->f32[i] - (double)b->f32[i], 2);
        size += pow((double)a->f32[i], 2);
    }
    return sqrt(error / size);
}

static int32_t count_nodes(const ir_module *module, ir_op op) {
    int32_t count = 0;
    for (size_t f = 0; f < module->n_functions; f++) {
        for (const ir_node *node = module->functions[f]->first; node != NULL; node = node->next)
            count += node->op == op;
    }
    return count;
}

// ---- tests -------------------------------------------------------------------------------------

static void later_passes_keep_every_bit(void **state) {
    (void)state;
    static const char *const later[] = {
        "fold",           "prune",          "fuse_norm",  "fuse_elementwise",
        "select_kernels", "choose_layouts", "plan_memory"};
    for (int i = 0; i < N_MODES; i++) {
        for (int d = 0; d < 2; d++) {
            model m = make_model(modes[i], d == 0 ? IR_F32 : IR_BF16, N_LAYERS);
            m.scale = d == 0 ? 0.0f : 0.03f;
            prepare(&m);
            ir_tensor **before = forward(&m);
            run_pass(&m, "quantize_activations");
            assert_int_equal(count_nodes(m.module, IR_OP_QUANTIZE_ACTIVATION), N_LAYERS * LINEARS);
            ir_tensor **rounded = forward(&m);
            const double error = relative_error(before[0], rounded[0]);
            print_message("%s: relative error of the logits %.3f\n", modes[i], error);
            assert_true(error > 1e-4 && error < (i == 0 ? 0.3 : 0.15));
            for (size_t p = 0; p < sizeof later / sizeof later[0]; p++) {
                run_pass(&m, later[p]);
                ir_tensor **after = forward(&m);
                const ir_function *f = ir_module_find(m.module, "forward");
                for (int32_t r = 0; r < f->n_returns; r++)
                    expect_same_bits(rounded[r], after[r], later[p]);
            }
            assert_ok(ir_verify(m.module, IR_LEVEL_PLAN));
            free_model(&m);
        }
    }
}

static int32_t count_groups(const char *mode, int n_layers) {
    model m = make_model(mode, IR_F32, n_layers);
    prepare(&m);
    run_pass(&m, "quantize_activations");
    run_pass(&m, "fuse_norm");
    run_pass(&m, "fuse_elementwise");
    int32_t count = 0;
    for (size_t f = 0; f < m.module->n_functions; f++) count += m.module->functions[f]->is_group;
    free_model(&m);
    return count;
}

static void equal_layers_share_their_groups(void **state) {
    (void)state;
    for (int i = 0; i < N_MODES; i++)
        assert_int_equal(count_groups(modes[i], 2), count_groups(modes[i], 4));
}

// A scale param that says "at run time" is the mode without the param.
static void markers_are_dynamic_scales(void **state) {
    (void)state;
    static const char *const pairs[][2] = {
        {"e4m3_e4m3_f16", "e4m3_e4m3_f16_max_calibrate"},
        {"fp8_e4m3fn_bf16_block_scale_static_activation", "fp8_e4m3fn_bf16_block_scale"}};
    for (int i = 0; i < 2; i++) {
        ir_tensor *logits[2];
        model m[2];
        for (int j = 0; j < 2; j++) {
            m[j] = make_model(pairs[i][j], IR_F32, N_LAYERS);
            prepare(&m[j]);
            run_pass(&m[j], "quantize_activations");
            logits[j] = forward(&m[j])[0];
        }
        expect_same_bits(logits[0], logits[1], pairs[i][0]);
        m[0].scale = 0.5f;
        assert_true(relative_error(logits[1], forward(&m[0])[0]) > 0);
        for (int j = 0; j < 2; j++) free_model(&m[j]);
    }
}

static ir_tensor *value_of(model *m, const char *name) {
    const ir_param *param = ir_module_find_param(m->module, name);
    assert_non_null(param);
    ir_tensor *tensor = NULL;
    assert_ok(read_param(m, param, m->keep, &tensor));
    return tensor;
}

// The largest input of the first layer's projections, worked out by hand.
static float first_maximum(model *m) {
    const ir_tensor *table = value_of(m, "model.embed_tokens.weight");
    const ir_tensor *gain = value_of(m, "model.layers.0.input_layernorm.weight");
    double largest = 0;
    for (int64_t token = 0; token < N_TOKENS; token++) {
        const float *row = table->f32 + (1 + 2 * token) * D_MODEL;
        double sum = 0;
        for (int64_t i = 0; i < D_MODEL; i++) sum += (double)row[i] * (double)row[i];
        for (int64_t i = 0; i < D_MODEL; i++) {
            const double number =
                (double)row[i] * (double)gain->f32[i] / sqrt(sum / (double)D_MODEL + 1e-6);
            largest = fmax(largest, fabs(number));
        }
    }
    return (float)largest;
}

static void maxima_are_recorded(void **state) {
    (void)state;
    static const char *const names[] = {
        "model.layers.0.self_attn.qkv_proj.q_calibration_scale",
        "model.layers.0.self_attn.o_proj.q_calibration_scale",
        "model.layers.0.mlp.gate_up_proj.q_calibration_scale",
        "model.layers.0.mlp.down_proj.q_calibration_scale"};
    model m = make_model("e4m3_e4m3_f16_max_calibrate", IR_F32, N_LAYERS);
    prepare(&m);
    const ir_function *f = ir_module_find(m.module, "forward");
    const int32_t n_args = f->n_args, n_returns = f->n_returns;
    run_pass(&m, "quantize_activations");
    assert_int_equal(f->n_args, n_args + N_LAYERS * LINEARS);
    assert_int_equal(f->n_returns, n_returns + N_LAYERS * LINEARS);
    for (int i = 0; i < LINEARS; i++) assert_string_equal(f->args[n_args + i]->name, names[i]);
    assert_int_equal(count_nodes(m.module, IR_OP_OBSERVE_MAX), N_LAYERS * LINEARS);
    ir_tensor **results = forward(&m);
    assert_true(fabsf(results[n_returns]->f32[0] - first_maximum(&m)) < 1e-5f);
    for (int32_t i = 0; i < N_LAYERS * LINEARS; i++) {
        assert_true(results[n_returns + i]->f32[0] > 0);
        assert_int_equal(ir_tensor_count(results[n_returns + i]), 1);
    }
    // The pass finds its own work done.
    run_pass(&m, "quantize_activations");
    assert_int_equal(f->n_returns, n_returns + N_LAYERS * LINEARS);
    assert_int_equal(count_nodes(m.module, IR_OP_QUANTIZE_ACTIVATION), N_LAYERS * LINEARS);
    free_model(&m);
}

static void scale_params_stand_behind_their_weight(void **state) {
    (void)state;
    model m = make_model("e4m3_e4m3_f16", IR_F32, N_LAYERS);
    prepare(&m);
    run_pass(&m, "quantize_activations");
    run_pass(&m, "prune");
    int32_t n_scales = 0;
    for (size_t i = 1; i < m.module->n_params; i++) {
        const ir_param *param = m.module->params[i], *weight = m.module->params[i - 1];
        assert_int_equal(param->value.index, i);
        if (!param->has_fallback) continue;
        n_scales++;
        const size_t stem = strlen(weight->value.name) - strlen("weight");
        assert_int_equal(strncmp(param->value.name, weight->value.name, stem), 0);
        assert_string_equal(param->value.name + stem, "q_calibration_scale");
        assert_int_equal(weight->value.type.dtype, IR_E4M3_F32);
        assert_int_equal(param->n_sources, weight->n_sources);
    }
    assert_int_equal(n_scales, N_LAYERS * LINEARS);
    free_model(&m);
}

static void modules_kept_in_float_are_left_alone(void **state) {
    (void)state;
    static const char *const kept[] = {"model.layers.1.mlp.down_proj"};
    const quant_options options = {.float_modules = kept, .n_float_modules = 1};
    for (int i = 0; i < N_MODES; i++) {
        model m = make_model(modes[i], IR_F32, N_LAYERS);
        assert_ok(quant_mode_resolve(modes[i], &options, m.keep, &m.mode));
        prepare(&m);
        run_pass(&m, "quantize_activations");
        assert_int_equal(count_nodes(m.module, IR_OP_QUANTIZE_ACTIVATION), N_LAYERS * LINEARS - 1);
        free_model(&m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(later_passes_keep_every_bit),
        cmocka_unit_test(equal_layers_share_their_groups),
        cmocka_unit_test(markers_are_dynamic_scales),
        cmocka_unit_test(maxima_are_recorded),
        cmocka_unit_test(scale_params_stand_behind_their_weight),
        cmocka_unit_test(modules_kept_in_float_are_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
