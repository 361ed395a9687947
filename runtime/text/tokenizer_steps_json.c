// Normalizer, pre_tokenizer, post_processor and decoder of tokenizer.json. Each is one step or a Sequence of steps (of Sequences …),
// which is read into one flat list. A table per kind names the types and their readers.
#include "runtime/text/tokenizer_json.h"

#include "runtime/text/unicode.h"

#include <inttypes.h>
#include <string.h>

typedef mlcc_status *read_step(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place);

typedef struct step_type {
    const char *name;
    read_step *read;
} step_type;

// What Sequence is called in each kind, and the types it may hold.
typedef struct step_kind {
    const char *name;     // "normalizer"
    const char *list_key; // "normalizers"
    const step_type *types;
    size_t n_types;
} step_kind;

// ---- what all steps share ------------------------------------------------------------------------------------

static mlcc_status *unknown_type(
    const mlcc_tokenizer_reader *reader, const step_kind *kind, const char *place,
    const char *type) {
    char *known = mlcc_arena_strdup(reader->arena, "Sequence");
    for (size_t i = 0; i < kind->n_types; i++) {
        known = mlcc_arena_printf(reader->arena, "%s, %s", known, kind->types[i].name);
    }
    return MLCC_ERROR(
        UNSUPPORTED, "'%s': %s.type is '%s', accepted are %s", reader->file, place, type, known);
}

static mlcc_status *read_any(
    const mlcc_tokenizer_reader *reader, const step_kind *kind, const mlcc_json_value *value,
    const char *place) {
    if (mlcc_json_kind_of(value) != MLCC_JSON_OBJECT) {
        return MLCC_ERROR(
            INVALID, "'%s': %s is %s, an object is expected", reader->file, place,
            mlcc_json_kind_text(mlcc_json_kind_of(value)));
    }
    const char *type;
    MLCC_TRY(mlcc_tokenizer_note(reader, place, mlcc_json_get_text(value, "type", true, &type)));
    if (strcmp(type, "Sequence") == 0) {
        const mlcc_json_value *list;
        MLCC_TRY(mlcc_tokenizer_note(
            reader, place, mlcc_json_get_array(value, kind->list_key, true, &list)));
        for (size_t i = 0; i < mlcc_json_count(list); i++) {
            const char *inner =
                mlcc_arena_printf(reader->arena, "%s.%s[%zu]", place, kind->list_key, i);
            MLCC_TRY(read_any(reader, kind, mlcc_json_at(list, i), inner));
        }
        return NULL;
    }
    for (size_t i = 0; i < kind->n_types; i++) {
        if (strcmp(kind->types[i].name, type) != 0) continue;
        return mlcc_tokenizer_note(reader, place, kind->types[i].read(reader, value, place));
    }
    return unknown_type(reader, kind, place, type);
}

static mlcc_status *read_copy(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place,
    const char *key, const char **text, size_t *length) {
    MLCC_TRY(mlcc_tokenizer_read_string(reader, value, place, key, text, length));
    *text = mlcc_bytes_keep(reader->arena, *text, *length);
    return NULL;
}

// A string of exactly one character.
static mlcc_status *read_character(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place,
    const char *key, const char **text, size_t *length) {
    MLCC_TRY(read_copy(reader, value, place, key, text, length));
    uint32_t code;
    if (*length != 0 && mlcc_utf8_decode(*text, &code) == *length) return NULL;
    return MLCC_ERROR(
        INVALID, "'%s': %s.%s is '%s', one character is expected", reader->file, place, key, *text);
}

// {"String": …} or {"Regex": …}.
static mlcc_status *read_pattern(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place,
    mlcc_pattern *out) {
    const mlcc_json_value *pattern;
    MLCC_TRY(mlcc_json_get_object(value, "pattern", true, &pattern));
    const char *inner = mlcc_arena_printf(reader->arena, "%s.pattern", place);
    bool has_string = mlcc_json_get(pattern, "String") != NULL;
    bool has_regex = mlcc_json_get(pattern, "Regex") != NULL;
    if (has_string == has_regex) {
        return MLCC_ERROR(
            INVALID, "'%s': %s needs either 'String' or 'Regex'", reader->file, inner);
    }
    const char *text;
    size_t length;
    MLCC_TRY(mlcc_tokenizer_read_string(
        reader, pattern, inner, has_string ? "String" : "Regex", &text, &length));
    if (has_string) return mlcc_pattern_of_literal(text, length, reader->arena, out);
    return mlcc_pattern_of_regex(text, length, out);
}

// ---- normalizer ------------------------------------------------------------------------------------------------

static mlcc_normalize_step *new_normalize_step(
    const mlcc_tokenizer_reader *reader, mlcc_normalize_kind kind) {
    mlcc_normalizer *list = &reader->tokenizer->normalizer;
    MLCC_ARENA_GROW(reader->arena, list->steps, list->n_steps, list->capacity);
    mlcc_normalize_step *step = &list->steps[list->n_steps++];
    *step = (mlcc_normalize_step){.kind = kind};
    return step;
}

static mlcc_status *read_normalize_prepend(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) {
    mlcc_normalize_step *step = new_normalize_step(reader, MLCC_NORMALIZE_PREPEND);
    return read_copy(reader, value, place, "prepend", &step->content, &step->content_bytes);
}

static mlcc_status *read_normalize_replace(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) {
    mlcc_normalize_step *step = new_normalize_step(reader, MLCC_NORMALIZE_REPLACE);
    MLCC_TRY(read_pattern(reader, value, place, &step->pattern));
    return read_copy(reader, value, place, "content", &step->content, &step->content_bytes);
}

static mlcc_status *read_normalize_form(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) {
    (void)place;
    static const char *const names[] = {
        [MLCC_NFC] = "NFC", [MLCC_NFD] = "NFD", [MLCC_NFKC] = "NFKC", [MLCC_NFKD] = "NFKD"};
    const char *type = mlcc_json_text(mlcc_json_get(value, "type"), NULL);
    mlcc_normalize_step *step = new_normalize_step(reader, MLCC_NORMALIZE_FORM);
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i], type) == 0) step->form = (mlcc_unicode_form)i;
    }
    return NULL;
}

static mlcc_status *read_normalize_strip(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) {
    (void)place;
    mlcc_normalize_step *step = new_normalize_step(reader, MLCC_NORMALIZE_STRIP);
    MLCC_TRY(mlcc_json_get_bool(value, "strip_left", true, &step->strips_left));
    return mlcc_json_get_bool(value, "strip_right", true, &step->strips_right);
}

// Steps without keys.
#define PLAIN_NORMALIZE_STEP(function, kind) \
    static mlcc_status *function( \
        const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) { \
        (void)value; \
        (void)place; \
        new_normalize_step(reader, kind); \
        return NULL; \
    }
PLAIN_NORMALIZE_STEP(read_normalize_lowercase, MLCC_NORMALIZE_LOWERCASE)
PLAIN_NORMALIZE_STEP(read_normalize_strip_accents, MLCC_NORMALIZE_STRIP_ACCENTS)
PLAIN_NORMALIZE_STEP(read_normalize_byte_level, MLCC_NORMALIZE_BYTE_LEVEL)
PLAIN_NORMALIZE_STEP(read_normalize_nmt, MLCC_NORMALIZE_NMT)

mlcc_status *mlcc_tokenizer_read_normalizer(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value) {
    static const step_type types[] = {
        {"Prepend", read_normalize_prepend},
        {"Replace", read_normalize_replace},
        {"NFC", read_normalize_form},
        {"NFD", read_normalize_form},
        {"NFKC", read_normalize_form},
        {"NFKD", read_normalize_form},
        {"Lowercase", read_normalize_lowercase},
        {"Strip", read_normalize_strip},
        {"StripAccents", read_normalize_strip_accents},
        {"ByteLevel", read_normalize_byte_level},
        {"Nmt", read_normalize_nmt},
    };
    static const step_kind kind = {
        "normalizer", "normalizers", types, sizeof types / sizeof *types};
    if (mlcc_json_kind_of(value) == MLCC_JSON_NULL) return NULL;
    return read_any(reader, &kind, value, kind.name);
}

// ---- pre_tokenizer -----------------------------------------------------------------------------------------------

// GPT-2's own (openai/gpt-2, encoder.py).
static const char gpt2_pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static mlcc_pretokenize_step *new_pretokenize_step(
    const mlcc_tokenizer_reader *reader, mlcc_pretokenize_kind kind) {
    mlcc_pretokenizer *list = &reader->tokenizer->pretokenizer;
    MLCC_ARENA_GROW(reader->arena, list->steps, list->n_steps, list->capacity);
    mlcc_pretokenize_step *step = &list->steps[list->n_steps++];
    *step = (mlcc_pretokenize_step){.kind = kind};
    return step;
}

static mlcc_status *read_behavior(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place,
    bool is_required, mlcc_split_behavior *out) {
    static const char *const names[] = {
        [MLCC_SPLIT_REMOVED] = "Removed",
        [MLCC_SPLIT_ISOLATED] = "Isolated",
        [MLCC_SPLIT_MERGED_WITH_PREVIOUS] = "MergedWithPrevious",
        [MLCC_SPLIT_MERGED_WITH_NEXT] = "MergedWithNext",
        [MLCC_SPLIT_CONTIGUOUS] = "Contiguous",
    };
    const char *name = "Isolated";
    MLCC_TRY(mlcc_json_get_text(value, "behavior", is_required, &name));
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i], name) != 0) continue;
        *out = (mlcc_split_behavior)i;
        return NULL;
    }
    return MLCC_ERROR(
        INVALID,
        "'%s': %s.behavior is '%s', accepted are Removed, Isolated, MergedWithPrevious, "
        "MergedWithNext, Contiguous",
        reader->file, place, name);
}

static mlcc_status *read_split(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) {
    mlcc_pretokenize_step *step = new_pretokenize_step(reader, MLCC_PRETOKENIZE_SPLIT);
    MLCC_TRY(read_behavior(reader, value, place, true, &step->behavior));
    MLCC_TRY(mlcc_json_get_bool(value, "invert", false, &step->inverts));
    return read_pattern(reader, value, place, &step->pattern);
}

static mlcc_status *read_byte_level(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) {
    (void)place;
    mlcc_pretokenize_step *step = new_pretokenize_step(reader, MLCC_PRETOKENIZE_BYTE_LEVEL);
    step->has_pattern = true;
    MLCC_TRY(mlcc_json_get_bool(value, "add_prefix_space", true, &step->adds_space));
    MLCC_TRY(mlcc_json_get_bool(value, "use_regex", false, &step->has_pattern));
    if (!step->has_pattern) return NULL;
    return mlcc_pattern_of_regex(gpt2_pattern, sizeof gpt2_pattern - 1, &step->pattern);
}

// Shared with the decoder. Files from before 2023 have add_prefix_space only.
static mlcc_status *read_scheme(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place,
    mlcc_prepend_scheme *out) {
    bool adds_space = true;
    const char *name = NULL;
    MLCC_TRY(mlcc_json_get_bool(value, "add_prefix_space", false, &adds_space));
    MLCC_TRY(mlcc_json_get_text(value, "prepend_scheme", false, &name));
    if (name == NULL) name = adds_space ? "always" : "never";
    if (strcmp(name, "always") == 0) {
        *out = MLCC_PREPEND_ALWAYS;
    } else if (strcmp(name, "first") == 0) {
        *out = MLCC_PREPEND_FIRST;
    } else if (strcmp(name, "never") == 0) {
        *out = MLCC_PREPEND_NEVER;
    } else {
        return MLCC_ERROR(
            INVALID, "'%s': %s.prepend_scheme is '%s', accepted are always, first, never",
            reader->file, place, name);
    }
    if (adds_space || *out == MLCC_PREPEND_NEVER) return NULL;
    return MLCC_ERROR(
        INVALID,
        "'%s': %s.add_prefix_space is false, but prepend_scheme is '%s'; 'never' would agree",
        reader->file, place, name);
}

static mlcc_status *read_metaspace(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) {
    mlcc_pretokenize_step *step = new_pretokenize_step(reader, MLCC_PRETOKENIZE_METASPACE);
    MLCC_TRY(read_character(
        reader, value, place, "replacement", &step->replacement, &step->replacement_bytes));
    MLCC_TRY(read_scheme(reader, value, place, &step->scheme));
    step->has_pattern = true;
    MLCC_TRY(mlcc_json_get_bool(value, "split", false, &step->has_pattern));
    return mlcc_pattern_of_literal(
        step->replacement, step->replacement_bytes, reader->arena, &step->pattern);
}

static mlcc_status *read_whitespace(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) {
    (void)value;
    (void)place;
    // Rust's \w has the two joiners.
    static const char words[] = "[\\w\\u200C\\u200D]+|[^\\w\\u200C\\u200D\\s]+";
    mlcc_pretokenize_step *step = new_pretokenize_step(reader, MLCC_PRETOKENIZE_SPLIT);
    step->behavior = MLCC_SPLIT_REMOVED;
    step->inverts = true;
    return mlcc_pattern_of_regex(words, sizeof words - 1, &step->pattern);
}

static mlcc_status *read_whitespace_split(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) {
    (void)value;
    (void)place;
    mlcc_pretokenize_step *step = new_pretokenize_step(reader, MLCC_PRETOKENIZE_SPLIT);
    step->behavior = MLCC_SPLIT_REMOVED;
    step->pattern = mlcc_pattern_of_test(mlcc_is_whitespace);
    return NULL;
}

static mlcc_status *read_digits(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) {
    (void)place;
    bool is_individual = false;
    MLCC_TRY(mlcc_json_get_bool(value, "individual_digits", true, &is_individual));
    mlcc_pretokenize_step *step = new_pretokenize_step(reader, MLCC_PRETOKENIZE_SPLIT);
    step->behavior = is_individual ? MLCC_SPLIT_ISOLATED : MLCC_SPLIT_CONTIGUOUS;
    step->pattern = mlcc_pattern_of_test(mlcc_is_numeric);
    return NULL;
}

static mlcc_status *read_punctuation(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) {
    mlcc_pretokenize_step *step = new_pretokenize_step(reader, MLCC_PRETOKENIZE_SPLIT);
    step->pattern = mlcc_pattern_of_test(mlcc_is_punctuation);
    return read_behavior(reader, value, place, false, &step->behavior);
}

static mlcc_status *read_delimiter(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) {
    const char *delimiter;
    size_t length;
    MLCC_TRY(read_character(reader, value, place, "delimiter", &delimiter, &length));
    mlcc_pretokenize_step *step = new_pretokenize_step(reader, MLCC_PRETOKENIZE_SPLIT);
    step->behavior = MLCC_SPLIT_REMOVED;
    return mlcc_pattern_of_literal(delimiter, length, reader->arena, &step->pattern);
}

mlcc_status *mlcc_tokenizer_read_pretokenizer(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value) {
    static const step_type types[] = {
        {"Split", read_split},
        {"ByteLevel", read_byte_level},
        {"Metaspace", read_metaspace},
        {"Whitespace", read_whitespace},
        {"Digits", read_digits},
        {"WhitespaceSplit", read_whitespace_split},
        {"Delimiter", read_delimiter},
        {"CharDelimiterSplit", read_delimiter},
        {"Punctuation", read_punctuation},
    };
    static const step_kind kind = {
        "pre_tokenizer", "pretokenizers", types, sizeof types / sizeof *types};
    if (mlcc_json_kind_of(value) == MLCC_JSON_NULL) return NULL;
    return read_any(reader, &kind, value, kind.name);
}

// ---- decoder -------------------------------------------------------------------------------------------------------

static mlcc_decode_step *new_decode_step(
    const mlcc_tokenizer_reader *reader, mlcc_decode_kind kind) {
    mlcc_decoder *list = &reader->tokenizer->decoder;
    MLCC_ARENA_GROW(reader->arena, list->steps, list->n_steps, list->capacity);
    mlcc_decode_step *step = &list->steps[list->n_steps++];
    *step = (mlcc_decode_step){.kind = kind};
    return step;
}

#define PLAIN_DECODE_STEP(function, kind) \
    static mlcc_status *function( \
        const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) { \
        (void)value; \
        (void)place; \
        new_decode_step(reader, kind); \
        return NULL; \
    }
PLAIN_DECODE_STEP(read_decode_byte_level, MLCC_DECODE_BYTE_LEVEL)
PLAIN_DECODE_STEP(read_decode_byte_fallback, MLCC_DECODE_BYTE_FALLBACK)
PLAIN_DECODE_STEP(read_decode_fuse, MLCC_DECODE_FUSE)

static mlcc_status *read_decode_replace(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) {
    mlcc_decode_step *step = new_decode_step(reader, MLCC_DECODE_REPLACE);
    MLCC_TRY(read_pattern(reader, value, place, &step->pattern));
    return read_copy(reader, value, place, "content", &step->content, &step->content_bytes);
}

static mlcc_status *read_decode_strip(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) {
    int64_t start = 0;
    int64_t stop = 0;
    mlcc_decode_step *step = new_decode_step(reader, MLCC_DECODE_STRIP);
    MLCC_TRY(read_character(reader, value, place, "content", &step->content, &step->content_bytes));
    MLCC_TRY(mlcc_json_get_i64(value, "start", true, 0, INT32_MAX, &start));
    MLCC_TRY(mlcc_json_get_i64(value, "stop", true, 0, INT32_MAX, &stop));
    step->start = (size_t)start;
    step->stop = (size_t)stop;
    return NULL;
}

static mlcc_status *read_decode_metaspace(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) {
    mlcc_prepend_scheme scheme = MLCC_PREPEND_ALWAYS;
    mlcc_decode_step *step = new_decode_step(reader, MLCC_DECODE_METASPACE);
    MLCC_TRY(
        read_character(reader, value, place, "replacement", &step->content, &step->content_bytes));
    MLCC_TRY(read_scheme(reader, value, place, &scheme));
    step->drops_first = scheme != MLCC_PREPEND_NEVER;
    return NULL;
}

static mlcc_status *read_decode_suffix(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) {
    mlcc_decode_step *step = new_decode_step(reader, MLCC_DECODE_SUFFIX);
    MLCC_TRY(read_copy(reader, value, place, "suffix", &step->content, &step->content_bytes));
    if (step->content_bytes != 0) return NULL;
    return MLCC_ERROR(
        INVALID, "'%s': %s.suffix is empty, the end-of-word mark is expected", reader->file, place);
}

mlcc_status *mlcc_tokenizer_read_decoder(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value) {
    static const step_type types[] = {
        {"ByteLevel", read_decode_byte_level},
        {"Replace", read_decode_replace},
        {"ByteFallback", read_decode_byte_fallback},
        {"Fuse", read_decode_fuse},
        {"Strip", read_decode_strip},
        {"Metaspace", read_decode_metaspace},
        {"BPEDecoder", read_decode_suffix},
    };
    static const step_kind kind = {"decoder", "decoders", types, sizeof types / sizeof *types};
    if (mlcc_json_kind_of(value) != MLCC_JSON_NULL)
        return read_any(reader, &kind, value, kind.name);
    new_decode_step(reader, MLCC_DECODE_JOIN);
    return NULL;
}
