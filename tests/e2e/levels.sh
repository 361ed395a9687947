#!/usr/bin/env bash
# One lib.so with several CPU levels: every level writes what the library that has only it writes, the last level that this machine can run is taken,
# levels of one layout share their prepared weights, and lists that make no sense are refused before anything is written.
. tests/support/check.sh

case $(uname -m) in x86_64) levels="x86-64-v2 x86-64-v3 x86-64-v4" other=aarch64 ;; *) levels="aarch64 cortex-a76 neoverse-v1" other=x86-64-v2 ;; esac
[ $quick = 1 ] && levels=${levels% *}
list=${levels// /,} model=$work/model
first=${levels%% *} last=${levels##* }
make_model $tiny q4f16_1 "$model" "$list"

story() { "$mlcc" generate "$model" --prompt "Tom had a red" --max-tokens 64 "$@" 2>"$err" || echo "exit code $?"; }

# ---- each level is the library that has only it ----
best="" fingerprints=""
for level in $levels; do
    must "$mlcc" compile "$model" --target "$level" -o "$work/$level.so"
    must "$mlcc" inspect "$work/$level.so" --json
    kernels=$(py get "$out" library kernels)
    fingerprints+="$(py get "$out" library layout_fingerprint)"$'\n'
    runs_here=$(py get "$out" library runs_here)
    must env MLCC_CPU_LEVEL="$level" "$mlcc" inspect "$model/lib.so" --json
    expect_same "$level: inspect shows the level that is asked for" "$level" "$(py get "$out" library target)"
    expect_same "$level: whether it runs here" "$runs_here" "$(py get "$out" library runs_here)"
    n_rows=$(grep -o '"launches"' <<<"$kernels" | wc -l)
    own=$(py get "$out" library kernels | tr '{' '\n' | grep -c "\"level\": \"$level\"")
    expect_same "$level: kernels of the level" "$n_rows" "$own"
    if [ "$runs_here" = true ]; then
        best=$level
        text=$(story --model-lib "$work/$level.so")
        expect_same "$level: the text of the library of one level" "$text" "$(MLCC_CPU_LEVEL=$level story)"
        n_checks=$((n_checks + 1))
        grep -qF "target $level of ${levels// /, }" "$err" || failed "$level: the device line does not name it: $(cat "$err")"
        expect_same "$level: with three threads, without the cache" "$text" "$(MLCC_CPU_LEVEL=$level story --threads 3 --no-cache)"
    else
        MLCC_CPU_LEVEL=$level refuses "$work" "$level cannot run here" "CPU features" "'$level'" -- "$mlcc" generate "$model" --prompt a
        skip_part "$level: this machine cannot run it"
    fi
done

# ---- which one is taken ----
story >"$work/text"
n_checks=$((n_checks + 1))
grep -qF "target $best of" "$err" || failed "the last level that runs here is $best, not: $(cat "$err")"
expect_same "the best level's text" "$(MLCC_CPU_LEVEL=$best story)" "$(cat "$work/text")"
expect_same "mlcc-run takes the same" "$(cat "$work/text")" "$(mlcc=$mlcc_run story)"
MLCC_CPU_LEVEL=pentium refuses "$work" "a level that the library lacks" "asks for level 'pentium'" "$first" "$last" -- "$mlcc" generate "$model" --prompt a
MLCC_CPU_LEVEL=$last refuses "$work" "a level that a library of one lacks" "asks for level '$last'" -- "$mlcc" generate "$model" --model-lib "$work/$first.so" --prompt a

# ---- prepared weights: levels of one layout make the same file, and one file does for them all ----
runnable="" n_files=0
for level in $levels; do
    runnable+="$level "
    MLCC_CACHE_DIR=$work/cache.$level MLCC_CPU_LEVEL=$level story >/dev/null
    for file in "$work/cache.$level"/prepared/*.weights; do
        n_checks=$((n_checks + 1))
        twin=$work/twins/${file##*/}
        if [ -f "$twin" ]; then
            cmp "$file" "$twin" || failed "$level prepares other bytes than the level before it for the same layout"
        else
            mkdir -p "$work/twins"
            cp "$file" "$twin"
            n_files=$((n_files + 1))
        fi
    done
    [ "$level" = "$best" ] && break
done
n_layouts=$(head -n "$(wc -w <<<"$runnable")" <<<"$fingerprints" | sort -u | wc -l)
expect_same "a prepared file for each layout" "$n_layouts" "$n_files"
rm -rf "$MLCC_CACHE_DIR"
for level in $runnable; do MLCC_CPU_LEVEL=$level story >/dev/null; done
expect_same "files in the prepared cache" "$n_layouts" "$(find "$MLCC_CACHE_DIR" -name '*.weights' | wc -l)"
before=$(listing "$MLCC_CACHE_DIR")
for level in $runnable; do story --verify --model-lib "$work/$level.so" >/dev/null; done
expect_same "libraries of one level find them" "$before" "$(listing "$MLCC_CACHE_DIR")"

# ---- bytes, dumps ----
must "$mlcc" compile "$model" --target "$list" --debug-dump "$work/dump" --explain-kernels -o "$work/again.so"
expect_out "--explain-kernels says whose kernels" "CPU level $first" "CPU level $last"
n_checks=$((n_checks + 1))
cmp "$model/lib.so" "$work/again.so" || failed "lib.so differs between two compiles"
for level in $levels; do
    for file in report.txt lib.o metadata.json plan.mlcir; do
        n_checks=$((n_checks + 1))
        [ -s "$work/dump/$level/$file" ] || failed "--debug-dump: $level/$file is missing"
    done
done

# ---- a library for another machine ----
foreign_list=x86-64-v2,x86-64-v3
[ $other = aarch64 ] && foreign_list=aarch64,neoverse-v1
must "$mlcc" compile "$model" --target $foreign_list -o "$work/foreign.so"
must "$mlcc" inspect "$work/foreign.so" --json
expect_same "another machine's levels" $foreign_list "$(py get "$out" library cpu_levels)"
expect_same "and the first of them" "${foreign_list%%,*}" "$(py get "$out" library target)"
expect_same "whose kernels come first" "${foreign_list%%,*}" "$(py get "$out" library kernels 0 level)"
refuses "$work" "it does not run here" "$([ $other = aarch64 ] && echo aarch64 || echo x86-64)" -- "$mlcc" generate "$model" --model-lib "$work/foreign.so" --prompt a

# ---- lists that are refused ----
bad_list() { refuses "$work" "--target $1" "${@:2}" -- "$mlcc" compile "$model" --target "$1" -o "$work/bad.so"; }
bad_list "$first,$first" "'$first' is named twice"
bad_list "$last,$first" "'$last' would never run" "'$first'"
bad_list "$first,$other" "different machines" "'$other'"
bad_list "$first,pentium" "unknown target 'pentium'" "$first"
bad_list "$first," "empty name at place 2"
bad_list "a,b,c,d,e,f,g,h,i" "9 CPU levels" "at most 8"
refuses "$work" "levels beside CUDA" "--target names" "accepted is one" -- "$mlcc" compile "$model" --device cuda --target "$list" -o "$work/bad.so"
check_done
