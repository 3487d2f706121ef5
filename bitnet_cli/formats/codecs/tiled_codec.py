"""What TL1 and TL2 share: a tiling, one float32 scale in the tail, and weights that are stored in pairs.

A pair (a, b) of neighbouring columns has the code 3a + b + 4, from 0 to 8, and a byte holds the codes of four columns
of a row, the first pair in the high nibble.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from bitnet_cli.errors import FormatError, RepresentationError
from bitnet_cli.formats.codecs.block_codec import check_length, chunks
from bitnet_cli.formats.codecs.i2_s import stored_scale
from bitnet_cli.formats.codecs.ternary_codec import (
    as_scales,
    check_trits,
    codes_of,
    refuse_infinite,
    regrouped,
)
from bitnet_cli.formats.codecs.tiling import Tiling, tiling_to_write
from bitnet_cli.formats.gguf_types import TL_TAIL, GGMLType, tensor_bytes


class TiledCodec(ABC):
    """Base of TL1 and TL2, which are TernaryCodecs.

    Args:
        tiling: of all tensors that the codec meets; None for the one that `tiling_to_write` gives for each shape.
    """

    name: ClassVar[str]
    type_id: ClassVar[GGMLType]
    ternary: ClassVar[Literal[True]] = True

    def __init__(self, tiling: Tiling | None = None) -> None:
        self.tiling = tiling

    def tiling_for(self, shape: Sequence[int]) -> Tiling:
        """The tiling of a tensor of this shape. Raises RepresentationError if there is none."""
        tensor_bytes(self.type_id, shape)  # Refuses shapes that no tiling fits.
        if self.tiling is None:
            return tiling_to_write(self.type_id, shape)
        obstacle = self.tiling.obstacle(self.type_id, (int(shape[0]), int(shape[1])))
        if obstacle:
            raise RepresentationError(f"{self.type_id.name} with the tiling {self.tiling}: {obstacle}")
        return self.tiling

    def n_bytes(self, shape: Sequence[int]) -> int:
        """Bytes of a tensor with its tail; RepresentationError unless it is a matrix that its tiling fits."""
        self.tiling_for(shape)
        return tensor_bytes(self.type_id, shape)

    def encode(self, trits: np.ndarray, scales: np.ndarray | float) -> np.ndarray:
        """The bytes of a tensor, uint8 [n_bytes(trits.shape)].

        Args:
            trits: int8 [rows, cols] of -1, 0, +1.
            scales: what +1 stands for: a number or equal numbers.

        Raises:
            RepresentationError: the tiling does not fit, a weight is not ternary, the scale is not finite, or there
                are several.
        """
        encoded = np.zeros(self.n_bytes(trits.shape), np.uint8)
        check_trits(trits)
        scale = regrouped(self.stored_scales(scales), trits, 0, self.name)
        tiling, body = self.tiling_for(trits.shape), self.codes(encoded, trits.shape)
        for chunk in chunks(len(trits) // tiling.rows_outer, tiling.rows_outer * trits.shape[1]):
            rows = slice(chunk.start * tiling.rows_outer, chunk.stop * tiling.rows_outer)
            self._encode_tiles(codes_of(trits[rows]), tiling, chunk, body, len(trits))
        encoded[-TL_TAIL : -TL_TAIL + 4] = scale.astype("<f4").view(np.uint8)
        return encoded

    def decode(self, data: np.ndarray, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """The weights, int8 [rows, cols] of -1, 0, +1, and the scale, float32 [1, 1], of a tensor.

        Args:
            data: uint8 [n_bytes(shape)], with the tail.
            shape: (rows, cols).

        Raises:
            FormatError: the length does not fit the shape, a code stands for no weights, padding is not zero, or the
                scale is not finite.
            RepresentationError: the tiling does not fit the shape.
        """
        scales = self.scales(data, shape)
        codes = self.codes(data, shape)
        tiling = self.tiling_for(shape)
        rows, cols = int(shape[0]), int(shape[1])
        trits = np.empty((rows, cols), np.int8)
        for chunk in chunks(rows // tiling.rows_outer, tiling.rows_outer * cols):
            start = chunk.start * tiling.rows_outer
            self._decode_tiles(
                codes, tiling, chunk, trits[start : chunk.stop * tiling.rows_outer], start, rows
            )
        return trits, scales

    def scales(self, data: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """The scale, float32 [1, 1]. Raises FormatError if it is no number or the length does not fit."""
        check_length(self.name, data, self.n_bytes(shape))
        scales = np.full((1, 1), stored_scale(data), np.float32)
        refuse_infinite(scales)
        return scales

    def stored_scales(self, scales: np.ndarray | float) -> np.ndarray:
        """The same scales as float32. Raises RepresentationError if one is no number."""
        return as_scales(scales)

    @abstractmethod
    def codes(self, data: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """The codes without padding and tail: uint8, a view of `data`."""

    @abstractmethod
    def _encode_tiles(
        self, codes: np.ndarray, tiling: Tiling, tiles: slice, body: np.ndarray, rows: int
    ) -> None:
        """Puts some outer tiles to their places.

        Args:
            codes: 0, 1, 2 of these tiles, uint8 [n, cols].
            tiles: which they are.
            body: what `codes` gives for the tensor, to be written.
            rows: of the whole tensor.
        """

    @abstractmethod
    def _decode_tiles(
        self, body: np.ndarray, tiling: Tiling, tiles: slice, trits: np.ndarray, first_row: int, rows: int
    ) -> None:
        """The way back: fills trits, int8 [n, cols], whose first row is `first_row` of the tensor."""


def pair_bytes(codes: np.ndarray) -> np.ndarray:
    """Codes 0, 1, 2 as bytes of two pairs: uint8 [n, cols] -> uint8 [n, cols / 4]."""
    four = codes.reshape(len(codes), -1, 4)
    packed: np.ndarray = (3 * four[..., 0] + four[..., 1]) << 4 | (3 * four[..., 2] + four[..., 3])
    return packed


def pair_trits(packed: np.ndarray, first_row: int, first_col: int, hint: str) -> np.ndarray:
    """Bytes of two pairs as trits: uint8 [n, m] -> int8 [n, 4 * m].

    Args:
        packed: the bytes.
        first_row, first_col: of the matrix, where these bytes begin, for the message.
        hint: what may be the cause of a code that does not exist.

    Raises:
        FormatError: a nibble is above 8.
    """
    bad = _NO_PAIRS[packed]
    if bad.any():
        row, at = (int(i) for i in np.argwhere(bad)[0])
        second = packed[row, at] >> 4 <= 8
        code = packed[row, at] & 15 if second else packed[row, at] >> 4
        raise no_weights(int(code), first_row + row, first_col + 4 * at + 2 * second, hint)
    trits: np.ndarray = _PAIRS[packed].reshape(len(packed), -1)
    return trits


def no_weights(code: int, row: int, col: int, hint: str) -> FormatError:
    """The error for a code that stands for no weights, at their first one's place."""
    return FormatError(
        f"row {row}, column {col} holds the code {code}, which stands for no weights", hint=hint
    )


def _pair_table() -> np.ndarray:
    """The four trits of each byte: int8 [256, 4]; zeros in bytes that do not occur."""
    table = np.zeros((16, 16, 4), np.int8)
    code = np.arange(9)
    table[:9, :9, 0] = (code // 3 - 1)[:, None]
    table[:9, :9, 1] = (code % 3 - 1)[:, None]
    table[:9, :9, 2] = code // 3 - 1
    table[:9, :9, 3] = code % 3 - 1
    return table.reshape(256, 4)


_PAIRS = _pair_table()
_BYTES = np.arange(256)
_NO_PAIRS: np.ndarray = (_BYTES >> 4 > 8) | (_BYTES & 15 > 8)
