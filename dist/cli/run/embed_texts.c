#include "dist/cli/run/embed_texts.h"

#include "runtime/base/file.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"
#include "runtime/text/unicode.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_TEXT_BYTES ((size_t)1 << 30)

// Everything that standard input holds.
static mlcc_status *read_input(char **out, size_t *n_out) {
    mlcc_str text = {0};
    char piece[65536];
    ssize_t n;
    while ((n = read(STDIN_FILENO, piece, sizeof piece)) > 0 && text.length <= MAX_TEXT_BYTES)
        mlcc_str_append(&text, piece, (size_t)n);
    mlcc_status *status = NULL;
    if (n < 0) {
        status = MLCC_ERROR(IO, "standard input cannot be read");
    } else if (text.length > MAX_TEXT_BYTES) {
        status = MLCC_ERROR(
            INVALID, "standard input holds more than %zu bytes; give it in parts", MAX_TEXT_BYTES);
    } else {
        *n_out = text.length;
        *out = malloc(text.length + 1);
        if (*out == NULL)
            status = MLCC_ERROR(NO_MEMORY, "no room for %zu bytes", text.length);
        else
            memcpy(*out, mlcc_str_text(&text), text.length + 1);
    }
    mlcc_str_free(&text);
    return status;
}

static bool is_blank(const char *text, size_t length) {
    for (size_t i = 0; i < length; i++)
        if (strchr(" \t\r\n", text[i]) == NULL || text[i] == '\0') return false;
    return true;
}

static mlcc_status *check_text(const embed_texts *texts, int64_t index) {
    const char *text = texts->bytes + texts->begins[index];
    const size_t length = texts->ends[index] - texts->begins[index];
    if (is_blank(text, length))
        return MLCC_ERROR(
            INVALID, "line %" PRId64 " of %s is empty; a vector needs a text: remove the line",
            index + 1, texts->where);
    if (!mlcc_utf8_is_valid(text, length))
        return MLCC_ERROR(
            INVALID, "line %" PRId64 " of %s is not valid UTF-8; convert the text first", index + 1,
            texts->where);
    return NULL;
}

static mlcc_status *reserve(embed_texts *texts, size_t n) {
    texts->begins = calloc(n, sizeof *texts->begins);
    texts->ends = calloc(n, sizeof *texts->ends);
    texts->items = calloc(n, sizeof *texts->items);
    texts->is_cut = calloc(n, sizeof *texts->is_cut);
    const bool has_all = texts->begins != NULL && texts->ends != NULL && texts->items != NULL &&
                         texts->is_cut != NULL;
    return has_all ? NULL : MLCC_ERROR(NO_MEMORY, "no room for the list of %zu texts", n);
}

static mlcc_status *split_lines(embed_texts *texts, size_t length) {
    size_t n = 1;
    for (size_t i = 0; i + 1 < length; i++) n += texts->bytes[i] == '\n';
    MLCC_TRY(reserve(texts, n));
    for (size_t begin = 0; texts->n_items < (int64_t)n; texts->n_items++) {
        const char *newline = memchr(texts->bytes + begin, '\n', length - begin);
        const size_t end = newline != NULL ? (size_t)(newline - texts->bytes) : length;
        texts->begins[texts->n_items] = begin;
        texts->ends[texts->n_items] = end;
        MLCC_TRY(check_text(texts, texts->n_items));
        begin = end + 1;
    }
    return NULL;
}

// A text of the command line may hold newlines.
static mlcc_status *take_one(embed_texts *texts, const char *text) {
    MLCC_TRY(reserve(texts, 1));
    texts->bytes = strdup(text);
    if (texts->bytes == NULL) return MLCC_ERROR(NO_MEMORY, "no room for the text");
    texts->ends[0] = strlen(text);
    texts->n_items = 1;
    return check_text(texts, 0);
}

mlcc_status *embed_texts_read(const char *text, const char *file, embed_texts *texts) {
    size_t length = 0;
    texts->where = text != NULL ? "--text" : file != NULL ? file : "standard input";
    if (text != NULL) return take_one(texts, text);
    if (file != NULL) {
        MLCC_TRY(mlcc_file_read(file, MAX_TEXT_BYTES, &texts->bytes, &length));
    } else {
        MLCC_TRY(read_input(&texts->bytes, &length));
    }
    if (length == 0)
        return MLCC_ERROR(
            INVALID, "%s holds no text; expected one each line%s", texts->where,
            file == NULL ? ", or give --text or --file" : "");
    return split_lines(texts, length);
}

// The tokens that the template puts in front of `plain`, inside `ids`: they are what stands before the only place where all of `plain` fits.
static size_t find_plain(const int32_t *ids, size_t n_ids, const int32_t *plain, size_t n_plain) {
    for (size_t at = 0; at + n_plain <= n_ids; at++)
        if (memcmp(ids + at, plain, n_plain * sizeof *plain) == 0) return at;
    return 0;
}

// [CLS] a b c d [SEP] becomes [CLS] a b [SEP]: the text is shortened, what the template adds stays.
static mlcc_status *cut(
    const mlcc_tokenizer *tokenizer, const char *text, size_t length, int64_t max_tokens,
    int32_t *ids, size_t *n_ids) {
    int32_t *plain = NULL;
    size_t n_plain = 0;
    const size_t most = (size_t)max_tokens;
    MLCC_TRY(mlcc_tokenizer_encode(tokenizer, text, length, false, &plain, &n_plain));
    const size_t n_added = n_plain <= *n_ids ? *n_ids - n_plain : 0;
    const size_t front = find_plain(ids, *n_ids, plain, n_plain), behind = n_added - front;
    free(plain);
    if (front > n_added || n_added >= most)
        return MLCC_ERROR(
            INVALID, "the tokenizer adds %zu tokens to every text, but the model reads %" PRId64,
            n_added, max_tokens);
    memmove(ids + most - behind, ids + *n_ids - behind, behind * sizeof *ids);
    *n_ids = most;
    return NULL;
}

static mlcc_status *encode_one(
    embed_texts *texts, int64_t index, const mlcc_tokenizer *tokenizer, int64_t max_tokens) {
    const char *text = texts->bytes + texts->begins[index];
    const size_t length = texts->ends[index] - texts->begins[index];
    int32_t *ids = NULL;
    size_t n_ids = 0;
    MLCC_TRY(mlcc_tokenizer_encode(tokenizer, text, length, true, &ids, &n_ids));
    texts->items[index].tokens = ids;
    if (n_ids == 0)
        return MLCC_ERROR(
            INVALID, "line %" PRId64 " of %s gives no tokens", index + 1, texts->where);
    if (n_ids > (size_t)max_tokens) {
        if (texts->refuses_long)
            return MLCC_ERROR(
                INVALID,
                "line %" PRId64 " of %s has %zu tokens, the model reads %" PRId64
                "; shorten it, or take --too-long cut",
                index + 1, texts->where, n_ids, max_tokens);
        texts->is_cut[index] = true;
        MLCC_TRY(cut(tokenizer, text, length, max_tokens, ids, &n_ids));
    }
    texts->items[index].n_tokens = (int64_t)n_ids;
    texts->n_tokens += (int64_t)n_ids;
    return NULL;
}

mlcc_status *embed_texts_encode(
    embed_texts *texts, const mlcc_tokenizer *tokenizer, int64_t max_tokens) {
    int64_t n_cut = 0, first_cut = 0;
    for (int64_t i = 0; i < texts->n_items; i++) {
        MLCC_TRY(encode_one(texts, i, tokenizer, max_tokens));
        if (texts->is_cut[i] && n_cut++ == 0) first_cut = i + 1;
    }
    if (n_cut > 0)
        mlcc_log(
            MLCC_LOG_WARN, "embed",
            "%" PRId64 " of %" PRId64 " texts cut to %" PRId64
            " tokens, which is what the model reads; the first is line %" PRId64,
            n_cut, texts->n_items, max_tokens, first_cut);
    return NULL;
}

void embed_texts_free(embed_texts *texts) {
    for (int64_t i = 0; i < texts->n_items; i++) free((void *)(uintptr_t)texts->items[i].tokens);
    free(texts->items);
    free(texts->is_cut);
    free(texts->begins);
    free(texts->ends);
    free(texts->bytes);
    *texts = (embed_texts){0};
}
