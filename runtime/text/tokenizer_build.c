#include "runtime/text/tokenizer_build.h"

#include "runtime/base/log.h"

#include <stdlib.h>
#include <string.h>

static mlcc_status *no_memory(void) {
    return MLCC_ERROR(NO_MEMORY, "host memory ended while reading a tokenizer");
}

mlcc_status *mlcc_tokenizer_begin(mlcc_tokenizer **out) {
    *out = calloc(1, sizeof **out);
    if (*out == NULL) return no_memory();
    pthread_mutex_init(&(*out)->lock, NULL);
    (*out)->arena = mlcc_arena_create();
    return NULL;
}

// ---- tokens by id --------------------------------------------------------------------------------------------

bool mlcc_tokenizer_reserve_ids(mlcc_tokenizer *t, size_t n_tokens) {
    if (n_tokens > t->tokens_capacity) {
        size_t capacity = t->tokens_capacity * 2 > n_tokens ? t->tokens_capacity * 2 : n_tokens;
        mlcc_token *tokens = mlcc_arena_try_alloc(t->arena, capacity * sizeof *tokens);
        if (tokens == NULL) return false;
        if (t->n_tokens != 0) memcpy(tokens, t->tokens, t->n_tokens * sizeof *tokens);
        t->tokens = tokens;
        t->tokens_capacity = capacity;
    }
    if (n_tokens > t->n_tokens) t->n_tokens = n_tokens;
    return true;
}

mlcc_status *mlcc_tokenizer_add_piece(
    mlcc_tokenizer *t, const char *file, const char *text, size_t length, int32_t id,
    bool keeps_first) {
    if (!mlcc_tokenizer_reserve_ids(t, (size_t)id + 1)) return no_memory();
    mlcc_token *token = &t->tokens[id];
    if (token->text != NULL) {
        return MLCC_ERROR(
            INVALID, "'%s' gives the id %d to '%s' and to '%.*s', an id belongs to one piece", file,
            id, token->text, length < 100 ? (int)length : 100, text);
    }
    const char *copy = mlcc_bytes_keep(t->arena, text, length);
    *token =
        (mlcc_token){.text = copy, .text_bytes = length, .decoded = copy, .decoded_bytes = length};
    if (keeps_first) {
        mlcc_vocabulary_add(t->vocab, text, length, id);
    } else {
        mlcc_vocabulary_set(t->vocab, text, length, id);
    }
    return NULL;
}

// ---- added tokens ----------------------------------------------------------------------------------------------

// A content that model.vocab has keeps the id it has there; the file's own id is only a remark, as in the reference.
mlcc_status *mlcc_tokenizer_place_added(
    mlcc_tokenizer *t, const char *file, const char *place, mlcc_added_token *token) {
    if (mlcc_map_get(t->added, token->content, token->content_bytes, NULL)) {
        return MLCC_ERROR(
            INVALID, "'%s': %s has the content '%s', as another added token before it", file, place,
            token->content);
    }
    int32_t vocab_id = mlcc_vocabulary_find(t->vocab, token->content, token->content_bytes);
    bool is_in_vocab = vocab_id >= 0;
    if (is_in_vocab && vocab_id != token->id) {
        mlcc_log(
            MLCC_LOG_WARN, "text",
            "'%s': %s has the id %d, but model.vocab gives '%s' the id %d, which counts", file,
            place, token->id, token->content, vocab_id);
    }
    if (is_in_vocab) token->id = vocab_id;
    if (!mlcc_tokenizer_reserve_ids(t, (size_t)token->id + 1)) return no_memory();
    mlcc_token *entry = &t->tokens[token->id];
    if (entry->text != NULL && !is_in_vocab) {
        return MLCC_ERROR(
            INVALID, "'%s': %s gives the id %d to '%s', but it belongs to '%s'", file, place,
            token->id, token->content, entry->text);
    }
    *entry = (mlcc_token){
        .text = token->content,
        .text_bytes = token->content_bytes,
        .decoded = token->content,
        .decoded_bytes = token->content_bytes,
        .is_special = token->is_special,
    };
    mlcc_map_add(t->added, token->content, token->content_bytes, (uint64_t)token->id);
    t->n_added_tokens++;
    return NULL;
}

// Tokens marked as normalized are looked for in normalised text, so they are normalised themselves.
static mlcc_status *normalize_added_tokens(mlcc_tokenizer *t) {
    mlcc_normalize_scratch scratch = {.regex = mlcc_regex_scratch_create()};
    if (scratch.regex == NULL) return MLCC_ERROR(NO_MEMORY, "host memory ended");
    mlcc_status *status = NULL;
    for (size_t i = 0; status == NULL && i < t->n_added_tokens; i++) {
        mlcc_added_token *token = &t->added_tokens[i];
        if (!token->is_normalized) continue;
        const char *normal;
        size_t length;
        bool drops_start;
        status = mlcc_normalize(
            &t->normalizer, &scratch, token->content, token->content_bytes, &normal, &length,
            &drops_start);
        if (status != NULL) break;
        token->pattern = mlcc_bytes_keep(t->arena, normal, length);
        token->pattern_bytes = length;
        if (token->is_special) continue;
        t->tokens[token->id].decoded = token->pattern;
        t->tokens[token->id].decoded_bytes = length;
    }
    mlcc_regex_scratch_free(scratch.regex);
    mlcc_normalize_scratch_free(&scratch);
    if (status == NULL) {
        status = mlcc_added_tokens_create(t->added_tokens, t->n_added_tokens, false, &t->plain_set);
    }
    if (status == NULL) {
        status =
            mlcc_added_tokens_create(t->added_tokens, t->n_added_tokens, true, &t->normalized_set);
    }
    return status;
}

// ---- BOS and EOS -----------------------------------------------------------------------------------------------

// What transformers' slow tokenizers do by themselves; others add nothing.
static const struct {
    const char *tokenizer_class;
    bool adds_bos, adds_eos;
} class_rows[] = {
    {"LlamaTokenizer", true, false},     {"CodeLlamaTokenizer", true, false},
    {"GemmaTokenizer", true, false},     {"LlamaTokenizerFast", true, false},
    {"GemmaTokenizerFast", true, false}, {"InternLM2Tokenizer", true, false},
    {"InternLMTokenizer", true, false},  {"YiTokenizer", true, false},
    {"T5Tokenizer", false, true},        {"T5TokenizerFast", false, true},
};

static void add_end(
    mlcc_tokenizer *t, mlcc_template *template, const char *said, const char *usual) {
    int32_t id = mlcc_tokenizer_find(t, said != NULL ? said : usual);
    if (id < 0) return;
    int32_t *ids = mlcc_arena_alloc(t->arena, sizeof *ids);
    *ids = id;
    template->parts[template->n_parts++] = (mlcc_template_part){.ids = ids, .n_ids = 1};
}

mlcc_status *mlcc_tokenizer_add_ends(
    mlcc_tokenizer *t, const mlcc_tokenizer_config *config, const char *bos, const char *eos) {
    bool adds_bos = false, adds_eos = false;
    for (size_t i = 0; i < sizeof class_rows / sizeof *class_rows; i++) {
        if (config->tokenizer_class == NULL ||
            strcmp(config->tokenizer_class, class_rows[i].tokenizer_class) != 0) {
            continue;
        }
        adds_bos = class_rows[i].adds_bos;
        adds_eos = class_rows[i].adds_eos;
    }
    if (config->adds_bos != MLCC_UNSAID) adds_bos = config->adds_bos == MLCC_YES;
    if (config->adds_eos != MLCC_UNSAID) adds_eos = config->adds_eos == MLCC_YES;
    mlcc_post_processor *list = &t->post_processor;
    MLCC_ARENA_GROW(t->arena, list->steps, list->n_steps, list->capacity);
    mlcc_template *template = &list->steps[list->n_steps++];
    *template = (mlcc_template){.capacity = 3};
    template->parts = mlcc_arena_alloc_array(t->arena, 3, sizeof *template->parts);
    if (adds_bos) add_end(t, template, config->bos, bos);
    template->parts[template->n_parts++] = (mlcc_template_part){.is_text = true};
    if (adds_eos) add_end(t, template, config->eos, eos);
    return NULL;
}

mlcc_status *mlcc_tokenizer_finish(mlcc_tokenizer *t) {
    MLCC_TRY(normalize_added_tokens(t));
    uint8_t *special_ids = mlcc_arena_try_alloc(t->arena, t->n_tokens + 1);
    if (special_ids == NULL) return no_memory();
    for (size_t i = 0; i < t->n_tokens; i++) special_ids[i] = t->tokens[i].is_special;
    t->special_ids = special_ids;
    return NULL;
}
