"""What PyTorch needs for the shapes that cuda_bench measured, on the same GPU.

usage: torch_kernels.py KERNELS.json OUTPUT.json [SECONDS]

KERNELS.json is cuda_bench's. For every row the function that PyTorch calls for that work: cuBLAS for q0f16, torch._weight_int4pack_mm (bfloat16
activations) for the int4 modes, torch._scaled_mm for fp8, scaled_dot_product_attention, rms_norm. Rows that would begin after SECONDS (default 60)
are left out. Exit code 77 where there is no torch with a GPU: it says so and writes nothing.
"""

import json
import math
import statistics
import sys
import time

ROUND_MS = 8.0
GROUPS = {"q4f16_1": 32, "q4f16_autoawq": 128}


def time_us(torch, work, copies):
    """Microseconds of one call: `work(i)` for every copy in one graph, rounds between two events."""
    work(0)
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for i in range(copies):
            work(i)
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        for i in range(copies):
            work(i)
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)

    def round_ms(n):
        begin.record()
        for _ in range(n):
            graph.replay()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / n

    round_ms(2)
    n = max(1, min(400, int(ROUND_MS / max(round_ms(1), 1e-3))))
    return statistics.median(round_ms(n) for _ in range(5)) * 1e3 / copies


def count_copies(torch, size_bytes):
    cache_bytes = getattr(torch.cuda.get_device_properties(0), "L2_cache_size", 64 << 20)
    return max(2, min(64, math.ceil(3 * cache_bytes / size_bytes)))


def make_linear(torch, mode, n, k):
    """(copies, function of tokens that gives work(i))"""
    if mode == "q0f16":
        copies = count_copies(torch, 2 * n * k)
        weights = [torch.randn(n, k, device="cuda", dtype=torch.float16) * 0.02 for _ in range(copies)]

        def prepare(tokens):
            xs = [torch.randn(tokens, k, device="cuda", dtype=torch.float16) for _ in range(copies)]
            return lambda i: torch.mm(xs[i], weights[i].t())

        return copies, prepare
    if mode in GROUPS:
        group = GROUPS[mode]
        copies = count_copies(torch, n * k / 2)
        codes = torch.randint(0, 255, (n, k // 2), device="cuda", dtype=torch.uint8)
        packed = [torch._convert_weight_to_int4pack(codes, 8) for _ in range(copies)]
        scales = [torch.rand(k // group, n, 2, device="cuda", dtype=torch.bfloat16) * 0.02 for _ in range(copies)]

        def prepare(tokens):
            xs = [torch.randn(tokens, k, device="cuda", dtype=torch.bfloat16) for _ in range(copies)]
            return lambda i: torch._weight_int4pack_mm(xs[i], packed[i], group, scales[i])

        return copies, prepare
    copies = count_copies(torch, n * k)
    one = torch.ones((), device="cuda", dtype=torch.float32)
    weights = [torch.randn(n, k, device="cuda", dtype=torch.float16).to(torch.float8_e4m3fn) for _ in range(copies)]

    def prepare(tokens):
        rows = (tokens + 15) // 16 * 16  # cuBLASLt wants multiples of 16
        xs = [torch.randn(rows, k, device="cuda", dtype=torch.float16).to(torch.float8_e4m3fn) for _ in range(copies)]
        return lambda i: torch._scaled_mm(xs[i], weights[i].t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16)

    return copies, prepare


def make_attention(torch, row):
    batch, context, hd = row["batch"], row["context"], row["head_dim"]
    heads, kv_heads, fresh = row["n_heads"], row["n_kv_heads"], row["tokens"] // row["batch"]
    copies = count_copies(torch, 4 * kv_heads * hd * context * batch)

    def random(n_heads, n):
        return torch.randn(batch, n_heads, n, hd, device="cuda", dtype=torch.float16)

    qs = [random(heads, fresh) for _ in range(copies)]
    ks = [random(kv_heads, context) for _ in range(copies)]
    vs = [random(kv_heads, context) for _ in range(copies)]
    sdpa = torch.nn.functional.scaled_dot_product_attention
    is_causal = row["what"] == "prefill"
    return copies, lambda i: sdpa(qs[i], ks[i], vs[i], is_causal=is_causal, enable_gqa=heads != kv_heads)


def make_norm(torch, row):
    tokens, n, copies = row["tokens"], row["n"], 8
    xs = [torch.randn(tokens, n, device="cuda", dtype=torch.float16) for _ in range(copies)]
    ys = [torch.randn(tokens, n, device="cuda", dtype=torch.float16) for _ in range(copies)]
    gain = torch.ones(n, device="cuda", dtype=torch.float16)
    return copies, lambda i: torch.nn.functional.rms_norm(xs[i] + ys[i], (n,), gain, 1e-5)


def ceilings(torch):
    """Copies (bytes read and written) and large matrix products."""
    out = {}
    source = torch.empty(1 << 30, device="cuda", dtype=torch.uint8).fill_(90)
    target = torch.empty_like(source)
    out["copy_gb_per_s"] = 2 * source.numel() / time_us(torch, lambda i: target.copy_(source), 2) * 1e-3
    del source, target
    size = 8192
    a, b = (torch.randn(size, size, device="cuda", dtype=torch.float16) for _ in range(2))
    out["f16_mm_tflop_per_s"] = 2 * size**3 / time_us(torch, lambda i: torch.mm(a, b), 2) * 1e-6
    try:
        one = torch.ones((), device="cuda")
        a8, b8 = a.to(torch.float8_e4m3fn), b.to(torch.float8_e4m3fn)
        product = lambda i: torch._scaled_mm(a8, b8.t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16)
        out["fp8_mm_tflop_per_s"] = 2 * size**3 / time_us(torch, product, 2) * 1e-6
    except Exception as error:
        out["fp8_error"] = str(error).splitlines()[0]
    return out


def measure(torch, rows, end_s):
    """One result per row, in their order: {"us"}, {"error"} or None (no time left)."""
    results, held, held_key = [], None, None
    for row in rows:
        if time.monotonic() > end_s:
            results.append(None)
            continue
        try:
            if row["kind"] == "linear":
                key = (row["mode"], row["n"], row["k"])
                if key != held_key:
                    held = held_key = None
                    torch.cuda.empty_cache()
                    held, held_key = make_linear(torch, *key), key
                copies, work = held[0], held[1](row["tokens"])
            else:
                copies, work = (make_attention if row["kind"] == "attention" else make_norm)(torch, row)
            results.append({"us": time_us(torch, work, copies)})
        except Exception as error:  # a function that this torch or GPU lacks
            results.append({"error": (str(error).splitlines() or [type(error).__name__])[0][:200]})
        work = None
    return results


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    try:
        import torch
    except ImportError as error:
        print(f"skipped: torch cannot be imported here ({error})")
        sys.exit(77)
    if not torch.cuda.is_available():
        print("skipped: torch sees no GPU here")
        sys.exit(77)
    with open(sys.argv[1], encoding="utf-8") as file:
        rows = json.load(file)["rows"]
    end_s = time.monotonic() + (float(sys.argv[3]) if len(sys.argv) == 4 else 60.0)
    with torch.inference_mode():
        out = {"torch": torch.__version__, "device": torch.cuda.get_device_name(0), **ceilings(torch)}
        out["rows"] = measure(torch, rows, end_s)
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        json.dump(out, file, indent=1)
    done = sum(result is not None and "us" in result for result in out["rows"])
    print(f"torch {out['torch']}: {done} of {len(rows)} rows measured")


if __name__ == "__main__":
    main()
