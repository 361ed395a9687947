// arranged_source: every form on a few numbers, names and order kept, other tensors untouched; and tensors that cannot be arranged.
#include "frontend/hf/arranged_source.h"

#include "tests/unit/frontend/fixture.h"

// Tensors in memory; counts what is read and released.
typedef struct memory_source {
    hf_weight_source source;
    const float *data[8];
    int n_reads, n_releases, n_closes;
} memory_source;

static mlcc_status *memory_read(
    hf_weight_source *source, const hf_tensor *tensor, uint64_t offset, uint64_t size_bytes,
    void *buffer, const void **view) {
    memory_source *self = (memory_source *)(void *)source;
    const char *data = (const char *)self->data[tensor - source->tensors] + offset;
    self->n_reads++;
    if (view != NULL) *view = NULL;
    memcpy(buffer, data, size_bytes);
    return NULL;
}

static void memory_release(hf_weight_source *source, const hf_tensor *tensor) {
    (void)tensor;
    ((memory_source *)(void *)source)->n_releases++;
}

static void memory_close(hf_weight_source *source) {
    ((memory_source *)(void *)source)->n_closes++;
}

static hf_tensor tensor(const char *name, int64_t rows, int64_t columns) {
    hf_tensor made = {
        .name = name, .dtype = IR_F32, .rank = columns == 0 ? 1 : 2, .dims = {rows, columns}};
    made.size_bytes = (uint64_t)(rows * (columns == 0 ? 1 : columns)) * sizeof(float);
    return made;
}

static memory_source source_of(hf_tensor *tensors, size_t n_tensors) {
    return (memory_source){.source = {
                               .tensors = tensors,
                               .n_tensors = n_tensors,
                               .description = "memory",
                               .read = memory_read,
                               .release = memory_release,
                               .close = memory_close}};
}

static void expect_floats(hf_weight_source *source, size_t index, const float *expected, size_t n) {
    float found[64];
    const hf_tensor *read = &source->tensors[index];
    assert_int_equal(read->size_bytes, n * sizeof(float));
    expect_ok(source->read(source, read, 0, read->size_bytes, found, NULL));
    assert_memory_equal(found, expected, n * sizeof(float));
    // The last number alone, as a view where there is one.
    const void *view = NULL;
    float last = 0;
    expect_ok(source->read(source, read, (n - 1) * sizeof(float), sizeof(float), &last, &view));
    assert_memory_equal(view != NULL ? view : &last, &expected[n - 1], sizeof(float));
    source->release(source, read);
}

static void test_forms(void **state) {
    fixture *self = *state;
    hf_tensor tensors[] = {
        tensor("plain", 2, 1), tensor("h.0.matrix", 2, 3), tensor("gain", 2, 0),
        tensor("qkv", 8, 1), tensor("head", 2, 2)};
    memory_source base = source_of(tensors, 5);
    base.data[0] = (const float[]){7, 8};
    base.data[1] = (const float[]){1, 2, 3, 4, 5, 6};
    base.data[2] = (const float[]){0.5f, -1};
    base.data[3] = (const float[]){1, 2, 3, 4, 5, 6, 7, 8};
    base.data[4] = (const float[]){3, 4, 0, 0};
    // Two groups of two heads of q, one of k, one of v; heads of one row. The file lacks the prefix of the matrix, and one tensor altogether.
    const hf_arrangement rows[] = {
        {.name = "model.h.0.matrix", .optional_prefix = "model.", .form = HF_TRANSPOSED},
        {.name = "gain", .addend = 1.0},
        {.name = "qkv",
         .form = HF_GROUPED_QKV,
         .n_groups = 2,
         .queries_per_group = 2,
         .head_dim = 1},
        {.name = "head", .form = HF_UNIT_ROWS},
        {.name = "absent", .form = HF_TRANSPOSED}};
    hf_weight_source *arranged = NULL;
    expect_ok(hf_arranged_source_open(&base.source, rows, 5, self->keep, &arranged));
    assert_ptr_not_equal(arranged, &base.source);
    assert_int_equal(arranged->n_tensors, 5);
    assert_string_equal(arranged->tensors[1].name, "h.0.matrix");
    assert_int_equal(arranged->tensors[1].dims[0], 3);
    assert_int_equal(arranged->tensors[1].dims[1], 2);
    expect_floats(arranged, 0, (const float[]){7, 8}, 2);
    expect_floats(arranged, 1, (const float[]){1, 4, 2, 5, 3, 6}, 6);
    expect_floats(arranged, 2, (const float[]){1.5f, 0}, 2);
    expect_floats(arranged, 3, (const float[]){1, 2, 5, 6, 3, 7, 4, 8}, 8);
    expect_floats(arranged, 4, (const float[]){0.6f, 0.8f, 0, 0}, 4);
    // An arranged tensor is read once however often it is asked for.
    assert_int_equal(base.n_reads, 2 + 4);
    assert_int_equal(base.n_releases, 5);
    arranged->close(arranged);
    assert_int_equal(base.n_closes, 1);
}

// The halves format: places change, numbers do not; with an addend the result is float32.
static void test_float16(void **state) {
    fixture *self = *state;
    const uint16_t halves[] = {0x3c00, 0x4000, 0x4200, 0x4400}; // 1 2 3 4
    hf_tensor tensors[] = {tensor("a", 2, 2), tensor("b", 4, 0)};
    tensors[0].dtype = tensors[1].dtype = IR_F16;
    tensors[0].size_bytes = tensors[1].size_bytes = sizeof halves;
    memory_source base = source_of(tensors, 2);
    base.data[0] = base.data[1] = (const float *)(const void *)halves;
    const hf_arrangement rows[] = {
        {.name = "a", .form = HF_TRANSPOSED}, {.name = "b", .addend = -1}};
    hf_weight_source *arranged = NULL;
    expect_ok(hf_arranged_source_open(&base.source, rows, 2, self->keep, &arranged));
    uint16_t turned[4];
    expect_ok(arranged->read(arranged, &arranged->tensors[0], 0, sizeof turned, turned, NULL));
    const uint16_t expected[] = {0x3c00, 0x4200, 0x4000, 0x4400};
    assert_memory_equal(turned, expected, sizeof expected);
    assert_int_equal(arranged->tensors[1].dtype, IR_F32);
    expect_floats(arranged, 1, (const float[]){0, 1, 2, 3}, 4);
    arranged->close(arranged); // frees what was not released
}

// Two heads of three rows become a stack of the first two, transposed, and one of the last; the whole stays.
static void test_parts_of_heads(void **state) {
    fixture *self = *state;
    hf_tensor tensors[] = {tensor("other", 2, 0), tensor("l.kv", 6, 2)};
    memory_source base = source_of(tensors, 2);
    base.data[0] = (const float[]){7, 8};
    base.data[1] = (const float[]){1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    hf_arrangement rows[] = {
        {.name = "l.kv",
         .as = "l.keys",
         .form = HF_PART_OF_HEADS_TRANSPOSED,
         .n_groups = 2,
         .head_dim = 3,
         .part_rows = 2},
        {.name = "l.kv",
         .as = "l.values",
         .form = HF_PART_OF_HEADS,
         .n_groups = 2,
         .head_dim = 3,
         .part_begin = 2,
         .part_rows = 1}};
    hf_weight_source *arranged = NULL;
    expect_ok(hf_arranged_source_open(&base.source, rows, 2, self->keep, &arranged));
    assert_int_equal(arranged->n_tensors, 4);
    const hf_tensor *keys = hf_weight_source_find(arranged, "l.keys");
    const hf_tensor *values = hf_weight_source_find(arranged, "l.values");
    assert_true(keys == &arranged->tensors[2] && values == &arranged->tensors[3]);
    assert_int_equal(keys->rank, 3);
    assert_memory_equal(keys->dims, ((const int64_t[]){2, 2, 2}), 3 * sizeof(int64_t));
    assert_memory_equal(values->dims, ((const int64_t[]){2, 1, 2}), 3 * sizeof(int64_t));
    expect_floats(arranged, 1, base.data[1], 12);
    expect_floats(arranged, 2, (const float[]){1, 3, 2, 4, 7, 9, 8, 10}, 8);
    expect_floats(arranged, 3, (const float[]){5, 6, 11, 12}, 4);
    arranged->close(arranged);

    rows[0].head_dim = 4;
    memory_source again = source_of(tensors, 2);
    expect_error(
        hf_arranged_source_open(&again.source, rows, 1, self->keep, &arranged), MLCC_INVALID,
        "'l.kv'", "6 rows", "2 heads of 4 rows", NULL);
}

static hf_tensor stack(const char *name, int64_t n, int64_t rows, int64_t columns) {
    hf_tensor made = tensor(name, n * rows, columns);
    made.rank = 3;
    made.dims[0] = n;
    made.dims[1] = rows;
    made.dims[2] = columns;
    return made;
}

// Stacks of two matrices: each by itself.
static void test_stacks(void **state) {
    fixture *self = *state;
    hf_tensor tensors[] = {
        stack("down", 2, 2, 3), stack("gate_up", 2, 1, 4), tensor("bias", 2, 4),
        stack("rows", 1, 4, 2)};
    memory_source base = source_of(tensors, 4);
    base.data[0] = (const float[]){1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16};
    base.data[1] = (const float[]){1, 2, 3, 4, 5, 6, 7, 8};
    base.data[2] = (const float[]){1, 2, 3, 4, 5, 6, 7, 8};
    base.data[3] = (const float[]){1, 2, 3, 4, 5, 6, 7, 8};
    const hf_arrangement rows[] = {
        {.name = "down", .form = HF_TRANSPOSED},
        {.name = "gate_up", .form = HF_TRANSPOSED_PAIRS},
        {.name = "bias", .form = HF_PAIRS},
        {.name = "rows", .form = HF_PAIRS}};
    hf_weight_source *arranged = NULL;
    expect_ok(hf_arranged_source_open(&base.source, rows, 4, self->keep, &arranged));
    assert_int_equal(arranged->tensors[0].dims[0], 2);
    assert_int_equal(arranged->tensors[0].dims[1], 3);
    assert_int_equal(arranged->tensors[0].dims[2], 2);
    assert_int_equal(arranged->tensors[1].dims[1], 4);
    expect_floats(arranged, 0, (const float[]){1, 4, 2, 5, 3, 6, 11, 14, 12, 15, 13, 16}, 12);
    expect_floats(arranged, 1, (const float[]){1, 3, 2, 4, 5, 7, 6, 8}, 8);
    expect_floats(arranged, 2, (const float[]){1, 3, 2, 4, 5, 7, 6, 8}, 8);
    expect_floats(arranged, 3, (const float[]){1, 2, 5, 6, 3, 4, 7, 8}, 8);
    arranged->close(arranged);
}

static hf_tensor bytes(const char *name, int32_t rank, const int64_t *dims) {
    hf_tensor made = {.name = name, .dtype = IR_U8, .rank = rank, .size_bytes = 1};
    for (int32_t i = 0; i < rank; i++) {
        made.dims[i] = dims[i];
        made.size_bytes *= (uint64_t)dims[i];
    }
    return made;
}

// One matrix of four rows of a block; row r holds the number r + 1 times 2^r, as [1, 2, 3, 4] in pairs become [1, 3, 2, 4].
static void test_mxfp4(void **state) {
    fixture *self = *state;
    static const uint8_t codes[] = {0x22, 0x44, 0x55, 0x66}; // 1 2 3 4 in both halves
    static const uint8_t scales[] = {127, 128, 129, 130};
    static const uint16_t as_they_are[] = {0x3f80, 0x4080, 0x4140, 0x4200}; // 1 4 12 32
    static const int places[] = {0, 2, 1, 3};
    uint8_t blocks[4 * 16];
    for (size_t i = 0; i < sizeof blocks; i++) blocks[i] = codes[i / 16];
    hf_tensor tensors[] = {
        bytes("w_blocks", 4, (const int64_t[]){1, 4, 1, 16}),
        bytes("w_scales", 3, (const int64_t[]){1, 4, 1})};
    memory_source base = source_of(tensors, 2);
    base.data[0] = (const float *)(const void *)blocks;
    base.data[1] = (const float *)(const void *)scales;
    const hf_arrangement rows[] = {
        {.name = "w", .form = HF_TRANSPOSED_PAIRS}, // not in this file
        {.name = "w_blocks", .as = "w", .form = HF_MXFP4_PAIRS},
        {.name = "w_blocks", .as = "v", .form = HF_MXFP4}};
    hf_weight_source *arranged = NULL;
    expect_ok(hf_arranged_source_open(&base.source, rows, 3, self->keep, &arranged));
    for (int turn = 0; turn < 2; turn++) {
        const hf_tensor *w = hf_weight_source_find(arranged, turn == 0 ? "w" : "v");
        assert_non_null(w);
        assert_int_equal(w->dtype, IR_BF16);
        assert_int_equal(w->rank, 3);
        assert_int_equal(w->dims[1], 4);
        assert_int_equal(w->dims[2], 32);
        uint16_t found[4 * 32];
        assert_int_equal(w->size_bytes, sizeof found);
        expect_ok(arranged->read(arranged, w, 0, sizeof found, found, NULL));
        for (int i = 0; i < 4 * 32; i++) {
            const int row = turn == 0 ? places[i / 32] : i / 32;
            assert_int_equal(found[i], as_they_are[row]);
        }
        arranged->release(arranged, w);
    }
    arranged->close(arranged);
}

static void test_stack_refusals(void **state) {
    fixture *self = *state;
    const int64_t blocks[] = {2, 4, 1, 16}, thin[] = {2, 4, 1, 8}, odd[] = {2, 3, 1, 16};
    hf_tensor tensors[] = {stack("gate_up", 2, 4, 5),  tensor("vector", 4, 0),
                           tensor("bias", 2, 3),       bytes("a_blocks", 4, blocks),
                           bytes("b_blocks", 4, thin), bytes("b_scales", 3, thin),
                           bytes("c_blocks", 4, odd),  bytes("c_scales", 3, odd)};
    memory_source base = source_of(tensors, 8);
    const struct {
        hf_arrangement row;
        const char *name, *problem;
    } rows[] = {
        {{.name = "gate_up", .form = HF_TRANSPOSED_PAIRS}, "'gate_up'", "5 rows of gate and up"},
        {{.name = "vector", .form = HF_PAIRS}, "'vector'", "1 dimensions"},
        {{.name = "bias", .form = HF_PAIRS}, "'bias'", "expected an even number"},
        {{.name = "bias", .form = HF_MXFP4, .as = "n"}, "'bias'", "no mxfp4 blocks"},
        {{.name = "a_blocks", .form = HF_MXFP4, .as = "a"}, "'a_blocks'", "shape [2, 4, 1]"},
        {{.name = "b_blocks", .form = HF_MXFP4, .as = "b"}, "'b_blocks'", "columns / 32, 16]"},
        {{.name = "c_blocks", .form = HF_MXFP4_PAIRS, .as = "c"}, "'c_blocks'", "even number"},
        {{.name = "c_blocks", .form = HF_MXFP4, .as = "bias"}, "'bias'", "the same weight"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        hf_weight_source *arranged = NULL;
        expect_error(
            hf_arranged_source_open(&base.source, &rows[i].row, 1, self->keep, &arranged),
            MLCC_INVALID, rows[i].name, rows[i].problem, NULL);
        assert_int_equal(base.n_closes, 0);
    }
}

static void test_refusals(void **state) {
    fixture *self = *state;
    hf_tensor tensors[] = {tensor("vector", 4, 0), tensor("qkv", 7, 1)};
    memory_source base = source_of(tensors, 2);
    hf_weight_source *arranged = NULL;
    const hf_arrangement transposed = {.name = "vector", .form = HF_TRANSPOSED};
    expect_error(
        hf_arranged_source_open(&base.source, &transposed, 1, self->keep, &arranged), MLCC_INVALID,
        "'vector'", "expected a matrix", NULL);
    const hf_arrangement grouped = {
        .name = "qkv",
        .form = HF_GROUPED_QKV,
        .n_groups = 2,
        .queries_per_group = 2,
        .head_dim = 1};
    expect_error(
        hf_arranged_source_open(&base.source, &grouped, 1, self->keep, &arranged), MLCC_INVALID,
        "'qkv'", "7 rows", "8 together", NULL);
    assert_int_equal(base.n_closes, 0);
    // Nothing to do: the source itself.
    const hf_arrangement other = {.name = "other", .addend = 1};
    expect_ok(hf_arranged_source_open(&base.source, &other, 1, self->keep, &arranged));
    assert_ptr_equal(arranged, &base.source);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {TEST(test_forms),   TEST(test_stacks),
                                       TEST(test_mxfp4),   TEST(test_stack_refusals),
                                       TEST(test_float16), TEST(test_parts_of_heads),
                                       TEST(test_refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
