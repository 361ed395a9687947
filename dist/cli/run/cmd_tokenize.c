// tokenize: text to token ids and back.
#include "dist/cli/run/commands.h"
#include "dist/cli/run/template_args.h"
#include "runtime/base/clock.h"
#include "runtime/base/file.h"
#include "runtime/base/json.h"
#include "runtime/mlcc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// clang-format off
static const args_option options[] = {
    {.name = "text", .letter = 't', .kind = ARGS_TEXT, .value_name = "TEXT", .help = "text to encode; with --decode: ids, separated by spaces or commas"},
    {.name = "file", .letter = 'f', .kind = ARGS_TEXT, .value_name = "FILE", .help = "the same from a file"},
    TEMPLATE_MESSAGES_OPTION,
    {.name = "no-special", .kind = ARGS_FLAG, .help = "encode: add no special tokens; decode: leave them out"},
    {.name = "decode", .letter = 'd', .kind = ARGS_FLAG, .help = "ids to text"},
    {.name = "bench", .kind = ARGS_FLAG, .help = "encode ten times and print MB/s of processor time: the first time, the best, the median; and how long loading took"},
    {.name = "no-cache", .kind = ARGS_FLAG, .help = "read the tokenizer's files, leave its cache on disk alone"},
    {.name = "json", .kind = ARGS_FLAG, .help = "print {\"ids\": […]}, or {\"text\": \"…\"} with --decode"},
    TEMPLATE_OPTIONS,
};
// clang-format on

static mlcc_status *parse_ids(const char *text, int32_t **out, size_t *n_out) {
    size_t capacity = 0, n = 0;
    int32_t *ids = NULL;
    for (const char *at = text;;) {
        at += strspn(at, " ,\t\r\n[]");
        if (*at == '\0') break;
        char *end;
        errno = 0;
        long value = strtol(at, &end, 10);
        if (end == at || errno != 0 || value < 0 || value > INT32_MAX) {
            free(ids);
            return MLCC_ERROR(INVALID, "'%.16s' is no token id; expected whole numbers from 0", at);
        }
        if (n == capacity) {
            capacity = capacity ? capacity * 2 : 256;
            int32_t *grown = realloc(ids, capacity * sizeof *ids);
            if (grown == NULL) {
                free(ids);
                return MLCC_ERROR(NO_MEMORY, "no room for %zu ids", capacity);
            }
            ids = grown;
        }
        ids[n++] = (int32_t)value;
        at = end;
    }
    *out = ids;
    *n_out = n;
    return NULL;
}

static void print_ids(const int32_t *ids, size_t n_ids, bool as_json) {
    if (as_json) fputs("{\"ids\": [", stdout);
    for (size_t i = 0; i < n_ids; i++) printf("%s%d", i == 0 ? "" : as_json ? ", " : " ", ids[i]);
    puts(as_json ? "]}" : "");
}

static void print_text(const char *text, size_t length, bool as_json) {
    if (!as_json) {
        fwrite(text, 1, length, stdout);
        putchar('\n');
        return;
    }
    mlcc_str out = {0};
    mlcc_str_put_json(&out, text, length, false);
    printf("{\"text\": %s}\n", mlcc_str_text(&out));
    mlcc_str_free(&out);
}

static mlcc_status *encode(
    const args_values *values, mlcc_tokenizer *tokenizer, const char *text, size_t length) {
    int32_t *ids = NULL;
    size_t n_ids = 0;
    bool add_special = !args_flag(values, "no-special");
    MLCC_TRY(mlcc_tokenizer_encode(tokenizer, text, length, add_special, &ids, &n_ids));
    print_ids(ids, n_ids, args_flag(values, "json"));
    free(ids);
    return NULL;
}

static mlcc_status *encode_messages(const args_values *values, const mlcc_tokenizer *tokenizer) {
    int32_t *ids = NULL;
    size_t n_ids = 0;
    mlcc_conversation conversation;
    mlcc_arena *keep = mlcc_arena_create();
    mlcc_status *status = template_args_encode(
        values, args_operand(values, 0), tokenizer, keep, &conversation, &ids, &n_ids);
    mlcc_arena_free(keep);
    if (status != NULL) return status;
    print_ids(ids, n_ids, args_flag(values, "json"));
    free(ids);
    return NULL;
}

static int by_rate(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return a < b ? -1 : a > b;
}

// The first round meets every word for the first time; the later ones show what is left when most words are known.
static mlcc_status *bench(
    mlcc_tokenizer *tokenizer, double load_s, const char *text, size_t length) {
    enum { N_ROUNDS = 10 };
    double rates[N_ROUNDS];
    size_t n_ids = 0;
    if (length == 0) return args_usage("--bench needs a text");
    for (size_t i = 0; i < N_ROUNDS; i++) {
        int32_t *ids = NULL;
        double begin = mlcc_clock_thread_s();
        MLCC_TRY(mlcc_tokenizer_encode(tokenizer, text, length, false, &ids, &n_ids));
        double seconds = mlcc_clock_thread_s() - begin;
        rates[i] = (double)length / 1e6 / (seconds > 1e-9 ? seconds : 1e-9);
        free(ids);
    }
    double first = rates[0];
    qsort(rates, N_ROUNDS, sizeof *rates, by_rate);
    printf(
        "loaded in %.1f ms of processor time; %zu bytes, %zu ids: first %.1f MB/s, best %.1f, "
        "median %.1f\n",
        load_s * 1e3, length, n_ids, first, rates[N_ROUNDS - 1], rates[N_ROUNDS / 2]);
    return NULL;
}

static mlcc_status *decode(const args_values *values, mlcc_tokenizer *tokenizer, const char *text) {
    int32_t *ids = NULL;
    size_t n_ids = 0, length = 0;
    char *decoded = NULL;
    MLCC_TRY(parse_ids(text, &ids, &n_ids));
    mlcc_status *status = mlcc_tokenizer_decode(
        tokenizer, ids, n_ids, args_flag(values, "no-special"), &decoded, &length);
    free(ids);
    if (status != NULL) return status;
    print_text(decoded, length, args_flag(values, "json"));
    free(decoded);
    return NULL;
}

static mlcc_status *read_text(const args_values *values, char **text, size_t *length) {
    const char *given = args_text(values, "text"), *file = args_text(values, "file");
    if (file != NULL) return mlcc_file_read(file, 1u << 30, text, length);
    if (given == NULL) return NULL; // --messages
    *text = strdup(given);
    *length = strlen(given);
    return *text != NULL ? NULL : MLCC_ERROR(NO_MEMORY, "cannot copy the text");
}

static mlcc_status *check_options(const args_values *values) {
    const bool has_messages = args_given(values, "messages");
    if (args_given(values, "text") + args_given(values, "file") + has_messages != 1)
        return args_usage("give one of --text TEXT, --file FILE and --messages FILE");
    if (args_flag(values, "bench") && (args_flag(values, "decode") || args_flag(values, "json")))
        return args_usage("--bench prints rates of encoding; leave out --decode and --json");
    if (!has_messages) return template_args_check_unused(values);
    if (!args_flag(values, "decode") && !args_flag(values, "bench")) return NULL;
    return args_usage("--messages cannot be decoded or timed; give --text or --file");
}

static mlcc_status *run_tokenize(const args_values *values) {
    char *text = NULL;
    size_t length = 0;
    mlcc_tokenizer *tokenizer = NULL;
    MLCC_TRY(check_options(values));
    mlcc_status *status = read_text(values, &text, &length);
    double begin = mlcc_clock_thread_s();
    const mlcc_tokenizer_options opening = {
        .directory = args_operand(values, 0), .no_cache = args_flag(values, "no-cache")};
    if (status == NULL) status = mlcc_tokenizer_open_with(&opening, &tokenizer);
    double load_s = mlcc_clock_thread_s() - begin;
    if (status == NULL) {
        status = args_flag(values, "bench")       ? bench(tokenizer, load_s, text, length)
                 : args_flag(values, "decode")    ? decode(values, tokenizer, text)
                 : args_given(values, "messages") ? encode_messages(values, tokenizer)
                                                  : encode(values, tokenizer, text, length);
    }
    mlcc_tokenizer_close(tokenizer);
    free(text);
    return status;
}

const args_command cmd_tokenize = {
    .name = "tokenize",
    .operands = "DIR",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "text to token ids and back",
    .details = "DIR needs only the tokenizer files: tokenizer.json, or else tokenizer.model "
               "(SentencePiece) or\n"
               "*.tiktoken, with tokenizer_config.json; for --messages also mlc-chat-config.json "
               "(gen_config).\n\n"
               "examples\n  mlcc tokenize ./model --text 'Once upon a time'\n"
               "  mlcc tokenize ./model --decode --text '1 403 407 261 378' --no-special\n"
               "  mlcc tokenize ./model --messages chat.json --tools tools.json",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .run = run_tokenize,
};
