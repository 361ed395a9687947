// generate: a prompt goes in, text comes out. The raw prompt after the tokenizer's special tokens (BOS) without a conversation template, or a
// conversation of a file in the directory's chat template.
#include "dist/cli/run/chat_config.h"
#include "dist/cli/run/commands.h"
#include "dist/cli/run/npy.h"
#include "dist/cli/run/open_model.h"
#include "dist/cli/run/template_args.h"
#include "runtime/base/clock.h"
#include "runtime/base/file.h"
#include "runtime/base/json.h"
#include "runtime/text/stop_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// clang-format off
static const args_option options[] = {
    {.name = "prompt", .letter = 'p', .kind = ARGS_TEXT, .value_name = "TEXT", .help = "what to continue"},
    {.name = "prompt-file", .letter = 'f', .kind = ARGS_TEXT, .value_name = "FILE", .help = "read the prompt from a file, byte for byte"},
    TEMPLATE_MESSAGES_OPTION,
    {.name = "max-tokens", .letter = 'n', .kind = ARGS_INT, .value_name = "N", .help = "at most so many new tokens", .fallback = "128", .min = 1, .max = 1e9},
    {.name = "ignore-eos", .kind = ARGS_FLAG, .help = "go on after an end-of-text token"},
    {.name = "echo", .kind = ARGS_FLAG, .help = "print the prompt before the new text"},
    {.name = "batch", .letter = 'b', .kind = ARGS_INT, .value_name = "N", .help = "run N copies of the prompt side by side and check that greedy text agrees", .fallback = "1", .min = 1, .max = 64},
    {.name = "json", .kind = ARGS_FLAG, .help = "print one JSON object: text, token_ids, counts, seconds, rates"},
    {.name = "logits", .kind = ARGS_TEXT, .value_name = "FILE.npy", .help = "write the first step's float32 logits [1, vocab]"},
    {.name = "sampling", .kind = ARGS_HEADING},
    {.name = "temperature", .kind = ARGS_REAL, .value_name = "X", .help = "0 = always the likeliest token", .fallback = "0", .min = 0, .max = 100},
    {.name = "top-p", .kind = ARGS_REAL, .value_name = "X", .help = "smallest set of tokens with this probability", .fallback = "1", .min = 0, .max = 1},
    {.name = "top-k", .kind = ARGS_INT, .value_name = "N", .help = "only the N likeliest; 0 = all", .fallback = "0", .min = 0, .max = 1e9},
    {.name = "min-p", .kind = ARGS_REAL, .value_name = "X", .help = "only tokens at least X times as likely as the likeliest", .fallback = "0", .min = 0, .max = 1},
    {.name = "repetition-penalty", .kind = ARGS_REAL, .value_name = "X", .help = "above 1 makes generated tokens less likely", .fallback = "1", .min = 1e-3, .max = 100},
    {.name = "presence-penalty", .kind = ARGS_REAL, .value_name = "X", .help = "subtracted once from generated tokens", .fallback = "0", .min = -2, .max = 2},
    {.name = "frequency-penalty", .kind = ARGS_REAL, .value_name = "X", .help = "subtracted per occurrence", .fallback = "0", .min = -2, .max = 2},
    {.name = "seed", .kind = ARGS_INT, .value_name = "S", .help = "the same seed gives the same text", .fallback = "0", .min = 0, .max = 9e18},
    TEMPLATE_OPTIONS,
    OPEN_MODEL_OPTIONS,
};
// clang-format on

typedef struct generation {
    mlcc_model *model;
    mlcc_engine *engine;
    mlcc_tokenizer *tokenizer;
    mlcc_text_stream *stream;
    mlcc_sampler *samplers[64];
    int32_t sequences[64];
    int32_t *prompt_ids;
    size_t n_prompt_ids;
    char *prompt;
    size_t prompt_bytes;
    int32_t *new_ids; // [n_new_ids]
    int64_t n_new_ids;
    mlcc_str text;
    double prefill_s, decode_s;
    bool stopped;
    mlcc_arena *keep;               // the conversation
    mlcc_conversation conversation; // all zeros without --messages
    mlcc_stop_text stop;            // its stop strings
    mlcc_bytes shown;               // text that came through that
} generation;

static mlcc_status *read_prompt(const args_values *values, generation *g) {
    const char *text = args_text(values, "prompt"), *file = args_text(values, "prompt-file");
    const bool has_messages = args_given(values, "messages");
    if ((text != NULL) + (file != NULL) + has_messages != 1) {
        return args_usage("give the prompt with one of --prompt TEXT, --prompt-file FILE and "
                          "--messages FILE");
    }
    if (has_messages) return NULL;
    MLCC_TRY(template_args_check_unused(values));
    if (file != NULL) return mlcc_file_read(file, 256u << 20, &g->prompt, &g->prompt_bytes);
    g->prompt = strdup(text);
    if (g->prompt == NULL) return MLCC_ERROR(NO_MEMORY, "cannot copy the prompt");
    g->prompt_bytes = strlen(text);
    return NULL;
}

static mlcc_sampling sampling_of(const args_values *values) {
    return (mlcc_sampling){
        .temperature = (float)args_real(values, "temperature"),
        .top_p = (float)args_real(values, "top-p"),
        .top_k = (int32_t)args_int(values, "top-k"),
        .min_p = (float)args_real(values, "min-p"),
        .repetition_penalty = (float)args_real(values, "repetition-penalty"),
        .presence_penalty = (float)args_real(values, "presence-penalty"),
        .frequency_penalty = (float)args_real(values, "frequency-penalty"),
        .seed = (uint64_t)args_int(values, "seed"),
    };
}

// New tokens that the context window has room for; -1 as a window means no limit.
static int64_t room_for_new(const mlcc_model_info *info, const generation *g) {
    int64_t window = info->context_window < 0 ? INT32_MAX : info->context_window;
    return window - (int64_t)g->n_prompt_ids;
}

// The prompt's ids; of a conversation its text, too, as --echo shows it.
static mlcc_status *encode_prompt(const char *directory, const args_values *values, generation *g) {
    if (!args_given(values, "messages")) {
        return mlcc_tokenizer_encode(
            g->tokenizer, g->prompt, g->prompt_bytes, true, &g->prompt_ids, &g->n_prompt_ids);
    }
    g->keep = mlcc_arena_create();
    MLCC_TRY(template_args_encode(
        values, directory, g->tokenizer, g->keep, &g->conversation, &g->prompt_ids,
        &g->n_prompt_ids));
    if (!args_flag(values, "ignore-eos")) {
        g->stop = (mlcc_stop_text){.stops = g->conversation.stop_strings,
                                   .n_stops = g->conversation.n_stop_strings};
    }
    return mlcc_tokenizer_decode(
        g->tokenizer, g->prompt_ids, g->n_prompt_ids, false, &g->prompt, &g->prompt_bytes);
}

static bool is_stop(const generation *g, const chat_config *config, int32_t id) {
    for (size_t i = 0; i < g->conversation.n_stop_ids; i++) {
        if (g->conversation.stop_ids[i] == id) return true;
    }
    return chat_config_is_stop(config, id);
}

// Opens everything. The KV cache is made for the prompt and what may follow.
static mlcc_status *prepare(
    const char *directory, const args_values *values, int32_t n_batch, generation *g) {
    MLCC_TRY(open_model_check_directory(directory));
    const mlcc_tokenizer_options tokenizer_options = {
        .directory = directory, .no_cache = args_flag(values, "no-cache")};
    MLCC_TRY(mlcc_tokenizer_open_with(&tokenizer_options, &g->tokenizer));
    MLCC_TRY(encode_prompt(directory, values, g));
    if (g->n_prompt_ids == 0) {
        return MLCC_ERROR(INVALID, "the prompt has no tokens; give at least one character");
    }
    MLCC_TRY(open_model(directory, values, &g->model));
    mlcc_model_info info;
    mlcc_model_get_info(g->model, &info);
    int64_t max_new = args_int(values, "max-tokens"), room = room_for_new(&info, g);
    if (room < 1) {
        return MLCC_ERROR(
            INVALID,
            "the prompt has %zu tokens, the model's context window holds %lld; shorten the prompt",
            g->n_prompt_ids, (long long)info.context_window);
    }
    if (max_new > room) max_new = room;
    if (n_batch > info.max_sequences) {
        return MLCC_ERROR(
            INVALID,
            "--batch is %d; this lib.so was compiled for at most %lld sequences "
            "(mlcc compile --overrides max_batch_size=N)",
            n_batch, (long long)info.max_sequences);
    }
    mlcc_engine_options engine_options = {
        .max_sequences = n_batch,
        .max_tokens = ((int64_t)g->n_prompt_ids + max_new + 16) * n_batch,
    };
    MLCC_TRY(mlcc_engine_create(g->model, &engine_options, &g->engine));
    mlcc_sampling sampling = sampling_of(values);
    for (int32_t i = 0; i < n_batch; i++) {
        MLCC_TRY(mlcc_sampler_create(&sampling, info.vocab, &g->samplers[i]));
        MLCC_TRY(mlcc_engine_add_sequence(g->engine, &g->sequences[i]));
    }
    MLCC_TRY(mlcc_text_stream_create(g->tokenizer, true, &g->stream));
    g->new_ids = calloc((size_t)max_new, sizeof *g->new_ids);
    if (g->new_ids == NULL)
        return MLCC_ERROR(NO_MEMORY, "no room for %lld ids", (long long)max_new);
    return NULL;
}

// What was decoded goes through the stop strings, which hold back what may be the beginning of one.
static mlcc_status *emit(generation *g, const char *text, size_t length, bool is_end, bool live) {
    mlcc_bytes_clear(&g->shown);
    mlcc_stop_text_push(&g->stop, text, length, &g->shown);
    if (is_end) mlcc_stop_text_finish(&g->stop, &g->shown);
    MLCC_TRY(mlcc_bytes_check(&g->shown));
    MLCC_TRY(mlcc_bytes_check(&g->stop.held));
    text = g->shown.data;
    length = g->shown.length;
    if (length == 0) return NULL;
    mlcc_str_append(&g->text, text, length);
    if (live) {
        // A reader that is gone or a full disk ends the work now, not after the last token.
        if (fwrite(text, 1, length, stdout) != length || fflush(stdout) != 0)
            return MLCC_ERROR(IO, "cannot write to standard output: %s", strerror(errno));
    }
    return NULL;
}

// The stream sees the prompt too, so that the first new token keeps its space; an answer is a text of its own.
static mlcc_status *start_text(generation *g) {
    const char *text;
    size_t length;
    if (g->keep != NULL) return NULL;
    for (size_t i = 0; i < g->n_prompt_ids; i++) {
        MLCC_TRY(mlcc_text_stream_push(g->stream, g->prompt_ids[i], &text, &length));
    }
    return NULL;
}

// A step and its tokens, which copies of one prompt and one seed must share.
static mlcc_status *step(
    generation *g, const mlcc_batch_item *items, int32_t n_batch, int32_t *tokens) {
    MLCC_TRY(mlcc_engine_sample(g->engine, items, n_batch, g->samplers, tokens));
    for (int32_t i = 1; i < n_batch; i++) {
        if (tokens[i] == tokens[0]) continue;
        return MLCC_ERROR(
            INTERNAL,
            "sequence %d of the batch chose token %d where sequence 0 chose %d, after %lld tokens",
            i, tokens[i], tokens[0], (long long)g->n_new_ids);
    }
    return NULL;
}

// The same with the logits of sequence 0 written to a file, which a device must send here for it.
static mlcc_status *step_with_logits(
    generation *g, const mlcc_batch_item *items, int32_t n_batch, const char *path,
    int32_t *tokens) {
    mlcc_model_info info;
    mlcc_model_get_info(g->model, &info);
    const float *logits;
    int64_t n_rows;
    MLCC_TRY(mlcc_engine_step(g->engine, items, n_batch, &logits, &n_rows));
    MLCC_TRY(npy_write_f32(path, logits, 1, info.vocab));
    for (int32_t i = 0; i < n_batch; i++)
        tokens[i] = mlcc_sampler_sample(g->samplers[i], logits + i * info.vocab);
    return NULL;
}

static mlcc_status *run(
    const args_values *values, int32_t n_batch, const chat_config *config, generation *g) {
    mlcc_model_info info;
    mlcc_model_get_info(g->model, &info);
    bool live = !args_flag(values, "json");
    int64_t max_new = args_int(values, "max-tokens"), room = room_for_new(&info, g);
    if (max_new > room) max_new = room;
    mlcc_batch_item items[64];
    int32_t tokens[64] = {0}, last[64];
    for (int32_t i = 0; i < n_batch; i++) {
        items[i] = (mlcc_batch_item){g->sequences[i], g->prompt_ids, (int64_t)g->n_prompt_ids,
                                     MLCC_LOGITS_LAST};
    }
    double start_s = mlcc_clock_s();
    if (args_given(values, "logits")) {
        MLCC_TRY(step_with_logits(g, items, n_batch, args_text(values, "logits"), tokens));
    } else {
        MLCC_TRY(step(g, items, n_batch, tokens));
    }
    double prefill_end_s = mlcc_clock_s();
    g->prefill_s = prefill_end_s - start_s;
    for (int32_t i = 0; i < n_batch; i++)
        items[i] = (mlcc_batch_item){g->sequences[i], &last[i], 1, MLCC_LOGITS_LAST};
    for (;;) {
        g->new_ids[g->n_new_ids++] = tokens[0];
        if (!args_flag(values, "ignore-eos") && is_stop(g, config, tokens[0])) {
            g->stopped = true;
            g->n_new_ids--;
            break;
        }
        const char *text;
        size_t length;
        MLCC_TRY(mlcc_text_stream_push(g->stream, tokens[0], &text, &length));
        MLCC_TRY(emit(g, text, length, false, live));
        g->stopped = g->stop.is_stopped;
        if (g->stopped || g->n_new_ids == max_new) break;
        memcpy(last, tokens, sizeof last);
        MLCC_TRY(step(g, items, n_batch, tokens));
    }
    g->decode_s = mlcc_clock_s() - prefill_end_s;
    const char *rest;
    size_t rest_bytes;
    MLCC_TRY(mlcc_text_stream_finish(g->stream, &rest, &rest_bytes));
    MLCC_TRY(emit(g, rest, rest_bytes, true, live));
    if (live) putchar('\n');
    return NULL;
}

static void print_json(const generation *g) {
    mlcc_model_info info;
    mlcc_model_get_info(g->model, &info);
    mlcc_str out = {0};
    mlcc_json_writer w;
    mlcc_json_writer_init(&w, &out, 0, false);
    mlcc_json_begin_object(&w);
    mlcc_json_key(&w, "text");
    mlcc_json_put_text_n(&w, mlcc_str_text(&g->text), g->text.length);
    mlcc_json_key(&w, "token_ids");
    mlcc_json_begin_array(&w);
    for (int64_t i = 0; i < g->n_new_ids; i++) mlcc_json_put_i64(&w, g->new_ids[i]);
    mlcc_json_end(&w);
    mlcc_json_key(&w, "finish_reason");
    mlcc_json_put_text(&w, g->stopped ? "stop" : "length");
    const struct {
        const char *key;
        double value;
    } reals[] = {
        {"load_s", info.load_s},
        {"prefill_s", g->prefill_s},
        {"decode_s", g->decode_s},
        {"prefill_tokens_per_s", g->prefill_s > 0 ? (double)g->n_prompt_ids / g->prefill_s : 0.0},
        // The first new token is the prefill's.
        {"decode_tokens_per_s",
         g->decode_s > 0 && g->n_new_ids > 1 ? (double)(g->n_new_ids - 1) / g->decode_s : 0.0},
    };
    mlcc_json_key(&w, "prompt_tokens");
    mlcc_json_put_i64(&w, (int64_t)g->n_prompt_ids);
    mlcc_json_key(&w, "completion_tokens");
    mlcc_json_put_i64(&w, g->n_new_ids);
    for (size_t i = 0; i < sizeof reals / sizeof reals[0]; i++) {
        mlcc_json_key(&w, reals[i].key);
        mlcc_json_put_f64(&w, reals[i].value);
    }
    mlcc_json_key(&w, "peak_rss_bytes");
    mlcc_json_put_i64(&w, (int64_t)mlcc_peak_rss_bytes());
    mlcc_json_end(&w);
    printf("%s\n", mlcc_str_text(&out));
    mlcc_str_free(&out);
}

static mlcc_status *run_generate(const args_values *values) {
    const char *directory = args_operand(values, 0);
    int32_t n_batch = (int32_t)args_int(values, "batch");
    generation g = {0};
    chat_config config;
    mlcc_status *status = read_prompt(values, &g);
    if (status == NULL && args_given(values, "logits"))
        status = mlcc_file_check_writable(args_text(values, "logits"));
    if (status == NULL) status = chat_config_read(directory, &config);
    if (status == NULL) status = prepare(directory, values, n_batch, &g);
    if (status == NULL) status = start_text(&g);
    if (status == NULL && args_flag(values, "echo") && !args_flag(values, "json")) {
        fwrite(g.prompt, 1, g.prompt_bytes, stdout);
    }
    if (status == NULL) status = run(values, n_batch, &config, &g);
    if (status == NULL && args_flag(values, "json")) print_json(&g);
    mlcc_text_stream_free(g.stream);
    for (int32_t i = 0; i < n_batch; i++) mlcc_sampler_free(g.samplers[i]);
    mlcc_engine_free(g.engine);
    mlcc_model_close(g.model);
    mlcc_tokenizer_close(g.tokenizer);
    mlcc_str_free(&g.text);
    mlcc_stop_text_free(&g.stop);
    mlcc_bytes_free(&g.shown);
    if (g.keep != NULL) mlcc_arena_free(g.keep);
    free(g.prompt_ids);
    free(g.prompt);
    free(g.new_ids);
    return status;
}

const args_command cmd_generate = {
    .name = "generate",
    .operands = "DIR",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "continue a prompt with a compiled model",
    .details = "DIR is a model directory: configuration and tokenizer (gen_config), weights "
               "(convert_weight) and lib.so (compile).\n"
               "The prompt goes in as it is, after the tokenizer's special tokens; no conversation "
               "template is applied. With --messages it is a conversation in DIR's chat "
               "template.\n\n"
               "examples\n  mlcc generate ./model --prompt 'Once upon a time' --max-tokens 64 "
               "--temperature 0.8 --seed 1\n"
               "  mlcc generate ./model --messages chat.json --tools tools.json --template-kwargs "
               "'{\"enable_thinking\": false}'",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .run = run_generate,
};
