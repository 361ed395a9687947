#include "runtime/text/tiktoken.h"

#include "runtime/base/file.h"
#include "runtime/base/str.h"
#include "runtime/text/base64.h"
#include "runtime/text/bpe.h"
#include "runtime/text/tokenizer_build.h"
#include "runtime/text/unicode.h"

#include <stdlib.h>
#include <string.h>

// ---- families ----------------------------------------------------------------------------------------------------

// Special tokens from `first_id` on (-1: behind the last rank); `count` > 1: "%d" in the name counts.
typedef struct special_row {
    int32_t first_id;
    const char *name;
    int first_number, count;
} special_row;

typedef struct family {
    const char *file_name;       // NULL: known by class only
    const char *tokenizer_class; // NULL: known by file name only
    const char *pattern;
    bool is_nfc;
    const char *bos;
    special_row specials[8];
} family;

// OpenAI gives the patterns with a rule of their own for white space that ends the text ("\\s++$").
#define GPT2_END_PATTERN \
    "'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+\\z|\\s+(?!\\S)|\\s"
#define CL100K_PATTERN \
    "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| " \
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s+\\z|\\s*[\\r\\n]|\\s+(?!\\S)|\\s"
#define LLAMA3_PATTERN \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| " \
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define QWEN_PATTERN \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| " \
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define UPPER  "\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}"
#define LOWER  "\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}"
#define SUFFIX "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
#define O200K_PATTERN \
    "[^\\r\\n\\p{L}\\p{N}]?[" UPPER "]*[" LOWER "]+" SUFFIX "|[^\\r\\n\\p{L}\\p{N}]?[" UPPER \
    "]+[" LOWER "]*" SUFFIX \
    "|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

// clang-format off
static const family families[] = {
    {"qwen.tiktoken", "QWenTokenizer", QWEN_PATTERN, true, NULL,
     {{-1, "<|endoftext|>", 0, 1}, {-1, "<|im_start|>", 0, 1}, {-1, "<|im_end|>", 0, 1}, {-1, "<|extra_%d|>", 0, 205}}},
    {"tokenizer.model", "LlamaTokenizer", LLAMA3_PATTERN, false, "<|begin_of_text|>",
     {{-1, "<|begin_of_text|>", 0, 1}, {-1, "<|end_of_text|>", 0, 1}, {-1, "<|reserved_special_token_%d|>", 0, 4},
      {-1, "<|start_header_id|>", 0, 1}, {-1, "<|end_header_id|>", 0, 1}, {-1, "<|reserved_special_token_%d|>", 4, 1},
      {-1, "<|eot_id|>", 0, 1}, {-1, "<|reserved_special_token_%d|>", 5, 246}}},
    {"cl100k_base.tiktoken", NULL, CL100K_PATTERN, false, NULL,
     {{100257, "<|endoftext|>", 0, 1}, {100258, "<|fim_prefix|>", 0, 1}, {100259, "<|fim_middle|>", 0, 1},
      {100260, "<|fim_suffix|>", 0, 1}, {100276, "<|endofprompt|>", 0, 1}}},
    {"o200k_base.tiktoken", NULL, O200K_PATTERN, false, NULL, {{199999, "<|endoftext|>", 0, 1}, {200018, "<|endofprompt|>", 0, 1}}},
    {"p50k_base.tiktoken", NULL, GPT2_END_PATTERN, false, NULL, {{50256, "<|endoftext|>", 0, 1}}},
    {"r50k_base.tiktoken", NULL, GPT2_END_PATTERN, false, NULL, {{50256, "<|endoftext|>", 0, 1}}},
    {"gpt2.tiktoken",      NULL, GPT2_END_PATTERN, false, NULL, {{50256, "<|endoftext|>", 0, 1}}},
};
// clang-format on
enum { N_FAMILIES = sizeof families / sizeof *families };

static mlcc_status *find_family(
    const char *what, const mlcc_tokenizer_config *config, const family **out) {
    const char *name = mlcc_path_base(what);
    for (size_t pass = 0; pass < 2; pass++) { // the name says more than the class
        for (size_t i = 0; i < N_FAMILIES; i++) {
            const char *wanted = pass == 0 ? families[i].file_name : families[i].tokenizer_class;
            const char *given = pass == 0 ? name : config->tokenizer_class;
            if (wanted == NULL || given == NULL || strcmp(wanted, given) != 0) continue;
            *out = &families[i];
            return NULL;
        }
    }
    mlcc_str known = {0};
    for (size_t i = 0; i < N_FAMILIES; i++) {
        mlcc_str_printf(&known, "%s%s", i == 0 ? "" : ", ", families[i].file_name);
    }
    mlcc_status *status = MLCC_ERROR(
        UNSUPPORTED,
        "the file does not hold the pattern that cuts words, and neither its name nor the class "
        "'%s' says which "
        "one it is; known names are %s; or give a tokenizer.json",
        config->tokenizer_class == NULL ? "" : config->tokenizer_class, mlcc_str_text(&known));
    mlcc_str_free(&known);
    return status;
}

// ---- the file ------------------------------------------------------------------------------------------------------

bool mlcc_tiktoken_is_file(const char *bytes, size_t length) {
    const char *end = length == 0 ? NULL : memchr(bytes, '\n', length);
    const char *space = end == NULL ? NULL : memchr(bytes, ' ', (size_t)(end - bytes));
    if (space == NULL || space == bytes || (space - bytes) % 4 != 0) return false;
    mlcc_bytes token = {0};
    bool is_good = mlcc_base64_decode(bytes, (size_t)(space - bytes), &token) && space[1] >= '0' &&
                   space[1] <= '9';
    mlcc_bytes_free(&token);
    return is_good;
}

// Finding the merges takes time by the square of a token's length; the longest of known vocabularies has 256 bytes.
#define MAX_TOKEN_BYTES 1024

// One line of the file: the token's bytes go to `token`.
static mlcc_status *read_line(const char *line, size_t length, mlcc_bytes *token, int32_t *rank) {
    const char *space = length == 0 ? NULL : memchr(line, ' ', length);
    mlcc_bytes_clear(token);
    bool is_good = space != NULL && mlcc_base64_decode(line, (size_t)(space - line), token) &&
                   token->length != 0;
    size_t n_digits = is_good ? length - (size_t)(space - line) - 1 : 0;
    is_good = is_good && n_digits >= 1 && n_digits <= 7;
    int32_t value = 0;
    for (size_t i = 0; is_good && i < n_digits; i++) {
        is_good = space[1 + i] >= '0' && space[1 + i] <= '9';
        value = value * 10 + (space[1 + i] - '0');
    }
    *rank = value;
    if (is_good && token->length > MAX_TOKEN_BYTES)
        return MLCC_ERROR(
            INVALID, "the token of rank %d has %zu bytes; at most %d are accepted", value,
            token->length, MAX_TOKEN_BYTES);
    if (is_good && value < MLCC_TOKEN_ID_LIMIT) return mlcc_bytes_check(token);
    return MLCC_ERROR(
        INVALID, "'%.*s' is not a token in base64, a space and a rank from 0 to %d",
        length < 60 ? (int)length : 60, line, MLCC_TOKEN_ID_LIMIT - 1);
}

static mlcc_status *read_lines(
    mlcc_tokenizer *t, const char *what, const char *bytes, size_t length, mlcc_bytes *token,
    mlcc_bytes *text) {
    size_t number = 0;
    for (size_t i = 0; i < length;) {
        const char *line = bytes + i;
        const char *end = memchr(line, '\n', length - i);
        size_t n_bytes = end == NULL ? length - i : (size_t)(end - line);
        i += n_bytes + 1;
        number++;
        if (n_bytes > 0 && line[n_bytes - 1] == '\r') n_bytes--;
        if (n_bytes == 0) continue;
        int32_t rank;
        mlcc_status *status = read_line(line, n_bytes, token, &rank);
        mlcc_bytes_clear(text);
        if (status == NULL) mlcc_byte_level_map(token->data, token->length, text);
        if (status == NULL) status = mlcc_bytes_check(text);
        if (status == NULL && mlcc_vocabulary_find(t->vocab, text->data, text->length) >= 0) {
            status = MLCC_ERROR(
                INVALID, "the token '%.*s' was there before", n_bytes < 60 ? (int)n_bytes : 60,
                line);
        }
        if (status == NULL) {
            status = mlcc_tokenizer_add_piece(t, what, text->data, text->length, rank, true);
        }
        if (status != NULL) return mlcc_status_note(status, "reading line %zu", number);
    }
    return NULL;
}

static mlcc_status *check_bytes(const mlcc_tokenizer *t) {
    for (unsigned byte = 0; byte < 256; byte++) {
        char text[MLCC_UTF8_MAX_BYTES];
        size_t length = mlcc_utf8_encode(mlcc_byte_to_character((unsigned char)byte), text);
        if (mlcc_vocabulary_find(t->vocab, text, length) >= 0) continue;
        return MLCC_ERROR(
            INVALID, "no token is the byte 0x%02X; a vocabulary has all 256 of them", byte);
    }
    return NULL;
}

// ---- merges ----------------------------------------------------------------------------------------------------------

// tiktoken merges whatever two neighbours are a token together, the lowest rank first.
static mlcc_status *add_pairs(const mlcc_tokenizer *t, mlcc_bpe *bpe, size_t *n_pairs) {
    for (size_t i = 0; i < mlcc_vocabulary_count(t->vocab); i++) {
        size_t length;
        int32_t id;
        const char *text = mlcc_vocabulary_piece(t->vocab, i, &length, &id);
        for (size_t cut = 1; cut < length; cut++) {
            if (((unsigned char)text[cut] & 0xC0) == 0x80) continue;
            int32_t left = mlcc_vocabulary_find(t->vocab, text, cut);
            if (left < 0) continue;
            int32_t right = mlcc_vocabulary_find(t->vocab, text + cut, length - cut);
            if (right < 0) continue;
            (*n_pairs)++;
            if (bpe == NULL) continue;
            MLCC_TRY(mlcc_bpe_add_pair(bpe, left, right, id, text, length, (uint32_t)id));
        }
    }
    return NULL;
}

static mlcc_status *add_model(mlcc_tokenizer *t) {
    mlcc_bpe_options options = {
        .vocab = t->vocab, .unknown_id = -1, .prefix = "", .suffix = "", .ignores_merges = true};
    MLCC_TRY(add_pairs(t, NULL, &options.n_merges));
    mlcc_bpe *bpe;
    MLCC_TRY(mlcc_bpe_create(&options, &bpe));
    t->model_type = &mlcc_word_model_bpe;
    t->model = bpe;
    size_t n_pairs = 0;
    MLCC_TRY(add_pairs(t, bpe, &n_pairs));
    mlcc_bpe_finish(bpe);
    return NULL;
}

// ---- special tokens ----------------------------------------------------------------------------------------------------

static mlcc_status *place(
    mlcc_tokenizer *t, const char *what, const char *where, const char *text, int32_t id,
    const mlcc_added_token *flags) {
    mlcc_added_token *token = &t->added_tokens[t->n_added_tokens];
    *token = *flags;
    token->content_bytes = token->pattern_bytes = strlen(text);
    token->content = token->pattern = mlcc_bytes_keep(t->arena, text, token->content_bytes);
    token->id = id;
    return mlcc_tokenizer_place_added(t, what, where, token);
}

static mlcc_status *add_specials(
    mlcc_tokenizer *t, const char *what, const family *kind, const mlcc_tokenizer_config *config) {
    static const size_t n_rows = sizeof kind->specials / sizeof *kind->specials;
    size_t n_max = config->n_tokens;
    for (size_t i = 0; i < n_rows; i++) n_max += (size_t)kind->specials[i].count;
    t->added = mlcc_map_create(n_max);
    t->added_tokens = mlcc_arena_alloc_array(t->arena, n_max + 1, sizeof *t->added_tokens);
    int32_t next = (int32_t)t->n_tokens;
    for (size_t i = 0; i < config->n_tokens; i++) {
        const mlcc_added_token *token = &config->tokens[i];
        if (token->content_bytes == 0) continue;
        MLCC_TRY(
            place(t, what, "a token of tokenizer_config.json", token->content, token->id, token));
    }
    if (config->n_tokens != 0) return NULL;
    const mlcc_added_token special = {.is_special = true};
    for (size_t i = 0; i < n_rows; i++) {
        const special_row *row = &kind->specials[i];
        for (int k = 0; k < row->count; k++) {
            int32_t id = row->first_id < 0 ? next++ : row->first_id + k;
            mlcc_str name = {0};
            const char *number = strstr(row->name, "%d");
            size_t before = number == NULL ? strlen(row->name) : (size_t)(number - row->name);
            mlcc_str_append(&name, row->name, before);
            if (number != NULL) mlcc_str_printf(&name, "%d%s", row->first_number + k, number + 2);
            mlcc_status *status =
                place(t, what, "a special token of its family", mlcc_str_text(&name), id, &special);
            mlcc_str_free(&name);
            if (status != NULL) return status;
        }
    }
    return NULL;
}

// ---- the whole -----------------------------------------------------------------------------------------------------------

static mlcc_pretokenize_step *add_word_step(mlcc_tokenizer *t, mlcc_pretokenize_kind kind) {
    mlcc_pretokenizer *list = &t->pretokenizer;
    MLCC_ARENA_GROW(t->arena, list->steps, list->n_steps, list->capacity);
    list->steps[list->n_steps] =
        (mlcc_pretokenize_step){.kind = kind, .behavior = MLCC_SPLIT_ISOLATED};
    return &list->steps[list->n_steps++];
}

static mlcc_status *add_steps(mlcc_tokenizer *t, const family *kind) {
    if (kind->is_nfc) {
        mlcc_normalizer *list = &t->normalizer;
        MLCC_ARENA_GROW(t->arena, list->steps, list->n_steps, list->capacity);
        list->steps[list->n_steps++] =
            (mlcc_normalize_step){.kind = MLCC_NORMALIZE_FORM, .form = MLCC_NFC};
    }
    MLCC_TRY(mlcc_pattern_of_regex(
        kind->pattern, strlen(kind->pattern), &add_word_step(t, MLCC_PRETOKENIZE_SPLIT)->pattern));
    add_word_step(t, MLCC_PRETOKENIZE_BYTE_LEVEL);
    mlcc_decoder *decoder = &t->decoder;
    MLCC_ARENA_GROW(t->arena, decoder->steps, decoder->n_steps, decoder->capacity);
    decoder->steps[decoder->n_steps++] = (mlcc_decode_step){.kind = MLCC_DECODE_BYTE_LEVEL};
    return NULL;
}

static mlcc_status *build(
    mlcc_tokenizer *t, const char *bytes, size_t length, const char *what,
    const mlcc_tokenizer_config *config) {
    const family *kind = NULL;
    MLCC_TRY(find_family(what, config, &kind));
    mlcc_bytes token = {0}, text = {0};
    t->vocab = mlcc_vocabulary_create(length / 20);
    mlcc_status *status = read_lines(t, what, bytes, length, &token, &text);
    mlcc_bytes_free(&token);
    mlcc_bytes_free(&text);
    if (status != NULL) return status;
    MLCC_TRY(check_bytes(t));
    MLCC_TRY(add_specials(t, what, kind, config));
    MLCC_TRY(add_steps(t, kind));
    MLCC_TRY(add_model(t));
    mlcc_tokenizer_config ends = *config;
    if (kind->bos != NULL && ends.adds_bos == MLCC_UNSAID) ends.adds_bos = MLCC_YES;
    MLCC_TRY(mlcc_tokenizer_add_ends(t, &ends, kind->bos == NULL ? "" : kind->bos, ""));
    return mlcc_tokenizer_finish(t);
}

mlcc_status *mlcc_tiktoken_load(
    const char *bytes, size_t length, const char *what, const mlcc_tokenizer_config *config,
    mlcc_tokenizer **out) {
    *out = NULL;
    mlcc_tokenizer *t;
    MLCC_TRY(mlcc_tokenizer_begin(&t));
    mlcc_status *status = build(t, bytes, length, what, config);
    if (status != NULL) {
        mlcc_tokenizer_close(t);
        return mlcc_status_note(status, "reading '%s'", what);
    }
    *out = t;
    return NULL;
}
