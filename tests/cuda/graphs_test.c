// Steps that repeat are graphs of the driver, and kernels that wait by themselves begin early: the same logits, few calls of the driver, and every way in
// which drivers and settings do without. On the fake driver, with models written by hand.
#include "tests/cuda/fake_driver.h"

#include "runtime/device/cuda_graphs.h"

typedef struct fixture {
    tiny_dir dir;
    mlcc_model_options options;
    mlcc_model *model;
    mlcc_engine *engine;
} fixture;

static fixture f;

static int start(void **state) {
    (void)state;
    f.dir = tiny_dir_make((tiny_store){0});
    f.options = tiny_options(&f.dir, 2);
    fake_use(f.dir.arena);
    f.options.library = fake_library(f.dir.arena, "handwritten_cuda_plain");
    return 0;
}

static int end(void **state) {
    (void)state;
    tiny_dir_remove(&f.dir);
    return 0;
}

typedef struct counts {
    int kernels, launches, early, graphs, captures, to_device, to_host, faults;
} counts;

static counts count_calls(void) {
    return (counts){
        .kernels = fake_count(f.dir.arena, "cuda_fake_n_kernels"),
        .launches = fake_count(f.dir.arena, "cuda_fake_n_launches"),
        .early = fake_count(f.dir.arena, "cuda_fake_n_early_launches"),
        .graphs = fake_count(f.dir.arena, "cuda_fake_n_graph_launches"),
        .captures = fake_count(f.dir.arena, "cuda_fake_n_captures"),
        .to_device = fake_count(f.dir.arena, "cuda_fake_n_copies_to_device"),
        .to_host = fake_count(f.dir.arena, "cuda_fake_n_copies_to_host"),
        .faults = fake_faults(f.dir.arena),
    };
}

static counts before;

static counts calls_since(void) {
    const counts now = count_calls();
    return (counts){now.kernels - before.kernels,   now.launches - before.launches,
                    now.early - before.early,       now.graphs - before.graphs,
                    now.captures - before.captures, now.to_device - before.to_device,
                    now.to_host - before.to_host,   now.faults - before.faults};
}

static void open_model(const mlcc_engine_options *options) {
    tiny_ok(mlcc_model_open(&f.options, &f.model));
    tiny_ok(mlcc_engine_create(f.model, options, &f.engine));
    before = count_calls();
}

static void close_model(void) {
    mlcc_engine_free(f.engine);
    mlcc_model_close(f.model);
    assert_int_equal(calls_since().faults, 0);
}

enum { MAX_TOKENS = 700 };

static int32_t token_at(int64_t i) {
    return (int32_t)((i * 5 + i / 7) % TINY_BAD_TOKEN);
}

// Tokens [begin, end) of the one text, one pass, the last row's logits.
static mlcc_status *step(int32_t sequence, int64_t begin, int64_t end, const float **logits) {
    int32_t tokens[MAX_TOKENS];
    for (int64_t i = begin; i < end; i++) tokens[i] = token_at(i);
    mlcc_batch_item item = {sequence, tokens + begin, end - begin, MLCC_LOGITS_LAST};
    return mlcc_engine_step(f.engine, &item, 1, logits, NULL);
}

static void check_step(int32_t sequence, int64_t begin, int64_t end) {
    int32_t tokens[MAX_TOKENS];
    float expected[TINY_VOCAB];
    const float *logits = NULL;
    tiny_ok(step(sequence, begin, end, &logits));
    for (int64_t i = 0; i < end; i++) tokens[i] = token_at(i);
    tiny_expected(tokens, end, expected);
    assert_memory_equal(logits, expected, sizeof expected);
}

static int32_t new_sequence(void) {
    int32_t sequence = 0;
    tiny_ok(mlcc_engine_add_sequence(f.engine, &sequence));
    return sequence;
}

// ---- graphs

static void a_decode_step_is_one_graph_and_one_copy_each_way(void **state) {
    (void)state;
    open_model(NULL);
    int32_t sequence = new_sequence();
    check_step(sequence, 0, 5);
    for (int64_t i = 5; i < 90; i++) {
        before = count_calls();
        check_step(sequence, i, i + 1);
        const counts now = calls_since();
        const bool is_graph = i >= 5 + MLCC_CUDA_GRAPHS_CAPTURED_RUN - 1;
        assert_int_equal(now.kernels, 2);
        assert_int_equal(now.graphs, is_graph);
        assert_int_equal(now.launches, is_graph ? 0 : 2);
        assert_int_equal(now.captures, i == 5 + MLCC_CUDA_GRAPHS_CAPTURED_RUN - 1);
        assert_int_equal(now.to_device, 1);
        assert_int_equal(now.to_host, 1);
    }
    close_model();
}

// Page tables grow in powers of two, so a long text needs few graphs.
static void a_growing_context_changes_few_graphs(void **state) {
    (void)state;
    tiny_write_text(f.dir.path, "mlc-chat-config.json", "{\"context_window_size\": 4096}");
    open_model(&(mlcc_engine_options){.max_tokens = 1024});
    int32_t sequence = new_sequence();
    const int64_t begin = 240;
    for (int64_t i = 0; i < begin; i += TINY_CHUNK) check_step(sequence, i, i + TINY_CHUNK);
    before = count_calls();
    for (int64_t i = begin; i < 300; i++) check_step(sequence, i, i + 1);
    assert_int_equal(calls_since().captures, 2); // up to 256 tokens and up to 512
    assert_int_equal(calls_since().graphs, 60 - 2 * (MLCC_CUDA_GRAPHS_CAPTURED_RUN - 1));
    close_model();
}

// More shapes than are remembered, again and again, with sequences that come and go.
static void many_shapes(void **state) {
    (void)state;
    open_model(&(mlcc_engine_options){.max_sequences = 3});
    for (int round = 0; round < 5; round++) {
        for (int64_t n = 1; n <= TINY_CHUNK; n++) {
            int32_t first = new_sequence(), second = new_sequence();
            check_step(first, 0, n);
            check_step(second, 0, 3);
            int32_t tokens[2] = {token_at(n), token_at(3)};
            mlcc_batch_item items[2] = {
                {first, &tokens[0], 1, n % 2 == 0 ? MLCC_LOGITS_NONE : MLCC_LOGITS_LAST},
                {second, &tokens[1], 1, MLCC_LOGITS_LAST}};
            const float *logits = NULL;
            int64_t n_rows = 0;
            float expected[TINY_VOCAB];
            int32_t text[4] = {token_at(0), token_at(1), token_at(2), token_at(3)};
            tiny_ok(mlcc_engine_step(f.engine, items, 2, &logits, &n_rows));
            tiny_expected(text, 4, expected);
            assert_memory_equal(logits + (n_rows - 1) * TINY_VOCAB, expected, sizeof expected);
            check_step(first, n + 1, n + 1 + TINY_CHUNK);
            mlcc_engine_remove_sequence(f.engine, first);
            mlcc_engine_remove_sequence(f.engine, second);
        }
    }
    assert_true(calls_since().graphs > 0);
    close_model();
}

static void decode_some(int64_t n) {
    int32_t sequence = new_sequence();
    for (int64_t i = 0; i < n; i++) check_step(sequence, i, i + 1);
    mlcc_engine_remove_sequence(f.engine, sequence);
}

static void without_graphs(void **state) {
    (void)state;
    static const char *const settings[][2] = {
        {"MLCC_CUDA_GRAPHS", "0"},       {"MLCC_CUDA_SYNC", "1"},
        {"MLCC_CUDA_DRIVER", NULL}, // a driver that lacks them
        {"MLCC_FAKE_FAIL_CAPTURE", "1"}, {"MLCC_FAKE_FAIL_INSTANTIATE", "1"},
        {"MLCC_FAKE_FAIL_LAUNCH", "5"}, // the first one that is captured
        {"MLCC_FAKE_FAIL_LAUNCH", "6"},
    };
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        fake_use(f.dir.arena);
        const char *value = settings[i][1];
        if (value == NULL) value = fake_library(f.dir.arena, "cuda_fake_plain");
        setenv(settings[i][0], value, 1);
        open_model(NULL);
        const bool is_counted = settings[i][1] != NULL; // counts are those of the other library
        decode_some(12);
        if (is_counted) assert_int_equal(calls_since().graphs, 0);
        if (is_counted) assert_int_equal(calls_since().launches, 24);
        close_model();
    }
}

// ---- failures

static void graphs_that_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *failure;
        mlcc_code code;
        const char *error;
    } rows[] = {
        {"2", MLCC_NO_MEMORY, "OUT_OF_MEMORY"}, {"2:701", MLCC_DEVICE, "LAUNCH_OUT_OF_RESOURCES"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        setenv("MLCC_FAKE_FAIL_GRAPH", rows[i].failure, 1);
        open_model(NULL);
        int32_t sequence = new_sequence();
        const float *logits = NULL;
        for (int64_t t = 0; t < 3; t++) check_step(sequence, t, t + 1);
        tiny_refused(
            step(sequence, 3, 4, &logits), rows[i].code, rows[i].error,
            "launching function 'forward' as a graph");
        assert_null(logits);
        assert_int_equal(mlcc_engine_sequence_length(f.engine, sequence), 3);
        for (int64_t t = 3; t < 8; t++) check_step(sequence, t, t + 1);
        close_model();
    }
}

static void kernels_that_fail_in_a_graph(void **state) {
    (void)state;
    setenv("MLCC_FAKE_FAIL_KERNEL", "8:700", 1);
    open_model(NULL);
    int32_t sequence = new_sequence();
    const float *logits = NULL;
    for (int64_t t = 0; t < 3; t++) check_step(sequence, t, t + 1);
    tiny_refused(
        step(sequence, 3, 4, &logits), MLCC_DEVICE, "a kernel of function 'forward' failed",
        "MLCC_CUDA_SYNC=1 finds the kernel");
    tiny_refused(
        step(sequence, 3, 4, &logits), MLCC_DEVICE, "device cuda:0 failed before",
        "ILLEGAL_ADDRESS");
    close_model();
}

// ---- early launches

// In steps one by one and in captured ones the first kernel of a run never begins early.
static void kernels_begin_early(void **state) {
    (void)state;
    f.options.library = fake_library(f.dir.arena, "handwritten_cuda_early");
    static const struct {
        const char *variable, *value;
        int one_by_one, captured;
    } rows[] = {
        {"MLCC_CUDA_PDL", "1", 1, 1},         {"MLCC_CUDA_PDL", "0", 0, 0},
        {"MLCC_FAKE_VERSION", "12020", 1, 0}, // not yet in graphs
        {"MLCC_FAKE_VERSION", "12030", 1, 1}, {"MLCC_CUDA_SYNC", "1", 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        fake_use(f.dir.arena);
        setenv(rows[i].variable, rows[i].value, 1);
        open_model(NULL);
        int32_t sequence = new_sequence();
        for (int64_t t = 0; t < 6; t++) {
            before = count_calls();
            check_step(sequence, t, t + 1);
            const bool is_captured = calls_since().captures == 1;
            const bool is_launched = calls_since().launches > 0;
            int expected = is_captured ? rows[i].captured : is_launched ? rows[i].one_by_one : 0;
            assert_int_equal(calls_since().early, expected);
        }
        close_model();
    }
    // Code for sm_80 does not wait, whatever the device is.
    fake_use(f.dir.arena);
    f.options.library = fake_library(f.dir.arena, "handwritten_cuda_plain");
    open_model(NULL);
    decode_some(5);
    assert_int_equal(calls_since().early, 0);
    close_model();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_decode_step_is_one_graph_and_one_copy_each_way, start, end),
        cmocka_unit_test_setup_teardown(a_growing_context_changes_few_graphs, start, end),
        cmocka_unit_test_setup_teardown(many_shapes, start, end),
        cmocka_unit_test_setup_teardown(without_graphs, start, end),
        cmocka_unit_test_setup_teardown(graphs_that_are_refused, start, end),
        cmocka_unit_test_setup_teardown(kernels_that_fail_in_a_graph, start, end),
        cmocka_unit_test_setup_teardown(kernels_begin_early, start, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
