// The page allocator: no page ever belongs to two sequences, none is lost, equal histories give
// equal tables.
#include "tests/unit/runtime/tiny_model.h"

#include "runtime/base/threads.h"
#include "runtime/device/device.h"
#include "runtime/model/kv_cache.h"

enum { N_PAGES = 20, N_SEQUENCES = 5, N_SLOTS = 12 };

static mlcc_pool *pool;
static mlcc_device *device;

static int open_device(void **state) {
    (void)state;
    static const mlcc_abi_model abi;
    tiny_ok(mlcc_pool_create(1, &pool));
    tiny_ok(mlcc_device_open(&abi, "cpu", pool, &device));
    return 0;
}

static int close_device(void **state) {
    (void)state;
    mlcc_device_close(device);
    mlcc_pool_free(pool);
    return 0;
}

static mlcc_kv_cache make(void) {
    static const size_t page_bytes[] = {256, 128, 1 << 20};
    mlcc_kv_cache cache;
    tiny_ok(mlcc_kv_cache_create(device, 3, page_bytes, N_PAGES, N_SEQUENCES, N_SLOTS, &cache));
    return cache;
}

static void check_ownership(const mlcc_kv_cache *cache) {
    int owners[N_PAGES] = {0};
    for (int64_t i = 0; i < cache->n_free; i++) owners[cache->free_pages[i]]++;
    for (int s = 0; s < N_SEQUENCES; s++) {
        if (!mlcc_kv_cache_is_live(cache, s)) assert_int_equal(cache->lengths[s], 0);
        for (int64_t i = 0; i < mlcc_kv_pages_of(cache->lengths[s]); i++)
            owners[cache->pages[s * N_SLOTS + i]]++;
    }
    for (int page = 0; page < N_PAGES; page++) assert_int_equal(owners[page], 1);
}

static void pages_of_lengths(void **state) {
    (void)state;
    assert_int_equal(mlcc_kv_pages_of(0), 0);
    assert_int_equal(mlcc_kv_pages_of(1), 1);
    assert_int_equal(mlcc_kv_pages_of(16), 1);
    assert_int_equal(mlcc_kv_pages_of(17), 2);
    assert_int_equal(mlcc_kv_pages_of(INT64_MAX), INT64_MAX / 16 + 1);
}

static void random_histories(void **state) {
    (void)state;
    mlcc_kv_cache cache = make(), twin = make();
    uint32_t random = 7;
    for (int step = 0; step < 5000; step++) {
        random = random * 1664525u + 1013904223u;
        int32_t s = (int32_t)(random >> 8) % N_SEQUENCES;
        int64_t n = (int64_t)(random >> 16 & 63);
        if (!mlcc_kv_cache_is_live(&cache, s)) {
            assert_int_equal(mlcc_kv_cache_add(&cache), mlcc_kv_cache_add(&twin));
        } else if (random >> 29 == 0) {
            mlcc_kv_cache_remove(&cache, s);
            mlcc_kv_cache_remove(&twin, s);
        } else if (random >> 29 < 3) {
            int64_t kept = cache.lengths[s] == 0 ? 0 : n % cache.lengths[s];
            mlcc_kv_cache_truncate(&cache, s, kept);
            mlcc_kv_cache_truncate(&twin, s, kept);
        } else if (
            mlcc_kv_cache_missing(&cache, s, n) <= cache.n_free &&
            cache.lengths[s] + n <= N_SLOTS * MLCC_PAGE_TOKENS) {
            mlcc_kv_cache_grow(&cache, s, n);
            mlcc_kv_cache_grow(&twin, s, n);
        }
        check_ownership(&cache);
        for (int i = 0; i < N_SEQUENCES; i++) {
            assert_int_equal(cache.lengths[i], twin.lengths[i]);
            size_t held = (size_t)mlcc_kv_pages_of(cache.lengths[i]);
            assert_memory_equal(
                cache.pages + i * N_SLOTS, twin.pages + i * N_SLOTS, held * sizeof(int32_t));
        }
    }
    mlcc_kv_cache_free(&cache);
    mlcc_kv_cache_free(&twin);
}

static void tensors_and_limits(void **state) {
    (void)state;
    mlcc_kv_cache cache = make();
    for (int layer = 0; layer < 3; layer++) {
        assert_int_equal((uintptr_t)cache.tensors[layer].address % 64, 0);
        // Fresh memory is zero, also at its end.
        const char *data = cache.tensors[layer].address;
        assert_int_equal(data[0] | data[cache.tensors[layer].size_bytes - 1], 0);
    }
    assert_int_equal(cache.tensors[2].size_bytes, (size_t)N_PAGES << 20);
    for (int s = 0; s < N_SEQUENCES; s++) assert_int_equal(mlcc_kv_cache_add(&cache), s);
    assert_int_equal(mlcc_kv_cache_add(&cache), -1);
    mlcc_kv_cache_remove(&cache, 2);
    assert_int_equal(mlcc_kv_cache_add(&cache), 2);
    assert_false(mlcc_kv_cache_is_live(&cache, -1));
    assert_false(mlcc_kv_cache_is_live(&cache, N_SEQUENCES));
    mlcc_kv_cache_free(&cache);
    mlcc_kv_cache_free(&cache);

    static const size_t page_bytes[] = {SIZE_MAX / 4};
    tiny_refused(
        mlcc_kv_cache_create(device, 1, page_bytes, 0, 1, 1, &cache), MLCC_INVALID,
        "0 pages is not possible", "");
    tiny_refused(
        mlcc_kv_cache_create(device, 1, page_bytes, 8, 1, 1, &cache), MLCC_NO_MEMORY,
        "exceed 64 bits", "");
    tiny_refused(
        mlcc_kv_cache_create(device, 1, page_bytes, 2, 1, 1, &cache), MLCC_NO_MEMORY,
        "the KV cache of one layer", "MiB");
    tiny_refused(
        mlcc_kv_cache_create(device, 1, page_bytes, 2, INT32_MAX, INT64_MAX / 4, &cache),
        MLCC_NO_MEMORY, "page tables", "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_of_lengths),
        cmocka_unit_test(random_histories),
        cmocka_unit_test(tensors_and_limits),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
