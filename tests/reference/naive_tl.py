"""TL1 and TL2 by their address formulas, weight by weight: witnesses for the codecs.

Nothing here is a reshape: each weight is looked up where the formula says it is. NumPy only, to do it for all weights of
a matrix at once; `m` and `k` are arrays of rows and columns.
"""

from __future__ import annotations

import numpy as np


def _pair(nibble: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The first or second weight of a pair from its code 3a + b + 4."""
    return np.where(second, nibble % 3 - 1, nibble // 3 - 1).astype(np.int8)


def _nibble(data: np.ndarray, at: np.ndarray, high: np.ndarray) -> np.ndarray:
    return np.where(high, data[at] >> 4, data[at] & 15).astype(np.int64)


def naive_tl1(data: np.ndarray, rows: int, cols: int, tiling: tuple[int, int, int]) -> np.ndarray:
    """Trits, int8 [rows, cols], of rows * cols / 4 bytes."""
    outer, tile, inner = tiling
    by = 256 // inner
    m, k = np.meshgrid(np.arange(rows), np.arange(cols), indexing="ij")
    tm, r = np.divmod(m, outer)
    tb, r = np.divmod(r, inner)
    mc, ml = np.divmod(r, 16)
    tk, x = np.divmod(k, tile)
    ty, x = np.divmod(x, by)
    gq, x = np.divmod(x, 4)
    at = tm * (outer * cols // 4) + tk * (outer * tile // 4) + tb * (inner * tile // 4) + ty * 64
    at += mc * (by // 4 * 16) + gq * 16 + ml
    return _pair(_nibble(data, at, x < 2), x % 2 == 1)


def naive_tl2(data: np.ndarray, rows: int, cols: int, tiling: tuple[int, int, int]) -> np.ndarray:
    """Trits, int8 [rows, cols], of the indices, signs and pairs of a tensor."""
    outer, tile, _ = tiling
    k3 = cols // tile * tile
    k2 = cols - k3
    trits = np.empty((rows, cols), np.int8)
    m, k = np.meshgrid(np.arange(rows), np.arange(k3), indexing="ij")
    tm, r = np.divmod(m, outer)
    tb, r = np.divmod(r, 32)
    tk, within = np.divmod(k, tile)
    ty, x = np.divmod(within, 6)
    pos = np.array([0, 2, 1, 3])[r // 8] * 8 + r % 8
    at = tm * (outer * k3 // 6) + tk * (outer * tile // 6) + tb * (32 * tile // 6) + ty * 32 + pos
    index = _nibble(data, at, x < 3)
    t4, x = np.divmod(within, 24)
    half, j = np.divmod(r, 16)
    at = tm * (outer * k3 // 24) + tk * (outer * tile // 24) + tb * (32 * tile // 24) + t4 * 32 + 2 * j
    signs = data[rows * k3 // 6 :].astype(np.int64)
    word = signs[at] | signs[at + 1] << 8
    v = np.where(word >> (15 - (2 * (x // 3) + half)) & 1, -index, index) + 13
    trits[:, :k3] = np.choose(k % 3, [v // 9, v // 3 % 3, v % 3]) - 1
    m, k = np.meshgrid(np.arange(rows), np.arange(k2), indexing="ij")
    tm, r = np.divmod(m, outer)
    tb, r = np.divmod(r, 32)
    tk, x = np.divmod(k, 32)
    ty, x = np.divmod(x, 4)
    pos = np.array([0, 2, 1, 3])[r // 8] * 8 + r % 8
    at = tm * (outer * k2 // 4) + tk * (outer * 8) + tb * 256 + ty * 32 + pos
    pairs = data[rows * k3 // 6 + rows * k3 // 24 :]
    trits[:, k3:] = _pair(_nibble(pairs, at, x < 2), x % 2 == 1)
    return trits
