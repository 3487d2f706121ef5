"""Ternary types with a scale in front of each row, and their older form that has none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bitnet_cli.errors import RepresentationError
from bitnet_cli.formats.codecs.scaled_blocks import ScaledBlocks
from bitnet_cli.formats.gguf_types import bare_tensor_bytes


class RowScaled(ScaledBlocks):
    """A type whose records are rows.

    Args:
        bare: rows have no scale: every weight is its trit, and the scale is in a tensor of its own.
    """

    by_row = True

    def __init__(self, *, bare: bool = False) -> None:
        self.bare = bare

    def n_bytes(self, shape: Sequence[int]) -> int:
        """Bytes of a tensor; RepresentationError unless it is a matrix of whole blocks."""
        n_bytes = super().n_bytes(shape)
        return bare_tensor_bytes(self.type_id, shape) if self.bare else n_bytes

    def scales(self, data: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """The scales, float32 [rows, 1]; [1, 1] of 1 if rows have none."""
        if self.bare:
            self.codes(data, shape)
            return np.ones((1, 1), np.float32)
        return super().scales(data, shape)

    def stored_scales(self, scales: np.ndarray | float) -> np.ndarray:
        """Scales as the file would hold them; without room for them only 1 can be held."""
        stored = super().stored_scales(scales)
        if self.bare and (stored != 1).any():
            raise RepresentationError(f"{self.name} without row scales holds weights of scale 1 only")
        return stored

    def _header_bytes(self) -> int:
        return 0 if self.bare else super()._header_bytes()
