#!/usr/bin/env bash
# Every quantization mode: compiled code against ir/eval on the same dequantized weights, token by token over whole lines, with the project's own model and,
# where it is here, the shared one (whose K = 172 leaves a tail in every group format). The evaluator (eval_nll) reads the same store and shares no kernel
# with lib.so.
#
# The code under test is compiled with --opt exact. Where the default multiplies bytes instead (kernels linear_scaled) or pairs of bfloat16 (linear_bf16), it is held against the evaluator
# that rounds likewise, and against the exact code: what the rounding costs in mean nll and KL divergence, over 256 lines, for fewer would show the noise.
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

# planned DIR [OPTION of compile …]: the kernel of every group, with all reasons; no code is generated.
planned() { must "$mlcc" compile "$1" --target native --dry-run --explain-kernels "${@:2}"; }

# compare_bytes NAME DIR TEXT LINES TOLERANCE COST_TEXT COST_LINES COST: the same for the default code, where it is another one; COST is what mean nll
# over COST_LINES lines may move. Elsewhere its plan is that of --opt exact, word by word, and compiling it once more would show nothing.
compare_bytes() {
    planned "$2"
    if ! grep -q '^[a-z0-9_.]*: linear_\(scaled\|bf16\)' "$out"; then
        cp "$out" "$work/plan.txt"
        planned "$2" --opt exact
        expect_same "$1: the default plan is the exact one" "$(cat "$work/plan.txt")" "$(cat "$out")"
        return 0
    fi
    must "$mlcc" compile "$2" --target native -o "$2/bytes.so"
    must "$mlcc" inspect "$2/bytes.so" --json
    n_checks=$((n_checks + 1))
    grep -q 'linear_scaled\|linear_bf16' "$out" || failed "$1: planned in bytes, compiled otherwise"
    n_bytes=$((n_bytes + 1))
    must "$eval_nll" "$2" "$3" "$4" bytes
    local eval_mean exact_mean
    eval_mean=$(py get "$out" mean_nll)
    must "$mlcc" perplexity "$2" --model-lib "$2/bytes.so" --text "$3" --lines "$4" --json
    expect_near "$1 in bytes: mean nll of lib.so against ir/eval" "$(py get "$out" mean_nll)" "$eval_mean" "$5"
    must "$mlcc" perplexity "$2" --model-lib "$2/bytes.so" --reference-lib "$2/lib.so" --text "$6" --lines "$7" --json
    exact_mean=$(py get "$out" reference_nll)
    expect_near "$1: mean nll in bytes against exact" "$(py get "$out" mean_nll)" "$exact_mean" "$8"
    expect_near "$1: KL divergence of bytes from exact" "$(py get "$out" mean_kl)" 0 0.001
}

cat >"$work/stories.txt" <<'TEXT'
One day, a little boy named Tom went to the garden. He had a brown hat and played with it every day. It was a snowy day, and the air was cold.
Anna was a little girl who lived near the river. Anna had a blue kite. She loved the kite very much. It was a windy day, and the air was cold.
Once upon a time, there was a little boy named Max.

At the farm, Rosa saw a little duck in the tall grass. The duck was lost and wanted to go home. Rosa took the duck home to its mother.
x
TEXT
n_lines=6 n_bytes=0
python3 tests/tiny/make_text.py 256 4711 >"$work/grammar.txt"

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
    byte_lines=16 cost_lines=256 cost=0.002
    if [ $quick = 1 ]; then
        lines=2 byte_lines=2 cost_lines=16 cost=0.01
        [ $tiny_tolerance = 0.01 ] && tolerance=0.05 tiny_tolerance=0.05
    fi
    make_model $tiny $mode "$work/tiny" native --opt exact
    compare "tiny $mode" "$work/tiny" "$work/stories.txt" $n_lines $tiny_tolerance
    compare_bytes "tiny $mode" "$work/tiny" "$work/stories.txt" $n_lines $tiny_tolerance "$work/grammar.txt" $cost_lines $cost
    rm -rf "$work/tiny"
    [ $has_stories = 1 ] || continue
    make_model "$hf" $mode "$work/stories" native --opt exact
    compare "stories260K $mode" "$work/stories" "$text" $lines $tolerance
    compare_bytes "stories260K $mode" "$work/stories" "$text" $byte_lines $tolerance "$text" $cost_lines $cost
    rm -rf "$work/stories"
done
if grep -qw avx2 /proc/cpuinfo; then
    n_checks=$((n_checks + 1))
    [ $n_bytes -gt 0 ] || failed "no library multiplies bytes on this CPU"
fi
[ $has_stories = 1 ] || skip_part "stories260K: the shared test data is not here (MLCC_DATA)"

# One mode on the target that runs everywhere.
make_model $tiny q4f16_autoawq "$work/tiny" "$any_cpu"
compare "tiny q4f16_autoawq, $any_cpu" "$work/tiny" "$work/stories.txt" 2 0.0005
check_done
