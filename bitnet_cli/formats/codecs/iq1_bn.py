"""IQ1_BN: ternary rows at 1.625 bits a weight with one f16 scale each; a type of ik_llama.cpp.

A row is its scale and then blocks of 64 weights in 13 bytes. Each 16 weights take three of the first 12 bytes, five
neighbours in a byte, the first of them the last digit; their 16th is a digit of byte 12, which has four.

Files of 2024 have rows without a scale under the same number; the scale of the tensor is in another one, `*.scale`.
"""

from __future__ import annotations

import numpy as np

from bitnet_cli.formats.codecs.base3 import BYTE_OF_NUMBER, DIGITS, four_digits
from bitnet_cli.formats.codecs.row_scaled import RowScaled
from bitnet_cli.formats.gguf_types import GGMLType

_FIVE, _FOUR = (np.ascontiguousarray(digits.T[::-1]) for digits in (DIGITS, four_digits(1)))
_POWERS = np.array([1, 3, 9, 27], np.uint8)


class IQ1_BN(RowScaled):
    """Rows are multiples of 64 weights."""

    name = "iq1_bn"
    type_id = GGMLType.IQ1_BN
    block = 64
    damage = "a byte that is no five trits"

    def _pack(self, codes: np.ndarray) -> np.ndarray:
        groups = codes.reshape(-1, 4, 16)
        packed = np.empty((len(groups), 13), np.uint8)
        fives = groups[:, :, 4:15:5].copy()
        for place in (3, 2, 1, 0):
            fives = fives * np.uint8(3) + groups[:, :, place:15:5]
        packed[:, :12] = BYTE_OF_NUMBER[fives].reshape(-1, 12)
        packed[:, 12] = BYTE_OF_NUMBER[(groups[:, :, 15] * _POWERS).sum(axis=1, dtype=np.uint8)]
        return packed.reshape(len(codes), -1)

    def _unpack(self, body: np.ndarray) -> np.ndarray:
        blocks = body.reshape(-1, 13)
        codes = np.empty((len(blocks), 4, 16), np.uint8)
        first, last = blocks[:, :12].reshape(-1, 4, 3), blocks[:, 12]
        for place in range(5):
            codes[:, :, place:15:5] = _FIVE[place][first]
        for group in range(4):
            codes[:, group, 15] = _FOUR[group][last]
        return codes.reshape(len(body), 1, -1)
