#!/usr/bin/env bash
# One door per third-party library: its headers appear in the files named here and nowhere else.
set -euo pipefail
doors='
llvm-c/     ^codegen/cpu/emit_llvm[a-z_]*\.[ch]$
jansson\.h  ^runtime/base/json[a-z_]*\.[ch]$
xxhash\.h   ^runtime/base/hash\.c$
pcre2\.h    ^runtime/text/regex\.c$
utf8proc\.h ^runtime/text/unicode\.c$
hwloc\.h    ^runtime/base/[a-z_]*\.c$
histedit\.h ^dist/cli/run/chat_input\.c$
zip\.h      ^frontend/hf/torch_archive\.c$
'
failed=0
while read -r header door; do
    [ -n "$header" ] || continue
    users=$(grep -rlE "# *include *<$header" --include='*.[ch]' runtime ir quantization frontend passes codegen dist || true)
    for user in $users; do
        if ! [[ $user =~ $door ]]; then
            echo "$user includes <$header…>: only files matching $door may"
            failed=1
        fi
    done
    if [ "$header" = 'hwloc\.h' ] && [ "$(echo "$users" | wc -w)" -gt 1 ]; then
        echo "hwloc.h has more than one door: $users"
        failed=1
    fi
done <<<"$doors"
[ $failed = 0 ] && echo "doors: every third-party library has one"
exit $failed
