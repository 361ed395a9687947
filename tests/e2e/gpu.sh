#!/usr/bin/env bash
# tests/gpu/run.sh on a machine without a GPU: its smallest form on the fake driver, what it says of a wrong kernel, and without a driver. Needs NVRTC.
. tests/support/check.sh

build=${MLCC_BUILD:?names the build folder}
fake=$build/lib/cuda_fake.so
[ -f "$fake" ] || skip_all "no fake driver: the tests were not built"
[ $quick = 1 ] && skip_all "not under sanitizers: the programs that it runs are tests of their own"
run "$mlcc" compile $tiny --quantization q4f16_1 --device cuda:compute_80 -o "$work/probe.so"
[ "$rc" = 1 ] && grep -q "NVRTC" "$err" && skip_all "no NVRTC"
gpu() { env MLCC_BUILD="$build" MLCC_CUDA_DRIVER="$fake" "$@"; }

run gpu tests/gpu/run.sh --help
expect 0 "help"
expect_out "help" "--quick" "--only" MLCC_GPU_SECONDS
run gpu tests/gpu/run.sh --only everything
expect 2 "an unknown section"

run gpu tests/gpu/run.sh --quick --output "$work/gpu.json"
if expect 0 "the quick run on the fake driver"; then
    expect_out "the table" "kernels shim_rows" "model q4f16_1" "compute-sanitizer is not here" "bench kernels" "bench quick.q4f16_1" "Fake GPU" "JSON: $work/gpu.json"
    expect_same "device in the JSON file" "Fake GPU" "$(py get "$work/gpu.json" kernels device)"
    expect_same "first section" "kernels shim_rows" "$(py get "$work/gpu.json" sections 0 name)"
    expect_same "its result" ok "$(py get "$work/gpu.json" sections 0 result)"
    expect_same "model" "tests/tiny/model" "$(py get "$work/gpu.json" models 0 model)"
fi

# A kernel that fails is a failed section.
run gpu env MLCC_FAKE_FAIL_KERNEL=40:700 tests/gpu/run.sh --quick --only kernels --output "$work/bad.json"
n_checks=$((n_checks + 1))
[ "$rc" = 1 ] || failed_run "a kernel that fails: the exit code should be 1"
expect_same "its section" FAILED "$(py get "$work/bad.json" sections 0 result)"
run env MLCC_BUILD="$build" MLCC_CUDA_DRIVER=/nowhere/libcuda.so tests/gpu/run.sh --quick --output "$work/none.json"
expect 77 "no driver"
expect_out "no driver" "no CUDA driver"
check_done
