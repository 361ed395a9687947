// tokenizer: the parts of a loaded tokenizer.json and how text runs through them. The public functions are in runtime/mlcc.h.
//
//   text ─► repair UTF-8 ─► cut out added tokens ─► normalize ─► cut out normalized added tokens ─► pretokenize ─► model ─► post_process ─► ids
//   ids ─► tokens ─► decode ─► text
//
// Guarded text (mlcc_tokenizer_encode_guarded of runtime/mlcc.h) takes the same way: the search for added tokens passes over special ones in
// the ranges, the ranges are carried through the normalizer, and the model gets the list of ids that must not be spelled.
//
// Thread rule: a loaded tokenizer is only read; working memory comes from a pool behind a lock, so any number of threads may use
// one tokenizer at the same time.
#ifndef MLCC_RUNTIME_TEXT_TOKENIZER_H
#define MLCC_RUNTIME_TEXT_TOKENIZER_H

#include "runtime/base/arena.h"
#include "runtime/base/file.h"
#include "runtime/base/map.h"
#include "runtime/mlcc.h"
#include "runtime/text/added_tokens.h"
#include "runtime/text/decode.h"
#include "runtime/text/normalize.h"
#include "runtime/text/post_process.h"
#include "runtime/text/pretokenize.h"
#include "runtime/text/vocabulary.h"
#include "runtime/text/word_model.h"

#include <pthread.h>

// Ids must be below this: more than any vocabulary has, and little enough to index a table with.
enum { MLCC_TOKEN_ID_LIMIT = 1 << 21 };

typedef struct mlcc_token {
    const char *text; // NULL: no token has this id
    size_t text_bytes;
    const char *
        decoded; // what the decoder gets: the text, but the normalised form of a normalised added token
    size_t decoded_bytes;
    bool is_special;
} mlcc_token;

typedef struct mlcc_tokenizer_scratch mlcc_tokenizer_scratch;

struct mlcc_tokenizer {
    mlcc_arena *arena;      // strings and step lists
    mlcc_vocabulary *vocab; // model.vocab: piece → id
    mlcc_map *added;        // added tokens: content → id
    mlcc_token *tokens;     // [n_tokens] by id
    size_t n_tokens, tokens_capacity;
    mlcc_added_token *added_tokens;
    size_t n_added_tokens;
    mlcc_added_tokens *plain_set, *normalized_set;
    mlcc_normalizer normalizer;
    mlcc_pretokenizer pretokenizer;
    const mlcc_word_model_type *model_type;
    void *model;
    mlcc_trie *verbatim;        // SentencePiece's user-defined pieces; NULL: none
    const uint8_t *special_ids; // [n_tokens] 1: the token is special
    mlcc_post_processor post_processor;
    mlcc_decoder decoder;

    mlcc_mapping mapping; // the cache file it lies in, if it came from one

    pthread_mutex_t lock;
    mlcc_tokenizer_scratch *idle; // the pool
};

// Loads from the text of a tokenizer.json; `what` names it in errors.
mlcc_status *mlcc_tokenizer_load(
    const char *json, size_t length, const char *what, mlcc_tokenizer **out);
// The token with this id, or NULL; and the error to report then.
const mlcc_token *mlcc_tokenizer_token_of(const mlcc_tokenizer *tokenizer, int32_t id);
mlcc_status *mlcc_tokenizer_unknown_id(const mlcc_tokenizer *tokenizer, int32_t id);

#endif
