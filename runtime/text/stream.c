// Streaming decode. The decoder's chain (decode.h) is a stream already; here it meets ids and the public API.
#include "runtime/text/tokenizer.h"

#include <stdlib.h>

struct mlcc_text_stream {
    const mlcc_tokenizer *tokenizer;
    mlcc_decode_state *state;
    bool skip_special;
    mlcc_bytes out;
};

mlcc_status *mlcc_text_stream_create(
    const mlcc_tokenizer *tokenizer, bool skip_special, mlcc_text_stream **out) {
    *out = NULL;
    mlcc_text_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL)
        return MLCC_ERROR(NO_MEMORY, "host memory ended while opening a text stream");
    stream->tokenizer = tokenizer;
    stream->skip_special = skip_special;
    mlcc_status *status = mlcc_decode_state_create(&tokenizer->decoder, &stream->state);
    if (status != NULL) {
        free(stream);
        return status;
    }
    *out = stream;
    return NULL;
}

void mlcc_text_stream_free(mlcc_text_stream *stream) {
    if (stream == NULL) return;
    mlcc_decode_state_free(stream->state);
    mlcc_bytes_free(&stream->out);
    free(stream);
}

static void hand_out(const mlcc_text_stream *stream, const char **text, size_t *length) {
    *text = stream->out.length == 0 ? "" : stream->out.data;
    *length = stream->out.length;
}

mlcc_status *mlcc_text_stream_push(
    mlcc_text_stream *stream, int32_t id, const char **text, size_t *length) {
    mlcc_bytes_clear(&stream->out);
    hand_out(stream, text, length);
    const mlcc_token *token = mlcc_tokenizer_token_of(stream->tokenizer, id);
    if (token == NULL) return mlcc_tokenizer_unknown_id(stream->tokenizer, id);
    if (stream->skip_special && token->is_special) return NULL;
    MLCC_TRY(mlcc_decode_push(stream->state, token->decoded, token->decoded_bytes, &stream->out));
    hand_out(stream, text, length);
    return NULL;
}

mlcc_status *mlcc_text_stream_finish(mlcc_text_stream *stream, const char **text, size_t *length) {
    mlcc_bytes_clear(&stream->out);
    hand_out(stream, text, length);
    MLCC_TRY(mlcc_decode_finish(stream->state, &stream->out));
    hand_out(stream, text, length);
    return NULL;
}
