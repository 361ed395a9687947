#!/usr/bin/env bash
# Every golden file of tests/golden/passes: run its passes, compare with its own expectation. `mlcc opt --bless FILE` accepts a new result.
set -uo pipefail
mlcc=${MLCC_BIN:-build/bin}/mlcc
passed=0 failed=0
for file in tests/golden/passes/*/*.mlcir; do
    if "$mlcc" opt --check "$file"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
done
echo "$passed passed, $failed failed"
[ "$passed" -gt 0 ] && [ "$failed" = 0 ]
