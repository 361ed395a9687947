"""How others store a quantized linear weight. Each function takes q[N][K], z[N][G], s[N][G] (s exact in float16) and gives {suffix: tensor}.

Written from the descriptions of the formats, one element at a time, for reading and for checking; nothing here is fast.
"""
import struct

from narrow import f16, f16_bits, f32

AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)


def i32(words):
    return struct.pack("<%dI" % len(words), *words)


def half(values):
    return struct.pack("<%dH" % len(values), *[f16_bits(v) for v in values])


def nibbles(values):
    word = 0
    for i, value in enumerate(values):
        assert 0 <= value < 16
        word |= value << (4 * i)
    return word


def bit_stream(values, bits):
    """Little-endian stream of `bits`-bit fields in 32-bit words."""
    total = 0
    for i, value in enumerate(values):
        assert 0 <= value < 1 << bits
        total |= value << (bits * i)
    n_words = (len(values) * bits + 31) // 32
    return [(total >> (32 * i)) & 0xFFFFFFFF for i in range(n_words)]


def transposed(rows):
    return [list(column) for column in zip(*rows)]


def flat(rows):
    return [value for row in rows for value in row]


def sizes(q, z):
    return len(q), len(q[0]), len(z[0])


def awq_gemm(q, z, s, **_):
    n, k, groups = sizes(q, z)
    qweight = [nibbles([q[8 * c + o][row] for o in AWQ_ORDER]) for row in range(k) for c in range(n // 8)]
    qzeros = [nibbles([z[8 * c + o][j] for o in AWQ_ORDER]) for j in range(groups) for c in range(n // 8)]
    return {
        "qweight": ("I32", [k, n // 8], i32(qweight)),
        "qzeros": ("I32", [groups, n // 8], i32(qzeros)),
        "scales": ("F16", [groups, n], half(flat(transposed(s)))),
    }


def zero_width(groups, group_size):
    multiple = {64: 2, 32: 4}.get(group_size, 1)
    words = (groups + 7) // 8
    return (words + multiple - 1) // multiple * multiple


def awq_gemv(q, z, s, group_size, **_):
    n, k, groups = sizes(q, z)
    width = zero_width(groups, group_size)
    qweight = [nibbles(q[row][8 * c : 8 * c + 8]) for row in range(n) for c in range(k // 8)]
    padded = [row + [0] * (8 * width - groups) for row in z]
    qzeros = [nibbles(padded[row][8 * c : 8 * c + 8]) for row in range(n) for c in range(width)]
    scales = [row + [0.0] * (8 * width - groups) for row in s]
    return {
        "qweight": ("I32", [n, k // 8], i32(qweight)),
        "qzeros": ("I32", [n, width], i32(qzeros)),
        "scales": ("F16", [n, 8 * width], half(flat(scales))),
    }


def awq_gemv_fast(q, z, s, group_size, zeros_name="qzeros", **_):
    n, k, groups = sizes(q, z)
    words = []
    for r in range(n // 4):
        for x in range(k):
            block, w = divmod(x, 64)
            fields = []
            for nibble in range(4):
                p = 4 * (w % 16) + nibble
                inner = p % 32
                column = 64 * block + 32 * (p // 32) + 8 * (inner % 4) + 2 * (inner // 8) + (inner // 4) % 2
                fields.append(q[4 * r + w // 16][column])
            words.append(nibbles(fields))
    rows = 8 * zero_width(groups, group_size)
    scales = [[s[row][j] if j < groups else 0.0 for row in range(n)] for j in range(rows)]
    zeros = [[f16(-s[row][j] * z[row][j]) if j < groups else 0.0 for row in range(n)] for j in range(rows)]
    return {
        "qweight": ("I16", [n // 4, k], struct.pack("<%dH" % len(words), *words)),
        "scales": ("F16", [rows, n], half(flat(scales))),
        zeros_name: ("F16", [rows, n], half(flat(zeros))),
    }


def llm_awq_v2(q, z, s, **options):
    return awq_gemv_fast(q, z, s, zeros_name="scaled_zeros", **options)


def awq_marlin(q, z, s, **_):
    n, k, groups = sizes(q, z)
    assert all(zero == 8 for row in z for zero in row)
    words = []
    for tile_row in range(k // 16):
        for block in range(n // 64):
            for lane in range(32):
                for tile in range(4):
                    fields = []
                    for e in AWQ_ORDER:
                        row = 2 * (lane % 4) + e % 2 + 8 * ((e % 4) // 2)
                        column = lane // 4 + 8 * (e // 4)
                        fields.append(q[64 * block + 16 * tile + column][16 * tile_row + row])
                    words.append(nibbles(fields))
    by_group = transposed(s)
    if groups > 1:
        order = [64 * c + a + 8 * b for c in range(n // 64) for a in range(8) for b in range(8)]
    else:
        order = [32 * c + 2 * a + t for c in range(n // 32) for a in range(4) for t in (0, 1, 8, 9, 16, 17, 24, 25)]
    scales = [row[column] for row in by_group for column in order]
    return {"qweight": ("I32", [k // 16, 2 * n], i32(words)), "scales": ("F16", [groups, n], half(scales))}


def gptq(q, z, s, bits, version=1, group_of_column=None, **_):
    n, k, groups = sizes(q, z)
    columns = [bit_stream([q[row][i] for i in range(k)], bits) for row in range(n)]
    less = 1 if version == 1 else 0
    zeros = flat([bit_stream([z[row][j] - less for row in range(n)], bits) for j in range(groups)])
    tensors = {
        "qweight": ("I32", [k * bits // 32, n], i32(flat(transposed(columns)))),
        "qzeros": ("I32", [groups, n * bits // 32], i32(zeros)),
        "scales": ("F16", [groups, n], half(flat(transposed(s)))),
    }
    if group_of_column is not None:
        tensors["g_idx"] = ("I32", [k], i32(group_of_column))
    return tensors


def compressed_tensors(q, z, s, bits, symmetric=False, has_shape=True, **_):
    n, k, groups = sizes(q, z)
    packed = flat([bit_stream(row, bits) for row in q])
    tensors = {
        "weight_packed": ("I32", [n, (k * bits + 31) // 32], i32(packed)),
        "weight_scale": ("F16", [n, groups], half(flat(s))),
    }
    if has_shape:
        tensors["weight_shape"] = ("I64", [2], struct.pack("<2q", n, k))
    if symmetric:
        assert all(zero == 1 << (bits - 1) for row in z for zero in row)
    else:
        zeros = flat(transposed([bit_stream(column, bits) for column in transposed(z)]))
        tensors["weight_zero_point"] = ("I32", [(n * bits + 31) // 32, groups], i32(zeros))
    return tensors


def fp8(codes, scales, kind, **_):
    """codes[N][K] of e4m3; scales: one number, one a row, or [N/128][K/128]."""
    n, k = len(codes), len(codes[0])
    tensors = {"weight": ("F8_E4M3", [n, k], bytes(flat(codes)))}
    if kind == "tensor":
        tensors["weight_scale"] = ("F32", [1], struct.pack("<f", scales))
    elif kind == "channel":
        tensors["weight_scale"] = ("F32", [n, 1], struct.pack("<%df" % n, *scales))
    else:
        values = flat(scales)
        tensors["weight_scale_inv"] = ("F32", [len(scales), len(scales[0])], struct.pack("<%df" % len(values), *values))
    return tensors


def exact(value):
    """A product of a small integer and a float16 number fits float32."""
    assert f32(value) == value
    return value
