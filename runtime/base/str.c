#include "runtime/base/str.h"

#include "runtime/base/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void mlcc_str_free(mlcc_str *str) {
    free(str->data);
    *str = (mlcc_str){0};
}

void mlcc_str_clear(mlcc_str *str) {
    str->length = 0;
    if (str->data != NULL) str->data[0] = '\0';
}

// Room for `more` bytes and the NUL after them.
static void reserve(mlcc_str *str, size_t more) {
    size_t needed;
    if (!mlcc_size_add(str->length, more, &needed) || !mlcc_size_add(needed, 1, &needed)) {
        mlcc_memory_stop(SIZE_MAX);
    }
    if (needed <= str->capacity) return;
    size_t capacity = str->capacity < 32 ? 64 : str->capacity;
    while (capacity < needed) {
        if (!mlcc_size_mul(capacity, 2, &capacity)) mlcc_memory_stop(needed);
    }
    str->data = mlcc_memory_resize(str->data, capacity, 1);
    str->capacity = capacity;
}

void mlcc_str_append(mlcc_str *str, const char *data, size_t length) {
    reserve(str, length);
    if (length != 0) memcpy(str->data + str->length, data, length);
    str->length += length;
    str->data[str->length] = '\0';
}

void mlcc_str_puts(mlcc_str *str, const char *text) {
    mlcc_str_append(str, text, strlen(text));
}

void mlcc_str_putc(mlcc_str *str, char byte) {
    if (str->capacity - str->length < 2) reserve(str, 1);
    str->data[str->length++] = byte;
    str->data[str->length] = '\0';
}

void mlcc_str_printf(mlcc_str *str, const char *format, ...) {
    va_list args;
    va_list again;
    va_start(args, format);
    va_copy(again, args);
    size_t room = str->capacity - str->length;
    int length = vsnprintf(room != 0 ? str->data + str->length : NULL, room, format, args);
    va_end(args);
    if (length >= 0) {
        if ((size_t)length >= room) {
            reserve(str, (size_t)length);
            vsnprintf(str->data + str->length, (size_t)length + 1, format, again);
        }
        str->length += (size_t)length;
    } else if (str->data != NULL) {
        str->data[str->length] = '\0'; // a failed conversion adds nothing
    }
    va_end(again);
}

const char *mlcc_str_text(const mlcc_str *str) {
    return str->data != NULL ? str->data : "";
}

static void put_utf16_escape(mlcc_str *str, unsigned unit) {
    static const char digits[] = "0123456789abcdef";
    char text[6] = {'\\', 'u'};
    for (size_t i = 0; i < 4; i++) text[2 + i] = digits[unit >> (12 - 4 * i) & 15];
    mlcc_str_append(str, text, sizeof text);
}

// Length of the UTF-8 sequence at `text` and its code point; 0 when it is not well-formed (RFC
// 3629).
static size_t decode_utf8(const unsigned char *text, size_t length, uint32_t *code_point) {
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char lead = text[0];
    size_t n = lead < 0x80   ? 1
               : lead < 0xc2 ? 0
               : lead < 0xe0 ? 2
               : lead < 0xf0 ? 3
               : lead < 0xf5 ? 4
                             : 0;
    if (n == 0 || n > length) return 0;
    uint32_t point = n == 1 ? lead : lead & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((text[i] & 0xc0) != 0x80) return 0;
        point = point << 6 | (text[i] & 0x3f);
    }
    if (point < smallest[n] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) return 0;
    *code_point = point;
    return n;
}

// One byte below 0x80, in the escapes that Python's json uses.
static void put_json_byte(mlcc_str *str, unsigned char byte, bool ascii_only) {
    switch (byte) {
    case '"': mlcc_str_append(str, "\\\"", 2); return;
    case '\\': mlcc_str_append(str, "\\\\", 2); return;
    case '\n': mlcc_str_append(str, "\\n", 2); return;
    case '\r': mlcc_str_append(str, "\\r", 2); return;
    case '\t': mlcc_str_append(str, "\\t", 2); return;
    case '\f': mlcc_str_append(str, "\\f", 2); return;
    case '\b': mlcc_str_append(str, "\\b", 2); return;
    default: break;
    }
    if (byte < 0x20 || (byte == 0x7f && ascii_only)) {
        put_utf16_escape(str, byte);
    } else {
        mlcc_str_putc(str, (char)byte);
    }
}

void mlcc_str_put_json(mlcc_str *str, const char *data, size_t length, bool ascii_only) {
    const unsigned char *bytes = (const unsigned char *)data;
    mlcc_str_putc(str, '"');
    for (size_t i = 0; i < length;) {
        if (bytes[i] < 0x80) {
            put_json_byte(str, bytes[i], ascii_only);
            i++;
            continue;
        }
        uint32_t point;
        size_t n = decode_utf8(bytes + i, length - i, &point);
        if (n == 0) {
            // JSON text must be valid UTF-8: a stray byte becomes U+FFFD, as Python's
            // errors="replace" does.
            point = 0xfffd;
        }
        if (!ascii_only) {
            if (n == 0) {
                mlcc_str_puts(str, "\xef\xbf\xbd");
            } else {
                mlcc_str_append(str, data + i, n);
            }
        } else if (point >= 0x10000) {
            put_utf16_escape(str, 0xd800 + ((point - 0x10000) >> 10));
            put_utf16_escape(str, 0xdc00 + ((point - 0x10000) & 0x3ff));
        } else {
            put_utf16_escape(str, point);
        }
        i += n != 0 ? n : 1;
    }
    mlcc_str_putc(str, '"');
}

bool mlcc_text_starts_with(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool mlcc_text_ends_with(const char *text, const char *suffix) {
    size_t length = strlen(text);
    size_t suffix_length = strlen(suffix);
    return suffix_length <= length && strcmp(text + length - suffix_length, suffix) == 0;
}

enum { NEAREST_MAX_LENGTH = 80 };

// Edits from a to b: insert, remove, replace one byte, or swap two neighbours (optimal string
// alignment).
static size_t edit_distance(const char *a, size_t a_length, const char *b, size_t b_length) {
    size_t rows[3][NEAREST_MAX_LENGTH + 1];
    size_t *before = rows[0], *above = rows[1], *row = rows[2];
    for (size_t j = 0; j <= b_length; j++) before[j] = above[j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t best = above[j - 1] + (a[i - 1] != b[j - 1]);
            if (above[j] + 1 < best) best = above[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && before[j - 2] + 1 < best) best = before[j - 2] + 1;
            row[j] = best;
        }
        size_t *oldest = before;
        before = above;
        above = row;
        row = oldest;
    }
    return above[b_length];
}

const char *mlcc_text_nearest(
    const char *text, const char *const *candidates, size_t n_candidates) {
    size_t length = strlen(text);
    if (length == 0 || length > NEAREST_MAX_LENGTH) return NULL;
    const char *nearest = NULL;
    size_t best = length / 3 + 2; // from here on a suggestion confuses more than it helps
    if (best > length) best = length;
    for (size_t i = 0; i < n_candidates; i++) {
        size_t candidate_length = strlen(candidates[i]);
        if (candidate_length > NEAREST_MAX_LENGTH) continue;
        size_t distance = edit_distance(text, length, candidates[i], candidate_length);
        if (distance < best) {
            best = distance;
            nearest = candidates[i];
        }
    }
    return nearest;
}

// Those of ASCII, and U+0080 to U+009F, which are two bytes.
static size_t control_length(const char *text) {
    const unsigned char first = (unsigned char)text[0];
    if (first == '\n' || first == '\t') return 0;
    if (first < 0x20 || first == 0x7f) return 1;
    return first == 0xc2 && ((unsigned char)text[1] & 0xe0) == 0x80 ? 2 : 0;
}

void mlcc_text_make_plain(char *text) {
    char *to = text;
    while (*text != '\0') {
        const size_t length = control_length(text);
        *to++ = length > 0 ? '?' : *text;
        text += length > 0 ? length : 1;
    }
    *to = '\0';
}

bool mlcc_size_add(size_t a, size_t b, size_t *sum) {
    return !__builtin_add_overflow(a, b, sum);
}

bool mlcc_size_mul(size_t a, size_t b, size_t *product) {
    return !__builtin_mul_overflow(a, b, product);
}

bool mlcc_i64_mul(int64_t a, int64_t b, int64_t *product) {
    return !__builtin_mul_overflow(a, b, product);
}
