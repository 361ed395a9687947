#!/usr/bin/env bash
# Every quantization mode: compiled code against ir/eval on the same dequantized weights, token by token over whole lines, with the project's own model and,
# where it is here, the shared one (whose K = 172 leaves a tail in every group format). The evaluator (eval_nll) reads the same store and shares no kernel
# with lib.so.
#
# Where activations are rounded to fp8, a difference in the last bit of a sum now and then falls on the other side of a midpoint and moves a number by 1/16.
# From there on the two runs see different rounding noise of the same size: the means agree, single lines do not, so these modes need more lines.
. tests/support/check.sh

eval_nll=$MLCC_BIN/eval_nll
[ -x "$eval_nll" ] || skip_all "no eval_nll: the tests were not built"

# compare NAME DIR TEXT LINES TOLERANCE
compare() {
    local eval_mean eval_tokens
    must "$eval_nll" "$2" "$3" "$4"
    eval_mean=$(py get "$out" mean_nll)
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

must "$mlcc" inspect --modes --json
modes=$(python3 -c 'import json, sys; print(*[mode["name"] for mode in json.load(sys.stdin)["modes"]])' <"$out")
n_checks=$((n_checks + 1))
[ "$(wc -w <<<"$modes")" -ge 19 ] || failed "inspect --modes lists only: $modes"
[ $quick = 1 ] && modes="q4f16_1 q3f16_0 q4f16_autoawq q4f16_ft e4m3_e4m3_f16_max_calibrate fp8_e4m3fn_bf16_block_scale_static_activation"

hf=$data/models/stories260K
text=$data/text/exllamav2_tiny.txt
has_stories=1
[ -f "$hf/model.safetensors" ] && [ -f "$text" ] || has_stories=0
for mode in $modes; do
    case $mode in
    e4m3* | e5m2* | fp8*) lines=256 tolerance=0.002 tiny_tolerance=0.01 ;;
    *) lines=64 tolerance=0.002 tiny_tolerance=0.0005 ;;
    esac
    if [ $quick = 1 ]; then
        lines=2
        [ $tiny_tolerance = 0.01 ] && tolerance=0.05 tiny_tolerance=0.05
    fi
    make_model $tiny $mode "$work/tiny" native
    compare "tiny $mode" "$work/tiny" "$work/stories.txt" $n_lines $tiny_tolerance
    rm -rf "$work/tiny"
    [ $has_stories = 1 ] || continue
    make_model "$hf" $mode "$work/stories" native
    compare "stories260K $mode" "$work/stories" "$text" $lines $tolerance
    rm -rf "$work/stories"
done
[ $has_stories = 1 ] || skip_part "stories260K: the shared test data is not here (MLCC_DATA)"

# One mode on the target that runs everywhere.
make_model $tiny q4f16_autoawq "$work/tiny" "$any_cpu"
compare "tiny q4f16_autoawq, $any_cpu" "$work/tiny" "$work/stories.txt" 2 0.0005
check_done
