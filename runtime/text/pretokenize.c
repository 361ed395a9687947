// Steps that only cut make a new list of pieces of the same text; steps that also change characters write a new text.
// Behaviour follows Hugging Face tokenizers 0.23 (pre_tokenizers/, normalizer.rs: split).
#include "runtime/text/pretokenize.h"

#include "runtime/text/unicode.h"

#include <string.h>

typedef struct state {
    const char *text;
    const mlcc_pieces *from; // pieces of text
    mlcc_pieces *to;
    mlcc_pretokenize_scratch *scratch;
} state;

void mlcc_pretokenize_scratch_free(mlcc_pretokenize_scratch *scratch) {
    for (int i = 0; i < 2; i++) {
        mlcc_bytes_free(&scratch->buffers[i]);
        mlcc_pieces_free(&scratch->words[i]);
    }
    mlcc_pieces_free(&scratch->matches);
}

void mlcc_pretokenizer_free(mlcc_pretokenizer *pretokenizer) {
    for (size_t i = 0; i < pretokenizer->n_steps; i++) {
        mlcc_pattern_free(&pretokenizer->steps[i].pattern);
    }
}

// ---- splitting ---------------------------------------------------------------------------------------------

// Adds a piece of `parent` given by offsets inside it; empty ones are dropped.
static void add_part(mlcc_pieces *to, mlcc_piece parent, uint32_t begin, uint32_t end) {
    if (begin == end) return;
    mlcc_pieces_push(
        to, (mlcc_piece){
                .begin = parent.begin + begin,
                .end = parent.begin + end,
                .at_start = parent.at_start && begin == 0,
            });
}

// Neighbours that the behaviour joins become one. `joins` answers for a match flag and that of the neighbour before it.
static void add_joined(
    mlcc_pieces *to, mlcc_piece parent, const mlcc_pieces *matches, mlcc_split_behavior behavior) {
    bool has_open = false;
    bool previous = false;
    uint32_t begin = 0;
    uint32_t end = 0;
    for (size_t i = 0; i < matches->n; i++) {
        mlcc_piece match = matches->items[i];
        bool joins = behavior == MLCC_SPLIT_CONTIGUOUS ? match.is_match == previous
                                                       : match.is_match && !previous;
        if (!has_open || !joins) {
            add_part(to, parent, begin, end);
            begin = match.begin;
            has_open = true;
        }
        end = match.end;
        previous = match.is_match;
    }
    add_part(to, parent, begin, end);
}

// As above from the end: a match is joined with the neighbour behind it, unless that is a match, too.
static void add_joined_with_next(mlcc_pieces *to, mlcc_piece parent, const mlcc_pieces *matches) {
    for (size_t i = 0; i < matches->n; i++) {
        mlcc_piece match = matches->items[i];
        bool joins = match.is_match && i + 1 < matches->n && !matches->items[i + 1].is_match;
        if (joins) {
            add_part(to, parent, match.begin, matches->items[i + 1].end);
            i++;
        } else {
            add_part(to, parent, match.begin, match.end);
        }
    }
}

static mlcc_status *split_piece(
    const state *s, const mlcc_pattern *pattern, mlcc_split_behavior behavior, bool inverts,
    mlcc_piece piece) {
    mlcc_pieces *matches = &s->scratch->matches;
    mlcc_pieces_clear(matches);
    MLCC_TRY(mlcc_pattern_split(
        pattern, s->scratch->regex, s->text + piece.begin, piece.end - piece.begin, matches));
    if (inverts) {
        for (size_t i = 0; i < matches->n; i++) matches->items[i].is_match ^= true;
    }
    switch (behavior) {
    case MLCC_SPLIT_REMOVED:
    case MLCC_SPLIT_ISOLATED:
        for (size_t i = 0; i < matches->n; i++) {
            mlcc_piece match = matches->items[i];
            if (match.is_match && behavior == MLCC_SPLIT_REMOVED) continue;
            add_part(s->to, piece, match.begin, match.end);
        }
        break;
    case MLCC_SPLIT_CONTIGUOUS:
    case MLCC_SPLIT_MERGED_WITH_PREVIOUS: add_joined(s->to, piece, matches, behavior); break;
    case MLCC_SPLIT_MERGED_WITH_NEXT: add_joined_with_next(s->to, piece, matches); break;
    case MLCC_N_SPLIT_BEHAVIORS: break;
    }
    return NULL;
}

static mlcc_status *split_all(
    const state *s, const mlcc_pattern *pattern, mlcc_split_behavior behavior, bool inverts) {
    mlcc_pieces_clear(s->to);
    for (size_t i = 0; i < s->from->n; i++) {
        MLCC_TRY(split_piece(s, pattern, behavior, inverts, s->from->items[i]));
    }
    return mlcc_pieces_check(s->to);
}

// ---- steps that change characters ------------------------------------------------------------------------------

static void add_text_piece(mlcc_pieces *to, const mlcc_bytes *out, size_t begin, bool at_start) {
    if (out->length == begin) return;
    mlcc_pieces_push(
        to,
        (mlcc_piece){.begin = (uint32_t)begin, .end = (uint32_t)out->length, .at_start = at_start});
}

static mlcc_status *prepend_spaces(const state *s, mlcc_bytes *out) {
    mlcc_pieces_clear(s->to);
    for (size_t i = 0; i < s->from->n; i++) {
        mlcc_piece piece = s->from->items[i];
        size_t begin = out->length;
        if (s->text[piece.begin] != ' ') mlcc_bytes_put(out, ' ');
        mlcc_bytes_append(out, s->text + piece.begin, piece.end - piece.begin);
        add_text_piece(s->to, out, begin, piece.at_start);
    }
    MLCC_TRY(mlcc_bytes_check(out));
    return mlcc_pieces_check(s->to);
}

static mlcc_status *map_bytes(const state *s, mlcc_bytes *out) {
    mlcc_pieces_clear(s->to);
    for (size_t i = 0; i < s->from->n; i++) {
        mlcc_piece piece = s->from->items[i];
        size_t begin = out->length;
        mlcc_byte_level_map(s->text + piece.begin, piece.end - piece.begin, out);
        add_text_piece(s->to, out, begin, piece.at_start);
    }
    MLCC_TRY(mlcc_bytes_check(out));
    return mlcc_pieces_check(s->to);
}

static bool begins_with(const char *text, size_t length, const char *prefix, size_t prefix_bytes) {
    return length >= prefix_bytes && memcmp(text, prefix, prefix_bytes) == 0;
}

static void replace_spaces(
    const char *text, size_t length, const mlcc_pretokenize_step *step, mlcc_bytes *out) {
    const char *end = text + length;
    while (text < end) {
        const char *space = memchr(text, ' ', (size_t)(end - text));
        if (space == NULL) space = end;
        mlcc_bytes_append(out, text, (size_t)(space - text));
        if (space < end) {
            mlcc_bytes_append(out, step->replacement, step->replacement_bytes);
            space++;
        }
        text = space;
    }
}

static mlcc_status *metaspace(const state *s, const mlcc_pretokenize_step *step, mlcc_bytes *out) {
    mlcc_pieces_clear(s->to);
    for (size_t i = 0; i < s->from->n; i++) {
        mlcc_piece piece = s->from->items[i];
        const char *text = s->text + piece.begin;
        size_t length = piece.end - piece.begin;
        size_t begin = out->length;
        bool has_it =
            text[0] == ' ' || begins_with(text, length, step->replacement, step->replacement_bytes);
        bool prepends = step->scheme == MLCC_PREPEND_ALWAYS ||
                        (step->scheme == MLCC_PREPEND_FIRST && piece.at_start);
        if (prepends && !has_it) {
            mlcc_bytes_append(out, step->replacement, step->replacement_bytes);
        }
        replace_spaces(text, length, step, out);
        add_text_piece(s->to, out, begin, piece.at_start);
    }
    MLCC_TRY(mlcc_bytes_check(out));
    return mlcc_pieces_check(s->to);
}

// ---- the whole -------------------------------------------------------------------------------------------------

// The list just written becomes the input of the next part.
static void advance(state *s) {
    mlcc_pieces *words = s->scratch->words;
    s->from = s->to;
    s->to = s->to == &words[0] ? &words[1] : &words[0];
}

static mlcc_bytes *free_buffer(const state *s) {
    mlcc_bytes *buffers = s->scratch->buffers;
    mlcc_bytes *buffer = s->text == buffers[0].data ? &buffers[1] : &buffers[0];
    mlcc_bytes_clear(buffer);
    return buffer;
}

static void advance_text(state *s, const mlcc_bytes *buffer) {
    s->text = buffer->length == 0 ? "" : buffer->data;
    advance(s);
}

static mlcc_status *run_split(
    state *s, const mlcc_pattern *pattern, mlcc_split_behavior behavior, bool inverts) {
    MLCC_TRY(split_all(s, pattern, behavior, inverts));
    advance(s);
    return NULL;
}

static mlcc_status *run_byte_level(state *s, const mlcc_pretokenize_step *step) {
    if (step->adds_space) {
        mlcc_bytes *spaced = free_buffer(s);
        MLCC_TRY(prepend_spaces(s, spaced));
        advance_text(s, spaced);
    }
    if (step->has_pattern) MLCC_TRY(run_split(s, &step->pattern, MLCC_SPLIT_ISOLATED, false));
    mlcc_bytes *mapped = free_buffer(s);
    MLCC_TRY(map_bytes(s, mapped));
    advance_text(s, mapped);
    return NULL;
}

static mlcc_status *run_metaspace(state *s, const mlcc_pretokenize_step *step) {
    mlcc_bytes *replaced = free_buffer(s);
    MLCC_TRY(metaspace(s, step, replaced));
    advance_text(s, replaced);
    if (!step->has_pattern) return NULL;
    return run_split(s, &step->pattern, MLCC_SPLIT_MERGED_WITH_NEXT, false);
}

static mlcc_status *run_step(state *s, const mlcc_pretokenize_step *step) {
    switch (step->kind) {
    case MLCC_PRETOKENIZE_SPLIT: return run_split(s, &step->pattern, step->behavior, step->inverts);
    case MLCC_PRETOKENIZE_BYTE_LEVEL: return run_byte_level(s, step);
    case MLCC_PRETOKENIZE_METASPACE: return run_metaspace(s, step);
    case MLCC_N_PRETOKENIZE_KINDS: break;
    }
    return NULL;
}

mlcc_status *mlcc_pretokenize(
    const mlcc_pretokenizer *pretokenizer, mlcc_pretokenize_scratch *scratch, const char *text,
    size_t length, bool at_start, const char **out, const mlcc_pieces **words) {
    state s = {
        .text = text, .from = &scratch->words[0], .to = &scratch->words[1], .scratch = scratch};
    mlcc_pieces_clear(&scratch->words[0]);
    if (length != 0) {
        mlcc_pieces_push(
            &scratch->words[0], (mlcc_piece){.end = (uint32_t)length, .at_start = at_start});
    }
    MLCC_TRY(mlcc_pieces_check(&scratch->words[0]));
    for (size_t i = 0; i < pretokenizer->n_steps; i++) {
        MLCC_TRY(run_step(&s, &pretokenizer->steps[i]));
    }
    *out = s.text;
    *words = s.from;
    return NULL;
}
