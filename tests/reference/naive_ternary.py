"""Ternary formats read weight by weight as their descriptions put it: witnesses for codecs and C decoders.

Standard library and NumPy; nothing of the package. Each function gives the code (0, 1, 2; 3 for no weight) and the
scale of one weight of a matrix of `rows` x `cols`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np


def _f16(data: bytes, at: int) -> float:
    return float(struct.unpack_from("<e", data, at)[0])


def _f32(data: bytes, at: int) -> float:
    return float(struct.unpack_from("<f", data, at)[0])


_NUMBERS = {(256 * v + 242) // 243 for v in range(243)}
"""The bytes of five trits."""


def i2_s(data: bytes, rows: int, cols: int, r: int, c: int) -> tuple[int, float]:
    k = r * cols + c
    return data[k // 128 * 32 + k % 32] >> (6 - 2 * (k % 128 // 32)) & 3, _f32(data, rows * cols // 4)


def i2_s_arm(data: bytes, rows: int, cols: int, r: int, c: int) -> tuple[int, float]:
    k = r * cols + c
    return data[k // 64 * 16 + k % 16] >> (6 - 2 * (k % 64 // 16)) & 3, _f32(data, rows * cols // 4)


def tq2_0(data: bytes, rows: int, cols: int, r: int, c: int) -> tuple[int, float]:
    block, j = (r * cols + c) // 256 * 66, c % 256
    byte = data[block + 32 * (j // 128) + j % 32]
    return byte >> 2 * (j % 128 // 32) & 3, _f16(data, block + 64)


def tq1_0(data: bytes, rows: int, cols: int, r: int, c: int) -> tuple[int, float]:
    block, j = (r * cols + c) // 256 * 54, c % 256
    if j < 160:
        byte, n = data[block + j % 32], j // 32
    elif j < 240:
        byte, n = data[block + 32 + (j - 160) % 16], (j - 160) // 16
    else:
        byte, n = data[block + 48 + (j - 240) % 4], (j - 240) // 4
        if (byte * 81 & 255) * 3 >> 8:
            return 3, _f16(data, block + 52)
    u = ((byte * 3**n & 255) * 3) >> 8
    return u if byte in _NUMBERS else 3, _f16(data, block + 52)


def q2_0(data: bytes, rows: int, cols: int, r: int, c: int) -> tuple[int, float]:
    block, j = (r * cols + c) // 64 * 18, c % 64
    return data[block + 2 + j // 4] >> 2 * (j % 4) & 3, _f16(data, block)


def pq2_0(data: bytes, rows: int, cols: int, r: int, c: int) -> tuple[int, float]:
    block, j = (r * cols + c) // 128 * 34, c % 128
    return data[block + 2 + j // 4] >> 2 * (j % 4) & 3, _f16(data, block)


def iq2_bn(data: bytes, rows: int, cols: int, r: int, c: int) -> tuple[int, float]:
    row, j = r * (4 + cols // 4), c % 64
    return data[row + 4 + c // 64 * 16 + j % 16] >> 2 * (j // 16) & 3, _f32(data, row)


def iq2_bn_r4(data: bytes, rows: int, cols: int, r: int, c: int) -> tuple[int, float]:
    four, row = r // 4 * 4 * (4 + cols // 4), r % 4
    x = c % 64
    group, s, i = x // 16, x % 16 // 4, x % 4
    byte = data[four + 16 + c // 64 * 64 + 16 * group + 4 * row + i]
    return byte >> 2 * s & 3, _f32(data, four + 4 * row)


def iq1_bn(data: bytes, rows: int, cols: int, r: int, c: int) -> tuple[int, float]:
    row = r * (2 + cols // 64 * 13)
    block, j = row + 2 + c // 64 * 13, c % 64
    multipliers = (81, 27, 9, 3, 1)
    if j % 16 < 15:
        byte, m = data[block + 3 * (j // 16) + j % 16 // 5], multipliers[j % 16 % 5]
    else:
        byte, m = data[block + 12], multipliers[j // 16]
        if 3 * byte >> 8:
            return 3, _f16(data, row)
    return ((byte * m & 255) * 3) >> 8 if byte in _NUMBERS else 3, _f16(data, row)


WITNESSES: dict[str, Callable[[bytes, int, int, int, int], tuple[int, float]]] = {
    each.__name__: each for each in (i2_s, i2_s_arm, tq1_0, tq2_0, q2_0, pq2_0, iq1_bn, iq2_bn, iq2_bn_r4)
}


def codes_and_weights(name: str, data: bytes, rows: int, cols: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 codes and float32 weights, both [rows, cols]."""
    codes, weights = np.empty((rows, cols), np.uint8), np.empty((rows, cols), np.float32)
    for r in range(rows):
        for c in range(cols):
            codes[r, c], scale = WITNESSES[name](data, rows, cols, r, c)
            weights[r, c] = np.float32(scale) * np.float32(int(codes[r, c]) - 1)
    return codes, weights
