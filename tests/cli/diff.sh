#!/usr/bin/env bash
# mlcc diff: a directory and its source, two modes, two sources; exit codes, the order of the table, histograms, params of one side, bad input.
. tests/support/check.sh

for mode in q0f32 q0f16 q4f16_1 q4f16_0 e4m3_e4m3_f16; do
    must "$mlcc" convert_weight $tiny --quantization $mode -o "$work/$mode"
done
field() { python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); print(eval(sys.argv[2], {"d": d}))' "$out" "$1"; }

# ---- equal ----
run "$mlcc" diff "$work/q0f32" $tiny --json
expect 0 "a float32 store and its source"
expect_same "nothing differs" "True 0.0 0.0 1.0" "$(field 'str(d["equal"]) + " %s %s %s" % (d["max_abs"], d["mean_square_error"], d["cosine"])')"
must "$mlcc" gen_config $tiny --quantization q4f16_1 --conv-template LM -o "$work/q4f16_1"
run "$mlcc" diff "$work/q4f16_1" "$work/q4f16_1"
expect 0 "a store and itself" && expect_out "a table" "param" "max abs" "cosine" "q4g32_f16"
# The transposed mode holds the same codes in another order.
run "$mlcc" diff "$work/q4f16_0" "$work/q4f16_1" --json
expect 0 "q4f16_0 and q4f16_1" || true
# Sources of the same numbers.
cp -r $tiny "$work/copy"
run "$mlcc" diff $tiny "$work/copy"
expect 0 "two folders"

# ---- not equal ----
run "$mlcc" diff "$work/q4f16_1" $tiny --json
expect 1 "a quantized store and its source" "not equal" "differ by more than 0"
expect_same "worst first" True "$(field '[t["relative_error"] for t in d["tensors"]] == sorted((t["relative_error"] for t in d["tensors"]), reverse=True)')"
expect_same "every code is counted" True \
    "$(field 'all(sum(t["codes_a"]) >= t["shape"][0] * t["shape"][1] and len(t["codes_a"]) == 16 and t["codes_a"][15] == 0 for t in d["tensors"] if t["codes_a"])')"
expect_same "a quantized store is near its source" True "$(field '0 < d["relative_error"] < 0.2 and 0.98 < d["cosine"] < 1')"
largest=$(field 'd["max_abs"]')
run "$mlcc" diff "$work/q4f16_1" $tiny --tolerance "$(awk -v x="$largest" 'BEGIN { print x * 1.01 }')"
expect 0 "within a tolerance"
run "$mlcc" diff "$work/q4f16_1" $tiny --top 2
n_checks=$((n_checks + 1))
[ "$(grep -c 'q4g32_f16\|f16 ' "$out")" -le 3 ] || failed "--top 2 shows more"
# Activation scales belong to the mode: listed, and no difference.
run "$mlcc" diff "$work/e4m3_e4m3_f16" $tiny --tolerance 10
expect 0 "an fp8 store and its source"

# ---- what cannot be compared ----
refuses "$work" "a folder that is not there" no_such_folder -- "$mlcc" diff no_such_folder $tiny
mkdir "$work/empty"
refuses "$work" "a folder without weights" "$work/empty" -- "$mlcc" diff $tiny "$work/empty"
refuses "$work" "two stores without a config" mlc-chat-config.json gen_config -- "$mlcc" diff "$work/q0f16" "$work/q0f32"
cp -r "$work/q4f16_1" "$work/wrong"
py set "$work/wrong/mlc-chat-config.json" quantization=q8f16_1 2>/dev/null || sed -i 's/"q4f16_1"/"q8f16_1"/' "$work/wrong/mlc-chat-config.json"
refuses "$work" "a store of another mode than its config says" q_weight q8f16_1 -- "$mlcc" diff "$work/wrong" $tiny
cp -r $tiny "$work/other"
py replace "$work/other/model.safetensors" model.norm.weight model.morn.weight
refuses "$work" "a source that lacks a tensor" model.norm.weight -- "$mlcc" diff "$work/q0f16" "$work/other"
head -c 1000 "$work/q0f16/params_shard_0.bin" >"$work/short" && cp -r "$work/q0f16" "$work/cut" && cp "$work/short" "$work/cut/params_shard_0.bin"
refuses "$work" "a shard that is cut off" params_shard_0.bin 1000 -- "$mlcc" diff "$work/cut" $tiny
run "$mlcc" diff $tiny
expect 2 "one operand" "A B" || true
run "$mlcc" diff $tiny $tiny --tolerance -1
expect 2 "a negative tolerance" tolerance
check_done
