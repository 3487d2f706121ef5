"""The order of q and k rows inside a head: halves, or interleaved as `llama` GGUF files have them.

Rotary embeddings turn pairs of rows: (i, i + head_dim/2) in the first order, (2i, 2i + 1) in the second.
The same numbers, once the rows are moved: for a head of 8, new row r is old row [0, 4, 1, 5, 2, 6, 3,
7][r].
"""

from __future__ import annotations

import numpy as np


def interleaved(rows: np.ndarray, head_dim: int) -> np.ndarray:
    """Rows of whole heads from halves to interleaved: [n_heads * head_dim, cols], a copy."""
    heads = rows.reshape(-1, 2, head_dim // 2, rows.shape[1])
    return np.ascontiguousarray(heads.swapaxes(1, 2)).reshape(rows.shape)


def halved(rows: np.ndarray, head_dim: int) -> np.ndarray:
    """The inverse of `interleaved`."""
    heads = rows.reshape(-1, head_dim // 2, 2, rows.shape[1])
    return np.ascontiguousarray(heads.swapaxes(1, 2)).reshape(rows.shape)
