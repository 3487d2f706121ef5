"""Q2_0: blocks of 64 weights in 18 bytes, 2.25 bits a weight: f16 scale, then 16 bytes; a type of ggml. PQ2_0: the same with
blocks of 128 weights in 34 bytes, 2.125 bits, of the authors of Ternary-Bonsai.

Byte m of a block holds the weights 4m, 4m + 1, 4m + 2, 4m + 3 from the low bits up. The types have a fourth value, the
code 3 for twice the scale: a tensor that uses it is not ternary, and is refused like damage.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bitnet_cli.formats.codecs.scaled_blocks import ScaledBlocks
from bitnet_cli.formats.codecs.tq2_0 import four_fields
from bitnet_cli.formats.gguf_types import GGMLType


class Q2_0(ScaledBlocks):
    """Rows are multiples of 64 weights."""

    name = "q2_0"
    type_id = GGMLType.Q2_0
    block = 64
    damage = "the code 3 (+2, as tensors hold that are not ternary)"

    def _pack(self, codes: np.ndarray) -> np.ndarray:
        fields = codes.reshape(len(codes), -1, 4)
        return four_fields(*(fields[:, :, n] for n in range(4)))

    def _unpack(self, body: np.ndarray) -> np.ndarray:
        codes = np.empty((*body.shape, 4), np.uint8)
        for n in range(4):
            np.bitwise_and(body >> 2 * n, 3, out=codes[:, :, n])
        return codes.reshape(-1, 1, self.block)


class PQ2_0(Q2_0):
    """Rows are multiples of 128 weights."""

    name = "pq2_0"
    type_id = GGMLType.PQ2_0
    block = 128

    def codes(self, data: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """The tensor as Q2_0 has it, which the kernels are packed from: a copy in which two blocks share a scale."""
        blocks = super().codes(data, shape).reshape(-1, 34)
        halves = np.empty((len(blocks), 2, 18), np.uint8)
        halves[:, :, :2] = blocks[:, None, :2]
        halves[:, :, 2:] = blocks[:, 2:].reshape(-1, 2, 16)
        return halves.reshape(-1)
