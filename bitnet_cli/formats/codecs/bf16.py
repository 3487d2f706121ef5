"""BF16: the upper half of a binary32, little-endian; rounded half to even."""

from __future__ import annotations

import numpy as np

from bitnet_cli.errors import RepresentationError
from bitnet_cli.formats.codecs.block_codec import BlockCodec
from bitnet_cli.formats.gguf_types import GGMLType


class BF16(BlockCodec):
    """Two bytes a value; finite values that would round to infinity are refused."""

    name = "bf16"
    type_id = GGMLType.BF16
    block = 1
    block_bytes = 2

    def _encode_blocks(self, values: np.ndarray, out: np.ndarray) -> None:
        bits = values.view(np.uint32)
        magnitude = bits & 0x7FFFFFFF
        if ((magnitude >= 0x7F7F8000) & (magnitude < 0x7F800000)).any():
            raise RepresentationError("bf16 cannot hold values this large", hint="use `f32` for this tensor")
        # Half to even; the carry may run into the exponent, which is right. A NaN must not: it becomes a
        # quiet NaN.
        rounded = (bits + (0x7FFF + (bits >> 16 & 1))) >> 16
        upper = np.where(magnitude > 0x7F800000, bits >> 16 | 0x40, rounded)
        out[:] = upper.astype("<u2").view(np.uint8)

    def _decode_blocks(self, raw: np.ndarray, out: np.ndarray) -> None:
        np.left_shift(raw.view("<u2"), 16, out=out.view(np.uint32), dtype=np.uint32)
