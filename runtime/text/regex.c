#define PCRE2_CODE_UNIT_WIDTH 8
#include "runtime/text/regex.h"

#include <pcre2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// One search may take this many steps (about a second), the interpreter this much memory, and machine code this much stack.
enum {
    MATCH_STEPS_MAX = 100 * 1000 * 1000,
    MATCH_HEAP_MAX_KIB = 1024 * 1024,
    STACK_START_BYTES = 32 * 1024,
    STACK_MAX_BYTES = 16 * 1024 * 1024,
    PATTERN_MAX_BYTES = 64 * 1024,
};

struct mlcc_regex {
    pcre2_code *code;
    char *source; // as it was given
    size_t source_bytes;
};

struct mlcc_regex_scratch {
    pcre2_match_data *match;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

static mlcc_status *compile_error(
    int code, size_t place, const char *pattern, size_t length, const mlcc_bytes *translated) {
    PCRE2_UCHAR reason[256];
    if (pcre2_get_error_message(code, reason, sizeof reason) < 0) reason[0] = '\0';
    int shown = length < 200 ? (int)length : 200;
    // The place is one in the translated pattern; it is only worth telling when nothing was rewritten.
    if (translated->length == length && memcmp(translated->data, pattern, length) == 0) {
        return MLCC_ERROR(
            INVALID, "regular expression '%.*s' does not compile: %s at byte %zu", shown, pattern,
            (const char *)reason, place);
    }
    return MLCC_ERROR(
        INVALID, "regular expression '%.*s' does not compile: %s", shown, pattern,
        (const char *)reason);
}

static mlcc_status *compile(
    const char *pattern, size_t length, const mlcc_bytes *translated, pcre2_code **out) {
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (context == NULL) return MLCC_ERROR(NO_MEMORY, "host memory ended while compiling a regex");
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    int code = 0;
    PCRE2_SIZE place = 0;
    uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
    const char *text = translated->length == 0 ? "" : translated->data;
    *out = pcre2_compile((PCRE2_SPTR)text, translated->length, options, &code, &place, context);
    pcre2_compile_context_free(context);
    if (*out == NULL) return compile_error(code, place, pattern, length, translated);
    // Without machine code (no memory that may be executed) the interpreter does the same, only slower.
    (void)pcre2_jit_compile(*out, PCRE2_JIT_COMPLETE);
    return NULL;
}

mlcc_status *mlcc_regex_compile(const char *pattern, size_t length, mlcc_regex **out) {
    *out = NULL;
    if (length > PATTERN_MAX_BYTES) {
        return MLCC_ERROR(
            UNSUPPORTED, "regular expression of %zu bytes, at most %d are accepted", length,
            PATTERN_MAX_BYTES);
    }
    mlcc_bytes translated = {0};
    pcre2_code *code = NULL;
    mlcc_status *status = mlcc_regex_translate(pattern, length, &translated);
    if (status == NULL) status = mlcc_bytes_check(&translated);
    if (status == NULL) status = compile(pattern, length, &translated, &code);
    mlcc_bytes_free(&translated);
    if (status != NULL) return status;
    mlcc_regex *regex = malloc(sizeof *regex);
    char *source = malloc(length + 1);
    if (regex == NULL || source == NULL) {
        pcre2_code_free(code);
        free(regex);
        free(source);
        return MLCC_ERROR(NO_MEMORY, "host memory ended while compiling a regex");
    }
    memcpy(source, pattern, length);
    source[length] = '\0';
    *regex = (mlcc_regex){.code = code, .source = source, .source_bytes = length};
    *out = regex;
    return NULL;
}

const char *mlcc_regex_source(const mlcc_regex *regex, size_t *length) {
    *length = regex->source_bytes;
    return regex->source;
}

bool mlcc_regex_is_script(const char *name, size_t length) {
    char pattern[80];
    int n =
        snprintf(pattern, sizeof pattern, "\\p{sc:%.*s}", (int)(length < 64 ? length : 64), name);
    int code;
    PCRE2_SIZE place;
    pcre2_code *compiled =
        pcre2_compile((PCRE2_SPTR)pattern, (PCRE2_SIZE)n, PCRE2_UTF, &code, &place, NULL);
    pcre2_code_free(compiled);
    return compiled != NULL;
}

void mlcc_regex_free(mlcc_regex *regex) {
    if (regex == NULL) return;
    pcre2_code_free(regex->code);
    free(regex->source);
    free(regex);
}

mlcc_regex_scratch *mlcc_regex_scratch_create(void) {
    mlcc_regex_scratch *scratch = calloc(1, sizeof *scratch);
    if (scratch == NULL) return NULL;
    scratch->match = pcre2_match_data_create(1, NULL);
    scratch->context = pcre2_match_context_create(NULL);
    if (scratch->match == NULL || scratch->context == NULL) {
        mlcc_regex_scratch_free(scratch);
        return NULL;
    }
    pcre2_set_match_limit(scratch->context, MATCH_STEPS_MAX);
    pcre2_set_heap_limit(scratch->context, MATCH_HEAP_MAX_KIB);
    scratch->stack = pcre2_jit_stack_create(STACK_START_BYTES, STACK_MAX_BYTES, NULL);
    if (scratch->stack != NULL) pcre2_jit_stack_assign(scratch->context, NULL, scratch->stack);
    return scratch;
}

void mlcc_regex_scratch_free(mlcc_regex_scratch *scratch) {
    if (scratch == NULL) return;
    pcre2_match_data_free(scratch->match);
    pcre2_match_context_free(scratch->context);
    pcre2_jit_stack_free(scratch->stack);
    free(scratch);
}

static mlcc_status *match_error(int code, size_t length) {
    switch (code) {
    case PCRE2_ERROR_NOMEMORY:
        return MLCC_ERROR(NO_MEMORY, "host memory ended while matching a regular expression");
    case PCRE2_ERROR_MATCHLIMIT:
    case PCRE2_ERROR_HEAPLIMIT:
    case PCRE2_ERROR_DEPTHLIMIT:
        return MLCC_ERROR(
            UNSUPPORTED,
            "a regular expression of the tokenizer needs too many steps on a text of "
            "%zu bytes; give the text in smaller parts",
            length);
    default: break;
    }
    PCRE2_UCHAR reason[256];
    if (pcre2_get_error_message(code, reason, sizeof reason) < 0) reason[0] = '\0';
    return MLCC_ERROR(INTERNAL, "matching a regular expression failed: %s", (const char *)reason);
}

mlcc_status *mlcc_regex_find(
    const mlcc_regex *regex, mlcc_regex_scratch *scratch, const char *text, size_t length,
    size_t from, bool *found, size_t *begin, size_t *end) {
    *found = false;
    *begin = *end = 0;
    if (length == 0) text = "";
    int code = pcre2_match(
        regex->code, (PCRE2_SPTR)text, length, from, PCRE2_NO_UTF_CHECK, scratch->match,
        scratch->context);
    if (code == PCRE2_ERROR_JIT_STACKLIMIT) {
        code = pcre2_match(
            regex->code, (PCRE2_SPTR)text, length, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
            scratch->match, scratch->context);
    }
    if (code == PCRE2_ERROR_NOMATCH) return NULL;
    if (code < 0) return match_error(code, length);
    const PCRE2_SIZE *pair = pcre2_get_ovector_pointer(scratch->match);
    // \K inside a lookahead can put the start behind the end; Oniguruma has no such matches.
    if (pair[0] > pair[1] || pair[0] < from) {
        return MLCC_ERROR(UNSUPPORTED, "a regular expression with \\K moves a match backwards");
    }
    *found = true;
    *begin = pair[0];
    *end = pair[1];
    return NULL;
}
