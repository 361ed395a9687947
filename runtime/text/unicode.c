#include "runtime/text/unicode.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

// ---- UTF-8 -------------------------------------------------------------------------------------------

// What may follow a lead byte: number of bytes, and the range of the second one (Unicode 3.9, table 3-7).
typedef struct lead_rule {
    unsigned n_bytes;
    unsigned char low, high;
} lead_rule;

static lead_rule rule_of(unsigned char lead) {
    if (lead < 0x80) return (lead_rule){1, 0, 0};
    if (lead < 0xC2) return (lead_rule){0, 0, 0};
    if (lead < 0xE0) return (lead_rule){2, 0x80, 0xBF};
    if (lead == 0xE0) return (lead_rule){3, 0xA0, 0xBF};
    if (lead == 0xED) return (lead_rule){3, 0x80, 0x9F};
    if (lead < 0xF0) return (lead_rule){3, 0x80, 0xBF};
    if (lead == 0xF0) return (lead_rule){4, 0x90, 0xBF};
    if (lead < 0xF4) return (lead_rule){4, 0x80, 0xBF};
    if (lead == 0xF4) return (lead_rule){4, 0x80, 0x8F};
    return (lead_rule){0, 0, 0};
}

mlcc_utf8_kind mlcc_utf8_look(const char *text, size_t length, size_t *n_bytes) {
    lead_rule rule = rule_of((unsigned char)text[0]);
    *n_bytes = 1;
    if (rule.n_bytes == 1) return MLCC_UTF8_CHARACTER;
    if (rule.n_bytes == 0) return MLCC_UTF8_BROKEN;
    for (size_t i = 1; i < rule.n_bytes; i++) {
        *n_bytes = i;
        if (i == length) return MLCC_UTF8_CUT;
        unsigned char byte = (unsigned char)text[i];
        unsigned char low = i == 1 ? rule.low : 0x80;
        unsigned char high = i == 1 ? rule.high : 0xBF;
        if (byte < low || byte > high) return MLCC_UTF8_BROKEN;
    }
    *n_bytes = rule.n_bytes;
    return MLCC_UTF8_CHARACTER;
}

// Length of the ASCII text at the start.
static size_t ascii_length(const char *text, size_t length) {
    size_t i = 0;
    for (; i + 8 <= length; i += 8) {
        uint64_t word;
        memcpy(&word, text + i, sizeof word);
        if ((word & UINT64_C(0x8080808080808080)) != 0) break;
    }
    while (i < length && (unsigned char)text[i] < 0x80) i++;
    return i;
}

bool mlcc_utf8_is_valid(const char *text, size_t length) {
    size_t i = 0;
    while (i < length) {
        if ((unsigned char)text[i] < 0x80) {
            i += ascii_length(text + i, length - i);
            continue;
        }
        size_t n_bytes;
        if (mlcc_utf8_look(text + i, length - i, &n_bytes) != MLCC_UTF8_CHARACTER) return false;
        i += n_bytes;
    }
    return true;
}

void mlcc_utf8_repair(const char *text, size_t length, mlcc_bytes *out) {
    size_t copied = 0;
    size_t i = 0;
    while (i < length) {
        size_t n_bytes;
        mlcc_utf8_kind kind = mlcc_utf8_look(text + i, length - i, &n_bytes);
        if (kind != MLCC_UTF8_CHARACTER) {
            mlcc_bytes_append(out, text + copied, i - copied);
            mlcc_bytes_append(out, MLCC_REPLACEMENT_TEXT, MLCC_REPLACEMENT_BYTES);
            copied = i + n_bytes;
        }
        i += n_bytes;
    }
    mlcc_bytes_append(out, text + copied, length - copied);
}

size_t mlcc_utf8_decode(const char *text, uint32_t *code) {
    unsigned char lead = (unsigned char)text[0];
    if (lead < 0x80) {
        *code = lead;
        return 1;
    }
    uint32_t second = (unsigned char)text[1] & 0x3Fu;
    if (lead < 0xE0) {
        *code = ((lead & 0x1Fu) << 6) | second;
        return 2;
    }
    uint32_t third = (unsigned char)text[2] & 0x3Fu;
    if (lead < 0xF0) {
        *code = ((lead & 0x0Fu) << 12) | (second << 6) | third;
        return 3;
    }
    uint32_t fourth = (unsigned char)text[3] & 0x3Fu;
    *code = ((lead & 0x07u) << 18) | (second << 12) | (third << 6) | fourth;
    return 4;
}

size_t mlcc_utf8_last(const char *text, size_t length) {
    size_t i = length - 1;
    while (i > 0 && ((unsigned char)text[i] & 0xC0) == 0x80) i--;
    return i;
}

size_t mlcc_utf8_encode(uint32_t code, char out[MLCC_UTF8_MAX_BYTES]) {
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xC0 | (code >> 6));
        out[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xE0 | (code >> 12));
        out[1] = (char)(0x80 | ((code >> 6) & 0x3F));
        out[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | (code >> 18));
    out[1] = (char)(0x80 | ((code >> 12) & 0x3F));
    out[2] = (char)(0x80 | ((code >> 6) & 0x3F));
    out[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}

// ---- byte alphabet -------------------------------------------------------------------------------------

// Bytes that are printable in Latin-1 stand for themselves; the 68 others follow from U+0100 on, in order:
// 0–32 as 256–288, 127–160 as 289–322, 173 as 323.
uint32_t mlcc_byte_to_character(unsigned char byte) {
    if (byte <= 32) return 256u + byte;
    if (byte >= 127 && byte <= 160) return 289u + byte - 127u;
    if (byte == 173) return 323;
    return byte;
}

int mlcc_character_to_byte(uint32_t code) {
    if (code < 256) return mlcc_byte_to_character((unsigned char)code) == code ? (int)code : -1;
    if (code <= 288) return (int)(code - 256);
    if (code <= 322) return (int)(code - 289 + 127);
    return code == 323 ? 173 : -1;
}

void mlcc_byte_level_map(const char *text, size_t length, mlcc_bytes *out) {
    // Every character of the alphabet lies below U+0800: at most two bytes for one.
    if (length > SIZE_MAX / 2 || !mlcc_bytes_reserve(out, 2 * length)) {
        out->failed = true;
        return;
    }
    char *to = out->data + out->length;
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte > 32 && byte < 127) {
            *to++ = (char)byte;
        } else {
            to += mlcc_utf8_encode(mlcc_byte_to_character(byte), to);
        }
    }
    out->length = (size_t)(to - out->data);
}

// ---- properties ----------------------------------------------------------------------------------------

bool mlcc_is_whitespace(uint32_t code) {
    if (code < 0x80) return code == ' ' || (code >= '\t' && code <= '\r');
    return code == 0x85 || code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A) ||
           code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

bool mlcc_is_letter(uint32_t code) {
    if (code < 0x80) return (code >= 'A' && code <= 'Z') || (code >= 'a' && code <= 'z');
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)code);
    return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

mlcc_letter_kind mlcc_letter_kind_of(uint32_t code) {
    switch (utf8proc_category((utf8proc_int32_t)code)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LT: return MLCC_UPPER_LETTER;
    case UTF8PROC_CATEGORY_LL: return MLCC_LOWER_LETTER;
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO: return MLCC_CASELESS_LETTER;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME: return MLCC_MARK;
    default: return MLCC_NO_LETTER;
    }
}

bool mlcc_is_numeric(uint32_t code) {
    if (code < 0x80) return code >= '0' && code <= '9';
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)code);
    return category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
}

// Signs, marks and format characters that Unicode got after version 8 (2015), by which Hugging Face tokenizers still classifies.
static bool is_recent(uint32_t code) {
    // clang-format off
    static const struct {
        uint32_t first, last;
    } ranges[] = {
        {0x61D, 0x61D}, {0x7FD, 0x7FD}, {0x890, 0x891}, {0x898, 0x89F}, {0x8CA, 0x8E2}, {0x9FD, 0x9FE},
        {0xA76, 0xA76}, {0xAFA, 0xAFF}, {0xB55, 0xB55}, {0xC04, 0xC04}, {0xC3C, 0xC3C}, {0xC77, 0xC77},
        {0xC84, 0xC84}, {0xD00, 0xD00}, {0xD3B, 0xD3C}, {0xD81, 0xD81}, {0xEBA, 0xEBA}, {0xECE, 0xECE},
        {0x180F, 0x180F}, {0x1885, 0x1886}, {0x1ABF, 0x1ACE}, {0x1B7D, 0x1B7E}, {0x1DF6, 0x1DFB}, {0x2E43, 0x2E4F},
        {0x2E52, 0x2E5D}, {0xA82C, 0xA82C}, {0xA8C5, 0xA8C5}, {0xA8FF, 0xA8FF}, {0xA9BD, 0xA9BD}, {0x10D24, 0x10D27},
        {0x10EAB, 0x10EAD}, {0x10EFD, 0x10EFF}, {0x10F46, 0x10F50}, {0x10F55, 0x10F59}, {0x10F82, 0x10F89}, {0x11070, 0x11070},
        {0x11073, 0x11074}, {0x110C2, 0x110C2}, {0x110CD, 0x110CD}, {0x111C9, 0x111C9}, {0x111CF, 0x111CF}, {0x1123E, 0x1123E},
        {0x11241, 0x11241}, {0x1133B, 0x1133B}, {0x11438, 0x1143F}, {0x11442, 0x11444}, {0x11446, 0x11446}, {0x1144B, 0x1144F},
        {0x1145A, 0x1145B}, {0x1145D, 0x1145E}, {0x11660, 0x1166C}, {0x116B9, 0x116B9}, {0x1182F, 0x11837}, {0x11839, 0x1183B},
        {0x1193B, 0x1193C}, {0x1193E, 0x1193E}, {0x11943, 0x11946}, {0x119D4, 0x119D7}, {0x119DA, 0x119DB}, {0x119E0, 0x119E0},
        {0x119E2, 0x119E2}, {0x11A01, 0x11A0A}, {0x11A33, 0x11A38}, {0x11A3B, 0x11A47}, {0x11A51, 0x11A56}, {0x11A59, 0x11A5B},
        {0x11A8A, 0x11A96}, {0x11A98, 0x11A9C}, {0x11A9E, 0x11AA2}, {0x11B00, 0x11B09}, {0x11C30, 0x11C36}, {0x11C38, 0x11C3D},
        {0x11C3F, 0x11C3F}, {0x11C41, 0x11C45}, {0x11C70, 0x11C71}, {0x11C92, 0x11CA7}, {0x11CAA, 0x11CB0}, {0x11CB2, 0x11CB3},
        {0x11CB5, 0x11CB6}, {0x11D31, 0x11D36}, {0x11D3A, 0x11D3A}, {0x11D3C, 0x11D3D}, {0x11D3F, 0x11D45}, {0x11D47, 0x11D47},
        {0x11D90, 0x11D91}, {0x11D95, 0x11D95}, {0x11D97, 0x11D97}, {0x11EF3, 0x11EF4}, {0x11EF7, 0x11EF8}, {0x11F00, 0x11F01},
        {0x11F36, 0x11F3A}, {0x11F40, 0x11F40}, {0x11F42, 0x11F4F}, {0x11FFF, 0x11FFF}, {0x12FF1, 0x12FF2}, {0x13430, 0x13440},
        {0x13447, 0x13455}, {0x16E97, 0x16E9A}, {0x16F4F, 0x16F4F}, {0x16FE2, 0x16FE2}, {0x16FE4, 0x16FE4}, {0x1CF00, 0x1CF2D},
        {0x1CF30, 0x1CF46}, {0x1E000, 0x1E006}, {0x1E008, 0x1E018}, {0x1E01B, 0x1E021}, {0x1E023, 0x1E024}, {0x1E026, 0x1E02A},
        {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF}, {0x1E4EC, 0x1E4EF}, {0x1E944, 0x1E94A},
        {0x1E95E, 0x1E95F},
    };
    // clang-format on
    size_t low = 0;
    size_t high = sizeof ranges / sizeof *ranges;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (code > ranges[middle].last) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < sizeof ranges / sizeof *ranges && code >= ranges[low].first;
}

bool mlcc_is_punctuation(uint32_t code) {
    if (code < 0x80) {
        return (code >= '!' && code <= '/') || (code >= ':' && code <= '@') ||
               (code >= '[' && code <= '`') || (code >= '{' && code <= '~');
    }
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)code);
    if (code == 0x166D || code == 0x111C9) return true; // of another category since
    return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO && !is_recent(code);
}

bool mlcc_is_mark(uint32_t code) {
    if (code < 0x300) return false;
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)code);
    return category >= UTF8PROC_CATEGORY_MN && category <= UTF8PROC_CATEGORY_ME;
}

bool mlcc_is_nonspacing_mark(uint32_t code) {
    if (code < 0x300) return false;
    return utf8proc_category((utf8proc_int32_t)code) == UTF8PROC_CATEGORY_MN && !is_recent(code);
}

bool mlcc_is_other(uint32_t code) {
    if (code < 0x80) return code < 0x20 || code == 0x7F;
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)code);
    return category >= UTF8PROC_CATEGORY_CC && category <= UTF8PROC_CATEGORY_CO && !is_recent(code);
}

bool mlcc_is_chinese(uint32_t code) {
    static const struct {
        uint32_t first, last;
    } blocks[] = {
        {0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xF900, 0xFAFF},   {0x20000, 0x2A6DF},
        {0x2A700, 0x2B73F}, {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF}, {0x2F800, 0x2FA1F},
    };
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        if (code >= blocks[i].first && code <= blocks[i].last) return true;
    }
    return false;
}

size_t mlcc_grapheme_bytes(const char *text, size_t length) {
    uint32_t code;
    utf8proc_int32_t state = 0;
    size_t end = mlcc_utf8_decode(text, &code);
    while (end < length) {
        uint32_t next;
        size_t n_bytes = mlcc_utf8_decode(text + end, &next);
        if (utf8proc_grapheme_break_stateful(
                (utf8proc_int32_t)code, (utf8proc_int32_t)next, &state)) {
            break;
        }
        code = next;
        end += n_bytes;
    }
    return end;
}

// ---- normal forms ----------------------------------------------------------------------------------------

typedef struct code_list {
    utf8proc_int32_t *items;
    size_t n;
    size_t capacity;
} code_list;

static bool code_list_reserve(code_list *list, size_t extra) {
    if (list->n + extra <= list->capacity) return true;
    size_t capacity = 2 * (list->n + extra) + 64;
    utf8proc_int32_t *items = realloc(list->items, capacity * sizeof *items);
    if (items == NULL) return false;
    list->items = items;
    list->capacity = capacity;
    return true;
}

static bool decompose(const char *text, size_t length, utf8proc_option_t options, code_list *list) {
    size_t i = 0;
    while (i < length) {
        uint32_t code;
        i += mlcc_utf8_decode(text + i, &code);
        int boundary = 0;
        // The longest compatibility decomposition has 18 characters (U+FDFA).
        if (!code_list_reserve(list, 32)) return false;
        utf8proc_ssize_t n = utf8proc_decompose_char(
            (utf8proc_int32_t)code, list->items + list->n,
            (utf8proc_ssize_t)(list->capacity - list->n), options, &boundary);
        if (n < 0 || (size_t)n > list->capacity - list->n) return false;
        list->n += (size_t)n;
    }
    return true;
}

static int combining_class(utf8proc_int32_t code) {
    return code < 0x300 ? 0 : utf8proc_get_property(code)->combining_class;
}

static int compare_keys(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return a < b ? -1 : a > b;
}

// Canonical order of one row of marks: stable by combining class. The keys hold class (8 bits), place (32 bits) and
// code point (21 bits), so that sorting them is stable whatever the method.
static bool order_marks(utf8proc_int32_t *codes, size_t n) {
    bool ordered = true;
    for (size_t i = 1; i < n; i++) {
        if (combining_class(codes[i - 1]) > combining_class(codes[i])) ordered = false;
    }
    if (ordered) return true;
    uint64_t few[32];
    uint64_t *keys = few;
    if (n > 32) {
        keys = malloc(n * sizeof *keys);
        if (keys == NULL) return false;
    }
    for (size_t i = 0; i < n; i++) {
        keys[i] =
            ((uint64_t)combining_class(codes[i]) << 53) | ((uint64_t)i << 21) | (uint64_t)codes[i];
    }
    qsort(keys, n, sizeof *keys, compare_keys);
    for (size_t i = 0; i < n; i++) codes[i] = (utf8proc_int32_t)(keys[i] & 0x1FFFFF);
    if (keys != few) free(keys);
    return true;
}

static bool order_all_marks(code_list *list) {
    size_t i = 0;
    while (i < list->n) {
        size_t begin = i;
        while (i < list->n && combining_class(list->items[i]) != 0) i++;
        if (i - begin > 1 && !order_marks(list->items + begin, i - begin)) return false;
        if (i == begin) i++;
    }
    return true;
}

static void append_code(mlcc_bytes *out, uint32_t code) {
    char bytes[MLCC_UTF8_MAX_BYTES];
    mlcc_bytes_append(out, bytes, mlcc_utf8_encode(code, bytes));
}

static bool normalize_stretch(
    const char *text, size_t length, mlcc_unicode_form form, code_list *list, mlcc_bytes *out) {
    bool composes = form == MLCC_NFC || form == MLCC_NFKC;
    bool is_compatible = form == MLCC_NFKC || form == MLCC_NFKD;
    unsigned flags = UTF8PROC_STABLE | (composes ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE) |
                     (is_compatible ? UTF8PROC_COMPAT : 0u);
    // NOLINTNEXTLINE(clang-analyzer-optin.core.EnumCastOutOfRange)
    utf8proc_option_t options = (utf8proc_option_t)flags;
    list->n = 0;
    if (!decompose(text, length, options, list)) return false;
    if (!order_all_marks(list)) return false;
    size_t n = list->n;
    if (composes && n != 0) {
        utf8proc_ssize_t composed =
            utf8proc_normalize_utf32(list->items, (utf8proc_ssize_t)n, options);
        if (composed < 0) return false;
        n = (size_t)composed;
    }
    for (size_t i = 0; i < n; i++) append_code(out, (uint32_t)list->items[i]);
    return true;
}

bool mlcc_unicode_normalize(
    const char *text, size_t length, mlcc_unicode_form form, mlcc_bytes *out) {
    // ASCII stays as it is in every form, but its last character may take up a mark that follows.
    code_list list = {0};
    bool fits = true;
    size_t i = 0;
    while (fits && i < length) {
        size_t plain = ascii_length(text + i, length - i);
        size_t end = i + plain;
        if (end == length) {
            mlcc_bytes_append(out, text + i, plain);
            break;
        }
        size_t kept = plain == 0 ? 0 : plain - 1;
        mlcc_bytes_append(out, text + i, kept);
        while (end < length && (unsigned char)text[end] >= 0x80) end++;
        fits = normalize_stretch(text + i + kept, end - i - kept, form, &list, out);
        i = end;
    }
    free(list.items);
    if (!fits) out->failed = true;
    return fits && !out->failed;
}

void mlcc_unicode_lowercase(const char *text, size_t length, mlcc_bytes *out) {
    size_t i = 0;
    while (i < length) {
        uint32_t code;
        i += mlcc_utf8_decode(text + i, &code);
        if (code < 0x80) {
            mlcc_bytes_put(out, (char)(code >= 'A' && code <= 'Z' ? code + 32 : code));
        } else if (code == 0x130) {
            mlcc_bytes_append(
                out, "i\xCC\x87", 3); // İ is the one capital with two small characters
        } else {
            append_code(out, (uint32_t)utf8proc_tolower((utf8proc_int32_t)code));
        }
    }
}

uint32_t mlcc_unicode_uppercase(uint32_t code) {
    return (uint32_t)utf8proc_toupper((utf8proc_int32_t)code);
}
