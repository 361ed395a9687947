#!/usr/bin/env bash
# The README's table of model types, modes and targets is what the program does: tests/families/support_table.c makes it anew, between two marks.
# MLCC_BLESS=1 writes it into the README.
. tests/support/check.sh

# Planning all of it takes half a minute; the sanitizers look at one type.
only=()
[ $quick = 1 ] && only=(mixtral)
run "$MLCC_BIN/support_table" "${only[@]}"
[ "$rc" = 77 ] && skip_all "no NVRTC"
expect 0 "every model type in every mode on every target" && expect_out "a row for it" "| mixtral | 32.0 | 16.0 |"
[ $quick = 1 ] && check_done

python3 -B - README.md "$out" >"$work/readme" <<'TEXT'
import sys
readme, table = (open(path, encoding="utf-8").read() for path in sys.argv[1:])
begin, end = "<!-- support table: tests/e2e/support_table.sh -->\n", "<!-- end of the support table -->\n"
before, _, rest = readme.partition(begin)
_, mark, after = rest.partition(end)
assert mark, "README.md lacks the marks of the support table"
print(before + begin + table + end + after, end="")
TEXT
[ "${MLCC_BLESS:-0}" = 1 ] && cp "$work/readme" README.md
expect_same "the table in the README (MLCC_BLESS=1 writes it)" "" "$(diff README.md "$work/readme")"
check_done
