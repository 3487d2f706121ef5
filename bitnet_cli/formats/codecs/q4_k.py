"""Q4_K: blocks of 256 values in 144 bytes: f16 d, f16 dmin, 12 bytes of sub-scales, 128 bytes of nibbles. Only read.

Each 32 values share a scale sc and a minimum m, both of 6 bits; a value is (d * sc) * q - (dmin * m), q in 0..15. Byte j
of each 32 holds value j of one sub-block in the low nibble, of the next one in the high nibble. llama.cpp stores
embeddings so when it makes TQ1_0 and TQ2_0 files.
"""

from __future__ import annotations

import numpy as np

from bitnet_cli.formats.codecs.block_codec import ReadOnlyCodec, f16_scales
from bitnet_cli.formats.gguf_types import GGMLType

_SUBS = 8


class Q4_K(ReadOnlyCodec):
    """4.5 bits a value; rows are multiples of 256 values."""

    name = "q4_k"
    type_id = GGMLType.Q4_K
    block = 256
    block_bytes = 144

    def _decode_blocks(self, raw: np.ndarray, out: np.ndarray) -> None:
        n = len(raw)
        low, middle, high = raw[:, 4:8], raw[:, 8:12], raw[:, 12:16]
        # Sub-blocks 4 to 7 keep their two top bits above the six of sub-blocks 0 to 3.
        factors = np.concatenate([low & 63, high & 15 | low >> 6 << 4], axis=1)
        minima = np.concatenate([middle & 63, high >> 4 | middle >> 6 << 4], axis=1)
        nibbles = raw[:, 16:].reshape(n, _SUBS // 2, 1, 32)
        codes = np.concatenate([nibbles & 15, nibbles >> 4], axis=2).reshape(n, _SUBS, 32)
        target = out.reshape(n, _SUBS, 32)
        np.multiply((f16_scales(raw, 0) * factors)[:, :, None], codes, out=target)
        target -= (f16_scales(raw, 2) * minima)[:, :, None]
