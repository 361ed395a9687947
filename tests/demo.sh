#!/usr/bin/env bash
# The demo: the small model that ships with the project goes through the four commands and writes stories. Needs nothing from outside the project.
# usage: tests/demo.sh      (MLCC_BIN: folder of the programs, default build/bin; the model directory is build/demo)
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${MLCC_BIN:-build/bin}
mlcc=$bin/mlcc
model=build/demo
export MLCC_CACHE_DIR=$PWD/build/demo-cache

bold='' plain=''
[ -t 1 ] && bold=$'\033[1m' plain=$'\033[0m'

# Shows a command the way one would type it, then runs it.
show() {
    local word line=
    for word in "$@"; do
        case $word in *[!A-Za-z0-9_./=:-]*) word="'$word'" ;; esac
        line+=" $word"
    done
    printf '\n%s$%s%s\n' "$bold" "$line" "$plain"
    "$@"
}

rm -rf "$model"
mkdir -p build
show "$mlcc" gen_config tests/tiny/model --quantization q4f16_1 --conv-template LM -o "$model"
show "$mlcc" convert_weight tests/tiny/model --quantization q4f16_1 -o "$model"
show "$mlcc" compile "$model" -o "$model/lib.so"
ls -l "$model"

show "$mlcc" generate "$model" --prompt 'Once upon a time,' --echo --max-tokens 160
show "$mlcc" generate "$model" --prompt 'One day, a little girl named Rosa' --echo --max-tokens 160 --temperature 0.8 --seed 1
show "$mlcc" generate "$model" --prompt 'Leo was a little boy who lived near the' --echo --max-tokens 160 --temperature 0.8 --top-p 0.95 --seed 2
show "$mlcc" bench "$model" --prompt-tokens 16,128 --gen-tokens 64 --repetitions 3
