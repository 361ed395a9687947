#!/usr/bin/env bash
# lib.so for aarch64, made on this machine, run under qemu-user by a program without a C library (lib_driver.c): the greedy text is that of the
# host's own library with activations of the same kind. The driver first proves itself on the host's architecture.
. tests/support/check.sh

clang=$(command -v clang-19 || command -v clang-20 || command -v clang-18 || command -v clang) || skip_all "no clang to build the driver with"
command -v ld.lld-19 >/dev/null || command -v ld.lld >/dev/null || skip_all "no lld to link the driver with"
qemu=$(command -v qemu-aarch64 || command -v qemu-aarch64-static) || true
host=$(uname -m)
[ "$host" = aarch64 ] && qemu=env
[ -n "$qemu" ] || skip_all "no qemu-aarch64 (package qemu-user)"

# build_driver ARCHITECTURE
build_driver() {
    must "$clang" --target="$1-linux-gnu" -std=c11 -O1 -Wall -Wextra -Werror -ffreestanding -fno-stack-protector -fno-builtin -nostdlib -static \
        -fuse-ld=lld -I. tests/e2e/lib_driver.c -o "$work/driver-$1"
}
build_driver aarch64

# same_text NAME DIR LIBRARY COMMAND…: the driver on that library against generate on the host.
same_text() {
    local name=$1 dir=$2 library=$3
    shift 3
    must "$mlcc" inspect "$library" --json
    py pieces "$out" "$dir" "$work/pieces"
    run "$@" "$library" "$work/pieces" $n_new $prompt_ids
    expect 0 "$name runs"
    expect_same "$name: greedy ids" "$expected" "$(head -1 "$out")"
    echo "$name: $(tail -1 "$out")"
}

prompt="One day, a little girl named"
n_new=48
[ $quick = 1 ] && n_new=8
# Targets without products of bytes keep float activations, the others make them i8 where the weight is int4 or int8: the host has both kinds.
case $host in x86_64) floats=x86-64-v2 bytes=x86-64-v3 ;; *) floats=aarch64 bytes=native ;; esac
for case in "q4f16_1 aarch64 $floats" "q4f16_1 neoverse-v1 $bytes" "q8f16_1 cortex-a76 $bytes" "q0f16 neoverse-v1 $floats" "q0f32 aarch64 $floats"; do
    read -r mode target here <<<"$case"
    model=$work/$mode-$here
    make_model $tiny $mode "$model" "$here"
    must "$mlcc" inspect "$model/lib.so" --json
    if [ "$(py get "$out" library runs_here)" != true ]; then
        echo "$mode $target: skipped, this machine cannot run $here"
        continue
    fi
    must "$mlcc" tokenize $tiny --text "$prompt"
    prompt_ids=$(cat "$out")
    must "$mlcc" generate "$model" --prompt "$prompt" --max-tokens $n_new --ignore-eos --json
    expected=$(py get "$out" token_ids | tr -d '[],')
    if [ "$host" = x86_64 ]; then
        [ -x "$work/driver-x86_64" ] || build_driver x86_64
        same_text "$mode $here on the host" "$model" "$model/lib.so" "$work/driver-x86_64"
    fi
    must "$mlcc" compile "$model" --target $target -o "$model-$target.so"
    must "$mlcc" inspect "$model-$target.so" --json
    [ "$here" != $bytes ] || expect_out "$mode $target: kernels" '"linear_scaled_panel16__arm_'
    cpu=()
    [ "$qemu" != env ] && cpu=(-cpu max)
    same_text "$mode $target" "$model" "$model-$target.so" "$qemu" "${cpu[@]}" "$work/driver-aarch64"
    [ $quick = 1 ] && break
done
check_done
