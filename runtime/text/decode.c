// Each step receives three kinds of events from the one before it: text of the current token, its end, and the end of all; and
// sends the same to the next. The last one receives text for the caller.
#include "runtime/text/decode.h"

#include "runtime/text/unicode.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

typedef struct step_state {
    mlcc_bytes held; // the current token, of steps that need all of it
    mlcc_bytes
        waiting; // BYTE_LEVEL: an unfinished character; BYTE_FALLBACK: bytes; SUFFIX, CTC: the token before
    size_t n_tokens;    // ended before the current one
    bool is_inside;     // JOIN: the current token has begun
    size_t n_cut;       // STRIP: at the start of the current token
    bool is_past_start; // STRIP
    size_t n_pending;   // STRIP: times `content` that may turn out to be the end
} step_state;

struct mlcc_decode_state {
    const mlcc_decoder *decoder;
    step_state *steps; // [n_steps]
    mlcc_regex_scratch *regex;
    mlcc_pieces pieces;
    mlcc_bytes replaced, cleaned;
    mlcc_bytes *out; // during a call
};

static mlcc_status *send_text(
    mlcc_decode_state *state, size_t step, const char *text, size_t length);
static mlcc_status *send_token_end(mlcc_decode_state *state, size_t step);
static mlcc_status *send_end(mlcc_decode_state *state, size_t step);

void mlcc_decoder_free(mlcc_decoder *decoder) {
    for (size_t i = 0; i < decoder->n_steps; i++) mlcc_pattern_free(&decoder->steps[i].pattern);
}

// ---- life ----------------------------------------------------------------------------------------------------

mlcc_status *mlcc_decode_state_create(const mlcc_decoder *decoder, mlcc_decode_state **out) {
    *out = NULL;
    mlcc_decode_state *state = calloc(1, sizeof *state);
    if (state == NULL) return MLCC_ERROR(NO_MEMORY, "host memory ended while preparing to decode");
    state->decoder = decoder;
    state->steps = calloc(decoder->n_steps + 1, sizeof *state->steps);
    state->regex = mlcc_regex_scratch_create();
    if (state->steps == NULL || state->regex == NULL) {
        mlcc_decode_state_free(state);
        return MLCC_ERROR(NO_MEMORY, "host memory ended while preparing to decode");
    }
    *out = state;
    return NULL;
}

void mlcc_decode_state_free(mlcc_decode_state *state) {
    if (state == NULL) return;
    for (size_t i = 0; state->steps != NULL && i < state->decoder->n_steps; i++) {
        mlcc_bytes_free(&state->steps[i].held);
        mlcc_bytes_free(&state->steps[i].waiting);
    }
    free(state->steps);
    mlcc_regex_scratch_free(state->regex);
    mlcc_pieces_free(&state->pieces);
    mlcc_bytes_free(&state->replaced);
    mlcc_bytes_free(&state->cleaned);
    free(state);
}

void mlcc_decode_reset(mlcc_decode_state *state) {
    for (size_t i = 0; i < state->decoder->n_steps; i++) {
        step_state *s = &state->steps[i];
        mlcc_bytes_clear(&s->held);
        mlcc_bytes_clear(&s->waiting);
        *s = (step_state){.held = s->held, .waiting = s->waiting};
    }
}

// ---- ByteLevel -------------------------------------------------------------------------------------------------

// Adds the bytes that a token stands for; a token with a character outside the alphabet stands for itself.
static void append_token_bytes(const char *token, size_t length, mlcc_bytes *out) {
    size_t before = out->length;
    for (size_t i = 0; i < length;) {
        uint32_t code;
        i += mlcc_utf8_decode(token + i, &code);
        int byte = mlcc_character_to_byte(code);
        if (byte < 0) {
            out->length = before;
            mlcc_bytes_append(out, token, length);
            return;
        }
        mlcc_bytes_put(out, (char)byte);
    }
}

// Sends complete characters, and U+FFFD for broken ones; keeps the beginning of a character unless this is the end.
static mlcc_status *send_characters(mlcc_decode_state *state, size_t step, bool is_end) {
    mlcc_bytes *bytes = &state->steps[step].waiting;
    MLCC_TRY(mlcc_bytes_check(bytes));
    size_t sent = 0;
    size_t i = 0;
    while (i < bytes->length) {
        size_t n_bytes;
        mlcc_utf8_kind kind = mlcc_utf8_look(bytes->data + i, bytes->length - i, &n_bytes);
        if (kind == MLCC_UTF8_CHARACTER) {
            i += n_bytes;
            continue;
        }
        if (i > sent) MLCC_TRY(send_text(state, step + 1, bytes->data + sent, i - sent));
        sent = i;
        if (kind == MLCC_UTF8_CUT && !is_end) break;
        MLCC_TRY(send_text(state, step + 1, MLCC_REPLACEMENT_TEXT, MLCC_REPLACEMENT_BYTES));
        i += n_bytes;
        sent = i;
    }
    if (i > sent) MLCC_TRY(send_text(state, step + 1, bytes->data + sent, i - sent));
    size_t kept = bytes->length - i;
    if (kept != 0) memmove(bytes->data, bytes->data + i, kept);
    bytes->length = kept;
    return NULL;
}

static mlcc_status *end_byte_level_token(mlcc_decode_state *state, size_t step) {
    step_state *s = &state->steps[step];
    MLCC_TRY(mlcc_bytes_check(&s->held));
    if (s->held.length != 0) append_token_bytes(s->held.data, s->held.length, &s->waiting);
    mlcc_bytes_clear(&s->held);
    return send_characters(state, step, false);
}

// ---- Replace -----------------------------------------------------------------------------------------------------

// Of one token by one step.
#define MAX_REPLACEMENT_GROWTH_BYTES ((size_t)1 << 20)

static mlcc_status *end_replace_token(mlcc_decode_state *state, size_t step) {
    const mlcc_decode_step *rule = &state->decoder->steps[step];
    mlcc_bytes *held = &state->steps[step].held;
    MLCC_TRY(mlcc_bytes_check(held));
    if (held->length != 0) {
        // The buffer is shared by all Replace steps, so it is emptied into the next step before that one ends its token.
        mlcc_bytes_clear(&state->replaced);
        MLCC_TRY_NOTE(
            mlcc_pattern_replace(
                &rule->pattern, state->regex, held->data, held->length, rule->content,
                rule->content_bytes, held->length + MAX_REPLACEMENT_GROWTH_BYTES, &state->pieces,
                &state->replaced),
            "running the tokenizer's decoder");
        mlcc_bytes_clear(held);
        if (state->replaced.length != 0) {
            MLCC_TRY(send_text(state, step + 1, state->replaced.data, state->replaced.length));
        }
    }
    return send_token_end(state, step + 1);
}

// ---- ByteFallback --------------------------------------------------------------------------------------------------

// The byte that "<0x0A>" stands for, or -1.
static int byte_of_token(const mlcc_bytes *token) {
    if (token->length != 6 || memcmp(token->data, "<0x", 3) != 0 || token->data[5] != '>')
        return -1;
    char digits[3] = {token->data[3], token->data[4], '\0'};
    // Rust's u8::from_str_radix, which decides in the reference, takes a plus sign in front.
    bool has_plus = digits[0] == '+';
    if ((!has_plus && !isxdigit((unsigned char)digits[0])) || !isxdigit((unsigned char)digits[1])) {
        return -1;
    }
    return (int)strtoul(digits + (has_plus ? 1 : 0), NULL, 16);
}

// A row of byte tokens is one token when it is valid text, and else one U+FFFD for each.
static mlcc_status *send_fallback_bytes(mlcc_decode_state *state, size_t step) {
    mlcc_bytes *bytes = &state->steps[step].waiting;
    MLCC_TRY(mlcc_bytes_check(bytes));
    if (bytes->length == 0) return NULL;
    size_t n = bytes->length;
    if (mlcc_utf8_is_valid(bytes->data, n)) {
        MLCC_TRY(send_text(state, step + 1, bytes->data, n));
        MLCC_TRY(send_token_end(state, step + 1));
    } else {
        for (size_t i = 0; i < n; i++) {
            MLCC_TRY(send_text(state, step + 1, MLCC_REPLACEMENT_TEXT, MLCC_REPLACEMENT_BYTES));
            MLCC_TRY(send_token_end(state, step + 1));
        }
    }
    mlcc_bytes_clear(bytes);
    return NULL;
}

static mlcc_status *end_fallback_token(mlcc_decode_state *state, size_t step) {
    step_state *s = &state->steps[step];
    MLCC_TRY(mlcc_bytes_check(&s->held));
    int byte = s->held.length == 6 ? byte_of_token(&s->held) : -1;
    if (byte >= 0) {
        mlcc_bytes_put(&s->waiting, (char)byte);
    } else {
        MLCC_TRY(send_fallback_bytes(state, step));
        if (s->held.length != 0) {
            MLCC_TRY(send_text(state, step + 1, s->held.data, s->held.length));
        }
        MLCC_TRY(send_token_end(state, step + 1));
    }
    mlcc_bytes_clear(&s->held);
    return NULL;
}

// ---- Strip -----------------------------------------------------------------------------------------------------------

static mlcc_status *strip_text(
    mlcc_decode_state *state, size_t step, const char *text, size_t length) {
    const mlcc_decode_step *rule = &state->decoder->steps[step];
    step_state *s = &state->steps[step];
    for (size_t i = 0; i < length;) {
        uint32_t code;
        size_t n_bytes = mlcc_utf8_decode(text + i, &code);
        bool is_content =
            n_bytes == rule->content_bytes && memcmp(text + i, rule->content, n_bytes) == 0;
        if (is_content && !s->is_past_start && s->n_cut < rule->start) {
            s->n_cut++;
            i += n_bytes;
            continue;
        }
        s->is_past_start = true;
        if (is_content && s->n_pending < rule->stop) {
            s->n_pending++;
            i += n_bytes;
            continue;
        }
        for (; s->n_pending > 0 && !is_content; s->n_pending--) {
            MLCC_TRY(send_text(state, step + 1, rule->content, rule->content_bytes));
        }
        MLCC_TRY(send_text(state, step + 1, text + i, n_bytes));
        i += n_bytes;
    }
    return NULL;
}

static mlcc_status *end_strip_token(mlcc_decode_state *state, size_t step) {
    step_state *s = &state->steps[step];
    s->n_cut = s->n_pending = 0;
    s->is_past_start = false;
    return send_token_end(state, step + 1);
}

// ---- Metaspace ---------------------------------------------------------------------------------------------------------

static mlcc_status *metaspace_text(
    mlcc_decode_state *state, size_t step, const char *text, size_t length) {
    const mlcc_decode_step *rule = &state->decoder->steps[step];
    bool drops = rule->drops_first && state->steps[step].n_tokens == 0;
    while (length > 0) {
        const char *at = memmem(text, length, rule->content, rule->content_bytes);
        size_t before = at == NULL ? length : (size_t)(at - text);
        if (before != 0) MLCC_TRY(send_text(state, step + 1, text, before));
        if (at == NULL) break;
        if (!drops) MLCC_TRY(send_text(state, step + 1, " ", 1));
        text += before + rule->content_bytes;
        length -= before + rule->content_bytes;
    }
    return NULL;
}

// ---- BPEDecoder ----------------------------------------------------------------------------------------------------------

// Sends the token that waited, now that it is known whether it is the last one.
static mlcc_status *send_waiting_token(mlcc_decode_state *state, size_t step, bool is_last) {
    const mlcc_decode_step *rule = &state->decoder->steps[step];
    mlcc_bytes *token = &state->steps[step].waiting;
    MLCC_TRY(mlcc_bytes_check(token));
    const char *text = token->length == 0 ? "" : token->data;
    size_t length = token->length;
    while (length > 0) {
        const char *at = memmem(text, length, rule->content, rule->content_bytes);
        size_t before = at == NULL ? length : (size_t)(at - text);
        if (before != 0) MLCC_TRY(send_text(state, step + 1, text, before));
        if (at == NULL) break;
        if (!is_last) MLCC_TRY(send_text(state, step + 1, " ", 1));
        text += before + rule->content_bytes;
        length -= before + rule->content_bytes;
    }
    mlcc_bytes_clear(token);
    return send_token_end(state, step + 1);
}

static mlcc_status *end_suffix_token(mlcc_decode_state *state, size_t step) {
    step_state *s = &state->steps[step];
    MLCC_TRY(mlcc_bytes_check(&s->held));
    if (s->n_tokens++ > 0) MLCC_TRY(send_waiting_token(state, step, false));
    mlcc_bytes ended = s->held;
    s->held = s->waiting;
    s->waiting = ended;
    mlcc_bytes_clear(&s->held);
    return NULL;
}

// ---- join ------------------------------------------------------------------------------------------------------------------

static mlcc_status *begin_joined_token(mlcc_decode_state *state, size_t step) {
    step_state *s = &state->steps[step];
    if (s->is_inside) return NULL;
    s->is_inside = true;
    return s->n_tokens > 0 ? send_text(state, step + 1, " ", 1) : NULL;
}

// ---- WordPiece, CTC --------------------------------------------------------------------------------------------------------

// Replaces `from` by `to` in the text that `replaced` holds.
static void replace_in_token(
    mlcc_decode_state *state, const char *from, size_t from_bytes, const char *to) {
    mlcc_bytes *source = &state->replaced;
    mlcc_bytes *result = &state->cleaned;
    mlcc_bytes_clear(result);
    for (size_t i = 0; i < source->length;) {
        const char *rest = source->data + i;
        const char *at = memmem(rest, source->length - i, from, from_bytes);
        size_t before = at == NULL ? source->length - i : (size_t)(at - rest);
        mlcc_bytes_append(result, rest, before);
        i += before;
        if (at == NULL) break;
        mlcc_bytes_append(result, to, strlen(to));
        i += from_bytes;
    }
    mlcc_bytes kept = *source;
    *source = *result;
    *result = kept;
}

// The tidying of Hugging Face's decoders, in their order (decoders/wordpiece.rs, cleanup).
static void tidy_token(mlcc_decode_state *state) {
    static const char *const rules[][2] = {
        {" .", "."},   {" ?", "?"},     {" !", "!"},     {" ,", ","},
        {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},   {" do not", " don't"},
        {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        replace_in_token(state, rules[i][0], strlen(rules[i][0]), rules[i][1]);
    }
}

// Hands the text in `replaced` on as a token; the buffer is free before the next step ends its token.
static mlcc_status *send_replaced(mlcc_decode_state *state, size_t step) {
    MLCC_TRY(mlcc_bytes_check(&state->replaced));
    MLCC_TRY(mlcc_bytes_check(&state->cleaned));
    if (state->replaced.length != 0) {
        MLCC_TRY(send_text(state, step + 1, state->replaced.data, state->replaced.length));
    }
    return send_token_end(state, step + 1);
}

static mlcc_status *end_wordpiece_token(mlcc_decode_state *state, size_t step) {
    const mlcc_decode_step *rule = &state->decoder->steps[step];
    step_state *s = &state->steps[step];
    MLCC_TRY(mlcc_bytes_check(&s->held));
    const char *text = s->held.length == 0 ? "" : s->held.data;
    size_t length = s->held.length;
    mlcc_bytes_clear(&state->replaced);
    bool continues =
        length >= rule->content_bytes && memcmp(text, rule->content, rule->content_bytes) == 0;
    if (s->n_tokens++ > 0) {
        if (continues) {
            text += rule->content_bytes;
            length -= rule->content_bytes;
        } else {
            mlcc_bytes_put(&state->replaced, ' ');
        }
    }
    mlcc_bytes_append(&state->replaced, text, length);
    mlcc_bytes_clear(&s->held);
    if (rule->cleans) tidy_token(state);
    return send_replaced(state, step);
}

static mlcc_status *end_ctc_token(mlcc_decode_state *state, size_t step) {
    const mlcc_decode_step *rule = &state->decoder->steps[step];
    step_state *s = &state->steps[step];
    MLCC_TRY(mlcc_bytes_check(&s->held));
    bool is_repeated =
        s->n_tokens > 0 && s->held.length == s->waiting.length &&
        (s->held.length == 0 || memcmp(s->held.data, s->waiting.data, s->held.length) == 0);
    mlcc_bytes ended = s->held;
    s->held = s->waiting;
    s->waiting = ended;
    mlcc_bytes_clear(&s->held);
    s->n_tokens++;
    if (is_repeated) return NULL;
    mlcc_bytes_clear(&state->replaced);
    mlcc_bytes_append(&state->replaced, s->waiting.data, s->waiting.length);
    replace_in_token(state, rule->content, rule->content_bytes, "");
    if (rule->cleans) {
        tidy_token(state);
        replace_in_token(state, rule->delimiter, rule->delimiter_bytes, " ");
    }
    if (state->replaced.length == 0) return mlcc_bytes_check(&state->replaced);
    return send_replaced(state, step);
}

// ---- events ------------------------------------------------------------------------------------------------------------------

typedef mlcc_status *on_text(
    mlcc_decode_state *state, size_t step, const char *text, size_t length);
typedef mlcc_status *on_end(mlcc_decode_state *state, size_t step);

static mlcc_status *hold_text(
    mlcc_decode_state *state, size_t step, const char *text, size_t length) {
    mlcc_bytes_append(&state->steps[step].held, text, length);
    return NULL;
}

static mlcc_status *pass_text(
    mlcc_decode_state *state, size_t step, const char *text, size_t length) {
    return send_text(state, step + 1, text, length);
}

static mlcc_status *join_text(
    mlcc_decode_state *state, size_t step, const char *text, size_t length) {
    MLCC_TRY(begin_joined_token(state, step));
    return send_text(state, step + 1, text, length);
}

static mlcc_status *end_joined_token(mlcc_decode_state *state, size_t step) {
    MLCC_TRY(begin_joined_token(state, step));
    state->steps[step].is_inside = false;
    state->steps[step].n_tokens++;
    return send_token_end(state, step + 1);
}

static mlcc_status *end_metaspace_token(mlcc_decode_state *state, size_t step) {
    state->steps[step].n_tokens++;
    return send_token_end(state, step + 1);
}

static mlcc_status *do_nothing(mlcc_decode_state *state, size_t step) {
    (void)state;
    (void)step;
    return NULL;
}

static mlcc_status *end_byte_level(mlcc_decode_state *state, size_t step) {
    MLCC_TRY(send_characters(state, step, true));
    return send_token_end(state, step + 1);
}

static mlcc_status *end_fused(mlcc_decode_state *state, size_t step) {
    return send_token_end(state, step + 1);
}

static mlcc_status *end_suffix(mlcc_decode_state *state, size_t step) {
    return state->steps[step].n_tokens > 0 ? send_waiting_token(state, step, true) : NULL;
}

// clang-format off
static const struct {
    on_text *text;
    on_end *token_end, *end;
} actions[MLCC_N_DECODE_KINDS] = {
    [MLCC_DECODE_JOIN]          = {join_text,      end_joined_token,     do_nothing},
    [MLCC_DECODE_BYTE_LEVEL]    = {hold_text,      end_byte_level_token, end_byte_level},
    [MLCC_DECODE_REPLACE]       = {hold_text,      end_replace_token,    do_nothing},
    [MLCC_DECODE_BYTE_FALLBACK] = {hold_text,      end_fallback_token,   send_fallback_bytes},
    [MLCC_DECODE_FUSE]          = {pass_text,      do_nothing,           end_fused},
    [MLCC_DECODE_STRIP]         = {strip_text,     end_strip_token,      do_nothing},
    [MLCC_DECODE_METASPACE]     = {metaspace_text, end_metaspace_token,  do_nothing},
    [MLCC_DECODE_SUFFIX]        = {hold_text,      end_suffix_token,     end_suffix},
    [MLCC_DECODE_WORDPIECE]     = {hold_text,      end_wordpiece_token,  do_nothing},
    [MLCC_DECODE_CTC]           = {hold_text,      end_ctc_token,        do_nothing},
};
// clang-format on

static mlcc_status *send_text(
    mlcc_decode_state *state, size_t step, const char *text, size_t length) {
    if (step == state->decoder->n_steps) {
        mlcc_bytes_append(state->out, text, length);
        return NULL;
    }
    return actions[state->decoder->steps[step].kind].text(state, step, text, length);
}

static mlcc_status *send_token_end(mlcc_decode_state *state, size_t step) {
    if (step == state->decoder->n_steps) return NULL;
    return actions[state->decoder->steps[step].kind].token_end(state, step);
}

static mlcc_status *send_end(mlcc_decode_state *state, size_t step) {
    if (step == state->decoder->n_steps) return NULL;
    MLCC_TRY(actions[state->decoder->steps[step].kind].end(state, step));
    return send_end(state, step + 1);
}

mlcc_status *mlcc_decode_push(
    mlcc_decode_state *state, const char *token, size_t length, mlcc_bytes *out) {
    state->out = out;
    if (length != 0) MLCC_TRY(send_text(state, 0, token, length));
    MLCC_TRY(send_token_end(state, 0));
    return mlcc_bytes_check(out);
}

mlcc_status *mlcc_decode_finish(mlcc_decode_state *state, mlcc_bytes *out) {
    state->out = out;
    mlcc_status *status = send_end(state, 0);
    mlcc_decode_reset(state);
    return status != NULL ? status : mlcc_bytes_check(out);
}
