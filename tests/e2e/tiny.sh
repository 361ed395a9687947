#!/usr/bin/env bash
# The project's own model through all four commands, in every mode: what it writes, and that it writes the same with any number of threads, any batch,
# any instruction set, from the prepared cache, and from a library compiled elsewhere.
. tests/support/check.sh

prompts=("Once upon a time," "One day, a little girl named Anna" "Tom had a red")
stories() {
    local prompt
    for prompt in "${prompts[@]}"; do
        "$mlcc" generate "$1" --prompt "$prompt" --max-tokens 96 --echo "${@:2}" || echo "exit code $?"
    done
}

modes="q0f32 q0f16 q4f16_1"
[ $quick = 1 ] && modes=q4f16_1
for mode in $modes; do
    model=$work/$mode
    make_model $tiny $mode "$model" native
    text=$(stories "$model")
    # The model was trained on one grammar: sentences, known names, no rubbish.
    expect_same "$mode: three stories" 3 "$(grep -cE '^(Once upon a time,|One day, a little girl named Anna|Tom had a red).*\.' <<<"$text")"
    expect_same "$mode: only the grammar's characters" "" "$(tr -d 'A-Za-z .,!?"\n'"'" <<<"$text")"
    expect_same "$mode: one thread" "$text" "$(stories "$model" --threads 1)"
    expect_same "$mode: two threads" "$text" "$(stories "$model" --threads 2)"
    expect_same "$mode: three threads" "$text" "$(stories "$model" --threads 3)"
    expect_same "$mode: batch of four" "$text" "$(stories "$model" --batch 4 --threads 2)"
    expect_same "$mode: without the prepared cache" "$text" "$(stories "$model" --no-cache)"
    expect_same "$mode: mlcc-run" "$text" "$(mlcc=$mlcc_run stories "$model")"

    # The second start maps what the first one prepared; a damaged cache file is noticed and made anew.
    rm -rf "$MLCC_CACHE_DIR"
    expect_same "$mode: first start" "$text" "$(stories "$model")"
    cached=$(find "$MLCC_CACHE_DIR" -name '*.weights' | head -1)
    if [ -n "$cached" ]; then
        before=$(stat -c '%i %Y' "$cached")
        expect_same "$mode: second start" "$text" "$(stories "$model" --verify)"
        expect_same "$mode: the second start writes nothing" "$before" "$(stat -c '%i %Y' "$cached")"
        truncate -s 5000 "$cached"
        expect_same "$mode: a truncated cache" "$text" "$(stories "$model" 2>/dev/null)"
        py flip "$cached" 20
        expect_same "$mode: a cache with a broken header" "$text" "$(stories "$model" 2>/dev/null)"
        py flip "$cached" -100
        expect_same "$mode: a cache with a flipped byte, --verify" "$text" "$(stories "$model" --verify 2>/dev/null)"
    elif [ $mode = q4f16_1 ]; then
        failed "$mode: nothing was prepared into $MLCC_CACHE_DIR"
    fi
done

# ---- the same bytes from other places, other folders, another working directory ----
here=$PWD tool=$(realpath "$mlcc")
mkdir -p "$work/elsewhere/deeper"
cp -r "$here/$tiny" "$work/elsewhere/deeper/hf"
(
    cd "$work/elsewhere" || exit 1
    "$tool" gen_config deeper/hf --quantization q4f16_1 --conv-template LM -o m &&
        "$tool" convert_weight deeper/hf --quantization q4f16_1 --threads 1 -o m &&
        TMPDIR=$work/elsewhere "$tool" compile m/mlc-chat-config.json -o m/lib.so
) 2>"$err" || failed "compiling in another directory: $(cat "$err")"
for file in lib.so params_shard_0.bin tensor-cache.json mlc-chat-config.json tokenizer.json; do
    n_checks=$((n_checks + 1))
    cmp "$work/q4f16_1/$file" "$work/elsewhere/m/$file" || failed "$file differs between two directories"
done
must "$mlcc" compile "$work/q4f16_1" -o "$work/again.so"
cmp "$work/q4f16_1/lib.so" "$work/again.so" || failed "lib.so differs between two compiles"

# ---- instruction sets: what this machine can run gives the same greedy text ----
text=$(stories "$work/q4f16_1")
case $(uname -m) in x86_64) targets="x86-64-v2 x86-64-v3 x86-64-v4" ;; *) targets="aarch64" ;; esac
[ $quick = 1 ] && targets=$any_cpu
for target in $targets; do
    must "$mlcc" compile "$work/q4f16_1" --target $target -o "$work/$target.so"
    must "$mlcc" inspect "$work/$target.so" --json
    if [ "$(py get "$out" library runs_here)" = true ]; then
        expect_same "$target writes what native writes" "$text" "$(stories "$work/q4f16_1" --model-lib "$work/$target.so")"
    else
        refuses "$work" "$target cannot run here" "CPU features" -- "$mlcc" generate "$work/q4f16_1" --model-lib "$work/$target.so" --prompt a
        skip_part "$target: this machine cannot run it"
    fi
done
echo "$text"
check_done
