// import: the one entry. A model configuration becomes an IR module at GRAPH level: function @forward and the params it reads.
//
//   func @forward(%ids: i32[n_tokens], %positions: i32[n_tokens], %seq_ids: i32[n_tokens], %page_table: i32[n_seqs, n_page_slots],
//                 %logit_rows: i32[n_logits], %kv.0: KV[n_pages, 2, n_kv_heads, 16, head_dim], … %kv.<L-1>) -> logits f32[n_logits, vocab], kv.0 … kv.<L-1>
//
//   func @sample(%logits: f32[n_logits, vocab], %settings: f32[n_logits, 5], %random: i32[n_logits, 2], %ranges: i32[n_logits, 2],
//                %tokens: i32[n_history], %subtracted: f32[n_history]) -> tokens i32[n_logits]          where import_options.samples asks for it
//
// An encoder (import_is_encoder) has @embed instead, see arch/encoder.h.
// Projections stand alone (q_proj, k_proj, …) with Hugging Face's tensor names as sources; passes join them. Params start as f32: the pass
// `quantize` gives them the mode's format.
#ifndef MLCC_FRONTEND_IMPORT_H
#define MLCC_FRONTEND_IMPORT_H

#include "frontend/hf/model_config.h"
#include "frontend/hf/weight_source.h"

// Larger ones do not fit the bits that a GPU's kernel keeps of them; their logits go to the host.
#define IMPORT_MAX_SAMPLED_VOCAB ((int64_t)3 << 17)
// Bound of n_history: tokens with penalties, of all sequences of a pass together.
#define IMPORT_MAX_HISTORY       ((int64_t)1 << 16)

typedef struct import_options {
    ir_dtype activation_dtype; // what flows between ops: F32 on the CPU target
    ir_dtype kv_dtype;         // element of the KV cache
    int64_t max_tokens;        // bound of n_tokens; 0 = config's prefill_chunk_size
    int64_t max_sequences;     // bound of n_seqs and n_logits; 0 = config's max_batch_size
    bool
        samples; // add @sample: the target chooses tokens, too (not for vocabularies above IMPORT_MAX_SAMPLED_VOCAB)
} import_options;

// UNSUPPORTED: a model type that nobody knows, or a recurrent one, whose configuration alone is known (arch_has_graph).
mlcc_status *import_model(
    const hf_model_config *config, const import_options *options, mlcc_arena *keep,
    ir_module **out);
// Whether the module has @embed and no @forward; MLC LLM's model_task: "chat", "embedding".
bool import_is_encoder(const hf_model_config *config);
const char *import_task(const hf_model_config *config);
// What the checkpoint adds to a quantization mode, for quant_mode_resolve: the group size of its 4-bit codes and the linears (not the head) that it left in
// float. From the checkpoint's own files for a config read from Hugging Face's, else what mlc-chat-config.json carries (hf_model_config.quantization).
mlcc_status *import_quant_options(
    const hf_model_config *config, mlcc_arena *keep, quant_options *out);
// The checkpoint's tensors as the params have them: rows in MLC LLM's order, Conv1D weights transposed, 1 added to gains that are stored without it.
// *out is `base` itself when nothing is to be done; otherwise a source that owns it. Errors: `base` stays the caller's.
mlcc_status *import_arrange_source(
    const hf_model_config *config, hf_weight_source *base, mlcc_arena *keep,
    hf_weight_source **out);
// Another tensor that may stand for `source` where a file lacks it: a tied model may store its one table as the embedding or as the head. NULL = none.
const char *import_source_alternative(const hf_model_config *config, const char *source);
// A source tensor that may stay unread without a warning: derived tables of old files, the head of a tied model. Ask it only about sources that no
// param uses: in a file that holds a tied table as the head alone, the head is read all the same.
bool import_source_is_unused(const hf_model_config *config, const char *source);
// Every accepted model_type, for messages and `inspect`.
const char *const *import_model_types(size_t *n_types);

#endif
