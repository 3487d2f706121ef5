"""Float master weights into trits: one absmean scale per matrix, as BitNet b1.58 was trained.

    m = max(mean|W|, 1e-5)      t = clamp(round_half_even(W · (1/m)), -1, 1)      W ≈ t · m

All in float32 except the mean. Its sum is taken in float64 in an order that depends on the matrix alone:
each row by halving, the rows exactly. So neither the block size nor the machine changes a bit of the scale.
A float32 mean as torch computes it differs by at most one unit in the last place, hence the trits only at
exact ties.
"""

from __future__ import annotations

import math

import numpy as np

SMALLEST_SCALE = np.float32(1e-5)
"""What the mean is clamped to, so that an all-zero matrix has a reciprocal."""


def row_sums(magnitudes: np.ndarray) -> np.ndarray:
    """Sums of the rows of a float32 matrix: float64 [rows], a row's halves added to each other repeatedly.

    An explicit tree, since the order in which `np.sum` adds is not part of its contract.
    """
    sums = magnitudes.astype(np.float64)
    while sums.shape[1] > 1:
        half = sums.shape[1] // 2
        folded = sums[:, :half] + sums[:, half : 2 * half]
        if sums.shape[1] % 2:
            folded[:, 0] += sums[:, -1]
        sums = folded
    return sums.reshape(-1)


class AbsMean:
    """Collects the absmean scale of a matrix, block of rows by block."""

    def __init__(self) -> None:
        self._row_sums: list[float] = []
        self._count = 0

    def add(self, values: np.ndarray) -> None:
        """Takes the next rows: float32 [rows, cols], finite."""
        self._row_sums += row_sums(np.abs(values)).tolist()
        self._count += values.size

    def scale(self) -> np.float32:
        """m = max(mean|W|, 1e-5) of all rows taken so far; at least one value must have been."""
        # fsum rounds once, whatever the number and order of its terms.
        mean = np.float32(math.fsum(self._row_sums) / self._count)
        return max(mean, SMALLEST_SCALE)


def ternarize(values: np.ndarray, scale: np.float32) -> np.ndarray:
    """Trits of values: int8 of the same shape, clamp(round_half_even(values·(1/scale)), -1, 1).

    Rounded half to even and clamped, a product is +1 exactly if it is above one half (1/2 itself goes to
    0), and -1 if below minus one half: two comparisons do the work of rounding.
    """
    products = values * (np.float32(1.0) / scale)
    return np.subtract(products > 0.5, products < -0.5, dtype=np.int8)
