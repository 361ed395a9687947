#!/usr/bin/env bash
# What the commands print when all goes well: text, JSON, CSV, .npy, dumps. One model, every command.
. tests/support/check.sh

model=$work/model
make_model $tiny q4f16_1 "$model"

# ---- generate ----
prompt="One day Anna went to the"
run "$mlcc" generate "$model" --prompt "$prompt" --max-tokens 24 --json --logits "$work/first.npy"
expect 0 "generate --json"
py keys "$out" -- text token_ids finish_reason prompt_tokens completion_tokens load_s prefill_s decode_s prefill_tokens_per_s decode_tokens_per_s peak_rss_bytes ||
    failed "generate --json has other keys"
text=$(py get "$out" text)
expect_same "as many ids as tokens" "$(py get "$out" completion_tokens)" "$(py get "$out" token_ids | tr ',' '\n' | wc -l)"
expect_near "the logits file has one row per vocabulary entry" "$(stat -c %s "$work/first.npy")" $((128 + 512 * 4)) 0
run "$mlcc" generate "$model" --prompt "$prompt" --max-tokens 24
expect_same "text without --json" "$text" "$(cat "$out")"
run "$mlcc" generate "$model" --prompt "$prompt" --max-tokens 24 --echo
expect_same "--echo" "$prompt$text" "$(cat "$out")"
printf '%s' "$prompt" >"$work/prompt.txt"
run "$mlcc" generate "$model" --prompt-file "$work/prompt.txt" --max-tokens 24 --model-lib "$model/lib.so" --threads 1 --device cpu
expect_same "--prompt-file, --model-lib, --threads, --device" "$text" "$(cat "$out")"
run "$mlcc" generate "$model" --prompt "$prompt" --max-tokens 24 --batch 3
expect_same "--batch" "$text" "$(cat "$out")"
run "$mlcc" generate "$model" --prompt "$prompt" --max-tokens 250 --ignore-eos --json
expect_same "the context window ends the text" 256 $(($(py get "$out" prompt_tokens) + $(py get "$out" completion_tokens)))

# ---- sampling: a seed fixes the text, each knob at its off value changes nothing ----
sample() { "$mlcc" generate "$model" --prompt "$prompt" --max-tokens 40 --temperature 1 "$@"; }
first=$(sample --seed 1)
expect_same "the same seed" "$first" "$(sample --seed 1)"
[ "$first" != "$(sample --seed 2)" ] || [ "$first" != "$(sample --seed 3)" ] || failed "three seeds give one text"
expect_same "all knobs off" "$first" "$(sample --seed 1 --top-p 1 --top-k 0 --min-p 0 --repetition-penalty 1 --presence-penalty 0 --frequency-penalty 0)"
greedy=$("$mlcc" generate "$model" --prompt "$prompt" --max-tokens 40)
expect_same "top-k 1 is greedy" "$greedy" "$(sample --seed 5 --top-k 1)"
expect_same "top-p 0 is greedy" "$greedy" "$(sample --seed 5 --top-p 0)"
expect_same "min-p 1 is greedy" "$greedy" "$(sample --seed 5 --min-p 1)"
long=$("$mlcc" generate "$model" --prompt "$prompt" --max-tokens 120)
for penalty in "--repetition-penalty 50" "--presence-penalty 2 --frequency-penalty 2"; do
    # shellcheck disable=SC2086
    penalized=$("$mlcc" generate "$model" --prompt "$prompt" --max-tokens 120 $penalty)
    [ "$penalized" != "$long" ] || failed "$penalty changes nothing"
done

# ---- perplexity ----
printf 'One day, a little boy named Tom went to the garden.\nHe loved the hat very much.\n' >"$work/text.txt"
run "$mlcc" perplexity "$model" --text "$work/text.txt" --lines 2 --json
expect 0 "perplexity --json"
py keys "$out" -- mean_nll perplexity tokens || failed "perplexity --json has other keys"
nll=$(py get "$out" mean_nll)
expect_near "perplexity is the exponential of the mean" "$(py get "$out" perplexity)" "$(awk -v x="$nll" 'BEGIN { print exp(x) }')" 0.001
run "$mlcc" perplexity "$model" --text "$work/text.txt" --lines 2 --threads 1 --no-cache --json
expect_near "one thread" "$(py get "$out" mean_nll)" "$nll" 0.00001
run "$mlcc" perplexity "$model" --text tests/README.md
expect 0 "perplexity of a whole text, longer than the window"
expect_out "perplexity of a whole text" "mean nll" perplexity tokens

# ---- bench ----
run "$mlcc" bench "$model" --prompt-tokens 4,16 --gen-tokens 4 --batch 1,2 --repetitions 2 --format json
expect 0 "bench --format json"
for key in prompt_tokens gen_tokens batch threads tokens_per_s spread gb_per_s gflop_per_s; do
    py get "$out" 0 $key >/dev/null || failed "a bench row lacks $key"
done
expect_same "rows: two prefills and one decode for each batch" 6 "$(grep -c '"tokens_per_s"' "$out")"
for row in 0 1 2 3 4 5; do
    awk -v t="$(py get "$out" $row tokens_per_s)" -v g="$(py get "$out" $row gb_per_s)" -v f="$(py get "$out" $row gflop_per_s)" \
        'BEGIN { exit !(t > 0 && g > 0 && f > 0) }' || failed "bench row $row has a rate of zero"
done
run "$mlcc" bench "$model" -p 4 -n 4 -r 1 --format csv
expect 0 "bench --format csv"
expect_same "a heading and two rows" 3 "$(wc -l <"$out")"
run "$mlcc_run" bench "$model" -p 4 -n 4 -r 1
expect 0 "mlcc-run bench"
expect_out "bench as a table" "| prefill 4 |" "| decode 4 |" "GB/s"
run "$mlcc" bench "$model" -p 4,16 -n 4 -d 0,32 -r 1 --format csv --svg "$work/roofs.svg"
expect 0 "bench --svg" "decode: " "decode at 32: " "prefill 16: " paged_attention mlp.down_proj
expect_same "rows beside the drawing" 5 "$(wc -l <"$out")"
for part in "<svg " "</svg>" "memory read" "prefill 16" mlp.down_proj; do
    grep -qF -e "$part" "$work/roofs.svg" || failed "the roofline lacks '$part'"
done
[ "$(grep -c '<circle' "$work/roofs.svg")" -ge 9 ] || failed "the roofline has $(grep -c '<circle' "$work/roofs.svg") points"
run "$mlcc" bench "$model" -p 4 -n 0 -r 2 --threads 1 --format json
for key in arithmetic limit limit_share samples_tokens_per_s ceilings_gop_per_s; do
    py get "$out" 0 $key >/dev/null || failed "a bench row lacks $key"
done
run "$mlcc" bench "$model" -p 100000 -n 0
expect 1 "a prefill beyond the context window" "nothing to measure"
if [ $quick = 0 ]; then
    mkdir "$work/made"
    run "$mlcc" bench --preset smollm_135m --quantization q4f16_1 --target "$any_cpu" -p 8 -n 2 -r 1 --format csv --keep "$work/made/model"
    expect 0 "bench --preset"
    expect_out "bench --preset names the model" smollm_135m q4f16_1
    [ -f "$work/made/model/lib.so" ] || failed "--keep keeps no model"
    rm -r "$work/made"
    run "$mlcc" bench --preset $tiny --quantization q4f16_1 --target "$any_cpu" -p 8 -n 2 -d 0,16 -r 1
    expect 0 "bench --preset with made-up weights"
    expect_out "bench --preset with made-up weights" "| prefill 8 |" "| decode 2 |" "| decode 2 at 16 |"
fi
run "$mlcc" bench --preset smollm_135 --quantization q4f16_1
expect 1 "an unknown preset" smollm_135m

# ---- inspect ----
run "$mlcc" inspect "$model" --json
expect 0 "inspect of a model directory"
expect_same "the mode" q4f16_1 "$(py get "$out" config quantization)"
expect_same "the layers" 4 "$(py get "$out" config n_layers)"
expect_same "the records" "$(py get "$out" weights n_records)" "$(py get "$model/tensor-cache.json" metadata ParamSize)"
for path in "config parameters" "tokenizer tokens" "weights stored_bytes" "weights bits_per_weight" "weights store_fingerprint" "weights shards 0 md5" \
    "weights records 0 shape" "library target" "library cpu_features" "library abi_version" "library param_fingerprint" "library layout_fingerprint" \
    "library file_fingerprint" "library functions 0 workspace_bytes" "library functions 0 scratch_bytes_per_thread" "library params 0 format" \
    "library params 0 layout" "library kernels 0 kernel" "library memory_plan 0 workspace_bytes" "library bounds n_tokens"; do
    # shellcheck disable=SC2086
    py get "$out" $path >/dev/null || failed "inspect --json lacks $path"
done
run "$mlcc" inspect "$model"
expect 0 "inspect as text"
expect_out "inspect as text" config tokenizer weights library "n layers" "bits per weight" "memory plan" kernels params model.embed_tokens
run "$mlcc" inspect $tiny --json
expect 0 "inspect of a Hugging Face folder"
expect_same "its tensors" 38 "$(py get "$out" safetensors n_tensors)"
run "$mlcc" inspect $tiny/model.safetensors
expect 0 "inspect of a safetensors file"
expect_out "inspect of a safetensors file" F16 "[512, 128]" model.embed_tokens.weight
mkdir "$work/torch" && cp $tiny/config.json $tiny/tokenizer.json "$work/torch"
PYTHONPATH=tests/support must python3 -B -c 'import sys; from torch_file import Tensor, save; save(sys.argv[1], {"a.weight": Tensor("bfloat16", [2, 3], bytes(12))})' \
    "$work/torch/pytorch_model.bin"
run "$mlcc" inspect "$work/torch" --json
expect 0 "inspect of a folder with a torch file"
expect_same "its tensor" a.weight "$(py get "$out" torch tensors 0 name)"
run "$mlcc" inspect "$work/torch/pytorch_model.bin"
expect 0 "inspect of a torch file"
expect_out "inspect of a torch file" "[2, 3]" a.weight 12
for table in modes kernels passes ops presets templates targets architectures; do
    run "$mlcc" inspect --$table --json
    expect 0 "inspect --$table"
    py get "$out" $table 0 name >/dev/null || failed "inspect --$table --json has no rows"
done

# ---- compile: looking inside ----
run "$mlcc" compile "$model" --target "$any_cpu" -o "$work/lib.so" --debug-dump "$work/dump" --dump-ir=after:fuse_norm,select_kernels --explain-kernels
expect 0 "compile --debug-dump --dump-ir --explain-kernels" "wrote $work/lib.so"
expect_out "--explain-kernels" linear
n_checks=$((n_checks + 1))
ls "$work/dump" | grep -q 'fuse_norm.*mlcir' || failed "--debug-dump has no dump after fuse_norm: $(ls "$work/dump" | tr '\n' ' ')"
ls "$work/dump" | grep -q '\.ll$' || failed "--debug-dump has no LLVM IR"
ls "$work/dump" | grep -q 'report' || failed "--debug-dump has no report"
for dump in "$work/dump"/*.mlcir; do
    run "$mlcc" opt "$dump" --passes=none -o "$work/again.mlcir"
    expect 0 "opt reads the dump $(basename "$dump")"
    cmp -s "$dump" "$work/again.mlcir" || failed "opt prints the dump $(basename "$dump") in another way"
done
expect_same "a dump changes nothing" "$(cksum <"$model/lib.so")" "$(cksum <"$work/lib.so")"

# ---- convert_weight says what it does, and a store of bf16 halves is read ----
run "$mlcc" convert_weight $tiny --quantization q0f32 -o "$work/halves" --f32-as-bf16
expect 0 "convert_weight --f32-as-bf16" "bits per weight"
run "$mlcc" inspect "$work/halves/../halves" --json
expect 1 "inspect of a folder without a config" mlc-chat-config.json
check_done
