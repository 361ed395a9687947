// A mixture of experts from a Hugging Face folder to logits: the tiny Mixtral of tests/fixtures, whose logits transformers computed
// (tests/oracle/write_experts.py), and what the stores of every mode hold of its stacks; and the other shapes that stacks have (tests/families/models)
// in four bits.
#include "dist/artifact/compile.h"
#include "dist/artifact/convert_weight.h"
#include "dist/artifact/gen_config.h"
#include "frontend/hf/weight_source.h"
#include "quantization/mode.h"
#include "runtime/mlcc.h"
#include "tests/unit/artifact/artifact_fixture.h"

#include <math.h>

#define LOGIT_ERROR 1e-4

enum { N_SEQUENCES = 4, MAX_TOKENS = 32 };

static const char mixtral[] = "tests/fixtures/mixtral";

typedef struct subject {
    mlcc_arena *keep;
    char *dir;
    mlcc_model *model;
    mlcc_engine *engine;
    float *expected; // [n_ids, vocab]
    int32_t ids[MAX_TOKENS];
    int64_t n_ids, vocab;
} subject;

static void read_mixtral(subject *s) {
    mlcc_json *reference = NULL;
    must(mlcc_json_read_file(mlcc_path_join(s->keep, mixtral, "logits.json"), 0, &reference));
    const mlcc_json_value *ids = mlcc_json_get(mlcc_json_root(reference), "ids");
    const mlcc_json_value *rows = mlcc_json_get(mlcc_json_root(reference), "logits");
    s->n_ids = (int64_t)mlcc_json_count(ids);
    assert_true(s->n_ids <= MAX_TOKENS);
    s->expected = MLCC_NEW_ARRAY(s->keep, float, (size_t)(s->n_ids * s->vocab));
    for (int64_t t = 0; t < s->n_ids; t++) {
        const mlcc_json_value *row = mlcc_json_at(rows, (size_t)t);
        s->ids[t] = (int32_t)mlcc_json_int(mlcc_json_at(ids, (size_t)t));
        for (int64_t i = 0; i < s->vocab; i++)
            s->expected[t * s->vocab + i] = (float)mlcc_json_number(mlcc_json_at(row, (size_t)i));
    }
    mlcc_json_free(reference);
}

static void read_family(subject *s, const char *folder) {
    const char *path = mlcc_path_join(s->keep, folder, "expected.safetensors");
    hf_weight_source *source = NULL;
    const hf_tensor *ids = NULL, *logits = NULL;
    must(hf_safetensors_open(path, s->keep, &source));
    must(hf_weight_source_require(source, "ids", &ids));
    must(hf_weight_source_require(source, "logits", &logits));
    s->n_ids = ids->dims[0];
    assert_true(s->n_ids <= MAX_TOKENS);
    assert_int_equal(logits->dims[1], s->vocab);
    s->expected = MLCC_NEW_ARRAY(s->keep, float, (size_t)(s->n_ids * s->vocab));
    must(source->read(source, ids, 0, ids->size_bytes, s->ids, NULL));
    must(source->read(source, logits, 0, logits->size_bytes, s->expected, NULL));
    source->close(source);
}

static subject open_subject(const char *folder, const char *mode, const char *opt) {
    subject s = {.keep = mlcc_arena_create()};
    s.dir = test_folder_make(s.keep);
    const char *library = mlcc_path_join(s.keep, s.dir, "lib.so");
    must(artifact_gen_config(
        &(artifact_gen_config_options){
            .config = folder, .quantization = mode, .conv_template = "LM", .output = s.dir},
        s.keep));
    must(artifact_convert_weight(
        &(artifact_convert_options){
            .config = folder, .quantization = mode, .output = s.dir, .n_threads = 1},
        NULL));
    must(artifact_compile(
        &(artifact_compile_options){.model = s.dir, .opt = opt, .output = library}, NULL));
    must(mlcc_model_open(
        &(mlcc_model_options){.directory = s.dir, .n_threads = 2, .no_cache = true}, &s.model));
    must(mlcc_engine_create(
        s.model, &(mlcc_engine_options){.max_sequences = N_SEQUENCES + 2, .max_tokens = 1024},
        &s.engine));
    mlcc_model_info info;
    mlcc_model_get_info(s.model, &info);
    s.vocab = info.vocab;
    if (strcmp(folder, mixtral) == 0)
        read_mixtral(&s);
    else
        read_family(&s, folder);
    return s;
}

static void close_subject(subject *s) {
    mlcc_engine_free(s->engine);
    mlcc_model_close(s->model);
    must(mlcc_dir_remove_tree(s->dir));
    mlcc_arena_free(s->keep);
}

// Logits of all tokens in one step, copied: [n_ids, vocab].
static float *prefill(subject *s) {
    int32_t sequence = 0;
    const float *logits = NULL;
    int64_t n_rows = 0;
    must(mlcc_engine_add_sequence(s->engine, &sequence));
    const mlcc_batch_item item = {sequence, s->ids, s->n_ids, MLCC_LOGITS_ALL};
    must(mlcc_engine_step(s->engine, &item, 1, &logits, &n_rows));
    assert_int_equal(n_rows, s->n_ids);
    float *copy = MLCC_NEW_ARRAY(s->keep, float, (size_t)(n_rows * s->vocab));
    memcpy(copy, logits, (size_t)(n_rows * s->vocab) * sizeof *copy);
    mlcc_engine_remove_sequence(s->engine, sequence);
    return copy;
}

static double largest_error(const float *a, const float *b, int64_t n) {
    double worst = 0;
    for (int64_t i = 0; i < n; i++) {
        const double error = fabs((double)a[i] - (double)b[i]);
        if (!(error <= worst)) worst = error; // a NaN is the worst
    }
    return worst;
}

// The same tokens one by one, alone and beside other sequences that stand elsewhere: the bits of prefill.
static void check_steps(subject *s, const float *expected, int32_t n_sequences) {
    int32_t sequences[N_SEQUENCES];
    for (int32_t i = 0; i < n_sequences; i++) {
        must(mlcc_engine_add_sequence(s->engine, &sequences[i]));
        // The last is the one that is looked at; the others have a head start.
        const mlcc_batch_item start = {sequences[i], s->ids, i + 1, MLCC_LOGITS_NONE};
        if (i < n_sequences - 1) must(mlcc_engine_step(s->engine, &start, 1, NULL, NULL));
    }
    for (int64_t t = 0; t < s->n_ids; t++) {
        mlcc_batch_item items[N_SEQUENCES];
        const float *logits = NULL;
        int64_t n_rows = 0;
        for (int32_t i = 0; i < n_sequences; i++)
            items[i] = (mlcc_batch_item){sequences[i], &s->ids[t], 1, MLCC_LOGITS_LAST};
        must(mlcc_engine_step(s->engine, items, n_sequences, &logits, &n_rows));
        const float *row = logits + (n_sequences - 1) * s->vocab;
        const double error = largest_error(row, expected + t * s->vocab, s->vocab);
        if (error > 1e-5) fail_msg("%d sequences, token %d: %g", n_sequences, (int)t, error);
    }
    for (int32_t i = 0; i < n_sequences; i++) mlcc_engine_remove_sequence(s->engine, sequences[i]);
}

static void logits_are_those_of_transformers(void **state) {
    (void)state;
    subject s = open_subject(mixtral, "q0f32", NULL);
    const float *found = prefill(&s);
    const double error = largest_error(found, s.expected, s.n_ids * s.vocab);
    print_message("largest error of the logits: %.2g\n", error);
    assert_true(error <= LOGIT_ERROR);
    check_steps(&s, found, 1);
    check_steps(&s, found, N_SEQUENCES);
    close_subject(&s);
}

// Kullback-Leibler divergence of the distribution behind logits `b` from that behind `a`, mean over rows.
static double divergence_of(const subject *s, const float *a, const float *b) {
    double divergence = 0;
    for (int64_t t = 0; t < s->n_ids; t++) {
        const float *p = a + t * s->vocab, *q = b + t * s->vocab;
        double sums[2] = {0}, mean = 0;
        for (int64_t i = 0; i < s->vocab; i++) {
            sums[0] += exp((double)p[i]);
            sums[1] += exp((double)q[i]);
        }
        const double shift = log(sums[1]) - log(sums[0]);
        for (int64_t i = 0; i < s->vocab; i++)
            mean += exp((double)p[i]) / sums[0] * ((double)p[i] - (double)q[i] + shift);
        divergence += mean / (double)s->n_ids;
    }
    return divergence;
}

// Few bits are not the model any more, but prefill and decode are still one computation; and rounding the experts' activations to bytes, where this
// machine does, costs next to nothing.
static void check_bytes(const char *mode) {
    subject exact = open_subject(mixtral, mode, "exact"),
            rounded = open_subject(mixtral, mode, NULL);
    const float *a = prefill(&exact), *b = prefill(&rounded);
    check_steps(&exact, a, 1);
    check_steps(&exact, a, N_SEQUENCES);
    check_steps(&rounded, b, 1);
    check_steps(&rounded, b, N_SEQUENCES);
    const double divergence = divergence_of(&exact, a, b);
    print_message(
        "%s: largest difference of logits %.2g, mean divergence %.2g\n", mode,
        largest_error(a, b, exact.n_ids * exact.vocab), divergence);
    assert_true(divergence <= 1e-3);
    close_subject(&exact);
    close_subject(&rounded);
}

static void four_bits(void **state) {
    (void)state;
    check_bytes("q4f16_1");
}

static void eight_bits(void **state) {
    (void)state;
    check_bytes("q8f16_1");
}

// Of all numbers, 1: the same up to a factor and an offset.
static double correlation(const float *a, const float *b, int64_t n) {
    double mean_a = 0, mean_b = 0, ab = 0, aa = 0, bb = 0;
    for (int64_t i = 0; i < n; i++) {
        mean_a += (double)a[i] / (double)n;
        mean_b += (double)b[i] / (double)n;
    }
    for (int64_t i = 0; i < n; i++) {
        const double x = (double)a[i] - mean_a, y = (double)b[i] - mean_b;
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    return ab / sqrt(aa * bb);
}

// Stacks as other types have them: what the store holds of them in four bits, and that prefill and decode are one computation.
static void shapes_of_stacks_in_four_bits(void **state) {
    (void)state;
    // clang-format off
    static const struct {
        const char *folder, *stacks[2], *bias; // bias: of the first stack, or NULL
        int64_t n_experts, d_ff, d_model;
    } cases[] = {
        {"tests/families/models/gpt_oss_mxfp4",        {"mlp.moe_gate_up_proj", "mlp.moe_down_proj"}, "mlp.moe_gate_up_proj.bias", 3, 64, 32},
        {"tests/families/models/gpt_oss_stacks",       {"mlp.moe_gate_up_proj", "mlp.moe_down_proj"}, "mlp.moe_gate_up_proj.bias", 4, 20, 24},
        {"tests/families/models/qwen2_moe_shared",     {"mlp.moe_gate_up_proj", "mlp.moe_down_proj"}, NULL,                        5, 12, 24},
        {"tests/families/models/deepseek_first_dense", {"mlp.moe_gate_up_proj", "mlp.moe_down_proj"}, NULL,                        6, 10, 24},
        {"tests/families/models/granitemoe_gqa",       {"moe.e1_e3",            "moe.e2"},            NULL,                        5, 14, 24},
        {"tests/families/models/minicpm_experts",      {"mlp.e1_e3",            "mlp.e2"},            NULL,                        4, 14, 24},
    };
    // clang-format on
    static const char *const names[] = {"gate_up", "down"};
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        subject s = open_subject(cases[c].folder, "q4f16_1", "exact");
        mlcc_tensor_cache *store = open_store(s.dir);
        const int64_t rows[] = {2 * cases[c].d_ff, cases[c].d_model};
        for (int i = 0; i < 2; i++) {
            const mlcc_tensor_record *record = mlcc_tensor_cache_find(
                store, mlcc_arena_printf(s.keep, "model.layers.1.%s.q_weight", cases[c].stacks[i]));
            if (record == NULL) fail_msg("%s has no codes of the stack %s", s.dir, names[i]);
            assert_int_equal(record->rank, 3);
            assert_int_equal(record->dims[0], cases[c].n_experts);
            assert_int_equal(record->dims[1], rows[i]);
        }
        if (cases[c].bias != NULL) {
            const mlcc_tensor_record *bias = mlcc_tensor_cache_find(
                store, mlcc_arena_printf(s.keep, "model.layers.1.%s", cases[c].bias));
            assert_non_null(bias);
            assert_int_equal(bias->rank, 2);
            assert_int_equal(bias->dims[1], 2 * cases[c].d_ff);
            assert_int_equal(bias->size_bytes, bias->dims[0] * bias->dims[1] * 2);
        }
        mlcc_tensor_cache_close(store);
        const float *found = prefill(&s);
        print_message(
            "%s: correlation with the model in float %.4f\n", cases[c].folder,
            correlation(found, s.expected, s.n_ids * s.vocab));
        check_steps(&s, found, 1);
        check_steps(&s, found, N_SEQUENCES);
        close_subject(&s);
    }
}

// Stacks keep three dimensions in every store, and the linear that chooses stays in float.
static void stores_of_every_mode(void **state) {
    (void)state;
    size_t n_modes = 0;
    const quant_mode *modes = quant_mode_table(&n_modes);
    for (size_t i = 0; i < n_modes; i++) {
        mlcc_arena *keep = mlcc_arena_create();
        char *dir = test_folder_make(keep);
        must(artifact_convert_weight(
            &(artifact_convert_options){
                .config = mixtral, .quantization = modes[i].name, .output = dir, .n_threads = 1},
            NULL));
        mlcc_tensor_cache *store = open_store(dir);
        int n_stacks = 0;
        for (size_t r = 0; r < store->n_records; r++) {
            const mlcc_tensor_record *record = &store->records[r];
            if (strstr(record->name, ".moe.e") == NULL || record->rank < 2) continue;
            n_stacks++;
            assert_int_equal(record->rank, 3);
            assert_int_equal(record->dims[0], 4);
        }
        assert_true(n_stacks >= 4); // two stacks a layer, in one piece or two
        const mlcc_tensor_record *gate =
            mlcc_tensor_cache_find(store, "model.layers.1.moe.gate.weight");
        assert_non_null(gate);
        assert_int_equal(gate->rank, 2);
        assert_int_equal(gate->dims[0], 4);
        mlcc_tensor_cache_close(store);
        must(mlcc_dir_remove_tree(dir));
        mlcc_arena_free(keep);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stores_of_every_mode),
        cmocka_unit_test(logits_are_those_of_transformers),
        cmocka_unit_test(four_bits),
        cmocka_unit_test(eight_bits),
        cmocka_unit_test(shapes_of_stacks_in_four_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
