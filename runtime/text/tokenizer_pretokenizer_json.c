// The pre_tokenizer of tokenizer.json.
#include "runtime/text/tokenizer_steps.h"
#include "runtime/text/unicode.h"

#include <string.h>

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
    return mlcc_steps_read_pattern(reader, value, place, &step->pattern);
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

static mlcc_status *read_metaspace(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) {
    mlcc_pretokenize_step *step = new_pretokenize_step(reader, MLCC_PRETOKENIZE_METASPACE);
    MLCC_TRY(mlcc_steps_read_character(
        reader, value, place, "replacement", &step->replacement, &step->replacement_bytes));
    MLCC_TRY(mlcc_steps_read_scheme(reader, value, place, &step->scheme));
    step->has_pattern = true;
    MLCC_TRY(mlcc_json_get_bool(value, "split", false, &step->has_pattern));
    return mlcc_pattern_of_literal(
        step->replacement, step->replacement_bytes, reader->arena, &step->pattern);
}

static mlcc_status *read_whitespace(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) {
    (void)value;
    (void)place;
    static const char words[] = "[" MLCC_RUST_WORD_ITEMS "]+|[^" MLCC_RUST_WORD_ITEMS "\\s]+";
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
    MLCC_TRY(mlcc_steps_read_character(reader, value, place, "delimiter", &delimiter, &length));
    mlcc_pretokenize_step *step = new_pretokenize_step(reader, MLCC_PRETOKENIZE_SPLIT);
    step->behavior = MLCC_SPLIT_REMOVED;
    return mlcc_pattern_of_literal(delimiter, length, reader->arena, &step->pattern);
}

// White space, then every sign by itself.
static mlcc_status *read_bert(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) {
    MLCC_TRY(read_whitespace_split(reader, value, place));
    mlcc_pretokenize_step *step = new_pretokenize_step(reader, MLCC_PRETOKENIZE_SPLIT);
    step->behavior = MLCC_SPLIT_ISOLATED;
    step->pattern = mlcc_pattern_of_test(mlcc_is_punctuation);
    return NULL;
}

static mlcc_status *read_fixed_length(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) {
    (void)place;
    int64_t length = 0;
    MLCC_TRY(mlcc_json_get_i64(value, "length", true, 1, 65535, &length));
    mlcc_pretokenize_step *step = new_pretokenize_step(reader, MLCC_PRETOKENIZE_SPLIT);
    step->behavior = MLCC_SPLIT_ISOLATED;
    const char *regex = mlcc_arena_printf(reader->arena, "[\\s\\S]{1,%d}", (int)length);
    return mlcc_pattern_of_regex(regex, strlen(regex), &step->pattern);
}

static mlcc_status *read_scripts(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) {
    (void)value;
    (void)place;
    mlcc_pretokenize_step *step = new_pretokenize_step(reader, MLCC_PRETOKENIZE_SPLIT);
    step->behavior = MLCC_SPLIT_REMOVED; // what begins with spaces loses them, as in the reference
    step->inverts = true;
    return mlcc_pattern_of_scripts(&step->pattern);
}

mlcc_status *mlcc_tokenizer_read_pretokenizer(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value) {
    static const mlcc_step_type types[] = {
        {"Split", read_split},
        {"ByteLevel", read_byte_level},
        {"Metaspace", read_metaspace},
        {"Whitespace", read_whitespace},
        {"Digits", read_digits},
        {"WhitespaceSplit", read_whitespace_split},
        {"Delimiter", read_delimiter},
        {"CharDelimiterSplit", read_delimiter},
        {"Punctuation", read_punctuation},
        {"BertPreTokenizer", read_bert},
        {"FixedLength", read_fixed_length},
        {"UnicodeScripts", read_scripts},
    };
    static const mlcc_step_kind kind = {
        "pre_tokenizer", "pretokenizers", types, sizeof types / sizeof *types};
    if (mlcc_json_kind_of(value) == MLCC_JSON_NULL) return NULL;
    return mlcc_steps_read(reader, &kind, value, kind.name);
}
