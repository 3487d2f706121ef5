"""Q2_0: blocks of 64 weights in 18 bytes, 2.25 bits a weight: f16 scale, then 16 bytes; a type of ggml.

Byte m of a block holds the weights 4m, 4m + 1, 4m + 2, 4m + 3 from the low bits up. The type has a fourth value, the
code 3 for twice the scale: a tensor that uses it is not ternary, and is refused like damage.
"""

from __future__ import annotations

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
        fields = codes.reshape(-1, 16, 4)
        return four_fields(*(fields[:, :, n] for n in range(4)))

    def _unpack(self, body: np.ndarray) -> np.ndarray:
        codes = np.empty((len(body), 16, 4), np.uint8)
        for n in range(4):
            np.bitwise_and(body >> 2 * n, 3, out=codes[:, :, n])
        return codes.reshape(-1, 1, self.block)
