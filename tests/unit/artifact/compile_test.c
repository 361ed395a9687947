// compile: a small config becomes lib.so; what it says about itself; the same bytes from two places; every refusal before anything is written.
#include "dist/artifact/compile.h"

#include "dist/artifact/convert_weight.h"
#include "dist/artifact/gen_config.h"
#include "ir/text.h"
#include "runtime/base/hash.h"
#include "runtime/mlcc.h"
#include "tests/unit/artifact/artifact_fixture.h"

static const char config_text[] =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"hidden_act\": "
    "\"silu\", \"hidden_size\": 64, \"intermediate_size\": 172, "
    "\"max_position_embeddings\": 1024, \"num_attention_heads\": 4, \"num_key_value_heads\": 2, "
    "\"head_dim\": 16, \"num_hidden_layers\": 2, "
    "\"rms_norm_eps\": 1e-05, \"rope_theta\": 10000.0, \"vocab_size\": 50, "
    "\"tie_word_embeddings\": false}";

static const char portable[] = "x86-64-v2";

typedef struct place {
    mlcc_arena *keep;
    char *dir, *library;
} place;

static place make_place(void) {
    place p = {.keep = mlcc_arena_create()};
    p.dir = test_folder_make(p.keep);
    p.library = mlcc_path_join(p.keep, p.dir, "lib.so");
    write_text(p.dir, "config.json", config_text);
    return p;
}

static void end_place(place *p) {
    must(mlcc_dir_remove_tree(p->dir));
    mlcc_arena_free(p->keep);
}

static char *file_text(const place *p, const char *name, size_t *length) {
    char *text = NULL;
    must(mlcc_file_read(mlcc_path_join(p->keep, p->dir, name), 0, &text, length));
    return text;
}

static void the_same_bytes_anywhere(void **state) {
    (void)state;
    place a = make_place(), b = make_place();
    artifact_compile_result result;
    must(artifact_compile(
        &(artifact_compile_options){
            .model = a.dir, .quantization = "q4f16_1", .target = portable, .output = a.library},
        &result));
    // From another folder, named another way, with dumps.
    mlcc_str explained = {0};
    must(artifact_compile(
        &(artifact_compile_options){.model = mlcc_path_join(b.keep, b.dir, "config.json"),
                                    .quantization = "q4f16_1",
                                    .target = portable,
                                    .output = b.library,
                                    .debug_dump = mlcc_path_join(b.keep, b.dir, "dump"),
                                    .explain_kernels = &explained,
                                    .opt = "O3"},
        NULL));
    size_t a_length = 0, b_length = 0;
    char *a_bytes = file_text(&a, "lib.so", &a_length),
         *b_bytes = file_text(&b, "lib.so", &b_length);
    assert_int_equal(a_length, b_length);
    assert_memory_equal(a_bytes, b_bytes, a_length);
    assert_int_equal(a_length, result.library_bytes);
    assert_true(
        result.n_groups > 0 && result.n_launches >= result.n_groups && result.workspace_bytes > 0);
    assert_int_equal(result.max_tokens, 512);
    assert_string_equal(names_in(a.dir, a.keep), "config.json lib.so");
    free(a_bytes);
    free(b_bytes);

    // Dumps: the module before and after is readable text, the report names kernels and bytes.
    size_t length = 0;
    char *text = file_text(&b, "dump/before.mlcir", &length);
    ir_module *module = NULL;
    must(ir_parse_module(text, length, "before.mlcir", b.keep, &module));
    assert_int_equal(module->level, IR_LEVEL_GRAPH);
    free(text);
    text = file_text(&b, "dump/14-plan_memory.mlcir", &length);
    must(ir_parse_module(text, length, "14-plan_memory.mlcir", b.keep, &module));
    assert_int_equal(module->level, IR_LEVEL_PLAN);
    free(text);
    text = file_text(&b, "dump/report.txt", &length);
    assert_non_null(strstr(text, "linear"));
    free(text);
    assert_non_null(strstr(mlcc_str_text(&explained), "linear"));
    mlcc_str_free(&explained);
    end_place(&a);
    end_place(&b);
}

static char *compile_to(const place *p, size_t *length) {
    must(artifact_compile(
        &(artifact_compile_options){
            .model = p->dir, .quantization = "q4f16_1", .target = portable, .output = p->library},
        NULL));
    return file_text(p, "lib.so", length);
}

// MLCC_OBJECTS_KEEP and MLCC_OBJECTS_REUSE (codegen/cpu/emit_llvm_kept.h).
static void objects_of_earlier_runs(void **state) {
    (void)state;
    place p = make_place();
    char *objects = mlcc_path_join(p.keep, p.dir, "objects"), **names = NULL;
    const char *missing = mlcc_path_join(p.keep, p.dir, "missing");
    size_t length, n_names = 0;
    must(mlcc_dir_make(objects));
    const char *given = getenv("MLCC_OBJECTS_REUSE"); // by ./run
    const char *outer = given != NULL ? mlcc_arena_strdup(p.keep, given) : NULL;
    unsetenv("MLCC_OBJECTS_REUSE");
    setenv("MLCC_OBJECTS_KEEP", objects, 1);
    char *first = compile_to(&p, &length);
    must(mlcc_dir_list(objects, p.keep, &names, &n_names));
    assert_int_equal(n_names, 1);
    setenv("MLCC_OBJECTS_KEEP", missing, 1);
    must_fail(
        artifact_compile(
            &(artifact_compile_options){
                .model = p.dir, .quantization = "q4f16_1", .target = portable, .output = p.library},
            NULL),
        MLCC_IO, "MLCC_OBJECTS_KEEP");
    unsetenv("MLCC_OBJECTS_KEEP");
    setenv("MLCC_OBJECTS_REUSE", objects, 1);

    // Whole, too short for its sum, of another sum: the same library.
    char *path = mlcc_path_join(p.keep, objects, names[0]), *kept = NULL;
    size_t kept_bytes = 0;
    must(mlcc_file_read(path, 0, &kept, &kept_bytes));
    for (int damage = 0; damage < 4; damage++) {
        const size_t size_bytes = damage == 1 ? 20 : damage == 2 ? kept_bytes - 1 : kept_bytes;
        if (damage == 3) kept[kept_bytes / 2] ^= 1;
        must(mlcc_file_write_atomic(path, kept, size_bytes));
        size_t again_length = 0;
        char *again = compile_to(&p, &again_length);
        assert_int_equal(again_length, length);
        assert_memory_equal(again, first, length);
        free(again);
    }

    // One whose sum is right is what goes to the linker.
    static const char no_object[] = "0123456789abcdef, no object";
    mlcc_str text = {0};
    char sum[33];
    mlcc_hash128_hex(mlcc_hash128_of(no_object, sizeof no_object), sum);
    mlcc_str_append(&text, sum, 32);
    mlcc_str_append(&text, no_object, sizeof no_object);
    must(mlcc_file_write_atomic(path, text.data, text.length));
    must_fail(
        artifact_compile(
            &(artifact_compile_options){
                .model = p.dir, .quantization = "q4f16_1", .target = portable, .output = p.library},
            NULL),
        MLCC_INTERNAL, "no ELF file");
    unsetenv("MLCC_OBJECTS_REUSE");
    if (outer != NULL) setenv("MLCC_OBJECTS_REUSE", outer, 1);
    mlcc_str_free(&text);
    free(kept);
    free(first);
    end_place(&p);
}

static const mlcc_json_value *find_param(const mlcc_json_value *params, const char *name) {
    for (size_t i = 0; i < mlcc_json_count(params); i++) {
        if (strcmp(mlcc_json_text(mlcc_json_get(mlcc_json_at(params, i), "name"), NULL), name) == 0)
            return mlcc_json_at(params, i);
    }
    return NULL;
}

static void metadata(void **state) {
    (void)state;
    place p = make_place();
    must(artifact_gen_config(
        &(artifact_gen_config_options){
            .config = p.dir, .quantization = "q4f16_1", .conv_template = "LM", .output = p.dir},
        p.keep));
    must(artifact_compile(
        &(artifact_compile_options){
            .model = p.dir,
            .target = portable,
            .output = p.library,
            .overrides = "context_window_size=256;prefill_chunk_size=32;max_batch_size=3",
            .debug_dump = p.dir},
        NULL));
    size_t length = 0;
    char *text = file_text(&p, "metadata.json", &length);
    mlcc_json *json = NULL;
    must(mlcc_json_parse(text, length, "metadata", 0, &json));
    const mlcc_json_value *root = mlcc_json_root(json);
    static const struct {
        const char *key;
        int64_t value;
    } numbers[] = {{"context_window_size", 256},   {"sliding_window_size", -1},
                   {"attention_sink_size", -1},    {"prefill_chunk_size", 32},
                   {"max_batch_size", 3},          {"tensor_parallel_shards", 1},
                   {"pipeline_parallel_stages", 1}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        int64_t value = 0;
        must(mlcc_json_get_i64(root, numbers[i].key, true, -1, INT64_MAX, &value));
        assert_int_equal(value, numbers[i].value);
    }
    assert_string_equal(mlcc_json_text(mlcc_json_get(root, "model_type"), NULL), "llama");
    assert_string_equal(mlcc_json_text(mlcc_json_get(root, "quantization"), NULL), "q4f16_1");
    assert_string_equal(mlcc_json_text(mlcc_json_get(root, "kv_state_kind"), NULL), "kv_cache");
    assert_string_equal(mlcc_json_text(mlcc_json_get(root, "model_task"), NULL), "chat");
    assert_int_equal(
        mlcc_json_int(mlcc_json_get(mlcc_json_get(root, "kv_cache"), "num_key_value_heads")), 2);
    assert_true(mlcc_json_int(mlcc_json_get(mlcc_json_get(root, "memory_usage"), "forward")) > 0);
    const mlcc_json_value *down =
        find_param(mlcc_json_get(root, "params"), "model.layers.0.mlp.down_proj.q_weight");
    assert_non_null(down);
    assert_string_equal(mlcc_json_text(mlcc_json_get(down, "dtype"), NULL), "uint32");
    assert_int_equal(mlcc_json_int(mlcc_json_at(mlcc_json_get(down, "shape"), 0)), 64);
    assert_int_equal(mlcc_json_int(mlcc_json_at(mlcc_json_get(down, "shape"), 1)), 24);
    assert_non_null(
        find_param(mlcc_json_get(root, "params"), "model.layers.1.self_attn.qkv_proj.q_scale"));
    const mlcc_json_value *own = mlcc_json_get(root, "mlcc");
    assert_int_equal(mlcc_json_int(mlcc_json_get(own, "vocab_size")), 50);
    assert_string_equal(mlcc_json_text(mlcc_json_get(own, "kv_dtype"), NULL), "float16");
    assert_int_equal(strlen(mlcc_json_text(mlcc_json_get(own, "param_fingerprint"), NULL)), 32);
    assert_true(mlcc_json_count(mlcc_json_get(own, "kernels")) > 0);
    assert_int_equal(mlcc_json_int(mlcc_json_get(mlcc_json_get(own, "bounds"), "n_tokens")), 32);
    mlcc_json_free(json);
    free(text);
    end_place(&p);
}

// Modules that a checkpoint left in float stay so, whether the mode comes from its own config or from mlc-chat-config.json.
static void a_checkpoint_changes_the_mode(void **state) {
    (void)state;
    place p = make_place();
    const char *quantized = mlcc_arena_printf(
        p.keep,
        "%.*s, \"quantization_config\": {\"quant_method\": \"awq\", "
        "\"modules_to_not_convert\": [\"layers.1.mlp.down_proj\"]}}",
        (int)(strlen(config_text) - 1), config_text);
    write_text(p.dir, "config.json", quantized);
    for (int round = 0; round < 2; round++) {
        must(artifact_compile(
            &(artifact_compile_options){.model = p.dir,
                                        .quantization = round == 0 ? "q4f16_1" : NULL,
                                        .target = portable,
                                        .output = p.library,
                                        .debug_dump = p.dir},
            NULL));
        size_t length = 0;
        char *text = file_text(&p, "metadata.json", &length);
        mlcc_json *json = NULL;
        must(mlcc_json_parse(text, length, "metadata", 0, &json));
        const mlcc_json_value *params = mlcc_json_get(mlcc_json_root(json), "params");
        assert_non_null(find_param(params, "model.layers.0.mlp.down_proj.q_weight"));
        assert_null(find_param(params, "model.layers.1.mlp.down_proj.q_weight"));
        assert_non_null(find_param(params, "model.layers.1.mlp.down_proj.weight"));
        mlcc_json_free(json);
        free(text);
        must(artifact_gen_config(
            &(artifact_gen_config_options){
                .config = p.dir, .quantization = "q4f16_1", .conv_template = "LM", .output = p.dir},
            p.keep));
    }
    end_place(&p);
}

// Other families through the whole compiler: biases that are joined, a sliding window.
static void other_families(void **state) {
    (void)state;
    static const struct {
        const char *type, *rest, *param;
        int64_t context, window, sink;
    } cases[] = {
        {"qwen2", "", "model.layers.1.self_attn.c_attn.bias", 1024, -1, -1},
        {"mistral", ", \"sliding_window\": 32", "model.layers.1.self_attn.qkv_proj.weight", -1, 32,
         4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        place p = make_place();
        const char *type = strstr(config_text, "\"llama\"");
        write_text(
            p.dir, "config.json",
            mlcc_arena_printf(
                p.keep, "%.*s\"%s\"%.*s%s}", (int)(type - config_text), config_text, cases[i].type,
                (int)(strlen(type) - strlen("\"llama\"") - 1), type + strlen("\"llama\""),
                cases[i].rest));
        must(artifact_compile(
            &(artifact_compile_options){.model = p.dir,
                                        .quantization = "q0f32",
                                        .target = portable,
                                        .output = p.library,
                                        .debug_dump = p.dir},
            NULL));
        size_t length = 0;
        char *text = file_text(&p, "metadata.json", &length);
        mlcc_json *json = NULL;
        must(mlcc_json_parse(text, length, "metadata", 0, &json));
        const mlcc_json_value *root = mlcc_json_root(json);
        assert_non_null(find_param(mlcc_json_get(root, "params"), cases[i].param));
        assert_int_equal(
            mlcc_json_int(mlcc_json_get(root, "context_window_size")), cases[i].context);
        assert_int_equal(
            mlcc_json_int(mlcc_json_get(root, "sliding_window_size")), cases[i].window);
        assert_int_equal(mlcc_json_int(mlcc_json_get(root, "attention_sink_size")), cases[i].sink);
        mlcc_json_free(json);
        free(text);
        end_place(&p);
    }
}

// What compile makes, the runtime opens, with weights that convert_weight made; other weights it refuses.
static void the_runtime_opens_it(void **state) {
    (void)state;
    place p = make_place();
    must(artifact_convert_weight(
        &(artifact_convert_options){
            .config = p.dir, .quantization = "q4f16_1", .random_weights = true, .output = p.dir},
        NULL));
    must(artifact_compile(
        &(artifact_compile_options){
            .model = p.dir, .quantization = "q4f16_1", .target = portable, .output = p.library},
        NULL));
    mlcc_model *model = NULL;
    must(mlcc_model_open(
        &(mlcc_model_options){.directory = p.dir, .no_cache = true, .n_threads = 1, .verify = true},
        &model));
    mlcc_model_info info;
    mlcc_model_get_info(model, &info);
    assert_int_equal(info.vocab, 50);
    assert_int_equal(info.prefill_chunk, 512);
    assert_string_equal(info.quantization, "q4f16_1");
    mlcc_model_close(model);
    must(artifact_convert_weight(
        &(artifact_convert_options){
            .config = p.dir, .quantization = "q0f16", .random_weights = true, .output = p.dir},
        NULL));
    mlcc_status *status = mlcc_model_open(
        &(mlcc_model_options){.directory = p.dir, .no_cache = true, .n_threads = 1}, &model);
    assert_non_null(status);
    mlcc_status_free(status);
    end_place(&p);
}

// Each level has a plan, a dump and metadata of its own, which differ from those of the library of one level in the list of levels only.
static void several_levels(void **state) {
    (void)state;
    place p = make_place();
    artifact_compile_result result;
    artifact_compile_options options = {
        .model = p.dir,
        .quantization = "q4f16_1",
        .target = "x86-64-v2,x86-64-v3",
        .debug_dump = mlcc_path_join(p.keep, p.dir, "dump"),
        .output = p.library};
    must(artifact_compile(&options, &result));
    assert_int_equal(result.n_levels, 2);
    size_t length = 0, alone_length = 0;
    char *read = file_text(&p, "dump/x86-64-v2/metadata.json", &length);
    char *text = mlcc_arena_strndup(p.keep, read, length);
    free(read);
    options.target = "x86-64-v2";
    options.debug_dump = mlcc_path_join(p.keep, p.dir, "alone");
    must(artifact_compile(&options, &result));
    assert_int_equal(result.n_levels, 1);
    char *alone = file_text(&p, "alone/metadata.json", &alone_length);
    static const char list[] = "\"cpu_levels\": \"x86-64-v2,x86-64-v3\", ";
    const size_t n = strlen(list);
    char *at = strstr(text, list);
    assert_non_null(at);
    assert_int_equal(length, alone_length + n);
    memmove(at, at + n, length - (size_t)(at - text) - n);
    assert_memory_equal(text, alone, alone_length);
    assert_true(mlcc_file_exists(mlcc_path_join(p.keep, p.dir, "dump/before.mlcir")));
    assert_true(mlcc_file_exists(mlcc_path_join(p.keep, p.dir, "dump/x86-64-v3/report.txt")));
    free(alone);
    end_place(&p);
}

static void refusals(void **state) {
    (void)state;
    place p = make_place();
    const struct {
        artifact_compile_options options;
        mlcc_code code;
        const char *part;
    } rows[] = {
        {{.model = p.dir, .output = p.library}, MLCC_INVALID, "--quantization"},
        {{.model = p.dir, .output = p.library, .quantization = "q5"}, MLCC_UNSUPPORTED, "q4f16_1"},
        {{.model = p.dir, .output = "x.tar", .quantization = "q0f16"}, MLCC_UNSUPPORTED, "archive"},
        {{.model = p.dir, .output = p.library, .quantization = "q0f16", .opt = "fast"},
         MLCC_INVALID,
         "O2"},
        {{.model = p.dir, .output = p.library, .quantization = "q0f16", .overrides = "x=1"},
         MLCC_INVALID,
         "'x'"},
        {{.model = p.dir,
          .output = p.library,
          .quantization = "q0f16",
          .overrides = "disaggregation=true"},
         MLCC_UNSUPPORTED,
         "disaggregation"},
        {{.model = p.dir,
          .output = p.library,
          .quantization = "q0f16",
          .overrides = "tensor_parallel_shards=2"},
         MLCC_UNSUPPORTED,
         "tensor_parallel_shards"},
        {{.model = p.dir, .output = p.library, .quantization = "q0f16", .target = "z80"},
         MLCC_UNSUPPORTED,
         "z80"},
        {{.model = p.dir, .output = p.library, .quantization = "q0f16", .target = "x86-64-v3,z80"},
         MLCC_UNSUPPORTED,
         "z80"},
        {{.model = p.dir,
          .output = p.library,
          .quantization = "q0f16",
          .target = "x86-64-v3,x86-64-v2"},
         MLCC_INVALID,
         "would never run"},
        {{.model = p.dir,
          .output = p.library,
          .quantization = "q0f16",
          .device = "cuda:sm_80",
          .target = "x86-64-v2,x86-64-v3"},
         MLCC_UNSUPPORTED,
         "beside a CUDA device"},
        {{.model = p.dir, .output = p.library, .quantization = "q0f16", .model_type = "mamba"},
         MLCC_UNSUPPORTED,
         "mamba"},
        {{.model = p.dir, .output = p.library, .quantization = "q0f16", .dump_ir = "after:nothing"},
         MLCC_INVALID,
         "nothing"},
        {{.model = "/nowhere/at/all", .output = p.library, .quantization = "q0f16"},
         MLCC_INVALID,
         "/nowhere/at/all"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        must_fail(artifact_compile(&rows[i].options, NULL), rows[i].code, rows[i].part);
    must(artifact_gen_config(
        &(artifact_gen_config_options){
            .config = p.dir, .quantization = "q0f16", .conv_template = "LM", .output = p.dir},
        p.keep));
    must_fail(
        artifact_compile(
            &(artifact_compile_options){.model = p.dir, .model_type = "mamba", .output = p.library},
            NULL),
        MLCC_INVALID, "--model-type");
    write_text(p.dir, "mlc-chat-config.json", "{\"model_type\": \"llama\"}");
    must_fail(
        artifact_compile(&(artifact_compile_options){.model = p.dir, .output = p.library}, NULL),
        MLCC_INVALID, "mlc-chat-config.json");
    assert_false(mlcc_file_exists(p.library));
    end_place(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_bytes_anywhere),
        cmocka_unit_test(objects_of_earlier_runs),
        cmocka_unit_test(metadata),
        cmocka_unit_test(a_checkpoint_changes_the_mode),
        cmocka_unit_test(other_families),
        cmocka_unit_test(the_runtime_opens_it),
        cmocka_unit_test(several_levels),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
