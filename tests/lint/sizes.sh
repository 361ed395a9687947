#!/usr/bin/env bash
# No file above 800 lines, no room's README above 60, and every source folder has one.
set -euo pipefail
failed=0
while read -r file; do
    lines=$(wc -l <"$file")
    if [ "$lines" -gt 800 ]; then
        echo "$file: $lines lines, at most 800: look for the second noun"
        failed=1
    fi
done < <(git ls-files -co --exclude-standard '*.c' '*.cu' '*.h' '*.def' '*.sh' '*.py' '*.cmake' 'CMakeLists.txt')
while read -r readme; do
    [ "$readme" = README.md ] && continue
    lines=$(wc -l <"$readme")
    if [ "$lines" -gt 60 ]; then
        echo "$readme: $lines lines, at most 60"
        failed=1
    fi
done < <(git ls-files -co --exclude-standard '*README.md')
for folder in frontend ir passes codegen runtime quantization dist tests; do
    while read -r dir; do
        if ls "$dir"/*.[ch] >/dev/null 2>&1 && [ ! -f "$dir/README.md" ] && [ ! -f "$(dirname "$dir")/README.md" ]; then
            echo "$dir: no README.md here or above"
            failed=1
        fi
    done < <(find "$folder" -type d)
    [ -f "$folder/README.md" ] || { echo "$folder: no README.md"; failed=1; }
done
[ $failed = 0 ] && echo "sizes: every file is at home"
exit $failed
