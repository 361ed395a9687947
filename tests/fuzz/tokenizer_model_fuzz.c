// tokenizer_model: the bytes are a tokenizer.model or, when they look like one, a *.tiktoken file. Any file is either refused with a message or
// tokenizes any text, here the file itself.
#include "runtime/text/sentencepiece.h"
#include "runtime/text/tiktoken.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TEXT_BYTES_MAX = 1024 };

static void expect_message(mlcc_status *status) {
    if (mlcc_status_message(status)[0] == '\0') abort();
    if (mlcc_status_code(status) == MLCC_INTERNAL) abort();
    mlcc_status_free(status);
}

static void use(const mlcc_tokenizer *tokenizer, const char *text, size_t length) {
    int32_t *ids;
    size_t n_ids;
    mlcc_status *status = mlcc_tokenizer_encode(tokenizer, text, length, true, &ids, &n_ids);
    if (status != NULL) {
        expect_message(status);
        return;
    }
    for (size_t i = 0; i < n_ids; i++) {
        if (ids[i] < 0 || ids[i] >= mlcc_tokenizer_vocab(tokenizer)) abort();
    }
    char *decoded;
    size_t decoded_bytes;
    status = mlcc_tokenizer_decode(tokenizer, ids, n_ids, true, &decoded, &decoded_bytes);
    if (status != NULL) expect_message(status);
    free(decoded);
    free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *bytes = size == 0 ? "" : (const char *)data;
    const mlcc_tokenizer_config config = {.tokenizer_class = "LlamaTokenizer"};
    mlcc_tokenizer *tokenizer;
    mlcc_status *status =
        mlcc_tiktoken_is_file(bytes, size)
            ? mlcc_tiktoken_load(bytes, size, "qwen.tiktoken", &config, &tokenizer)
            : mlcc_sentencepiece_load(bytes, size, "tokenizer.model", &config, &tokenizer);
    if (status != NULL) {
        expect_message(status);
        return 0;
    }
    use(tokenizer, bytes, size < TEXT_BYTES_MAX ? size : TEXT_BYTES_MAX);
    mlcc_tokenizer_close(tokenizer);
    return 0;
}
