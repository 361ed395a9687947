#include "dist/artifact/gen_config.h"

#include "dist/artifact/chat_template.h"
#include "dist/artifact/store_directory.h"
#include "frontend/arch/arch.h"
#include "frontend/chat/conv_templates.h"
#include "frontend/hf/generation_config.h"
#include "frontend/hf/sentences.h"
#include "frontend/hf/tokenizer_files.h"
#include "frontend/import.h"
#include "quantization/mode.h"
#include "runtime/base/file.h"
#include "runtime/base/log.h"
#include "runtime/text/conversation.h"

#include <string.h>
#include <unistd.h>

#define CONFIG_NAME            "mlc-chat-config.json"
#define CONFIG_VERSION         "0.1.0"
#define DEFAULT_MAX_BATCH_SIZE 128
#define MAX_TOKENIZER_BYTES    ((size_t)256 << 20)

// Everything the file is made from.
typedef struct chat_config {
    const hf_model_config *model;
    artifact_chat_template chat_template;
    const quant_mode *mode; // as the table has it
    quant_options quantization;
    bool is_mode_changed; // by the options
    hf_tokenizer_files tokenizer;
    hf_generation_config generation;
    hf_sentences sentences; // of an encoder
} chat_config;

// ---- the text of mlc-chat-config.json ------------------------------------------------------------------

static void put_text(mlcc_json_writer *writer, const char *key, const char *text) {
    mlcc_json_key(writer, key);
    mlcc_json_put_text(writer, text);
}

static void put_i64(mlcc_json_writer *writer, const char *key, int64_t value) {
    mlcc_json_key(writer, key);
    mlcc_json_put_i64(writer, value);
}

// A size that some model types have: -1 stands for "no such field".
static void put_size(mlcc_json_writer *writer, const hf_model_config *model, const char *key) {
    const arch_field *field = arch_find_field(arch_find(model->model_type), key);
    put_i64(
        writer, key,
        field != NULL ? *(const int64_t *)(const void *)((const char *)model + field->offset) : -1);
}

static void put_tokenizer(mlcc_json_writer *writer, const hf_tokenizer_files *tokenizer) {
    mlcc_json_key(writer, "tokenizer_files");
    mlcc_json_begin_array(writer);
    for (size_t i = 0; i < tokenizer->n_names; i++) mlcc_json_put_text(writer, tokenizer->names[i]);
    mlcc_json_end(writer);
    mlcc_json_key(writer, "tokenizer_info");
    mlcc_json_begin_object(writer);
    put_text(writer, "token_postproc_method", tokenizer->info.token_postproc_method);
    mlcc_json_key(writer, "prepend_space_in_encode");
    mlcc_json_put_bool(writer, tokenizer->info.prepend_space_in_encode);
    mlcc_json_key(writer, "strip_space_in_decode");
    mlcc_json_put_bool(writer, tokenizer->info.strip_space_in_decode);
    mlcc_json_end(writer);
}

// MLC's three keys; `max_sequence_length` is mlcc's own and stands only where it is shorter than the context.
static void put_embedding(
    mlcc_json_writer *writer, const hf_model_config *model, const hf_sentences *sentences) {
    if (!import_is_encoder(model)) {
        mlcc_json_put_null(writer);
        return;
    }
    mlcc_json_begin_object(writer);
    put_text(writer, "model_type", "encoder");
    put_text(writer, "pooling_strategy", sentences->pooling);
    mlcc_json_key(writer, "normalize");
    mlcc_json_put_bool(writer, sentences->normalizes);
    if (sentences->max_tokens > 0 && sentences->max_tokens < model->context_window_size)
        put_i64(writer, "max_sequence_length", sentences->max_tokens);
    mlcc_json_end(writer);
}

// mlcc's own key, last and only where the checkpoint changes the mode: MLC LLM's readers pass over keys that they do not know.
static void put_quantization(mlcc_json_writer *writer, const quant_options *options) {
    mlcc_json_key(writer, "quantization_options");
    mlcc_json_begin_object(writer);
    if (options->group_size != 0) put_i64(writer, "group_size", options->group_size);
    if (options->n_float_modules > 0) {
        mlcc_json_key(writer, "modules_to_not_convert");
        mlcc_json_begin_array(writer);
        for (size_t i = 0; i < options->n_float_modules; i++)
            mlcc_json_put_text(writer, options->float_modules[i]);
        mlcc_json_end(writer);
    }
    mlcc_json_end(writer);
}

// Keys in MLC LLM's order; the result ends without a newline, as json.dump leaves it.
static void write_chat_config(const chat_config *chat, mlcc_str *text) {
    const hf_model_config *model = chat->model;
    mlcc_json_writer writer;
    mlcc_json_writer_init(&writer, text, 2, true);
    mlcc_json_begin_object(&writer);
    put_text(&writer, "version", CONFIG_VERSION);
    put_text(&writer, "model_type", model->model_type);
    put_text(&writer, "quantization", chat->mode->name);
    mlcc_json_key(&writer, "model_config");
    hf_model_config_write(model, &writer);
    put_i64(&writer, "vocab_size", model->vocab);
    put_size(&writer, model, "context_window_size");
    put_size(&writer, model, "sliding_window_size");
    put_size(&writer, model, "prefill_chunk_size");
    put_size(&writer, model, "attention_sink_size");
    put_i64(&writer, "tensor_parallel_shards", model->tensor_parallel_shards);
    put_i64(&writer, "pipeline_parallel_stages", model->pipeline_parallel_stages);
    put_i64(
        &writer, "active_vocab_size",
        chat->tokenizer.active_vocab > 0 ? chat->tokenizer.active_vocab : model->vocab);
    hf_generation_config_write(&chat->generation, HF_TEMPERATURE, HF_TOP_P, &writer);
    put_tokenizer(&writer, &chat->tokenizer);
    mlcc_json_key(&writer, "conv_template");
    conv_template_write(chat->chat_template.conv, &writer);
    hf_generation_config_write(&chat->generation, HF_PAD_TOKEN_ID, HF_EOS_TOKEN_ID, &writer);
    put_text(&writer, "model_task", arch_task(model->model_type));
    mlcc_json_key(&writer, "embedding_metadata");
    put_embedding(&writer, model, &chat->sentences);
    if (chat->is_mode_changed) put_quantization(&writer, &chat->quantization);
    if (chat->chat_template.jinja != NULL) // mlcc's own key, too
        put_text(&writer, MLCC_CHAT_TEMPLATE_KEY, ARTIFACT_CHAT_TEMPLATE_NAME);
    mlcc_json_end(&writer);
}

// ---- what it is made from --------------------------------------------------------------------------------

// The facts come from the tokenizer.json that the output directory will hold: the copied one, or one that already lies there.
static mlcc_status *find_tokenizer(
    const hf_model_config *model, const char *output, mlcc_arena *keep,
    hf_tokenizer_files *tokenizer) {
    *tokenizer = (hf_tokenizer_files){.info = hf_tokenizer_info_default()};
    if (model->directory != NULL)
        MLCC_TRY(hf_tokenizer_files_find(model->directory, keep, tokenizer));
    if (tokenizer->has_tokenizer_json) {
        if (tokenizer->active_vocab > model->vocab)
            mlcc_log(
                MLCC_LOG_WARN, "gen_config",
                "the tokenizer has %lld tokens, but vocab_size is %lld",
                (long long)tokenizer->active_vocab, (long long)model->vocab);
        return NULL;
    }
    const char *path = mlcc_path_join(keep, output, "tokenizer.json");
    if (!mlcc_file_exists(path)) return NULL;
    mlcc_json *json = NULL;
    int64_t active_vocab = 0;
    MLCC_TRY(mlcc_json_read_file(path, MAX_TOKENIZER_BYTES, &json));
    mlcc_status *status =
        hf_tokenizer_inspect(mlcc_json_root(json), &tokenizer->info, &active_vocab);
    mlcc_json_free(json);
    return mlcc_status_note(status, "reading %s", path);
}

// ---- the files -------------------------------------------------------------------------------------------

// Completes every file in `stage`.
static mlcc_status *fill_stage(const chat_config *chat, const char *stage, mlcc_arena *keep) {
    for (size_t i = 0; i < chat->tokenizer.n_names; i++) {
        const char *name = chat->tokenizer.names[i];
        MLCC_TRY(mlcc_file_copy(
            mlcc_path_join(keep, chat->model->directory, name), mlcc_path_join(keep, stage, name)));
    }
    const artifact_chat_template *own = &chat->chat_template;
    if (own->jinja != NULL)
        MLCC_TRY(mlcc_file_write_atomic(
            mlcc_path_join(keep, stage, ARTIFACT_CHAT_TEMPLATE_NAME), own->jinja,
            own->jinja_bytes));
    mlcc_str text = {0};
    write_chat_config(chat, &text);
    mlcc_status *status =
        mlcc_file_write_atomic(mlcc_path_join(keep, stage, CONFIG_NAME), text.data, text.length);
    mlcc_str_free(&text);
    return status;
}

static mlcc_status *move_into_place(
    const chat_config *chat, const char *stage, const char *output, mlcc_arena *keep) {
    if (chat->chat_template.jinja != NULL)
        MLCC_TRY(mlcc_file_rename(
            mlcc_path_join(keep, stage, ARTIFACT_CHAT_TEMPLATE_NAME),
            mlcc_path_join(keep, output, ARTIFACT_CHAT_TEMPLATE_NAME)));
    for (size_t i = 0; i <= chat->tokenizer.n_names; i++) {
        const char *name = i < chat->tokenizer.n_names ? chat->tokenizer.names[i] : CONFIG_NAME;
        MLCC_TRY(mlcc_file_rename(
            mlcc_path_join(keep, stage, name), mlcc_path_join(keep, output, name)));
    }
    return NULL;
}

static mlcc_status *write_files(const chat_config *chat, const char *output, mlcc_arena *keep) {
    char *first_made = NULL;
    MLCC_TRY(store_directory_make(output, keep, &first_made));
    const char *stage = mlcc_arena_printf(keep, "%s/.gen_config.%ld", output, (long)getpid());
    mlcc_temporary_dir_register(stage);
    mlcc_status *status = mlcc_dir_make(stage);
    if (status == NULL) status = fill_stage(chat, stage, keep);
    mlcc_interruption_hold();
    if (status == NULL) status = move_into_place(chat, stage, output, keep);
    mlcc_status_free(mlcc_dir_remove_tree(stage));
    mlcc_temporary_dir_register(NULL);
    mlcc_interruption_release();
    if (status != NULL && first_made != NULL) store_directory_unmake(output, first_made);
    return status;
}

static mlcc_status *find_quantization(chat_config *chat, mlcc_arena *keep) {
    const quant_mode *resolved = NULL;
    MLCC_TRY(import_quant_options(chat->model, keep, &chat->quantization));
    MLCC_TRY(quant_mode_resolve(chat->mode->name, &chat->quantization, keep, &resolved));
    chat->is_mode_changed = resolved != chat->mode;
    return NULL;
}

static mlcc_status *generate(
    const artifact_gen_config_options *options, hf_model_config *model, chat_config *chat,
    mlcc_arena *keep) {
    if (options->has_disaggregation) model->disaggregation = options->disaggregation;
    chat->model = model;
    if (!arch_has_graph(arch_find(model->model_type)))
        mlcc_log(
            MLCC_LOG_WARN, "gen_config",
            "model type '%s' is recurrent: the configuration is for MLC LLM, mlcc neither converts "
            "nor compiles such models",
            model->model_type);
    MLCC_TRY(find_quantization(chat, keep));
    if (chat->chat_template.conv == NULL)
        MLCC_TRY(artifact_chat_template_find(model, options->config, keep, &chat->chat_template));
    MLCC_TRY(find_tokenizer(model, options->output, keep, &chat->tokenizer));
    MLCC_TRY(hf_generation_config_read(
        model->directory, mlcc_json_root(model->document), keep, &chat->generation));
    mlcc_status *status = import_is_encoder(model)
                              ? hf_sentences_read(model->directory, keep, &chat->sentences)
                              : NULL;
    if (status == NULL) status = write_files(chat, options->output, keep);
    hf_generation_config_free(&chat->generation);
    return status;
}

mlcc_status *artifact_gen_config(const artifact_gen_config_options *options, mlcc_arena *keep) {
    chat_config chat = {0};
    MLCC_TRY(quant_mode_find(options->quantization, &chat.mode));
    bool is_auto = options->conv_template == NULL || strcmp(options->conv_template, "auto") == 0;
    if (!is_auto) MLCC_TRY(conv_template_find(options->conv_template, &chat.chat_template.conv));
    hf_config_overrides overrides = options->overrides;
    if (overrides.max_batch_size == 0) overrides.max_batch_size = DEFAULT_MAX_BATCH_SIZE;
    hf_model_config *model = NULL;
    MLCC_TRY(hf_model_config_read(options->config, options->model_type, &overrides, keep, &model));
    mlcc_status *status = generate(options, model, &chat, keep);
    hf_model_config_free(model);
    return mlcc_status_note(status, "writing the config to %s", options->output);
}
