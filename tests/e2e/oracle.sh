#!/usr/bin/env bash
# Checkpoints that others quantized, written by tests/oracle from known codes, zeros and scales: they load to exactly those values, the model that comes out
# has the logits of the dequantized one, and modes that can hold the codes keep them unchanged.
. tests/support/check.sh

# open_checkpoint ARCHITECTURE LAYOUT: into $o
open_checkpoint() {
    o=$work/$1-$2
    must python3 -B tests/oracle/write_checkpoint.py "$o" "$1" "$2"
}

# convert HF_FOLDER MODE DIR
convert() { must "$mlcc" convert_weight "$1" --quantization "$2" -o "$3"; }

# expect_equal WHAT A B: no weight differs, bit by bit or at all.
expect_equal() {
    run "$mlcc" diff "$2" "$3" --json
    n_checks=$((n_checks + 1))
    [ "$rc" = 0 ] || { failed_run "$1: mlcc diff"; return 1; }
    expect_same "$1: largest difference" 0 "$(python3 -c 'import json, sys; print(int(sum(t["max_abs"] != 0 for t in json.load(sys.stdin)["tensors"])))' <"$out")"
}

# The library depends on shapes and mode only, so each is compiled once. compile_into DIR KEY HF_FOLDER MODE
compile_into() {
    must "$mlcc" gen_config "$3" --quantization "$4" --conv-template LM -o "$1"
    if [ ! -f "$work/lib-$2.so" ]; then
        must "$mlcc" compile "$1" --target "$any_cpu" -o "$work/lib-$2.so"
    fi
    cp "$work/lib-$2.so" "$1/lib.so"
}

# logits DIR FILE
logits() { must "$mlcc" generate "$1" --prompt "$(py get "$o/ids.json" text)" --max-tokens 1 --no-cache --logits "$2"; }

# near WHAT A.npy TOLERANCE: against the logits that tests/oracle computed
near() { expect_near "$1" "$(py npy "$2" "$o/ids.json" logits)" 0 "$3"; }

# check_layout ARCHITECTURE LAYOUT
check_layout() {
    local name="$1 $2"
    open_checkpoint "$1" "$2"
    convert "$o/quantized" q0f32 "$o/q"
    expect_equal "$name: the codes say what the float model says" "$o/q" "$o/float"
    compile_into "$o/q" "$1-q0f32" "$o/quantized" q0f32
    logits "$o/q" "$o/q.npy"
    near "$name: logits against the oracle" "$o/q.npy" 0.0002
}

# keeps_codes ARCHITECTURE LAYOUT MODE KEY: after check_layout
keeps_codes() {
    local name="$1 $2 into $3"
    convert "$o/quantized" "$3" "$o/kept"
    expect_equal "$name: stored unchanged" "$o/kept" "$o/float"
    compile_into "$o/kept" "$1-$4" "$o/quantized" "$3"
    logits "$o/kept" "$o/kept.npy"
    # The mode keeps keys and values in float16: the weights are exact, the cache is not.
    near "$name: logits against the oracle" "$o/kept.npy" 0.01
    rm -rf "$o/kept"
}

# works_anyway ARCHITECTURE LAYOUT MODE WORD…: codes are chosen anew, and the converter says so.
works_anyway() {
    local mode=$3 name="$1 $2 into $3"
    shift 3
    must "$mlcc" convert_weight "$o/quantized" --quantization "$mode" -o "$o/anew"
    cp "$err" "$out"
    expect_out "$name: says that codes were chosen anew" "$@"
    rm -rf "$o/anew"
}

layouts="awq-gemm awq-gemm-row awq-gemm-torch awq-gemv awq-gemv-fast llm-awq-v2 awq-marlin gptq gptq-act-order gptq-v2 gptq-2bit gptq-3bit gptq-8bit
    ct-pack ct-pack-asymmetric ct-pack-8bit llmc-vllm fp8-tensor fp8-static fp8-channel fp8-block"
[ $quick = 1 ] && layouts="awq-gemm awq-gemm-torch awq-gemv-fast awq-marlin gptq-act-order gptq-3bit ct-pack-asymmetric fp8-block"
for layout in $layouts; do
    check_layout llama $layout
    case $layout in
    awq-gemm | awq-gemv) keeps_codes llama $layout q4f16_autoawq autoawq-64 ;;
    gptq-2bit | gptq-3bit) keeps_codes llama $layout q4f16_autoawq autoawq-64 ;;
    gptq | ct-pack) keeps_codes llama $layout q4f16_autoawq autoawq-32 ;;
    awq-* | llm-awq-v2 | gptq-v2 | llmc-vllm | ct-pack-asymmetric) keeps_codes llama $layout q4f16_autoawq autoawq-128 ;;
    gptq-act-order) works_anyway llama $layout q4f16_1 "quantized anew" ;;
    fp8-block | fp8-tensor) works_anyway llama $layout q4f16_1 "quantized anew" ;;
    esac
    rm -rf "$o"
done

others="awq-gemm gptq gptq-act-order fp8-block"
[ $quick = 1 ] && others=awq-gemm
for architecture in qwen2 mistral; do
    for layout in $others; do
        check_layout $architecture $layout
        [ $layout = awq-gemm ] && keeps_codes $architecture $layout q4f16_autoawq autoawq-64
        rm -rf "$o"
    done
done
check_done
