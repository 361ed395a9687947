#!/usr/bin/env bash
# runtime/exports.map names exactly the functions that the installed headers declare, and the built library exports exactly those.
set -euo pipefail
declared=$(cat runtime/mlcc.h runtime/base/status.h | sed 's|//.*||; /^ *#/d; /\\$/d' | tr '\n' ' ' | tr ';{}' '\n\n\n' |
    grep -v typedef | grep -oE '\bmlcc_[a-z0-9_]+ *\(' | tr -d ' (' | sort -u)
mapped=$(sed '/local:/d' runtime/exports.map | grep -oE '\bmlcc_[a-z0-9_]+;' | tr -d ';' | sort -u)
if ! diff <(echo "$declared") <(echo "$mapped") >/dev/null; then
    echo "runtime/exports.map and the headers differ (< declared, > exported):"
    diff <(echo "$declared") <(echo "$mapped") | grep '^[<>]'
    exit 1
fi
library=${MLCC_BUILD:-build}/lib/libmlcc_runtime.so
if [ -e "$library" ]; then
    exported=$(nm -D --defined-only "$library" | awk '$2 != "A" { print $3 }' | sed 's/@.*//' | grep '^[a-z]' | grep -v '^__' | sort -u)
    if ! diff <(echo "$declared") <(echo "$exported") >/dev/null; then
        echo "$library does not export what the headers declare (< declared, > exported):"
        diff <(echo "$declared") <(echo "$exported") | grep '^[<>]'
        exit 1
    fi
fi
echo "exports: $(echo "$declared" | wc -l) public functions"
