// Encoders against Hugging Face transformers: every folder of tests/families/encoders (tests/oracle/write_encoder.py wrote it) goes through gen_config,
// convert_weight and compile, and gives the hidden states and vectors that stand beside it: every text alone, all of them in one pass, in passes that
// hold one or two; in other modes nearly the same; on CUDA through the interpreter.
//
// An argument names one model; none means all.
#include "codegen/cuda/nvrtc.h"
#include "dist/artifact/compile.h"
#include "dist/artifact/convert_weight.h"
#include "dist/artifact/gen_config.h"
#include "frontend/hf/weight_source.h"
#include "runtime/base/str.h"
#include "runtime/mlcc.h"
#include "tests/unit/artifact/artifact_fixture.h"

#include <math.h>

#define ROW_ERROR 2e-3
enum { MAX_TEXTS = 16 };

static const char folder[] = "tests/families/encoders";
static const char *only;

typedef struct subject {
    mlcc_arena *keep;
    const char *name, *source;
    char *output;
    hf_weight_source *file;
    int64_t n_texts, n_tokens, width;
    mlcc_encoder_item items[MAX_TEXTS];
    const float *rows; // [n_tokens, width]
    mlcc_model *model;
    mlcc_encoder *encoder;
} subject;

static const void *read_tensor(const subject *s, const char *name, int64_t dims[2]) {
    const hf_tensor *tensor = NULL;
    must(hf_weight_source_require(s->file, name, &tensor));
    char *data = MLCC_NEW_ARRAY(s->keep, char, tensor->size_bytes);
    must(s->file->read(s->file, tensor, 0, tensor->size_bytes, data, NULL));
    dims[0] = tensor->dims[0];
    dims[1] = tensor->rank > 1 ? tensor->dims[1] : 1;
    return data;
}

static subject make_subject(const char *name) {
    subject s = {.keep = mlcc_arena_create(), .name = name};
    s.source = mlcc_path_join(s.keep, folder, name);
    int64_t dims[2];
    must(hf_safetensors_open(
        mlcc_path_join(s.keep, s.source, "expected.safetensors"), s.keep, &s.file));
    const int32_t *ids = read_tensor(&s, "ids", dims);
    s.n_tokens = dims[0];
    const int32_t *lengths = read_tensor(&s, "lengths", dims);
    s.n_texts = dims[0];
    assert_in_range(s.n_texts, 2, MAX_TEXTS);
    for (int64_t i = 0; i < s.n_texts; ids += lengths[i++])
        s.items[i] = (mlcc_encoder_item){ids, lengths[i]};
    s.rows = read_tensor(&s, "rows", dims);
    assert_int_equal(dims[0], s.n_tokens);
    s.width = dims[1];
    return s;
}

static void drop_subject(subject *s) {
    s->file->close(s->file);
    mlcc_arena_free(s->keep);
}

static void open_as(subject *s, const char *mode, const char *device, const char *overrides) {
    s->output = test_folder_make(s->keep);
    must(artifact_gen_config(
        &(artifact_gen_config_options){
            .config = s->source, .quantization = mode, .output = s->output},
        s->keep));
    must(artifact_convert_weight(
        &(artifact_convert_options){
            .config = s->source, .quantization = mode, .output = s->output, .n_threads = 1},
        NULL));
    must(artifact_compile(
        &(artifact_compile_options){.model = s->output,
                                    .device = device,
                                    .overrides = overrides,
                                    .output = mlcc_path_join(s->keep, s->output, "lib.so")},
        NULL));
    must(mlcc_model_open(
        &(mlcc_model_options){.directory = s->output, .n_threads = 2, .no_cache = true},
        &s->model));
    must(mlcc_encoder_create(s->model, &s->encoder));
}

static void close_all(subject *s) {
    mlcc_encoder_free(s->encoder);
    mlcc_model_close(s->model);
    must(mlcc_dir_remove_tree(s->output));
}

static void check_near(
    const subject *s, const char *how, const float *found, const float *expected, int64_t n) {
    double worst = 0;
    for (int64_t i = 0; i < n; i++) {
        const double error = fabs((double)found[i] - (double)expected[i]);
        if (!(error <= worst)) worst = error;
    }
    if (!(worst <= ROW_ERROR)) fail_msg("%s, %s: off by %g", s->name, how, worst);
}

static float *all_rows(const subject *s) {
    float *rows = MLCC_NEW_ARRAY(s->keep, float, (size_t)(s->n_tokens * s->width));
    must(mlcc_encoder_rows(s->encoder, s->items, s->n_texts, rows));
    return rows;
}

static void check_rows(const subject *s) {
    const float *together = all_rows(s);
    check_near(s, "all texts at once", together, s->rows, s->n_tokens * s->width);
    float *alone = MLCC_NEW_ARRAY(s->keep, float, (size_t)(s->n_tokens * s->width));
    for (int64_t i = 0; i < s->n_texts; i++) {
        const int64_t n = s->items[i].n_tokens * s->width;
        must(mlcc_encoder_rows(s->encoder, &s->items[i], 1, alone));
        assert_memory_equal(alone, together, (size_t)n * sizeof *alone);
        together += n;
    }
}

static void check_pooling(const subject *s) {
    float *found = MLCC_NEW_ARRAY(s->keep, float, (size_t)(s->n_texts * s->width));
    int64_t dims[2];
    for (int pooling = MLCC_POOLING_CLS; pooling <= MLCC_POOLING_LAST; pooling++) {
        const mlcc_embed_options how = {(mlcc_pooling)pooling, MLCC_NORMALIZE_OFF};
        const char *name = mlcc_arena_printf(s->keep, "pooled.%s", mlcc_pooling_name(how.pooling));
        must(mlcc_encoder_embed(s->encoder, s->items, s->n_texts, &how, found));
        check_near(s, name, found, read_tensor(s, name, dims), s->n_texts * s->width);
    }
    must(mlcc_encoder_embed(s->encoder, s->items, s->n_texts, NULL, found));
    check_near(
        s, "as the folder says", found, read_tensor(s, "embedding", dims), s->n_texts * s->width);
    const mlcc_embed_options how = {MLCC_POOLING_MAX, MLCC_NORMALIZE_ON};
    must(mlcc_encoder_embed(s->encoder, s->items, s->n_texts, &how, found));
    double square = 0;
    for (int64_t i = 0; i < s->width; i++) square += (double)found[i] * (double)found[i];
    assert_true(fabs(square - 1) < 1e-6);
}

static void check_refused(const subject *s) {
    mlcc_encoder_info info;
    mlcc_encoder_get_info(s->encoder, &info);
    assert_int_equal(info.width, s->width);
    float *vector = MLCC_NEW_ARRAY(s->keep, float, (size_t)s->width);
    int32_t *ids = MLCC_NEW_ARRAY(s->keep, int32_t, (size_t)info.max_tokens + 1);
    mlcc_encoder_item item = {ids, info.max_tokens};
    must(mlcc_encoder_embed(s->encoder, &item, 1, NULL, vector));
    item.n_tokens++;
    must_fail(
        mlcc_encoder_embed(s->encoder, &item, 1, NULL, vector), MLCC_INVALID, "tokens; accepted");
    item.n_tokens = 0;
    must_fail(mlcc_encoder_embed(s->encoder, &item, 1, NULL, vector), MLCC_INVALID, "has 0 tokens");
    item.n_tokens = 2;
    ids[1] = (int32_t)info.vocab;
    must_fail(mlcc_encoder_embed(s->encoder, &item, 1, NULL, vector), MLCC_INVALID, "token 1 of");
    must_fail(mlcc_encoder_embed(s->encoder, &item, 0, NULL, vector), MLCC_INVALID, "no text");
    ids[1] = 0;
    const mlcc_embed_options wrong = {(mlcc_pooling)17, MLCC_NORMALIZE_ON};
    must_fail(mlcc_encoder_embed(s->encoder, &item, 1, &wrong, vector), MLCC_INVALID, "pooling 17");
    mlcc_engine *engine = NULL;
    must_fail(mlcc_engine_create(s->model, NULL, &engine), MLCC_UNSUPPORTED, "is an encoder");
}

// The model's own texts through its own tokenizer.
static void check_tokenizer(const subject *s) {
    mlcc_tokenizer *tokenizer = NULL;
    char *text = NULL;
    size_t length = 0, n_ids = 0;
    must(mlcc_tokenizer_open(s->source, &tokenizer));
    must(mlcc_file_read(mlcc_path_join(s->keep, s->source, "texts.txt"), 1 << 20, &text, &length));
    const char *line = text;
    for (int64_t i = 0; i < s->n_texts; i++) {
        int32_t *ids = NULL;
        const size_t line_bytes = strcspn(line, "\n");
        must(mlcc_tokenizer_encode(tokenizer, line, line_bytes, true, &ids, &n_ids));
        assert_int_equal(n_ids, s->items[i].n_tokens);
        assert_memory_equal(ids, s->items[i].tokens, n_ids * sizeof *ids);
        free(ids);
        line += line_bytes + 1;
    }
    free(text);
    mlcc_tokenizer_close(tokenizer);
}

static void check_exact(subject *s) {
    open_as(s, "q0f32", "cpu", NULL);
    check_rows(s);
    check_pooling(s);
    check_refused(s);
    check_tokenizer(s);
    const float *rows = all_rows(s);
    close_all(s);
    // A pass as long as the longest text: few go together.
    int64_t longest = 0;
    for (int64_t i = 0; i < s->n_texts; i++)
        if (s->items[i].n_tokens > longest) longest = s->items[i].n_tokens;
    open_as(s, "q0f32", "cpu", mlcc_arena_printf(s->keep, "prefill_chunk_size=%d", (int)longest));
    assert_memory_equal(all_rows(s), rows, (size_t)(s->n_tokens * s->width) * sizeof *rows);
    close_all(s);
}

// Cosine of the angle between what two modes make of a text.
static double likeness(const float *a, const float *b, int64_t n) {
    double product = 0, squares[2] = {0, 0};
    for (int64_t i = 0; i < n; i++) {
        product += (double)a[i] * (double)b[i];
        squares[0] += (double)a[i] * (double)a[i];
        squares[1] += (double)b[i] * (double)b[i];
    }
    return product / sqrt(squares[0] * squares[1]);
}

static void check_modes(subject *s) {
    static const struct {
        const char *mode;
        double least;
    } rows[] = {
        {"q0bf16", 0.999},  {"q8f16_1", 0.999},      {"q4f16_1", 0.95},
        {"q4f16_ft", 0.95}, {"e4m3_e4m3_f16", 0.95},
    };
    int64_t dims[2];
    const float *expected = read_tensor(s, "pooled.mean", dims);
    float *found = MLCC_NEW_ARRAY(s->keep, float, (size_t)(s->n_texts * s->width));
    const mlcc_embed_options how = {MLCC_POOLING_MEAN, MLCC_NORMALIZE_OFF};
    for (size_t m = 0; m < sizeof rows / sizeof rows[0]; m++) {
        open_as(s, rows[m].mode, "cpu", NULL);
        must(mlcc_encoder_embed(s->encoder, s->items, s->n_texts, &how, found));
        for (int64_t i = 0; i < s->n_texts; i++) {
            const double cosine = likeness(found + i * s->width, expected + i * s->width, s->width);
            if (!(cosine >= rows[m].least))
                fail_msg("%s, %s, text %d: %g", s->name, rows[m].mode, (int)i, cosine);
        }
        close_all(s);
    }
}

static void check_on_cuda(subject *s) {
    open_as(s, "q0f32", "cuda:compute_80", NULL);
    check_near(s, "on CUDA", all_rows(s), s->rows, s->n_tokens * s->width);
    close_all(s);
}

static void for_each_model(void (*check)(subject *s)) {
    mlcc_arena *keep = mlcc_arena_create();
    char **names = NULL;
    size_t n_names = 0, n_checked = 0;
    must(mlcc_dir_list(folder, keep, &names, &n_names));
    for (size_t i = 0; i < n_names; i++) {
        if (only != NULL && strcmp(only, names[i]) != 0) continue;
        print_message("%s\n", names[i]);
        subject s = make_subject(names[i]);
        check(&s);
        drop_subject(&s);
        n_checked++;
    }
    assert_true(n_checked > 0);
    mlcc_arena_free(keep);
}

static void test_exact(void **state) {
    (void)state;
    for_each_model(check_exact);
}

static void test_modes(void **state) {
    (void)state;
    for_each_model(check_modes);
}

static void test_on_cuda(void **state) {
    (void)state;
    nvrtc_library *nvrtc = NULL;
    mlcc_status *status = nvrtc_open(&nvrtc);
    nvrtc_close(nvrtc);
    const bool has_nvrtc = status == NULL;
    mlcc_status_free(status);
    if (getenv("MLCC_CUDA_DRIVER") == NULL || !has_nvrtc) {
        print_message("skipped: needs MLCC_CUDA_DRIVER and NVRTC\n");
        skip();
    }
    for_each_model(check_on_cuda);
}

int main(int argc, char **argv) {
    only = argc > 1 ? argv[1] : NULL;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact), cmocka_unit_test(test_modes), cmocka_unit_test(test_on_cuda)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
