#!/usr/bin/env bash
# --help of every command works and names every option; wrong words are usage errors (exit code 2) with a hint.
. tests/support/check.sh

# ---- the programs ----
for program in "$mlcc" "$mlcc_run"; do
    run "$program" --help
    expect 0 "$program --help"
    expect_out "$program --help" usage: commands generate perplexity tokenize bench "Exit codes"
    run "$program" help
    expect 0 "$program help"
    run "$program" help tokenize
    expect 0 "$program help COMMAND"
    expect_out "$program help COMMAND" "usage: $(basename "$program") tokenize" "--decode"
    run "$program" help tokenise
    expect 2 "help of no command" "unknown command 'tokenise'" "did you mean 'tokenize'"
    run "$program" --version
    expect 0 "$program --version"
    expect_out "$program --version" "$(basename "$program") "
    run "$program"
    expect 2 "$program without a command" usage:
    run "$program" genrate
    expect 2 "unknown command" "unknown command 'genrate'" "did you mean 'generate'" "--help"
    run "$program" frobnicate
    expect 2 "unknown command without a neighbour" "unknown command 'frobnicate'"
done
run "$mlcc" --help
expect_out "mlcc --help lists" gen_config convert_weight compile calibrate generate perplexity tokenize bench inspect diff opt
run "$mlcc_run" compile x
expect 2 "mlcc-run cannot compile" "unknown command 'compile'"
run "$mlcc" gen-config --help
expect 0 "dashes stand for underscores in command names"

# ---- names that MLC LLM has or documents ----
run "$mlcc" convert_weights $tiny --quantization q0f16 -o "$work/renamed"
expect 0 "an old command name" "warning: 'convert_weights' is now called 'convert_weight'"
[ -e "$work/renamed/tensor-cache.json" ] || failed "convert_weights does not convert"
run "$mlcc_run" convert_weights x
expect 2 "no such command on the run side" "unknown command 'convert_weights'"
run "$mlcc" gen_config $tiny --quantization q4f16_awq --conv-template LM --max-batch-size 3 -o "$work/renamed"
expect 0 "an old mode name" "warning:" "'q4f16_awq' is now called 'q4f16_autoawq'"
expect_same "one warning" 1 "$(grep -c warning "$err")"
expect_same "the mode has its name of today" q4f16_autoawq "$(py get "$work/renamed/mlc-chat-config.json" quantization)"
run "$mlcc" compile "$work/renamed" --quantization e4m3_e4m3_f16_calibrate --opt O3 --host auto --enable-subgroups --system-lib-prefix auto \
    --device auto --overrides "context_window_size=64;prefill_chunk_size=32" --target "$any_cpu" --output "$work/renamed/lib.so"
expect 0 "options of MLC's compile" "'e4m3_e4m3_f16_calibrate' is now called 'e4m3_e4m3_f16_max_calibrate'"
run "$mlcc" compile "$work/renamed" --host x86_64-linux-gnu
expect 1 "another host" "--host is 'x86_64-linux-gnu'" --target
run "$mlcc" compile "$work/renamed" --system-lib-prefix my_
expect 1 "a prefix" "--system-lib-prefix is 'my_'"
for command in gen_config convert_weight compile calibrate opt; do
    run "$mlcc" $command --help
    expect_out "$command takes both spellings of the output" "-o, --output"
done
for command in gen_config convert_weight compile; do
    run "$mlcc" $command --help
    expect_out "$command --help says where the modes are" "mlcc inspect --modes"
done
run "$mlcc" inspect --modes
expect_out "all modes" q0f16 q0bf16 q0f32 q3f16_0 q3f16_1 q4f16_0 q4f16_1 q4bf16_0 q4bf16_1 q4f32_1 q4f16_2 q8f16_1 q4f16_autoawq q4f16_ft e5m2_e5m2_f16 \
    e4m3_e4m3_f16 e4m3_e4m3_f16_max_calibrate fp8_e4m3fn_bf16_block_scale fp8_e4m3fn_bf16_block_scale_static_activation \
    "bits per weight" activation aliases q4f16_awq "e4m3, calibrated"
run "$mlcc" inspect --modes --json
expect_same "bits of q4f16_1" 4.5 "$(py get "$out" modes 6 bits_per_weight)"

# ---- every command ----
options_of() {
    case $1 in
        gen_config) echo quantization output conv-template model-type context-window-size sliding-window-size prefill-chunk-size \
            attention-sink-size tensor-parallel-shards pipeline-parallel-stages max-batch-size disaggregation ;;
        convert_weight) echo quantization output source source-format model-type device f32-as-bf16 resume threads json ;;
        compile) echo output quantization model-type device target opt overrides linker debug-dump dump-ir explain-kernels time-passes host enable-subgroups \
            system-lib-prefix ;;
        calibrate) echo dataset num-calibration-samples seed max-tokens output json model-lib opt overrides device threads verify ;;
        generate) echo prompt prompt-file max-tokens temperature top-p top-k min-p repetition-penalty presence-penalty frequency-penalty seed \
            threads device json logits model-lib ignore-eos echo batch verify no-cache weights-memory ;;
        perplexity) echo text lines json model-lib device threads verify no-cache weights-memory ;;
        tokenize) echo text file no-special json decode ;;
        bench) echo prompt-tokens gen-tokens batch repetitions threads format depth model-lib ;;
        diff) echo tolerance top source-format threads json ;;
        inspect) echo json modes kernels passes ops presets templates targets architectures ;;
        opt) echo passes check bless dump-ir quantization target output ;;
    esac
}
for command in gen_config convert_weight compile calibrate generate perplexity tokenize bench inspect diff opt; do
    run "$mlcc" $command --help
    expect 0 "$command --help"
    names=()
    for option in $(options_of $command); do names+=("--$option"); done
    expect_out "$command --help" "usage: mlcc $command" "-h, --help" "${names[@]}"
    run "$mlcc" $command -h
    expect 0 "$command -h"
    run "$mlcc" $command --no-such-option
    expect 2 "$command with an unknown option" "unknown option '--no-such-option'" "mlcc $command --help"
    run "$mlcc" $command a b c d e f
    expect 2 "$command with too many arguments" "one argument too many"
done
run "$mlcc" bench --help
expect_out "bench --help of mlcc" --preset --quantization --target --archs --keep
for command in generate perplexity tokenize bench; do
    run "$mlcc_run" $command --help
    expect 0 "mlcc-run $command --help"
    expect_out "mlcc-run $command --help" "usage: mlcc-run $command"
done
# A line of help fits a wide terminal.
for command in gen_config convert_weight compile calibrate generate perplexity tokenize bench inspect diff opt; do
    "$mlcc" $command --help >"$out"
    [ "$(awk '{ if (length($0) > n) n = length($0) } END { print n }' "$out")" -le 180 ] || failed "$command --help has a line beyond 180 columns"
done

# ---- wrong words ----
run "$mlcc" generate x --tempreature 1
expect 2 "near option" "unknown option '--tempreature'" "did you mean '--temperature'"
run "$mlcc" generate x -Q
expect 2 "unknown letter" "unknown option '-Q'"
run "$mlcc" generate x --max-tokens
expect 2 "missing value" "--max-tokens needs a value"
run "$mlcc" generate x --max-tokens many --prompt p
expect 2 "no number" "--max-tokens is 'many'" "whole number"
run "$mlcc" generate x --max-tokens 0 --prompt p
expect 2 "out of range" "--max-tokens is 0" "accepted: 1 to"
run "$mlcc" generate x --max-tokens 1e3 --prompt p
expect 2 "a whole number has no exponent" "--max-tokens is '1e3'"
run "$mlcc" generate x --temperature nan --prompt p
expect 2 "nan" "--temperature is 'nan'"
run "$mlcc" generate x --top-p 1.5 --prompt p
expect 2 "top-p beyond 1" "--top-p is 1.5" "accepted: 0 to 1"
run "$mlcc" generate x --json=yes --prompt p
expect 2 "a flag takes no value" "--json takes no value"
run "$mlcc" generate
expect 2 "missing argument" "missing argument: DIR"
run "$mlcc" generate x
expect 2 "no prompt" "--prompt"
run "$mlcc" generate x --prompt a --prompt-file b
expect 2 "two prompts" "--prompt"
run "$mlcc" perplexity x
expect 2 "no text" "--text FILE is missing"
run "$mlcc" tokenize x
expect 2 "no text to tokenize" "--text"
run "$mlcc" bench
expect 2 "bench of nothing" "--preset"
run "$mlcc" bench "$work" --preset llama2_7b
expect 2 "bench of two things" "--preset"
run "$mlcc" bench "$work" --format xml
expect 2 "bench format" "--format is 'xml'" "accepted: md, csv, json"
run "$mlcc" bench "$work" --prompt-tokens 1,x
expect 2 "bench lengths" "--prompt-tokens is '1,x'"
run "$mlcc" bench "$work" --depth 16,x
expect 2 "bench depth" "--depth is '16,x'"
run "$mlcc" bench --preset llama2_7b --device cpu --archs sm_80
expect 2 "bench archs" "--archs is for --device cuda"
for option in "--archs sm_80" "--target native" "--quantization q4f16_1" "--keep $work/kept"; do
    # shellcheck disable=SC2086
    run "$mlcc" bench "$work" $option
    expect 2 "bench of a folder, ${option%% *}" "${option%% *} goes with --preset"
done
run "$mlcc" bench --preset llama2_7b --keep "$work/none" --prompt-tokens 1,x
expect 2 "bench lengths of a preset" "--prompt-tokens is '1,x'"
run "$mlcc" bench --preset llama2_7b --keep "$work/none" --weights-memory x
expect 2 "bench memory of a preset" "--weights-memory is 'x'"
run "$mlcc" bench --preset llama2_7b --keep "$work/none" --device gpu
expect 1 "bench device of a preset" "accepted: cpu, cuda, cuda:N, auto"
run "$mlcc" tokenize "$work" --text a --bench --json
expect 2 "times as JSON" "--bench"
MLCC_LOG=loud run "$mlcc" inspect --passes
expect 0 "an unknown log level" "MLCC_LOG is 'loud'" "accepted: error, warn"
run "$mlcc" compile "$work/no_such_model"
expect 1 "compile of nothing" "no_such_model' is neither a model folder"
run "$mlcc" bench "$work" --batch 0
expect 2 "bench batch" "--batch holds 0"
run "$mlcc" inspect
expect 2 "inspect of nothing" "PATH"
run "$mlcc" inspect x --modes
expect 2 "inspect of two things" "PATH"
for missing in quantization output; do
    words=(--quantization q0f16 --conv-template LM --output "$work/none")
    kept=()
    for ((i = 0; i < ${#words[@]}; i += 2)); do
        [ "${words[i]}" = "--$missing" ] || kept+=("${words[i]}" "${words[i + 1]}")
    done
    run "$mlcc" gen_config $tiny "${kept[@]}"
    expect 2 "gen_config without --$missing" "--$missing is missing"
done
run "$mlcc" convert_weight $tiny -o "$work/none"
expect 2 "convert_weight without a mode" "--quantization MODE is missing"
run "$mlcc" convert_weight $tiny --quantization q0f16
expect 2 "convert_weight without an output" "--output DIR is missing"
run "$mlcc" gen_config $tiny --quantization q0f16 --conv-template LM -o "$work/none" --disaggregation maybe
expect 2 "no truth value" "--disaggregation is 'maybe'"
[ -e "$work/none" ] && failed "a usage error left something behind"

# Underscores, `=` and MLC's spelling are accepted.
run "$mlcc" gen_config $tiny --quantization=q0f16 --conv_template LM --context_window_size=128 --output "$work/spelled"
expect 0 "MLC's spelling of options"
expect_same "the option arrived" 128 "$(py get "$work/spelled/mlc-chat-config.json" context_window_size)"
check_done
