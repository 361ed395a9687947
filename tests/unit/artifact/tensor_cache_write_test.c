// The store writer: MLC's shard rule, the index text byte for byte, float32 in both encodings,
// failures that leave nothing.
#include "dist/artifact/tensor_cache_write.h"

#include "tests/unit/artifact/artifact_fixture.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define MIB (1024 * 1024)

static artifact_store *open_at(const char *dir, bool f32_as_bf16) {
    artifact_store *store = NULL;
    must(artifact_store_open(
        &(artifact_store_options){.directory = dir, .f32_as_bf16 = f32_as_bf16}, &store));
    return store;
}

static void put_u8(artifact_store *store, const char *name, int64_t size_bytes, const void *data) {
    must(artifact_store_begin(store, name, IR_U8, 1, &size_bytes));
    must(artifact_store_append(store, data, (size_t)size_bytes / 3));
    must(artifact_store_append(
        store, (const char *)data + size_bytes / 3, (size_t)(size_bytes - size_bytes / 3)));
}

static void index_text(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    const char *dir = mlcc_path_join(keep, test_folder_make(keep), "made/by/the writer");
    artifact_store *store = open_at(dir, false);
    const uint32_t words[4] = {1, 2, 3, 0xffffffff};
    const float reals[3] = {1.0f, -2.5f, 0.1f};
    const uint16_t halves[2] = {0x3c00, 0x4000};
    must(artifact_store_begin(store, "a.q_weight", IR_U32, 2, (int64_t[]){2, 2}));
    must(artifact_store_append(store, words, sizeof words));
    must(artifact_store_begin(store, "b.w\xc3\xbc\"t", IR_F32, 1, (int64_t[]){3}));
    must(artifact_store_append(store, reals, sizeof reals));
    must(artifact_store_begin(store, "c", IR_F16, 1, (int64_t[]){2}));
    must(artifact_store_append(store, halves, sizeof halves));
    artifact_store_totals totals;
    must(artifact_store_finish(store, 9, &totals));
    assert_int_equal(totals.n_records, 3);
    assert_int_equal(totals.n_shards, 1);
    assert_int_equal(totals.stored_bytes, 32);
    static const char expected[] = "{\n"
                                   "    \"metadata\": {\n"
                                   "        \"ParamSize\": 3,\n"
                                   "        \"ParamBytes\": 32.0,\n"
                                   "        \"BitsPerParam\": 28.444444444444443\n"
                                   "    },\n"
                                   "    \"records\": [\n"
                                   "        {\n"
                                   "            \"dataPath\": \"params_shard_0.bin\",\n"
                                   "            \"format\": \"raw-shard\",\n"
                                   "            \"nbytes\": 32,\n"
                                   "            \"records\": [\n"
                                   "                {\n"
                                   "                    \"name\": \"a.q_weight\",\n"
                                   "                    \"shape\": [\n"
                                   "                        2,\n"
                                   "                        2\n"
                                   "                    ],\n"
                                   "                    \"dtype\": \"uint32\",\n"
                                   "                    \"format\": \"f32-to-bf16\",\n"
                                   "                    \"nbytes\": 16,\n"
                                   "                    \"byteOffset\": 0\n"
                                   "                },\n"
                                   "                {\n"
                                   "                    \"name\": \"b.w\\u00fc\\\"t\",\n"
                                   "                    \"shape\": [\n"
                                   "                        3\n"
                                   "                    ],\n"
                                   "                    \"dtype\": \"float32\",\n"
                                   "                    \"format\": \"raw\",\n"
                                   "                    \"nbytes\": 12,\n"
                                   "                    \"byteOffset\": 16\n"
                                   "                },\n"
                                   "                {\n"
                                   "                    \"name\": \"c\",\n"
                                   "                    \"shape\": [\n"
                                   "                        2\n"
                                   "                    ],\n"
                                   "                    \"dtype\": \"float16\",\n"
                                   "                    \"format\": \"f32-to-bf16\",\n"
                                   "                    \"nbytes\": 4,\n"
                                   "                    \"byteOffset\": 28\n"
                                   "                }\n"
                                   "            ],\n"
                                   "            \"md5sum\": \"%s\"\n"
                                   "        }\n"
                                   "    ]\n"
                                   "}";
    char shard[32], hex[33];
    memcpy(shard, words, 16);
    memcpy(shard + 16, reals, 12);
    memcpy(shard + 28, halves, 4);
    mlcc_md5 md5;
    mlcc_md5_init(&md5);
    mlcc_md5_update(&md5, shard, sizeof shard);
    mlcc_md5_hex(&md5, hex);
    char *found = NULL;
    size_t length = 0;
    must(mlcc_file_read(mlcc_path_join(keep, dir, "tensor-cache.json"), 0, &found, &length));
    assert_string_equal(found, mlcc_arena_printf(keep, expected, hex));
    free(found);
    must(mlcc_file_read(mlcc_path_join(keep, dir, "params_shard_0.bin"), 0, &found, &length));
    assert_int_equal(length, sizeof shard);
    assert_memory_equal(found, shard, sizeof shard);
    free(found);
    assert_string_equal(names_in(dir, keep), "params_shard_0.bin tensor-cache.json");
    mlcc_tensor_cache_close(open_store(dir));
    must(mlcc_dir_remove_tree(mlcc_path_dir(keep, mlcc_path_dir(keep, mlcc_path_dir(keep, dir)))));
    mlcc_arena_free(keep);
}

static void floats_as_mlc_stores_them(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    const char *dir = test_folder_make(keep);
    enum { COUNT = 40001 };
    float *values = MLCC_NEW_ARRAY(keep, float, COUNT);
    for (int i = 0; i < COUNT; i++) values[i] = (float)i * 0.37f - 5000.0f;
    artifact_store *store = open_at(dir, true);
    must(artifact_store_begin(store, "x", IR_F32, 1, (int64_t[]){COUNT}));
    must(artifact_store_append(store, values, 30000 * sizeof(float)));
    must(artifact_store_append(store, values + 30000, 10001 * sizeof(float)));
    must(artifact_store_begin(store, "y", IR_U8, 1, (int64_t[]){2}));
    must(artifact_store_append(store, "ab", 2));
    artifact_store_totals totals;
    must(artifact_store_finish(store, COUNT, &totals));
    assert_int_equal(totals.stored_bytes, 2 * COUNT + 2);
    assert_int_equal(totals.param_bytes, 4 * COUNT + 2);
    mlcc_tensor_cache *cache = open_store(dir);
    const mlcc_tensor_record *record = mlcc_tensor_cache_find(cache, "x");
    assert_true(record->is_bf16_halves);
    const char *stored = mlcc_tensor_cache_data(cache, record);
    for (int i = 0; i < COUNT; i++) {
        uint16_t half;
        memcpy(&half, stored + 2 * i, 2);
        assert_int_equal(half, artifact_store_bf16(values[i]));
    }
    mlcc_tensor_cache_close(cache);
    // The second index calls the halves what they are, and only those.
    assert_string_equal(
        names_in(dir, keep), "params_shard_0.bin tensor-cache-b16.json tensor-cache.json");
    mlcc_json *json = NULL;
    must(mlcc_json_read_file(mlcc_path_join(keep, dir, "tensor-cache-b16.json"), 0, &json));
    const mlcc_json_value *records =
        mlcc_json_get(mlcc_json_at(mlcc_json_get(mlcc_json_root(json), "records"), 0), "records");
    assert_string_equal(
        mlcc_json_text(mlcc_json_get(mlcc_json_at(records, 0), "dtype"), NULL), "bfloat16");
    assert_string_equal(
        mlcc_json_text(mlcc_json_get(mlcc_json_at(records, 0), "format"), NULL), "raw");
    assert_string_equal(
        mlcc_json_text(mlcc_json_get(mlcc_json_at(records, 1), "dtype"), NULL), "uint8");
    assert_string_equal(
        mlcc_json_text(mlcc_json_get(mlcc_json_at(records, 1), "format"), NULL), "f32-to-bf16");
    mlcc_json_free(json);

    // The reference's vectors of the rounding.
    assert_int_equal(artifact_store_bf16(1.0f), 0x3f80);
    assert_int_equal(artifact_store_bf16(0.1f), 0x3dcd);
    assert_int_equal(artifact_store_bf16(1.0f / 3.0f), 0x3eab);
    assert_int_equal(artifact_store_bf16(1.00390625f), 0x3f80);
    assert_int_equal(artifact_store_bf16(1.01171875f), 0x3f82);
    assert_int_equal(artifact_store_bf16(-2.71828f), 0xc02e);
    assert_int_equal(artifact_store_bf16(-3.40282347e38f), 0xff7f);
    must(mlcc_dir_remove_tree(dir));
    mlcc_arena_free(keep);
}

// "name@offset …" of a shard's records.
static const char *records_of(const mlcc_tensor_cache *cache, size_t shard, mlcc_arena *keep) {
    char *text = mlcc_arena_strdup(keep, "");
    for (size_t i = 0; i < cache->n_records; i++) {
        if (cache->records[i].shard != shard) continue;
        text = mlcc_arena_printf(
            keep, "%s%s%s@%lluM", text, text[0] == '\0' ? "" : " ", cache->records[i].name,
            (unsigned long long)(cache->records[i].offset_bytes / MIB));
    }
    return text;
}

static void shard_rule(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    const char *dir = test_folder_make(keep);
    char *data = calloc(40, MIB);
    assert_non_null(data);
    artifact_store *store = open_at(dir, false);
    put_u8(store, "norm", 1 * MIB, data); // waits in pending
    put_u8(store, "big", 40 * MIB, data); // alone, gets number 0 although it comes second
    put_u8(
        store, "a", 20 * MIB, data);   // 21 MiB pending: a big one that fits is no shard of its own
    put_u8(store, "b", 5 * MIB, data); // 26
    put_u8(store, "c", 10 * MIB, data);     // 36 >= 32 and 20 < 32: pending becomes number 1
    put_u8(store, "half", 16 * MIB, data);  // 26
    put_u8(store, "other", 16 * MIB, data); // 42 >= 32 and 32 >= 32: alone, number 2; pending stays
    put_u8(store, "d", 6 * MIB - 1, data);  // 32 MiB - 1: still below the cap
    put_u8(store, "e", 1, data);            // reaches it: pending becomes number 3
    must(artifact_store_finish(store, 1, NULL));
    free(data);
    mlcc_tensor_cache *cache = open_store(dir);
    assert_int_equal(cache->n_shards, 5);
    assert_string_equal(records_of(cache, 0, keep), "big@0M");
    assert_string_equal(records_of(cache, 1, keep), "norm@0M a@1M b@21M");
    assert_string_equal(records_of(cache, 2, keep), "other@0M");
    assert_string_equal(records_of(cache, 3, keep), "c@0M half@10M d@26M");
    assert_string_equal(records_of(cache, 4, keep), "e@0M");
    for (size_t i = 0; i < cache->n_shards; i++) {
        char name[64];
        snprintf(name, sizeof name, "params_shard_%zu.bin", i);
        assert_string_equal(cache->shards[i].name, name);
    }
    assert_int_equal(cache->shards[3].size_bytes, 32 * MIB - 1);
    mlcc_tensor_cache_close(cache);
    must(mlcc_dir_remove_tree(dir));
    mlcc_arena_free(keep);
}

static void an_abandoned_store_leaves_nothing(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    const char *dir = test_folder_make(keep);
    const char *made = mlcc_path_join(keep, dir, "x/y");
    artifact_store *store = open_at(made, false);
    must(artifact_store_begin(store, "t", IR_U8, 1, (int64_t[]){10}));
    must(artifact_store_append(store, "abc", 3));
    artifact_store_abandon(store);
    assert_string_equal(names_in(dir, keep), "");
    artifact_store_abandon(NULL);
    // A record that lacks bytes, a name that comes twice, too many bytes.
    store = open_at(dir, false);
    must(artifact_store_begin(store, "t", IR_U8, 1, (int64_t[]){3}));
    must_fail(artifact_store_append(store, "abcd", 4), MLCC_INTERNAL, "4 bytes");
    must_fail(
        artifact_store_begin(store, "u", IR_U8, 1, (int64_t[]){3}), MLCC_INTERNAL, "'t' lacks 3");
    must(artifact_store_append(store, "abc", 3));
    must_fail(artifact_store_begin(store, "t", IR_U8, 1, (int64_t[]){3}), MLCC_INVALID, "'t'");
    must_fail(
        artifact_store_begin(store, "v", IR_Q4G32_F16, 1, (int64_t[]){3}), MLCC_INTERNAL,
        "q4g32_f16");
    must_fail(
        artifact_store_begin(store, "w", IR_U8, 2, (int64_t[]){INT64_MAX, 3}), MLCC_INVALID, "'w'");
    must(artifact_store_begin(store, "x", IR_U8, 1, (int64_t[]){3}));
    must_fail(artifact_store_finish(store, 1, NULL), MLCC_INTERNAL, "'x' lacks 3");
    assert_string_equal(names_in(dir, keep), "");
    must(mlcc_dir_remove_tree(dir));
    mlcc_arena_free(keep);
}

// A disk that refuses more (here: a limit on file size) gives an error, and nothing stays.
static void a_full_disk(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    const char *dir = test_folder_make(keep);
    must_fail(
        artifact_store_open(
            &(artifact_store_options){.directory = dir, .expected_bytes = UINT64_MAX / 2},
            &(artifact_store *){NULL}),
        MLCC_IO, "free");
    assert_string_equal(names_in(dir, keep), "");
    const pid_t child = fork();
    if (child == 0) {
        signal(SIGXFSZ, SIG_IGN);
        const struct rlimit limit = {6 * MIB, 6 * MIB};
        if (setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(3);
        char *data = calloc(8, MIB);
        artifact_store *store = NULL;
        mlcc_status *status =
            artifact_store_open(&(artifact_store_options){.directory = dir}, &store);
        if (status == NULL)
            status = artifact_store_begin(store, "t", IR_U8, 1, (int64_t[]){16 * MIB});
        if (status == NULL) status = artifact_store_append(store, data, 8 * MIB);
        if (status == NULL) _exit(4);
        artifact_store_abandon(store);
        _exit(mlcc_status_code(status) == MLCC_IO ? 0 : 5);
    }
    int result = 0;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_int_equal(result, 0);
    assert_string_equal(names_in(dir, keep), "");
    must(mlcc_dir_remove_tree(dir));
    mlcc_arena_free(keep);
}

static void a_folder_that_may_not_be_written(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    const char *dir = test_folder_make(keep);
    assert_int_equal(chmod(dir, 0555), 0);
    const pid_t child = fork();
    if (child == 0) {
        if (geteuid() == 0 && setuid(65534) != 0) _exit(77);
        artifact_store *store = NULL;
        mlcc_status *status =
            artifact_store_open(&(artifact_store_options){.directory = dir}, &store);
        if (status == NULL || store != NULL || mlcc_status_code(status) != MLCC_IO) _exit(3);
        _exit(strstr(mlcc_status_message(status), dir) != NULL ? 0 : 4);
    }
    int result = 0;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_int_equal(result, 0);
    assert_int_equal(chmod(dir, 0755), 0);
    assert_string_equal(names_in(dir, keep), "");
    must(mlcc_dir_remove_tree(dir));
    mlcc_arena_free(keep);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(index_text),  cmocka_unit_test(floats_as_mlc_stores_them),
        cmocka_unit_test(shard_rule),  cmocka_unit_test(an_abandoned_store_leaves_nothing),
        cmocka_unit_test(a_full_disk), cmocka_unit_test(a_folder_that_may_not_be_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
