"""Ternary weights as plain floats: every weight is 0 or plus or minus the scale of its tensor, row or group.

Nothing in a file says that a float matrix is ternary; its values do. So the scales are found by looking: the smallest
groups of 64 columns each have one magnitude beside 0, and equal scales are put together afterwards. A matrix of other
values is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

import numpy as np

from bitnet_cli.errors import FormatError, RepresentationError, UnsupportedError
from bitnet_cli.formats.codecs.bf16 import BF16
from bitnet_cli.formats.codecs.block_codec import CHUNK_VALUES, BlockCodec, check_length
from bitnet_cli.formats.codecs.f16 import F16
from bitnet_cli.formats.codecs.f32 import F32
from bitnet_cli.formats.codecs.ternary_codec import DAMAGED, as_scales, check_trits, codes_of
from bitnet_cli.formats.gguf_types import GGMLType
from bitnet_cli.formats.scales import GROUP_COLS, simplest


class TernaryFloats:
    """A ternary matrix in a float type; a TernaryCodec for rows of any length."""

    name: ClassVar[str]
    type_id: ClassVar[GGMLType]
    ternary: ClassVar[Literal[True]] = True
    _floats: ClassVar[BlockCodec]

    def n_bytes(self, shape: Sequence[int]) -> int:
        """Bytes of a tensor; RepresentationError unless it is a matrix."""
        if len(shape) != 2:
            raise RepresentationError(f"ternary weights are matrices of 2 dimensions, not {len(shape)}")
        return self._floats.n_bytes(shape)

    def encode(self, trits: np.ndarray, scales: np.ndarray | float) -> np.ndarray:
        """The bytes of a tensor, uint8 [n_bytes(trits.shape)]: trits times `stored_scales`."""
        encoded = np.empty(self.n_bytes(trits.shape), np.uint8)
        check_trits(trits)
        rows, cols = trits.shape
        stored = self.stored_scales(scales)
        if stored.shape[0] not in (1, rows) or cols % stored.shape[1]:
            raise RepresentationError(
                f"scales of shape {stored.shape} do not fit a matrix of {rows} rows and {cols} columns"
            )
        stored = np.broadcast_to(stored, (rows, stored.shape[1]))
        row_bytes = encoded.nbytes // rows
        for start, stop in _row_chunks(rows, cols):
            codes_of(trits[start:stop])  # Refuses what is no trit.
            groups = trits[start:stop].reshape(stop - start, stored.shape[1], -1)
            values = groups * stored[start:stop, :, None]
            encoded[start * row_bytes : stop * row_bytes] = self._floats.encode(
                values.reshape(stop - start, cols)
            )
        return encoded

    def decode(self, data: np.ndarray, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """The weights, int8 [rows, cols], and the fewest scales that stand for them, float32.

        Raises:
            FormatError: the length does not fit the shape, or a value is not finite.
            RepresentationError: the shape is not a matrix.
            UnsupportedError: the values are not ternary.
        """
        check_length(self.name, data, self.n_bytes(shape))
        rows, cols = int(shape[0]), int(shape[1])
        group = GROUP_COLS[0] if cols % GROUP_COLS[0] == 0 else cols
        trits = np.empty((rows, cols), np.int8)
        scales = np.empty((rows, cols // group), np.float32)
        row_bytes = data.nbytes // rows
        for start, stop in _row_chunks(rows, cols):
            values = self._floats.decode(data[start * row_bytes : stop * row_bytes], (stop - start, cols))
            np.subtract(values > 0, values < 0, out=trits[start:stop], dtype=np.int8)
            scales[start:stop] = _magnitudes(values.reshape(stop - start, -1, group), start)
        return trits, simplest(scales, cols, lambda: trits)

    def scales(self, data: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """The scales that `decode` gives; there is no way to them but through all weights."""
        return self.decode(data, shape)[1]

    def codes(self, data: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """What the kernels are packed from: the trits, int8 [rows, cols], a new array."""
        return self.decode(data, shape)[0]

    def stored_scales(self, scales: np.ndarray | float) -> np.ndarray:
        """Scales rounded to the float type, float32 of the same shape.

        Raises:
            RepresentationError: a scale is not finite as the type stores it, or would become 0.
        """
        exact = as_scales(scales)
        stored = self._floats.decode(self._floats.encode(exact), exact.shape)
        if ((stored == 0) & (exact != 0)).any():
            lost = exact[(stored == 0) & (exact != 0)][0]
            raise RepresentationError(
                f"{self.name} cannot hold the scale {lost:.6g}",
                hint="`i2_s` and `iq2_bn` store scales as f32",
            )
        return stored


class TernaryF32(TernaryFloats):
    """Holds every scale exactly."""

    name = F32.name
    type_id = F32.type_id
    _floats = F32()


class TernaryF16(TernaryFloats):
    """Rounds scales to f16."""

    name = F16.name
    type_id = F16.type_id
    _floats = F16()


class TernaryBF16(TernaryFloats):
    """Rounds scales to bf16."""

    name = BF16.name
    type_id = BF16.type_id
    _floats = BF16()


def _magnitudes(groups: np.ndarray, first_row: int) -> np.ndarray:
    """The one magnitude beside 0 of each group of float32 [rows, n, group]: float32 [rows, n], 0 where all are 0."""
    sizes = np.abs(groups)
    high: np.ndarray = sizes.max(axis=2)
    if not np.isfinite(high).all():
        row = first_row + int(np.argwhere(~np.isfinite(high))[0, 0])
        raise FormatError(f"row {row} holds a value that is not a finite number", hint=DAMAGED)
    low = sizes.min(axis=2, initial=np.inf, where=sizes != 0)
    if (low < high).any():
        row, group = np.argwhere(low < high)[0]
        raise UnsupportedError(
            f"the weights are ordinary floats, not ternary: row {first_row + row} holds both "
            f"{low[row, group]:.6g} and {high[row, group]:.6g}",
            hint="`bitnet convert DIRECTORY` makes ternary weights from the original checkpoint",
        )
    return high


def _row_chunks(rows: int, cols: int) -> Iterator[tuple[int, int]]:
    """Ranges of rows, each about CHUNK_VALUES values."""
    step = max(1, CHUNK_VALUES // cols)
    for start in range(0, rows, step):
        yield start, min(start + step, rows)
