// A pattern becomes a small program whose jumps are relative, so that fragments can be moved; all states run at once over the name.
#include "frontend/hf/name_pattern.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

enum { MAX_INSTRUCTIONS = 512, MAX_DEPTH = 16, SET_WORDS = 8 };

typedef enum pattern_op {
    PATTERN_SET,   // one byte of the set
    PATTERN_SPLIT, // go on at both + a and + b
    PATTERN_JUMP,  // go on at + a
    PATTERN_BEGIN, // only at the start of the name
    PATTERN_END,   // only at its end
    PATTERN_MATCH
} pattern_op;

typedef struct pattern_instruction {
    pattern_op op;
    int32_t a, b;
    uint32_t set[SET_WORDS];
} pattern_instruction;

typedef struct pattern_compiler {
    const char *pattern, *at;
    int32_t n, depth;
    pattern_instruction code[MAX_INSTRUCTIONS];
} pattern_compiler;

static mlcc_status *refuse(const pattern_compiler *c, const char *what) {
    return MLCC_ERROR(
        UNSUPPORTED,
        "the module pattern '%.200s' uses %s at character %zu; accepted are literals, '.', "
        "classes, groups, '|', '*', '+', '?', '^' and '$'",
        c->pattern, what, (size_t)(c->at - c->pattern) + 1);
}

// Opens a gap of n instructions at `begin`.
static mlcc_status *insert(pattern_compiler *c, int32_t begin, int32_t n) {
    // One stays free for the final match.
    if (c->n + n >= MAX_INSTRUCTIONS) return refuse(c, "more than this program holds");
    memmove(
        &c->code[begin + n], &c->code[begin], (size_t)(c->n - begin) * sizeof(pattern_instruction));
    memset(&c->code[begin], 0, (size_t)n * sizeof(pattern_instruction));
    c->n += n;
    return NULL;
}

static void set_add(uint32_t *set, unsigned byte) {
    set[byte / 32] |= 1u << byte % 32;
}

static bool set_has(const uint32_t *set, unsigned byte) {
    return (set[byte / 32] >> byte % 32 & 1u) != 0;
}

// \d, \w, \s and escaped punctuation; c->at stands behind the backslash.
static mlcc_status *add_escape(pattern_compiler *c, uint32_t *set) {
    unsigned char kind = (unsigned char)*c->at;
    if (kind != 0 && ispunct(kind)) {
        set_add(set, kind);
    } else if (kind == 'd' || kind == 'w' || kind == 's') {
        for (unsigned byte = 1; byte < 128; byte++) {
            bool is_member = kind == 'd'   ? isdigit((int)byte) != 0
                             : kind == 's' ? isspace((int)byte) != 0
                                           : isalnum((int)byte) != 0 || byte == '_';
            if (is_member) set_add(set, byte);
        }
    } else {
        return refuse(c, "an unknown escape");
    }
    c->at++;
    return NULL;
}

// Behind '['.
static mlcc_status *add_class(pattern_compiler *c, uint32_t *set) {
    bool is_negated = *c->at == '^';
    if (is_negated) c->at++;
    bool is_first = true;
    while (is_first || *c->at != ']') {
        unsigned char low = (unsigned char)*c->at;
        if (low == 0) return refuse(c, "a class without ']'");
        c->at++;
        is_first = false;
        if (low == '\\') {
            MLCC_TRY(add_escape(c, set));
            continue;
        }
        unsigned char high = low;
        if (c->at[0] == '-' && c->at[1] != ']' && c->at[1] != 0) {
            high = (unsigned char)c->at[1];
            if (high == '\\' || high < low) return refuse(c, "an unknown range");
            c->at += 2;
        }
        for (unsigned byte = low; byte <= high; byte++) set_add(set, byte);
    }
    c->at++;
    if (is_negated) {
        for (size_t i = 0; i < SET_WORDS; i++) set[i] = ~set[i];
        set[0] &= ~1u; // a name holds no NUL
    }
    return NULL;
}

static mlcc_status *compile_alternatives(pattern_compiler *c);

// Behind '('.
static mlcc_status *compile_group(pattern_compiler *c) {
    if (c->at[0] == '?') {
        if (c->at[1] != ':') return refuse(c, "a group of an unknown kind");
        c->at += 2;
    }
    if (++c->depth > MAX_DEPTH) return refuse(c, "more nested groups than this program holds");
    MLCC_TRY(compile_alternatives(c));
    c->depth--;
    if (*c->at != ')') return refuse(c, "a group without ')'");
    c->at++;
    return NULL;
}

static mlcc_status *compile_atom(pattern_compiler *c) {
    int32_t begin = c->n;
    unsigned char byte = (unsigned char)*c->at++;
    if (byte == '(') return compile_group(c);
    MLCC_TRY(insert(c, begin, 1));
    pattern_instruction *code = &c->code[begin];
    code->op = PATTERN_SET;
    switch (byte) {
    case '^': code->op = PATTERN_BEGIN; return NULL;
    case '$': code->op = PATTERN_END; return NULL;
    case '\\': return add_escape(c, code->set);
    case '[': return add_class(c, code->set);
    case '.': memset(code->set, 0xff, sizeof code->set); return NULL;
    case '*':
    case '+':
    case '?': c->at--; return refuse(c, "a quantifier without anything before it");
    case '{': c->at--; return refuse(c, "a counted repetition");
    default: set_add(code->set, byte); return NULL;
    }
}

//   x*   split +1, end; x; jump -split         x+   x; split -x, +1         x?   split +1, end; x
static mlcc_status *compile_repetition(pattern_compiler *c) {
    int32_t begin = c->n;
    MLCC_TRY(compile_atom(c));
    char quantifier = *c->at;
    if (quantifier == '{') return refuse(c, "a counted repetition");
    if (quantifier != '*' && quantifier != '+' && quantifier != '?') return NULL;
    c->at++;
    int32_t length = c->n - begin;
    if (quantifier == '+') {
        MLCC_TRY(insert(c, c->n, 1));
        c->code[c->n - 1] = (pattern_instruction){PATTERN_SPLIT, -length, 1, {0}};
    } else {
        MLCC_TRY(insert(c, begin, 1));
        bool loops = quantifier == '*';
        if (loops) MLCC_TRY(insert(c, c->n, 1));
        c->code[begin] = (pattern_instruction){PATTERN_SPLIT, 1, length + 1 + loops, {0}};
        if (loops) c->code[c->n - 1] = (pattern_instruction){PATTERN_JUMP, -length - 1, 0, {0}};
    }
    if (*c->at == '?') c->at++; // lazy: the same names match
    if (*c->at == '*' || *c->at == '+' || *c->at == '?' || *c->at == '{')
        return refuse(c, "a repeated quantifier");
    return NULL;
}

//   a|b   split +1, b; a; jump end; b
static mlcc_status *compile_alternatives(pattern_compiler *c) {
    int32_t begin = c->n;
    while (*c->at != 0 && *c->at != '|' && *c->at != ')') MLCC_TRY(compile_repetition(c));
    if (*c->at != '|') return NULL;
    c->at++;
    MLCC_TRY(insert(c, begin, 1));
    MLCC_TRY(insert(c, c->n, 1));
    int32_t jump = c->n - 1;
    c->code[begin] = (pattern_instruction){PATTERN_SPLIT, 1, c->n - begin, {0}};
    if (++c->depth > 8 * MAX_DEPTH) return refuse(c, "more alternatives than this program holds");
    MLCC_TRY(compile_alternatives(c));
    c->depth--;
    c->code[jump] = (pattern_instruction){PATTERN_JUMP, c->n - jump, 0, {0}};
    return NULL;
}

// ---- matching --------------------------------------------------------------------------------------------

typedef struct pattern_states {
    int32_t n;
    int32_t at[MAX_INSTRUCTIONS];
    bool is_on[MAX_INSTRUCTIONS];
} pattern_states;

static void add_state(pattern_states *states, int32_t at) {
    if (states->is_on[at]) return;
    states->is_on[at] = true;
    states->at[states->n++] = at;
}

// Follows everything that reads no byte; returns whether the end of the program is reached.
static bool close_states(
    const pattern_instruction *code, pattern_states *states, bool is_begin, bool is_end) {
    for (int32_t i = 0; i < states->n; i++) {
        int32_t at = states->at[i];
        switch (code[at].op) {
        case PATTERN_SET: break;
        case PATTERN_JUMP: add_state(states, at + code[at].a); break;
        case PATTERN_SPLIT:
            add_state(states, at + code[at].a);
            add_state(states, at + code[at].b);
            break;
        case PATTERN_BEGIN:
            if (is_begin) add_state(states, at + 1);
            break;
        case PATTERN_END:
            if (is_end) add_state(states, at + 1);
            break;
        case PATTERN_MATCH: return true;
        }
    }
    return false;
}

static bool run(const pattern_instruction *code, const char *name) {
    pattern_states now = {0};
    add_state(&now, 0);
    for (const char *at = name;; at++) {
        if (close_states(code, &now, at == name, *at == 0)) return true;
        if (*at == 0) return false;
        pattern_states next = {0};
        for (int32_t i = 0; i < now.n; i++) {
            const pattern_instruction *instruction = &code[now.at[i]];
            if (instruction->op == PATTERN_SET && set_has(instruction->set, (unsigned char)*at))
                add_state(&next, now.at[i] + 1);
        }
        if (next.n == 0) return false;
        now = next;
    }
}

mlcc_status *hf_name_pattern_matches(const char *pattern, const char *name, bool *out) {
    *out = false;
    pattern_compiler c = {.pattern = pattern, .at = pattern};
    MLCC_TRY(compile_alternatives(&c));
    if (*c.at != 0) return refuse(&c, "a ')' without '('");
    c.code[c.n].op = PATTERN_MATCH;
    *out = run(c.code, name);
    return NULL;
}
