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
from bitnet_cli.formats.scales import finest_group, simplest


class TernaryFloats:
    """A ternary matrix in a float type; a TernaryCodec for rows of any length."""

    name: ClassVar[str]
    type_id: ClassVar[GGMLType]
    ternary: ClassVar[Literal[True]] = True
    _floats: ClassVar[BlockCodec]
    _bits: ClassVar[np.dtype]
    _infinity: ClassVar[int]
    """The bits of infinity; those of no number are larger."""

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
        group = finest_group(cols)
        bits = data.view(self._bits).reshape(rows, cols)
        trits = np.empty((rows, cols), np.int8)
        high = np.empty((rows, cols // group), self._bits)
        for start, stop in _row_chunks(rows, cols):
            high[start:stop] = self._take_apart(bits[start:stop], trits[start:stop], group, start)
        scales = self._floats.decode(high.view(np.uint8).reshape(-1), high.shape)
        return trits, simplest(scales, cols, lambda: trits)

    def _take_apart(self, bits: np.ndarray, trits: np.ndarray, group: int, first_row: int) -> np.ndarray:
        """Writes the signs of rows of floats, given as their bits, and returns the one magnitude beside 0 of each group.

        Bits without the sign are ordered as magnitudes are, and integers compare several times as fast as floats.

        Args:
            bits: unsigned [rows, cols].
            trits: int8 [rows, cols], written.
            group: columns that share a magnitude.
            first_row: the number of the first row, for errors.

        Returns:
            Bits [rows, cols // group], 0 where all are 0.
        """
        sign = self._bits.type(1 << (8 * self._bits.itemsize - 1))
        sizes = bits & ~sign
        live = sizes != 0
        np.subtract(live.view(np.int8), ((bits >= sign) & live).view(np.int8) * np.int8(2), out=trits)
        groups = sizes.reshape(len(bits), -1, group)
        high: np.ndarray = groups.max(axis=2)
        if (high >= self._infinity).any():
            row = first_row + int(np.argwhere(high >= self._infinity)[0, 0])
            raise FormatError(f"row {row} holds a value that is not a finite number", hint=DAMAGED)
        other = (groups != high[:, :, None]) & live.reshape(groups.shape)
        if other.any():
            row, at, col = np.argwhere(other)[0]
            found = np.array([groups[row, at, col], high[row, at]])
            low, most = self._floats.decode(found.view(np.uint8), (2,))
            raise UnsupportedError(
                f"the weights are ordinary floats, not ternary: row {first_row + row} holds both "
                f"{low:.6g} and {most:.6g}",
                hint="`bitnet convert DIRECTORY` makes ternary weights from the original checkpoint",
            )
        return high

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
    _bits = np.dtype("<u4")
    _infinity = 0x7F800000


class TernaryF16(TernaryFloats):
    """Rounds scales to f16."""

    name = F16.name
    type_id = F16.type_id
    _floats = F16()
    _bits = np.dtype("<u2")
    _infinity = 0x7C00


class TernaryBF16(TernaryFloats):
    """Rounds scales to bf16."""

    name = BF16.name
    type_id = BF16.type_id
    _floats = BF16()
    _bits = np.dtype("<u2")
    _infinity = 0x7F80


def _row_chunks(rows: int, cols: int) -> Iterator[tuple[int, int]]:
    """Ranges of rows, each about CHUNK_VALUES values."""
    step = max(1, CHUNK_VALUES // cols)
    for start in range(0, rows, step):
        yield start, min(start + step, rows)
