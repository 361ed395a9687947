// embed: texts to vectors, with a library compiled from an encoder.
#include "dist/cli/run/commands.h"
#include "dist/cli/run/embed_texts.h"
#include "dist/cli/run/npy.h"
#include "dist/cli/run/open_model.h"
#include "runtime/base/clock.h"
#include "runtime/base/file.h"
#include "runtime/base/str.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// clang-format off
static const args_option options[] = {
    {.name = "text", .kind = ARGS_TEXT, .value_name = "TEXT", .help = "one text"},
    {.name = "file", .letter = 'f', .kind = ARGS_TEXT, .value_name = "FILE", .help = "UTF-8, a text each line; without --text and --file lines come from standard input"},
    {.name = "pooling", .kind = ARGS_TEXT, .value_name = "HOW", .help = "cls, mean, max, mean_sqrt_len, weighted_mean or last; default: what mlc-chat-config.json says"},
    {.name = "normalize", .kind = ARGS_TEXT, .value_name = "ON_OFF", .help = "on: vectors of length 1; off; default: what mlc-chat-config.json says"},
    {.name = "too-long", .kind = ARGS_TEXT, .value_name = "HOW", .help = "texts longer than the model reads: cut them, with a warning, or refuse them", .fallback = "cut"},
    {.name = "output", .letter = 'o', .kind = ARGS_TEXT, .value_name = "FILE.npy", .help = "write float32 [texts, width] as NumPy's .npy instead of printing"},
    {.name = "json", .kind = ARGS_FLAG, .help = "print one JSON object: pooling, normalize, width, embeddings [{index, n_tokens, is_cut, embedding}]"},
    OPEN_MODEL_OPTIONS,
};
// clang-format on

typedef struct embedding_job {
    mlcc_model *model;
    mlcc_encoder *encoder;
    mlcc_tokenizer *tokenizer;
    mlcc_encoder_info info;
    mlcc_embed_options how;
    embed_texts texts;
    float *vectors; // [texts.n_items, width]
} embedding_job;

static mlcc_status *read_options(const args_values *values, embedding_job *job) {
    const char *pooling = args_text(values, "pooling"), *normalize = args_text(values, "normalize");
    const char *too_long = args_text(values, "too-long");
    if (args_given(values, "text") && args_given(values, "file"))
        return args_usage("give --text or --file, not both");
    if (args_given(values, "output") && args_flag(values, "json"))
        return args_usage("give --output or --json, not both");
    if (normalize != NULL && strcmp(normalize, "on") != 0 && strcmp(normalize, "off") != 0)
        return args_usage("--normalize is '%s'; accepted: on, off", normalize);
    if (strcmp(too_long, "cut") != 0 && strcmp(too_long, "refuse") != 0)
        return args_usage("--too-long is '%s'; accepted: cut, refuse", too_long);
    job->texts.refuses_long = strcmp(too_long, "refuse") == 0;
    if (normalize != NULL)
        job->how.normalize = strcmp(normalize, "on") == 0 ? MLCC_NORMALIZE_ON : MLCC_NORMALIZE_OFF;
    mlcc_status *status = pooling == NULL ? NULL : mlcc_pooling_find(pooling, &job->how.pooling);
    if (status == NULL) return NULL;
    mlcc_status *usage = args_usage("--%s", mlcc_status_message(status));
    mlcc_status_free(status);
    return usage;
}

// What the command line does not say, the model directory does.
static void take_defaults(embedding_job *job) {
    if (job->how.pooling == MLCC_POOLING_DEFAULT) job->how.pooling = job->info.pooling;
    if (job->how.normalize == MLCC_NORMALIZE_DEFAULT)
        job->how.normalize = job->info.normalizes ? MLCC_NORMALIZE_ON : MLCC_NORMALIZE_OFF;
}

static mlcc_status *embed_all(embedding_job *job) {
    const embed_texts *texts = &job->texts;
    size_t size_bytes = 0;
    const bool fits =
        mlcc_size_mul((size_t)texts->n_items, (size_t)job->info.width * sizeof(float), &size_bytes);
    job->vectors = fits ? malloc(size_bytes) : NULL;
    if (job->vectors == NULL)
        return MLCC_ERROR(
            NO_MEMORY, "memory for %" PRId64 " vectors of %" PRId64 " numbers cannot be had",
            texts->n_items, job->info.width);
    const double start_s = mlcc_clock_s();
    MLCC_TRY(
        mlcc_encoder_embed(job->encoder, texts->items, texts->n_items, &job->how, job->vectors));
    const double seconds = mlcc_clock_s() - start_s;
    const double divisor = seconds > 1e-9 ? seconds : 1e-9;
    fprintf(
        stderr,
        "%" PRId64 " text%s, %" PRId64
        " tokens, %.3f s: %.1f texts/s, %.0f tokens/s; %s pooling, %snormalized\n",
        texts->n_items, texts->n_items == 1 ? "" : "s", texts->n_tokens, seconds,
        (double)texts->n_items / divisor, (double)texts->n_tokens / divisor,
        mlcc_pooling_name(job->how.pooling), job->how.normalize == MLCC_NORMALIZE_ON ? "" : "not ");
    return NULL;
}

static void print_vector(const embedding_job *job, int64_t index, const char *separator) {
    const float *vector = job->vectors + index * job->info.width;
    for (int64_t i = 0; i < job->info.width; i++)
        printf("%s%.9g", i == 0 ? "" : separator, (double)vector[i]);
}

// JSON has no NaN and no infinity: null stands for them.
static void print_json_vector(const embedding_job *job, int64_t index) {
    const float *vector = job->vectors + index * job->info.width;
    for (int64_t i = 0; i < job->info.width; i++) {
        if (i > 0) fputs(", ", stdout);
        if (isfinite(vector[i]))
            printf("%.9g", (double)vector[i]);
        else
            fputs("null", stdout);
    }
}

static void print_json(const embedding_job *job) {
    printf(
        "{\"pooling\": \"%s\", \"normalize\": %s, \"width\": %" PRId64 ", \"embeddings\": [",
        mlcc_pooling_name(job->how.pooling),
        job->how.normalize == MLCC_NORMALIZE_ON ? "true" : "false", job->info.width);
    for (int64_t i = 0; i < job->texts.n_items; i++) {
        printf(
            "%s\n  {\"index\": %" PRId64 ", \"n_tokens\": %" PRId64
            ", \"is_cut\": %s, \"embedding\": [",
            i == 0 ? "" : ",", i, job->texts.items[i].n_tokens,
            job->texts.is_cut[i] ? "true" : "false");
        print_json_vector(job, i);
        fputs("]}", stdout);
    }
    puts("\n]}");
}

static mlcc_status *put_out(const embedding_job *job, const args_values *values) {
    const char *output = args_text(values, "output");
    if (output != NULL)
        return npy_write_f32(output, job->vectors, job->texts.n_items, job->info.width);
    if (args_flag(values, "json")) {
        print_json(job);
        return NULL;
    }
    for (int64_t i = 0; i < job->texts.n_items; i++) {
        print_vector(job, i, " ");
        putchar('\n');
    }
    return NULL;
}

static mlcc_status *run_job(embedding_job *job, const args_values *values) {
    const char *directory = args_operand(values, 0);
    MLCC_TRY(read_options(values, job));
    MLCC_TRY(open_model_check_directory(directory));
    if (args_given(values, "output"))
        MLCC_TRY(mlcc_file_check_writable(args_text(values, "output")));
    MLCC_TRY(embed_texts_read(args_text(values, "text"), args_text(values, "file"), &job->texts));
    MLCC_TRY(open_model(directory, values, &job->model));
    MLCC_TRY(mlcc_encoder_create(job->model, &job->encoder));
    mlcc_encoder_get_info(job->encoder, &job->info);
    take_defaults(job);
    const mlcc_tokenizer_options tokenizer_options = {
        .directory = directory, .no_cache = args_flag(values, "no-cache")};
    MLCC_TRY(mlcc_tokenizer_open_with(&tokenizer_options, &job->tokenizer));
    MLCC_TRY(embed_texts_encode(&job->texts, job->tokenizer, job->info.max_tokens));
    MLCC_TRY(embed_all(job));
    return put_out(job, values);
}

static mlcc_status *run_embed(const args_values *values) {
    embedding_job job = {0};
    mlcc_status *status = run_job(&job, values);
    free(job.vectors);
    embed_texts_free(&job.texts);
    mlcc_tokenizer_close(job.tokenizer);
    mlcc_encoder_free(job.encoder);
    mlcc_model_close(job.model);
    return status;
}

const args_command cmd_embed = {
    .name = "embed",
    .operands = "DIR",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "texts to vectors, with an encoder",
    .details = "DIR: a model directory with lib.so, weights and tokenizer of an encoder "
               "(model_type bert). A vector a line\n"
               "is printed, in the order of the texts. How the rows of a text's tokens become one "
               "vector stands in\n"
               "mlc-chat-config.json (embedding_metadata), where gen_config puts what "
               "sentence-transformers' files say.\n\n"
               "examples\n  mlcc embed ./bge --text 'what is a compiler'\n"
               "  mlcc embed ./minilm --file sentences.txt --output vectors.npy\n"
               "  mlcc embed ./minilm --pooling cls --normalize off --json < sentences.txt",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .run = run_embed,
};
