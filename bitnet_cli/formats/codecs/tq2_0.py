"""TQ2_0: blocks of 256 ternary weights in 66 bytes, 2.0625 bits a weight; a type of ggml.

A block is twice 32 bytes and an f16 scale. Byte m of the first 32 holds the weights m, 32 + m, 64 + m, 96 + m from the
low bits up, those of the second 32 the weights from 128 on. The bytes are those that ggml writes for weights that are
ternary already.
"""

from __future__ import annotations

import numpy as np

from bitnet_cli.formats.codecs.scaled_blocks import ScaledBlocks
from bitnet_cli.formats.gguf_types import GGMLType


class TQ2_0(ScaledBlocks):
    """Rows are multiples of 256 weights."""

    name = "tq2_0"
    type_id = GGMLType.TQ2_0
    block = 256
    scale_last = True

    def _pack(self, codes: np.ndarray) -> np.ndarray:
        fields = codes.reshape(-1, 2, 4, 32)
        return four_fields(*(fields[:, :, n] for n in range(4))).reshape(-1, 64)

    def _unpack(self, body: np.ndarray) -> np.ndarray:
        codes = np.empty((len(body), 2, 4, 32), np.uint8)
        for n in range(4):
            np.bitwise_and(body.reshape(-1, 2, 32) >> 2 * n, 3, out=codes[:, :, n])
        return codes.reshape(-1, 1, self.block)


def four_fields(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Bytes of four codes, `a` in the low bits."""
    packed: np.ndarray = a | b << 2 | c << 4 | d << 6
    return packed
