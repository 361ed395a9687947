#!/usr/bin/env bash
# lib.so for aarch64, made on this machine, run under qemu-user by a program without a C library (lib_driver.c): the greedy text is that of the
# host's own library. The driver first proves itself on the host's architecture.
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
for case in "q4f16_1 aarch64" "q0f16 neoverse-v1" "q0f32 aarch64"; do
    read -r mode target <<<"$case"
    make_model $tiny $mode "$work/$mode"
    must "$mlcc" tokenize $tiny --text "$prompt"
    prompt_ids=$(cat "$out")
    must "$mlcc" generate "$work/$mode" --prompt "$prompt" --max-tokens $n_new --ignore-eos --json
    expected=$(py get "$out" token_ids | tr -d '[],')
    if [ "$host" = x86_64 ]; then
        [ -x "$work/driver-x86_64" ] || build_driver x86_64
        same_text "$mode $any_cpu on the host" "$work/$mode" "$work/$mode/lib.so" "$work/driver-x86_64"
    fi
    must "$mlcc" compile "$work/$mode" --target $target -o "$work/$mode-$target.so"
    cpu=()
    [ "$qemu" != env ] && cpu=(-cpu max)
    same_text "$mode $target" "$work/$mode" "$work/$mode-$target.so" "$qemu" "${cpu[@]}" "$work/driver-aarch64"
    [ $quick = 1 ] && break
done
check_done
