// mlcc: the public C API. Open a compiled model, feed tokens, get logits or tokens.
//
//   mlcc_model *model; mlcc_engine *engine; mlcc_sampler *sampler; mlcc_model_info info;
//   int32_t sequence, token; const float *logits; int64_t n_rows;
//   mlcc_sampling greedy = mlcc_sampling_default();
//   mlcc_model_open(&(mlcc_model_options){.directory = "dir"}, &model);
//   mlcc_model_get_info(model, &info);
//   mlcc_engine_create(model, &(mlcc_engine_options){.max_sequences = 1}, &engine);
//   mlcc_engine_add_sequence(engine, &sequence);
//   mlcc_sampler_create(&greedy, info.vocab, &sampler);
//   mlcc_batch_item item = {sequence, ids, n, MLCC_LOGITS_LAST};
//   mlcc_engine_sample(engine, &item, 1, &sampler, &token);        the next step brings &token
// or, with the logits at hand,
//   mlcc_engine_step(engine, &item, 1, &logits, &n_rows);          float logits[n_rows][vocab]
//   token = mlcc_sampler_sample(sampler, logits);
//
// Errors: every function that can fail returns mlcc_status *, NULL is success (runtime/base/status.h).
// Ownership: an engine must end before its model; a model may serve several engines.
// Thread rule: one thread at a time per engine and per sampler. The engines of one model share its
// thread pool and take turns, pass by pass; they may be driven from different threads.
#ifndef MLCC_RUNTIME_MLCC_H
#define MLCC_RUNTIME_MLCC_H

#include "runtime/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#    pragma GCC visibility push(default)
#endif

typedef struct mlcc_model mlcc_model;
typedef struct mlcc_engine mlcc_engine;
typedef struct mlcc_encoder mlcc_encoder;
typedef struct mlcc_sampler mlcc_sampler;
typedef struct mlcc_tokenizer mlcc_tokenizer;
typedef struct mlcc_chat_template mlcc_chat_template;

// Called while weights are checked ("verifying"), brought into the device layout ("preparing"), written
// to the prepared-weights cache ("keeping"), read into memory as they are ("reading"), copied to a
// device that has its own memory ("uploading"), or made up ("making up"); done and total in bytes. Always from the thread that opens the model; not
// at all when the weights only need to be mapped.
typedef void mlcc_progress(
    void *user, const char *phase, uint64_t done_bytes, uint64_t total_bytes);

// Where weights lie on the CPU that are in files as they are used: prepared ones that were kept, and
// what needs no preparation.
typedef enum mlcc_weights_memory {
    // copied where that pays (prepared weights where the system grants huge pages, all where memory has
    // several nodes) and twice their size is available; else mapped
    MLCC_WEIGHTS_AUTO,
    MLCC_WEIGHTS_MAPPED, // used where the file is: opens at once, and processes share the memory
    MLCC_WEIGHTS_COPIED  // read into the process's own memory, on huge pages: tokens come faster
} mlcc_weights_memory;

typedef struct mlcc_model_options {
    // model directory: tensor-cache.json, params_shard_N.bin, mlc-chat-config.json
    const char *directory;
    const char *library;         // lib.so; NULL = directory/lib.so
    int32_t n_threads;           // 0 = physical cores allowed
    bool verify;                 // check every shard's md5 and the prepared-weights cache first
    bool no_cache;               // neither read nor write the prepared-weights cache
    const char *cache_directory; // NULL = $MLCC_CACHE_DIR, $XDG_CACHE_HOME/mlcc, ~/.cache/mlcc
    mlcc_progress *progress;     // may be NULL
    void *progress_user;
    // "cpu", "cuda" (the first device), "cuda:N"; NULL or "auto" = what the library is compiled for
    const char *device;
    // random numbers instead of the store's tensors, to measure the speed of a library without its
    // weights; only the library and mlc-chat-config.json are read then
    bool made_up_weights;
    mlcc_weights_memory weights_memory; // only for the CPU
} mlcc_model_options;

// Errors: INVALID (a file is missing or damaged), MISMATCH (the library is for another machine, ABI,
// device or model: compile again), UNSUPPORTED (no CUDA driver, or it sees no device), DEVICE (the
// driver fails), IO, NO_MEMORY (the device's, too).
mlcc_status *mlcc_model_open(const mlcc_model_options *options, mlcc_model **out);
void mlcc_model_close(mlcc_model *model);

typedef struct mlcc_model_info {
    const char *model_type, *quantization, *target;
    // CPU levels that the library holds, "x86-64-v3, x86-64-v4"; `target` is the chosen one
    const char *cpu_levels;
    int64_t vocab;
    int64_t context_window;  // of mlc-chat-config.json, else of the library; -1 = no limit
    int64_t prefill_chunk;   // most tokens of one forward pass
    int64_t max_sequences;   // most sequences of one forward pass
    int64_t max_logits_rows; // most logits rows of one forward pass
    int64_t n_layers, n_kv_heads, head_dim;
    int32_t n_threads;            // threads that run the model
    uint64_t weight_bytes;        // prepared
    uint64_t mapped_weight_bytes; // of these, in mapped files: MLCC_WEIGHTS_MAPPED
    uint64_t kv_bytes_per_token;
    uint64_t workspace_bytes;
    double load_s;   // seconds that open took
    bool from_cache; // prepared weights were taken from the cache
    bool
        is_encoder; // for mlcc_encoder, not for mlcc_engine; it has no layers with a cache and no logits rows
    bool samples_on_device; // the device chooses the tokens of mlcc_engine_sample
    const char *device;     // "cpu", "cuda:0"
    const char
        *device_description; // "NVIDIA H100 80GB HBM3, compute capability 9.0, …"; "" for the CPU
} mlcc_model_info;
void mlcc_model_get_info(const mlcc_model *model, mlcc_model_info *info);
// The library's metadata JSON.
const char *mlcc_model_metadata(const mlcc_model *model);

typedef struct mlcc_engine_options {
    // Sequences that exist at a time; 0 = 1. May exceed the model's max_sequences: a step is then cut
    // into several passes.
    int32_t max_sequences;
    // KV cache capacity over all sequences, however they share it; 0 = context window × max_sequences.
    int64_t max_tokens;
} mlcc_engine_options;

// `options` NULL = all defaults. Memory for the cache is planned in full; on the CPU it is taken as it
// fills, on other devices at once: NO_MEMORY then lists what is needed and what max_tokens would fit.
mlcc_status *mlcc_engine_create(
    mlcc_model *model, const mlcc_engine_options *options, mlcc_engine **out);
void mlcc_engine_free(mlcc_engine *engine);
// Gives the lowest number that is not in use. INVALID when max_sequences exist.
mlcc_status *mlcc_engine_add_sequence(mlcc_engine *engine, int32_t *sequence);
void mlcc_engine_remove_sequence(mlcc_engine *engine, int32_t sequence); // an unknown one is fine
// Tokens in the cache; -1 when there is no such sequence.
int64_t mlcc_engine_sequence_length(const mlcc_engine *engine, int32_t sequence);
// Forgets the tail: length becomes `n_tokens`.
mlcc_status *mlcc_engine_truncate(mlcc_engine *engine, int32_t sequence, int64_t n_tokens);

typedef enum mlcc_logits { MLCC_LOGITS_NONE, MLCC_LOGITS_LAST, MLCC_LOGITS_ALL } mlcc_logits;

typedef struct mlcc_batch_item {
    int32_t sequence;
    const int32_t *tokens; // [n_tokens], appended to the sequence
    int64_t n_tokens;      // ≥ 1
    mlcc_logits logits;
} mlcc_batch_item;

// One ragged step: prefill and decode differ only in how many tokens a sequence brings. A step that
// exceeds prefill_chunk, max_sequences or max_logits_rows of the model is run in several forward
// passes with the same result. `logits`: [n_rows, vocab] float32, 64-byte aligned, rows in item order,
// valid until the next step; NULL when no row was asked for. Both out parameters may be NULL.
// A sequence may stand in one item only. Steps that bring one token a sequence allocate nothing; the
// logits of a step with several passes are collected in a buffer that grows to n_rows × vocab floats,
// so score long texts in pieces of some hundred tokens.
// Errors: context window or KV capacity exceeded, token id out of range, unknown sequence, a device
// that fails or is out of memory; all sequences are then unchanged, and after NO_MEMORY the engine can
// go on.
mlcc_status *mlcc_engine_step(
    mlcc_engine *engine, const mlcc_batch_item *items, int32_t n_items, const float **logits,
    int64_t *n_rows);

// The same step, and a token for each item that asks for MLCC_LOGITS_LAST: tokens[i] (-1 where logits
// are NONE) is what mlcc_sampler_sample(samplers[i], …) gives for the item's row, also where the device
// chooses and no logits come to the host (mlcc_model_info.samples_on_device). samplers[i] NULL is
// greedy; `samplers` NULL: all of them. `tokens` must not be where the items' tokens lie. After an error
// samplers are as before, too. INVALID: an item asks for ALL logits, a sampler stands twice or was made
// for another vocabulary.
mlcc_status *mlcc_engine_sample(
    mlcc_engine *engine, const mlcc_batch_item *items, int32_t n_items,
    mlcc_sampler *const *samplers, int32_t *tokens);

// What a library observes: one compiled with a *_max_calibrate mode raises, in every forward pass, one
// number per quantized module to the largest |x| among the module's inputs. `names`:
// "<module>.q_calibration_scale", in the library's order, valid as long as the model; `values`:
// maxima over all steps of this engine, 0 before the first (steps that failed may have raised them,
// too), valid until the next call. Other libraries observe nothing: *n_observations is 0. `names` and
// `values` may be NULL. Steps of any shape, batched or in pieces, give the same maxima as far as the
// inputs themselves are the same.
void mlcc_engine_observations(
    mlcc_engine *engine, size_t *n_observations, const char *const **names, const float **values);

typedef struct mlcc_sampling {
    float temperature;        // ≤ 1e-5: greedy
    float top_p;              // 1 = off
    int32_t top_k;            // 0 = off
    float min_p;              // 0 = off
    float repetition_penalty; // 1 = off
    float presence_penalty;   // 0 = off, [-2, 2]
    float frequency_penalty;  // 0 = off, [-2, 2]
    uint64_t seed;
} mlcc_sampling;
mlcc_sampling mlcc_sampling_default(void); // greedy, everything off

// Order, each over what the one before left:
//   penalties    over the tokens that this sampler returned: presence and frequency are subtracted,
//                then repetition divides positive and multiplies other logits
//   temperature  softmax of logits / temperature
//   top-k        the k most probable
//   top-p        the fewest most probable that reach the sum p of what top-k left, at least one
//   min-p        those with at least min_p times the largest probability
//   draw         by a number of xoshiro256**, seeded by splitmix64, over what is kept in the order of ids
// Probabilities are whole numbers (runtime/base/chance.h), so that every device draws the same token.
// Equal logits: the lower id first. NaN logits count as -inf; when no logit is above -inf the token
// is 0. INVALID names the parameter that is out of range and what is accepted.
mlcc_status *mlcc_sampler_create(const mlcc_sampling *sampling, int64_t vocab, mlcc_sampler **out);
void mlcc_sampler_free(mlcc_sampler *sampler);
// logits: [vocab]. Allocates nothing; counts the token for penalties.
int32_t mlcc_sampler_sample(mlcc_sampler *sampler, const float *logits);
// Forgets the generated tokens and starts again from the seed.
void mlcc_sampler_reset(mlcc_sampler *sampler);

// ---- Encoders (BERT and its like): texts become vectors.
//
//   mlcc_encoder *encoder; mlcc_encoder_info info;
//   mlcc_encoder_create(model, &encoder);                          a model whose info.is_encoder is true
//   mlcc_encoder_get_info(encoder, &info);
//   mlcc_encoder_item item = {ids, n};                             ids of one text, special tokens with them
//   mlcc_encoder_embed(encoder, &item, 1, NULL, vector);           float vector[info.width]

// How the rows x[0] … x[n-1] of a text's tokens, special ones with them, become one vector.
typedef enum mlcc_pooling {
    MLCC_POOLING_DEFAULT,       // what the model directory says (mlcc_encoder_info.pooling)
    MLCC_POOLING_CLS,           // "cls": x[0]
    MLCC_POOLING_MEAN,          // "mean"
    MLCC_POOLING_MAX,           // "max": column by column
    MLCC_POOLING_MEAN_SQRT,     // "mean_sqrt_len": the sum over sqrt(n)
    MLCC_POOLING_WEIGHTED_MEAN, // "weighted_mean": x[i] counts i + 1 times
    MLCC_POOLING_LAST           // "last": x[n-1]
} mlcc_pooling;
// INVALID lists the names. Both spellings of sentence-transformers and MLC LLM are known ("last", "lasttoken").
mlcc_status *mlcc_pooling_find(const char *name, mlcc_pooling *out);
const char *mlcc_pooling_name(mlcc_pooling pooling); // "mean"; never NULL

typedef enum mlcc_normalization {
    MLCC_NORMALIZE_DEFAULT, // what the model directory says
    MLCC_NORMALIZE_ON,      // vectors of length 1; one of zeros stays what it is
    MLCC_NORMALIZE_OFF
} mlcc_normalization;

typedef struct mlcc_encoder_info {
    int64_t width;      // of rows and vectors
    int64_t vocab;      // token ids are below this
    int64_t max_tokens; // of one text; longer ones are refused, so cut them before
    int64_t
        pass_tokens; // most tokens of one forward pass: so many texts as fit go through together
    mlcc_pooling pooling;
    bool normalizes;
} mlcc_encoder_info;

typedef struct mlcc_encoder_item {
    const int32_t *tokens; // [n_tokens]
    int64_t n_tokens;      // 1 … max_tokens
} mlcc_encoder_item;

typedef struct mlcc_embed_options {
    mlcc_pooling pooling;
    mlcc_normalization normalize;
} mlcc_embed_options;

// UNSUPPORTED: the model is a decoder. An encoder must end before its model; a model may serve several, one thread at a time each.
mlcc_status *mlcc_encoder_create(mlcc_model *model, mlcc_encoder **out);
void mlcc_encoder_free(mlcc_encoder *encoder); // NULL is fine
void mlcc_encoder_get_info(const mlcc_encoder *encoder, mlcc_encoder_info *info);
// A vector for every item. `embeddings`: the caller's, float [n_items, width], C order. `options` NULL = all defaults. Texts share passes in
// their order; what a text becomes does not depend on the others. Allocates nothing. INVALID: an item without tokens or with more than
// max_tokens, a token id out of range; nothing has been written then.
mlcc_status *mlcc_encoder_embed(
    mlcc_encoder *encoder, const mlcc_encoder_item *items, int64_t n_items,
    const mlcc_embed_options *options, float *embeddings);
// The rows themselves, item after item: `rows` float [sum of n_tokens, width].
mlcc_status *mlcc_encoder_rows(
    mlcc_encoder *encoder, const mlcc_encoder_item *items, int64_t n_items, float *rows);

// Text. `directory` needs only the tokenizer files.
mlcc_status *mlcc_tokenizer_open(const char *directory, mlcc_tokenizer **out);
typedef struct mlcc_tokenizer_options {
    const char *directory;
    // A tokenizer that comes from more than 256 KiB is kept in DIRECTORY/tokenizer.cache, or where that cannot be written in the cache
    // directory, and only mapped the next time. Its files are read again when their content has changed.
    bool no_cache;               // neither read nor write that
    const char *cache_directory; // not NULL: any tokenizer is kept there and nowhere else
} mlcc_tokenizer_options;
mlcc_status *mlcc_tokenizer_open_with(const mlcc_tokenizer_options *options, mlcc_tokenizer **out);
void mlcc_tokenizer_close(mlcc_tokenizer *tokenizer);
int64_t mlcc_tokenizer_vocab(const mlcc_tokenizer *tokenizer); // ids are below this
// `text` is any byte string; invalid UTF-8 is replaced by U+FFFD. *ids is malloc'ed. `add_special`: run the post-processor (BOS).
mlcc_status *mlcc_tokenizer_encode(
    const mlcc_tokenizer *tokenizer, const char *text, size_t length, bool add_special,
    int32_t **ids, size_t *n_ids);
// The bytes [begin, end) of a text.
typedef struct mlcc_text_range {
    size_t begin;
    size_t end;
} mlcc_text_range;
// The same for a text of which parts came from somebody who is not trusted: what the user said, inside what a chat template wrote. No
// special token ("<|im_end|>") is found in a guarded range, even partly; what is written there becomes the tokens of its characters.
// Everything else is as above: without such words inside the ranges the ids are those of mlcc_tokenizer_encode. The ranges are in order
// and do not overlap (INVALID); one that cuts a character guards the whole of it.
mlcc_status *mlcc_tokenizer_encode_guarded(
    const mlcc_tokenizer *tokenizer, const char *text, size_t length,
    const mlcc_text_range *guarded, size_t n_guarded, bool add_special, int32_t **ids,
    size_t *n_ids);
// *text is malloc'ed, NUL-terminated. Unknown ids are an error.
mlcc_status *mlcc_tokenizer_decode(
    const mlcc_tokenizer *tokenizer, const int32_t *ids, size_t n_ids, bool skip_special,
    char **text, size_t *length);
// The token's own text ("▁the"), or NULL.
const char *mlcc_tokenizer_token(const mlcc_tokenizer *tokenizer, int32_t id);
int32_t mlcc_tokenizer_find(const mlcc_tokenizer *tokenizer, const char *token); // -1 when absent

// Chat: the directory's conversation template (mlc-chat-config.json), the model's own Jinja template where it has one.
mlcc_status *mlcc_chat_template_open(const char *directory, mlcc_chat_template **out);
void mlcc_chat_template_free(mlcc_chat_template *chat);
// What a Jinja template reads beside the messages: "tools" and "documents", lists of objects as OpenAI's API has them, and "variables", an object
// of more variables ({"enable_thinking": false}). JSON text, copied; NULL takes it away. UNSUPPORTED: the template is none of Jinja.
mlcc_status *mlcc_chat_template_set(
    mlcc_chat_template *chat, const char *input, const char *json, size_t length);
// The prompt for an answer to `messages`: JSON text, a list of {"role": …, "content": …} as OpenAI's API has them, with tool_calls and the role
// tool. With a Jinja template nothing that messages or inputs say becomes a special token. *ids is malloc'ed.
mlcc_status *mlcc_chat_template_encode(
    const mlcc_chat_template *chat, const mlcc_tokenizer *tokenizer, const char *messages,
    size_t length, int32_t **ids, size_t *n_ids);
// Whether this token ends an answer.
bool mlcc_chat_template_is_stop(const mlcc_chat_template *chat, int32_t id);

// Streaming decode: never emits half a character.
typedef struct mlcc_text_stream mlcc_text_stream;
mlcc_status *mlcc_text_stream_create(
    const mlcc_tokenizer *tokenizer, bool skip_special, mlcc_text_stream **out);
void mlcc_text_stream_free(mlcc_text_stream *stream);
// *text points into the stream, valid until the next call; may be empty.
mlcc_status *mlcc_text_stream_push(
    mlcc_text_stream *stream, int32_t id, const char **text, size_t *length);
mlcc_status *mlcc_text_stream_finish(
    mlcc_text_stream *stream, const char **text,
    size_t *length); // what is left, broken bytes as U+FFFD

#if defined(__GNUC__)
#    pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif

#endif
