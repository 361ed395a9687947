// Nothing is allocated between the first and the last token: the linker sends every allocation of
// the runtime and of this program through counters (--wrap, see tests/CMakeLists.txt).
#include "tests/cuda/fake_driver.h"

#include <stdatomic.h>
#include <sys/mman.h>

static atomic_long n_allocations;

void *__real_malloc(size_t size_bytes);
void *__real_calloc(size_t count, size_t size_bytes);
void *__real_realloc(void *old, size_t size_bytes);
void *__real_aligned_alloc(size_t alignment, size_t size_bytes);
int __real_posix_memalign(void **out, size_t alignment, size_t size_bytes);
void *__real_mmap(
    void *address, size_t size_bytes, int protection, int flags, int file, off_t offset);

void *__wrap_malloc(size_t size_bytes);
void *__wrap_malloc(size_t size_bytes) {
    atomic_fetch_add(&n_allocations, 1);
    return __real_malloc(size_bytes);
}

void *__wrap_calloc(size_t count, size_t size_bytes);
void *__wrap_calloc(size_t count, size_t size_bytes) {
    atomic_fetch_add(&n_allocations, 1);
    return __real_calloc(count, size_bytes);
}

void *__wrap_realloc(void *old, size_t size_bytes);
void *__wrap_realloc(void *old, size_t size_bytes) {
    atomic_fetch_add(&n_allocations, 1);
    return __real_realloc(old, size_bytes);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size_bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t size_bytes) {
    atomic_fetch_add(&n_allocations, 1);
    return __real_aligned_alloc(alignment, size_bytes);
}

int __wrap_posix_memalign(void **out, size_t alignment, size_t size_bytes);
int __wrap_posix_memalign(void **out, size_t alignment, size_t size_bytes) {
    atomic_fetch_add(&n_allocations, 1);
    return __real_posix_memalign(out, alignment, size_bytes);
}

void *__wrap_mmap(
    void *address, size_t size_bytes, int protection, int flags, int file, off_t offset);
void *__wrap_mmap(
    void *address, size_t size_bytes, int protection, int flags, int file, off_t offset) {
    atomic_fetch_add(&n_allocations, 1);
    return __real_mmap(address, size_bytes, protection, flags, file, offset);
}

static mlcc_sampler *make_sampler(int kind) {
    mlcc_sampling sampling = mlcc_sampling_default();
    if (kind > 0) {
        sampling.temperature = 0.8f;
        sampling.repetition_penalty = 1.1f;
        sampling.presence_penalty = 0.1f;
        sampling.frequency_penalty = 0.1f;
        sampling.seed = (uint64_t)kind;
    }
    if (kind == 2) sampling.top_p = 0.9f;
    if (kind == 3) {
        sampling.top_k = 5;
        sampling.min_p = 0.05f;
    }
    mlcc_sampler *sampler = NULL;
    tiny_ok(mlcc_sampler_create(&sampling, TINY_VOCAB, &sampler));
    return sampler;
}

static void decode(const char *library, int32_t n_threads, int32_t n_sequences) {
    tiny_dir dir = tiny_dir_make((tiny_store){0});
    mlcc_model_options options = tiny_options(&dir, n_threads);
    options.library = fake_library(dir.arena, library);
    fake_use(dir.arena);
    mlcc_model *model = NULL;
    mlcc_engine *engine = NULL;
    tiny_ok(mlcc_model_open(&options, &model));
    tiny_ok(
        mlcc_engine_create(model, &(mlcc_engine_options){.max_sequences = n_sequences}, &engine));
    mlcc_sampler *samplers[4];
    for (int kind = 0; kind < 4; kind++) samplers[kind] = make_sampler(kind);
    int32_t tokens[16];
    mlcc_batch_item items[16];
    for (int32_t i = 0; i < n_sequences; i++) {
        int32_t sequence = 0;
        tiny_ok(mlcc_engine_add_sequence(engine, &sequence));
        tokens[i] = i;
        items[i] = (mlcc_batch_item){sequence, &tokens[i], 1, MLCC_LOGITS_LAST};
    }
    assert_true(atomic_load(&n_allocations) > 0); // the counters do count
    long before = atomic_load(&n_allocations);
    mlcc_status *status = NULL;
    for (int step = 0; step < TINY_CONTEXT && status == NULL; step++) {
        const float *logits = NULL;
        int64_t n_rows = 0;
        status = mlcc_engine_step(engine, items, n_sequences, &logits, &n_rows);
        for (int32_t i = 0; i < n_rows; i++) {
            tokens[i] =
                mlcc_sampler_sample(samplers[i % 4], logits + i * TINY_VOCAB) % TINY_BAD_TOKEN;
        }
    }
    long after = atomic_load(&n_allocations);
    tiny_ok(status);
    assert_int_equal(after - before, 0);
    for (int kind = 0; kind < 4; kind++) mlcc_sampler_free(samplers[kind]);
    mlcc_engine_free(engine);
    mlcc_model_close(model);
    tiny_dir_remove(&dir);
}

static void one_sequence(void **state) {
    (void)state;
    decode("handwritten_plain", 1, 1);
    decode("handwritten_plain", 2, 1);
}

static void one_pass(void **state) {
    (void)state;
    decode("handwritten_plain", 2, TINY_SEQS);
}

static void several_passes(void **state) {
    (void)state;
    decode("handwritten_plain", 2, 11);
}

// What the driver allocates is its own affair: the fake one is a library of its own, not counted.
static void on_a_cuda_device(void **state) {
    (void)state;
    decode("handwritten_cuda_plain", 1, 1);
    decode("handwritten_cuda_plain", 2, TINY_SEQS);
    decode("handwritten_cuda_plain", 2, 11);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_sequence),
        cmocka_unit_test(one_pass),
        cmocka_unit_test(several_passes),
        cmocka_unit_test(on_a_cuda_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
