#!/usr/bin/env bash
# Libraries with tile registers (AMX): which targets get the kernel, that tiles stay inside it, what a machine without them says, and, on one that has
# them, that the text is that of the library without.
. tests/support/check.sh

[ "$(uname -m)" = x86_64 ] || skip_all "tile registers belong to x86-64"
modes="q4f16_1 q8f16_1 q0bf16"
[ $quick = 1 ] && modes=q4f16_1
disassembler=$(command -v llvm-objdump-19 || command -v llvm-objdump || command -v objdump) || true

kernels_of() { must "$mlcc" inspect "$1" --json && py get "$out" library kernels; }

for mode in $modes; do
    model=$work/$mode
    kernel=linear_scaled_panel16__x86_amx product=tdpbssd
    [ $mode = q8f16_1 ] && product=tdpbsud
    [ $mode = q0bf16 ] && kernel=linear_bf16_panel16__x86_amx product=tdpbf16ps
    make_model $tiny "$mode" "$model" sapphirerapids
    expect_same "$mode: every product goes to the kernel with tiles" $kernel \
        "$(kernels_of "$model/lib.so" | grep -o 'linear_[a-z0-9_]*__[a-z0-9_]*' | sort -u)"
    expect_same "$mode: the target demands tiles" 1 "$(py get "$out" library cpu_features | grep -c 'amx-bf16.*amx-int8.*amx-tile')"
    runs_here=$(py get "$out" library runs_here)
    must "$mlcc" compile "$model" --target cascadelake -o "$model/vnni.so"
    expect_same "$mode: no tiles for a processor without" 0 "$(kernels_of "$model/vnni.so" | grep -c $kernel)"
    must "$mlcc" compile "$model" --target sapphirerapids --opt exact -o "$model/exact.so"
    expect_same "$mode: no tiles for float activations" 0 "$(kernels_of "$model/exact.so" | grep -c $kernel)"

    if [ -n "$disassembler" ]; then
        "$disassembler" -d "$model/lib.so" >"$work/code"
        users=$(awk '/^[0-9a-f]+ <.*>:/ { f = $2 } /tdpb|tileload|tilestore|tilezero|tilecfg|tilerelease/ { print f }' "$work/code" | sort | uniq -c)
        expect_same "$mode: functions with tiles that are not the kernel's" 0 "$(grep -vc $kernel <<<"$users")"
        expect_same "$mode: products are $product" $product "$(grep -o 'tdpb[a-z0-9]*' "$work/code" | sort -u)"
    else
        skip_part "$mode: no disassembler"
    fi

    if [ "$runs_here" = true ] && [ $mode = q0bf16 ]; then
        skip_part "$mode: without tiles rows stay float32, so texts may differ"
    elif [ "$runs_here" = true ]; then
        text=$("$mlcc" generate "$model" --prompt "Tom had a red ball and" --max-tokens 64 2>"$err" || echo "exit code $?")
        expect_same "$mode: the text of the library without tiles" \
            "$("$mlcc" generate "$model" --model-lib "$model/vnni.so" --prompt "Tom had a red ball and" --max-tokens 64 2>"$err")" "$text"
    else
        refuses "$work" "$mode: cannot run here" "'sapphirerapids'" "CPU features" -- "$mlcc" generate "$model" --prompt a
        skip_part "$mode: this machine cannot run code for sapphirerapids"
    fi
done
check_done
