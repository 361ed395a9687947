// The weight store's reader: what a good index gives, and every lie that an index may tell.
#include "tests/unit/runtime/tiny_model.h"

#include "runtime/model/library.h"
#include "runtime/model/tensor_cache.h"

static mlcc_status *parse(const char *text, mlcc_tensor_cache **out) {
    return mlcc_tensor_cache_parse(text, strlen(text), "dir/tensor-cache.json", out);
}

// One shard "s.bin" of 64 bytes with these records.
static void expect_records(
    const char *records, mlcc_code code, const char *part, const char *other) {
    char text[4096];
    snprintf(
        text, sizeof text,
        "{\"records\": [{\"dataPath\": \"s.bin\", \"format\": \"raw-shard\", \"nbytes\": 64, "
        "\"records\": [%s]}]}",
        records);
    mlcc_tensor_cache *cache = NULL;
    mlcc_status *status = parse(text, &cache);
    if (code == MLCC_OK) {
        tiny_ok(status);
        mlcc_tensor_cache_close(cache);
    } else {
        tiny_refused(status, code, part, other);
        assert_null(cache);
    }
}

#define RECORD(name, shape, dtype, format, nbytes, offset) \
    "{\"name\": \"" name "\", \"shape\": " shape ", \"dtype\": \"" dtype \
    "\", \"format\": \"" format "\", \"nbytes\": " nbytes ", \"byteOffset\": " offset "}"

// clang-format off
static const char small_index[] =
    "{\"metadata\": {\"ParamSize\": 4, \"ParamBytes\": 52.0, \"BitsPerParam\": 4.5}, \"records\": ["
    "{\"dataPath\": \"params_shard_0.bin\", \"format\": \"raw-shard\", \"nbytes\": 40, "
    "\"md5sum\": \"0123456789abcdef0123456789ABCDEF\", \"records\": ["
    RECORD("a.q_weight", "[2, 3]", "uint32", "f32-to-bf16", "24", "16") ", "
    RECORD("a.q_scale", "[2, 1]", "float16", "f32-to-bf16", "4", "0") ", "
    RECORD("norm", "[3]", "float32", "f32-to-bf16", "6", "4") "]}, "
    "{\"dataPath\": \"params_shard_1.bin\", \"format\": \"raw-shard\", \"nbytes\": 8, \"records\": ["
    RECORD("scalar", "[]", "float32", "raw", "4", "0") ", "
    RECORD("empty", "[0, 7]", "int8", "raw", "0", "2") "]}]}";
// clang-format on

static void what_an_index_says(void **state) {
    (void)state;
    mlcc_tensor_cache *cache = NULL;
    tiny_ok(parse(small_index, &cache));
    assert_int_equal(cache->n_shards, 2);
    assert_int_equal(cache->n_records, 5);
    assert_true(cache->param_bytes == 52.0 && cache->bits_per_param == 4.5);
    assert_string_equal(cache->shards[0].path, "dir/params_shard_0.bin");
    assert_null(cache->shards[1].md5);
    const mlcc_tensor_record *record = mlcc_tensor_cache_find(cache, "a.q_weight");
    assert_non_null(record);
    assert_string_equal(record->dtype, "uint32");
    assert_int_equal(record->abi_dtype, MLCC_ABI_U32);
    assert_int_equal(record->rank, 2);
    assert_int_equal(record->dims[1], 3);
    assert_int_equal(record->offset_bytes, 16);
    assert_false(record->is_bf16_halves);
    assert_true(mlcc_tensor_cache_find(cache, "norm")->is_bf16_halves);
    assert_int_equal(mlcc_tensor_cache_find(cache, "norm")->n_elements, 3);
    assert_false(mlcc_tensor_cache_find(cache, "scalar")->is_bf16_halves);
    assert_int_equal(mlcc_tensor_cache_find(cache, "scalar")->n_elements, 1);
    assert_int_equal(mlcc_tensor_cache_find(cache, "scalar")->shard, 1);
    assert_null(mlcc_tensor_cache_find(cache, "a.q"));
    mlcc_str text = {0};
    mlcc_tensor_shape_text(record->dtype, record->rank, record->dims, &text);
    assert_string_equal(text.data, "uint32 [2, 3]");
    mlcc_str_free(&text);
    mlcc_tensor_cache_close(cache);
    mlcc_tensor_cache_close(NULL);
}

static void every_dtype(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t size_bytes;
        uint32_t abi;
    } rows[] = {
        {"float16", 2, MLCC_ABI_F16},
        {"float32", 4, MLCC_ABI_F32},
        {"bfloat16", 2, MLCC_ABI_BF16},
        {"uint32", 4, MLCC_ABI_U32},
        {"int32", 4, MLCC_ABI_I32},
        {"int8", 1, MLCC_ABI_I8},
        {"uint8", 1, MLCC_ABI_U8},
        {"float8_e4m3fn", 1, MLCC_ABI_F8E4M3},
        {"float8_e5m2", 1, MLCC_ABI_F8E5M2},
        {"e4m3_float8", 1, MLCC_ABI_F8E4M3},
        {"e5m2_float8", 1, MLCC_ABI_F8E5M2},
        {"float64", 8, 0},
        {"int64", 8, 0},
        {"bool", 1, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[512];
        snprintf(
            text, sizeof text,
            "{\"records\": [{\"dataPath\": \"s.bin\", \"format\": \"raw-shard\", \"nbytes\": 64, "
            "\"records\": [{\"name\": \"a\", \"shape\": [3], \"dtype\": \"%s\", \"format\": "
            "\"raw\", \"nbytes\": %zu, \"byteOffset\": 0}]}]}",
            rows[i].text, 3 * rows[i].size_bytes);
        mlcc_tensor_cache *cache = NULL;
        tiny_ok(parse(text, &cache));
        const mlcc_tensor_record *record = mlcc_tensor_cache_find(cache, "a");
        assert_string_equal(record->dtype, rows[i].text);
        assert_int_equal(record->abi_dtype, rows[i].abi);
        if (rows[i].abi != 0)
            assert_int_equal(mlcc_abi_dtype_bytes(record->abi_dtype), rows[i].size_bytes);
        mlcc_tensor_cache_close(cache);
    }
    assert_string_equal(mlcc_abi_dtype_text(MLCC_ABI_F8E4M3), "float8_e4m3fn");
    assert_string_equal(mlcc_abi_dtype_text(MLCC_ABI_F8E5M2), "float8_e5m2");
    assert_int_equal(MLCC_ABI_F8E4M3, 8);
    assert_int_equal(mlcc_abi_dtype_bytes(MLCC_ABI_F8E5M2 + 1), 0);
}

static void lies_about_tensors(void **state) {
    (void)state;
    expect_records("", MLCC_OK, "", "");
    expect_records(RECORD("a", "[16]", "float32", "raw", "64", "0"), MLCC_OK, "", "");
    expect_records(
        RECORD("a", "[16]", "float32", "raw", "60", "0"), MLCC_INVALID, "'nbytes' is 60", "'a'");
    expect_records(
        RECORD("a", "[16]", "float32", "f32-to-bf16", "64", "0"), MLCC_INVALID,
        "elements of 2 bytes", "");
    expect_records(
        RECORD("a", "[16]", "float32", "raw", "64", "1"), MLCC_INVALID,
        "outside the shard's 64 bytes", "'s.bin'");
    expect_records(RECORD("a", "[1]", "int8", "raw", "1", "64"), MLCC_INVALID, "outside", "");
    expect_records(
        RECORD("a", "[1]", "int8", "raw", "1", "9223372036854775807"), MLCC_INVALID, "outside", "");
    expect_records(RECORD("a", "[1]", "int8", "raw", "1", "-1"), MLCC_INVALID, "byteOffset", "");
    expect_records(RECORD("a", "[-1]", "int8", "raw", "1", "0"), MLCC_INVALID, "integers ≥ 0", "");
    expect_records(RECORD("a", "[1.5]", "int8", "raw", "1", "0"), MLCC_INVALID, "integers ≥ 0", "");
    expect_records(
        RECORD("a", "[\"n\"]", "int8", "raw", "1", "0"), MLCC_INVALID, "integers ≥ 0", "");
    expect_records(
        RECORD("a", "[1,1,1,1,1,1,1]", "int8", "raw", "1", "0"), MLCC_UNSUPPORTED, "7 dimensions",
        "at most 6");
    expect_records(
        RECORD("a", "[4294967296, 4294967296]", "int8", "raw", "1", "0"), MLCC_INVALID,
        "exceeds 63 bits", "");
    expect_records(
        RECORD("a", "[4611686018427387904]", "float64", "raw", "0", "0"), MLCC_INVALID,
        "'nbytes' is 0", "");
    expect_records(
        RECORD("a", "[1]", "float12", "raw", "1", "0"), MLCC_UNSUPPORTED, "dtype 'float12'",
        "float16, float32");
    expect_records(
        RECORD("a", "[1]", "int8", "zip", "1", "0"), MLCC_UNSUPPORTED, "format 'zip'",
        "f32-to-bf16");
    expect_records(RECORD("", "[1]", "int8", "raw", "1", "0"), MLCC_INVALID, "'name'", "");
    expect_records("{\"name\": \"a\\u0000b\", \"shape\": [1]}", MLCC_INVALID, "name", "NUL");
    expect_records("{\"shape\": [1]}", MLCC_INVALID, "name", "record 0");
    expect_records("17", MLCC_INVALID, "record 0 is not an object", "");
    expect_records(
        RECORD("a", "[1]", "int8", "raw", "1", "0") "," RECORD("a", "[1]", "int8", "raw", "1", "1"),
        MLCC_INVALID, "'a' appears twice", "");
    expect_records(
        RECORD("late", "[8]", "int8", "raw", "8", "8") "," RECORD(
            "long", "[9]", "int8", "raw", "9", "0"),
        MLCC_INVALID, "'long' and 'late' overlap at byte 8", "'s.bin'");
    expect_records(
        RECORD("all", "[64]", "int8", "raw", "64", "0") "," RECORD(
            "none", "[0]", "int8", "raw", "0", "5"),
        MLCC_OK, "", "");
}

static void lies_about_shards(void **state) {
    (void)state;
    static const struct {
        const char *text;
        mlcc_code code;
        const char *part;
    } cases[] = {
        {"", MLCC_INVALID, "tensor-cache.json"},
        {"[]", MLCC_INVALID, "must be an object"},
        {"{}", MLCC_INVALID, "records"},
        {"{\"records\": 3}", MLCC_INVALID, "records"},
        {"{\"records\": [3]}", MLCC_INVALID, "shard 0 is not an object"},
        {"{\"metadata\": [], \"records\": []}", MLCC_INVALID, "metadata"},
        {"{\"records\": [{}]}", MLCC_INVALID, "dataPath"},
        {"{\"records\": [{\"dataPath\": \"../s.bin\", \"format\": \"raw-shard\", \"nbytes\": 1, "
         "\"records\": []}]}",
         MLCC_INVALID, "../s.bin"},
        {"{\"records\": [{\"dataPath\": \"/etc/passwd\", \"format\": \"raw-shard\", \"nbytes\": 1, "
         "\"records\": []}]}",
         MLCC_INVALID, "/etc/passwd"},
        {"{\"records\": [{\"dataPath\": \"s\", \"format\": \"zip-shard\", \"nbytes\": 1, "
         "\"records\": []}]}",
         MLCC_UNSUPPORTED, "'zip-shard'"},
        {"{\"records\": [{\"dataPath\": \"s\", \"format\": \"raw-shard\", \"nbytes\": -1, "
         "\"records\": []}]}",
         MLCC_INVALID, "nbytes"},
        {"{\"records\": [{\"dataPath\": \"s\", \"format\": \"raw-shard\", \"nbytes\": 1}]}",
         MLCC_INVALID, "records"},
        {"{\"records\": [{\"dataPath\": \"s\", \"format\": \"raw-shard\", \"nbytes\": 1, "
         "\"records\": {\"a\": 1}}]}",
         MLCC_INVALID, "records"},
        {"{\"records\": [{\"dataPath\": \"s\", \"format\": \"raw-shard\", \"nbytes\": 1, "
         "\"md5sum\": \"abc\", \"records\": []}]}",
         MLCC_INVALID, "'md5sum' is 'abc'"},
        {"{\"records\": [{\"dataPath\": \"s\", \"format\": \"raw-shard\", \"nbytes\": 1, "
         "\"records\": []}, "
         "{\"dataPath\": \"s\", \"format\": \"raw-shard\", \"nbytes\": 1, \"records\": []}]}",
         MLCC_INVALID, "'s' is listed twice"},
        {"{\"records\": [{\"dataPath\": \"s\", \"dataPath\": \"t\"}]}", MLCC_INVALID, "dataPath"},
        {"{\"records\": []} x", MLCC_INVALID, "tensor-cache.json"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mlcc_tensor_cache *cache = NULL;
        tiny_refused(
            parse(cases[i].text, &cache), cases[i].code, cases[i].part, "dir/tensor-cache.json");
        assert_null(cache);
    }
}

static void both_names_of_the_index(void **state) {
    (void)state;
    tiny_dir dir = tiny_dir_make((tiny_store){.old_name = true});
    mlcc_tensor_cache *cache = NULL;
    tiny_ok(mlcc_tensor_cache_open(dir.path, &cache));
    assert_true(mlcc_text_ends_with(cache->path, "/ndarray-cache.json"));
    mlcc_tensor_cache_close(cache);
    tiny_write_store(dir.path, (tiny_store){0});
    tiny_ok(mlcc_tensor_cache_open(dir.path, &cache));
    assert_true(mlcc_text_ends_with(cache->path, "/tensor-cache.json"));
    tiny_ok(mlcc_tensor_cache_map(cache));
    const mlcc_tensor_record *record = mlcc_tensor_cache_find(cache, "mix.q_weight");
    assert_int_equal(((const int8_t *)mlcc_tensor_cache_data(cache, record))[4], 2);
    mlcc_tensor_cache_close(cache);
    tiny_dir_remove(&dir);
}

typedef struct seen_progress {
    int n_calls;
    uint64_t last_bytes;
} seen_progress;

static void see(void *user, const char *phase, uint64_t done_bytes, uint64_t total_bytes) {
    seen_progress *seen = user;
    assert_string_equal(phase, "verifying");
    assert_true(done_bytes <= total_bytes);
    seen->n_calls++;
    seen->last_bytes = done_bytes;
}

static void verification(void **state) {
    (void)state;
    tiny_dir dir = tiny_dir_make((tiny_store){0});
    mlcc_pool *pool = NULL;
    tiny_ok(mlcc_pool_create(1, &pool));
    mlcc_tensor_cache *cache = NULL;
    tiny_ok(mlcc_tensor_cache_open(dir.path, &cache));
    tiny_ok(mlcc_tensor_cache_map(cache));
    seen_progress seen = {0};
    tiny_ok(mlcc_tensor_cache_verify(cache, pool, see, &seen));
    assert_int_equal(seen.n_calls, 2);
    assert_int_equal(seen.last_bytes, 27 + 2116);
    mlcc_hash128 identity = mlcc_tensor_cache_identity(cache);
    mlcc_tensor_cache_close(cache);
    // Equal stores have equal identities wherever they lie; other content has another.
    tiny_dir copy = tiny_dir_make((tiny_store){0}),
             other = tiny_dir_make((tiny_store){.embed_as_bf16 = true});
    tiny_ok(mlcc_tensor_cache_open(copy.path, &cache));
    assert_true(mlcc_hash128_equal(mlcc_tensor_cache_identity(cache), identity));
    mlcc_tensor_cache_close(cache);
    tiny_ok(mlcc_tensor_cache_open(other.path, &cache));
    assert_false(mlcc_hash128_equal(mlcc_tensor_cache_identity(cache), identity));
    mlcc_tensor_cache_close(cache);
    mlcc_pool_free(pool);
    tiny_dir_remove(&dir);
    tiny_dir_remove(&copy);
    tiny_dir_remove(&other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_an_index_says),      cmocka_unit_test(every_dtype),
        cmocka_unit_test(lies_about_tensors),      cmocka_unit_test(lies_about_shards),
        cmocka_unit_test(both_names_of_the_index), cmocka_unit_test(verification),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
