#!/usr/bin/env bash
# A library for CUDA devices through the commands, on a machine without one: its PTX runs on the fake driver (tests/support/cuda_fake), and writes the
# greedy text that the CPU's library writes. Then what the commands say when driver, device or memory are missing. Needs NVRTC.
. tests/support/check.sh

fake=${MLCC_BUILD:?names the build folder}/lib/cuda_fake.so
[ -f "$fake" ] || skip_all "no fake driver: the tests were not built"
prompt="One day, a little girl named"
n_new=48
[ $quick = 1 ] && n_new=2

make_model $tiny q4f16_1 "$work/q4f16_1"
run "$mlcc" compile "$work/q4f16_1" --device cuda:compute_80 -o "$work/q4f16_1.so"
[ "$rc" = 1 ] && grep -q "NVRTC" "$err" && grep -q "error: unsupported" "$err" && skip_all "no NVRTC: $(head -1 "$err")"
expect 0 "compiling for CUDA" || check_done

# The fake driver says on standard error what a kernel or the runtime does wrong.
clean() { expect_same "$1: no faults" "" "$(grep '^cuda_fake:' "$err")"; }
on_fake() { MLCC_CUDA_DRIVER=$fake "$@"; }

modes="q4f16_1 q0f16 q4f16_autoawq"
[ $quick = 1 ] && modes=q4f16_1
for mode in $modes; do
    model=$work/$mode library=$work/$mode.so
    [ -d "$model" ] || make_model $tiny $mode "$model"
    [ -f "$library" ] || must "$mlcc" compile "$model" --device cuda:compute_80 -o "$library"
    must "$mlcc" generate "$model" --prompt "$prompt" --max-tokens $n_new --ignore-eos --json
    expected=$(py get "$out" token_ids)
    run on_fake "$mlcc" generate "$model" --model-lib "$library" --prompt "$prompt" --max-tokens $n_new --ignore-eos --json
    expect 0 "$mode on the fake driver" "device: cuda:0, Fake GPU" "compiled for CUDA"
    expect_same "$mode: greedy ids" "$expected" "$(py get "$out" token_ids)"
    clean "$mode"
done

# ---- the second start, two sequences, the other program ----
model=$work/q4f16_1 library=$work/q4f16_1.so
generate=(generate "$model" --model-lib "$library" --prompt "$prompt" --max-tokens 2 --ignore-eos)
must "$mlcc" generate "$model" --prompt "$prompt" --max-tokens 2 --ignore-eos
greedy=$(cat "$out")
run on_fake "$mlcc_run" "${generate[@]}" --batch 2 --device cuda:0
expect 0 "two sequences with mlcc-run"
expect_same "two sequences: text" "$greedy" "$(cat "$out")"
clean "two sequences"

# ---- the device draws the tokens that the host draws ----
# From one prompt's logits the tokens must be the same: --logits brings them to the host. Of longer texts the CPU's library computes slightly other
# logits; these seeds are not near an edge.
one=(generate "$model" --prompt "$prompt" --max-tokens 1 --ignore-eos)
seeds="1 2"
[ $quick = 1 ] && seeds=1
for seed in $seeds; do
    for settings in "--temperature 1" "--temperature 3 --top-k 40 --top-p 0.9" "--temperature 2 --top-p 0.95 --min-p 0.001"; do
        run on_fake "$mlcc" "${one[@]}" --model-lib "$library" --seed $seed $settings --logits "$work/logits.npy"
        expect 0 "seed $seed, $settings: drawn by the host"
        text=$(cat "$out")
        run on_fake "$mlcc" "${one[@]}" --model-lib "$library" --seed $seed $settings
        expect 0 "seed $seed, $settings: drawn by the device"
        expect_same "seed $seed, $settings" "$text" "$(cat "$out")"
        clean "seed $seed, $settings"
    done
done
long=(generate "$model" --prompt "$prompt" --max-tokens $((n_new < 16 ? n_new : 16)) --ignore-eos)
for settings in "--seed 3" "--seed 9 --top-k 20 --top-p 0.9 --min-p 0.01 --repetition-penalty 1.2 --frequency-penalty 0.3 --presence-penalty 0.2"; do
    must "$mlcc" "${long[@]}" --temperature 1 $settings
    expected=$(cat "$out")
    run on_fake "$mlcc" "${long[@]}" --model-lib "$library" --temperature 1 $settings
    expect 0 "$settings on the fake driver"
    expect_same "$settings: text" "$expected" "$(cat "$out")"
    clean "$settings"
done

# ---- launches one by one, kernels that begin early ----
run env MLCC_CUDA_GRAPHS=0 MLCC_CUDA_DRIVER="$fake" "$mlcc" "${generate[@]}"
expect 0 "without graphs"
expect_same "without graphs: text" "$greedy" "$(cat "$out")"
must "$mlcc" compile "$model" --device cuda:compute_90 -o "$work/early.so"
for early in 1 0; do
    run env MLCC_CUDA_PDL=$early MLCC_CUDA_DRIVER="$fake" "$mlcc" generate "$model" --model-lib "$work/early.so" --prompt "$prompt" \
        --max-tokens 2 --ignore-eos
    expect 0 "code for sm_90, early launches $early"
    expect_same "code for sm_90, early launches $early: text" "$greedy" "$(cat "$out")"
    clean "code for sm_90, early launches $early"
done

# ---- a killed process leaves nothing that the next one trips over ----
MLCC_CUDA_DRIVER=$fake "$mlcc" generate "$model" --model-lib "$library" --prompt "$prompt" --max-tokens 400 --ignore-eos >"$work/killed" 2>&1 &
sleep 1
kill -KILL $!
wait $! 2>"$work/killed"
run on_fake "$mlcc" "${generate[@]}"
expect 0 "after a process was killed"
expect_same "after a process was killed: text" "$greedy" "$(cat "$out")"

# ---- what is missing is named ----
run env MLCC_CUDA_DRIVER=/nowhere/libcuda.so "$mlcc" "${generate[@]}"
expect 1 "no driver" "error: unsupported: no CUDA driver" "/nowhere/libcuda.so" "--device cpu"
run env MLCC_FAKE_DEVICES=0 MLCC_CUDA_DRIVER="$fake" "$mlcc" "${generate[@]}"
expect 1 "no device" "sees no device"
run on_fake "$mlcc" "${generate[@]}" --device cuda:3
expect 1 "no such device" "there is no device cuda:3"
run on_fake "$mlcc" "${generate[@]}" --device cpu
expect 1 "a CUDA library on the CPU" "compiled for CUDA devices"
run on_fake "$mlcc" generate "$model" --prompt "$prompt" --device cuda
expect 1 "a CPU library on CUDA" "compiled for the CPU" "--device cuda"
run on_fake "$mlcc" "${generate[@]}" --device gpu
expect 1 "an unknown device" "accepted: cpu, cuda, cuda:N, auto"
run env MLCC_FAKE_VERSION=11080 MLCC_CUDA_DRIVER="$fake" "$mlcc" "${generate[@]}"
expect 1 "an old driver" "supports CUDA 11.8: update NVIDIA's driver"
run env MLCC_FAKE_CAPABILITY=7.5 MLCC_CUDA_DRIVER="$fake" "$mlcc" "${generate[@]}"
expect 1 "an old device" "holds code for compute_80" "compute capability 7.5"
run env MLCC_FAKE_MEMORY=100000 MLCC_CUDA_DRIVER="$fake" "$mlcc" "${generate[@]}"
expect 1 "too little memory for the weights" "out of memory: device cuda:0 has" "weights" "workspace"
run env MLCC_FAKE_FAIL_LAUNCH=3:2 MLCC_CUDA_DRIVER="$fake" "$mlcc" "${generate[@]}"
expect 1 "out of memory on the way" "out of memory: launching kernel" "CUDA_ERROR_OUT_OF_MEMORY"
clean "out of memory on the way"
run env MLCC_FAKE_FAIL_KERNEL=3:700 MLCC_CUDA_SYNC=1 MLCC_CUDA_DRIVER="$fake" "$mlcc" "${generate[@]}"
expect 1 "a kernel that fails" "device: launching kernel" "CUDA_ERROR_ILLEGAL_ADDRESS"
check_done
