"""IQ4_NL: blocks of 32 values in 18 bytes: f16 scale d, then 16 bytes; a value is d times one of 16 numbers. Only read.

The low nibbles are values 0..15 of the block, the high nibbles values 16..31. ik_llama.cpp stores embeddings so when it
makes IQ1_BN and IQ2_BN files.
"""

from __future__ import annotations

import numpy as np

from bitnet_cli.formats.codecs.block_codec import ReadOnlyCodec, f16_scales
from bitnet_cli.formats.gguf_types import GGMLType

_NUMBERS = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float32)


class IQ4_NL(ReadOnlyCodec):
    """4.5 bits a value."""

    name = "iq4_nl"
    type_id = GGMLType.IQ4_NL
    block = 32
    block_bytes = 18

    def _decode_blocks(self, raw: np.ndarray, out: np.ndarray) -> None:
        d = f16_scales(raw, 0)
        np.multiply(d, _NUMBERS[raw[:, 2:] & 15], out=out[:, :16])
        np.multiply(d, _NUMBERS[raw[:, 2:] >> 4], out=out[:, 16:])
