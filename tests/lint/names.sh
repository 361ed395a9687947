#!/usr/bin/env bash
# File names are unique in the whole tree (a stem names one thing; kernel variants of one kernel share it), every pass has its file and golden folder.
set -euo pipefail
failed=0
repeated=$(git ls-files -co --exclude-standard '*.c' | grep -v '^codegen/cpu/kernels/' | grep -v '^tests/' | xargs -n1 basename | sort | uniq -d)
for name in $repeated; do
    echo "$name: more than one file of this name: $(git ls-files -co --exclude-standard | grep "/$name$" | tr '\n' ' ')"
    failed=1
done
for pass in $(sed -n 's/^PASS( *\([a-z_]*\),.*/\1/p' passes/passes.def); do
    [ -f "passes/graph/$pass.c" ] || [ -f "passes/plan/$pass.c" ] || { echo "pass $pass: no file passes/graph|plan/$pass.c"; failed=1; }
    ls tests/golden/passes/"$pass"/*.mlcir >/dev/null 2>&1 || { echo "pass $pass: no golden file tests/golden/passes/$pass/*.mlcir"; failed=1; }
done
[ $failed = 0 ] && echo "names: unique, and every pass has its file and golden folder"
exit $failed
