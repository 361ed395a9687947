#!/usr/bin/env bash
# The table of quantization modes in the README: bits per weight, loss of stories260K, size and decode rate of a TinyLlama-shaped model. By hand.
# usage: tests/bench/modes.sh [MODE …]         MLCC_BIN: folder of the programs, default build/bin; MLCC_DATA: test data
set -euo pipefail
cd "$(dirname "$0")/../.."
mlcc=${MLCC_BIN:-build/bin}/mlcc
data=${MLCC_DATA:-../shared/data}
preset=tinyllama_1b_chat_v1.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export MLCC_CACHE_DIR=$work/cache TMPDIR=$work

value() { python3 -c 'import json, sys; v = json.load(sys.stdin)
for k in sys.argv[1:]: v = v[int(k)] if isinstance(v, list) else v[k]
print(v)' "$@"; }

modes=$*
[ -n "$modes" ] || modes=$("$mlcc" inspect --modes --json | python3 -c 'import json, sys; print(*[m["name"] for m in json.load(sys.stdin)["modes"]])')
echo "| mode | bits per weight | nll of stories260K | $preset: store | prefill 128 | decode | of the read ceiling |"
echo "|---|---|---|---|---|---|---|"
for mode in $modes; do
    nll=-
    hf=$data/models/stories260K
    if [ -f "$hf/model.safetensors" ]; then
        "$mlcc" gen_config "$hf" --quantization "$mode" --conv-template LM -o "$work/stories" 2>/dev/null
        "$mlcc" convert_weight "$hf" --quantization "$mode" -o "$work/stories" 2>/dev/null
        "$mlcc" compile "$work/stories" 2>/dev/null
        nll=$("$mlcc" perplexity "$work/stories" --text "$data/text/exllamav2_tiny.txt" --lines 64 --json 2>/dev/null | value mean_nll)
        rm -rf "$work/stories"
    fi
    "$mlcc" bench --preset $preset --quantization "$mode" --keep "$work/model" --prompt-tokens 128 --gen-tokens 64 --repetitions 3 --format json >"$work/rows.json" 2>/dev/null
    bits=$(value metadata BitsPerParam <"$work/model/tensor-cache.json")
    bytes=$(cat "$work"/model/params_shard_*.bin | wc -c)
    python3 - "$mode" "$bits" "$nll" "$bytes" "$work/rows.json" <<'PY'
import json
import sys

mode, bits, nll, size, path = sys.argv[1:]
with open(path) as file:
    rows = json.load(file)
cells = ["`%s`" % mode, "%.2f" % float(bits), nll if nll == "-" else "%.4f" % float(nll), "%.2f GB" % (int(size) / 1e9)]
prefill = next(row for row in rows if row["gen_tokens"] == 0)
decode = next(row for row in rows if row["gen_tokens"] != 0)
cells.append("%.1f tok/s" % prefill["tokens_per_s"])
cells.append("%.1f tok/s" % decode["tokens_per_s"])
cells.append("%.0f %%" % (100 * decode["gb_per_s"] / decode["ceiling_gb_per_s"]))
print("| " + " | ".join(cells) + " |", flush=True)
PY
    rm -rf "$work/model" "$work/cache"
done
