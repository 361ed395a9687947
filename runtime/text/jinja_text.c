// What is done to text: stripping, replacing, changing case, cutting into lines. Every result keeps the marks of the user's text.
#include "runtime/text/jinja_builtin.h"
#include "runtime/text/unicode.h"

#include <string.h>

static bool is_space(uint32_t code) {
    return (code >= 0x1C && code <= 0x1F) || mlcc_is_whitespace(code);
}

static bool is_in(uint32_t code, const jinja_string *set) {
    if (set == NULL) return is_space(code);
    for (size_t at = 0; at < set->length;) {
        uint32_t other;
        at += mlcc_utf8_decode(set->data + at, &other);
        if (other == code) return true;
    }
    return false;
}

jinja_value mlcc_jinja_strip(
    jinja_room *room, const jinja_string *s, const jinja_string *set, jinja_side side) {
    size_t begin = 0;
    size_t end = s->length;
    uint32_t code;
    while ((side & JINJA_LEFT) != 0 && begin < end) {
        size_t n = mlcc_utf8_decode(s->data + begin, &code);
        if (!is_in(code, set)) break;
        begin += n;
    }
    while ((side & JINJA_RIGHT) != 0 && end > begin) {
        size_t last = begin + mlcc_utf8_last(s->data + begin, end - begin);
        mlcc_utf8_decode(s->data + last, &code);
        if (!is_in(code, set)) break;
        end = last;
    }
    mlcc_jinja_charge(
        room, (begin + s->length - end) / 16 * (set == NULL ? 1 : set->length + (size_t)1));
    return mlcc_jinja_sub(room, s, begin, end);
}

static void put_part(jinja_builder *b, const jinja_string *s, size_t begin, size_t end) {
    while (begin < end) {
        bool is_user;
        size_t stop = mlcc_jinja_stretch(s, begin, &is_user);
        if (stop > end) stop = end;
        mlcc_jinja_put(b, s->data + begin, stop - begin, is_user);
        begin = stop;
    }
}

jinja_value mlcc_jinja_replace(
    jinja_room *room, const jinja_string *s, const jinja_string *old, const jinja_string *new_,
    int64_t count) {
    jinja_builder b = {.room = room};
    size_t at = 0;
    if (old->length == 0) { // Python puts the new text around every character
        for (; count != 0 && at < s->length; count--) {
            uint32_t code;
            size_t n = mlcc_utf8_decode(s->data + at, &code);
            mlcc_jinja_put_string(&b, new_);
            put_part(&b, s, at, at + n);
            at += n;
        }
        if (count != 0) mlcc_jinja_put_string(&b, new_);
        put_part(&b, s, at, s->length);
        return mlcc_jinja_finish(&b);
    }
    for (; count != 0; count--) {
        size_t found = mlcc_jinja_find(room, s, old, at);
        if (found == SIZE_MAX) break;
        mlcc_jinja_charge(room, 1);
        put_part(&b, s, at, found);
        mlcc_jinja_put_string(&b, new_);
        at = found + old->length;
    }
    put_part(&b, s, at, s->length);
    return mlcc_jinja_finish(&b);
}

// ---- case --------------------------------------------------------------------------------------------------------

static bool is_letter(uint32_t code) {
    if (code < 0x80) return (code | 32) >= 'a' && (code | 32) <= 'z';
    return !mlcc_is_whitespace(code) && !mlcc_is_numeric(code) && !mlcc_is_punctuation(code) &&
           !mlcc_is_mark(code);
}

// The lower-case form of one character, appended to `out` (which is cleared first).
static void lower_of(const char *character, size_t n, mlcc_bytes *out) {
    mlcc_bytes_clear(out);
    mlcc_unicode_lowercase(character, n, out);
}

static size_t upper_of(uint32_t code, char out[2 * MLCC_UTF8_MAX_BYTES]) {
    if (code == 0xDF) { // the one letter of everyday text that becomes two
        memcpy(out, "SS", 2);
        return 2;
    }
    return mlcc_utf8_encode(mlcc_unicode_uppercase(code), out);
}

jinja_value mlcc_jinja_change_case(jinja_room *room, const jinja_string *s, jinja_case to) {
    jinja_builder b = {.room = room};
    bool in_word = false;
    for (size_t at = 0; at < s->length;) {
        bool is_user;
        mlcc_jinja_stretch(s, at, &is_user);
        uint32_t code;
        size_t n = mlcc_utf8_decode(s->data + at, &code);
        char upper[2 * MLCC_UTF8_MAX_BYTES];
        size_t n_upper = upper_of(code, upper);
        bool is_lower = n_upper != n || memcmp(upper, s->data + at, n) != 0;
        bool to_upper = to == JINJA_UPPER || (to == JINJA_TITLE && !in_word) ||
                        (to == JINJA_CAPITALIZE && at == 0) || (to == JINJA_SWAP && is_lower);
        if (to_upper) {
            mlcc_jinja_put(&b, upper, n_upper, is_user);
        } else if (code < 0x80) {
            char lower = (char)(code >= 'A' && code <= 'Z' ? code | 32 : code);
            mlcc_jinja_put(&b, &lower, 1, is_user);
        } else {
            mlcc_bytes lower = {0};
            lower_of(s->data + at, n, &lower);
            char copy[32];
            size_t n_lower = lower.length < sizeof copy ? lower.length : 0;
            if (n_lower != 0) memcpy(copy, lower.data, n_lower);
            mlcc_bytes_free(&lower); // before the builder, which may leave
            mlcc_jinja_put(&b, copy, n_lower, is_user);
        }
        in_word = is_letter(code);
        at += n;
    }
    return mlcc_jinja_finish(&b);
}

// ---- lines -------------------------------------------------------------------------------------------------------

// Bytes of the line end at `at`, 0 when there is none (str.splitlines).
static size_t line_end_at(const jinja_string *s, size_t at) {
    unsigned char c = (unsigned char)s->data[at];
    if (c == '\r') return at + 1 < s->length && s->data[at + 1] == '\n' ? 2 : 1;
    if (c == '\n' || c == 0x0B || c == 0x0C || (c >= 0x1C && c <= 0x1E)) return 1;
    if (c < 0xC0) return 0; // also the inside of a character
    uint32_t code;
    size_t n = mlcc_utf8_decode(s->data + at, &code);
    return code == 0x85 || code == 0x2028 || code == 0x2029 ? n : 0;
}

jinja_value mlcc_jinja_split_lines(jinja_room *room, const jinja_string *s, bool keeps_ends) {
    jinja_value list = mlcc_jinja_list(room, JINJA_PLAIN_LIST, 0);
    size_t begin = 0;
    for (size_t at = 0; at < s->length;) {
        size_t n = line_end_at(s, at);
        if (n != 0) {
            mlcc_jinja_push(room, list, mlcc_jinja_sub(room, s, begin, keeps_ends ? at + n : at));
            begin = at + n;
        }
        at += n != 0 ? n : 1;
    }
    if (begin < s->length) mlcc_jinja_push(room, list, mlcc_jinja_sub(room, s, begin, s->length));
    return list;
}
