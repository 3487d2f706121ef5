"""I2_S: ternary matrices at 2 bits a weight, one float32 scale for the whole tensor; the type of bitnet.cpp.

Codes 0, 1, 2 stand for -1, 0, +1. A block of 128 weights of a row is 32 bytes; byte j holds weights j, j+32,
j+64, j+96 from the top bits down. After the codes come 32 bytes of which the first four are the scale; the
others are written as zeros and never read. The file carries no mark of this layout; code 3, which nobody
writes, is the only sign of damage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from bitnet_cli.errors import FormatError, RepresentationError
from bitnet_cli.formats.codecs.block_codec import check_length, chunks
from bitnet_cli.formats.gguf_types import I2_S_COLS, I2_S_TAIL, GGMLType, tensor_bytes

BLOCK_BYTES = I2_S_COLS // 4


class I2S:
    """2 bits a weight; rows are multiples of 128 weights."""

    name: ClassVar[str] = "i2_s"
    type_id: ClassVar[GGMLType] = GGMLType.I2_S
    ternary: ClassVar[Literal[True]] = True

    def n_bytes(self, shape: Sequence[int]) -> int:
        """Bytes of a tensor with its tail; RepresentationError unless it is a matrix of whole blocks."""
        return tensor_bytes(self.type_id, shape)

    def encode(self, trits: np.ndarray, scale: float) -> np.ndarray:
        """The bytes of a tensor.

        Args:
            trits: int8 [rows, cols] of -1, 0, +1.
            scale: what +1 stands for; stored as float32.

        Returns:
            uint8 [rows * cols / 4 + 32].

        Raises:
            RepresentationError: cols is not a multiple of 128, a weight is not ternary, the scale is not
                finite.
        """
        encoded = np.zeros(self.n_bytes(trits.shape), np.uint8)
        if trits.dtype != np.int8:
            raise RepresentationError(f"ternary weights must be int8, not {trits.dtype}")
        with np.errstate(over="ignore"):
            stored = np.array([scale], "<f4")
        if not np.isfinite(stored[0]):
            raise RepresentationError(f"a scale must be finite as float32, not {scale}")
        blocks = np.ascontiguousarray(trits).reshape(-1, 4, BLOCK_BYTES)
        target = encoded[:-I2_S_TAIL].reshape(-1, BLOCK_BYTES)
        for chunk in chunks(len(blocks), I2_S_COLS):
            codes = (blocks[chunk] + np.int8(1)).view(np.uint8)
            if codes.max() > 2:
                raise RepresentationError("a weight is not -1, 0 or +1")
            target[chunk] = codes[:, 0] << 6 | codes[:, 1] << 4 | codes[:, 2] << 2 | codes[:, 3]
        encoded[-I2_S_TAIL : -I2_S_TAIL + 4] = stored.view(np.uint8)
        return encoded

    def decode(self, data: np.ndarray, shape: Sequence[int]) -> tuple[np.ndarray, float]:
        """The weights and the scale of a tensor.

        Args:
            data: uint8 [n_bytes(shape)], with the tail.
            shape: (rows, cols).

        Returns:
            int8 [rows, cols] of -1, 0, +1, and the scale.

        Raises:
            FormatError: the length does not fit the shape, a code is 3, or the scale is not finite.
            RepresentationError: the shape is not a matrix of whole blocks.
        """
        packed, scale = codes_and_scale(data, shape)
        blocks = packed.reshape(-1, BLOCK_BYTES)
        trits = np.empty((int(shape[0]), int(shape[1])), np.int8)
        target = trits.reshape(-1, 4, BLOCK_BYTES)
        for chunk in chunks(len(blocks), I2_S_COLS):
            raw = blocks[chunk]
            _refuse_code_3(raw, chunk.start, int(shape[1]))
            for field in range(4):
                np.subtract((raw >> (6 - 2 * field) & 3).view(np.int8), 1, out=target[chunk, field])
        return trits, scale


def codes_and_scale(data: np.ndarray, shape: Sequence[int]) -> tuple[np.ndarray, float]:
    """Splits a tensor without decoding it: what the kernels are packed from.

    Returns:
        uint8 [rows * cols / 4], a view of `data`, and the scale.

    Raises:
        FormatError: the length does not fit the shape, or the scale is not finite.
    """
    check_length(I2S.name, data, tensor_bytes(GGMLType.I2_S, shape))
    scale = float(stored_scale(data))
    if not np.isfinite(scale):
        raise FormatError(f"the scale must be a finite number, found {scale}")
    return data[:-I2_S_TAIL], scale


def stored_scale(data: np.ndarray) -> float:
    """The scale as it stands in the tail, be it finite or not."""
    return float(data[-I2_S_TAIL : -I2_S_TAIL + 4].view("<f4")[0])


def _refuse_code_3(raw: np.ndarray, first_block: int, cols: int) -> None:
    """Raises FormatError with the place of the first code 3 in uint8 [n, 32]."""
    both_bits = raw & raw >> 1 & 0x55
    if both_bits.any():
        block = first_block + int(np.argwhere(both_bits)[0][0])
        row, col = divmod(block * I2_S_COLS, cols)
        raise FormatError(
            f"row {row} holds the code 3, which stands for no weight, in the block of column {col}",
            hint="the file is damaged; download or convert it again",
        )
