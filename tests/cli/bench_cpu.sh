#!/usr/bin/env bash
# The harness of `./run bench cpu`: a made-up llama-bench in all the ways in which a real one answers or fails. No speed is judged.
. tests/support/check.sh
python3 -c 'import argparse, dataclasses, json, subprocess' 2>/dev/null || skip_all "python3 lacks modules of its standard library"
# What it drives, `mlcc bench`, runs under the sanitizers in output.sh; rates of instrumented loops say nothing.
[ -n "${MLCC_SANITIZE:-}" ] && skip_all "sanitizers: the harness is Python"
unset LLAMA_BENCH LLAMA_GGUF LLAMA_BATCHED_BENCH

gguf=$work/gguf
mkdir -p "$gguf/tiny"
: >"$gguf/tiny/q4_0.gguf"
result=$work/result.json
# Answers as llama-bench -o json does; FAKE says how: one word for all, or one for each length of a prompt.
cat >"$work/llama-bench" <<'FAKE'
#!/bin/bash
declare -A option=([-p]=0 [-n]=0 [-d]=0)
while [ $# -gt 1 ]; do option[$1]=$2; shift 2; done
for word in $FAKE; do
    case $word in
        [0-9]*=*) [ "${word%%=*}" = "${option[-p]}" ] && FAKE=${word#*=} ;;
    esac
done
echo "${option[-t]} ${option[-fa]:-default} ${option[-ctk]:-f16} ${option[-m]}" >>"$FAKE_LOG"
row="\"n_prompt\": ${option[-p]}, \"n_gen\": ${option[-n]}, \"n_depth\": ${option[-d]}, \"build_number\": 1, \"model_filename\": \"${option[-m]}\""
case $FAKE in
    good) echo "[{$row, \"samples_ts\": [10.0, 12.0]}]" ;;
    old) echo "[{$row, \"avg_ts\": 11.0}]" ;;
    other) echo "[{${row/n_prompt\": ${option[-p]}/n_prompt\": 1${option[-p]}}, \"samples_ts\": [10.0]}]" ;;
    zero) echo "[{$row, \"samples_ts\": [0.0]}]" ;;
    object) echo '{"samples_ts": [1.0]}' ;;
    words) echo "| model | t/s |" ;;
    fails) echo "error: failed to load model '${option[-m]}'" >&2; exit 3 ;;
    hangs) sleep 600 & echo $! >"$FAKE_LOG.child"; wait ;;
esac
FAKE
chmod +x "$work/llama-bench"
export FAKE=good FAKE_LOG=$work/log

# Whether a process lives; one that has ended and that nobody has asked about does not.
runs() { [ -r "/proc/$1/status" ] && ! grep -q '^State:[[:space:]]*Z' "/proc/$1/status"; }
# The target that compiles fastest; the default is tried once.
bench() { run python3 tests/bench/cpu.py --target "$any_cpu" --shapes tiny=$tiny --modes q4f16_1 --threads 1 --rounds 1 --repetitions 1 --models "$work/models" --output "$result" "$@"; }
rival() { LLAMA_BENCH=$work/llama-bench LLAMA_GGUF=$gguf bench "$@"; }

# ---- without a rival ----
bench --tests prefill-4 --target "$any_cpu"
expect_same "the target is what was asked for" "$any_cpu" "$(py get "$result" target)"
expect 0 "without llama-bench" "LLAMA_BENCH and LLAMA_GGUF not set" "wrote $result"
expect_out "without llama-bench" "GB/s read" "prefill-4" " % of " "note: LLAMA_BENCH and LLAMA_GGUF not set"
expect_same "nothing of llama.cpp's" "{}" "$(py get "$result" rows 0 llama)"
LLAMA_BENCH=$work/llama-bench LLAMA_GGUF=$work/nowhere bench --tests prefill-4
expect 0 "without the file" "\$LLAMA_GGUF/tiny/q4_0.gguf is not there"

# ---- with one ----
rival --tests prefill-4,decode-2-at-8,batch-2 --rounds 2
expect 0 "with llama-bench" "[1/3] tiny q4f16_1 threads 1 prefill-4, round 1" "[1/3] tiny q4f16_1 threads 1 prefill-4, round 2" "min" "LLAMA_BATCHED_BENCH not set"
expect_same "median of two rounds" 11 "$(py get "$result" rows 0 llama default median | cut -d. -f1)"
expect_same "samples of both rounds" 4 "$(py get "$result" rows 0 llama default samples | tr ',' '\n' | wc -l)"
expect_near "ratio" "$(py get "$result" rows 0 ratio default)" "$(awk -v m="$(py get "$result" rows 0 mlcc median)" 'BEGIN { printf "%.6f", m / 11 }')" 0.001
expect_same "both variants behind a cache" "11 11" "$(py get "$result" rows 1 llama default median | cut -d. -f1) $(py get "$result" rows 1 llama best median | cut -d. -f1)"
expect_same "in turn, the second with flash attention" "1 default f16,1 default f16,1 default f16,1 1 q8_0,1 default f16,1 1 q8_0," "$(cut -d' ' -f1-3 "$work/log" | tr '\n' ',')"
for key in "processor" "ceilings 1 read_gb_per_s" "rows 0 reached limit" "rows 0 reached top_per_s" "rows 0 measured 0 ceilings_gop_per_s" "llama_cpp build_number"; do
    # shellcheck disable=SC2086
    py get "$result" $key >/dev/null || failed "the JSON lacks $key"
done
expect_same "no path in the JSON" 0 "$(grep -c "$temporary" "$result")"
awk -v s="$(py get "$result" rows 0 reached limit_share)" 'BEGIN { exit !(s > 0 && s < 2) }' || failed "a share of the limit of $(py get "$result" rows 0 reached limit_share)"

cat >"$work/failures" <<'TEXT'
old has no samples_ts, only avg_ts
other measured n_prompt 15, asked was 5
zero expected a list of rates above zero
object not a list of one row
words did not print JSON but: | model | t/s |
fails ended with exit code 3: error: failed to load model '$LLAMA_GGUF/tiny/q4_0.gguf'
TEXT
if [ $quick = 0 ]; then
    cat >"$work/llama-batched-bench" <<'FAKE'
#!/bin/bash
echo "some heading"
echo '{"pp": 16, "tg": 64, "pl": 2, "speed_tg": 20.5}'
FAKE
    chmod +x "$work/llama-batched-bench"
    LLAMA_BATCHED_BENCH=$work/llama-batched-bench rival --tests batch-2
    expect 0 "with llama-batched-bench"
    expect_same "its rate" 20.5 "$(py get "$result" rows 0 llama default median)"

    # ---- one that fails: mlcc's figures stay ----
    lengths="" fakes="" n=4
    while read -r how words; do
        lengths+=,prefill-$n fakes+="$n=$how "
        n=$((n + 1))
    done <"$work/failures"
    FAKE=$fakes rival --tests "${lengths#,}"
    cp "$out" "$work/table"
    n=4
    while read -r how words; do
        expect 0 "llama-bench: $how" "$words"
        grep -F "note: tiny q4f16_1 prefill-$n: " "$work/table" >"$out"
        expect_out "llama-bench: $how" "$words"
        awk -v m="$(py get "$result" rows $((n - 4)) mlcc median)" 'BEGIN { exit !(m > 0) }' || failed "llama-bench $how: mlcc's figures are gone"
        n=$((n + 1))
    done <"$work/failures"
    FAKE=hangs rival --tests prefill-4 --timeout 8
    expect 0 "one that takes too long" "took longer than 8 s"
    runs "$(cat "$work/log.child")" && failed "what it had started still runs"
    LLAMA_BENCH=$work/nothing-here LLAMA_GGUF=$gguf bench --tests prefill-4
    expect 0 "one that is not there" "nothing-here cannot be started"
fi

# ---- Ctrl-C ends the children and shows what is there ----
rm -f "$work/log.child" "$result"
FAKE=hangs LLAMA_BENCH=$work/llama-bench LLAMA_GGUF=$gguf python3 tests/bench/cpu.py --shapes tiny=$tiny --modes q4f16_1 --threads 1 --repetitions 1 \
    --models "$work/models" --output "$result" --tests prefill-4 >"$out" 2>"$err" </dev/null &
harness=$!
for _ in $(seq 300); do
    [ -s "$work/log.child" ] && break
    sleep 0.1
done
# Background jobs of a script ignore SIGINT; SIGTERM is taken alike.
kill -TERM $harness
wait $harness
rc=$?
expect 130 "interrupted" "interrupted; what is there:" "wrote $result"
expect_out "interrupted" "prefill-4"
expect_same "the JSON says so" true "$(py get "$result" interrupted)"
runs "$(cat "$work/log.child")" && failed "a child outlives Ctrl-C"

# ---- mlcc fails ----
MLCC_BIN=$work/nowhere bench --tests prefill-4
expect_same "without mlcc: exit code" 1 $rc
grep -q "mlcc cannot be started" "$err" || failed "without mlcc: no reason"

# ---- words that are wrong ----
for wrong in "--shapes tinylama" "--modes q4f16_9" "--tests prefill" "--tests decode-0" "--tests decode-64-at-5000" "--threads 0" "--threads two" "--rounds 0"; do
    # shellcheck disable=SC2086
    bench --tests prefill-4 $wrong
    expect_same "$wrong: exit code" 2 $rc
    grep -q "accepted\|at least\|fit" "$err" || failed "$wrong: the message does not say what is accepted"
done
check_done
