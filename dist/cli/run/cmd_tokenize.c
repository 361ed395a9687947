// tokenize: text to token ids and back.
#include "dist/cli/run/commands.h"
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
    {.name = "no-special", .kind = ARGS_FLAG, .help = "encode: add no special tokens; decode: leave them out"},
    {.name = "decode", .letter = 'd', .kind = ARGS_FLAG, .help = "ids to text"},
    {.name = "bench", .kind = ARGS_FLAG, .help = "encode ten times and print MB/s: the first time, the best, the median"},
    {.name = "json", .kind = ARGS_FLAG, .help = "print {\"ids\": […]}, or {\"text\": \"…\"} with --decode"},
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

static int by_rate(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return a < b ? -1 : a > b;
}

// The first round meets every word for the first time; the later ones show what is left when most words are known.
static mlcc_status *bench(mlcc_tokenizer *tokenizer, const char *text, size_t length) {
    enum { N_ROUNDS = 10 };
    double rates[N_ROUNDS];
    size_t n_ids = 0;
    if (length == 0) return args_usage("--bench needs a text");
    for (size_t i = 0; i < N_ROUNDS; i++) {
        int32_t *ids = NULL;
        double begin = mlcc_clock_s();
        MLCC_TRY(mlcc_tokenizer_encode(tokenizer, text, length, false, &ids, &n_ids));
        double seconds = mlcc_clock_s() - begin;
        rates[i] = (double)length / 1e6 / (seconds > 1e-9 ? seconds : 1e-9);
        free(ids);
    }
    double first = rates[0];
    qsort(rates, N_ROUNDS, sizeof *rates, by_rate);
    printf(
        "%zu bytes, %zu ids: first %.1f MB/s, best %.1f, median %.1f\n", length, n_ids, first,
        rates[N_ROUNDS - 1], rates[N_ROUNDS / 2]);
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

static mlcc_status *run_tokenize(const args_values *values) {
    const char *given = args_text(values, "text"), *file = args_text(values, "file");
    if ((given != NULL) == (file != NULL)) return args_usage("give --text TEXT or --file FILE");
    char *text = NULL;
    size_t length = 0;
    mlcc_tokenizer *tokenizer = NULL;
    mlcc_status *status = NULL;
    if (file != NULL) {
        status = mlcc_file_read(file, 1u << 30, &text, &length);
    } else {
        text = strdup(given);
        length = strlen(given);
        if (text == NULL) status = MLCC_ERROR(NO_MEMORY, "cannot copy the text");
    }
    if (status == NULL) status = mlcc_tokenizer_open(args_operand(values, 0), &tokenizer);
    if (status == NULL && args_flag(values, "bench")) {
        status = bench(tokenizer, text, length);
    } else if (status == NULL) {
        status = args_flag(values, "decode") ? decode(values, tokenizer, text)
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
               "*.tiktoken, with tokenizer_config.json.\n\n"
               "examples\n  mlcc tokenize ./model --text 'Once upon a time'\n"
               "  mlcc tokenize ./model --decode --text '1 403 407 261 378' --no-special",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .run = run_tokenize,
};
