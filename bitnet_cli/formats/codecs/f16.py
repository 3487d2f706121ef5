"""F16: IEEE binary16, little-endian; rounded half to even, subnormals kept."""

from __future__ import annotations

import numpy as np

from bitnet_cli.errors import RepresentationError
from bitnet_cli.formats.codecs.block_codec import BlockCodec
from bitnet_cli.formats.gguf_types import GGMLType


class F16(BlockCodec):
    """Two bytes a value; finite values from 65,520 on are refused."""

    name = "f16"
    type_id = GGMLType.F16
    block = 1
    block_bytes = 2

    def _encode_blocks(self, values: np.ndarray, out: np.ndarray) -> None:
        half = values.astype("<f2")
        overflow = np.isinf(half) & np.isfinite(values)
        if overflow.any():
            raise RepresentationError(
                f"f16 cannot hold {float(values[overflow][0]):.6g}",
                hint="use `bf16` or `f32` for this tensor",
            )
        out[:] = half.view(np.uint8)

    def _decode_blocks(self, raw: np.ndarray, out: np.ndarray) -> None:
        out[:] = raw.view("<f2")
