"""F32: IEEE binary32, little-endian; kept bit for bit."""

from __future__ import annotations

import numpy as np

from bitnet_cli.formats.codecs.block_codec import BlockCodec
from bitnet_cli.formats.gguf_types import GGMLType


class F32(BlockCodec):
    """Four bytes a value."""

    name = "f32"
    type_id = GGMLType.F32
    block = 1
    block_bytes = 4

    def _encode_blocks(self, values: np.ndarray, out: np.ndarray) -> None:
        out[:] = values.astype("<f4", copy=False).view(np.uint8)

    def _decode_blocks(self, raw: np.ndarray, out: np.ndarray) -> None:
        out[:] = raw.view("<f4")
