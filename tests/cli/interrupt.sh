#!/usr/bin/env bash
# Ctrl-C and kill at any moment of a conversion: the directory holds either the old store or the new one, complete; Ctrl-C leaves no temporary files,
# and what a kill leaves is removed by the next writer.
. tests/support/check.sh

model=$work/model
make_model $tiny q0f16 "$model"
"$mlcc" compile "$model" --quantization q0f32 --target "$any_cpu" -o "$work/wide.so" 2>/dev/null || failed "compile for q0f32"
old=$("$mlcc" generate "$model" --prompt Anna --max-tokens 16)
wide() { "$mlcc" generate "$model" --model-lib "$work/wide.so" --no-cache --verify --prompt Anna --max-tokens 16; }
narrow() { "$mlcc" generate "$model" --no-cache --verify --prompt Anna --max-tokens 16; }

n_tries=12
[ $quick = 1 ] && n_tries=4

# Hits are spread over a little more than the time that a conversion takes.
start_ns=$(date +%s%N)
must "$mlcc" convert_weight $tiny --quantization q0f16 -o "$model"
conversion_ns=$(($(date +%s%N) - start_ns))
wait_for() { sleep "$(awk -v n="$1" -v m=$n_tries -v t=$conversion_ns 'BEGIN { printf "%.4f", 1.4 * t * 1e-9 * n / m }')"; }

# A script's background jobs ignore Ctrl-C; these must not.
interruptible() { exec env --default-signal=INT,TERM "$@"; }

# strike SIGNAL N: runs a conversion to the other mode and hits it, the later the larger N.
strike() {
    interruptible "$mlcc" convert_weight $tiny --quantization q0f32 -o "$model" >/dev/null 2>"$err" &
    local pid=$!
    wait_for "$2"
    kill -"$1" $pid 2>/dev/null
    wait $pid 2>/dev/null
    rc=$?
}

n_old=0 n_new=0
for signal in KILL INT TERM; do
    for ((i = 0; i < n_tries; i++)); do
        strike $signal $i
        n_checks=$((n_checks + 1))
        if [ "$(narrow 2>/dev/null)" = "$old" ]; then
            n_old=$((n_old + 1))
        elif wide >/dev/null 2>"$err"; then
            n_new=$((n_new + 1))
        else
            failed "after $signal number $i the directory holds no complete store"
            sed 's/^/  /' "$err"
        fi
        # What a killed writer left is of no harm, and the next one removes it.
        if [ $signal != KILL ] && [ $rc != 0 ]; then
            left=$(find "$model" -name '.mlcc-store*' -o -name '*.tmp.*')
            [ -z "$left" ] || failed "after $signal (exit code $rc) temporary files stay: $left"
        fi
        must "$mlcc" convert_weight $tiny --quantization q0f16 -o "$model"
        left=$(find "$model" -name '.mlcc-store*' -o -name '*.tmp.*' -o -name '*.old.bin')
        [ -z "$left" ] || failed "the next writer leaves: $left"
        expect_same "the old store is back after $signal $i" "$old" "$(narrow 2>"$err")"
    done
done
echo "killed conversions left $n_old old and $n_new new stores"
[ $((n_old + n_new)) = $((3 * n_tries)) ] || failed "some store was neither old nor new"

# ---- a signal that is ignored stays ignored, as under nohup ----
(
    trap '' HUP
    "$mlcc" compile "$model" --target "$any_cpu" -o "$work/nohup.so" >/dev/null 2>&1 &
    pid=$!
    sleep 0.3
    kill -HUP $pid
    wait $pid
)
n_checks=$((n_checks + 1))
[ -e "$work/nohup.so" ] || failed "a compile under nohup died of SIGHUP"

# ---- into a folder that did not exist: no file stays ----
for ((i = 0; i < n_tries; i++)); do
    interruptible "$mlcc" convert_weight $tiny --quantization q0f32 -o "$work/new/deep" >/dev/null 2>"$err" &
    pid=$!
    wait_for $i
    kill -INT $pid 2>/dev/null
    wait $pid 2>/dev/null
    rc=$?
    n_checks=$((n_checks + 1))
    files=$(find "$work/new" -type f 2>/dev/null)
    if [ $rc != 0 ] && [ -n "$files" ] && [ ! -e "$work/new/deep/tensor-cache.json" ]; then
        failed "Ctrl-C (number $i) leaves files: $files"
    fi
    rm -rf "$work/new"
done

# ---- compile and gen_config ----
before=$(listing "$model")
for signal in INT TERM; do
    interruptible "$mlcc" compile "$model" --target "$any_cpu" >/dev/null 2>"$err" &
    pid=$!
    sleep 0.6
    kill -$signal $pid 2>/dev/null
    wait $pid 2>/dev/null
    rc=$?
    n_checks=$((n_checks + 1))
    case $rc in
        0 | $((128 + $(kill -l $signal)))) ;;
        *) failed "the exit code of a command ended by $signal is $rc" ;;
    esac
    if [ $rc = 0 ]; then
        skip_part "compile was faster than $signal"
        before=$(listing "$model")
    elif [ "$before" != "$(listing "$model")" ]; then
        failed "compile interrupted by $signal leaves something"
        diff <(echo "$before") <(listing "$model") | sed 's/^/  /'
    fi
done

# ---- one question ----
# What came of the answer is shown, and the exit code tells a script that it is not all.
must "$mlcc" compile "$model" --target "$any_cpu"
interruptible "$mlcc" chat "$model" --set "temperature=1;seed=1;max_tokens=0" --prompt Anna >"$out" 2>"$err" &
pid=$!
for ((i = 0; i < 1000; i++)); do
    [ -s "$out" ] && break
    sleep 0.01
done
kill -INT $pid 2>/dev/null
wait $pid
rc=$?
if [ $rc = 0 ]; then
    skip_part "the answer was faster than Ctrl-C"
else
    expect 130 "chat --prompt, stopped" "(stopped)"
fi

# ---- a folder of one's own, in which others made theirs ----
mkdir "$work/temporaries"
TMPDIR=$work/temporaries interruptible "$mlcc" bench --preset $tiny --target "$any_cpu" -p 64 -n 64 -r 1000 >/dev/null 2>"$err" &
pid=$!
for ((i = 0; i < 600; i++)); do
    grep -q '^compiled' "$err" && break
    sleep 0.2
done
kill -INT $pid 2>/dev/null
wait $pid 2>/dev/null
expect_same "bench was at work" 130 $?
expect_same "bench --preset leaves nothing in \$TMPDIR" "" "$(ls -A "$work/temporaries")"
check_done
