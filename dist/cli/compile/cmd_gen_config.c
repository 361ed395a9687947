// gen_config: the chat configuration and tokenizer files of a model directory.
#include "dist/artifact/gen_config.h"
#include "dist/cli/compile/commands.h"

#include <stdio.h>
#include <string.h>

// clang-format off
static const args_option options[] = {
    {.name = "quantization", .letter = 'q', .kind = ARGS_TEXT, .value_name = "MODE", .help = "quantization mode, for example q4f16_1; mlcc inspect --modes lists them (required)"},
    {.name = "conv-template", .kind = ARGS_TEXT, .value_name = "NAME", .help = "auto = the model's own Jinja template, else what fits its type; or a name: chatml, LM, …; inspect --templates lists them", .fallback = "auto"},
    {.name = "output", .letter = 'o', .kind = ARGS_TEXT, .value_name = "DIR", .help = "model directory to write into (required)"},
    {.name = "model-type", .kind = ARGS_TEXT, .value_name = "TYPE", .help = "auto = model_type of the config", .fallback = "auto"},
    {.name = "overrides of the config", .kind = ARGS_HEADING},
    {.name = "context-window-size", .kind = ARGS_INT, .value_name = "N", .help = "most tokens of a conversation", .min = 1, .max = 1 << 30},
    {.name = "sliding-window-size", .kind = ARGS_INT, .value_name = "N", .help = "only for models that have one", .min = 1, .max = 1 << 30},
    {.name = "prefill-chunk-size", .kind = ARGS_INT, .value_name = "N", .help = "most tokens of one forward pass", .min = 1, .max = 1 << 30},
    {.name = "attention-sink-size", .kind = ARGS_INT, .value_name = "N", .help = "only for models with a sliding window", .min = 1, .max = 1 << 30},
    {.name = "tensor-parallel-shards", .kind = ARGS_INT, .value_name = "N", .help = "written for MLC LLM; mlcc compile takes 1 only", .min = 1, .max = 1024},
    {.name = "pipeline-parallel-stages", .kind = ARGS_INT, .value_name = "N", .help = "written for MLC LLM; mlcc compile takes 1 only", .min = 1, .max = 1024},
    {.name = "max-batch-size", .kind = ARGS_INT, .value_name = "N", .help = "most sequences of one step [default: 128]", .min = 1, .max = 65536},
    {.name = "disaggregation", .kind = ARGS_TEXT, .value_name = "BOOL", .help = "true or false; written for MLC LLM, mlcc compile takes false only"},
};
// clang-format on

static mlcc_status *read_bool(const char *option, const char *text, bool *out) {
    if (strcmp(text, "true") == 0 || strcmp(text, "1") == 0) {
        *out = true;
    } else if (strcmp(text, "false") == 0 || strcmp(text, "0") == 0) {
        *out = false;
    } else {
        return args_usage("--%s is '%s'; accepted: true, false", option, text);
    }
    return NULL;
}

static mlcc_status *run_gen_config(const args_values *values) {
    static const char *const required[] = {"quantization", "output"};
    for (size_t i = 0; i < sizeof required / sizeof required[0]; i++) {
        if (!args_given(values, required[i])) return args_usage("--%s is missing", required[i]);
    }
    artifact_gen_config_options o = {
        .config = args_operand(values, 0),
        .quantization = args_text(values, "quantization"),
        .model_type = args_text(values, "model-type"),
        .conv_template = args_text(values, "conv-template"),
        .output = args_text(values, "output"),
        .overrides =
            {
                .context_window_size = args_int(values, "context-window-size"),
                .sliding_window_size = args_int(values, "sliding-window-size"),
                .prefill_chunk_size = args_int(values, "prefill-chunk-size"),
                .attention_sink_size = args_int(values, "attention-sink-size"),
                .tensor_parallel_shards = args_int(values, "tensor-parallel-shards"),
                .pipeline_parallel_stages = args_int(values, "pipeline-parallel-stages"),
                .max_batch_size = args_int(values, "max-batch-size"),
            },
        .has_disaggregation = args_given(values, "disaggregation"),
    };
    if (o.has_disaggregation) {
        MLCC_TRY(
            read_bool("disaggregation", args_text(values, "disaggregation"), &o.disaggregation));
    }
    mlcc_arena *keep = mlcc_arena_create();
    mlcc_status *status = artifact_gen_config(&o, keep);
    mlcc_arena_free(keep);
    if (status == NULL) fprintf(stderr, "wrote %s/mlc-chat-config.json\n", o.output);
    return status;
}

const args_command cmd_gen_config = {
    .name = "gen_config",
    .operands = "CONFIG",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "write the chat configuration of a model directory and copy its tokenizer",
    .details = "CONFIG is a Hugging Face model folder, its config.json, or a preset name such as "
               "tinyllama_1b_chat_v1.0.\nOf recurrent models (rwkv5, rwkv6) it writes the "
               "configuration, for MLC LLM; convert_weight and compile refuse them.\n\n"
               "example\n  mlcc gen_config ./TinyLlama --quantization q4f16_1 --conv-template "
               "chatml -o ./TinyLlama-q4f16_1-MLC",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .run = run_gen_config,
};
