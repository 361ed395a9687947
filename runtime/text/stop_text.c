#include "runtime/text/stop_text.h"

#include <string.h>

// Whether `stop` stands at the place, as far as the text goes.
static bool matches(const mlcc_text *stop, const char *text, size_t length) {
    const size_t n = stop->length < length ? stop->length : length;
    return stop->length > 0 && memcmp(stop->data, text, n) == 0;
}

typedef enum verdict { CLEAR, MAY_STOP, STOPS } verdict;

static verdict look_at(const mlcc_stop_text *stop, size_t at) {
    const char *text = stop->held.data + at;
    const size_t length = stop->held.length - at;
    verdict found = CLEAR;
    for (size_t i = 0; i < stop->n_stops; i++) {
        if (!matches(&stop->stops[i], text, length)) continue;
        if (stop->stops[i].length <= length) return STOPS;
        found = MAY_STOP;
    }
    return found;
}

// Hands over the first `n` bytes of what is held.
static void release(mlcc_stop_text *stop, size_t n, mlcc_bytes *out) {
    mlcc_bytes_append(out, stop->held.data, n);
    stop->held.length -= n;
    if (stop->held.length > 0) memmove(stop->held.data, stop->held.data + n, stop->held.length);
}

void mlcc_stop_text_push(mlcc_stop_text *stop, const char *text, size_t length, mlcc_bytes *out) {
    if (stop->is_stopped || length == 0) return;
    mlcc_bytes_append(&stop->held, text, length);
    size_t at = 0;
    verdict found = CLEAR;
    // A string that may begin here decides only when it is complete or refuted: nothing behind it can come out before.
    while (at < stop->held.length && (found = look_at(stop, at)) == CLEAR) at++;
    if (at > 0) release(stop, at, out);
    if (found == STOPS) {
        stop->is_stopped = true;
        mlcc_bytes_clear(&stop->held);
    }
}

void mlcc_stop_text_finish(mlcc_stop_text *stop, mlcc_bytes *out) {
    if (!stop->is_stopped && stop->held.length > 0) release(stop, stop->held.length, out);
}

void mlcc_stop_text_free(mlcc_stop_text *stop) {
    mlcc_bytes_free(&stop->held);
}
