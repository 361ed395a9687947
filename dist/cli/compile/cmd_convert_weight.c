// convert_weight: the weight store of a model directory.
#include "dist/artifact/convert_weight.h"
#include "dist/cli/compile/commands.h"
#include "dist/cli/compile/inspect_report.h"
#include "dist/cli/run/console.h"
#include "runtime/base/clock.h"

#include <stdio.h>

// clang-format off
static const args_option options[] = {
    {.name = "quantization", .letter = 'q', .kind = ARGS_TEXT, .value_name = "MODE", .help = "quantization mode, for example q4f16_1; mlcc inspect --modes lists them (required)"},
    {.name = "output", .letter = 'o', .kind = ARGS_TEXT, .value_name = "DIR", .help = "model directory to write into (required)"},
    {.name = "source", .kind = ARGS_TEXT, .value_name = "PATH", .help = "folder, weight file or its index; auto = beside the config", .fallback = "auto"},
    {.name = "source-format", .kind = ARGS_TEXT, .value_name = "NAME", .help = "auto, huggingface-safetensor, huggingface-torch, awq, gptq, compressed-tensors, fp8", .fallback = "auto"},
    {.name = "model-type", .kind = ARGS_TEXT, .value_name = "TYPE", .help = "auto = model_type of the config", .fallback = "auto"},
    {.name = "device", .kind = ARGS_TEXT, .value_name = "NAME", .help = "accepted for MLC's sake; the arithmetic runs on the CPU and is the same everywhere", .fallback = "auto"},
    {.name = "f32-as-bf16", .kind = ARGS_FLAG, .help = "store float32 tensors as bfloat16, as MLC LLM does (they lose 16 bits)"},
    {.name = "resume", .kind = ARGS_FLAG, .help = "go on with what a killed conversion left in DIR; what is finished stays when this one is interrupted"},
    {.name = "threads", .letter = 't', .kind = ARGS_INT, .value_name = "N", .help = "threads; 0 = physical cores allowed", .fallback = "0", .min = 0, .max = 1024},
    {.name = "json", .kind = ARGS_FLAG, .help = "print one JSON object about the result"},
};
// clang-format on

static void print_json(const artifact_convert_result *result) {
    static const inspect_column columns[] = {
        {"family", false}, {"tensors", true}, {"reason", false}, {"relative_error", true}};
    const convert_report *found = &result->report;
    inspect_report *report = inspect_report_open(true);
    inspect_put_int(report, "params", (int64_t)result->n_params);
    inspect_put_bytes(report, "source_bytes", result->source_bytes);
    inspect_put_bytes(report, "param_bytes", result->totals.param_bytes);
    inspect_put_bytes(report, "stored_bytes", result->totals.stored_bytes);
    inspect_put_int(report, "records", (int64_t)result->totals.n_records);
    inspect_put_int(report, "shards", (int64_t)result->totals.n_shards);
    inspect_put_int(report, "resumed_shards", (int64_t)result->totals.n_resumed_shards);
    inspect_put_real(report, "bits_per_param", result->totals.bits_per_param);
    inspect_put_real(report, "seconds", result->seconds);
    inspect_put_bytes(report, "peak_rss_bytes", mlcc_peak_rss_bytes());
    inspect_section(report, "quantized_sources");
    inspect_put_int(report, "unchanged", (int64_t)found->n_unchanged);
    inspect_put_int(report, "requantized", (int64_t)found->n_requantized);
    inspect_put_int(report, "dequantized", (int64_t)found->n_dequantized);
    inspect_table(report, "families", columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < found->n_families; i++) {
        inspect_cell_text(report, found->families[i].name);
        inspect_cell_int(report, (int64_t)found->families[i].n_tensors);
        inspect_cell_text(report, found->families[i].reason);
        inspect_cell_real(report, convert_family_error(&found->families[i]), 5);
    }
    inspect_table_end(report);
    inspect_section_end(report);
    inspect_section(report, "activation_scales");
    inspect_put_int(report, "all", (int64_t)found->n_optional);
    inspect_put_int(report, "missing", (int64_t)found->n_optional_missing);
    inspect_section_end(report);
    inspect_report_close(report, true);
}

static void print_summary(const artifact_convert_result *result) {
    char source[24], stored[24], rate[24];
    const double seconds = result->seconds > 0.0 ? result->seconds : 1e-9;
    const convert_report *found = &result->report;
    if (found->n_unchanged + found->n_requantized + found->n_dequantized > 0) {
        fprintf(
            stderr,
            "quantized tensors of the source: %llu stored unchanged, %llu quantized anew, %llu "
            "stored as floats\n",
            (unsigned long long)found->n_unchanged, (unsigned long long)found->n_requantized,
            (unsigned long long)found->n_dequantized);
    }
    if (result->totals.n_resumed_shards > 0) {
        fprintf(
            stderr, "%llu of %llu shards were finished before\n",
            (unsigned long long)result->totals.n_resumed_shards,
            (unsigned long long)result->totals.n_shards);
    }
    fprintf(
        stderr, "%llu params, %s read, %s written, %.2f bits per weight, %.1f s, %s/s\n",
        (unsigned long long)result->n_params, console_bytes(result->source_bytes, source),
        console_bytes((uint64_t)result->totals.param_bytes, stored), result->totals.bits_per_param,
        result->seconds, console_bytes((uint64_t)((double)result->source_bytes / seconds), rate));
}

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
        .resume = args_flag(values, "resume"),
        .n_threads = (int32_t)args_int(values, "threads"),
        .progress = console_progress_report,
        .progress_user = &progress,
    };
    if (o.resume)
        console_interrupt_note(
            "interrupted; finished shards are kept, the same command goes on from there\n");
    artifact_convert_result result;
    mlcc_status *status = artifact_convert_weight(&o, &result);
    console_interrupt_note(NULL);
    console_progress_end(&progress);
    if (status != NULL) return status;
    print_summary(&result);
    if (args_flag(values, "json")) print_json(&result);
    return NULL;
}

const args_command cmd_convert_weight = {
    .name = "convert_weight",
    .old_name = "convert_weights",
    .operands = "CONFIG",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "quantize a model's weights into a model directory",
    .details =
        "CONFIG is a Hugging Face model folder, its config.json, or a preset name. The store is "
        "MLC LLM's: params_shard_N.bin and\n"
        "tensor-cache.json. Until the last moment the directory keeps its old store.\n\n"
        "Weights may be float or quantized by others (AWQ, GPTQ, compressed-tensors, FP8): codes "
        "that the mode can hold are stored\n"
        "unchanged, others are quantized anew, and the command says which and why.\n\n"
        "A conversion that was killed leaves its finished shards behind. The same command with "
        "--resume checks them (XXH3-128)\n"
        "and goes on; without it they are removed. Ctrl-C removes them too, unless --resume was "
        "given.\n\n"
        "examples\n"
        "  mlcc convert_weight ./TinyLlama --quantization q4f16_1 -o ./TinyLlama-q4f16_1-MLC\n"
        "  mlcc convert_weight ./Qwen2-AWQ -q q4f16_autoawq -o ./Qwen2-AWQ-MLC --json\n"
        "  mlcc convert_weight ./Llama-3-70B -q q4f16_1 -o /big/disk/out --resume\n"
        "  mlcc diff ./TinyLlama-q4f16_1-MLC ./TinyLlama     what quantizing cost",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .run = run_convert_weight,
};
