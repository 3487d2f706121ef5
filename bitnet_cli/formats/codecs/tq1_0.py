"""TQ1_0: blocks of 256 ternary weights in 54 bytes, 1.6875 bits a weight; a type of ggml.

A block is 32 and then 16 bytes of five trits, 4 bytes of four trits, and an f16 scale. The trits of a byte are not
neighbours: byte m of the 32 holds the weights m, 32 + m, 64 + m, 96 + m, 128 + m. The bytes are those that ggml
writes for weights that are ternary already.
"""

from __future__ import annotations

import numpy as np

from bitnet_cli.formats.codecs.base3 import BYTE_OF_NUMBER, DIGITS, four_digits
from bitnet_cli.formats.codecs.scaled_blocks import ScaledBlocks
from bitnet_cli.formats.gguf_types import GGMLType

# (first weight, trits of a byte, bytes) of the three parts of a block.
_PARTS = ((0, 5, 32), (160, 5, 16), (240, 4, 4))
_FIVE, _FOUR = (np.ascontiguousarray(digits.T) for digits in (DIGITS, four_digits(0)))


class TQ1_0(ScaledBlocks):
    """Rows are multiples of 256 weights."""

    name = "tq1_0"
    type_id = GGMLType.TQ1_0
    block = 256
    scale_last = True
    damage = "a byte that is no five trits"

    def _pack(self, codes: np.ndarray) -> np.ndarray:
        parts = []
        for first, n_trits, n_bytes in _PARTS:
            digits = codes[:, 0, first : first + n_trits * n_bytes].reshape(-1, n_trits, n_bytes)
            number = np.zeros((len(codes), n_bytes), np.uint8)
            for place in range(n_trits):
                number += digits[:, place] * np.uint8(3 ** (4 - place))
            parts.append(BYTE_OF_NUMBER[number])
        return np.concatenate(parts, axis=1)

    def _unpack(self, body: np.ndarray) -> np.ndarray:
        codes = np.empty((len(body), 1, self.block), np.uint8)
        at = 0
        for first, n_trits, n_bytes in _PARTS:
            part = codes[:, 0, first : first + n_trits * n_bytes].reshape(-1, n_trits, n_bytes)
            for place, digit in enumerate(_FIVE if n_trits == 5 else _FOUR):
                part[:, place] = digit[body[:, at : at + n_bytes]]
            at += n_bytes
        return codes
