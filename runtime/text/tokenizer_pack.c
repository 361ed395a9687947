#include "runtime/text/tokenizer_pack.h"

#include "runtime/text/tokenizer_build.h"

#include <string.h>

// ---- what is shared --------------------------------------------------------------------------------------------

enum {
    SECTION_TOKENS = 0x31584B54,
    SECTION_ADDED,
    SECTION_NORMALIZER,
    SECTION_PRETOKENIZER,
    SECTION_DECODER,
    SECTION_POST_PROCESSOR,
    SECTION_MODEL,
};

typedef struct unpacking {
    mlcc_unpacker in;
    mlcc_tokenizer *tokenizer;
    mlcc_arena *arena;
} unpacking;

static bool begin_section(unpacking *u, uint32_t section) {
    return mlcc_unpack_require(&u->in, mlcc_unpack_u32(&u->in) == section);
}

// A number of items, each of which takes a byte at least: an array of so many is no trap.
static size_t unpack_count(unpacking *u) {
    return mlcc_unpack_below(&u->in, u->in.length - u->in.at + 1);
}

static void pack_optional(mlcc_bytes *out, const char *text, size_t length) {
    mlcc_pack_u32(out, text != NULL);
    if (text != NULL) mlcc_pack_text(out, text, length);
}

static const char *unpack_optional(mlcc_unpacker *in, size_t *length) {
    *length = 0;
    return mlcc_unpack_bool(in) ? mlcc_unpack_text(in, length) : NULL;
}

// ---- tokens ------------------------------------------------------------------------------------------------------

static bool is_text(const char *text, size_t length, const char *other, size_t other_length) {
    return length == other_length && (length == 0 || memcmp(text, other, length) == 0);
}

// Most tokens are what their entry of the vocabulary says; entries[id] is its number + 1, and 0 for the others.
static uint32_t *find_entries(const mlcc_tokenizer *t, mlcc_arena *scratch, size_t *n_others) {
    uint32_t *entries = MLCC_NEW_ARRAY(scratch, uint32_t, t->n_tokens + 1);
    for (size_t i = 0; i < mlcc_vocabulary_count(t->vocab); i++) {
        size_t length;
        int32_t id;
        const char *piece = mlcc_vocabulary_piece(t->vocab, i, &length, &id);
        const mlcc_token *token = &t->tokens[id];
        if (token->text != NULL && is_text(piece, length, token->text, token->text_bytes) &&
            is_text(piece, length, token->decoded, token->decoded_bytes)) {
            entries[id] = (uint32_t)i + 1;
        }
    }
    *n_others = 0;
    for (size_t id = 0; id < t->n_tokens; id++) {
        *n_others += entries[id] == 0 && t->tokens[id].text != NULL;
    }
    return entries;
}

static void pack_tokens(const mlcc_tokenizer *t, mlcc_bytes *out) {
    mlcc_arena *scratch = mlcc_arena_create();
    size_t n_others;
    uint32_t *entries = find_entries(t, scratch, &n_others);
    mlcc_pack_u32(out, SECTION_TOKENS);
    mlcc_pack_u32(out, (uint32_t)t->n_tokens);
    mlcc_vocabulary_pack(t->vocab, out);
    mlcc_pack_array(out, entries, t->n_tokens, sizeof *entries);
    mlcc_pack_array(out, t->special_ids, t->n_tokens, 1);
    mlcc_pack_u32(out, (uint32_t)n_others);
    for (size_t id = 0; id < t->n_tokens; id++) {
        const mlcc_token *token = &t->tokens[id];
        if (entries[id] != 0 || token->text == NULL) continue;
        mlcc_pack_u32(out, (uint32_t)id);
        mlcc_pack_text(out, token->text, token->text_bytes);
        mlcc_pack_text(out, token->decoded, token->decoded_bytes);
    }
    mlcc_arena_free(scratch);
}

static void unpack_other_tokens(unpacking *u) {
    mlcc_tokenizer *t = u->tokenizer;
    size_t n = unpack_count(u);
    for (size_t i = 0; i < n && !u->in.has_failed; i++) {
        mlcc_token *token = &t->tokens[mlcc_unpack_below(&u->in, t->n_tokens)];
        if (!mlcc_unpack_require(&u->in, t->n_tokens != 0)) return;
        token->text = mlcc_unpack_text(&u->in, &token->text_bytes);
        token->decoded = mlcc_unpack_text(&u->in, &token->decoded_bytes);
    }
}

static mlcc_status *unpack_tokens(unpacking *u) {
    mlcc_tokenizer *t = u->tokenizer;
    begin_section(u, SECTION_TOKENS);
    size_t n_tokens = mlcc_unpack_below(&u->in, MLCC_TOKEN_ID_LIMIT + 1);
    size_t n_entries, n_special;
    t->vocab = mlcc_vocabulary_unpack(&u->in, n_tokens);
    const uint32_t *entries = mlcc_unpack_array(&u->in, sizeof *entries, &n_entries);
    const uint8_t *special = mlcc_unpack_array(&u->in, 1, &n_special);
    if (!mlcc_unpack_require(&u->in, n_entries == n_tokens && n_special == n_tokens)) return NULL;
    if (!mlcc_tokenizer_reserve_ids(t, n_tokens)) {
        return MLCC_ERROR(NO_MEMORY, "host memory ended while reading a tokenizer");
    }
    size_t n_pieces = mlcc_vocabulary_count(t->vocab);
    for (size_t id = 0; id < n_tokens; id++) {
        mlcc_token *token = &t->tokens[id];
        token->is_special = special[id] != 0;
        if (entries[id] == 0) continue;
        if (!mlcc_unpack_require(&u->in, entries[id] <= n_pieces)) return NULL;
        int32_t own_id;
        token->text = mlcc_vocabulary_piece(t->vocab, entries[id] - 1, &token->text_bytes, &own_id);
        token->decoded = token->text;
        token->decoded_bytes = token->text_bytes;
    }
    t->special_ids = special;
    unpack_other_tokens(u);
    return NULL;
}

// ---- added tokens --------------------------------------------------------------------------------------------------

static void pack_added(const mlcc_tokenizer *t, mlcc_bytes *out) {
    mlcc_pack_u32(out, SECTION_ADDED);
    mlcc_pack_u32(out, (uint32_t)t->n_added_tokens);
    for (size_t i = 0; i < t->n_added_tokens; i++) {
        const mlcc_added_token *token = &t->added_tokens[i];
        mlcc_pack_u32(out, (uint32_t)token->id);
        mlcc_pack_text(out, token->content, token->content_bytes);
        mlcc_pack_text(out, token->pattern, token->pattern_bytes);
        mlcc_pack_u32(out, token->single_word);
        mlcc_pack_u32(out, token->lstrip);
        mlcc_pack_u32(out, token->rstrip);
        mlcc_pack_u32(out, token->is_normalized);
        mlcc_pack_u32(out, token->is_special);
    }
}

static mlcc_status *unpack_added(unpacking *u) {
    mlcc_tokenizer *t = u->tokenizer;
    begin_section(u, SECTION_ADDED);
    size_t n = unpack_count(u);
    t->added = mlcc_map_create(n);
    t->added_tokens = MLCC_NEW_ARRAY(u->arena, mlcc_added_token, n + 1);
    for (size_t i = 0; i < n && !u->in.has_failed; i++) {
        mlcc_added_token *token = &t->added_tokens[i];
        token->id = (int32_t)mlcc_unpack_below(&u->in, t->n_tokens);
        token->content = mlcc_unpack_text(&u->in, &token->content_bytes);
        token->pattern = mlcc_unpack_text(&u->in, &token->pattern_bytes);
        token->single_word = mlcc_unpack_bool(&u->in);
        token->lstrip = mlcc_unpack_bool(&u->in);
        token->rstrip = mlcc_unpack_bool(&u->in);
        token->is_normalized = mlcc_unpack_bool(&u->in);
        token->is_special = mlcc_unpack_bool(&u->in);
        mlcc_map_add(t->added, token->content, token->content_bytes, (uint64_t)token->id);
    }
    if (u->in.has_failed) return NULL;
    t->n_added_tokens = n;
    MLCC_TRY(mlcc_added_tokens_create(t->added_tokens, n, false, &t->plain_set));
    return mlcc_added_tokens_create(t->added_tokens, n, true, &t->normalized_set);
}

// ---- normalizer ------------------------------------------------------------------------------------------------------

// In the form in which tokenizer.json and SentencePiece have it.
static void pack_charsmap(const mlcc_charsmap *map, mlcc_bytes *out) {
    mlcc_bytes blob = {0};
    if (map->n_units != 0) {
        mlcc_pack_u32(&blob, (uint32_t)(map->n_units * 4));
        for (size_t i = 0; i < map->n_units; i++) mlcc_pack_u32(&blob, map->units[i]);
        mlcc_bytes_append(&blob, map->texts, map->text_bytes);
    }
    mlcc_pack_array(out, blob.data, blob.length, 1);
    if (blob.failed) out->failed = true;
    mlcc_bytes_free(&blob);
}

static mlcc_status *unpack_charsmap(unpacking *u, mlcc_charsmap *out) {
    size_t n_bytes;
    const char *blob = mlcc_unpack_array(&u->in, 1, &n_bytes);
    return mlcc_charsmap_read(blob, n_bytes, u->arena, out);
}

static void pack_normalizer(const mlcc_tokenizer *t, mlcc_bytes *out) {
    mlcc_pack_u32(out, SECTION_NORMALIZER);
    mlcc_trie_pack_members(t->verbatim, t->vocab, out);
    mlcc_pack_u32(out, (uint32_t)t->normalizer.n_steps);
    for (size_t i = 0; i < t->normalizer.n_steps; i++) {
        const mlcc_normalize_step *step = &t->normalizer.steps[i];
        mlcc_pack_u32(out, step->kind);
        mlcc_pattern_pack(&step->pattern, out);
        pack_optional(out, step->content, step->content_bytes);
        mlcc_pack_u32(out, step->form);
        mlcc_pack_u32(out, step->strips_left);
        mlcc_pack_u32(out, step->strips_right);
        if (step->kind == MLCC_NORMALIZE_PRECOMPILED) pack_charsmap(step->charsmap, out);
        if (step->kind != MLCC_NORMALIZE_SENTENCEPIECE) continue;
        pack_charsmap(&step->rules->charsmap, out);
        mlcc_pack_u32(out, step->rules->adds_dummy_prefix);
        mlcc_pack_u32(out, step->rules->removes_extra_spaces);
        mlcc_pack_u32(out, step->rules->escapes_spaces);
    }
}

static mlcc_status *unpack_normalize_step(unpacking *u, mlcc_normalize_step *step) {
    step->kind = (mlcc_normalize_kind)mlcc_unpack_below(&u->in, MLCC_N_NORMALIZE_KINDS);
    MLCC_TRY(mlcc_pattern_unpack(&u->in, &step->pattern));
    step->content = unpack_optional(&u->in, &step->content_bytes);
    step->form = (mlcc_unicode_form)mlcc_unpack_below(&u->in, MLCC_N_UNICODE_FORMS);
    step->strips_left = mlcc_unpack_bool(&u->in);
    step->strips_right = mlcc_unpack_bool(&u->in);
    bool needs_content =
        step->kind == MLCC_NORMALIZE_PREPEND || step->kind == MLCC_NORMALIZE_REPLACE;
    bool is_good = (!needs_content || step->content != NULL) &&
                   (step->kind != MLCC_NORMALIZE_REPLACE || mlcc_pattern_is_set(&step->pattern));
    if (!mlcc_unpack_require(&u->in, is_good)) return NULL;
    if (step->kind == MLCC_NORMALIZE_PRECOMPILED) {
        mlcc_charsmap *map = MLCC_NEW(u->arena, mlcc_charsmap);
        step->charsmap = map;
        return unpack_charsmap(u, map);
    }
    if (step->kind != MLCC_NORMALIZE_SENTENCEPIECE) return NULL;
    mlcc_sentencepiece_rules *rules = MLCC_NEW(u->arena, mlcc_sentencepiece_rules);
    step->rules = rules;
    rules->verbatim = u->tokenizer->verbatim;
    MLCC_TRY(unpack_charsmap(u, &rules->charsmap));
    rules->adds_dummy_prefix = mlcc_unpack_bool(&u->in);
    rules->removes_extra_spaces = mlcc_unpack_bool(&u->in);
    rules->escapes_spaces = mlcc_unpack_bool(&u->in);
    return NULL;
}

static mlcc_status *unpack_normalizer(unpacking *u) {
    mlcc_normalizer *list = &u->tokenizer->normalizer;
    begin_section(u, SECTION_NORMALIZER);
    MLCC_TRY(mlcc_trie_unpack_members(&u->in, u->tokenizer->vocab, &u->tokenizer->verbatim));
    size_t n = unpack_count(u);
    list->steps = MLCC_NEW_ARRAY(u->arena, mlcc_normalize_step, n + 1);
    list->capacity = n + 1;
    while (list->n_steps < n && !u->in.has_failed) {
        MLCC_TRY(unpack_normalize_step(u, &list->steps[list->n_steps++]));
    }
    return NULL;
}

// ---- pre-tokenizer -------------------------------------------------------------------------------------------------

static void pack_pretokenizer(const mlcc_tokenizer *t, mlcc_bytes *out) {
    mlcc_pack_u32(out, SECTION_PRETOKENIZER);
    mlcc_pack_u32(out, (uint32_t)t->pretokenizer.n_steps);
    for (size_t i = 0; i < t->pretokenizer.n_steps; i++) {
        const mlcc_pretokenize_step *step = &t->pretokenizer.steps[i];
        mlcc_pack_u32(out, step->kind);
        mlcc_pattern_pack(&step->pattern, out);
        mlcc_pack_u32(out, step->has_pattern);
        mlcc_pack_u32(out, step->behavior);
        mlcc_pack_u32(out, step->inverts);
        mlcc_pack_u32(out, step->adds_space);
        mlcc_pack_u32(out, step->scheme);
        pack_optional(out, step->replacement, step->replacement_bytes);
    }
}

static mlcc_status *unpack_pretokenize_step(unpacking *u, mlcc_pretokenize_step *step) {
    step->kind = (mlcc_pretokenize_kind)mlcc_unpack_below(&u->in, MLCC_N_PRETOKENIZE_KINDS);
    MLCC_TRY(mlcc_pattern_unpack(&u->in, &step->pattern));
    step->has_pattern = mlcc_unpack_bool(&u->in);
    step->behavior = (mlcc_split_behavior)mlcc_unpack_below(&u->in, MLCC_N_SPLIT_BEHAVIORS);
    step->inverts = mlcc_unpack_bool(&u->in);
    step->adds_space = mlcc_unpack_bool(&u->in);
    step->scheme = (mlcc_prepend_scheme)mlcc_unpack_below(&u->in, MLCC_N_PREPEND_SCHEMES);
    step->replacement = unpack_optional(&u->in, &step->replacement_bytes);
    bool searches = step->kind == MLCC_PRETOKENIZE_SPLIT || step->has_pattern;
    bool is_good = (!searches || mlcc_pattern_is_set(&step->pattern)) &&
                   (step->kind != MLCC_PRETOKENIZE_METASPACE || step->replacement_bytes != 0);
    mlcc_unpack_require(&u->in, is_good);
    return NULL;
}

static mlcc_status *unpack_pretokenizer(unpacking *u) {
    mlcc_pretokenizer *list = &u->tokenizer->pretokenizer;
    begin_section(u, SECTION_PRETOKENIZER);
    size_t n = unpack_count(u);
    list->steps = MLCC_NEW_ARRAY(u->arena, mlcc_pretokenize_step, n + 1);
    list->capacity = n + 1;
    while (list->n_steps < n && !u->in.has_failed) {
        MLCC_TRY(unpack_pretokenize_step(u, &list->steps[list->n_steps++]));
    }
    return NULL;
}

// ---- decoder -------------------------------------------------------------------------------------------------------

static void pack_decoder(const mlcc_tokenizer *t, mlcc_bytes *out) {
    mlcc_pack_u32(out, SECTION_DECODER);
    mlcc_pack_u32(out, (uint32_t)t->decoder.n_steps);
    for (size_t i = 0; i < t->decoder.n_steps; i++) {
        const mlcc_decode_step *step = &t->decoder.steps[i];
        mlcc_pack_u32(out, step->kind);
        mlcc_pattern_pack(&step->pattern, out);
        pack_optional(out, step->content, step->content_bytes);
        mlcc_pack_u32(out, (uint32_t)step->start);
        mlcc_pack_u32(out, (uint32_t)step->stop);
        mlcc_pack_u32(out, step->drops_first);
        mlcc_pack_u32(out, step->cleans);
        pack_optional(out, step->delimiter, step->delimiter_bytes);
    }
}

static bool is_good_decode_step(const mlcc_decode_step *step) {
    switch (step->kind) {
    case MLCC_DECODE_REPLACE: return mlcc_pattern_is_set(&step->pattern) && step->content != NULL;
    case MLCC_DECODE_STRIP:
    case MLCC_DECODE_METASPACE:
    case MLCC_DECODE_SUFFIX: return step->content_bytes != 0;
    case MLCC_DECODE_WORDPIECE: return step->content != NULL;
    case MLCC_DECODE_CTC: return step->content_bytes != 0 && step->delimiter_bytes != 0;
    default: return true;
    }
}

static mlcc_status *unpack_decode_step(unpacking *u, mlcc_decode_step *step) {
    step->kind = (mlcc_decode_kind)mlcc_unpack_below(&u->in, MLCC_N_DECODE_KINDS);
    MLCC_TRY(mlcc_pattern_unpack(&u->in, &step->pattern));
    step->content = unpack_optional(&u->in, &step->content_bytes);
    step->start = mlcc_unpack_u32(&u->in);
    step->stop = mlcc_unpack_u32(&u->in);
    step->drops_first = mlcc_unpack_bool(&u->in);
    step->cleans = mlcc_unpack_bool(&u->in);
    step->delimiter = unpack_optional(&u->in, &step->delimiter_bytes);
    mlcc_unpack_require(&u->in, is_good_decode_step(step));
    return NULL;
}

static mlcc_status *unpack_decoder(unpacking *u) {
    mlcc_decoder *list = &u->tokenizer->decoder;
    begin_section(u, SECTION_DECODER);
    size_t n = unpack_count(u);
    list->steps = MLCC_NEW_ARRAY(u->arena, mlcc_decode_step, n + 1);
    list->capacity = n + 1;
    while (list->n_steps < n && !u->in.has_failed) {
        MLCC_TRY(unpack_decode_step(u, &list->steps[list->n_steps++]));
    }
    return NULL;
}

// ---- post-processor --------------------------------------------------------------------------------------------------

static void pack_post_processor(const mlcc_tokenizer *t, mlcc_bytes *out) {
    mlcc_pack_u32(out, SECTION_POST_PROCESSOR);
    mlcc_pack_u32(out, (uint32_t)t->post_processor.n_steps);
    for (size_t i = 0; i < t->post_processor.n_steps; i++) {
        const mlcc_template *step = &t->post_processor.steps[i];
        mlcc_pack_u32(out, (uint32_t)step->n_parts);
        for (size_t k = 0; k < step->n_parts; k++) {
            const mlcc_template_part *part = &step->parts[k];
            mlcc_pack_u32(out, part->is_text);
            mlcc_pack_array(out, part->ids, part->is_text ? 0 : part->n_ids, sizeof *part->ids);
        }
    }
}

static mlcc_status *unpack_post_processor(unpacking *u) {
    mlcc_post_processor *list = &u->tokenizer->post_processor;
    begin_section(u, SECTION_POST_PROCESSOR);
    list->n_steps = unpack_count(u);
    list->steps = MLCC_NEW_ARRAY(u->arena, mlcc_template, list->n_steps + 1);
    for (size_t i = 0; i < list->n_steps && !u->in.has_failed; i++) {
        mlcc_template *step = &list->steps[i];
        step->n_parts = unpack_count(u);
        step->parts = MLCC_NEW_ARRAY(u->arena, mlcc_template_part, step->n_parts + 1);
        for (size_t k = 0; k < step->n_parts && !u->in.has_failed; k++) {
            mlcc_template_part *part = &step->parts[k];
            part->is_text = mlcc_unpack_bool(&u->in);
            part->ids = mlcc_unpack_ids(&u->in, 0, u->tokenizer->n_tokens, &part->n_ids);
        }
    }
    return NULL;
}

// ---- the whole -------------------------------------------------------------------------------------------------------

mlcc_status *mlcc_tokenizer_pack(const mlcc_tokenizer *t, mlcc_bytes *out) {
    pack_tokens(t, out);
    pack_added(t, out);
    pack_normalizer(t, out);
    pack_pretokenizer(t, out);
    pack_decoder(t, out);
    pack_post_processor(t, out);
    mlcc_pack_u32(out, SECTION_MODEL);
    mlcc_pack_text(out, t->model_type->name, strlen(t->model_type->name));
    t->model_type->pack(t->model, out);
    return mlcc_bytes_check(out);
}

static mlcc_status *unpack_model(unpacking *u) {
    mlcc_tokenizer *t = u->tokenizer;
    begin_section(u, SECTION_MODEL);
    t->model_type = mlcc_word_model_of(mlcc_unpack_text(&u->in, NULL));
    if (!mlcc_unpack_require(&u->in, t->model_type != NULL)) return NULL;
    return t->model_type->unpack(&u->in, t->vocab, t->n_tokens, &t->model);
}

static mlcc_status *unpack_all(unpacking *u) {
    static mlcc_status *(*const sections[])(unpacking *u) = {
        unpack_tokens,  unpack_added,          unpack_normalizer, unpack_pretokenizer,
        unpack_decoder, unpack_post_processor, unpack_model};
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        MLCC_TRY(sections[i](u));
        if (u->in.has_failed) break;
    }
    if (mlcc_unpack_require(&u->in, u->in.at == u->in.length && u->tokenizer->model != NULL)) {
        return NULL;
    }
    return MLCC_ERROR(INVALID, "the packed tokenizer is damaged near byte %zu", u->in.at);
}

mlcc_status *mlcc_tokenizer_unpack(const char *data, size_t length, mlcc_tokenizer **out) {
    *out = NULL;
    unpacking u = {.in = {.data = data, .length = length}};
    MLCC_TRY(mlcc_tokenizer_begin(&u.tokenizer));
    u.arena = u.tokenizer->arena;
    mlcc_status *status = unpack_all(&u);
    if (status != NULL) {
        mlcc_tokenizer_close(u.tokenizer);
        return status;
    }
    *out = u.tokenizer;
    return NULL;
}
