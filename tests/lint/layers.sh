#!/usr/bin/env bash
# The layer diagram as a test: who may include whom. Lines: folder, then the folders whose headers it may include.
set -euo pipefail
allowed='
runtime/base    runtime/base
runtime/device  runtime
runtime/text    runtime/text runtime/base runtime/mlcc.h
runtime/model   runtime/model runtime/device runtime/base runtime/text runtime/mlcc.h runtime/abi.h
runtime         runtime
ir              ir runtime/base
quantization    quantization ir runtime/base
frontend        frontend ir quantization runtime/base
passes          passes ir quantization runtime/base
codegen         codegen ir quantization runtime/base runtime/abi.h
dist/artifact   dist/artifact frontend passes codegen quantization ir runtime
dist/cli/run    dist/cli/run runtime
dist/cli        dist frontend passes codegen quantization ir runtime
'
failed=0
while read -r file; do
    best='' permitted=''
    while read -r folder list; do
        [ -n "$folder" ] || continue
        case "$file" in
            "$folder"/*) [ ${#folder} -gt ${#best} ] && best=$folder permitted=$list ;;
        esac
    done <<<"$allowed"
    if [ -z "$best" ]; then
        echo "$file: lies in no room of tests/lint/layers.sh"
        failed=1
        continue
    fi
    while IFS= read -r include; do
        [ -n "$include" ] || continue
        fits=0
        for prefix in $permitted; do
            case "$include" in "$prefix" | "$prefix"/*) fits=1 ;; esac
        done
        if [ $fits = 0 ]; then
            echo "$file: includes \"$include\", but $best may include only: $permitted"
            failed=1
        fi
    done < <(sed -n 's/^ *# *include  *"\([^"]*\)".*/\1/p' "$file")
done < <(find runtime ir quantization frontend passes codegen dist -name '*.[ch]' -o -name '*.def' | sort)
[ $failed = 0 ] && echo "layers: every include respects the diagram"
exit $failed
