// Where guarded text ends up when a step changes it. Three kinds of steps: one that puts text in front, one that replaces matches, and the
// others, which work character by character or on small groups of them: there the stretches between borders are normalised one by one,
// after the borders have been moved to places over which nothing reaches.
#include "runtime/text/normalize.h"

#include <string.h>

static void follow_prepend(size_t shift, const mlcc_ranges *ranges, mlcc_ranges *moved) {
    for (size_t i = 0; i < ranges->n; i++) {
        mlcc_ranges_push(moved, ranges->items[i].begin + shift, ranges->items[i].end + shift);
    }
}

// Adds what [begin, end) shares with the ranges; true when it is anything. *next moves forward only.
static bool add_shared(
    const mlcc_ranges *ranges, size_t *next, size_t begin, size_t end, size_t to, bool as_whole,
    size_t to_end, mlcc_ranges *moved) {
    while (*next < ranges->n && ranges->items[*next].end <= begin) (*next)++;
    bool shares = false;
    for (size_t i = *next; i < ranges->n && ranges->items[i].begin < end; i++) {
        shares = true;
        if (as_whole) break;
        size_t from = ranges->items[i].begin > begin ? ranges->items[i].begin : begin;
        size_t until = ranges->items[i].end < end ? ranges->items[i].end : end;
        mlcc_ranges_push(moved, to + (from - begin), to + (until - begin));
    }
    if (shares && as_whole) mlcc_ranges_push(moved, to, to_end);
    return shares;
}

// `pieces` are the matches that the step has just replaced.
static void follow_replace(
    const mlcc_normalize_step *step, const mlcc_pieces *pieces, const mlcc_ranges *ranges,
    mlcc_ranges *moved) {
    size_t next = 0;
    size_t to = 0;
    for (size_t i = 0; i < pieces->n; i++) {
        mlcc_piece piece = pieces->items[i];
        size_t n_bytes = piece.is_match ? step->content_bytes : piece.end - piece.begin;
        add_shared(ranges, &next, piece.begin, piece.end, to, piece.is_match, to + n_bytes, moved);
        to += n_bytes;
    }
}

// Whether the two neighbours [a, b) and [b, c) are normalised as if each stood alone.
static mlcc_status *is_clean(
    const mlcc_normalize_step *step, mlcc_normalize_scratch *scratch, const char *text, size_t a,
    size_t b, size_t c, bool *answer) {
    mlcc_bytes *part = &scratch->part;
    mlcc_bytes_clear(part);
    MLCC_TRY(mlcc_normalize_step_run(step, scratch, text + a, c - a, part));
    size_t whole = part->length;
    MLCC_TRY(mlcc_normalize_step_run(step, scratch, text + a, b - a, part));
    MLCC_TRY(mlcc_normalize_step_run(step, scratch, text + b, c - b, part));
    *answer = part->length == 2 * whole &&
              (whole == 0 || memcmp(part->data, part->data + whole, whole) == 0);
    return NULL;
}

// Moves both borders of every range into the unguarded text beside it until they are clean.
static mlcc_status *widen(
    const mlcc_normalize_step *step, mlcc_normalize_scratch *scratch, const char *text,
    size_t length, const mlcc_ranges *ranges, mlcc_ranges *moved) {
    for (size_t i = 0; i < ranges->n; i++) {
        size_t low = i == 0 ? 0 : ranges->items[i - 1].end;
        size_t high = i + 1 < ranges->n ? ranges->items[i + 1].begin : length;
        size_t begin = ranges->items[i].begin;
        size_t end = ranges->items[i].end;
        bool clean = false;
        while (begin > low) {
            MLCC_TRY(is_clean(step, scratch, text, low, begin, ranges->items[i].end, &clean));
            if (clean) break;
            begin = low + mlcc_utf8_last(text + low, begin - low);
        }
        while (end < high) {
            MLCC_TRY(is_clean(step, scratch, text, ranges->items[i].begin, end, high, &clean));
            if (clean) break;
            uint32_t code;
            end += mlcc_utf8_decode(text + end, &code);
        }
        mlcc_ranges_push(moved, begin, end);
    }
    return mlcc_ranges_check(moved);
}

// `ranges` have clean borders: each stretch has its own place in the result.
static mlcc_status *follow_stretches(
    const mlcc_normalize_step *step, mlcc_normalize_scratch *scratch, const char *text,
    size_t length, const mlcc_bytes *out, const mlcc_ranges *ranges, mlcc_ranges *moved) {
    mlcc_bytes *part = &scratch->part;
    mlcc_bytes_clear(part);
    size_t done = 0;
    for (size_t i = 0; i < ranges->n; i++) {
        mlcc_text_range range = ranges->items[i];
        MLCC_TRY(mlcc_normalize_step_run(step, scratch, text + done, range.begin - done, part));
        size_t begin = part->length;
        MLCC_TRY(mlcc_normalize_step_run(
            step, scratch, text + range.begin, range.end - range.begin, part));
        mlcc_ranges_push(moved, begin, part->length);
        done = range.end;
    }
    MLCC_TRY(mlcc_normalize_step_run(step, scratch, text + done, length - done, part));
    bool is_same = part->length == out->length &&
                   (out->length == 0 || memcmp(part->data, out->data, out->length) == 0);
    if (!is_same) {
        // A step that looks further than its neighbours: nothing is known, so all of it is guarded.
        mlcc_ranges_clear(moved);
        mlcc_ranges_push(moved, 0, out->length);
    }
    return NULL;
}

static void swap(mlcc_ranges *a, mlcc_ranges *b) {
    mlcc_ranges kept = *a;
    *a = *b;
    *b = kept;
}

mlcc_status *mlcc_normalize_follow(
    const mlcc_normalize_step *step, mlcc_normalize_scratch *scratch, const char *text,
    size_t length, const mlcc_bytes *out, mlcc_ranges *ranges) {
    mlcc_ranges *moved = &scratch->moved;
    mlcc_ranges_clear(moved);
    if (step->kind == MLCC_NORMALIZE_PREPEND) {
        follow_prepend(length == 0 ? 0 : step->content_bytes, ranges, moved);
    } else if (step->kind == MLCC_NORMALIZE_REPLACE) {
        follow_replace(step, &scratch->pieces, ranges, moved);
    } else {
        MLCC_TRY(widen(step, scratch, text, length, ranges, moved));
        swap(ranges, moved);
        mlcc_ranges_clear(moved);
        MLCC_TRY(follow_stretches(step, scratch, text, length, out, ranges, moved));
    }
    swap(ranges, moved);
    return mlcc_ranges_check(ranges);
}
