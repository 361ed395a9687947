// config: no JSON breaks the readers of config.json (with what it says about quantization), mlc-chat-config.json and tokenizer.json, and what they
// accept can be written, read back to the same text, and imported. The first byte chooses the reader.
#include "frontend/arch/arch.h"
#include "frontend/hf/quantization_config.h"
#include "frontend/hf/tokenizer_files.h"
#include "frontend/import.h"
#include "ir/verify.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static mlcc_str write_config(const hf_model_config *config) {
    mlcc_str text = {0};
    mlcc_json_writer writer;
    mlcc_str_printf(&text, "{\"model_type\": \"%s\", \"model_config\": ", config->model_type);
    mlcc_json_writer_init(&writer, &text, 0, true);
    hf_model_config_write(config, &writer);
    mlcc_str_putc(&text, '}');
    return text;
}

static mlcc_status *read_mlc(
    const char *text, size_t length, mlcc_arena *keep, mlcc_json **json, hf_model_config **out) {
    MLCC_TRY(mlcc_json_parse(text, length, "fuzz", 0, json));
    return hf_model_config_from_mlc(mlcc_json_root(*json), "fuzz", NULL, keep, out);
}

// Whatever is accepted is in range, and answers for every module.
static mlcc_status *read_quantization(const mlcc_json_value *root, mlcc_arena *keep) {
    static const char *const modules[] = {
        "lm_head", "model.layers.0.mlp.down_proj", "model.layers.11.self_attn.q_proj", ""};
    hf_quantization_config config;
    MLCC_TRY(hf_quantization_config_read(NULL, root, keep, &config));
    const quant_foreign_hints *hints = &config.hints;
    if (hints->bits < 0 || hints->bits > 8 || hints->group_size < -1) abort();
    if (config.block_rows < 0 || config.block_columns < 0) abort();
    for (size_t i = 0; i < sizeof modules / sizeof modules[0]; i++) {
        bool is_ignored = false;
        MLCC_TRY(hf_quantization_config_ignores(&config, modules[i], &is_ignored));
    }
    return NULL;
}

static void check(const hf_model_config *config, mlcc_arena *keep) {
    mlcc_str first = write_config(config);
    mlcc_json *json = NULL;
    hf_model_config *again = NULL;
    mlcc_status *status = read_mlc(first.data, first.length, keep, &json, &again);
    if (status != NULL) abort();
    mlcc_str second = write_config(again);
    if (strcmp(first.data, second.data) != 0) abort();
    mlcc_str_free(&first);
    mlcc_str_free(&second);
    hf_model_config_free(again);
    mlcc_json_free(json);

    quant_options quantization;
    mlcc_status_free(import_quant_options(config, keep, &quantization));

    if (config->n_layers > 4 || config->tensor_parallel_shards != 1 ||
        config->pipeline_parallel_stages != 1)
        return;
    ir_module *module = NULL;
    const import_options options = {.activation_dtype = IR_F32, .kv_dtype = IR_F16};
    if (config->head_dim > 4096) return;
    const bool has_graph = arch_has_graph(arch_find(config->model_type));
    mlcc_status *imported = import_model(config, &options, keep, &module);
    if ((imported == NULL) != has_graph) abort();
    mlcc_status_free(imported);
    if (!has_graph) return;
    if (ir_verify(module, IR_LEVEL_GRAPH) != NULL) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    const char *text = (const char *)data + 1;
    size_t length = size - 1;
    mlcc_arena *keep = mlcc_arena_create();
    mlcc_json *json = NULL;
    hf_model_config *config = NULL;
    mlcc_status *status = NULL;
    switch (data[0] % 4) {
    case 0: status = hf_model_config_parse(text, length, "fuzz", NULL, NULL, keep, &config); break;
    case 1: status = read_mlc(text, length, keep, &json, &config); break;
    case 3:
        status = mlcc_json_parse(text, length, "fuzz", 0, &json);
        if (status == NULL) status = read_quantization(mlcc_json_root(json), keep);
        break;
    default: {
        hf_tokenizer_info info;
        int64_t active_vocab = 0;
        status = mlcc_json_parse(text, length, "fuzz", 0, &json);
        if (status == NULL)
            status = hf_tokenizer_inspect(mlcc_json_root(json), &info, &active_vocab);
        if (status == NULL && active_vocab < 0) abort();
    }
    }
    if (status == NULL && config != NULL) check(config, keep);
    mlcc_status_free(status);
    hf_model_config_free(config);
    mlcc_json_free(json);
    mlcc_arena_free(keep);
    return 0;
}
