#!/usr/bin/env bash
# Compiled code against ir/eval on the same dequantized weights, token by token over whole lines: every mode, the project's own model, and the shared
# model where it is here. The evaluator (eval_nll) reads the same store and shares no kernel with lib.so.
. tests/support/check.sh

eval_nll=$MLCC_BIN/eval_nll
[ -x "$eval_nll" ] || skip_all "no eval_nll: the tests were not built"

# compare NAME DIR TEXT LINES TOLERANCE
compare() {
    local eval_mean
    must "$eval_nll" "$2" "$3" "$4"
    eval_mean=$(py get "$out" mean_nll)
    local eval_tokens
    eval_tokens=$(py get "$out" tokens)
    must "$mlcc" perplexity "$2" --text "$3" --lines "$4" --json
    expect_same "$1: scored tokens" "$eval_tokens" "$(py get "$out" tokens)"
    expect_near "$1: mean nll of lib.so against ir/eval" "$(py get "$out" mean_nll)" "$eval_mean" "$5"
}

cat >"$work/stories.txt" <<'TEXT'
One day, a little boy named Tom went to the garden. He had a brown hat and played with it every day. It was a snowy day, and the air was cold.
Anna was a little girl who lived near the river. Anna had a blue kite. She loved the kite very much. It was a windy day, and the air was cold.
Once upon a time, there was a little boy named Max.

At the farm, Rosa saw a little duck in the tall grass. The duck was lost and wanted to go home. Rosa took the duck home to its mother.
x
TEXT
n_lines=6
modes="q4f16_1 q0f16 q0f32"
[ $quick = 1 ] && modes=q4f16_1
for mode in $modes; do
    make_model $tiny $mode "$work/tiny-$mode" native
    compare "tiny $mode" "$work/tiny-$mode" "$work/stories.txt" $n_lines 0.0005
done

hf=$data/models/stories260K
text=$data/text/exllamav2_tiny.txt
if [ -f "$hf/model.safetensors" ] && [ -f "$text" ]; then
    lines=64
    [ $quick = 1 ] && lines=4
    make_model "$hf" q4f16_1 "$work/stories" native
    compare "stories260K q4f16_1" "$work/stories" "$text" $lines 0.002
    must "$mlcc" compile "$work/stories" --target "$any_cpu"
    compare "stories260K q4f16_1, $any_cpu" "$work/stories" "$text" 8 0.002
else
    skip_part "stories260K: the shared test data is not here (MLCC_DATA)"
fi
check_done
