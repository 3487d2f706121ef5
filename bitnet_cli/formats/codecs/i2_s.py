"""I2_S: ternary matrices at 2 bits a weight, one float32 scale for the whole tensor; the type of bitnet.cpp.

Codes 0, 1, 2 stand for -1, 0, +1. A block of 128 weights of a row is 32 bytes; byte j holds weights j, j+32,
j+64, j+96 from the top bits down. After the codes come 32 bytes of which the first four are the scale; the
others are written as zeros and never read. Code 3, which nobody writes, is the only sign of damage.

Some builds of bitnet.cpp on ARM write blocks of 64 weights in 16 bytes instead, byte j with weights j, j+16,
j+32, j+48: `I2SArm`. No file carries a mark of its layout, so that one is read only if somebody asks for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from bitnet_cli.formats.codecs.block_codec import check_length, chunks
from bitnet_cli.formats.codecs.ternary_codec import (
    as_scales,
    check_trits,
    codes_of,
    no_weight,
    refuse_infinite,
    regrouped,
)
from bitnet_cli.formats.gguf_types import I2_S_TAIL, GGMLType, tensor_bytes


class I2S:
    """2 bits a weight; rows are multiples of 128 weights. A TernaryCodec."""

    name: ClassVar[str] = "i2_s"
    type_id: ClassVar[GGMLType] = GGMLType.I2_S
    ternary: ClassVar[Literal[True]] = True
    block_bytes: ClassVar[int] = 32

    def n_bytes(self, shape: Sequence[int]) -> int:
        """Bytes of a tensor with its tail; RepresentationError unless it is a matrix of whole blocks."""
        return tensor_bytes(self.type_id, shape)

    def encode(self, trits: np.ndarray, scales: np.ndarray | float) -> np.ndarray:
        """The bytes of a tensor, uint8 [rows * cols / 4 + 32].

        Args:
            trits: int8 [rows, cols] of -1, 0, +1.
            scales: what +1 stands for: a number or equal numbers.

        Raises:
            RepresentationError: cols is not a multiple of 128, a weight is not ternary, the scale is not finite, or
                there are several.
        """
        encoded = np.zeros(self.n_bytes(trits.shape), np.uint8)
        check_trits(trits)
        scale = regrouped(self.stored_scales(scales), trits, 0, self.name)
        blocks = np.ascontiguousarray(trits).reshape(-1, 4, self.block_bytes)
        target = encoded[:-I2_S_TAIL].reshape(-1, self.block_bytes)
        for chunk in chunks(len(blocks), 4 * self.block_bytes):
            codes = codes_of(blocks[chunk])
            target[chunk] = codes[:, 0] << 6 | codes[:, 1] << 4 | codes[:, 2] << 2 | codes[:, 3]
        encoded[-I2_S_TAIL : -I2_S_TAIL + 4] = scale.astype("<f4").view(np.uint8)
        return encoded

    def decode(self, data: np.ndarray, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """The weights, int8 [rows, cols] of -1, 0, +1, and the scale, float32 [1, 1], of a tensor.

        Args:
            data: uint8 [n_bytes(shape)], with the tail.
            shape: (rows, cols).

        Raises:
            FormatError: the length does not fit the shape, a code is 3, or the scale is not finite.
            RepresentationError: the shape is not a matrix of whole blocks.
        """
        scales = self.scales(data, shape)
        blocks = self.codes(data, shape).reshape(-1, self.block_bytes)
        trits = np.empty((int(shape[0]), int(shape[1])), np.int8)
        target = trits.reshape(-1, 4, self.block_bytes)
        for chunk in chunks(len(blocks), 4 * self.block_bytes):
            raw = blocks[chunk]
            self._refuse_code_3(raw, chunk.start, int(shape[1]))
            for field in range(4):
                np.subtract((raw >> (6 - 2 * field) & 3).view(np.int8), 1, out=target[chunk, field])
        return trits, scales

    def scales(self, data: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """The scale, float32 [1, 1]. Raises FormatError if it is no number or the length does not fit."""
        check_length(self.name, data, self.n_bytes(shape))
        scales = np.full((1, 1), stored_scale(data), np.float32)
        refuse_infinite(scales)
        return scales

    def codes(self, data: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """The codes without the tail: uint8 [rows * cols / 4], a view of `data`."""
        check_length(self.name, data, self.n_bytes(shape))
        return data[:-I2_S_TAIL]

    def stored_scales(self, scales: np.ndarray | float) -> np.ndarray:
        """The same scales as float32. Raises RepresentationError if one is no number."""
        return as_scales(scales)

    def _refuse_code_3(self, raw: np.ndarray, first_block: int, cols: int) -> None:
        """Raises FormatError with the place of the first code 3 in uint8 [n, block_bytes]."""
        both_bits = raw & raw >> 1 & 0x55
        if both_bits.any():
            block, byte = np.argwhere(both_bits)[0]
            field = 3 - (int(both_bits[block, byte]).bit_length() - 1) // 2
            at = (first_block + int(block)) * 4 * self.block_bytes + field * self.block_bytes + int(byte)
            raise no_weight("the code 3", *divmod(at, cols))


class I2SArm(I2S):
    """The layout of some builds on ARM; the same type number, size and tail."""

    name: ClassVar[str] = "i2_s_arm"
    block_bytes: ClassVar[int] = 16


def stored_scale(data: np.ndarray) -> float:
    """The scale as it stands in the tail, be it finite or not."""
    return float(data[-I2_S_TAIL : -I2_S_TAIL + 4].view("<f4")[0])
