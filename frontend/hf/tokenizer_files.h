// tokenizer_files: which tokenizer files a Hugging Face folder has, and the few facts about them that mlc-chat-config.json carries.
//
// mlcc copies what is there and converts nothing: the runtime reads tokenizer.json, or else tokenizer.model or a *.tiktoken file as they are. A
// folder with none of them is reported with a warning that says how to make one, or that RWKV's rwkv_vocab_v*.txt is not read. Rules: MLC LLM's
// gen_config.
#ifndef MLCC_FRONTEND_HF_TOKENIZER_FILES_H
#define MLCC_FRONTEND_HF_TOKENIZER_FILES_H

#include "runtime/base/arena.h"
#include "runtime/base/json.h"

typedef struct hf_tokenizer_info {
    const char *token_postproc_method; // "byte_fallback" or "byte_level"
    bool prepend_space_in_encode;      // a normalizer puts U+2581 in front
    bool strip_space_in_decode;        // a decoder strips one leading space
} hf_tokenizer_info;

typedef struct hf_tokenizer_files {
    const char **
        names; // present files, in MLC's copy order; then *.tiktoken where there is no tokenizer.json
    size_t n_names;
    bool has_tokenizer_json;
    hf_tokenizer_info info;
    int64_t
        active_vocab; // distinct tokens: vocabulary plus added tokens that are not in it; 0 without tokenizer.json
} hf_tokenizer_files;

// Lists `directory` and reads its tokenizer.json. Errors: not JSON, no model.vocab, two added tokens with equal content.
mlcc_status *hf_tokenizer_files_find(
    const char *directory, mlcc_arena *keep, hf_tokenizer_files *out);
// The facts alone, from the root of a tokenizer.json.
mlcc_status *hf_tokenizer_inspect(
    const mlcc_json_value *tokenizer, hf_tokenizer_info *info, int64_t *active_vocab);
// "byte_fallback", false, false: what MLC LLM assumes without a tokenizer.json.
hf_tokenizer_info hf_tokenizer_info_default(void);

#endif
