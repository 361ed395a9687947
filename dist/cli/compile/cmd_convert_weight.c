// convert_weight: the weight store of a model directory.
#include "dist/artifact/convert_weight.h"
#include "dist/cli/compile/commands.h"
#include "dist/cli/run/console.h"

#include <stdio.h>

// clang-format off
static const args_option options[] = {
    {.name = "quantization", .letter = 'q', .kind = ARGS_TEXT, .value_name = "MODE", .help = "quantization mode, for example q4f16_1 (required)"},
    {.name = "output", .letter = 'o', .kind = ARGS_TEXT, .value_name = "DIR", .help = "model directory to write into (required)"},
    {.name = "source", .kind = ARGS_TEXT, .value_name = "PATH", .help = "folder, .safetensors file or its index; auto = beside the config", .fallback = "auto"},
    {.name = "source-format", .kind = ARGS_TEXT, .value_name = "NAME", .help = "auto, huggingface-safetensor", .fallback = "auto"},
    {.name = "model-type", .kind = ARGS_TEXT, .value_name = "TYPE", .help = "auto = model_type of the config", .fallback = "auto"},
    {.name = "device", .kind = ARGS_TEXT, .value_name = "NAME", .help = "accepted for MLC's sake; the arithmetic runs on the CPU and is the same everywhere", .fallback = "auto"},
    {.name = "f32-as-bf16", .kind = ARGS_FLAG, .help = "store float32 tensors as bfloat16, as MLC LLM does (they lose 16 bits)"},
    {.name = "threads", .letter = 't', .kind = ARGS_INT, .value_name = "N", .help = "threads; 0 = physical cores allowed", .fallback = "0", .min = 0, .max = 1024},
};
// clang-format on

static mlcc_status *run_convert_weight(const args_values *values) {
    if (!args_given(values, "quantization")) return args_usage("--quantization MODE is missing");
    if (!args_given(values, "output")) return args_usage("--output DIR is missing");
    console_progress progress = {0};
    artifact_convert_options o = {
        .config = args_operand(values, 0),
        .quantization = args_text(values, "quantization"),
        .model_type = args_text(values, "model-type"),
        .source = args_text(values, "source"),
        .source_format = args_text(values, "source-format"),
        .output = args_text(values, "output"),
        .f32_as_bf16 = args_flag(values, "f32-as-bf16"),
        .n_threads = (int32_t)args_int(values, "threads"),
        .progress = console_progress_report,
        .progress_user = &progress,
    };
    artifact_convert_result result;
    mlcc_status *status = artifact_convert_weight(&o, &result);
    console_progress_end(&progress);
    if (status != NULL) return status;
    char source[24], stored[24], rate[24];
    double seconds = result.seconds > 0.0 ? result.seconds : 1e-9;
    fprintf(
        stderr, "%llu params, %s read, %s written, %.2f bits per weight, %.1f s, %s/s\n",
        (unsigned long long)result.n_params, console_bytes(result.source_bytes, source),
        console_bytes((uint64_t)result.totals.param_bytes, stored), result.totals.bits_per_param,
        result.seconds, console_bytes((uint64_t)((double)result.source_bytes / seconds), rate));
    return NULL;
}

const args_command cmd_convert_weight = {
    .name = "convert_weight",
    .operands = "CONFIG",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "quantize a model's weights into a model directory",
    .details = "CONFIG is a Hugging Face model folder, its config.json, or a preset name. The "
               "store is MLC LLM's: params_shard_N.bin and\n"
               "tensor-cache.json. Until the last moment the directory keeps its old store.\n\n"
               "example\n  mlcc convert_weight ./TinyLlama --quantization q4f16_1 -o "
               "./TinyLlama-q4f16_1-MLC",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .run = run_convert_weight,
};
