"""What tests/bench/cpu.py found: the table, and the JSON file."""

import json
import os
import statistics


def summary(samples):
    """Median, and (max - min) / median."""
    if not samples:
        return None
    median = statistics.median(samples)
    return {"median": median, "spread": (max(samples) - min(samples)) / median, "samples": samples}


def ceilings(rows):
    """By threads: the highest that any row of the run measured, for noise only takes away."""
    found = {}
    for row in rows:
        for measured in row["measured"]:
            here = found.setdefault(row["threads"], {"read_gb_per_s": 0.0, "gop_per_s": {}})
            here["read_gb_per_s"] = max(here["read_gb_per_s"], measured["ceiling_gb_per_s"])
            for name, rate in measured["ceilings_gop_per_s"].items():
                here["gop_per_s"][name] = max(here["gop_per_s"].get(name, 0.0), rate)
    return found


def against_limits(row, found):
    """Achieved GB/s and TOP/s of mlcc's median, the ceiling that binds and the share of it."""
    if not row["measured"]:
        return None
    measured, machine = row["measured"][-1], found[row["threads"]]
    rate = row["mlcc"]["median"]
    scale = rate / measured["tokens_per_s"]
    gb_per_s, gop_per_s = measured["gb_per_s"] * scale, measured["gflop_per_s"] * scale
    memory = gb_per_s / machine["read_gb_per_s"]
    arithmetic = gop_per_s / machine["gop_per_s"][measured["arithmetic"]]
    limit = "memory read" if memory >= arithmetic else measured["arithmetic"]
    return {"gb_per_s": gb_per_s, "top_per_s": gop_per_s * 1e-3, "limit": limit, "limit_share": max(memory, arithmetic)}


def finish(rows):
    """Fills in what follows from the samples; returns the ceilings."""
    for row in rows:
        row["mlcc"] = summary(row["mlcc_samples"])
        row["llama"] = {name: summary(samples) for name, samples in row["llama_samples"].items() if samples}
        row["ratio"] = {name: row["mlcc"]["median"] / theirs["median"] for name, theirs in row["llama"].items() if row["mlcc"]}
    found = ceilings(rows)
    for row in rows:
        row["reached"] = against_limits(row, found)
    return found


def print_columns(heading, lines):
    lines = [heading] + lines
    widths = [max(len(line[i]) for line in lines) for i in range(len(heading))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())


def cell(figures):
    return f"{figures['median']:.1f} ({100 * figures['spread']:.0f} %)" if figures else "-"


def lines_of(row):
    """One line per variant of llama.cpp; mlcc's figures stand on the first."""
    reached = row["reached"]
    own = [row["shape"], row["mode"], str(row["threads"]), row["test"], cell(row["mlcc"])]
    limits = ["", "", ""]
    if reached:
        limits = [f"{reached['gb_per_s']:.1f}", f"{reached['top_per_s']:.3f}", f"{100 * reached['limit_share']:.0f} % of {reached['limit']}"]
    lines = []
    for name in row["variants"] or [""]:
        theirs = row["llama"].get(name)
        ratio = f"{row['ratio'][name]:.2f} x" if name in row["ratio"] else ""
        lines.append(own + [cell(theirs), name if len(row["variants"]) > 1 else "", ratio] + limits)
        own, limits = [""] * len(own), [""] * 3
    return lines


def print_table(rows, found, remarks):
    rows = [row for row in rows if row["mlcc"] or row["llama"]]
    for threads, machine in sorted(found.items()):
        units = ", ".join(f"{rate:.0f} {name}" for name, rate in machine["gop_per_s"].items())
        print(f"ceilings, threads {threads}: {machine['read_gb_per_s']:.1f} GB/s read over four streams a thread; 10^9 operations/s: {units}")
    if rows:
        print("tokens/s: median (spread = (max - min) / median); GB/s and TOP/s are mlcc's\n")
        heading = ["shape", "mode", "threads", "test", "mlcc", "llama.cpp", "", "ratio", "GB/s", "TOP/s", "of the limit that binds"]
        print_columns(heading, [line for row in rows for line in lines_of(row)])
    for remark in remarks:
        print("note:", remark)


def write_json(path, content):
    """Whole or not at all."""
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
            file.write("\n")
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
