// tokenizer: the bytes before the first NUL are a tokenizer.json, those behind it a text. Any file is either refused with a message or
// tokenizes any text; streaming decode and decoding at once agree and give valid UTF-8.
#include "runtime/text/tokenizer.h"
#include "runtime/text/unicode.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TEXT_BYTES_MAX = 2048 };

// Ends a status; everything but a real answer to bad input is a bug.
static void expect_message(mlcc_status *status) {
    if (mlcc_status_message(status)[0] == '\0') abort();
    if (mlcc_status_code(status) == MLCC_INTERNAL) abort();
    mlcc_status_free(status);
}

// Appends what came out of the stream; false after an error.
static bool take(mlcc_status *status, const char *part, size_t part_bytes, mlcc_bytes *joined) {
    if (status != NULL) {
        expect_message(status);
        return false;
    }
    if (!mlcc_utf8_is_valid(part, part_bytes)) abort();
    mlcc_bytes_append(joined, part, part_bytes);
    return true;
}

static bool stream(
    const mlcc_tokenizer *tokenizer, const int32_t *ids, size_t n_ids, bool skip_special,
    mlcc_bytes *joined) {
    mlcc_text_stream *text_stream;
    const char *part;
    size_t part_bytes;
    if (mlcc_text_stream_create(tokenizer, skip_special, &text_stream) != NULL) abort();
    bool is_good = true;
    for (size_t i = 0; is_good && i < n_ids; i++) {
        mlcc_status *status = mlcc_text_stream_push(text_stream, ids[i], &part, &part_bytes);
        is_good = take(status, part, part_bytes, joined);
    }
    if (is_good) {
        mlcc_status *status = mlcc_text_stream_finish(text_stream, &part, &part_bytes);
        is_good = take(status, part, part_bytes, joined);
    }
    mlcc_text_stream_free(text_stream);
    return is_good;
}

static void decode(
    const mlcc_tokenizer *tokenizer, const int32_t *ids, size_t n_ids, bool skip_special) {
    char *text;
    size_t length;
    mlcc_status *status =
        mlcc_tokenizer_decode(tokenizer, ids, n_ids, skip_special, &text, &length);
    if (status != NULL) {
        expect_message(status);
        return;
    }
    if (!mlcc_utf8_is_valid(text, length)) abort();
    mlcc_bytes joined = {0};
    if (stream(tokenizer, ids, n_ids, skip_special, &joined)) {
        if (joined.length != length) abort();
        if (length != 0 && memcmp(joined.data, text, length) != 0) abort();
    }
    mlcc_bytes_free(&joined);
    free(text);
}

static void use(const mlcc_tokenizer *tokenizer, const char *text, size_t length) {
    if (length > TEXT_BYTES_MAX) length = TEXT_BYTES_MAX;
    for (int add_special = 0; add_special < 2; add_special++) {
        int32_t *ids;
        size_t n_ids;
        mlcc_status *status =
            mlcc_tokenizer_encode(tokenizer, text, length, add_special != 0, &ids, &n_ids);
        if (status != NULL) {
            expect_message(status);
            continue;
        }
        for (size_t i = 0; i < n_ids; i++) {
            if (ids[i] < 0 || ids[i] >= mlcc_tokenizer_vocab(tokenizer)) abort();
        }
        decode(tokenizer, ids, n_ids, add_special == 0);
        free(ids);
    }
    // guarded as a whole: what comes out spells no special token (the unknown one may stand for characters)
    if (length != 0) {
        const mlcc_text_range ranges[2] = {{0, length / 2}, {length - length / 3, length}};
        int32_t *ids;
        size_t n_ids;
        mlcc_status *status =
            mlcc_tokenizer_encode_guarded(tokenizer, text, length, ranges, 2, false, &ids, &n_ids);
        if (status != NULL) expect_message(status);
        free(ids);
    }
    // the text as ids, known or not
    int32_t ids[64];
    size_t n_ids = length < 64 ? length : 64;
    int64_t vocab = mlcc_tokenizer_vocab(tokenizer);
    for (size_t i = 0; i < n_ids; i++) {
        ids[i] = vocab == 0 ? 0 : (int32_t)((unsigned char)text[i] % vocab);
    }
    decode(tokenizer, ids, n_ids, true);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *bytes = (const char *)data;
    const char *nul = size == 0 ? NULL : memchr(bytes, '\0', size);
    size_t json_bytes = nul == NULL ? size : (size_t)(nul - bytes);
    const char *text = nul == NULL ? "" : nul + 1;
    size_t text_bytes = nul == NULL ? 0 : size - json_bytes - 1;
    mlcc_tokenizer *tokenizer;
    mlcc_status *status =
        mlcc_tokenizer_load(size == 0 ? "" : bytes, json_bytes, "input", &tokenizer);
    if (status != NULL) {
        expect_message(status);
        return 0;
    }
    use(tokenizer, text, text_bytes);
    mlcc_tokenizer_close(tokenizer);
    return 0;
}
