// tokenizer_config: what tokenizer_config.json and added_tokens.json say about a vocabulary that is in another file (tokenizer.model,
// *.tiktoken). A folder with tokenizer.json does not need it: that file says everything itself.
#ifndef MLCC_RUNTIME_TEXT_TOKENIZER_CONFIG_H
#define MLCC_RUNTIME_TEXT_TOKENIZER_CONFIG_H

#include "runtime/base/arena.h"
#include "runtime/base/status.h"
#include "runtime/text/added_tokens.h"

typedef enum mlcc_choice { MLCC_UNSAID, MLCC_NO, MLCC_YES } mlcc_choice;

typedef struct mlcc_tokenizer_config {
    const char *tokenizer_class;    // "LlamaTokenizer"; NULL: unsaid
    mlcc_choice adds_bos, adds_eos; // add_bos_token, add_eos_token
    const char *bos, *eos;          // their texts; NULL: unsaid
    mlcc_added_token
        *tokens; // [n_tokens] added_tokens_decoder, then what only added_tokens.json has
    size_t n_tokens, capacity;
} mlcc_tokenizer_config;

// The names of the files that are read.
enum { MLCC_TOKENIZER_CONFIG_N_FILES = 2 };
extern const char *const mlcc_tokenizer_config_files[MLCC_TOKENIZER_CONFIG_N_FILES];

// Files that are not there say nothing. INVALID names file and key.
mlcc_status *mlcc_tokenizer_config_read(
    const char *directory, mlcc_arena *keep, mlcc_tokenizer_config *out);

#endif
