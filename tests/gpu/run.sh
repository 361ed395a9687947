#!/usr/bin/env bash
# Everything that needs a GPU, on a machine that has one: kernels and whole models against their references, compute-sanitizer, then speed. One table
# last, one JSON file. Nothing is installed or fetched; what is missing is named and left out.
set -uo pipefail
cd "$(dirname "$0")/../.."
export LC_ALL=C

usage() {
    cat <<'TEXT'
usage: tests/gpu/run.sh [--quick] [--only kernels|model|sanitize|bench] [--output FILE]

  --quick    the smallest case of every section: is the machine, and this script, in order?
  --only     one kind of section
  --output   the JSON file; default $OUT/gpu.json where OUT is set, else tests/bench/results/gpu-DATE.json

Programs come from $MLCC_BUILD (a build folder), else build/, else build-bundle/bundle.tar.xz (tests/gpu/bundle.sh makes it on a machine that can
compile mlcc), else they are compiled. Sections have time budgets; one that exceeds its own is cut, which the table says. All end within
$MLCC_GPU_SECONDS, default 520. The driver is the system's or $MLCC_CUDA_DRIVER. Exit code: 0, 1 a wrong result, 2 usage, 77 no GPU or no programs.
TEXT
}

quick=0 only='' output=''
while [ $# -gt 0 ]; do
    case $1 in
    --quick) quick=1 ;;
    --only) only=${2:-} && shift ;;
    --output) output=${2:-} && shift ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
    esac
    shift
done
case $only in '' | kernels | model | sanitize | bench) ;; *) usage >&2 && exit 2 ;; esac
if [ -z "$output" ]; then
    [ -n "${OUT:-}" ] && output=$OUT/gpu.json || output=tests/bench/results/gpu-$(date -u +%Y-%m-%d-%H%M).json
fi

folder=$(mktemp -d)
# Kernels that are still compiled would make the folder again.
trap 'kill $(jobs -p) 2>/dev/null; wait; rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
export MLCC_CACHE_DIR=${MLCC_CACHE_DIR:-$folder/cache}
sections=$folder/sections.tsv
library_path=${LD_LIBRARY_PATH:-} # without what a bundle adds, for Python
: >"$sections"
limit_s=$((SECONDS + ${MLCC_GPU_SECONDS:-520}))

say() { printf '\n==> %s (%d s)\n' "$*" "$SECONDS"; }
wants() { [ -z "$only" ] || [ "$only" = "$1" ]; }
has() { command -v "$1" >/dev/null; }
note() { printf '%s\t%s\t%d\t%s\n' "$1" "$2" "$3" "$4" >>"$sections"; } # NAME RESULT SECONDS REMARK
within() { # SECONDS: no more than are left
    local left=$((limit_s - SECONDS))
    [ $left -lt 1 ] && left=1
    [ "$1" -lt $left ] && echo "$1" || echo $left
}

# section NAME BUDGET COMMAND…: the log is NAME.log with _ for spaces; a cut or failed section shows its end.
section() {
    local name=$1 budget start=$SECONDS log rc result remark
    budget=$(within "$2")
    shift 2
    log=$folder/${name// /_}.log
    timeout -k 5 "$budget" "$@" >"$log" 2>&1 </dev/null
    rc=$?
    remark=$(grep -E '^ *[0-9]+ (SKIPPED|FAILED) TEST|^skipped: |^result: |^\[  PASSED  \]' "$log" | sort -u | head -3 | tr -s ' \t\n' ' ')
    case $rc in
    0) result=ok ;;
    77) result=skipped ;;
    124 | 137) result=cut remark="after $budget s; $remark" ;;
    *) result=FAILED remark="exit code $rc; $remark" ;;
    esac
    # The fake driver says on standard error what a kernel or the runtime does wrong.
    grep -q '^cuda_fake: ' "$log" && result=FAILED remark="$(grep -m1 '^cuda_fake: ' "$log")"
    note "$name" "$result" $((SECONDS - start)) "$remark"
    [ $result = ok ] || { echo "$name: $result $remark"; tail -n 15 "$log" | sed 's/^/  | /'; }
    [ $result != FAILED ]
}

# ---- programs -----------------------------------------------------------------------------------------

programs="mlcc cuda_bench cuda_shim_rows cuda_shim_linear cuda_attention"
works() { # FOLDER
    local program
    for program in $programs; do [ -x "$1/bin/$program" ] || return 1; done
    "$1/bin/mlcc" --version >/dev/null 2>&1
}

find_programs() {
    local build
    for build in ${MLCC_BUILD:+"$MLCC_BUILD"} build; do
        works "$build" && { bin=$build/bin; return 0; }
    done
    if [ -f build-bundle/bundle.tar.xz ]; then
        mkdir -p "$folder/bundle"
        tar -C "$folder/bundle" -xJf build-bundle/bundle.tar.xz || return 1
        export LD_LIBRARY_PATH=$folder/bundle/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
        works "$folder/bundle" && { bin=$folder/bundle/bin; return 0; }
        echo "the programs of build-bundle/bundle.tar.xz do not run here: $("$folder/bundle/bin/mlcc" --version 2>&1 | head -2)"
        export LD_LIBRARY_PATH=$library_path
    fi
    has cmake && has ninja || return 1
    section build 240 bash -c 'cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release && cmake --build build' && works build && bin=build/bin
}

say "programs"
bin=''
if ! find_programs; then
    echo "skipped: no programs: set MLCC_BUILD, or make build-bundle/bundle.tar.xz with tests/gpu/bundle.sh where LLVM, jansson, xxhash, pcre2, utf8proc, hwloc, libzip and cmocka are installed"
    exit 77
fi
echo "from $bin"

# ---- the machine --------------------------------------------------------------------------------------

# NVRTC may lie in a Python package.
if [ -z "${MLCC_NVRTC_PATH:-}" ] && has python3 && ! ls /usr/local/cuda*/lib64/libnvrtc.so* >/dev/null 2>&1; then
    found=$(python3 -c 'import glob, sys; print(next((f for p in sys.path for f in glob.glob(p + "/nvidia/*/lib/libnvrtc.so.1*")), ""))')
    [ -n "$found" ] && export MLCC_NVRTC_PATH=$found
fi
if [ -n "${MLCC_CUDA_DRIVER:-}" ]; then
    archs=${MLCC_GPU_ARCHS:-compute_80}
elif has nvidia-smi; then
    nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm --format=csv,noheader
    archs=sm_$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d '. ')
    [ "$archs" = sm_90 ] && archs=sm_90a
else
    archs=${MLCC_GPU_ARCHS:-}
fi
if [ -n "$archs" ]; then for_device=(--archs "$archs") device=cuda:$archs; else for_device=() device=cuda; fi
echo "compiling for $device"

"$bin/mlcc" gen_config tests/tiny/model --quantization q4f16_1 --conv-template LM -o "$folder/tiny" >/dev/null 2>&1
if ! "$bin/mlcc" compile "$folder/tiny" --device "$device" -o "$folder/tiny.so" 2>"$folder/compile.log"; then
    cat "$folder/compile.log"
    grep -q 'needs NVRTC\|no NVRTC' "$folder/compile.log" && exit 77
    exit 1
fi
"$bin/cuda_bench" --quick --only nothing --output "$folder/machine.json" 2>"$folder/machine.log"
if [ $? = 77 ]; then
    cat "$folder/machine.log"
    exit 77
fi
failed=0

# Kernels that are timed later are compiled meanwhile; the cache keeps them.
compilers=()
if wants bench && [ $quick = 0 ]; then
    n_parts=$(nproc)
    for part in $(seq 0 $((n_parts - 1))); do
        timeout 100 "$bin/cuda_bench" --compile "$part/$n_parts" >/dev/null 2>&1 </dev/null &
        compilers+=($!)
    done
fi

# ---- kernels ------------------------------------------------------------------------------------------

# The cases of the tests that run without a GPU, on the device. Several at a time: most of it is compiling and the reference.
check_kernels() {
    local file name names=''
    for file in $(grep -l cuda_subject_check tests/cuda/*_test.c); do
        name=$(basename "$file" _test.c)
        [ -x "$bin/cuda_$name" ] && names+=" $name"
    done
    [ $quick = 1 ] && names=shim_rows
    local pids=() pid
    for name in $names; do
        MLCC_TEST_DEVICE=cuda section "kernels $name" 110 "$bin/cuda_$name" &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
}
if wants kernels; then say "kernels against ir/eval" && check_kernels; fi

# ---- whole models -------------------------------------------------------------------------------------

# Greedy ids and the loss of a text, on the device and on the CPU.
cat >"$folder/check_model.sh" <<'TEXT'
set -euo pipefail
mode=$1 bin=$2 folder=$3 device=$4 n_tokens=$5
model=$folder/$mode
"$bin/mlcc" gen_config tests/tiny/model --quantization "$mode" --conv-template LM -o "$model"
"$bin/mlcc" convert_weight tests/tiny/model --quantization "$mode" -o "$model"
"$bin/mlcc" compile "$model"
"$bin/mlcc" compile "$model" --device "$device" -o "$model.so"
printf 'One day, a little girl named Anna went to the river. She had a blue kite.\nMax was a small dog.\n' >"$model.txt"
for side in cpu cuda; do
    library=$model/lib.so
    [ $side = cuda ] && library=$model.so
    "$bin/mlcc" generate "$model" --model-lib "$library" --device $side --prompt "One day, a little girl named" --max-tokens "$n_tokens" --ignore-eos --json >"$model.$side.json"
    "$bin/mlcc" perplexity "$model" --model-lib "$library" --device $side --text "$model.txt" --lines 2 --json >"$model.$side.nll"
done
python3 - "$model" "$n_tokens" <<'PYTHON'
import json, sys
read = lambda name: json.load(open(sys.argv[1] + name))
cpu, cuda = read(".cpu.json")["token_ids"], read(".cuda.json")["token_ids"]
same = next((i for i, pair in enumerate(zip(cpu, cuda)) if pair[0] != pair[1]), len(cpu))
losses = [read(f".{side}.nll")["mean_nll"] for side in ("cpu", "cuda")]
print(f"result: {same} of {len(cpu)} greedy ids are the same, mean nll {losses[0]:.5f} on the CPU and {losses[1]:.5f} on the device")
sys.exit(same < min(8, len(cpu)) or len(cpu) != len(cuda) or not abs(losses[0] - losses[1]) <= 0.02)
PYTHON
TEXT
check_models() {
    local mode modes="q4f16_1 q4f16_autoawq q0f16 q0bf16 q3f16_1 q4f16_ft e4m3_e4m3_f16_max_calibrate fp8_e4m3fn_bf16_block_scale" n=24
    has python3 || { note model skipped 0 "python3 compares, and is not here"; return; }
    [ $quick = 1 ] && modes=q4f16_1 n=2
    local pids=() pid
    for mode in $modes; do
        section "model $mode" 60 bash "$folder/check_model.sh" "$mode" "$bin" "$folder" "$device" $n &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
}
if wants model; then say "whole models against the CPU" && check_models; fi

# ---- compute-sanitizer --------------------------------------------------------------------------------

sanitize() {
    local tool program pids=() pid
    has compute-sanitizer || { note sanitize skipped 0 "compute-sanitizer is not here"; return; }
    [ -n "${MLCC_CUDA_DRIVER:-}" ] && { note sanitize skipped 0 "not with MLCC_CUDA_DRIVER"; return; }
    for tool in memcheck racecheck initcheck; do
        for program in shim_rows shim_linear attention; do
            [ $quick = 1 ] && [ $program != shim_rows ] && continue
            MLCC_TEST_DEVICE=cuda section "$tool $program" 75 compute-sanitizer --tool $tool --error-exitcode 9 "$bin/cuda_$program" &
            pids+=($!)
        done
    done
    for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
    # A run that was cut says what it found so far.
    grep -lE '========= (Invalid|Error: Race|Uninitialized|Error: Potential)' "$folder"/*check_*.log 2>/dev/null && failed=1
}
if wants sanitize; then say "compute-sanitizer" && sanitize; fi

# ---- speed --------------------------------------------------------------------------------------------

bench_kernels() {
    local arguments=(--seconds "$(within 85)" --output "$folder/kernels.json")
    [ $quick = 1 ] && arguments=(--quick --output "$folder/kernels.json")
    section "bench kernels" 110 "$bin/cuda_bench" "${arguments[@]}" || failed=1
    [ -f "$folder/kernels.json" ] || return
    has python3 || { note "bench torch" skipped 0 "python3 is not here"; return; }
    section "bench torch" 60 env LD_LIBRARY_PATH="$library_path" python3 tests/bench/torch_kernels.py "$folder/kernels.json" "$folder/torch.json" "$(within 40)"
}

# bench_model NAME PRESET MODE OPTION…
bench_model() {
    local name=$1 preset=$2 mode=$3
    shift 3
    [ $((limit_s - SECONDS)) -lt 15 ] && { note "bench $name" cut 0 "no time left"; return; }
    section "bench $name" 60 bash -c '"$@" >"$0"' "$folder/model.$name.json" "$bin/mlcc" bench --preset "$preset" -q "$mode" --device cuda \
        "${for_device[@]}" -r 3 --format json "$@" || failed=1
}

bench_models() {
    local preset mode
    if [ $quick = 1 ]; then
        bench_model quick.q4f16_1 tests/tiny/model q4f16_1 -p 2 -n 1 -b 1 -r 1
        return
    fi
    for preset in llama3_1_8b llama3_2_1b llama2_7b; do
        for mode in q4f16_1 q4f16_autoawq q0f16 e4m3_e4m3_f16; do
            bench_model "$preset.$mode.decode" $preset $mode -p 0 -n 32 -b 1,4,8,32 -d 16,2048
            bench_model "$preset.$mode.prefill" $preset $mode -p 16,128,512,2048 -n 0
        done
        [ $preset = llama2_7b ] && continue # its context ends at 2048
        bench_model "$preset.q4f16_1.deep" $preset q4f16_1 -p 0 -n 32 -b 1,4 -d 8192
    done
    bench_model llama3_1_8b.q4f16_1.deep_batch llama3_1_8b q4f16_1 -p 0 -n 16 -b 8,32 -d 8192
}
if wants bench; then
    [ ${#compilers[@]} -gt 0 ] && wait "${compilers[@]}"
    say "speed of kernels" && bench_kernels
    say "speed of whole models" && bench_models
fi

# ---- the table ----------------------------------------------------------------------------------------

say "done"
if has python3; then
    python3 tests/gpu/report.py "$folder" "$output" || failed=1
else
    cat "$sections"
fi
[ -n "${OUT:-}" ] && tar -C "$folder" -cJf "$OUT/logs.tar.xz" --exclude='*/*' -- $(cd "$folder" && ls -- *.log) 2>/dev/null
exit $failed
