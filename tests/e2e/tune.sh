#!/usr/bin/env bash
# compile --opt tune: the library writes and scores what the untuned one does, to the bit; the second compile reads the cache and gives the same bytes;
# damaged cache files are made anew; --explain-kernels shows what was timed; targets that cannot run here are refused before anything is written.
. tests/support/check.sh

model=$work/model
make_model $tiny q4f16_1 "$model" native
cp "$model/lib.so" "$work/plain.so"

run "$mlcc" compile "$model" --target native --opt tune --explain-kernels -o "$work/tuned.so"
expect 0 "--opt tune" "wrote $work/tuned.so"
expect_out "what was timed" "tuned linear" "q4g32_f16" "1 / 8 / 128 rows" "_ahead 512: " "_chunks 4: " "chosen:" "model: " "knobs: "
n_files=$(find "$MLCC_CACHE_DIR/tuning" -name '*.json' | wc -l)
n_checks=$((n_checks + 1))
[ "$n_files" -ge 3 ] || failed "only $n_files products were remembered"

before=$(listing "$MLCC_CACHE_DIR/tuning")
run "$mlcc" compile "$model" --target native --opt 'tune=1;cudagraph=0' --explain-kernels -o "$work/again.so"
expect 0 "--opt tune from the cache"
expect_out "what was remembered" "from the cache"
n_checks=$((n_checks + 2))
cmp "$work/tuned.so" "$work/again.so" || failed "tuned twice: the bytes differ"
[ "$before" = "$(listing "$MLCC_CACHE_DIR/tuning")" ] || failed "the second compile wrote into the cache"

# ---- the same numbers ----
story() { "$mlcc" generate "$model" --model-lib "$1" --prompt "Tom had a red" --max-tokens 64 "${@:2}" 2>"$err" || echo "exit code $?"; }
expect_same "the same text" "$(story "$work/plain.so")" "$(story "$work/tuned.so")"
expect_same "the same text, three threads" "$(story "$work/plain.so" --threads 1)" "$(story "$work/tuned.so" --threads 3)"
head -c 1500 <<<"$(story "$work/plain.so" --max-tokens 200 --echo)" >"$work/text.txt"
must "$mlcc" perplexity "$model" --model-lib "$work/tuned.so" --reference-lib "$work/plain.so" --text "$work/text.txt" --json
expect_same "the same loss" "$(py get "$out" reference_nll)" "$(py get "$out" mean_nll)"
expect_same "no difference in any prediction" 0.0 "$(py get "$out" max_kl)"

# ---- a damaged file is made anew ----
[ $quick = 1 ] || {
    file=$(find "$MLCC_CACHE_DIR/tuning" -name '*.json' | sort | head -1)
    truncate -s 40 "$file"
    run "$mlcc" compile "$model" --target native --opt tune -o "$work/anew.so"
    expect 0 "a truncated cache file" "timed again" "$file"
    n_checks=$((n_checks + 1))
    [ "$(stat -c %s "$file")" -gt 40 ] || failed "the truncated file was not written again"
}

# ---- refused ----
case $(uname -m) in x86_64) other=neoverse-n1 ;; *) other=x86-64-v3 ;; esac
refuses "$work" "another machine's target" "--opt tune" "'$other'" "without tune" -- "$mlcc" compile "$model" --target $other --opt tune -o "$work/other.so"
if [ "$(uname -m)" = x86_64 ] && ! grep -q amx_int8 /proc/cpuinfo; then
    refuses "$work" "features that are missing" "amx-int8" "without tune" -- "$mlcc" compile "$model" --target x86-64-v2,sapphirerapids --opt tune -o "$work/other.so"
fi
refuses "$work" "an unknown word" "O0, O1, O2, O3, exact, tune" -- "$mlcc" compile "$model" --opt tuned -o "$work/other.so"

check_done
