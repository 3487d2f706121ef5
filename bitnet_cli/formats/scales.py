"""Scales of ternary matrices: float32, one for the tensor [1, 1], per row [rows, 1], or per group of columns [rows, groups].

Some formats repeat one scale in every block. A matrix gets the fewest scales that say the same, so that it runs as fast and
gives the same bits whichever format it came in.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

GROUP_COLS = (64, 128, 256)
"""Columns that may share a scale, the finest groups first."""


def finest_group(cols: int) -> int:
    """Columns of the finest groups that rows can be cut into: the whole row where there is no cut."""
    return GROUP_COLS[0] if cols % GROUP_COLS[0] == 0 else cols


def simplest(
    scales: np.ndarray, cols: int | None = None, trits: Callable[[], np.ndarray] | None = None
) -> np.ndarray:
    """The fewest scales that stand for the same weights.

    Equal scales of a row become one, then equal scales of all rows; equal neighbours become one group of 128 or 256. A scale
    of 0 goes with any other if all its trits are 0, as in formats that derive scales from what they scale.

    Args:
        scales: float32 [1, 1], [rows, 1] or [rows, groups].
        cols: columns of the matrix; None if groups are to stay as wide as they are.
        trits: returns the matrix, int8 [rows, cols]; called only if there are scales of 0 among others. None if these are
            to count as different.

    Returns:
        float32 [1, 1], [rows, 1] or [rows, groups].
    """
    free: np.ndarray = np.zeros(scales.shape, bool)
    zeros = scales == 0
    if trits is not None and zeros.any() and not zeros.all():
        free = zeros & ~trits().reshape(*scales.shape, -1).any(axis=2)
    by_row = _merged(scales, free, scales.shape[1])
    if by_row is not None:
        one = _merged(by_row.reshape(1, -1), np.all(free, axis=1)[None], len(by_row))
        return by_row if one is None else one
    while cols is not None and cols // scales.shape[1] < GROUP_COLS[-1] and scales.shape[1] % 2 == 0:
        pairs = _merged(scales, free, 2)
        if pairs is None:
            break
        scales, free = pairs, np.all(free.reshape(*pairs.shape, 2), axis=2)
    return scales


def _merged(scales: np.ndarray, free: np.ndarray, n: int) -> np.ndarray | None:
    """One scale for each n neighbours of a row, None if some differ that are not free."""
    together, free = scales.reshape(len(scales), -1, n), free.reshape(len(scales), -1, n)
    bound = np.argmin(free, axis=2)[..., None]
    chosen = np.take_along_axis(together, bound, axis=2)
    return chosen[..., 0] if (free | (together == chosen)).all() else None
