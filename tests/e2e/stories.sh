#!/usr/bin/env bash
# A real trained model against an independent float32 implementation (reference.json, nll.json): greedy text, first-step logits, mean loss; from
# float32, float16, bfloat16 and sharded files, in q0f32, q0f16 and as MLC stores float32. One lib.so serves all folders of one mode.
. tests/support/check.sh

hf=$data/models/stories260K
text=$data/text/exllamav2_tiny.txt
[ -f "$hf/model.safetensors" ] && [ -f "$text" ] || skip_all "no $hf: the shared test data is not here (MLCC_DATA)"

# convert NAME MODE [OPTION…]: a model directory $work/NAME-MODE of the folder NAME that uses the library of that mode.
convert() {
    must "$mlcc" gen_config "$data/models/$1" --quantization "$2" --conv-template LM -o "$work/$1-$2"
    must "$mlcc" convert_weight "$data/models/$1" --quantization "$2" -o "$work/$1-$2" "${@:3}"
    cp "$work/$2.so" "$work/$1-$2/lib.so"
}
must "$mlcc" compile "$hf" --quantization q0f32 --overrides max_batch_size=128 -o "$work/q0f32.so"
must "$mlcc" compile "$hf" --quantization q0f16 --overrides max_batch_size=128 -o "$work/q0f16.so"

# generate DIR REFERENCE OPTION…: its prompt, as many tokens as it has, ids in $out.
generate() {
    local n
    n=$(py get "$2" new_ids | tr ',' '\n' | wc -l)
    must "$mlcc" generate "$1" --prompt "$(py get "$2" prompt)" --max-tokens "$n" --ignore-eos --json "${@:3}"
}
nll() {
    must "$mlcc" perplexity "$1" --text "$text" --lines 64 --json
    py get "$out" mean_nll
}

# exact NAME: q0f32 keeps every number of the folder, so the reference's own ids, logits and loss must come out.
exact() {
    local name=$1 reference=$data/models/$1/reference.json
    convert $name q0f32
    generate "$work/$name-q0f32" "$reference" --logits "$work/$name.npy" --threads 2
    expect_same "$name q0f32: prompt ids" "$(py get "$reference" prompt_ids | tr ',' '\n' | wc -l)" "$(py get "$out" prompt_tokens)"
    expect_same "$name q0f32: greedy ids" "$(py get "$reference" new_ids)" "$(py get "$out" token_ids)"
    expect_same "$name q0f32: greedy text" "$(py get "$reference" text)" "$(py get "$reference" prompt)$(py get "$out" text)"
    expect_near "$name q0f32: largest difference of the first logits" "$(py npy "$work/$name.npy" "$reference" first_step_logits)" 0 0.002
    expect_near "$name q0f32: mean nll" "$(nll "$work/$name-q0f32")" "$(py get "$data/models/$name/nll.json" mean_nll)" 0.0005
}

exact stories260K
reference=$hf/reference.json
generate "$work/stories260K-q0f32" "$reference" --threads 1
expect_same "one thread" "$(py get "$reference" new_ids)" "$(py get "$out" token_ids)"
generate "$work/stories260K-q0f32" "$reference" --batch 4
expect_same "a batch of four" "$(py get "$reference" new_ids)" "$(py get "$out" token_ids)"
if [ $quick = 0 ]; then
    exact stories260K-f16
    exact stories260K-bf16
    exact stories260K-sharded
    expect_same "sharded and single file give one store" "$(cksum <"$work/stories260K-f16-q0f32/params_shard_0.bin")" \
        "$(cksum <"$work/stories260K-sharded-q0f32/params_shard_0.bin")"
fi

# ---- q0f16: rounded weights. The text equals the reference of the float16 folder: both compute with the same weights in float32. ----
for name in stories260K stories260K-f16; do
    convert $name q0f16
    expect_near "$name q0f16: mean nll" "$(nll "$work/$name-q0f16")" "$(py get "$data/models/$name/nll.json" mean_nll)" 0.002
done
expect_same "float32 and float16 folders give one q0f16 store" "$(cksum <"$work/stories260K-q0f16/params_shard_0.bin")" \
    "$(cksum <"$work/stories260K-f16-q0f16/params_shard_0.bin")"
generate "$work/stories260K-q0f16" "$data/models/stories260K-f16/reference.json" --logits "$work/f16.npy"
echo "q0f16: $(py common "$out" "$data/models/stories260K-f16/reference.json" token_ids new_ids) greedy tokens as in the reference of the float16 folder"
expect_near "q0f16: largest difference of the first logits" "$(py npy "$work/f16.npy" "$data/models/stories260K-f16/reference.json" first_step_logits)" 0 0.02
if [ $quick = 0 ]; then
    convert stories260K-bf16 q0f16
    expect_near "stories260K-bf16 q0f16: mean nll" "$(nll "$work/stories260K-bf16-q0f16")" "$(py get "$data/models/stories260K-bf16/nll.json" mean_nll)" 0.002
fi

# ---- float32 as MLC stores it, in halves; the older name of its index ----
mkdir "$work/halves"
cp "$work/stories260K-q0f32"/{mlc-chat-config.json,tokenizer.json,lib.so} "$work/halves"
must "$mlcc" convert_weight "$hf" --quantization q0f32 --f32-as-bf16 -o "$work/halves"
expect_same "two bytes a number" $((260032 * 2)) "$(stat -c %s "$work/halves/params_shard_0.bin")"
n_checks=$((n_checks + 1))
grep -q f32-to-bf16 "$work/halves/tensor-cache.json" || failed "the index does not say f32-to-bf16"
mv "$work/halves/tensor-cache.json" "$work/halves/ndarray-cache.json"
# The folder with bfloat16 weights holds the same rounded numbers.
generate "$work/halves" "$data/models/stories260K-bf16/reference.json"
expect_same "a store in halves: greedy ids" "$(py get "$data/models/stories260K-bf16/reference.json" new_ids)" "$(py get "$out" token_ids)"
expect_near "a store in halves: mean nll" "$(nll "$work/halves")" "$(py get "$data/models/stories260K-bf16/nll.json" mean_nll)" 0.0005
check_done
