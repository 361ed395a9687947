// safetensors: good files of every form, and each way in which a header or an index can lie.
#include "frontend/hf/safetensors_header.h"
#include "tests/unit/frontend/fixture.h"

// A file in memory: header length, JSON, data.
static mlcc_str make_file(const char *json, size_t n_data_bytes) {
    mlcc_str file = {0};
    uint64_t length = strlen(json);
    for (unsigned i = 0; i < 8; i++) mlcc_str_putc(&file, (char)(length >> (8 * i) & 0xff));
    mlcc_str_puts(&file, json);
    for (size_t i = 0; i < n_data_bytes; i++) mlcc_str_putc(&file, (char)i);
    return file;
}

static mlcc_status *open_file(
    fixture *self, const char *json, size_t n_data_bytes, hf_weight_source **out) {
    mlcc_str file = make_file(json, n_data_bytes);
    const char *path = fixture_write(self, "x.safetensors", file.data, file.length);
    mlcc_str_free(&file);
    return hf_safetensors_open(path, self->keep, out);
}

static void test_single_file(void **state) {
    fixture *self = *state;
    hf_weight_source *source = NULL;
    expect_ok(open_file(
        self,
        "{\"__metadata__\":{\"format\":\"pt\"},"
        "\"b\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[6,30]},"
        "\"a\":{\"dtype\":\"BF16\",\"shape\":[3],\"data_offsets\":[0,6]},"
        "\"scalar\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[30,31]},"
        "\"empty\":{\"dtype\":\"F16\",\"shape\":[0,7],\"data_offsets\":[31,31]}}   ",
        31, &source));
    assert_int_equal(source->n_tensors, 4);
    assert_string_equal(source->tensors[0].name, "b");
    assert_string_equal(source->tensors[3].name, "empty");

    const hf_tensor *b = hf_weight_source_find(source, "b");
    assert_ptr_equal(b, &source->tensors[0]);
    assert_int_equal(b->dtype, IR_F32);
    assert_int_equal(b->rank, 2);
    assert_int_equal(b->dims[0], 2);
    assert_int_equal(b->dims[1], 3);
    assert_int_equal(b->size_bytes, 24);
    assert_int_equal(hf_weight_source_find(source, "scalar")->rank, 0);
    assert_int_equal(hf_weight_source_find(source, "scalar")->size_bytes, 1);
    assert_null(hf_weight_source_find(source, "c"));

    // A view, wherever the data lies; and a copy where the caller wants one.
    const void *view = NULL;
    expect_ok(source->read(source, b, 4, 8, NULL, &view));
    assert_int_equal((uintptr_t)view % 4, 0);
    unsigned char expected[8] = {10, 11, 12, 13, 14, 15, 16, 17};
    assert_memory_equal(view, expected, 8);
    unsigned char copy[8];
    expect_ok(source->read(source, b, 4, 8, copy, NULL));
    assert_memory_equal(copy, expected, 8);
    expect_ok(source->read(source, hf_weight_source_find(source, "empty"), 0, 0, NULL, &view));
    expect_error(source->read(source, b, 20, 8, copy, NULL), MLCC_INTERNAL, "beyond", NULL);

    source->release(source, b);
    expect_ok(source->read(source, b, 0, 24, NULL, &view));
    assert_int_equal(((const unsigned char *)view)[0], 6);
    source->close(source);
    expect_no_warning(self);
}

// Formats that mlcc cannot read may stand in a file as long as nobody needs the tensor.
static void test_other_dtypes(void **state) {
    fixture *self = *state;
    hf_weight_source *source = NULL;
    expect_ok(open_file(
        self,
        "{\"ids\":{\"dtype\":\"U64\",\"shape\":[2],\"data_offsets\":[0,16]},"
        "\"w\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[16,20]},"
        "\"f4\":{\"dtype\":\"F4\",\"shape\":[2,3],\"data_offsets\":[20,23]}}",
        23, &source));
    const hf_tensor *tensor = NULL;
    expect_ok(hf_weight_source_require(source, "w", &tensor));
    assert_string_equal(tensor->name, "w");
    expect_error(
        hf_weight_source_require(source, "ids", &tensor), MLCC_UNSUPPORTED, "'ids'", "U64", "BF16",
        NULL);
    assert_null(tensor);
    expect_error(
        hf_weight_source_require(source, "idx", &tensor), MLCC_INVALID, "'idx'", "'ids'", NULL);
    const void *view = NULL;
    expect_error(
        source->read(source, hf_weight_source_find(source, "f4"), 0, 3, NULL, &view),
        MLCC_UNSUPPORTED, "F4", NULL);
    source->close(source);
}

// Formats of foreign checkpoints, and views that stay what they are while other tensors are read, wherever the file puts the data.
static void test_views_hold(void **state) {
    fixture *self = *state;
    hf_weight_source *source = NULL;
    static const char *const names[] = {"i64", "i16", "e4", "e5", "f32"};
    static const ir_dtype dtypes[] = {IR_I64, IR_I16, IR_F8E4M3, IR_F8E5M2, IR_F32};
    static const size_t begins[] = {1, 17, 21, 23, 25};
    for (size_t pad = 0; pad < 8; pad++) {
        char *json = mlcc_arena_printf(
            self->keep,
            "{\"i64\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[1,17]},"
            "\"i16\":{\"dtype\":\"I16\",\"shape\":[2],\"data_offsets\":[17,21]},"
            "\"e4\":{\"dtype\":\"F8_E4M3\",\"shape\":[2],\"data_offsets\":[21,23]},"
            "\"e5\":{\"dtype\":\"F8_E5M2\",\"shape\":[2],\"data_offsets\":[23,25]},"
            "\"f32\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[25,33]}}%.*s",
            (int)pad, "        ");
        expect_ok(open_file(self, json, 33, &source));
        const void *views[5] = {NULL};
        for (int round = 0; round < 2; round++) {
            for (size_t i = 0; i < 5; i++) {
                const hf_tensor *tensor = NULL;
                expect_ok(hf_weight_source_require(source, names[i], &tensor));
                assert_int_equal(tensor->dtype, dtypes[i]);
                expect_ok(source->read(source, tensor, 0, tensor->size_bytes, NULL, &views[i]));
                assert_int_equal((uintptr_t)views[i] % ir_dtype_bytes(dtypes[i]), 0);
                const void *end = NULL; // a part of the same view
                size_t last = ir_dtype_bytes(dtypes[i]);
                expect_ok(source->read(source, tensor, last, last, NULL, &end));
                assert_ptr_equal(end, (const char *)views[i] + last);
            }
            for (size_t i = 0; i < 5; i++)
                for (size_t k = 0; k < 2 * ir_dtype_bytes(dtypes[i]); k++)
                    assert_int_equal(((const unsigned char *)views[i])[k], begins[i] + k);
            for (size_t i = 0; i < 5; i++)
                source->release(source, hf_weight_source_find(source, names[i]));
        }
        // With a buffer at hand nothing is copied to be viewed.
        for (size_t i = 0; i < 5; i++) {
            const hf_tensor *tensor = hf_weight_source_find(source, names[i]);
            unsigned char buffer[16] = {0};
            const void *view = buffer;
            expect_ok(source->read(source, tensor, 0, tensor->size_bytes, buffer, &view));
            const size_t element_bytes = ir_dtype_bytes(dtypes[i]);
            assert_int_equal(view != NULL, (8 + strlen(json) + begins[i]) % element_bytes == 0);
            for (size_t k = 0; k < tensor->size_bytes; k++)
                assert_int_equal(
                    (view != NULL ? (const unsigned char *)view : buffer)[k], begins[i] + k);
        }
        const void *left_open = NULL;
        expect_ok(source->read(source, &source->tensors[0], 0, 16, NULL, &left_open));
        source->close(source);
    }
}

static void test_hole_is_a_warning(void **state) {
    fixture *self = *state;
    hf_weight_source *source = NULL;
    expect_ok(open_file(
        self, "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}", 9, &source));
    expect_log(self, "5 bytes of data belong to no tensor");
    source->close(source);
}

typedef struct bad_header {
    const char *json;
    size_t n_data_bytes;
    const char *message;
} bad_header;

static void test_bad_headers(void **state) {
    fixture *self = *state;
    static const bad_header cases[] = {
        {"[1]", 0, "expected an object"},
        {"{\"a\":7}", 0, "expected an object with dtype"},
        {"{\"\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "empty name"},
        {"{\"a\":{\"dtype\":\"F31\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "dtype 'F31'"},
        {"{\"a\":{\"dtype\":4,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "dtype"},
        {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "dtype"},
        {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "shape is"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", 4, "dimension 0"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, "dimension 0"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4,
         "7 dimensions"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,4]}}", 4,
         "64 bits"},
        {"{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,2]}}", 2,
         "whole number of bytes"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 8, "span 4 bytes"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "pair of integers"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4,
         "[4, 0] lie outside"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 3,
         "[0, 4] lie outside the file's 3"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 4,
         "pair of integers"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
         "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[3,7]}}",
         7, "'a' and 'b' overlap"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
         "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
         2, "duplicate"},
        {"{\"__metadata__\":{\"format\":1}}", 0, "__metadata__ key 'format'"},
        {"{\"a\":{\"dtype\":\"U8\"", 0, "safetensors header"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hf_weight_source *source = NULL;
        expect_error(
            open_file(self, cases[i].json, cases[i].n_data_bytes, &source), MLCC_INVALID,
            cases[i].message, "x.safetensors", NULL);
        assert_null(source);
    }
}

static void test_bad_lengths(void **state) {
    fixture *self = *state;
    hf_weight_source *source = NULL;
    const char *path = fixture_write(self, "x.safetensors", "", 0);
    expect_error(hf_safetensors_open(path, self->keep, &source), MLCC_INVALID, "0 bytes", NULL);
    fixture_write(self, "x.safetensors", "\x07\0\0\0", 4);
    expect_error(hf_safetensors_open(path, self->keep, &source), MLCC_INVALID, "4 bytes", NULL);
    fixture_write(self, "x.safetensors", "\x03\0\0\0\0\0\0\0{}", 10);
    expect_error(
        hf_safetensors_open(path, self->keep, &source), MLCC_INVALID, "beyond the file", NULL);
    fixture_write(self, "x.safetensors", "\x01\0\x40\x06\0\0\0\0{}", 10);
    expect_error(hf_safetensors_open(path, self->keep, &source), MLCC_INVALID, "100 MiB", NULL);
    fixture_write(self, "x.safetensors", "\xff\xff\xff\xff\xff\xff\xff\xff{}", 10);
    expect_error(
        hf_safetensors_open(path, self->keep, &source), MLCC_INVALID, "18446744073709551615", NULL);
    fixture_write(self, "x.safetensors", "\x02\0\0\0\0\0\0\0{}", 10);
    expect_ok(hf_safetensors_open(path, self->keep, &source));
    assert_int_equal(source->n_tensors, 0);
    source->close(source);
    fixture_write_text(
        self, "x.safetensors",
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n");
    expect_error(
        hf_safetensors_open(path, self->keep, &source), MLCC_INVALID, "git-LFS", "git lfs pull",
        NULL);
    expect_error(
        hf_safetensors_open(fixture_path(self, "absent"), self->keep, &source), MLCC_INVALID,
        "does not exist", NULL);
}

static void write_shard(fixture *self, const char *name, const char *json, size_t n_data_bytes) {
    mlcc_str file = make_file(json, n_data_bytes);
    fixture_write(self, name, file.data, file.length);
    mlcc_str_free(&file);
}

#define INDEX "model.safetensors.index.json"

static void test_sharded(void **state) {
    fixture *self = *state;
    write_shard(
        self, "one",
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
        "\"extra\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[4,5]}}",
        5);
    write_shard(
        self, "two",
        "{\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
        "\"c\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,4]}}",
        4);
    fixture_write_text(
        self, INDEX,
        "{\"metadata\":{},\"weight_map\":{\"b\":\"two\",\"a\":\"one\",\"c\":\"two\"}}");
    hf_weight_source *source = NULL;
    expect_ok(hf_safetensors_open(self->dir, self->keep, &source));
    assert_int_equal(source->n_tensors, 3);
    assert_string_equal(source->tensors[0].name, "b");
    assert_string_equal(source->tensors[1].name, "a");
    assert_int_equal(source->tensors[0].file, 0);
    assert_int_equal(source->tensors[1].file, 1);
    assert_int_equal(source->tensors[2].file, 0);
    const void *view = NULL;
    expect_ok(source->read(source, &source->tensors[2], 0, 2, NULL, &view));
    assert_int_equal(((const unsigned char *)view)[1], 3);
    expect_log(self, "1 of 2 tensors are not in the index");
    source->close(source);
}

static void test_bad_index(void **state) {
    fixture *self = *state;
    hf_weight_source *source = NULL;
    write_shard(self, "one", "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4);
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"{\"weight_map\":{\"a\":\"gone\"}}", "names shard 'gone'"},
        {"{\"weight_map\":{\"b\":\"one\"}}", "that file lacks it"},
        {"{\"weight_map\":{\"a\":\"../one\"}}", "../one"},
        {"{\"weight_map\":{\"a\":\"/etc/passwd\"}}", "/etc/passwd"},
        {"{\"weight_map\":{\"a\":3}}", "expected the name of a file"},
        {"{\"weight_map\":[]}", "weight_map"},
        {"{}", "weight_map"},
        {"{", INDEX},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fixture_write_text(self, INDEX, cases[i].text);
        expect_error(
            hf_safetensors_open(self->dir, self->keep, &source), MLCC_INVALID, cases[i].message,
            INDEX, NULL);
    }
}

static void test_folders_without_weights(void **state) {
    fixture *self = *state;
    hf_weight_source *source = NULL;
    expect_error(
        hf_safetensors_open(self->dir, self->keep, &source), MLCC_INVALID, "holds no weights",
        NULL);
    fixture_write_text(self, "pytorch_model.bin", "x");
    expect_error(
        hf_safetensors_open(self->dir, self->keep, &source), MLCC_UNSUPPORTED, "torch pickle",
        NULL);
    fixture_write(self, "gptq_model-4bit-128g.safetensors", "\x02\0\0\0\0\0\0\0{}", 10);
    expect_ok(hf_safetensors_open(self->dir, self->keep, &source));
    source->close(source);
    fixture_write_text(self, "model-00001-of-00002.safetensors", "x");
    expect_error(
        hf_safetensors_open(self->dir, self->keep, &source), MLCC_INVALID, "model-00001-of-00002",
        NULL);
}

// The real model in its three storage forms has the same tensors.
static void test_real_files(void **state) {
    fixture *self = *state;
    hf_weight_source *single = NULL, *sharded = NULL;
    expect_ok(
        hf_safetensors_open(fixture_data(self, "models/stories260K-f16"), self->keep, &single));
    expect_ok(hf_safetensors_open(
        fixture_data(self, "models/stories260K-sharded"), self->keep, &sharded));
    assert_int_equal(single->n_tensors, 47);
    assert_int_equal(sharded->n_tensors, 47);
    for (size_t i = 0; i < sharded->n_tensors; i++) {
        const hf_tensor *a = &sharded->tensors[i];
        const hf_tensor *b = hf_weight_source_find(single, a->name);
        assert_non_null(b);
        assert_int_equal(a->size_bytes, b->size_bytes);
        const void *x = NULL, *y = NULL;
        expect_ok(sharded->read(sharded, a, 0, a->size_bytes, NULL, &x));
        expect_ok(single->read(single, b, 0, b->size_bytes, NULL, &y));
        assert_memory_equal(x, y, a->size_bytes);
    }
    single->close(single);
    sharded->close(sharded);
    expect_no_warning(self);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_single_file),       TEST(test_other_dtypes), TEST(test_views_hold),
        TEST(test_hole_is_a_warning), TEST(test_bad_headers),  TEST(test_bad_lengths),
        TEST(test_sharded),           TEST(test_bad_index),    TEST(test_folders_without_weights),
        TEST(test_real_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
