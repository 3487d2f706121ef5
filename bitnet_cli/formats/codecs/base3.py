"""Five trits in a byte, for TQ1_0 and IQ1_BN: a number of five digits of base 3 as a fraction of 256.

byte = ceil(256 * v / 243) for v = 0..242. Then trit after trit falls out by multiplying with 3: the digit is what
passes 256. 13 of the 256 bytes are no such number; nobody writes them.
"""

from __future__ import annotations

import numpy as np

NO_TRIT = 3
"""Stands in for the trits of a byte that is no number of five digits."""

BYTE_OF_NUMBER = ((256 * np.arange(243) + 242) // 243).astype(np.uint8)
"""uint8 [243]."""


def _digits() -> np.ndarray:
    digits = np.full((256, 5), NO_TRIT, np.uint8)
    numbers = np.arange(243)
    for place in range(5):
        digits[BYTE_OF_NUMBER, place] = numbers // 3 ** (4 - place) % 3
    return digits


DIGITS = _digits()
"""The digits of each byte, most significant first: uint8 [256, 5], all 3 where a byte is no number."""


def four_digits(first: int) -> np.ndarray:
    """The four digits from `first` on of each byte, for bytes whose fifth digit must be 0: uint8 [256, 4]."""
    unused = DIGITS[:, 4 if first == 0 else 0]
    return np.where(unused[:, None] == 0, DIGITS[:, first : first + 4], np.uint8(NO_TRIT))
