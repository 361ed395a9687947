// foreign_source and weight_files: quantized checkpoints of every layout as float weights, their codes behind them, and what is refused.
#include "frontend/hf/foreign_source.h"
#include "frontend/hf/weight_files.h"
#include "ir/eval.h"
#include "tests/support/foreign_fixture.h"
#include "tests/unit/frontend/fixture.h"

#include <math.h>

#define ROWS    64
#define COLUMNS 256

// ---- a safetensors file made of tensors in memory -------------------------------------------------------------

typedef struct stored {
    const char *name;
    ir_dtype dtype;
    int32_t rank;
    int64_t dims[2];
    const void *data;
} stored;

typedef struct stored_list {
    stored items[64];
    size_t n;
} stored_list;

static const char *dtype_text(ir_dtype dtype) {
    static const struct {
        ir_dtype dtype;
        const char *text;
    } rows[] = {{IR_F32, "F32"},        {IR_F16, "F16"},        {IR_BF16, "BF16"}, {IR_I32, "I32"},
                {IR_U32, "U32"},        {IR_I64, "I64"},        {IR_I16, "I16"},   {IR_I8, "I8"},
                {IR_F8E4M3, "F8_E4M3"}, {IR_F8E5M2, "F8_E5M2"}, {IR_U8, "U8"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].dtype == dtype) return rows[i].text;
    fail_msg("no text for %s", ir_dtype_get(dtype)->text);
    return NULL;
}

static size_t bytes_of(const stored *item) {
    size_t size_bytes = ir_dtype_bytes(item->dtype);
    for (int32_t i = 0; i < item->rank; i++) size_bytes *= (size_t)item->dims[i];
    return size_bytes;
}

static const char *write_stored(fixture *self, const char *name, const stored_list *list) {
    mlcc_str header = {0}, file = {0};
    size_t offset = 0;
    mlcc_str_putc(&header, '{');
    for (size_t i = 0; i < list->n; i++) {
        const stored *item = &list->items[i];
        mlcc_str_printf(
            &header, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", i == 0 ? "" : ",", item->name,
            dtype_text(item->dtype));
        for (int32_t k = 0; k < item->rank; k++)
            mlcc_str_printf(&header, "%s%lld", k == 0 ? "" : ",", (long long)item->dims[k]);
        mlcc_str_printf(&header, "],\"data_offsets\":[%zu,%zu]}", offset, offset + bytes_of(item));
        offset += bytes_of(item);
    }
    mlcc_str_putc(&header, '}');
    uint64_t length = header.length;
    for (unsigned i = 0; i < 8; i++) mlcc_str_putc(&file, (char)(length >> (8 * i) & 0xff));
    mlcc_str_append(&file, header.data, header.length);
    for (size_t i = 0; i < list->n; i++)
        mlcc_str_append(&file, list->items[i].data, bytes_of(&list->items[i]));
    const char *path = fixture_write(self, name, file.data, file.length);
    mlcc_str_free(&header);
    mlcc_str_free(&file);
    return path;
}

static void add(stored_list *list, stored item) {
    assert_true(list->n < sizeof list->items / sizeof list->items[0]);
    list->items[list->n++] = item;
}

static void add_parts(
    fixture *self, stored_list *list, const char *module, const quant_foreign_weight *weight) {
    for (size_t p = 0; p < QUANT_FOREIGN_MAX_PARTS && weight->layout->parts[p].suffix != NULL;
         p++) {
        const quant_foreign_tensor *part = &weight->parts[p];
        if (part->rank < 0) continue;
        const char *suffix = weight->uses_alternative[p] ? weight->layout->parts[p].alternative
                                                         : weight->layout->parts[p].suffix;
        stored item = {
            .name = mlcc_arena_printf(self->keep, "%s.%s", module, suffix),
            .dtype = part->dtype,
            .rank = part->rank,
            .data = part->data};
        for (int32_t i = 0; i < part->rank; i++) item.dims[i] = part->dims[i];
        add(list, item);
    }
}

static const float ramp[COLUMNS] = {1, 2, 3, 4, 5, 6, 7, 8};

static void add_floats(stored_list *list, const char *name, int64_t length) {
    add(list, (stored){name, IR_F32, 1, {length, 0}, ramp});
}

// ---- weights of every layout ----------------------------------------------------------------------------------

// Scales of float8 canons are shared as the layout wants; no code is NaN.
static foreign_fixture make_float8(mlcc_arena *keep, const char *layout) {
    const bool is_block = strcmp(layout, "fp8-block") == 0;
    const bool is_tensor = strcmp(layout, "fp8-tensor") == 0;
    const int64_t group = is_block ? 128 : COLUMNS;
    foreign_fixture made = foreign_fixture_make(
        keep, &(foreign_fixture_options){
                  .n_rows = ROWS, .columns = COLUMNS, .group = group, .bits = 8, .seed = 9});
    made.canon.kind = QUANT_CANON_E4M3;
    for (int64_t i = 0; i < ROWS * COLUMNS; i++)
        if ((made.rows.codes[i] & 0x7f) == 0x7f) made.rows.codes[i] ^= 1;
    for (int64_t i = 0; i < ROWS * made.canon.n_groups; i++) {
        const int64_t row = i / made.canon.n_groups, j = i % made.canon.n_groups;
        made.rows.zeros[i] = 0;
        made.rows.scales[i] = (float)(is_tensor ? 1 : is_block ? j + 3 : row + 1) / 64.0f;
    }
    return made;
}

static foreign_fixture make_for(mlcc_arena *keep, const quant_foreign_layout *layout) {
    if (strncmp(layout->name, "fp8", 3) == 0) return make_float8(keep, layout->name);
    const bool is_int8 = strcmp(layout->name, "ct-int-quantized") == 0;
    return foreign_fixture_make(
        keep, &(foreign_fixture_options){.n_rows = ROWS,
                                         .columns = COLUMNS,
                                         .group = is_int8 ? 0 : 128,
                                         .bits = is_int8 ? 8 : 4,
                                         .is_symmetric =
                                             is_int8 || strcmp(layout->name, "awq-marlin") == 0,
                                         .min_zero = 1, // 0 has no place in gptq v1
                                         .seed = 7});
}

static quant_foreign_weight pack_as(
    mlcc_arena *keep, const quant_foreign_layout *layout, const foreign_fixture *made) {
    quant_foreign_weight weight = {.layout = layout, .name = "made"};
    expect_ok(layout->pack(&made->canon, &made->rows, keep, &weight));
    return weight;
}

static float *decode(mlcc_arena *keep, const foreign_fixture *made) {
    float *values = MLCC_NEW_ARRAY(keep, float, ROWS *COLUMNS);
    quant_canon_decode(&made->canon, &made->rows, values);
    return values;
}

static void expect_values(const float *values, const float *expected, size_t n, double tolerance) {
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)values[i] - (double)expected[i]) <= tolerance))
            fail_msg("element %zu is %g, expected %g", i, (double)values[i], (double)expected[i]);
}

static hf_weight_source *open_files(fixture *self, const char *path, const char *format) {
    hf_weight_source *source = NULL;
    expect_ok(hf_weight_files_open(path, format, NULL, self->keep, &source));
    return source;
}

// Whole, in odd pieces, as a view; and the codes behind it.
static void check_reads(
    fixture *self, hf_weight_source *source, const foreign_fixture *made, const float *expected) {
    const hf_tensor *tensor = NULL;
    const float *view = NULL;
    float *values = MLCC_NEW_ARRAY(self->keep, float, ROWS *COLUMNS);
    expect_ok(hf_weight_source_require(source, "model.layers.0.mlp.up_proj.weight", &tensor));
    assert_int_equal(tensor->dtype, IR_F32);
    assert_int_equal(tensor->rank, 2);
    assert_int_equal(tensor->dims[0], ROWS);
    assert_int_equal(tensor->dims[1], COLUMNS);
    const size_t size_bytes = sizeof(float) * ROWS * COLUMNS;
    assert_int_equal(tensor->size_bytes, size_bytes);
    for (int round = 0; round < 2; round++) { // a view of float32 would be a copy of all of them
        const void *no_view = values;
        expect_ok(
            source->read(source, tensor, 0, size_bytes, values, round == 0 ? &no_view : NULL));
        if (round == 0) assert_null(no_view);
        expect_values(values, expected, ROWS * COLUMNS, 0);
        memset(values, 0, size_bytes);
    }

    unsigned char piece[5 * COLUMNS];
    const size_t begins[] = {0, 3, 4 * COLUMNS - 1, 4 * COLUMNS, size_bytes - 9};
    for (size_t i = 0; i < sizeof begins / sizeof begins[0]; i++) {
        size_t n = size_bytes - begins[i] < sizeof piece ? size_bytes - begins[i] : sizeof piece;
        expect_ok(source->read(source, tensor, begins[i], n, piece, NULL));
        assert_memory_equal(piece, (const char *)expected + begins[i], n);
    }
    const void *first = NULL, *last = NULL;
    expect_ok(source->read(source, tensor, 0, 4 * COLUMNS, NULL, &first));
    expect_ok(source->read(source, tensor, size_bytes - 4 * COLUMNS, 4 * COLUMNS, NULL, &last));
    view = first;
    expect_values(view, expected, COLUMNS, 0);
    view = last;
    expect_values(view, expected + (ROWS - 1) * COLUMNS, COLUMNS, 0);
    expect_error(
        source->read(source, tensor, size_bytes, 1, piece, NULL), MLCC_INTERNAL, "beyond", NULL);

    const hf_quantized *quantized = NULL;
    expect_ok(source->quantized(source, tensor, &quantized));
    assert_non_null(quantized);
    assert_int_equal(quantized->canon.bits, made->canon.bits);
    assert_int_equal(quantized->canon.group, made->canon.group);
    quant_foreign_weight weight = quantized->weight;
    foreign_fixture again = foreign_fixture_read(self->keep, &weight, &quantized->hints, 5);
    expect_values(decode(self->keep, &again), expected, ROWS * COLUMNS, 0);
}

static void test_every_layout(void **state) {
    fixture *self = *state;
    size_t n_layouts = 0;
    const quant_foreign_layout *const *layouts = quant_foreign_layouts(&n_layouts);
    for (size_t i = 0; i < n_layouts; i++) {
        const quant_foreign_layout *layout = layouts[i];
        const foreign_fixture made = make_for(self->keep, layout);
        const quant_foreign_weight weight = pack_as(self->keep, layout, &made);
        const float *expected = decode(self->keep, &made);
        stored_list list = {.n = 0};
        add_floats(&list, "model.norm.weight", 8);
        add_parts(self, &list, "model.layers.0.mlp.up_proj", &weight);
        add_floats(&list, "model.layers.0.mlp.up_proj.bias", ROWS);
        add_floats(&list, "model.layers.0.mlp.up_proj.input_scale", 1);
        add_floats(&list, "model.layers.0.mlp.down_proj.weight", 8);
        write_stored(self, "model.safetensors", &list);

        hf_weight_source *source = open_files(self, self->dir, NULL);
        // gptq and gptq-v2 look alike: without a word from the config it is the older one.
        const bool is_v2 = strcmp(layout->name, "gptq-v2") == 0;
        const char *summary = hf_foreign_source_summary(source, self->keep);
        if (!is_v2)
            assert_string_equal(summary, mlcc_arena_printf(self->keep, "%s x 1", layout->name));
        assert_int_equal(source->n_tensors, 5);
        assert_string_equal(source->tensors[0].name, "model.norm.weight");
        assert_string_equal(source->tensors[1].name, "model.layers.0.mlp.up_proj.weight");
        assert_string_equal(source->tensors[2].name, "model.layers.0.mlp.up_proj.bias");
        assert_string_equal(source->tensors[3].name, "model.layers.0.mlp.up_proj.input_scale");
        const hf_tensor *bias = NULL;
        const hf_quantized *quantized = NULL;
        float eight[8];
        expect_ok(hf_weight_source_require(source, "model.layers.0.mlp.up_proj.bias", &bias));
        expect_ok(source->read(source, bias, 0, sizeof eight, eight, NULL));
        assert_memory_equal(eight, ramp, sizeof eight);
        expect_ok(source->quantized(source, bias, &quantized));
        assert_null(quantized);
        source->release(source, bias);
        source->close(source);

        const hf_quantization_config config = {
            .method = layout->family, .format = layout->formats[0], .file = "config.json"};
        for (int round = 0; round < 2; round++) {
            const char *format = round == 0 ? "auto" : layout->family;
            expect_ok(hf_weight_files_open(self->dir, format, &config, self->keep, &source));
            assert_string_equal(
                hf_foreign_source_summary(source, self->keep),
                mlcc_arena_printf(self->keep, "%s x 1", layout->name));
            check_reads(self, source, &made, expected);
            source->release(source, &source->tensors[1]);
            check_reads(self, source, &made, expected);
            source->close(source);
        }
        expect_no_warning(self);
    }
}

// Words of 8 codes hold 16 columns at least where there are 13: the stored shape tells.
static void test_shape_beside_packed_words(void **state) {
    fixture *self = *state;
    enum { N = 5, K = 13 };
    const quant_foreign_layout *layout = quant_foreign_find("ct-pack-quantized");
    const foreign_fixture made = foreign_fixture_make(
        self->keep,
        &(foreign_fixture_options){
            .n_rows = N, .columns = K, .group = 0, .bits = 4, .is_symmetric = true, .seed = 3});
    const quant_foreign_weight weight = pack_as(self->keep, layout, &made);
    float expected[N * K], values[N * K];
    quant_canon_decode(&made.canon, &made.rows, expected);
    stored_list list = {.n = 0};
    add_parts(self, &list, "model.layers.0.mlp.up_proj", &weight);
    hf_weight_source *source = open_files(self, write_stored(self, "odd.safetensors", &list), NULL);
    const hf_tensor *tensor = NULL;
    expect_ok(hf_weight_source_require(source, "model.layers.0.mlp.up_proj.weight", &tensor));
    assert_int_equal(tensor->dims[0], N);
    assert_int_equal(tensor->dims[1], K);
    expect_ok(source->read(source, tensor, 0, sizeof values, values, NULL));
    expect_values(values, expected, N * K, 0);
    source->close(source);
}

// A map of columns is part of what is viewed, released and viewed again.
static void test_act_order(void **state) {
    fixture *self = *state;
    const foreign_fixture made = foreign_fixture_make(
        self->keep, &(foreign_fixture_options){.n_rows = ROWS,
                                               .columns = COLUMNS,
                                               .group = 32,
                                               .min_zero = 1,
                                               .has_map = true,
                                               .seed = 3});
    const quant_foreign_weight weight = pack_as(self->keep, quant_foreign_find("gptq"), &made);
    stored_list list = {.n = 0};
    add_parts(self, &list, "model.layers.0.mlp.up_proj", &weight);
    hf_weight_source *source =
        open_files(self, write_stored(self, "gptq.safetensors", &list), "gptq");
    const float *expected = decode(self->keep, &made);
    check_reads(self, source, &made, expected);
    source->release(source, &source->tensors[0]);
    check_reads(self, source, &made, expected);
    source->close(source);
}

// ---- activation scales --------------------------------------------------------------------------------------

static void test_activation_scales(void **state) {
    fixture *self = *state;
    const foreign_fixture made = make_for(self->keep, quant_foreign_find("awq-gemm"));
    const quant_foreign_weight weight = pack_as(self->keep, quant_foreign_find("awq-gemm"), &made);
    float divisors[COLUMNS], plain[3 * COLUMNS];
    for (int k = 0; k < COLUMNS; k++) divisors[k] = 0.5f + (float)k;
    for (int i = 0; i < 3 * COLUMNS; i++) plain[i] = (float)(i % 17) - 8.0f;
    stored_list list = {.n = 0};
    add_parts(self, &list, "h.0.mlp.c_proj", &weight);
    add(&list, (stored){"h.0.mlp.act.scales", IR_F32, 1, {COLUMNS, 0}, divisors});
    add(&list, (stored){"h.1.mlp.gelu_impl.scales", IR_F32, 1, {COLUMNS, 0}, divisors});
    add(&list, (stored){"h.1.mlp.dense_4h_to_h.weight", IR_F32, 2, {3, COLUMNS}, plain});
    hf_weight_source *source =
        open_files(self, write_stored(self, "model.safetensors", &list), NULL);
    expect_log(self, "2 vectors of activation scales are folded");
    assert_int_equal(source->n_tensors, 2);
    assert_string_equal(hf_foreign_source_summary(source, self->keep), "awq-gemm x 1, float x 1");
    float *expected = decode(self->keep, &made),
          *values = MLCC_NEW_ARRAY(self->keep, float, ROWS *COLUMNS);
    for (int i = 0; i < ROWS * COLUMNS; i++) expected[i] /= divisors[i % COLUMNS];
    for (int i = 0; i < 3 * COLUMNS; i++) plain[i] /= divisors[i % COLUMNS];
    const hf_tensor *tensor = NULL;
    const hf_quantized *quantized = NULL;
    expect_ok(hf_weight_source_require(source, "h.0.mlp.c_proj.weight", &tensor));
    expect_ok(source->read(source, tensor, 0, tensor->size_bytes, values, NULL));
    expect_values(values, expected, ROWS * COLUMNS, 0);
    expect_ok(source->quantized(source, tensor, &quantized));
    assert_null(quantized);
    expect_ok(hf_weight_source_require(source, "h.1.mlp.dense_4h_to_h.weight", &tensor));
    expect_ok(source->read(source, tensor, 0, tensor->size_bytes, values, NULL));
    expect_values(values, plain, 3 * COLUMNS, 0);
    source->release(source, tensor);
    source->close(source);

    // A zero divides nothing; scales of another length and scales nobody reads are refused by name.
    divisors[5] = 0;
    source = open_files(self, write_stored(self, "model.safetensors", &list), NULL);
    expect_ok(hf_weight_source_require(source, "h.0.mlp.c_proj.weight", &tensor));
    expect_error(
        source->read(source, tensor, 0, 4, values, NULL), MLCC_INVALID,
        "activation scale 5 of 'h.0.mlp.act.scales'", NULL);
    source->close(source);
    list.items[list.n - 2].dims[0] = 7;
    write_stored(self, "model.safetensors", &list);
    expect_error(
        hf_weight_files_open(self->dir, NULL, NULL, self->keep, &source), MLCC_INVALID,
        "h.1.mlp.gelu_impl.scales", "7 elements", "256", NULL);
    list.n--;
    write_stored(self, "model.safetensors", &list);
    expect_error(
        hf_weight_files_open(self->dir, NULL, NULL, self->keep, &source), MLCC_INVALID,
        "h.1.mlp.gelu_impl.scales", "no linear beside them", NULL);
    assert_null(source);
}

// ---- what is refused, and what is only said ---------------------------------------------------------------------

static stored_list awq_list(fixture *self) {
    const foreign_fixture made = make_for(self->keep, quant_foreign_find("awq-gemm"));
    const quant_foreign_weight weight = pack_as(self->keep, quant_foreign_find("awq-gemm"), &made);
    stored_list list = {.n = 0};
    add_parts(self, &list, "model.layers.0.mlp.up_proj", &weight);
    return list;
}

static mlcc_status *try_open(
    fixture *self, const stored_list *list, const char *format,
    const hf_quantization_config *config, hf_weight_source **source) {
    write_stored(self, "model.safetensors", list);
    return hf_weight_files_open(self->dir, format, config, self->keep, source);
}

static stored *find_stored(stored_list *list, const char *ending) {
    for (size_t i = 0; i < list->n; i++)
        if (mlcc_text_ends_with(list->items[i].name, ending)) return &list->items[i];
    fail_msg("no %s", ending);
    return NULL;
}

static void test_contradictions(void **state) {
    fixture *self = *state;
    hf_weight_source *source = NULL;
    stored_list list = awq_list(self);
    *find_stored(&list, "qzeros") = list.items[list.n - 1];
    list.n--;
    const hf_quantization_config gemm = {.method = "awq", .format = "gemm", .file = "config.json"};
    expect_error(
        try_open(self, &list, NULL, &gemm, &source), MLCC_MISMATCH, "model.layers.0.mlp.up_proj",
        "qzeros", "model.safetensors", NULL);

    list = awq_list(self);
    stored *words = find_stored(&list, "qweight");
    words->dims[1] /= 2;
    expect_error(
        try_open(self, &list, NULL, NULL, &source), MLCC_MISMATCH, "model.layers.0.mlp.up_proj",
        "expected", "found", NULL);

    list = awq_list(self);
    add(&list, (stored){"model.layers.0.mlp.up_proj.weight", IR_F32, 2, {1, COLUMNS}, ramp});
    expect_error(
        try_open(self, &list, NULL, NULL, &source), MLCC_INVALID, "stored twice",
        "model.layers.0.mlp.up_proj.weight", "qweight", NULL);

    // Formats that contain it not.
    list = awq_list(self);
    expect_error(
        try_open(self, &list, "gptq", NULL, &source), MLCC_MISMATCH, "awq-gemm",
        "asked for is gptq", NULL);
    expect_error(
        try_open(self, &list, "huggingface-safetensor", NULL, &source), MLCC_MISMATCH,
        "awq-gemm x 1", "huggingface-safetensor", "auto", NULL);
    expect_error(
        try_open(self, &list, "hf", NULL, &source), MLCC_UNSUPPORTED, "'hf'",
        "huggingface-torch, awq", NULL);
    assert_null(source);

    // The config says another group size than the shapes.
    const hf_quantization_config config = {
        .method = "awq",
        .format = "gemm",
        .file = "config.json",
        .hints = {.bits = 4, .group_size = 64}};
    expect_error(
        try_open(self, &list, NULL, &config, &source), MLCC_MISMATCH, "model.layers.0.mlp.up_proj",
        "awq-gemm", NULL);

    // Numbers are looked at when they are read.
    uint16_t *scales = mlcc_arena_memdup(
        self->keep, find_stored(&list, "scales")->data, bytes_of(find_stored(&list, "scales")));
    scales[3] = 0x7e00;
    find_stored(&list, "scales")->data = scales;
    expect_ok(try_open(self, &list, NULL, NULL, &source));
    const hf_quantized *quantized = NULL;
    float value = 0;
    for (int round = 0; round < 2; round++) {
        expect_error(
            source->read(source, &source->tensors[0], 0, 4, &value, NULL), MLCC_INVALID,
            "model.layers.0.mlp.up_proj.scales", "model.safetensors", NULL);
        expect_error(
            source->quantized(source, &source->tensors[0], &quantized), MLCC_INVALID, "scales",
            NULL);
    }
    source->close(source);
    list.n = 0;
    add(&list, (stored){"a.weight", IR_F8E4M3, 2, {2, 8}, ramp});
    expect_error(
        try_open(self, &list, NULL, NULL, &source), MLCC_MISMATCH, "a", "weight_scale", NULL);
}

static void test_config_and_tensors_differ(void **state) {
    fixture *self = *state;
    hf_weight_source *source = NULL;
    stored_list floats = {.n = 0};
    add_floats(&floats, "model.layers.0.mlp.up_proj.weight", 8);
    add_floats(&floats, "x.scales", 8); // no activation: stays
    const hf_quantization_config config = {.method = "gptq", .file = "config.json"};
    expect_error(
        try_open(self, &floats, "awq", NULL, &source), MLCC_MISMATCH, "no quantized linear", "awq",
        NULL);
    expect_ok(try_open(self, &floats, NULL, NULL, &source));
    expect_no_warning(self);
    assert_null(source->quantized);
    assert_int_equal(source->n_tensors, 2);
    assert_string_equal(hf_foreign_source_summary(source, self->keep), "none");
    source->close(source);
    expect_ok(try_open(self, &floats, "huggingface-safetensor", &config, &source));
    expect_log(self, "config.json says gptq, but no linear");
    source->close(source);
    const stored_list quantized = awq_list(self);
    expect_ok(try_open(self, &quantized, "auto", &config, &source));
    expect_log(
        self, "config.json says gptq, but 'model.layers.0.mlp.up_proj' is stored as awq-gemm");
    source->close(source);
}

static void test_paths(void **state) {
    fixture *self = *state;
    hf_weight_source *source = NULL;
    expect_error(
        hf_weight_files_open(self->dir, NULL, NULL, self->keep, &source), MLCC_INVALID,
        "holds no weights", "pytorch_model.bin", NULL);
    expect_error(
        hf_weight_files_open(fixture_path(self, "no"), NULL, NULL, self->keep, &source),
        MLCC_INVALID, "does not exist", NULL);
    static const char pointer[] =
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n";
    static const char *const names[] = {"a.safetensors", "a.bin", "a.weights"};
    for (size_t i = 0; i < 3; i++)
        expect_error(
            hf_weight_files_open(
                fixture_write_text(self, names[i], pointer), NULL, NULL, self->keep, &source),
            MLCC_INVALID, "git-LFS pointer", names[i], NULL);

    // A file, an index of any name, and a directory with one file of another name.
    const stored_list list = awq_list(self);
    const char *path = write_stored(self, "quantized.bits", &list);
    source = open_files(self, path, "awq");
    source->close(source);
    write_stored(self, "other.safetensors", &list);
    const char *index = fixture_write_text(
        self, "names.json",
        "{\"weight_map\":{\"model.layers.0.mlp.up_proj.qweight\":\"other.safetensors\","
        "\"model.layers.0.mlp.up_proj.qzeros\":\"other.safetensors\","
        "\"model.layers.0.mlp.up_proj.scales\":\"other.safetensors\"}}");
    source = open_files(self, index, NULL);
    assert_int_equal(source->n_tensors, 1);
    source->close(source);
    expect_error(
        hf_weight_files_open(
            fixture_write_text(self, "empty.json", "{\"weight_map\":{}}"), NULL, NULL, self->keep,
            &source),
        MLCC_INVALID, "is no index of weights", NULL);
    expect_ok(mlcc_file_remove(fixture_path(self, "a.safetensors")));
    source = open_files(self, self->dir, "auto");
    assert_int_equal(source->n_tensors, 1);
    source->close(source);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_every_layout),   TEST(test_shape_beside_packed_words),
        TEST(test_act_order),      TEST(test_activation_scales),
        TEST(test_contradictions), TEST(test_config_and_tensors_differ),
        TEST(test_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
