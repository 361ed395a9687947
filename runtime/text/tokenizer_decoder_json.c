// The decoder of tokenizer.json.
#include "runtime/text/tokenizer_steps.h"

static mlcc_decode_step *new_decode_step(
    const mlcc_tokenizer_reader *reader, mlcc_decode_kind kind) {
    mlcc_decoder *list = &reader->tokenizer->decoder;
    MLCC_ARENA_GROW(reader->arena, list->steps, list->n_steps, list->capacity);
    mlcc_decode_step *step = &list->steps[list->n_steps++];
    *step = (mlcc_decode_step){.kind = kind};
    return step;
}

#define PLAIN_DECODE_STEP(function, kind) \
    static mlcc_status *function( \
        const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) { \
        (void)value; \
        (void)place; \
        new_decode_step(reader, kind); \
        return NULL; \
    }
PLAIN_DECODE_STEP(read_decode_byte_level, MLCC_DECODE_BYTE_LEVEL)
PLAIN_DECODE_STEP(read_decode_byte_fallback, MLCC_DECODE_BYTE_FALLBACK)
PLAIN_DECODE_STEP(read_decode_fuse, MLCC_DECODE_FUSE)

static mlcc_status *read_decode_replace(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) {
    mlcc_decode_step *step = new_decode_step(reader, MLCC_DECODE_REPLACE);
    MLCC_TRY(mlcc_steps_read_pattern(reader, value, place, &step->pattern));
    return mlcc_steps_read_copy(
        reader, value, place, "content", &step->content, &step->content_bytes);
}

static mlcc_status *read_decode_strip(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) {
    int64_t start = 0;
    int64_t stop = 0;
    mlcc_decode_step *step = new_decode_step(reader, MLCC_DECODE_STRIP);
    MLCC_TRY(mlcc_steps_read_character(
        reader, value, place, "content", &step->content, &step->content_bytes));
    MLCC_TRY(mlcc_json_get_i64(value, "start", true, 0, INT32_MAX, &start));
    MLCC_TRY(mlcc_json_get_i64(value, "stop", true, 0, INT32_MAX, &stop));
    step->start = (size_t)start;
    step->stop = (size_t)stop;
    return NULL;
}

static mlcc_status *read_decode_metaspace(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) {
    mlcc_prepend_scheme scheme = MLCC_PREPEND_ALWAYS;
    mlcc_decode_step *step = new_decode_step(reader, MLCC_DECODE_METASPACE);
    MLCC_TRY(mlcc_steps_read_character(
        reader, value, place, "replacement", &step->content, &step->content_bytes));
    MLCC_TRY(mlcc_steps_read_scheme(reader, value, place, &scheme));
    step->drops_first = scheme != MLCC_PREPEND_NEVER;
    return NULL;
}

static mlcc_status *read_decode_suffix(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) {
    mlcc_decode_step *step = new_decode_step(reader, MLCC_DECODE_SUFFIX);
    MLCC_TRY(
        mlcc_steps_read_copy(reader, value, place, "suffix", &step->content, &step->content_bytes));
    if (step->content_bytes != 0) return NULL;
    return MLCC_ERROR(
        INVALID, "'%s': %s.suffix is empty, the end-of-word mark is expected", reader->file, place);
}

static mlcc_status *read_decode_wordpiece(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) {
    mlcc_decode_step *step = new_decode_step(reader, MLCC_DECODE_WORDPIECE);
    MLCC_TRY(mlcc_json_get_bool(value, "cleanup", true, &step->cleans));
    return mlcc_steps_read_copy(
        reader, value, place, "prefix", &step->content, &step->content_bytes);
}

static mlcc_status *read_decode_ctc(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) {
    mlcc_decode_step *step = new_decode_step(reader, MLCC_DECODE_CTC);
    MLCC_TRY(mlcc_json_get_bool(value, "cleanup", true, &step->cleans));
    MLCC_TRY(mlcc_steps_read_copy(
        reader, value, place, "pad_token", &step->content, &step->content_bytes));
    MLCC_TRY(mlcc_steps_read_copy(
        reader, value, place, "word_delimiter_token", &step->delimiter, &step->delimiter_bytes));
    if (step->content_bytes != 0 && step->delimiter_bytes != 0) return NULL;
    return MLCC_ERROR(
        INVALID, "'%s': %s.pad_token or word_delimiter_token is empty, texts are expected",
        reader->file, place);
}

mlcc_status *mlcc_tokenizer_read_decoder(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value) {
    static const mlcc_step_type types[] = {
        {"ByteLevel", read_decode_byte_level},
        {"Replace", read_decode_replace},
        {"ByteFallback", read_decode_byte_fallback},
        {"Fuse", read_decode_fuse},
        {"Strip", read_decode_strip},
        {"Metaspace", read_decode_metaspace},
        {"BPEDecoder", read_decode_suffix},
        {"WordPiece", read_decode_wordpiece},
        {"CTC", read_decode_ctc},
    };
    static const mlcc_step_kind kind = {"decoder", "decoders", types, sizeof types / sizeof *types};
    if (mlcc_json_kind_of(value) != MLCC_JSON_NULL)
        return mlcc_steps_read(reader, &kind, value, kind.name);
    new_decode_step(reader, MLCC_DECODE_JOIN);
    return NULL;
}
