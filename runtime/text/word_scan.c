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

// ---- o200k: words end where a capital follows a small letter ---------------------------------------------------------

// One bit each, so that a set of them is a sum.
enum {
    OTHER_BIT = 1,
    NUMBER_BIT = 2,
    SPACE_BIT = 4,
    UPPER_BIT = 8,
    LOWER_BIT = 16,
    CASELESS_BIT = 32,
    MARK_BIT = 64
};
enum {
    ANY_LETTER = UPPER_BIT | LOWER_BIT | CASELESS_BIT,
    HEAD_SET = UPPER_BIT | CASELESS_BIT | MARK_BIT, // [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]
    TAIL_SET = LOWER_BIT | CASELESS_BIT | MARK_BIT, // [\p{Ll}\p{Lm}\p{Lo}\p{M}]
    BOTH_SET = CASELESS_BIT | MARK_BIT,
    SIGN_SET = OTHER_BIT | MARK_BIT, // [^\s\p{L}\p{N}]
};

static inline unsigned bit_at(const char *text, size_t at, size_t *end) {
    unsigned char byte = (unsigned char)text[at];
    if (byte < 0x80) {
        static const unsigned char bits[] = {
            [OTHER] = OTHER_BIT, [NUMBER] = NUMBER_BIT, [SPACE] = SPACE_BIT};
        *end = at + 1;
        if (ascii_kinds[byte] != LETTER) return bits[ascii_kinds[byte]];
        return (byte & 0x20) != 0 ? LOWER_BIT : UPPER_BIT;
    }
    static const unsigned char letters[] = {
        [MLCC_UPPER_LETTER] = UPPER_BIT,
        [MLCC_LOWER_LETTER] = LOWER_BIT,
        [MLCC_CASELESS_LETTER] = CASELESS_BIT,
        [MLCC_MARK] = MARK_BIT};
    uint32_t code;
    *end = at + mlcc_utf8_decode(text + at, &code);
    mlcc_letter_kind letter = mlcc_letter_kind_of(code);
    if (letter != MLCC_NO_LETTER) return letters[letter];
    if (mlcc_is_whitespace(code)) return SPACE_BIT;
    return mlcc_is_numeric(code) ? NUMBER_BIT : OTHER_BIT;
}

static inline size_t set_end(const char *text, size_t length, size_t at, unsigned set, size_t max) {
    size_t end;
    for (size_t n = 0; n < max && at < length && (bit_at(text, at, &end) & set) != 0; n++) at = end;
    return at;
}

// "[HEAD]*[TAIL]+" at a place, or 0. A row of HEAD that no TAIL follows gives characters back until the last one it took from BOTH.
static size_t small_word_end(const char *text, size_t length, size_t at) {
    size_t end, both_end = 0;
    for (; at < length; at = end) {
        unsigned bit = bit_at(text, at, &end);
        if ((bit & HEAD_SET) == 0) break;
        if ((bit & BOTH_SET) != 0) both_end = end;
    }
    size_t tail_end = set_end(text, length, at, TAIL_SET, SIZE_MAX);
    return tail_end > at ? tail_end : both_end;
}

// "[HEAD]+[TAIL]*" at a place, or 0.
static size_t capital_word_end(const char *text, size_t length, size_t at) {
    size_t head_end = set_end(text, length, at, HEAD_SET, SIZE_MAX);
    return head_end == at ? 0 : set_end(text, length, head_end, TAIL_SET, SIZE_MAX);
}

// Both kinds of words, each first with the sign in front of it and then without: the order in which the pattern tries them.
static size_t cased_word_end(
    const char *text, size_t length, size_t at, unsigned first, size_t first_end) {
    bool has_sign = (first & (ANY_LETTER | NUMBER_BIT)) == 0 && !is_line_end(text[at]);
    size_t end = has_sign ? small_word_end(text, length, first_end) : 0;
    if (end == 0) end = small_word_end(text, length, at);
    if (end == 0 && has_sign) end = capital_word_end(text, length, first_end);
    return end != 0 ? end : capital_word_end(text, length, at);
}

static inline size_t scan_cased(
    const char *text, size_t length, size_t at, size_t max_digits, bool takes_contraction) {
    size_t first_end, next_end;
    unsigned first = bit_at(text, at, &first_end);
    if (first == NUMBER_BIT) return set_end(text, length, first_end, NUMBER_BIT, max_digits - 1);
    unsigned next = first_end < length ? bit_at(text, first_end, &next_end) : SPACE_BIT;
    // A word begins here or behind a sign; looking for it is in vain where neither is a letter or a mark.
    size_t end = 0;
    if (((first | next) & (ANY_LETTER | MARK_BIT)) != 0) {
        end = cased_word_end(text, length, at, first, first_end);
    }
    if (end != 0) {
        size_t contraction = takes_contraction && end < length && text[end] == '\''
                                 ? contraction_end(text, length, end, true)
                                 : 0;
        return contraction != 0 ? contraction : end;
    }
    if ((first & SIGN_SET) != 0 || (text[at] == ' ' && (next & SIGN_SET) != 0)) {
        end = set_end(text, length, first_end, SIGN_SET, SIZE_MAX);
        while (end < length && (is_line_end(text[end]) || text[end] == '/')) end++;
        return end;
    }
    return space_or_line_end(text, length, at);
}

static size_t scan_o200k(const char *text, size_t length, size_t at) {
    return scan_cased(text, length, at, 3, true);
}

static size_t scan_tekken(const char *text, size_t length, size_t at) {
    return scan_cased(text, length, at, 1, false);
}

// ---- the table -------------------------------------------------------------------------------------------------------

#define GPT2_REST  " ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define LLAMA_HEAD "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define LLAMA_REST "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define HEAD       "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define TAIL       "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define SIGN       "[^\\r\\n\\p{L}\\p{N}]?"
#define ENDING     "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
#define CASED_REST "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

static const struct {
    const char *regex;
    mlcc_word_scan *scan;
} rows[] = {
    {"'s|'t|'re|'ve|'m|'ll|'d|" GPT2_REST, scan_gpt2},
    {"'(?:[sdmt]|ll|ve|re)|" GPT2_REST, scan_gpt2},
    {LLAMA_HEAD "\\p{N}{1,3}" LLAMA_REST, scan_llama3},
    {LLAMA_HEAD "\\p{N}" LLAMA_REST, scan_qwen},
    {SIGN HEAD "*" TAIL "+" ENDING "|" SIGN HEAD "+" TAIL "*" ENDING "|\\p{N}{1,3}" CASED_REST,
     scan_o200k},
    {SIGN HEAD "*" TAIL "+|" SIGN HEAD "+" TAIL "*|\\p{N}" CASED_REST, scan_tekken},
};

mlcc_word_scan *mlcc_word_scan_of(const char *regex, size_t length) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (strlen(rows[i].regex) == length && memcmp(rows[i].regex, regex, length) == 0) {
            return rows[i].scan;
        }
    }
    return NULL;
}

const char *mlcc_word_scan_regex(mlcc_word_scan *scan) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].scan == scan) return rows[i].regex;
    }
    return "";
}
