#!/usr/bin/env bash
# `mlcc compile --device cuda`: the same bytes from NVRTC and from the cache, what inspect and --debug-dump show, and what is refused. Needs NVRTC.
. tests/support/check.sh

compile() { # MODE OUTPUT OPTION…
    local mode=$1 output=$2
    shift 2
    must "$mlcc" compile $tiny --quantization "$mode" --device cuda:sm_80,compute_80 -o "$output" "$@"
}

run "$mlcc" compile $tiny --quantization q0f16 --device cuda:sm_80,compute_80 -o "$work/q0f16.so"
[ "$rc" = 1 ] && grep -q "needs NVRTC" "$err" && skip_all "no NVRTC"
expect 0 "compiling for CUDA"

modes="q0f16 q4f16_1 q4f16_autoawq"
[ $quick = 1 ] && modes=q0f16
for mode in $modes; do
    compile $mode "$work/$mode.so"
    compile $mode "$work/again.so"
    expect_same "$mode: bytes with the cache" "$(md5sum <"$work/$mode.so")" "$(md5sum <"$work/again.so")"
    MLCC_CACHE_DIR=$work/cache compile $mode "$work/again.so" --debug-dump "$work/dump.$mode"
    expect_same "$mode: bytes without it" "$(md5sum <"$work/$mode.so")" "$(md5sum <"$work/again.so")"
    rm -rf "$work/cache"
done

# Every instance leaves its text, PTX and log; the report names registers.
for ending in cu sm_80.ptx sm_80.log compute_80.ptx; do
    expect_same "dumped .$ending files" "$(ls "$work/dump.q0f16" | grep -c '\.cu$')" "$(ls "$work/dump.q0f16" | grep -c "\.$ending\$")"
done
expect_same "rows without spills in the report" 0 \
    "$(awk '/^  sm_80/ && ($3 != 0 || $4 != 0)' "$work/dump.q0f16/report.txt" | wc -l)"
[ "$(grep -c '^  sm_80' "$work/dump.q0f16/report.txt")" -ge 10 ] || failed "the report lists too few kernels"

run "$mlcc" inspect "$work/q0f16.so"
expect 0 "inspecting the library"
expect_out "inspecting the library" "cuda archs" "sm_80,compute_80" "images"
run "$mlcc" inspect --kernels
expect_out "the kernel table" linear_tile16__sm80 cuda/linear_rows,linear_halves,linear_tile16

# cuda:native is what the driver sees.
fake=${MLCC_BUILD:?names the build folder}/lib/cuda_fake.so
must env MLCC_CUDA_DRIVER="$fake" MLCC_FAKE_CAPABILITY=8.9 "$mlcc" compile $tiny --quantization q0f16 --device cuda:native -o "$work/native.so"
run "$mlcc" inspect "$work/native.so"
expect_out "compiled for this machine" "cuda archs" "sm_89"
refuses "$work" "no driver for cuda:native" "no CUDA driver" "cuda:sm_80" -- \
    env MLCC_CUDA_DRIVER=/nowhere/libcuda.so "$mlcc" compile $tiny --quantization q0f16 --device cuda:native -o "$work/x.so"

refuses "$work" "an architecture that is too old" sm_70 "accepted: sm_80" -- "$mlcc" compile $tiny --quantization q0f16 --device cuda:sm_70 -o "$work/x.so"
refuses "$work" "an empty list" "accepted: sm_80" -- "$mlcc" compile $tiny --quantization q0f16 --device cuda: -o "$work/x.so"
check_done
