// unicode: UTF-8, character properties and normal forms, and the byte alphabet of byte-level BPE. The only door to utf8proc.
//
// Text inside this room is always valid UTF-8: mlcc_utf8_repair makes it so at the entrance. Functions that say "valid text"
// trust it. Code points are uint32_t.
#ifndef MLCC_RUNTIME_TEXT_UNICODE_H
#define MLCC_RUNTIME_TEXT_UNICODE_H

#include "runtime/text/buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MLCC_REPLACEMENT_TEXT "\xEF\xBF\xBD" // U+FFFD
enum { MLCC_REPLACEMENT_BYTES = 3, MLCC_UTF8_MAX_BYTES = 4 };

typedef enum mlcc_utf8_kind {
    MLCC_UTF8_CHARACTER, // a complete character of *n_bytes
    MLCC_UTF8_BROKEN, // *n_bytes that no continuation can repair: the maximal subpart of Unicode 3.9, table 3-8
    MLCC_UTF8_CUT, // all bytes given (*n_bytes) are the beginning of a character
} mlcc_utf8_kind;

// Looks at the start of any bytes, length ≥ 1.
mlcc_utf8_kind mlcc_utf8_look(const char *text, size_t length, size_t *n_bytes);
bool mlcc_utf8_is_valid(const char *text, size_t length);
// Appends the text with every broken part replaced by U+FFFD, as Python's errors="replace" does.
void mlcc_utf8_repair(const char *text, size_t length, mlcc_bytes *out);
// The first character of valid text, length ≥ 1; returns its bytes.
size_t mlcc_utf8_decode(const char *text, uint32_t *code);
// Where the last character of valid text begins, length ≥ 1.
size_t mlcc_utf8_last(const char *text, size_t length);
size_t mlcc_utf8_encode(uint32_t code, char out[MLCC_UTF8_MAX_BYTES]);

// GPT-2's alphabet: one printable character stands for each byte (openai/gpt-2, encoder.py, bytes_to_unicode).
uint32_t mlcc_byte_to_character(unsigned char byte);
int mlcc_character_to_byte(uint32_t code); // -1 when the character stands for no byte
// Appends the bytes of `text` in that alphabet.
void mlcc_byte_level_map(const char *text, size_t length, mlcc_bytes *out);

// Properties.
bool mlcc_is_whitespace(uint32_t code);      // White_Space
bool mlcc_is_numeric(uint32_t code);         // general category N
bool mlcc_is_letter(uint32_t code);          // general category L
bool mlcc_is_punctuation(uint32_t code);     // ASCII punctuation or general category P
bool mlcc_is_mark(uint32_t code);            // general category M
bool mlcc_is_nonspacing_mark(uint32_t code); // general category Mn

// Letters and marks by how patterns of words tell them apart.
typedef enum mlcc_letter_kind {
    MLCC_NO_LETTER,
    MLCC_UPPER_LETTER,    // Lu, Lt
    MLCC_LOWER_LETTER,    // Ll
    MLCC_CASELESS_LETTER, // Lm, Lo
    MLCC_MARK,            // M
} mlcc_letter_kind;
mlcc_letter_kind mlcc_letter_kind_of(uint32_t code);

bool mlcc_is_other(uint32_t code); // general category C, but not what is unassigned
bool mlcc_is_chinese(
    uint32_t code); // the blocks that BERT sets apart (google-research/bert, tokenization.py)
// Bytes of the extended grapheme cluster at the start of valid text, length ≥ 1 (UAX 29).
size_t mlcc_grapheme_bytes(const char *text, size_t length);

typedef enum mlcc_unicode_form {
    MLCC_NFC,
    MLCC_NFD,
    MLCC_NFKC,
    MLCC_NFKD,
    MLCC_N_UNICODE_FORMS,
} mlcc_unicode_form;

// Appends valid text in a normal form; false when memory ends. Linear also for long rows of combining marks.
bool mlcc_unicode_normalize(
    const char *text, size_t length, mlcc_unicode_form form, mlcc_bytes *out);
// Appends valid text in lower case (full, unconditional mapping).
void mlcc_unicode_lowercase(const char *text, size_t length, mlcc_bytes *out);
// The upper-case form of one character where that is one character, else the character itself.
uint32_t mlcc_unicode_uppercase(uint32_t code);

#endif
