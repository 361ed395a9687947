// Opening a model: what a sound directory tells about itself, and every way in which library,
// config or store may be wrong.
#include "tests/unit/runtime/tiny_model.h"

#include <elf.h>

static void expect_refusal(
    const mlcc_model_options *options, mlcc_code code, const char *part, const char *other) {
    mlcc_model *model = (mlcc_model *)(uintptr_t)1;
    tiny_refused(mlcc_model_open(options, &model), code, part, other);
    assert_null(model);
}

static void a_sound_model(void **state) {
    (void)state;
    tiny_dir dir = tiny_dir_make((tiny_store){0});
    mlcc_model_options options = tiny_options(&dir, 2);
    mlcc_model *model = NULL;
    tiny_ok(mlcc_model_open(&options, &model));
    mlcc_model_info info;
    mlcc_model_get_info(model, &info);
    assert_string_equal(info.model_type, "handwritten");
    assert_string_equal(info.quantization, "q8");
    assert_string_equal(info.target, "handwritten");
    assert_int_equal(info.vocab, TINY_VOCAB);
    assert_int_equal(info.context_window, TINY_CONTEXT);
    assert_int_equal(info.prefill_chunk, TINY_CHUNK);
    assert_int_equal(info.max_sequences, TINY_SEQS);
    assert_int_equal(info.max_logits_rows, TINY_ROWS);
    assert_int_equal(info.n_layers, 2);
    assert_int_equal(info.n_kv_heads, 1);
    assert_int_equal(info.head_dim, 2);
    assert_int_equal(info.n_threads, 2);
    assert_int_equal(info.weight_bytes, 2176 + 128);
    assert_int_equal(info.kv_bytes_per_token, 2 * 2 * 2 * sizeof(float));
    assert_int_equal(info.workspace_bytes, 32);
    assert_false(info.from_cache);
    assert_true(info.load_s >= 0);
    assert_non_null(strstr(mlcc_model_metadata(model), "\"handwritten\""));
    mlcc_model_close(model);
    mlcc_model_close(NULL);
    tiny_dir_remove(&dir);
}

// directory/lib.so is the default; it may also be a bare name in the working directory.
static void where_the_library_lies(void **state) {
    (void)state;
    tiny_dir dir = tiny_dir_make((tiny_store){0});
    mlcc_model_options options = tiny_options(&dir, 1);
    char *own = mlcc_path_join(dir.arena, dir.path, "lib.so");
    tiny_ok(mlcc_file_copy(options.library, own));
    options.library = NULL;
    mlcc_model *model = NULL;
    tiny_ok(mlcc_model_open(&options, &model));
    mlcc_model_close(model);

    char *home = getcwd(NULL, 0);
    assert_int_equal(chdir(dir.path), 0);
    options.library = "lib.so";
    tiny_ok(mlcc_model_open(&options, &model));
    mlcc_model_close(model);
    assert_int_equal(chdir(home), 0);
    free(home);

    options.library = mlcc_path_join(dir.arena, dir.path, "absent.so");
    expect_refusal(&options, MLCC_INVALID, "absent.so does not exist", "mlcc compile");
    options.directory = "/nonexistent/model";
    expect_refusal(&options, MLCC_INVALID, "/nonexistent/model does not exist", "");
    options.directory = NULL;
    expect_refusal(&options, MLCC_INVALID, "needs a model directory", "");
    tiny_dir_remove(&dir);
}

static void context_window_of_the_config(void **state) {
    (void)state;
    tiny_dir dir = tiny_dir_make((tiny_store){0});
    mlcc_model_options options = tiny_options(&dir, 1);
    mlcc_model *model = NULL;
    mlcc_engine *engine = NULL;
    mlcc_model_info info;
    tiny_write_text(
        dir.path, "mlc-chat-config.json",
        "{\"context_window_size\": 20, \"model_config\": {\"context_window_size\": 7}}");
    tiny_ok(mlcc_model_open(&options, &model));
    mlcc_model_get_info(model, &info);
    assert_int_equal(info.context_window, 20);
    mlcc_model_close(model);
    // No limit: then the engine must be told how much to keep.
    tiny_write_text(dir.path, "mlc-chat-config.json", "{\"context_window_size\": -1}");
    tiny_ok(mlcc_model_open(&options, &model));
    tiny_refused(
        mlcc_engine_create(model, NULL, &engine), MLCC_INVALID, "no context window", "max_tokens");
    tiny_ok(mlcc_engine_create(model, &(mlcc_engine_options){.max_tokens = 100}, &engine));
    mlcc_engine_free(engine);
    mlcc_model_close(model);
    tiny_write_text(dir.path, "mlc-chat-config.json", "{\"temperature\": 1.0}");
    tiny_ok(mlcc_model_open(&options, &model));
    mlcc_model_get_info(model, &info);
    assert_int_equal(info.context_window, TINY_CONTEXT);
    mlcc_model_close(model);

    tiny_write_text(dir.path, "mlc-chat-config.json", "{\"context_window_size\": 0}");
    expect_refusal(&options, MLCC_INVALID, "'context_window_size' is 0", "mlc-chat-config.json");
    tiny_write_text(dir.path, "mlc-chat-config.json", "{\"context_window_size\": \"many\"}");
    expect_refusal(&options, MLCC_INVALID, "context_window_size", "mlc-chat-config.json");
    tiny_write_text(dir.path, "mlc-chat-config.json", "{\"context_window_size\": 20");
    expect_refusal(&options, MLCC_INVALID, "mlc-chat-config.json", "");
    options.n_threads = -3;
    expect_refusal(&options, MLCC_INVALID, "-3 threads", "");
    tiny_dir_remove(&dir);
}

static void libraries_of_other_makers(void **state) {
    (void)state;
    tiny_dir dir = tiny_dir_make((tiny_store){0});
    mlcc_model_options options = tiny_options(&dir, 1);
    options.library = tiny_library(dir.arena, "other_abi");
    expect_refusal(
        &options, MLCC_MISMATCH, "ABI version 99, this runtime has version 3",
        "compile the model again");
    options.library = tiny_library(dir.arena, "other_cpu");
    expect_refusal(&options, MLCC_MISMATCH, "lacks: quantum1, quantum2", "target 'handwritten'");
    options.library = tiny_library(dir.arena, "no_query");
    expect_refusal(
        &options, MLCC_INVALID, "does not export 'mlcc_model_query'", "no library of mlcc");
    options.library =
        mlcc_path_self(dir.arena); // a program, position-independent or not, but no library
    mlcc_model *model = NULL;
    mlcc_status *status = mlcc_model_open(&options, &model);
    assert_int_equal(mlcc_status_code(status), MLCC_INVALID);
    mlcc_status_free(status);
    tiny_dir_remove(&dir);
}

static void damaged_libraries(void **state) {
    (void)state;
    tiny_dir dir = tiny_dir_make((tiny_store){0});
    mlcc_model_options options = tiny_options(&dir, 1);
    char *data = NULL;
    size_t size_bytes = 0;
    tiny_ok(mlcc_file_read(options.library, 0, &data, &size_bytes));
    options.library = mlcc_path_join(dir.arena, dir.path, "lib.so");
    assert_true(size_bytes > sizeof(Elf64_Ehdr));

    Elf64_Ehdr header;
    memcpy(&header, data, sizeof header);
    Elf64_Ehdr foreign = header;
#if defined(__x86_64__)
    foreign.e_machine = EM_AARCH64;
    const char *expected = "is for aarch64 (ELF machine 183), this machine is x86-64";
#else
    foreign.e_machine = EM_X86_64;
    const char *expected = "is for x86-64 (ELF machine 62), this machine is aarch64";
#endif
    memcpy(data, &foreign, sizeof foreign);
    tiny_write(dir.path, "lib.so", data, size_bytes);
    expect_refusal(&options, MLCC_MISMATCH, expected, "--target native");
    foreign = header;
    foreign.e_ident[EI_CLASS] = ELFCLASS32;
    memcpy(data, &foreign, sizeof foreign);
    tiny_write(dir.path, "lib.so", data, size_bytes);
    expect_refusal(&options, MLCC_MISMATCH, "not for a 64-bit", "");
    foreign = header;
    foreign.e_type = ET_REL;
    memcpy(data, &foreign, sizeof foreign);
    tiny_write(dir.path, "lib.so", data, size_bytes);
    expect_refusal(&options, MLCC_INVALID, "not a shared library (ELF type 1)", "");
    foreign = header;
    foreign.e_phoff = UINT64_MAX - 10;
    memcpy(data, &foreign, sizeof foreign);
    tiny_write(dir.path, "lib.so", data, size_bytes);
    expect_refusal(&options, MLCC_INVALID, "segment table lies outside", "");

    memcpy(data, &header, sizeof header);
    for (size_t length = 0; length < size_bytes; length += length < 1024 ? 61 : size_bytes / 16) {
        tiny_write(dir.path, "lib.so", data, length);
        mlcc_model *model = NULL;
        mlcc_status *status = mlcc_model_open(&options, &model);
        // Cutting only the section table off leaves a library that works.
        if (status == NULL) {
            mlcc_model_close(model);
            continue;
        }
        assert_int_equal(mlcc_status_code(status), MLCC_INVALID);
        mlcc_status_free(status);
    }
    tiny_write_text(
        dir.path, "lib.so",
        "just some text that is long enough to hold an ELF header, but it is none");
    expect_refusal(&options, MLCC_INVALID, "no ELF header", "lib.so");
    free(data);
    tiny_dir_remove(&dir);
}

static void weights_of_other_models(void **state) {
    (void)state;
    tiny_dir dir = tiny_dir_make((tiny_store){.without_mix_scale = true});
    mlcc_model_options options = tiny_options(&dir, 1);
    expect_refusal(
        &options, MLCC_MISMATCH, "needs the tensor 'mix.q_scale'", "1 of the library's 3 tensors");
    tiny_write_store(dir.path, (tiny_store){.wide_embed = true});
    expect_refusal(
        &options, MLCC_MISMATCH, "needs 'embed.weight' as float32 [23, 23]",
        "holds it as float32 [23, 24]");
    char *index = mlcc_path_join(dir.arena, dir.path, "tensor-cache.json");
    tiny_ok(mlcc_file_remove(index));
    expect_refusal(
        &options, MLCC_INVALID, "neither tensor-cache.json nor ndarray-cache.json",
        "convert_weight");
    tiny_dir_remove(&dir);
}

static void damaged_shards(void **state) {
    (void)state;
    tiny_dir dir = tiny_dir_make((tiny_store){0});
    mlcc_model_options options = tiny_options(&dir, 2);
    char *shard = mlcc_path_join(dir.arena, dir.path, "params_shard_1.bin");
    char *data = NULL;
    size_t size_bytes = 0;
    tiny_ok(mlcc_file_read(shard, 0, &data, &size_bytes));

    tiny_write(dir.path, "params_shard_1.bin", data, size_bytes - 1);
    expect_refusal(
        &options, MLCC_INVALID, "params_shard_1.bin has 2115 bytes, its index says 2116",
        "truncated");
    tiny_ok(mlcc_file_remove(shard));
    expect_refusal(
        &options, MLCC_INVALID, "params_shard_1.bin is missing", "convert the weights again");

    data[1000] ^= 1;
    tiny_write(dir.path, "params_shard_1.bin", data, size_bytes);
    options.verify = true;
    expect_refusal(&options, MLCC_INVALID, "params_shard_1.bin has md5", "damaged");
    data[1000] ^= 1;
    tiny_write(dir.path, "params_shard_1.bin", data, size_bytes);
    mlcc_model *model = NULL;
    tiny_ok(mlcc_model_open(&options, &model));
    mlcc_model_close(model);
    tiny_write_store(dir.path, (tiny_store){.without_md5 = true});
    expect_refusal(&options, MLCC_INVALID, "gives no md5sum", "params_shard_0.bin");
    free(data);
    tiny_dir_remove(&dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sound_model),
        cmocka_unit_test(where_the_library_lies),
        cmocka_unit_test(context_window_of_the_config),
        cmocka_unit_test(libraries_of_other_makers),
        cmocka_unit_test(damaged_libraries),
        cmocka_unit_test(weights_of_other_models),
        cmocka_unit_test(damaged_shards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
