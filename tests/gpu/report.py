"""The table of a run of tests/gpu/run.sh, and its one JSON file.

usage: report.py FOLDER OUTPUT.json

FOLDER holds sections.tsv (name, result, seconds, remark), kernels.json (cuda_bench), torch.json (torch_kernels.py) and model.*.json (mlcc bench);
what is absent is left out.
"""

import glob
import json
import os
import sys
import time


def read(path):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def print_table(heading, rows):
    rows = [heading] + rows
    widths = [max(len(row[i]) for row in rows) for i in range(len(heading))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    print()


def ratio(row, theirs):
    """PyTorch's time over ours: above 1 we are faster."""
    if not theirs or "us" not in theirs:
        return ""
    return f" {theirs['us'] / row['us']:.1f}x"


def percent(value, limit):
    return f"{100 * value / limit:.0f}%" if limit else "-"


def limit_of(kernels, row):
    """(value, limit) of the ceiling that binds: data sheet where known, else what was measured."""
    fp8 = kernels["sheet_fp8_tflop_per_s"]
    peak = fp8 if fp8 and row["mode"].startswith("e4m3") else kernels["sheet_f16_tflop_per_s"]
    band = kernels["sheet_gb_per_s"] or kernels["copy_gb_per_s"]
    if band and peak and row["tflop_per_s"] / peak > row["gb_per_s"] / band:
        return row["tflop_per_s"], peak, "F"
    return row["gb_per_s"], band, "B"


def print_linear(kernels, theirs):
    """The linears of the first model; those of the others are in the JSON file."""
    rows = [(row, theirs[i] if theirs else None) for i, row in enumerate(kernels["rows"]) if row["kind"] == "linear"]
    rows = [(row, torch_row) for row, torch_row in rows if row["model"] == rows[0][0]["model"]]
    tokens = sorted({row["tokens"] for row, _ in rows})
    table = []
    for key in dict.fromkeys((row["what"], row["mode"]) for row, _ in rows):
        cells = {}
        for row, torch_row in rows:
            if (row["what"], row["mode"]) == key:
                value, limit, letter = limit_of(kernels, row)
                cells[row["tokens"]] = f"{row['us']:.1f} {percent(value, limit)}{letter}{ratio(row, torch_row)}"
        table.append([" ".join(key)] + [cells.get(n, "") for n in tokens])
    if table:
        print(f"linears of {rows[0][0]['model']}: us at N tokens, share of the data sheet limit that binds (B bytes, F operations), times faster than PyTorch")
        print_table(["part mode"] + [str(n) for n in tokens], table)


def print_others(kernels, theirs):
    table = []
    for i, row in enumerate(kernels["rows"]):
        if row["kind"] == "linear":
            continue
        value, limit, letter = limit_of(kernels, row)
        where = f"batch {row['batch']}, context {row['context']}" if "batch" in row else f"{row['tokens']} tokens"
        torch_row = theirs[i] if theirs else None
        table.append([f"{row['model']} {row['kind']} {row['what']}", where, f"{row['us']:.1f}", percent(value, limit) + letter, ratio(row, torch_row)])
    if table:
        print_table(["kernel", "", "us", "limit", "PyTorch"], table)


def print_kernels(kernels, torch):
    print(
        f"{kernels['device']}: copy {kernels['copy_gb_per_s']:.0f} GB/s, read {kernels['read_gb_per_s']:.0f} GB/s (data sheet {kernels['sheet_gb_per_s']:.0f}), "
        f"mma.sync {kernels['mma_tflop_per_s']:.0f} TFLOP/s (data sheet {kernels['sheet_f16_tflop_per_s']:.0f} f16, {kernels['sheet_fp8_tflop_per_s']:.0f} fp8); "
        f"{kernels['left_out']} kernels left out for time"
    )
    if torch:
        numbers = {key: value for key, value in torch.items() if key != "rows"}
        print("torch:", ", ".join(f"{key} {value:.0f}" if isinstance(value, float) else f"{key} {value}" for key, value in numbers.items()))
    print()
    theirs = torch["rows"] if torch and len(torch["rows"]) == len(kernels["rows"]) else None
    print_linear(kernels, theirs)
    print_others(kernels, theirs)


def print_models(models):
    """Tokens per second and the share of the data sheet: of bandwidth in decode, of the matrix units' rate in prefill."""
    table, columns = {}, {}
    for row in models:
        is_decode = row["gen_tokens"] > 0
        what = f"decode at {row['depth']}" if is_decode else "prefill"
        column = f"batch {row['batch']}" if is_decode else f"{row['prompt_tokens']} tokens"
        share = row["share_of_sheet_gb_per_s"] if is_decode else row["share_of_gflop_per_s"]
        columns.setdefault(is_decode, []).append((row["batch"] if is_decode else row["prompt_tokens"], column))
        cells = table.setdefault((is_decode, row["model"], row["quantization"], what), {})
        cells[column] = f"{row['tokens_per_s']:.1f}" + (f" {100 * share:.0f}%" if share else "")
    for is_decode in (True, False):
        heading = [column for _, column in sorted(set(columns.get(is_decode, [])))]
        rows = [list(key[1:]) + [cells.get(column, "") for column in heading] for key, cells in table.items() if key[0] == is_decode]
        if rows:
            print("tokens/s, share of data sheet", "bandwidth" if is_decode else "matrix rate")
            print_table(["model", "mode", ""] + heading, rows)


def main():
    folder, output = sys.argv[1:]
    sections = []
    with open(os.path.join(folder, "sections.tsv"), encoding="utf-8") as file:
        for line in file:
            name, result, seconds, remark = line.rstrip("\n").split("\t")
            sections.append({"name": name, "result": result, "seconds": int(seconds), "remark": remark})
    kernels, torch = read(os.path.join(folder, "kernels.json")), read(os.path.join(folder, "torch.json"))
    models = [row for path in sorted(glob.glob(os.path.join(folder, "model.*.json"))) for row in read(path) or []]
    all_of_it = {"date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "sections": sections, "kernels": kernels, "torch": torch, "models": models}
    os.makedirs(os.path.dirname(os.path.abspath(output)), exist_ok=True)
    with open(output + ".part", "w", encoding="utf-8") as file:
        json.dump(all_of_it, file, indent=1)
        file.write("\n")
    os.replace(output + ".part", output)
    print()
    if kernels:
        print_kernels(kernels, torch)
    print_models(models)
    print_table(["section", "result", "s", ""], [[s["name"], s["result"], str(s["seconds"]), s["remark"]] for s in sections])
    print(f"JSON: {output}")


if __name__ == "__main__":
    main()
