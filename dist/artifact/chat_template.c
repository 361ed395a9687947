#include "dist/artifact/chat_template.h"

#include "runtime/base/file.h"
#include "runtime/base/log.h"
#include "runtime/text/jinja.h"

#include <stdlib.h>
#include <string.h>

// ---- the Jinja template ------------------------------------------------------------------------------------------

// A copy of text that may hold NUL bytes.
static void take_jinja(
    const char *text, size_t length, mlcc_arena *keep, artifact_chat_template *out) {
    char *copy = MLCC_NEW_ARRAY(keep, char, length + 1);
    memcpy(copy, text, length);
    out->jinja = copy;
    out->jinja_bytes = length;
}

static mlcc_status *read_jinja_file(
    const char *path, mlcc_arena *keep, artifact_chat_template *out) {
    char *text;
    size_t length;
    MLCC_TRY(mlcc_file_read(path, MLCC_JINJA_MAX_TEMPLATE_BYTES, &text, &length));
    take_jinja(text, length, keep, out);
    free(text);
    return NULL;
}

// The text itself, or the entry "default" of a list of {name, template}.
static const mlcc_json_value *default_template(const mlcc_json_value *templates) {
    if (mlcc_json_kind_of(templates) == MLCC_JSON_STRING) return templates;
    for (size_t i = 0; i < mlcc_json_count(templates); i++) {
        const mlcc_json_value *one = mlcc_json_at(templates, i);
        const char *name = mlcc_json_text(mlcc_json_get(one, "name"), NULL);
        if (name != NULL && strcmp(name, "default") == 0) return mlcc_json_get(one, "template");
    }
    return NULL;
}

static mlcc_status *read_tokenizer_config(
    const char *path, mlcc_arena *keep, artifact_chat_template *out) {
    mlcc_json *json;
    MLCC_TRY(mlcc_json_read_file(path, 0, &json));
    const mlcc_json_value *text =
        default_template(mlcc_json_get(mlcc_json_root(json), "chat_template"));
    size_t length;
    const char *data = mlcc_json_text(text, &length);
    if (data != NULL) take_jinja(data, length, keep, out);
    mlcc_json_free(json);
    return NULL;
}

static mlcc_status *find_jinja(
    const char *directory, mlcc_arena *keep, artifact_chat_template *out) {
    if (directory == NULL) return NULL; // a preset
    const char *jinja = mlcc_path_join(keep, directory, ARTIFACT_CHAT_TEMPLATE_NAME);
    const char *config = mlcc_path_join(keep, directory, "tokenizer_config.json");
    if (mlcc_file_exists(jinja)) {
        MLCC_TRY(read_jinja_file(jinja, keep, out));
    } else if (mlcc_file_exists(config)) {
        MLCC_TRY(read_tokenizer_config(config, keep, out));
    }
    if (out->jinja == NULL) return NULL;
    const mlcc_jinja *compiled;
    mlcc_status *status =
        mlcc_jinja_compile(out->jinja, out->jinja_bytes, "the chat template", keep, &compiled);
    if (status == NULL) return NULL;
    mlcc_log(
        MLCC_LOG_WARN, "gen_config", "the model's chat template is not used: %s",
        mlcc_status_message(status));
    mlcc_status_free(status);
    out->jinja = NULL;
    return NULL;
}

// ---- MLC LLM's template ------------------------------------------------------------------------------------------

// The first row that fits wins. NULL: anything.
typedef struct template_choice {
    const char *model_type;
    const char *folder; // in the path of the folder or the preset's name, in any case
    const char *mark;   // in the Jinja template
    const char *conv_template;
} template_choice;

// clang-format off
static const template_choice by_mark[] = {
    {NULL,          NULL, "<|header_start|>",         "llama-4"},
    {NULL,          NULL, "<|start_header_id|>",      "llama-3_1"},
    {"deepseek_v3", NULL, "<｜User｜>",               "deepseek_v3"},
    {"llama",       NULL, "<｜User｜>",               "deepseek_r1_llama"},
    {NULL,          NULL, "<｜User｜>",               "deepseek_r1_qwen"},
    {"gemma",       NULL, "<start_of_turn>",          "gemma_instruction"},
    {"gemma2",      NULL, "<start_of_turn>",          "gemma_instruction"},
    {NULL,          NULL, "<start_of_turn>",          "gemma3_instruction"},
    {"qwen2",       NULL, "<|im_start|>",             "qwen2"},
    {"qwen2_moe",   NULL, "<|im_start|>",             "qwen2"},
    {"qwen3",       NULL, "<|im_start|>",             "qwen3"},
    {"qwen3_moe",   NULL, "<|im_start|>",             "qwen3"},
    {NULL,          NULL, "<|im_start|>",             "chatml"},
    {NULL,          NULL, "<|START_OF_TURN_TOKEN|>",  "aya-23"},
    {NULL,          NULL, "<extra_id_0>",             "nemotron"},
    {NULL,          NULL, "[SYSTEM_PROMPT]",          "ministral3"},
    {NULL,          NULL, "<<SYS>>",                  "llama-2"},
    {NULL,          NULL, "[INST]",                   "mistral_default"},
    {"phi3",        NULL, "<|end|>",                  "phi-3"},
    {"olmo",        NULL, "<|user|>",                 "olmo"},
    {"olmo2",       NULL, "<|user|>",                 "olmo2"},
    {"stablelm",    NULL, "<|user|>",                 "stablelm-2"},
    {NULL,          NULL, "<|user|>",                 "tinyllama_v1_0"},
};
static const template_choice by_type[] = {
    {"llama",       "tinyllama", NULL, "tinyllama_v1_0"},
    {"llama",       "codellama", NULL, "codellama_instruct"},
    {"llama",       "llama-3",   NULL, "llama-3_1"},
    {"llama",       "llama3",    NULL, "llama-3_1"},
    {"llama",       "llama-2",   NULL, "llama-2"},
    {"llama",       "llama2",    NULL, "llama-2"},
    {"llama",       "smollm",    NULL, "chatml"},
    {"mistral",     NULL,        NULL, "mistral_default"},
    {"mixtral",     NULL,        NULL, "mistral_default"},
    {"ministral3",  NULL,        NULL, "ministral3"},
    {"qwen",        NULL,        NULL, "chatml"},
    {"qwen2",       NULL,        NULL, "qwen2"},
    {"qwen2_moe",   NULL,        NULL, "qwen2"},
    {"qwen3",       NULL,        NULL, "qwen3"},
    {"qwen3_moe",   NULL,        NULL, "qwen3"},
    {"gemma",       NULL,        NULL, "gemma_instruction"},
    {"gemma2",      NULL,        NULL, "gemma_instruction"},
    {"gemma3",      NULL,        NULL, "gemma3_instruction"},
    {"gemma3_text", NULL,        NULL, "gemma3_instruction"},
    {"phi",         NULL,        NULL, "phi-2"},
    {"phi-msft",    NULL,        NULL, "phi-2"},
    {"phi3",        NULL,        NULL, "phi-3"},
    {"phi3_v",      NULL,        NULL, "phi-3-vision"},
    {"gpt2",        NULL,        NULL, "gpt2"},
    {"gpt_bigcode", NULL,        NULL, "gpt_bigcode"},
    {"gpt_neox",    "dolly",     NULL, "dolly"},
    {"gpt_neox",    "redpajama", NULL, "redpajama_chat"},
    {"stablelm",    NULL,        NULL, "stablelm-2"},
    {"orion",       NULL,        NULL, "orion"},
    {"olmo",        NULL,        NULL, "olmo"},
    {"olmo2",       NULL,        NULL, "olmo2"},
    {"cohere",      NULL,        NULL, "aya-23"},
    {"deepseek",    NULL,        NULL, "deepseek"},
    {"deepseek_v2", NULL,        NULL, "deepseek_v2"},
    {"deepseek_v3", NULL,        NULL, "deepseek_v3"},
    {"chatglm",     NULL,        NULL, "glm"},
    {"nemotron",    NULL,        NULL, "nemotron"},
    {"llava",       NULL,        NULL, "llava"},
    {"rwkv5",       NULL,        NULL, "rwkv_world"},
    {"rwkv6",       NULL,        NULL, "rwkv_world"},
    {"bert",        NULL,        NULL, "LM"},
    {"bert-bge",    NULL,        NULL, "LM"},
};
// clang-format on

static const char *choose(
    const template_choice *rows, size_t n_rows, const hf_model_config *model, const char *source,
    const char *jinja) {
    for (size_t i = 0; i < n_rows; i++) {
        const template_choice *row = &rows[i];
        bool fits = (row->model_type == NULL || strcmp(row->model_type, model->model_type) == 0) &&
                    (row->folder == NULL || strcasestr(source, row->folder) != NULL) &&
                    (row->mark == NULL || (jinja != NULL && strstr(jinja, row->mark) != NULL));
        if (fits) return row->conv_template;
    }
    return NULL;
}

static mlcc_status *unknown(const hf_model_config *model) {
    size_t n;
    const conv_template *table = conv_template_table(&n);
    mlcc_str names = {0};
    for (size_t i = 0; i < n; i++)
        mlcc_str_printf(&names, "%s%s", i == 0 ? "" : ", ", table[i].name);
    mlcc_status *status = MLCC_ERROR(
        UNSUPPORTED,
        "the model brings no chat template and none is known for model type '%s'; choose one with "
        "--conv-template (LM leaves the text as it is): %s",
        model->model_type, mlcc_str_text(&names));
    mlcc_str_free(&names);
    return status;
}

mlcc_status *artifact_chat_template_find(
    const hf_model_config *model, const char *source, mlcc_arena *keep,
    artifact_chat_template *out) {
    *out = (artifact_chat_template){0};
    MLCC_TRY(find_jinja(model->directory, keep, out));
    const char *name = NULL;
    if (model->directory != NULL) source = model->directory;
    if (out->jinja != NULL)
        name = choose(by_mark, sizeof by_mark / sizeof *by_mark, model, source, out->jinja);
    if (name == NULL) name = choose(by_type, sizeof by_type / sizeof *by_type, model, source, NULL);
    if (name == NULL && out->jinja != NULL) name = "LM";
    return name != NULL ? conv_template_find(name, &out->conv) : unknown(model);
}
