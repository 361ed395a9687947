#include "runtime/text/normalize.h"

#include <string.h>

// A text may grow to so many times its length, and a short one to so much: no normal form needs more than 12 times.
#define MAX_GROWTH        64
#define FREE_GROWTH_BYTES ((size_t)64 << 10)

void mlcc_normalize_scratch_free(mlcc_normalize_scratch *scratch) {
    mlcc_bytes_free(&scratch->buffers[0]);
    mlcc_bytes_free(&scratch->buffers[1]);
    mlcc_pieces_free(&scratch->pieces);
    mlcc_bytes_free(&scratch->part);
    mlcc_ranges_free(&scratch->moved);
}

void mlcc_normalizer_free(mlcc_normalizer *normalizer) {
    for (size_t i = 0; i < normalizer->n_steps; i++)
        mlcc_pattern_free(&normalizer->steps[i].pattern);
}

// White space at the ends: narrows the text in place.
static void strip(const mlcc_normalize_step *step, const char **text, size_t *length, bool *drops) {
    const char *begin = *text;
    const char *end = begin + *length;
    uint32_t code;
    while (step->strips_left && begin < end) {
        size_t n_bytes = mlcc_utf8_decode(begin, &code);
        if (!mlcc_is_whitespace(code)) break;
        begin += n_bytes;
        *drops = true;
    }
    while (step->strips_right && begin < end) {
        const char *last = begin + mlcc_utf8_last(begin, (size_t)(end - begin));
        mlcc_utf8_decode(last, &code);
        if (!mlcc_is_whitespace(code)) break;
        end = last;
    }
    *text = begin;
    *length = (size_t)(end - begin);
}

// Whether the first character disappears, or is swallowed by a replacement for more than one: then, for a Metaspace that prepends
// only at the start, the reference no longer sees the start.
static bool loses_start(
    const mlcc_normalize_step *step, mlcc_normalize_scratch *scratch, const char *text,
    size_t length) {
    const mlcc_pieces *pieces = &scratch->pieces;
    if (length == 0) return false;
    uint32_t code;
    size_t n_bytes = mlcc_utf8_decode(text, &code);
    if (step->kind == MLCC_NORMALIZE_STRIP_ACCENTS) return mlcc_is_mark(code);
    if (step->kind == MLCC_NORMALIZE_PRECOMPILED) {
        mlcc_bytes *first = &scratch->part;
        mlcc_bytes_clear(first);
        mlcc_charsmap_normalize(step->charsmap, text, mlcc_grapheme_bytes(text, length), first);
        return first->length == 0;
    }
    if (step->kind != MLCC_NORMALIZE_REPLACE || pieces->n == 0 || !pieces->items[0].is_match)
        return false;
    return pieces->items[0].end > n_bytes || (step->content_bytes == 0 && pieces->items[0].end > 0);
}

static void drop(const char *text, size_t length, bool is_dropped(uint32_t code), mlcc_bytes *out) {
    size_t i = 0;
    while (i < length) {
        uint32_t code;
        size_t n_bytes = mlcc_utf8_decode(text + i, &code);
        if (!is_dropped(code)) mlcc_bytes_append(out, text + i, n_bytes);
        i += n_bytes;
    }
}

// SentencePiece's rules for machine translation (normalizer nmt_nfkc without the NFKC part).
static void clean_for_translation(const char *text, size_t length, mlcc_bytes *out) {
    size_t i = 0;
    while (i < length) {
        uint32_t code;
        size_t n_bytes = mlcc_utf8_decode(text + i, &code);
        bool is_dropped = (code >= 0x1 && code <= 0x8) || code == 0xB ||
                          (code >= 0xE && code <= 0x1F) || code == 0x7F || code == 0x8F ||
                          code == 0x9F;
        bool is_space = code == 0x9 || code == 0xA || code == 0xC || code == 0xD ||
                        code == 0x1680 || (code >= 0x200B && code <= 0x200F) || code == 0x2028 ||
                        code == 0x2029 || code == 0x2581 || code == 0xFEFF || code == 0xFFFD;
        if (is_space) {
            mlcc_bytes_put(out, ' ');
        } else if (!is_dropped) {
            mlcc_bytes_append(out, text + i, n_bytes);
        }
        i += n_bytes;
    }
}

// google-research/bert, tokenization.py, as Hugging Face's BertNormalizer understands it.
static void clean_for_bert(const char *text, size_t length, mlcc_bytes *out) {
    for (size_t i = 0; i < length;) {
        uint32_t code;
        size_t n_bytes = mlcc_utf8_decode(text + i, &code);
        bool is_line_end = code == '\t' || code == '\n' || code == '\r';
        if (is_line_end) {
            mlcc_bytes_put(out, ' ');
        } else if (code != 0xFFFD && !mlcc_is_other(code)) {
            if (mlcc_is_whitespace(code)) {
                mlcc_bytes_put(out, ' ');
            } else {
                mlcc_bytes_append(out, text + i, n_bytes);
            }
        }
        i += n_bytes;
    }
}

static void space_chinese(const char *text, size_t length, mlcc_bytes *out) {
    for (size_t i = 0; i < length;) {
        uint32_t code;
        size_t n_bytes = mlcc_utf8_decode(text + i, &code);
        bool is_chinese = mlcc_is_chinese(code);
        if (is_chinese) mlcc_bytes_put(out, ' ');
        mlcc_bytes_append(out, text + i, n_bytes);
        if (is_chinese) mlcc_bytes_put(out, ' ');
        i += n_bytes;
    }
}

mlcc_status *mlcc_normalize_step_run(
    const mlcc_normalize_step *step, mlcc_normalize_scratch *scratch, const char *text,
    size_t length, mlcc_bytes *out) {
    switch (step->kind) {
    case MLCC_NORMALIZE_PREPEND:
        if (length != 0) mlcc_bytes_append(out, step->content, step->content_bytes);
        mlcc_bytes_append(out, text, length);
        break;
    case MLCC_NORMALIZE_REPLACE:
        return mlcc_pattern_replace(
            &step->pattern, scratch->regex, text, length, step->content, step->content_bytes,
            scratch->max_bytes, &scratch->pieces, out);
    case MLCC_NORMALIZE_FORM: mlcc_unicode_normalize(text, length, step->form, out); break;
    case MLCC_NORMALIZE_LOWERCASE: mlcc_unicode_lowercase(text, length, out); break;
    case MLCC_NORMALIZE_STRIP_ACCENTS: drop(text, length, mlcc_is_mark, out); break;
    case MLCC_NORMALIZE_STRIP_NONSPACING: drop(text, length, mlcc_is_nonspacing_mark, out); break;
    case MLCC_NORMALIZE_BERT_CLEAN: clean_for_bert(text, length, out); break;
    case MLCC_NORMALIZE_BERT_CHINESE: space_chinese(text, length, out); break;
    case MLCC_NORMALIZE_PRECOMPILED:
        mlcc_charsmap_normalize(step->charsmap, text, length, out);
        break;
    case MLCC_NORMALIZE_SENTENCEPIECE:
        mlcc_sentencepiece_normalize(step->rules, text, length, out);
        break;
    case MLCC_NORMALIZE_BYTE_LEVEL: mlcc_byte_level_map(text, length, out); break;
    case MLCC_NORMALIZE_NMT: clean_for_translation(text, length, out); break;
    case MLCC_NORMALIZE_STRIP:
    case MLCC_N_NORMALIZE_KINDS: break;
    }
    return mlcc_bytes_check(out);
}

mlcc_status *mlcc_normalize(
    const mlcc_normalizer *normalizer, mlcc_normalize_scratch *scratch, const char *text,
    size_t length, const char **out, size_t *out_length, bool *drops_start) {
    return mlcc_normalize_ranges(
        normalizer, scratch, text, length, NULL, out, out_length, drops_start);
}

static mlcc_status *run_step(
    const mlcc_normalize_step *step, mlcc_normalize_scratch *scratch, const char *text,
    size_t length, mlcc_bytes *out) {
    MLCC_TRY(mlcc_normalize_step_run(step, scratch, text, length, out));
    if (out->length <= scratch->max_bytes) return NULL;
    return MLCC_ERROR(
        INVALID, "%zu bytes become %zu; at most %zu are accepted", length, out->length,
        scratch->max_bytes);
}

static void clip(mlcc_ranges *ranges, size_t begin, size_t end, mlcc_ranges *moved) {
    mlcc_ranges_clear(moved);
    for (size_t i = 0; i < ranges->n; i++) {
        size_t from = ranges->items[i].begin < begin ? begin : ranges->items[i].begin;
        size_t to = ranges->items[i].end > end ? end : ranges->items[i].end;
        if (from < to) mlcc_ranges_push(moved, from - begin, to - begin);
    }
    mlcc_ranges kept = *ranges;
    *ranges = *moved;
    *moved = kept;
}

mlcc_status *mlcc_normalize_ranges(
    const mlcc_normalizer *normalizer, mlcc_normalize_scratch *scratch, const char *text,
    size_t length, mlcc_ranges *ranges, const char **out, size_t *out_length, bool *drops_start) {
    *drops_start = false;
    scratch->max_bytes = length * MAX_GROWTH + FREE_GROWTH_BYTES;
    size_t next = 0;
    for (size_t i = 0; i < normalizer->n_steps; i++) {
        const mlcc_normalize_step *step = &normalizer->steps[i];
        if (step->kind == MLCC_NORMALIZE_STRIP) {
            const char *before = text;
            strip(step, &text, &length, drops_start);
            size_t begin = (size_t)(text - before);
            if (ranges != NULL) clip(ranges, begin, begin + length, &scratch->moved);
            continue;
        }
        mlcc_bytes *buffer = &scratch->buffers[next];
        mlcc_bytes_clear(buffer);
        MLCC_TRY_NOTE(
            run_step(step, scratch, text, length, buffer),
            "running the tokenizer's normalizer, which may make a text %d times as long",
            MAX_GROWTH);
        if (loses_start(step, scratch, text, length)) *drops_start = true;
        if (ranges != NULL && ranges->n != 0) {
            MLCC_TRY(mlcc_normalize_follow(step, scratch, text, length, buffer, ranges));
        }
        text = buffer->length == 0 ? "" : buffer->data;
        length = buffer->length;
        next = 1 - next;
    }
    *out = text;
    *out_length = length;
    return ranges == NULL ? NULL : mlcc_ranges_check(ranges);
}
