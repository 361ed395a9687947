#include "runtime/text/pattern.h"

#include "runtime/text/unicode.h"

#include <string.h>

mlcc_status *mlcc_pattern_of_literal(
    const char *literal, size_t length, mlcc_arena *keep, mlcc_pattern *out) {
    *out = (mlcc_pattern){0};
    if (length == 0) return mlcc_regex_compile("", 0, &out->regex);
    out->literal = mlcc_bytes_keep(keep, literal, length);
    out->literal_bytes = length;
    return NULL;
}

mlcc_status *mlcc_pattern_of_regex(const char *regex, size_t length, mlcc_pattern *out) {
    *out = (mlcc_pattern){.scan = mlcc_word_scan_of(regex, length)};
    if (out->scan != NULL) return NULL;
    return mlcc_regex_compile(regex, length, &out->regex);
}

mlcc_pattern mlcc_pattern_of_test(mlcc_character_test *is_member) {
    return (mlcc_pattern){.is_member = is_member};
}

void mlcc_pattern_free(mlcc_pattern *pattern) {
    mlcc_regex_free(pattern->regex);
    pattern->regex = NULL;
}

bool mlcc_pattern_is_set(const mlcc_pattern *pattern) {
    return pattern->literal_bytes != 0 || pattern->regex != NULL || pattern->is_member != NULL ||
           pattern->scan != NULL;
}

// ---- packing -------------------------------------------------------------------------------------------------

enum { PACKED_NONE, PACKED_LITERAL, PACKED_REGEX, PACKED_TEST, N_PACKED };

static mlcc_character_test *const tests[] = {
    mlcc_is_whitespace, mlcc_is_numeric, mlcc_is_punctuation};
enum { N_TESTS = sizeof tests / sizeof *tests };

void mlcc_pattern_pack(const mlcc_pattern *pattern, mlcc_bytes *out) {
    if (pattern->is_member != NULL) {
        uint32_t test = 0;
        while (test < N_TESTS && tests[test] != pattern->is_member) test++;
        mlcc_pack_u32(out, PACKED_TEST);
        mlcc_pack_u32(out, test);
    } else if (pattern->scan != NULL) {
        const char *regex = mlcc_word_scan_regex(pattern->scan);
        mlcc_pack_u32(out, PACKED_REGEX);
        mlcc_pack_text(out, regex, strlen(regex));
    } else if (pattern->regex != NULL) {
        size_t length;
        const char *regex = mlcc_regex_source(pattern->regex, &length);
        mlcc_pack_u32(out, PACKED_REGEX);
        mlcc_pack_text(out, regex, length);
    } else {
        mlcc_pack_u32(out, pattern->literal_bytes == 0 ? PACKED_NONE : PACKED_LITERAL);
        if (pattern->literal_bytes != 0) {
            mlcc_pack_text(out, pattern->literal, pattern->literal_bytes);
        }
    }
}

mlcc_status *mlcc_pattern_unpack(mlcc_unpacker *in, mlcc_pattern *out) {
    *out = (mlcc_pattern){0};
    size_t length = 0;
    const char *text;
    switch (mlcc_unpack_below(in, N_PACKED)) {
    case PACKED_LITERAL:
        text = mlcc_unpack_text(in, &length);
        if (!mlcc_unpack_require(in, length != 0)) return NULL;
        *out = (mlcc_pattern){.literal = text, .literal_bytes = length};
        return NULL;
    case PACKED_REGEX:
        text = mlcc_unpack_text(in, &length);
        return in->has_failed ? NULL : mlcc_pattern_of_regex(text, length, out);
    case PACKED_TEST: out->is_member = tests[mlcc_unpack_below(in, N_TESTS)]; return NULL;
    default: return NULL;
    }
}

// ---- searching -----------------------------------------------------------------------------------------------

static void push(mlcc_pieces *out, size_t begin, size_t end, bool is_match) {
    mlcc_pieces_push(
        out, (mlcc_piece){.begin = (uint32_t)begin, .end = (uint32_t)end, .is_match = is_match});
}

static void split_by_literal(
    const mlcc_pattern *pattern, const char *text, size_t length, mlcc_pieces *out) {
    size_t done = 0;
    while (done < length) {
        const char *at =
            memmem(text + done, length - done, pattern->literal, pattern->literal_bytes);
        if (at == NULL) break;
        size_t begin = (size_t)(at - text);
        if (begin > done) push(out, done, begin, false);
        done = begin + pattern->literal_bytes;
        push(out, begin, done, true);
    }
    if (done < length) push(out, done, length, false);
}

static void split_by_test(
    const mlcc_pattern *pattern, const char *text, size_t length, mlcc_pieces *out) {
    size_t done = 0;
    size_t i = 0;
    while (i < length) {
        uint32_t code;
        size_t n_bytes = mlcc_utf8_decode(text + i, &code);
        if (pattern->is_member(code)) {
            if (i > done) push(out, done, i, false);
            done = i + n_bytes;
            push(out, i, done, true);
        }
        i += n_bytes;
    }
    if (done < length) push(out, done, length, false);
}

static void split_by_scan(
    const mlcc_pattern *pattern, const char *text, size_t length, mlcc_pieces *out) {
    for (size_t i = 0; i < length;) {
        size_t end = pattern->scan(text, length, i);
        push(out, i, end, true);
        i = end;
    }
}

static mlcc_status *split_by_regex(
    const mlcc_pattern *pattern, mlcc_regex_scratch *scratch, const char *text, size_t length,
    mlcc_pieces *out) {
    size_t done = 0;
    size_t from = 0;
    bool has_match = false;
    while (from <= length) {
        bool found;
        size_t begin, end;
        MLCC_TRY(
            mlcc_regex_find(pattern->regex, scratch, text, length, from, &found, &begin, &end));
        if (!found) break;
        if (begin == end && has_match && done == end) {
            // An empty match right behind the last one does not count; the search goes on one character later.
            uint32_t code;
            from += from < length ? mlcc_utf8_decode(text + from, &code) : 1;
            continue;
        }
        if (begin > done) push(out, done, begin, false);
        push(out, begin, end, true);
        has_match = true;
        done = from = end;
    }
    if (done < length) push(out, done, length, false);
    return NULL;
}

mlcc_status *mlcc_pattern_split(
    const mlcc_pattern *pattern, mlcc_regex_scratch *scratch, const char *text, size_t length,
    mlcc_pieces *out) {
    if (length == 0) return NULL;
    if (pattern->is_member != NULL) {
        split_by_test(pattern, text, length, out);
    } else if (pattern->scan != NULL) {
        split_by_scan(pattern, text, length, out);
    } else if (pattern->regex != NULL) {
        MLCC_TRY(split_by_regex(pattern, scratch, text, length, out));
    } else {
        split_by_literal(pattern, text, length, out);
    }
    return mlcc_pieces_check(out);
}

mlcc_status *mlcc_pattern_replace(
    const mlcc_pattern *pattern, mlcc_regex_scratch *scratch, const char *text, size_t length,
    const char *content, size_t content_bytes, size_t max_bytes, mlcc_pieces *pieces,
    mlcc_bytes *out) {
    mlcc_pieces_clear(pieces);
    MLCC_TRY(mlcc_pattern_split(pattern, scratch, text, length, pieces));
    uint64_t n_bytes = 0; // pieces and content have less than 2 GiB each
    for (size_t i = 0; i < pieces->n; i++) {
        const mlcc_piece piece = pieces->items[i];
        n_bytes += piece.is_match ? content_bytes : piece.end - piece.begin;
    }
    if (n_bytes > max_bytes)
        return MLCC_ERROR(
            INVALID, "a replacement makes %llu bytes of %zu; at most %zu are accepted",
            (unsigned long long)n_bytes, length, max_bytes);
    for (size_t i = 0; i < pieces->n; i++) {
        mlcc_piece piece = pieces->items[i];
        if (piece.is_match) {
            mlcc_bytes_append(out, content, content_bytes);
        } else {
            mlcc_bytes_append(out, text + piece.begin, piece.end - piece.begin);
        }
    }
    return mlcc_bytes_check(out);
}
