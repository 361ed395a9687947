// tokenizer cache: the bytes are a packed tokenizer, as the payload of a cache file whose hashes somebody made fit; the last 64 are a text, too.
// Any bytes are either refused as damaged or make a tokenizer that is safe to use and gives ids it has.
#include "runtime/text/tokenizer_pack.h"
#include "runtime/text/unicode.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const mlcc_tokenizer *tokenizer, const char *text, size_t length) {
    const mlcc_text_range half = {0, length / 2};
    for (size_t n_guarded = 0; n_guarded < 2; n_guarded++) {
        int32_t *ids = NULL;
        size_t n_ids = 0, n_bytes = 0;
        char *decoded = NULL;
        mlcc_status_free(mlcc_tokenizer_encode_guarded(
            tokenizer, text, length, &half, n_guarded, true, &ids, &n_ids));
        for (size_t i = 0; i < n_ids; i++) {
            if (ids[i] < 0 || ids[i] >= mlcc_tokenizer_vocab(tokenizer)) abort();
        }
        mlcc_status_free(mlcc_tokenizer_decode(tokenizer, ids, n_ids, false, &decoded, &n_bytes));
        if (decoded != NULL && !mlcc_utf8_is_valid(decoded, n_bytes)) abort();
        free(decoded);
        free(ids);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    enum { TEXT_BYTES = 64 };
    // A copy of its own size: what is read beyond it shows.
    char *packed =
        aligned_alloc(MLCC_PACK_ALIGNMENT, (size / MLCC_PACK_ALIGNMENT + 1) * MLCC_PACK_ALIGNMENT);
    if (packed == NULL) abort();
    if (size != 0) memcpy(packed, data, size);
    mlcc_tokenizer *tokenizer;
    mlcc_status *status = mlcc_tokenizer_unpack(packed, size, &tokenizer);
    if (status == NULL) {
        const size_t length = size < TEXT_BYTES ? size : TEXT_BYTES;
        use(tokenizer, (const char *)data + size - length, length);
        mlcc_tokenizer_close(tokenizer);
    } else if (
        mlcc_status_message(status)[0] == '\0' || mlcc_status_code(status) == MLCC_INTERNAL) {
        abort();
    }
    mlcc_status_free(status);
    free(packed);
    return 0;
}
