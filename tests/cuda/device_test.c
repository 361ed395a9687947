// The runtime on a CUDA device, with a model written by hand (handwritten_cuda_lib.c) on the fake driver: the same logits as on the CPU; every way in
// which driver, device, library or memory can fail; after each of them nothing is left behind.
#include "tests/cuda/fake_driver.h"

#include "runtime/base/log.h"
#include "runtime/device/cuda_modules.h"
#include "runtime/device/device.h"
#include "runtime/model/library.h"

#include <math.h>

typedef struct fixture {
    tiny_dir dir;
    mlcc_model_options options;
} fixture;

static fixture f;

static void use_library(const char *name) {
    f.options.library = fake_library(f.dir.arena, name);
}

static int start(void **state) {
    (void)state;
    f.dir = tiny_dir_make((tiny_store){0});
    f.options = tiny_options(&f.dir, 2);
    fake_use(f.dir.arena);
    use_library("handwritten_cuda_plain");
    return 0;
}

static int end(void **state) {
    (void)state;
    tiny_dir_remove(&f.dir);
    return 0;
}

// Nothing may be left behind by what ran between.
static int n_faults;
static void remember_faults(void) {
    n_faults = fake_faults(f.dir.arena);
}
static void no_faults(void) {
    assert_int_equal(fake_faults(f.dir.arena), n_faults);
}

static void open_refused(mlcc_code code, const char *part, const char *other) {
    remember_faults();
    mlcc_model *model = NULL;
    tiny_refused(mlcc_model_open(&f.options, &model), code, part, other);
    assert_null(model);
    no_faults();
}

// ---- it computes

static void check_row(const float *logits, const int32_t *tokens, int64_t n) {
    float expected[TINY_VOCAB];
    tiny_expected(tokens, n, expected);
    assert_memory_equal(logits, expected, sizeof expected);
}

// A prompt in steps of `chunk` tokens, all logits, then single tokens.
static void run_sequence(mlcc_engine *engine, int64_t chunk) {
    int32_t tokens[60], sequence = 0;
    for (int i = 0; i < 60; i++) tokens[i] = (i * 5 + (int32_t)chunk) % TINY_BAD_TOKEN;
    tiny_ok(mlcc_engine_add_sequence(engine, &sequence));
    for (int64_t at = 0; at < 60;) {
        int64_t n = at < 40 ? chunk : 1, n_rows = 0;
        if (n > 60 - at) n = 60 - at;
        const float *logits = NULL;
        mlcc_batch_item item = {sequence, tokens + at, n, MLCC_LOGITS_ALL};
        tiny_ok(mlcc_engine_step(engine, &item, 1, &logits, &n_rows));
        assert_int_equal(n_rows, n);
        for (int64_t i = 0; i < n; i++) check_row(logits + i * TINY_VOCAB, tokens, at + i + 1);
        at += n;
    }
    mlcc_engine_remove_sequence(engine, sequence);
}

static void same_logits_as_on_the_cpu(void **state) {
    (void)state;
    remember_faults();
    for (int round = 0; round < 2; round++) { // the second opens from the prepared cache
        mlcc_model *model = NULL;
        mlcc_engine *engine = NULL, *other = NULL;
        mlcc_model_info info;
        tiny_ok(mlcc_model_open(&f.options, &model));
        mlcc_model_get_info(model, &info);
        assert_string_equal(info.device, "cuda:0");
        assert_string_equal(info.device_description, "Fake GPU, compute capability 13.0, 4.0 GiB");
        assert_int_equal(info.from_cache, round);
        tiny_ok(mlcc_engine_create(model, &(mlcc_engine_options){.max_sequences = 2}, &engine));
        tiny_ok(mlcc_engine_create(model, &(mlcc_engine_options){.max_tokens = 64}, &other));
        run_sequence(engine, 1);
        run_sequence(other, 7);
        run_sequence(engine, 23); // several passes a step
        mlcc_engine_free(engine);
        run_sequence(other, 3);
        mlcc_engine_free(other);
        mlcc_model_close(model);
    }
    no_faults();
}

static void ragged_steps_without_logits(void **state) {
    (void)state;
    remember_faults();
    mlcc_model *model = NULL;
    mlcc_engine *engine = NULL;
    tiny_ok(mlcc_model_open(&f.options, &model));
    tiny_ok(mlcc_engine_create(model, &(mlcc_engine_options){.max_sequences = 7}, &engine));
    int32_t tokens[20], sequences[7];
    mlcc_batch_item items[7];
    for (int i = 0; i < 20; i++) tokens[i] = (i * 3 + 1) % TINY_BAD_TOKEN;
    for (int i = 0; i < 7; i++) {
        tiny_ok(mlcc_engine_add_sequence(engine, &sequences[i]));
        items[i] = (mlcc_batch_item){sequences[i], tokens, 10 + i, MLCC_LOGITS_NONE};
    }
    const float *logits = NULL;
    int64_t n_rows = 0;
    tiny_ok(mlcc_engine_step(engine, items, 7, &logits, &n_rows));
    assert_int_equal(n_rows, 0);
    for (int i = 0; i < 7; i++)
        items[i] = (mlcc_batch_item){sequences[i], tokens + 10 + i, 1, MLCC_LOGITS_LAST};
    tiny_ok(mlcc_engine_step(engine, items, 7, &logits, &n_rows));
    assert_int_equal(n_rows, 7);
    for (int i = 0; i < 7; i++) check_row(logits + i * TINY_VOCAB, tokens, 11 + i);
    mlcc_engine_free(engine);
    mlcc_model_close(model);
    no_faults();
}

// What is kept of weights that went to the device one by one is the block that the host would keep.
static void kept_weights(void **state) {
    (void)state;
    char *data[2] = {NULL, NULL};
    size_t size_bytes[2] = {0, 0};
    for (int side = 0; side < 2; side++) {
        f.options.cache_directory =
            mlcc_path_join(f.dir.arena, f.dir.path, side == 0 ? "of_host" : "of_device");
        use_library(side == 0 ? "handwritten_plain" : "handwritten_cuda_plain");
        mlcc_model *model = NULL;
        tiny_ok(mlcc_model_open(&f.options, &model));
        mlcc_model_close(model);
        char *folder = mlcc_path_join(f.dir.arena, f.options.cache_directory, "prepared");
        char **names = NULL;
        size_t n_names = 0;
        tiny_ok(mlcc_dir_list(folder, f.dir.arena, &names, &n_names));
        assert_int_equal(n_names, 1);
        tiny_ok(mlcc_file_read(
            mlcc_path_join(f.dir.arena, folder, names[0]), 0, &data[side], &size_bytes[side]));
    }
    const size_t header_bytes = 4096;
    assert_int_equal(size_bytes[0], size_bytes[1]);
    assert_memory_equal(
        data[0] + header_bytes, data[1] + header_bytes, size_bytes[0] - header_bytes);
    free(data[0]);
    free(data[1]);
    // Verified against the hash that was written last.
    mlcc_model *model = NULL;
    mlcc_model_info info;
    f.options.verify = true;
    tiny_ok(mlcc_model_open(&f.options, &model));
    mlcc_model_get_info(model, &info);
    assert_true(info.from_cache);
    mlcc_model_close(model);
}

// The same numbers, whether they stay on the host or go to the device.
static void made_up_weights(void **state) {
    (void)state;
    float logits[2][TINY_VOCAB];
    remember_faults();
    f.options.made_up_weights = true;
    for (int side = 0; side < 2; side++) {
        use_library(side == 0 ? "handwritten_plain" : "handwritten_cuda_plain");
        mlcc_model *model = NULL;
        mlcc_engine *engine = NULL;
        int32_t sequence = 0;
        const int32_t tokens[] = {4, 17, 2};
        const float *found = NULL;
        tiny_ok(mlcc_model_open(&f.options, &model));
        tiny_ok(mlcc_engine_create(model, NULL, &engine));
        tiny_ok(mlcc_engine_add_sequence(engine, &sequence));
        mlcc_batch_item item = {sequence, tokens, 3, MLCC_LOGITS_LAST};
        tiny_ok(mlcc_engine_step(engine, &item, 1, &found, NULL));
        memcpy(logits[side], found, sizeof logits[side]);
        mlcc_engine_free(engine);
        mlcc_model_close(model);
    }
    for (int i = 0; i < TINY_VOCAB; i++) // sums in another order
        assert_true(fabsf(logits[0][i] - logits[1][i]) <= 1e-4f * fabsf(logits[0][i]) + 1e-6f);
    no_faults();
}

static void observations(void **state) {
    (void)state;
    remember_faults();
    use_library("handwritten_cuda_observing");
    mlcc_model *model = NULL;
    mlcc_engine *engine = NULL;
    int32_t sequence = 0;
    const int32_t tokens[] = {4, 17, 2};
    tiny_ok(mlcc_model_open(&f.options, &model));
    tiny_ok(mlcc_engine_create(model, NULL, &engine));
    tiny_ok(mlcc_engine_add_sequence(engine, &sequence));
    mlcc_batch_item item = {sequence, tokens, 3, MLCC_LOGITS_LAST};
    tiny_ok(mlcc_engine_step(engine, &item, 1, NULL, NULL));
    size_t n = 0;
    const char *const *names = NULL;
    const float *values = NULL;
    mlcc_engine_observations(engine, &n, &names, &values);
    assert_int_equal(n, 2);
    assert_string_equal(names[0], "mix.q_calibration_scale");
    assert_true(values[0] == 3.0f);  // positions + 1
    assert_true(values[1] == 18.0f); // ids + 1
    mlcc_engine_free(engine);
    mlcc_model_close(model);
    no_faults();
}

// Weights that need several chunks, at odd places, all threads copying.
static void large_uploads(void **state) {
    (void)state;
    remember_faults();
    mlcc_library library;
    mlcc_pool *pool = NULL;
    mlcc_device *device = NULL;
    mlcc_memory memory;
    mlcc_mirror mirror;
    tiny_ok(mlcc_library_open(f.options.library, &library));
    tiny_ok(mlcc_pool_create(2, &pool));
    tiny_ok(mlcc_device_open(library.abi, "cuda", pool, &device));
    const size_t size_bytes = (size_t)70 * 1024 * 1024 + 13;
    unsigned char *source = malloc(size_bytes);
    assert_non_null(source);
    uint32_t random = 5;
    for (size_t i = 0; i < size_bytes; i++) {
        random = random * 1664525u + 1013904223u;
        source[i] = (unsigned char)(random >> 24);
    }
    tiny_ok(mlcc_device_alloc(device, size_bytes + 7, "a test", &memory));
    tiny_ok(mlcc_device_upload(device, &memory, 7, source, size_bytes));
    tiny_ok(mlcc_device_upload(device, &memory, 2, source, 3));
    // Two stages in turn: the second is written before the first has arrived.
    for (size_t i = 0; i < 5; i++) {
        void *stage = NULL;
        const size_t part_bytes = i < 4 ? 1000 + i : (size_t)40 << 20;
        tiny_ok(mlcc_device_stage(device, part_bytes, &stage));
        memcpy(stage, source + i * 1000, part_bytes);
        tiny_ok(mlcc_device_send(device, &memory, 7 + i * 1000, part_bytes));
    }
    tiny_ok(mlcc_device_end_uploads(device));
    // The fake's device memory is host memory.
    assert_memory_equal((char *)memory.address + 7, source, size_bytes);
    assert_memory_equal(memory.address, "\0\0", 2);
    assert_memory_equal((char *)memory.address + 2, source, 3);
    tiny_ok(mlcc_device_alloc_mirror(device, 100, "a mirror", &mirror));
    assert_true(mirror.is_pinned && mirror.host != mirror.memory.address);
    memset(mirror.host, 9, 100);
    tiny_ok(mlcc_device_push(device, &mirror, 10, 20));
    tiny_ok(mlcc_device_synchronize(device));
    memset(mirror.host, 3, 100);
    tiny_ok(mlcc_device_pull(device, &mirror, 5, 15));
    assert_memory_equal((char *)mirror.host + 4, "\3\0\0\0\0\0\11\11\11\11\11\3", 12);
    mlcc_device_free_mirror(device, &mirror);
    mlcc_device_free(device, &memory);
    free(source);
    mlcc_device_close(device);
    mlcc_pool_free(pool);
    mlcc_library_close(&library);
    no_faults();
}

// ---- choosing

static void devices_by_name(void **state) {
    (void)state;
    mlcc_model *model = NULL;
    mlcc_model_info info;
    setenv("MLCC_FAKE_DEVICES", "2", 1);
    static const char *const good[][2] = {
        {"auto", "cuda:0"}, {"cuda", "cuda:0"}, {"cuda:0", "cuda:0"}, {"cuda:1", "cuda:1"}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        f.options.device = good[i][0];
        tiny_ok(mlcc_model_open(&f.options, &model));
        mlcc_model_get_info(model, &info);
        assert_string_equal(info.device, good[i][1]);
        mlcc_model_close(model);
    }
    f.options.device = "cuda:2";
    open_refused(MLCC_INVALID, "there is no device cuda:2", "the driver sees 2 devices");
    static const char *const bad[] = {"",        "gpu",        "cuda:",  "cuda:x",
                                      "cuda:1x", "cuda:99999", "cuda:-1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        f.options.device = bad[i];
        open_refused(MLCC_INVALID, "there is no device", "auto, cpu, cuda and cuda:N");
    }
    f.options.device = "cpu";
    open_refused(MLCC_MISMATCH, "compiled for CUDA devices", "--device cpu");
    use_library("handwritten_plain");
    tiny_ok(mlcc_model_open(&f.options, &model));
    mlcc_model_get_info(model, &info);
    assert_string_equal(info.device, "cpu");
    mlcc_model_close(model);
    f.options.device = "cuda";
    open_refused(MLCC_MISMATCH, "compiled for the CPU", "--device cuda");
}

static void images(void **state) {
    (void)state;
    const mlcc_abi_cuda_image all[] = {
        {.arch = 80},
        {.arch = 80, .is_ptx = 1},
        {.arch = 86},
        {.arch = 90, .is_arch_specific = 1},
        {.arch = 90, .is_ptx = 1, .is_arch_specific = 1},
        {.arch = 90},
        {.arch = 90, .is_ptx = 1},
    };
    const mlcc_abi_cuda_module module = {"m", all, sizeof all / sizeof all[0], 0};
    static const struct {
        uint32_t arch;
        int image; // -1: none
    } rows[] = {{75, -1}, {80, 0},  {86, 2},  {87, 2}, {89, 2},
                {90, 3},  {100, 6}, {121, 6}, {130, 6}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const mlcc_abi_cuda_image *image = mlcc_cuda_choose_image(&module, rows[i].arch);
        assert_ptr_equal(image, rows[i].image < 0 ? NULL : &all[rows[i].image]);
    }
    const mlcc_abi_cuda_module without_90 = {"m", all, 3, 0};
    assert_ptr_equal(mlcc_cuda_choose_image(&without_90, 90), &all[1]);
}

// ---- refusals while opening

static void no_driver_or_device(void **state) {
    (void)state;
    remember_faults();
    mlcc_model *model = NULL;
    setenv("MLCC_FAKE_DEVICES", "0", 1);
    open_refused(MLCC_UNSUPPORTED, "sees no device", "opening device cuda:0");
    setenv("MLCC_CUDA_DRIVER", "/nowhere/libcuda.so.1", 1);
    tiny_refused(
        mlcc_model_open(&f.options, &model), MLCC_UNSUPPORTED, "no CUDA driver", "/nowhere/");
}

static void code_that_does_not_load(void **state) {
    (void)state;
    setenv("MLCC_FAKE_CAPABILITY", "7.5", 1);
    open_refused(
        MLCC_MISMATCH, "holds code for sm_90a, sm_80, compute_80",
        "compute capability 7.5: compile the model again with --device cuda:sm_75");
    setenv("MLCC_FAKE_CAPABILITY", "8.0", 1); // the fake cannot run the cubin
    use_library("handwritten_cuda_cubins");
    open_refused(MLCC_DEVICE, "module 'append_token' (sm_80)", "NO_BINARY_FOR_GPU");
    setenv("MLCC_FAKE_VERSION", "12040", 1);
    open_refused(
        MLCC_MISMATCH, "made with NVRTC 13.0", "supports CUDA 12.4: update NVIDIA's driver");
    setenv("MLCC_FAKE_VERSION", "10020", 1); // knows neither the cubin nor the PTX
    use_library("handwritten_cuda_plain");
    open_refused(
        MLCC_MISMATCH, "module 'append_token' (sm_80): CUDA_ERROR_NO_BINARY_FOR_GPU",
        "supports CUDA 10.2");
    fake_use(f.dir.arena);
    setenv("MLCC_FAKE_FAIL_LOAD", "2:2", 1);
    open_refused(MLCC_NO_MEMORY, "module 'compute_rows' (compute_80)", "OUT_OF_MEMORY");
    fake_use(f.dir.arena);
    setenv("MLCC_FAKE_SHARED", "49152", 1);
    open_refused(MLCC_MISMATCH, "'logits_few' of module 'compute_rows' needs 65536 bytes", "49152");
    fake_use(f.dir.arena);
    use_library("handwritten_cuda_much_shared");
    open_refused(MLCC_MISMATCH, "needs 307200 bytes of shared memory", "the device has 232448");
    use_library("handwritten_cuda_cubins");
    open_refused(MLCC_MISMATCH, "holds code for sm_80, but", "capability 13.0");
    use_library("handwritten_cuda_broken_ptx");
    open_refused(MLCC_DEVICE, "module 'append_token' (compute_80): CUDA_ERROR_INVALID_PTX", "; ");
    use_library("handwritten_cuda_unknown_entry");
    open_refused(MLCC_DEVICE, "'no_such_kernel' of module 'compute_rows'", "NOT_FOUND");
}

static char warning[512];
static int n_warnings;
static void keep_warning(void *user, mlcc_log_level level, const char *area, const char *message) {
    (void)user, (void)area;
    if (level != MLCC_LOG_WARN) return;
    snprintf(warning, sizeof warning, "%s", message);
    n_warnings++;
}

// A driver that does not know the cubins compiles the PTX, and one warning says so.
static void code_that_another_form_stands_in_for(void **state) {
    (void)state;
    static const char *const capabilities[] = {"8.0", "9.0"};
    for (size_t i = 0; i < 2; i++) {
        setenv("MLCC_FAKE_CAPABILITY", capabilities[i], 1);
        remember_faults();
        mlcc_log_set(keep_warning, NULL, MLCC_LOG_WARN);
        n_warnings = 0;
        mlcc_model *model = NULL;
        mlcc_engine *engine = NULL;
        tiny_ok(mlcc_model_open(&f.options, &model));
        mlcc_log_set(NULL, NULL, MLCC_LOG_ERROR);
        assert_int_equal(n_warnings, 1);
        assert_non_null(strstr(
            warning, i == 0 ? "(sm_80): CUDA_ERROR_NO_BINARY_FOR_GPU"
                            : "(sm_90a): CUDA_ERROR_NO_BINARY_FOR_GPU"));
        assert_non_null(strstr(warning, "its code for compute_80 is used instead"));
        tiny_ok(mlcc_engine_create(model, NULL, &engine));
        run_sequence(engine, 5);
        mlcc_engine_free(engine);
        mlcc_model_close(model);
        no_faults();
    }
}

// ---- memory

static void room(void **state) {
    (void)state;
    mlcc_model *model = NULL;
    mlcc_engine *engine = NULL;
    setenv("MLCC_FAKE_MEMORY", "2000", 1);
    open_refused(MLCC_NO_MEMORY, "device cuda:0 has", "weights 0.000 GiB, workspace");
    // Two layers of 256 bytes a page of 16 tokens: 1 GiB is 2^25 tokens.
    setenv("MLCC_FAKE_MEMORY", "1073741824", 1);
    remember_faults();
    tiny_ok(mlcc_model_open(&f.options, &model));
    mlcc_engine_options options = {.max_tokens = 60 << 20};
    tiny_refused(
        mlcc_engine_create(model, &options, &engine), MLCC_NO_MEMORY,
        "weights 0.000 GiB (there already), KV cache of 62914560 tokens 1.875 GiB, workspace",
        "a KV cache of about 33554");
    options.max_tokens = 64;
    tiny_ok(mlcc_engine_create(model, &options, &engine));
    run_sequence(engine, 5);
    mlcc_engine_free(engine);
    mlcc_model_close(model);
    no_faults();
}

// The Nth allocation fails, whichever it is: an error, nothing left behind, and the model still serves.
static void every_allocation_fails_once(void **state) {
    (void)state;
    int n_refused = 0;
    for (int n = 1; n < 40; n++) {
        char number[16];
        snprintf(number, sizeof number, "%d", n);
        setenv("MLCC_FAKE_FAIL_ALLOC", number, 1);
        remember_faults();
        mlcc_model *model = NULL;
        mlcc_engine *engine = NULL;
        mlcc_status *status = mlcc_model_open(&f.options, &model);
        if (status == NULL) {
            status = mlcc_engine_create(model, NULL, &engine);
            bool is_refused = status != NULL;
            if (is_refused) {
                tiny_refused(
                    status, MLCC_NO_MEMORY, "cannot be had on device cuda:0", "MiB are free");
                tiny_ok(mlcc_engine_create(model, NULL, &engine));
            }
            run_sequence(engine, 9);
            mlcc_engine_free(engine);
            mlcc_model_close(model);
            no_faults();
            if (!is_refused) break;
        } else {
            tiny_refused(status, MLCC_NO_MEMORY, "cannot be had on device cuda:0", "MiB are free");
            no_faults();
        }
        n_refused++;
    }
    assert_in_range(n_refused, 6, 30);
}

static void without_page_locked_memory(void **state) {
    (void)state;
    remember_faults();
    for (int n = 1; n <= 6; n++) {
        char number[16];
        snprintf(number, sizeof number, "%d", n);
        setenv("MLCC_FAKE_FAIL_HOST_ALLOC", number, 1);
        mlcc_model *model = NULL;
        mlcc_engine *engine = NULL;
        tiny_ok(mlcc_model_open(&f.options, &model));
        tiny_ok(mlcc_engine_create(model, NULL, &engine));
        run_sequence(engine, 11);
        mlcc_engine_free(engine);
        mlcc_model_close(model);
    }
    no_faults();
}

// ---- failures while running

// A launch that is refused at once: the step is undone, the engine goes on.
static void launches_that_fail(void **state) {
    (void)state;
    static const struct {
        const char *failure;
        mlcc_code code;
        const char *error;
    } rows[] = {
        {"3:2", MLCC_NO_MEMORY, "OUT_OF_MEMORY"},
        {"4:2", MLCC_NO_MEMORY, "OUT_OF_MEMORY"},
        {"4:701", MLCC_DEVICE, "LAUNCH_OUT_OF_RESOURCES"},
        {"3:1", MLCC_DEVICE, "INVALID_VALUE"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        setenv("MLCC_FAKE_FAIL_LAUNCH", rows[i].failure, 1);
        remember_faults();
        mlcc_model *model = NULL;
        mlcc_engine *engine = NULL;
        int32_t sequence = 0;
        const int32_t tokens[] = {3, 1, 4, 1, 5};
        const float *logits = NULL;
        tiny_ok(mlcc_model_open(&f.options, &model));
        tiny_ok(mlcc_engine_create(model, NULL, &engine));
        tiny_ok(mlcc_engine_add_sequence(engine, &sequence));
        mlcc_batch_item first = {sequence, tokens, 3, MLCC_LOGITS_LAST};
        mlcc_batch_item second = {sequence, tokens + 3, 2, MLCC_LOGITS_LAST};
        tiny_ok(mlcc_engine_step(engine, &first, 1, &logits, NULL)); // launches 1 and 2
        tiny_refused(
            mlcc_engine_step(engine, &second, 1, &logits, NULL), rows[i].code, rows[i].error,
            rows[i].failure[0] == '3' ? "kernel 'append' of 'append_token'"
                                      : "kernel 'logits_few'");
        assert_null(logits);
        assert_int_equal(mlcc_engine_sequence_length(engine, sequence), 3);
        tiny_ok(mlcc_engine_step(engine, &second, 1, &logits, NULL));
        check_row(logits, tokens, 5);
        mlcc_engine_free(engine);
        mlcc_model_close(model);
        no_faults();
    }
}

// A kernel that fails while it runs ends the context: every later call says so; a model opened anew works.
static void kernels_that_fail(void **state) {
    (void)state;
    for (int waits = 0; waits < 2; waits++) {
        fake_use(f.dir.arena);
        setenv("MLCC_FAKE_FAIL_KERNEL", "2:700", 1);
        if (waits == 1) setenv("MLCC_CUDA_SYNC", "1", 1);
        remember_faults();
        mlcc_model *model = NULL;
        mlcc_engine *engine = NULL;
        int32_t sequence = 0;
        const int32_t token = 6;
        const float *logits = NULL;
        tiny_ok(mlcc_model_open(&f.options, &model));
        tiny_ok(mlcc_engine_create(model, NULL, &engine));
        tiny_ok(mlcc_engine_add_sequence(engine, &sequence));
        mlcc_batch_item item = {sequence, &token, 1, MLCC_LOGITS_LAST};
        tiny_refused(
            mlcc_engine_step(engine, &item, 1, &logits, NULL), MLCC_DEVICE, "ILLEGAL_ADDRESS",
            waits == 1 ? "kernel 'logits_few' of 'compute_rows' (grid 1 x 1 x 1, 32 threads)"
                       : "a kernel of function 'forward' failed");
        assert_int_equal(mlcc_engine_sequence_length(engine, sequence), 0);
        tiny_refused(
            mlcc_engine_step(engine, &item, 1, &logits, NULL), MLCC_DEVICE,
            "device cuda:0 failed before (CUDA_ERROR_ILLEGAL_ADDRESS", "open it again");
        mlcc_engine_free(engine);
        mlcc_model_close(model);
        unsetenv("MLCC_FAKE_FAIL_KERNEL");
        tiny_ok(mlcc_model_open(&f.options, &model));
        tiny_ok(mlcc_engine_create(model, NULL, &engine));
        run_sequence(engine, 4);
        mlcc_engine_free(engine);
        mlcc_model_close(model);
        no_faults();
    }
}

// ---- damaged tables

static void tables(void **state) {
    (void)state;
    mlcc_library library;
    tiny_ok(mlcc_library_open(f.options.library, &library));
    const mlcc_abi_model *sound = library.abi;
    mlcc_abi_model abi = *sound;
    mlcc_abi_cuda cuda = *sound->cuda;
    mlcc_abi_cuda_module module = cuda.modules[0];
    mlcc_abi_cuda_image image = module.images[2];
    mlcc_abi_cuda_function function = cuda.functions[0];
    mlcc_abi_cuda_launch launch = function.launches[1];
    mlcc_abi_cuda_variant variant = launch.variants[1];
    mlcc_abi_cuda_entry entries[2] = {variant.entries[0], variant.entries[1]};
    mlcc_abi_cuda_place place = launch.places[0];
    abi.cuda = &cuda;
    tiny_ok(mlcc_library_check_cuda(&abi));
#define DAMAGED(field, value, words) \
    do { \
        __typeof__(field) kept = field; \
        field = value; \
        tiny_refused( \
            mlcc_library_check_cuda(&abi), MLCC_INVALID, "CUDA tables are damaged", words); \
        field = kept; \
    } while (0)
    DAMAGED(cuda.functions, NULL, "tables are missing");
    DAMAGED(cuda.consts, NULL, "tables are missing");
    cuda.modules = &module;
    cuda.n_modules = 1;
    cuda.functions = &function;
    function.launches = &launch;
    function.n_launches = 1;
    launch.variants = &variant;
    launch.n_variants = 1;
    variant.module = 0;
    variant.entries = entries;
    module.images = &image;
    module.n_images = 1;
    tiny_ok(mlcc_library_check_cuda(&abi));
    DAMAGED(cuda.modules, NULL, "tables are missing");
    DAMAGED(module.name, NULL, "module 0");
    DAMAGED(module.n_images, 0, "module 0");
    DAMAGED(image.data, NULL, "module 0");
    DAMAGED(image.size_bytes, 10, "module 0"); // PTX without its NUL
    DAMAGED(function.launches, NULL, "launches of function 0");
    DAMAGED(launch.variants, NULL, "launch 0 of function 0");
    DAMAGED(launch.n_variants, 0, "launch 0 of function 0");
    DAMAGED(launch.min_rows, -1, "launch 0 of function 0");
    DAMAGED(launch.max_rows, -1, "launch 0 of function 0");
    DAMAGED(variant.module, 1, "launch 0 of function 0");
    DAMAGED(variant.entries, NULL, "launch 0 of function 0");
    DAMAGED(variant.n_entries, 0, "launch 0 of function 0");
    DAMAGED(launch.n_places, 508, "launch 0 of function 0"); // 4 KiB of argument
    DAMAGED(launch.rows_symbol, 5, "launch 0 of function 0");
    DAMAGED(entries[0].threads, 2048, "launch 0 of function 0");
    DAMAGED(entries[0].max_rows, 0, "launch 0 of function 0"); // only the last takes any number
    DAMAGED(entries[1].max_rows, 9, "launch 0 of function 0");
    DAMAGED(entries[1].symbol, NULL, "launch 0 of function 0");
    DAMAGED(entries[0].grid[0].symbol, 5, "launch 0 of function 0");
    DAMAGED(entries[0].grid[1].divisor, 0, "launch 0 of function 0");
    DAMAGED(entries[0].grid[2].multiplier, -1, "launch 0 of function 0");
    launch.places = &place;
    launch.n_places = 1;
    tiny_ok(mlcc_library_check_cuda(&abi));
    DAMAGED(place.kind, 0, "launch 0 of function 0");
    DAMAGED(place.kind, 7, "launch 0 of function 0");
    DAMAGED(place.index, 7, "launch 0 of function 0");
    DAMAGED(place.index, -1, "launch 0 of function 0");
    place = (mlcc_abi_cuda_place){MLCC_ABI_CUDA_CONST, 0, 67};
    tiny_ok(mlcc_library_check_cuda(&abi));
    DAMAGED(place.offset_bytes, 68, "launch 0 of function 0");
#undef DAMAGED
    mlcc_library_close(&library);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(same_logits_as_on_the_cpu, start, end),
        cmocka_unit_test_setup_teardown(ragged_steps_without_logits, start, end),
        cmocka_unit_test_setup_teardown(made_up_weights, start, end),
        cmocka_unit_test_setup_teardown(kept_weights, start, end),
        cmocka_unit_test_setup_teardown(observations, start, end),
        cmocka_unit_test_setup_teardown(large_uploads, start, end),
        cmocka_unit_test_setup_teardown(devices_by_name, start, end),
        cmocka_unit_test(images),
        cmocka_unit_test_setup_teardown(no_driver_or_device, start, end),
        cmocka_unit_test_setup_teardown(code_that_does_not_load, start, end),
        cmocka_unit_test_setup_teardown(code_that_another_form_stands_in_for, start, end),
        cmocka_unit_test_setup_teardown(room, start, end),
        cmocka_unit_test_setup_teardown(every_allocation_fails_once, start, end),
        cmocka_unit_test_setup_teardown(without_page_locked_memory, start, end),
        cmocka_unit_test_setup_teardown(launches_that_fail, start, end),
        cmocka_unit_test_setup_teardown(kernels_that_fail, start, end),
        cmocka_unit_test_setup_teardown(tables, start, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
