#!/usr/bin/env bash
# Every C file is formatted as .clang-format says (tables between `clang-format off` and `on` keep their columns).
set -euo pipefail
formatter=$(command -v clang-format-19 || true)
[ -n "$formatter" ] || { echo "clang-format-19 is not installed: skipped"; exit 77; }
mapfile -t files < <(git ls-files -co --exclude-standard '*.c' '*.h')
if ! "$formatter" --dry-run -Werror "${files[@]}" 2>/tmp/format.$$; then
    grep -oE '^[^:]+' /tmp/format.$$ | sort | uniq -c | sort -rn | grep '\.[ch]$' | head -20
    rm -f /tmp/format.$$
    echo "format: run clang-format-19 -i on these files"
    exit 1
fi
rm -f /tmp/format.$$
echo "format: ${#files[@]} files"
