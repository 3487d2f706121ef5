"""Q4_0: blocks of 32 values in 18 bytes: f16 scale d, then 16 bytes; a value is d * (q - 8), q in 0..15.

The low nibbles are values 0..15 of the block, the high nibbles values 16..31. d is the value of largest
magnitude / -8, so that this value gets the code 0, which reaches further than the code 15. The bytes are
those of ggml.
"""

from __future__ import annotations

import numpy as np

from bitnet_cli.formats.codecs.block_codec import BlockCodec, f16_scales
from bitnet_cli.formats.codecs.q8_0 import inverse
from bitnet_cli.formats.gguf_types import GGMLType


class Q4_0(BlockCodec):
    """4.5 bits a value."""

    name = "q4_0"
    type_id = GGMLType.Q4_0
    block = 32
    block_bytes = 18

    def _encode_blocks(self, values: np.ndarray, out: np.ndarray) -> None:
        at = np.abs(values).argmax(axis=1)
        d = np.take_along_axis(values, at[:, None], axis=1)[:, 0] / np.float32(-8)
        out[:, :2] = self._f16_scales(d)
        # Adding 8.5 and cutting off rounds half up; the largest magnitude on the other side may reach 16.
        codes = values * inverse(d)[:, None]
        codes += np.float32(8.5)
        nibbles = np.minimum(codes, np.float32(15)).astype(np.uint8)
        out[:, 2:] = nibbles[:, :16] | nibbles[:, 16:] << 4

    def _decode_blocks(self, raw: np.ndarray, out: np.ndarray) -> None:
        d = f16_scales(raw, 0)
        np.multiply(d, (raw[:, 2:] & 15).view(np.int8) - np.int8(8), out=out[:, :16], dtype=np.float32)
        np.multiply(d, (raw[:, 2:] >> 4).view(np.int8) - np.int8(8), out=out[:, 16:], dtype=np.float32)
