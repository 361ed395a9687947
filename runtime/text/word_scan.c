#include "runtime/text/word_scan.h"

#include "runtime/text/unicode.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef enum kind { OTHER, LETTER, NUMBER, SPACE } kind;

static const unsigned char ascii_kinds[128] = {
    ['\t'] = SPACE, ['\n'] = SPACE, ['\v'] = SPACE, ['\f'] = SPACE, ['\r'] = SPACE, [' '] = SPACE,
    ['0'] = NUMBER, ['1'] = NUMBER, ['2'] = NUMBER, ['3'] = NUMBER, ['4'] = NUMBER, ['5'] = NUMBER,
    ['6'] = NUMBER, ['7'] = NUMBER, ['8'] = NUMBER, ['9'] = NUMBER, ['A'] = LETTER, ['B'] = LETTER,
    ['C'] = LETTER, ['D'] = LETTER, ['E'] = LETTER, ['F'] = LETTER, ['G'] = LETTER, ['H'] = LETTER,
    ['I'] = LETTER, ['J'] = LETTER, ['K'] = LETTER, ['L'] = LETTER, ['M'] = LETTER, ['N'] = LETTER,
    ['O'] = LETTER, ['P'] = LETTER, ['Q'] = LETTER, ['R'] = LETTER, ['S'] = LETTER, ['T'] = LETTER,
    ['U'] = LETTER, ['V'] = LETTER, ['W'] = LETTER, ['X'] = LETTER, ['Y'] = LETTER, ['Z'] = LETTER,
    ['a'] = LETTER, ['b'] = LETTER, ['c'] = LETTER, ['d'] = LETTER, ['e'] = LETTER, ['f'] = LETTER,
    ['g'] = LETTER, ['h'] = LETTER, ['i'] = LETTER, ['j'] = LETTER, ['k'] = LETTER, ['l'] = LETTER,
    ['m'] = LETTER, ['n'] = LETTER, ['o'] = LETTER, ['p'] = LETTER, ['q'] = LETTER, ['r'] = LETTER,
    ['s'] = LETTER, ['t'] = LETTER, ['u'] = LETTER, ['v'] = LETTER, ['w'] = LETTER, ['x'] = LETTER,
    ['y'] = LETTER, ['z'] = LETTER,
};

// The kind of the character at `at` (at < length), and where it ends.
static inline kind kind_at(const char *text, size_t at, size_t *end) {
    unsigned char byte = (unsigned char)text[at];
    if (byte < 0x80) {
        *end = at + 1;
        return (kind)ascii_kinds[byte];
    }
    uint32_t code;
    *end = at + mlcc_utf8_decode(text + at, &code);
    if (mlcc_is_whitespace(code)) return SPACE;
    if (mlcc_is_letter(code)) return LETTER;
    return mlcc_is_numeric(code) ? NUMBER : OTHER;
}

// Where a row of characters of one kind ends; at most `max` of them.
static inline size_t row_end(const char *text, size_t length, size_t at, kind wanted, size_t max) {
    size_t end;
    for (size_t n = 0; n < max && at < length && kind_at(text, at, &end) == wanted; n++) at = end;
    return at;
}

static bool is_line_end(char byte) {
    return byte == '\r' || byte == '\n';
}

// "'s", "'t", "'re", "'ve", "'m", "'ll", "'d" at a quotation mark: their end, or 0.
static size_t contraction_end(const char *text, size_t length, size_t at, bool ignores_case) {
    char letters[2] = {0, 0};
    for (size_t i = 0; i < 2 && at + 1 + i < length; i++) {
        letters[i] = text[at + 1 + i];
        bool is_capital = letters[i] >= 'A' && letters[i] <= 'Z';
        if (ignores_case && is_capital) letters[i] = (char)(letters[i] + 32);
    }
    switch (letters[0]) {
    case 's':
    case 't':
    case 'm':
    case 'd': return at + 2;
    case 'r':
    case 'v': return letters[1] == 'e' ? at + 3 : 0;
    case 'l': return letters[1] == 'l' ? at + 3 : 0;
    default: break;
    }
    // The long s, U+017F, is a small letter of S.
    return ignores_case && memcmp(letters, "\xC5\xBF", 2) == 0 ? at + 3 : 0;
}

// "\s+(?!\S)|\s+": a row of white space without its last character, which goes with the word behind it.
static size_t space_end(const char *text, size_t length, size_t at) {
    size_t last = at;
    size_t end = at;
    for (size_t next; end < length && kind_at(text, end, &next) == SPACE; end = next) last = end;
    return end == length || last == at ? end : last;
}

// "\s*[\r\n]+|\s+(?!\S)|\s+"
static size_t space_or_line_end(const char *text, size_t length, size_t at) {
    size_t line_end = 0;
    size_t end = at;
    for (size_t next; end < length && kind_at(text, end, &next) == SPACE; end = next) {
        if (is_line_end(text[end])) line_end = next;
    }
    return line_end != 0 ? line_end : space_end(text, length, at);
}

static size_t scan_gpt2(const char *text, size_t length, size_t at) {
    if (text[at] == '\'') {
        size_t end = contraction_end(text, length, at, false);
        if (end != 0) return end;
    }
    size_t begin = text[at] == ' ' && at + 1 < length ? at + 1 : at;
    size_t end;
    kind first = kind_at(text, begin, &end);
    if (first == SPACE) return space_end(text, length, at);
    return row_end(text, length, end, first, SIZE_MAX);
}

static inline size_t scan_llama(const char *text, size_t length, size_t at, size_t max_digits) {
    if (text[at] == '\'') {
        size_t end = contraction_end(text, length, at, true);
        if (end != 0) return end;
    }
    size_t end, next_end;
    kind first = kind_at(text, at, &end);
    if (first == LETTER) return row_end(text, length, end, LETTER, SIZE_MAX);
    if (first == NUMBER) return row_end(text, length, end, NUMBER, max_digits - 1);
    kind next = end < length ? kind_at(text, end, &next_end) : SPACE;
    if (next == LETTER && !is_line_end(text[at])) {
        return row_end(text, length, next_end, LETTER, SIZE_MAX);
    }
    if (first == OTHER || (text[at] == ' ' && next == OTHER)) {
        end = row_end(text, length, end, OTHER, SIZE_MAX);
        while (end < length && is_line_end(text[end])) end++;
        return end;
    }
    return space_or_line_end(text, length, at);
}

static size_t scan_llama3(const char *text, size_t length, size_t at) {
    return scan_llama(text, length, at, 3);
}

static size_t scan_qwen(const char *text, size_t length, size_t at) {
    return scan_llama(text, length, at, 1);
}

#define GPT2_REST  " ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define LLAMA_HEAD "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define LLAMA_REST "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

static const struct {
    const char *regex;
    mlcc_word_scan *scan;
} rows[] = {
    {"'s|'t|'re|'ve|'m|'ll|'d|" GPT2_REST, scan_gpt2},
    {"'(?:[sdmt]|ll|ve|re)|" GPT2_REST, scan_gpt2},
    {LLAMA_HEAD "\\p{N}{1,3}" LLAMA_REST, scan_llama3},
    {LLAMA_HEAD "\\p{N}" LLAMA_REST, scan_qwen},
};

mlcc_word_scan *mlcc_word_scan_of(const char *regex, size_t length) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (strlen(rows[i].regex) == length && memcmp(rows[i].regex, regex, length) == 0) {
            return rows[i].scan;
        }
    }
    return NULL;
}
