#!/usr/bin/env bash
# convert_weight --resume: whatever the moment of a kill, the result is byte for byte that of an uninterrupted conversion; damaged shards are made again,
# a journal of other inputs is refused; Ctrl-C keeps what is finished with --resume and removes it without.
. tests/support/check.sh

hf=$work/hf model=$work/model
py llama "$hf" 4 512 1408 8 4 40000
must "$mlcc" convert_weight "$hf" --quantization q0f32 -o "$work/whole" --json
n_shards=$(py get "$out" shards)
[ "$n_shards" -ge 3 ] || failed "the model is too small to show anything: $n_shards shards"

convert() { "$mlcc" convert_weight "$hf" --quantization q0f32 -o "$model" "$@"; }
# A script's background jobs ignore Ctrl-C; these must not.
interruptible() { exec env --default-signal=INT,TERM "$@"; }
same_as_whole() {
    n_checks=$((n_checks + 1))
    diff -r "$work/whole" "$model" >"$err" || { failed "$1: the store differs from that of an uninterrupted run"; cat "$err"; }
}
n_journaled() { cat "$model"/.mlcc-store.*/journal.jsonl 2>/dev/null | grep -c '"shard"'; }

start_ns=$(date +%s%N)
must convert
conversion_ns=$(($(date +%s%N) - start_ns))
rm -rf "$model"

# strike SIGNAL N OF OPTION…: hits a conversion at the Nth of OF moments.
strike() {
    local signal=$1 n=$2 of=$3
    shift 3
    interruptible "$mlcc" convert_weight "$hf" --quantization q0f32 -o "$model" "$@" >/dev/null 2>"$err" &
    local pid=$!
    sleep "$(awk -v n="$n" -v of="$of" -v t=$conversion_ns 'BEGIN { printf "%.4f", t * 1e-9 * n / of }')"
    kill -"$signal" $pid 2>/dev/null
    wait $pid 2>/dev/null
    rc=$?
}

n_tries=8
[ $quick = 1 ] && n_tries=3
n_continued=0
for ((i = 1; i <= n_tries; i++)); do
    rm -rf "$model"
    strike KILL $i $((n_tries + 1))
    must convert --resume --json
    [ "$(py get "$out" resumed_shards)" -gt 0 ] && n_continued=$((n_continued + 1))
    same_as_whole "killed at moment $i of $n_tries"
done
echo "$n_continued of $n_tries killed conversions had shards to continue from"

# ---- Ctrl-C ----
rm -rf "$model"
strike INT 3 4
n_checks=$((n_checks + 1))
[ $rc = 0 ] || [ -z "$(find "$model" -name '.mlcc-store*' 2>/dev/null)" ] || failed "Ctrl-C without --resume leaves something"
rm -rf "$model"
strike INT 3 4 --resume
if [ $rc != 0 ]; then
    expect $rc "Ctrl-C with --resume says what it keeps" "kept" "same command"
    must convert --resume
    same_as_whole "interrupted and continued"
else
    skip_part "the conversion was faster than Ctrl-C"
fi

# ---- a damaged shard, other inputs ----
for ((i = 1; i <= 20; i++)); do
    rm -rf "$model"
    strike KILL $((10 + i)) 24
    [ "$(n_journaled)" -ge 1 ] && [ ! -e "$model/tensor-cache.json" ] && break
done
if [ "$(n_journaled)" -ge 1 ]; then
    before=$(n_journaled)
    run "$mlcc" convert_weight "$hf" --quantization q0f16 -o "$model" --resume
    expect 1 "another mode" "q0f32" "q0f16" "without --resume"
    expect_same "a refused --resume loses nothing" "$before" "$(n_journaled)"
    shard=$(ls "$model"/.mlcc-store.*/params_shard_0.bin)
    py flip "$shard" 1000
    run convert --resume
    expect 0 "a damaged shard" "shard 0 of the unfinished store" "made again"
    same_as_whole "a damaged shard"
else
    skip_part "no kill hit between the first shard and the last"
fi
rm -rf "$model"
strike KILL 3 4
touch "$hf/model.safetensors"
if [ ! -e "$model/tensor-cache.json" ] && ls -d "$model"/.mlcc-store.* >/dev/null 2>&1; then
    run convert --resume
    expect 1 "a source that changed" "source's files"
fi
must convert
same_as_whole "without --resume everything is made anew"

# ---- progress: bytes, rate, time left ----
# Exit code 3: no terminal can be had here; 4: over before the first line of progress was due.
python3 - "$mlcc" "$hf" "$model" >"$out" 2>&1 <<'PY'
import os, pty, sys, time

try:
    for fd in pty.openpty():
        os.close(fd)
except OSError:
    sys.exit(3)
start = time.monotonic()
pty.spawn([sys.argv[1], "convert_weight", sys.argv[2], "--quantization", "q0f32", "-t", "1", "-o", sys.argv[3]])
sys.exit(4 if time.monotonic() - start < 1 else 0)
PY
case $? in
3) skip_part "progress on a terminal: this machine gives none" ;;
4) grep -q "convert" "$out" || skip_part "progress on a terminal: the conversion took less than a second" ;;
*) expect_out "progress on a terminal" "convert" " of " "B/s" "left" ;;
esac
check_done
