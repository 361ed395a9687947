#!/usr/bin/env bash
# opt: reads, checks, changes and prints textual modules; --check and --bless; what it refuses.
. tests/support/check.sh

module=$work/module.mlcir
cat >"$module" <<'TEXT'
module @m level=graph
symbol n_tokens <= 8
param @w.weight : f32[6, 4]
func @f(%x: f32[n_tokens, 4]) {
    %0 = scale %x {factor = 1.0} : f32[n_tokens, 4]
    %1 = linear %0, @w.weight : f32[n_tokens, 6]
    %2 = silu %1 : f32[n_tokens, 6]
    return %2
}
TEXT

# ---- printing and passes ----
run "$mlcc" opt "$module" --passes=none
expect 0 "--passes=none"
expect_out "the module as it is" "scale %x"
run "$mlcc" opt "$module" --passes=canonicalize -o "$work/out.mlcir"
expect 0 "-o"
n_checks=$((n_checks + 1))
grep -q scale "$work/out.mlcir" && failed "canonicalize leaves the scale by one"
run "$mlcc" opt "$work/out.mlcir" --passes=none
expect_same "print, parse, print" "$(cat "$work/out.mlcir")" "$(cat "$out")"
run "$mlcc" opt "$module"
expect 0 "without a target it stops before the plan"
expect_out "it stops at the fused level" level=fused
run "$mlcc" opt "$module" --quantization q4f16_1 --target "$any_cpu"
expect 0 "with a target every pass runs"
expect_out "the plan" level=plan q4g32_f16 panel16 workspace launch kernel
cp "$out" "$work/plan.mlcir"
run "$mlcc" opt "$work/plan.mlcir" --passes=none
expect_same "a plan reads back" "$(cat "$work/plan.mlcir")" "$(cat "$out")"
run "$mlcc" opt "$module" --dump-ir=after:canonicalize,prune --explain-kernels --target "$any_cpu" --stop-after select_kernels
expect 0 "--dump-ir and --explain-kernels" canonicalize prune linear_panel16
run "$mlcc" opt "$module" --dump-ir=changed --dump-dir "$work/dumps"
expect 0 "--dump-dir"
n_checks=$((n_checks + 1))
ls "$work/dumps" | grep -q canonicalize || failed "--dump-dir has no dump of canonicalize"
run "$mlcc" opt "$module" --pass-limit 0
expect 0 "--pass-limit 0"
expect_out "no pass ran" level=graph "scale %x"
MLCC_LOG=info run "$mlcc" opt "$module" --time-passes
expect 0 "--time-passes" canonicalize

# ---- golden files ----
{
    echo '# run: --passes=canonicalize'
    cat "$module"
} >"$work/golden.mlcir"
run "$mlcc" opt --check "$work/golden.mlcir"
expect 1 "--check without an expectation" "--bless"
run "$mlcc" opt --bless "$work/golden.mlcir"
expect 0 "--bless"
run "$mlcc" opt --check "$work/golden.mlcir"
expect 0 "--check of what was blessed"
run "$mlcc" opt "$work/golden.mlcir" --passes=none
expect 0 "a golden file as a module: its expectation is no part of it"
expect_out "its input as it is" "scale %x"
run "$mlcc" opt --check --bless "$work/golden.mlcir"
expect 2 "--check and --bless" "not both"
sed -i 's/^    %1 = silu/    %1 = relu/' "$work/golden.mlcir"
refuses "$work" "--check of another expectation" "differs in line" relu silu "--bless" -- "$mlcc" opt --check "$work/golden.mlcir"
sed -i 1d "$work/golden.mlcir"
refuses "$work" "a golden file without its run line" "# run:" -- "$mlcc" opt --check "$work/golden.mlcir"

# ---- refusals ----
refuses "$work" "no such file" none.mlcir -- "$mlcc" opt "$work/none.mlcir"
refuses "$work" "an unknown pass" fuse_nrom fuse_norm -- "$mlcc" opt "$module" --passes=fuse_nrom
refuses "$work" "an unknown mode" q5 q4f16_1 -- "$mlcc" opt "$module" --quantization q5
refuses "$work" "an unknown target" pdp11 x86-64-v3 -- "$mlcc" opt "$module" --target pdp11
sed 's/linear %0/linaer %0/' "$module" >"$work/bad.mlcir"
refuses "$work" "an unknown op" bad.mlcir:6 linaer linear -- "$mlcc" opt "$work/bad.mlcir"
sed 's/f32\[n_tokens, 6\]$/f32[n_tokens, 7]/' "$module" >"$work/bad.mlcir"
refuses "$work" "a shape that is not so" bad.mlcir 7 6 -- "$mlcc" opt "$work/bad.mlcir"
head -c 120 "$module" >"$work/bad.mlcir"
refuses "$work" "a module that is cut off" bad.mlcir -- "$mlcc" opt "$work/bad.mlcir"
refuses "$work" "-o below a file" module.mlcir/out -- "$mlcc" opt "$module" -o "$module/out"
check_done
