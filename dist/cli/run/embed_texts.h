// embed_texts: the texts of `mlcc embed`: one from the command line, or a line each from a file or standard input; and their tokens.
#ifndef MLCC_DIST_CLI_RUN_EMBED_TEXTS_H
#define MLCC_DIST_CLI_RUN_EMBED_TEXTS_H

#include "runtime/mlcc.h"

typedef struct embed_texts {
    bool
        refuses_long; // texts with too many tokens are an error; else they are cut, and a warning says how many
    char *bytes;
    size_t *begins, *ends; // [n_items]: text i is bytes[begins[i], ends[i])
    const char *where;     // "--text", a file's name, "standard input"
    int64_t n_items, n_tokens;
    mlcc_encoder_item *items; // [n_items], tokens malloc'ed
    bool *is_cut;             // [n_items]
} embed_texts;

// `text` or `file`, or neither: standard input. INVALID: no text at all, an empty line (but for what follows the last newline), bytes that are no
// UTF-8, each with its line. `texts` needs freeing after an error, too.
mlcc_status *embed_texts_read(const char *text, const char *file, embed_texts *texts);
// With the special tokens that the tokenizer's template puts around a text; what is cut is cut inside them.
mlcc_status *embed_texts_encode(
    embed_texts *texts, const mlcc_tokenizer *tokenizer, int64_t max_tokens);
void embed_texts_free(embed_texts *texts); // all zeros is fine

#endif
