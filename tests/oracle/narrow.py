"""Narrow number formats, written from their definitions: float16 by the struct module, bfloat16 and the two 8-bit formats by search."""
import math
import struct


def f16_bits(value):
    return struct.unpack("<H", struct.pack("<e", value))[0]


def f16(value):
    return struct.unpack("<e", struct.pack("<e", value))[0]


def f32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def bf16_bits(value):
    bits = struct.unpack("<I", struct.pack("<f", value))[0]
    return (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16


def bf16(value):
    return struct.unpack("<f", struct.pack("<I", bf16_bits(value) << 16))[0]


def fp8_value(code, mantissa_bits, bias):
    sign = -1.0 if code & 0x80 else 1.0
    exponent = (code & 0x7F) >> mantissa_bits
    fraction = (code & ((1 << mantissa_bits) - 1)) / (1 << mantissa_bits)
    if exponent == 0:
        return sign * math.ldexp(fraction, 1 - bias)
    return sign * math.ldexp(1 + fraction, exponent - bias)


# All codes but the two NaNs.
E4M3 = {code: fp8_value(code, 3, 7) for code in range(256) if code & 0x7F != 0x7F}
