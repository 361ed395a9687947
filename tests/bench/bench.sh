#!/usr/bin/env bash
# Speed on this machine: kernels beside the machine's ceilings, then whole models. By hand, never a gate.
# usage: tests/bench/bench.sh [OPTION of mlcc bench …]       for example --threads 1 --prompt-tokens 128 --format csv
#        tests/bench/bench.sh DIR|--preset NAME [OPTION …]   only that model
#        tests/bench/bench.sh cpu [OPTION …]                 beside llama.cpp (cpu.py; --help says what it needs)
#        tests/bench/bench.sh start DIR [OPTION …]           seconds from the program's start to the first token (start.py)
# MLCC_BIN: folder of the programs, default build/bin.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=${MLCC_BIN:-build/bin}
if [ "${1:-}" = cpu ]; then
    shift
    MLCC_BIN=$bin exec python3 tests/bench/cpu.py "$@"
fi
if [ "${1:-}" = start ]; then
    shift
    MLCC_BIN=$bin exec python3 tests/bench/start.py "$@"
fi
mlcc=$bin/mlcc
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export MLCC_CACHE_DIR=$work/cache TMPDIR=$work
say() { printf '\n==> %s\n' "$*" >&2; }

# A model of the caller's choice.
for word in "$@"; do
    case $word in --preset | --preset=*) chosen=1 ;; esac
done
if [ "${chosen:-0}" = 1 ] || [ -d "${1:-}" ]; then
    "$mlcc" bench "$@"
    exit
fi

if [ -x "$bin/bench_kernels" ]; then
    variant=portable
    grep -qw avx2 /proc/cpuinfo && variant=x86_avx2
    grep -qw avx512bw /proc/cpuinfo && variant=x86_avx512
    say "kernels of $variant (all of them: $bin/bench_kernels)"
    "$bin/bench_kernels" --variant $variant --rows 1,16,128 --seconds 0.1
fi

if [ -x "$bin/bench_pool" ]; then
    say "the thread pool"
    "$bin/bench_pool"
fi

say "the project's own model, q4f16_1"
"$mlcc" gen_config tests/tiny/model --quantization q4f16_1 --conv-template LM -o "$work/tiny" 2>/dev/null
"$mlcc" convert_weight tests/tiny/model --quantization q4f16_1 -o "$work/tiny" 2>/dev/null
"$mlcc" compile "$work/tiny" 2>/dev/null
"$mlcc" bench "$work/tiny" --prompt-tokens 16,128 --gen-tokens 64 --repetitions 3 "$@"

say "smollm_135m, q4f16_1, made-up weights"
"$mlcc" bench --preset smollm_135m --quantization q4f16_1 --prompt-tokens 16,128 --gen-tokens 32 --repetitions 3 "$@"
