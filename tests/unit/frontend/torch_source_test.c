// torch_source: whole checkpoints, written by tests/support/torch_cases.py with Python's own pickler; every element is known.
#include "frontend/hf/torch_source.h"
#include "tests/unit/frontend/fixture.h"

static unsigned char pattern(size_t number, size_t i) {
    return (unsigned char)((7 * i + 31 * number) % 251);
}

// A folder of checkpoints in the fixture's.
static void write_cases(fixture *self) {
    const char *command =
        mlcc_arena_printf(self->keep, "python3 -B tests/support/torch_cases.py '%s'", self->dir);
    if (system("python3 -c pass") != 0) {
        print_message("no python3: skipped\n");
        skip();
    }
    assert_int_equal(system(command), 0);
}

typedef struct known_tensor {
    const char *name;
    ir_dtype dtype;
    int32_t rank;
    int64_t dims[3];
    size_t pattern_number;
    size_t element_bytes;
    size_t first, strides[3]; // elements of the pattern
} known_tensor;

// clang-format off
static const known_tensor known[] = {
    {"f32",          IR_F32,      2, {3, 5},    0,  4, 0, {5, 1}},
    {"f16",          IR_F16,      1, {7},       1,  2, 0, {1}},
    {"bf16",         IR_BF16,     3, {2, 3, 4}, 2,  2, 0, {12, 4, 1}},
    {"i64",          IR_I64,      1, {3},       3,  8, 0, {1}},
    {"i32",          IR_I32,      2, {2, 2},    4,  4, 0, {2, 1}},
    {"i16",          IR_I16,      1, {5},       5,  2, 0, {1}},
    {"i8",           IR_I8,       1, {9},       6,  1, 0, {1}},
    {"u8",           IR_U8,       2, {300, 7},  7,  1, 0, {7, 1}},
    {"bool",         IR_N_DTYPES, 1, {4},       0,  1, 0, {1}},
    {"f64",          IR_N_DTYPES, 1, {2},       0,  8, 0, {1}},
    {"f8e4m3",       IR_F8E4M3,   2, {3, 3},    8,  1, 0, {3, 1}},
    {"f8e5m2",       IR_F8E5M2,   1, {9},       8,  1, 0, {1}},
    {"tied.a",       IR_F16,      2, {4, 6},    9,  2, 0, {6, 1}},
    {"tied.b",       IR_F16,      2, {4, 6},    9,  2, 0, {6, 1}},
    {"flat.head",    IR_F32,      1, {3},       10, 4, 0, {1}},
    {"flat.tail",    IR_F32,      1, {7},       10, 4, 3, {1}},
    {"parameter",    IR_F16,      1, {3},       11, 2, 0, {1}},
    {"scalar",       IR_F32,      0, {0},       12, 4, 0, {0}},
    {"empty",        IR_F32,      2, {0, 4},    0,  4, 0, {4, 1}},
    {"transposed",   IR_F16,      2, {5, 3},    13, 2, 0, {1, 5}},
    {"permuted",     IR_F32,      3, {2, 3, 4}, 14, 4, 0, {4, 8, 1}},
    {"every_second", IR_U8,       2, {4, 3},    15, 1, 1, {8, 2}},
    {"broadcast",    IR_F32,      2, {3, 4},    16, 4, 0, {0, 1}},
};
// clang-format on
#define N_KNOWN (sizeof known / sizeof known[0])

// All elements in C order.
static unsigned char *expected_data(const known_tensor *k, size_t size_bytes) {
    unsigned char *data = malloc(size_bytes + 1);
    assert_non_null(data);
    for (size_t at = 0; at < size_bytes; at++) {
        size_t element = at / k->element_bytes, place = k->first;
        for (int32_t axis = k->rank - 1; axis >= 0; axis--) {
            place += element % (size_t)k->dims[axis] * k->strides[axis];
            element /= (size_t)k->dims[axis];
        }
        data[at] = pattern(k->pattern_number, place * k->element_bytes + at % k->element_bytes);
    }
    return data;
}

// Once as copies of odd pieces, once as views of odd pieces, once whole, with releases between.
static void check_data(hf_weight_source *source, const hf_tensor *tensor, const known_tensor *k) {
    unsigned char *expected = expected_data(k, tensor->size_bytes);
    unsigned char *copy = malloc(tensor->size_bytes + 1);
    for (size_t i = 0; i < tensor->size_bytes; i += 11) {
        const size_t n = tensor->size_bytes - i < 11 ? tensor->size_bytes - i : 11;
        expect_ok(source->read(source, tensor, i, n, copy + i, NULL));
    }
    assert_memory_equal(copy, expected, tensor->size_bytes);
    source->release(source, tensor);

    const void *first = NULL, *view = NULL;
    expect_ok(source->read(
        source, tensor, 0, k->element_bytes <= tensor->size_bytes ? k->element_bytes : 0, NULL,
        &first));
    assert_int_equal((uintptr_t)first % k->element_bytes, 0);
    for (size_t i = 0; i < tensor->size_bytes; i += 13) {
        const size_t n = tensor->size_bytes - i < 13 ? tensor->size_bytes - i : 13;
        expect_ok(source->read(source, tensor, i, n, NULL, &view));
        assert_ptr_equal(view, (const char *)first + i);
    }
    assert_memory_equal(first, expected, tensor->size_bytes); // the first view still holds
    for (int round = 0; round < 2; round++) { // with the whole tensor at hand, and without
        memset(copy, 0, tensor->size_bytes);
        view = copy;
        expect_ok(source->read(source, tensor, 0, tensor->size_bytes, copy, &view));
        assert_null(view);
        assert_memory_equal(copy, expected, tensor->size_bytes);
        source->release(source, tensor);
    }

    // Backwards, which a deflated entry has to begin anew for.
    for (size_t i = tensor->size_bytes; i-- > 0 && tensor->size_bytes < 64;)
        expect_ok(source->read(source, tensor, i, 1, copy + i, NULL));
    assert_memory_equal(copy, expected, tensor->size_bytes);
    if (tensor->size_bytes > 0)
        expect_error(
            source->read(source, tensor, 1, tensor->size_bytes, copy, NULL), MLCC_INTERNAL,
            "lie beyond", NULL);
    free(copy);
    free(expected);
}

static void check_source(fixture *self, const char *name) {
    hf_weight_source *source = NULL;
    expect_ok(hf_torch_open(fixture_path(self, name), self->keep, &source));
    assert_int_equal(source->n_tensors, N_KNOWN);
    for (size_t i = 0; i < N_KNOWN; i++) {
        const hf_tensor *tensor = hf_weight_source_find(source, known[i].name);
        assert_ptr_equal(tensor, &source->tensors[i]);
        assert_int_equal(tensor->dtype, known[i].dtype);
        assert_int_equal(tensor->rank, known[i].rank);
        for (int32_t axis = 0; axis < known[i].rank; axis++)
            assert_int_equal(tensor->dims[axis], known[i].dims[axis]);
        unsigned char bytes[64];
        if (tensor->dtype == IR_N_DTYPES)
            expect_error(
                source->read(source, tensor, 0, tensor->size_bytes, bytes, NULL), MLCC_UNSUPPORTED,
                tensor->dtype_text, tensor->name, NULL);
        else if (strcmp(tensor->name, "broadcast") == 0)
            expect_error(
                source->read(source, tensor, 0, tensor->size_bytes, bytes, NULL), MLCC_INVALID,
                "'broadcast'", "repeats its numbers: 16 bytes are spread to 48", NULL);
        else
            check_data(source, tensor, &known[i]);
    }
    assert_null(hf_weight_source_find(source, "nothing"));
    source->close(source);
}

static void test_good(void **state) {
    fixture *self = *state;
    write_cases(self);
    check_source(self, "protocol2.bin");
    check_source(self, "protocol3.bin");
    check_source(self, "protocol4.bin");
    check_source(self, "protocol5.bin");
    check_source(self, "deflated.bin");
    check_source(self, "plain_dict.bin");
    check_source(self, "wrapped.bin");
    check_source(self, "sharded");
    check_source(self, "sharded/pytorch_model.bin.index.json");
    expect_no_warning(self);
    assert_true(hf_torch_is_archive(fixture_path(self, "protocol2.bin")));
    assert_false(hf_torch_is_archive(fixture_path(self, "sharded/pytorch_model.bin.index.json")));
    assert_false(hf_torch_is_archive(fixture_path(self, "nothing")));
}

static void test_bad(void **state) {
    static const struct {
        const char *file;
        mlcc_code code;
        const char *message, *detail;
    } cases[] = {
        {"system.bin", MLCC_INVALID, "forbidden global 'posix system'", "GLOBAL at byte"},
        {"namespace.bin", MLCC_INVALID, "forbidden global 'argparse Namespace'", "safetensors"},
        {"big_endian.bin", MLCC_UNSUPPORTED, "byte order 'big'", "only 'little'"},
        {"no_pickle.bin", MLCC_INVALID, "none is <folder>/data.pkl", "torch.save"},
        {"no_storage.bin", MLCC_INVALID, "has no entry 'archive/data/0'", "tensor 'w'"},
        {"truncated_pickle.bin", MLCC_INVALID, "does not end within 6 bytes", "GLOBAL at byte"},
        {"claims_more.bin", MLCC_INVALID, "has 8 bytes; the pickle expects 10", "tensor 'w'"},
        {"claims_less.bin", MLCC_INVALID, "has 8 bytes; the pickle expects 6", "tensor 'w'"},
        {"claims_all.bin", MLCC_INVALID, "has 8 bytes; the pickle expects 2305843009213693952",
         "tensor 'w'"},
        {"nothing.bin", MLCC_INVALID, "does not exist", "torch checkpoint"},
    };
    fixture *self = *state;
    write_cases(self);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hf_weight_source *source = NULL;
        expect_error(
            hf_torch_open(fixture_path(self, cases[i].file), self->keep, &source), cases[i].code,
            cases[i].message, cases[i].detail, cases[i].file, NULL);
        assert_null(source);
    }
    assert_false(mlcc_file_exists("/tmp/mlcc_pickle_was_run"));
}

static void test_directories(void **state) {
    fixture *self = *state;
    write_cases(self);
    hf_weight_source *source = NULL;
    const char *dir = fixture_path(self, "dir");
    expect_ok(mlcc_dir_make(dir));
    expect_error(
        hf_torch_open(dir, self->keep, &source), MLCC_INVALID, "holds no torch weights",
        "pytorch_model.bin", NULL);

    expect_ok(mlcc_file_copy(
        fixture_path(self, "protocol2.bin"), fixture_path(self, "dir/awq_model_w4_g128.pt")));
    expect_ok(hf_torch_open(dir, self->keep, &source)); // the only .pt
    source->close(source);
    expect_ok(mlcc_file_copy(fixture_path(self, "protocol2.bin"), fixture_path(self, "dir/b.pth")));
    expect_error(
        hf_torch_open(dir, self->keep, &source), MLCC_INVALID, "'awq_model_w4_g128.pt', 'b.pth'",
        "name one file", NULL);

    expect_ok(mlcc_file_copy(
        fixture_path(self, "wrapped.bin"), fixture_path(self, "dir/pytorch_model.bin")));
    expect_ok(hf_torch_open(dir, self->keep, &source));
    assert_non_null(strstr(source->description, "pytorch_model.bin"));
    source->close(source);
}

static void test_bad_index(void **state) {
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"{\"weight_map\":{\"f32\":\"../protocol2.bin\"}}", "tensor 'f32'"},
        {"{\"weight_map\":{\"f32\":\"missing.bin\"}}", "fetch the missing file"},
        {"{\"weight_map\":{\"other\":\"protocol2.bin\"}}", "tensor 'other' lies in"},
        {"{\"weight_map\":{\"f32\":7}}", "weight_map entry 'f32' is an integer"},
        {"{\"weight_map\":{\"f32\":\"prot", "pytorch_model.bin.index.json"}, // truncated
        {"{}", "weight_map"},
    };
    fixture *self = *state;
    write_cases(self);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hf_weight_source *source = NULL;
        fixture_write_text(self, "pytorch_model.bin.index.json", cases[i].text);
        expect_error(
            hf_torch_open(self->dir, self->keep, &source), MLCC_INVALID, cases[i].message,
            "pytorch_model.bin.index.json", NULL);
        assert_null(source);
    }
    // An index that leaves tensors out, and a shard that is none.
    hf_weight_source *source = NULL;
    fixture_write_text(
        self, "pytorch_model.bin.index.json", "{\"weight_map\":{\"f32\":\"protocol2.bin\"}}");
    expect_ok(hf_torch_open(self->dir, self->keep, &source));
    assert_int_equal(source->n_tensors, 1);
    source->close(source);
    expect_log(self, "22 of 23 tensors are not in the index");
    fixture_write_text(
        self, "shard.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n");
    fixture_write_text(
        self, "pytorch_model.bin.index.json", "{\"weight_map\":{\"f32\":\"shard.bin\"}}");
    expect_error(
        hf_torch_open(self->dir, self->keep, &source), MLCC_INVALID, "git-LFS pointer",
        "git lfs pull", "shard.bin", NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_good, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_bad, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_directories, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_bad_index, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
