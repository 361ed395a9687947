# check: what the shell tests share. Source it from a script that runs in the project's root with MLCC_BIN naming the folder of the programs:
#
#   . tests/support/check.sh
#   run "$mlcc" tokenize …            exit code in $rc, output in $out and $err
#   expect 1 "what is tested" words…  $rc is 1 and standard error holds every word (fixed text)
#   expect_out "what" words…          standard output holds every word
#   check_done                        prints the count; the script's exit code
#
# $work is a temporary folder that goes when the script ends; the prepared-weights cache lies beside it. $py runs check_tool.py.
# $quick is 1 under the sanitizers, which run the same commands to look for other things: tests leave out repetitions then.
# CHECK_VERBOSE=1 shows every message. $any_cpu is the target that compiles fastest and runs everywhere.

set -uo pipefail
export LC_ALL=C
mlcc=${MLCC_BIN:?names the folder of the programs}/mlcc
mlcc_run=$MLCC_BIN/mlcc-run
data=${MLCC_DATA:-../shared/data}
tiny=tests/tiny/model
quick=0
[ -n "${MLCC_SANITIZE:-}" ] && quick=1
case $(uname -m) in x86_64) any_cpu=x86-64-v2 ;; *) any_cpu=native ;; esac

temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT
trap 'exit 130' INT TERM
work=$temporary/work out=$temporary/out err=$temporary/err
mkdir "$work"
export MLCC_CACHE_DIR=$temporary/cache

n_checks=0 n_failed=0 rc=0

py() { python3 tests/support/check_tool.py "$@"; }

run() {
    command_line=$*
    "$@" >"$out" 2>"$err" </dev/null
    rc=$?
}

failed() {
    n_failed=$((n_failed + 1))
    echo "FAILED: $*"
}

# A failure of `run` also shows the command and what it said.
failed_run() {
    failed "$1"
    echo "  command: $command_line"
    echo "  exit code: $rc"
    head -c 2000 "$err" | sed 's/^/  stderr: /'
}

# expect EXIT_CODE WHAT WORD…
expect() {
    local code=$1 what=$2 word
    shift 2
    n_checks=$((n_checks + 1))
    [ -n "${CHECK_VERBOSE:-}" ] && sed "s/^/$what: /" "$err"
    if [ "$rc" != "$code" ]; then
        failed_run "$what: the exit code should be $code"
        return 1
    fi
    for word in "$@"; do
        if ! grep -qF -e "$word" "$err"; then
            failed_run "$what: '$word' is not in the message"
            return 1
        fi
    done
    # One message: a chain "error: …" with indented notes, no crash report and no second error.
    if [ "$code" = 1 ] && [ "$(grep -c '^error: ' "$err")" != 1 ]; then
        failed_run "$what: there should be one message that begins with 'error: '"
        return 1
    fi
}

# expect_out WHAT WORD…
expect_out() {
    local what=$1 word
    shift
    n_checks=$((n_checks + 1))
    for word in "$@"; do
        if ! grep -qF -e "$word" "$out"; then
            failed_run "$what: '$word' is not in the output"
            return 1
        fi
    done
}

# expect_same WHAT A B: two texts.
expect_same() {
    n_checks=$((n_checks + 1))
    [ "$2" = "$3" ] && return
    failed "$1"
    printf '  first:  %s\n  second: %s\n' "$2" "$3"
    return 1
}

# expect_near WHAT VALUE EXPECTED TOLERANCE
expect_near() {
    n_checks=$((n_checks + 1))
    if awk -v a="$2" -v b="$3" -v t="$4" 'BEGIN { d = a - b; if (d < 0) d = -d; exit !(a != "" && d <= t) }'; then
        echo "$1: $2 (expected $3 +- $4)"
    else
        failed "$1: $2 is not within $4 of $3"
    fi
}

# listing DIR: every name with type and inode, and size and time of files, to see whether a command touched anything.
listing() {
    find "$1" \( -type f -printf '%P %y %i %s %T@\n' -o -printf '%P %y %i\n' \) 2>/dev/null | sort
}

# refuses DIR WHAT WORD… -- COMMAND…: the command fails with exit code 1 and these words, and DIR is as before, also if it was not there.
refuses() {
    local dir=$1 what=$2 words=() before
    shift 2
    while [ "$1" != -- ]; do
        words+=("$1")
        shift
    done
    shift
    before=$(listing "$dir")
    run "$@"
    expect 1 "$what" "${words[@]}"
    n_checks=$((n_checks + 1))
    if [ "$before" != "$(listing "$dir")" ]; then
        failed_run "$what: something was left in $dir"
        diff <(echo "$before") <(listing "$dir") | sed 's/^/  /'
    fi
}

# must COMMAND…: a step that later checks stand on.
must() {
    run "$@"
    [ "$rc" = 0 ] && return
    failed_run "a step that should work did not"
    exit 1
}

skip_part() { echo "SKIPPED: $*"; }
skip_all() {
    echo "SKIPPED: $*"
    exit 77
}

# make_model HF_FOLDER MODE DIR [TARGET [OPTION of compile …]]: all three steps.
make_model() {
    must "$mlcc" gen_config "$1" --quantization "$2" --conv-template LM -o "$3"
    must "$mlcc" convert_weight "$1" --quantization "$2" -o "$3"
    must "$mlcc" compile "$3" --target "${4:-$any_cpu}" "${@:5}"
}

check_done() {
    echo "$n_checks checks, $n_failed failed"
    [ "$n_failed" = 0 ]
    exit $?
}
