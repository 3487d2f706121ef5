"""Q8_0: blocks of 32 values in 34 bytes: f16 scale d, then 32 int8; a value is d * q.

d is the largest magnitude / 127; q is rounded half away from zero with the unrounded d, as in ggml, whose
bytes these are.
"""

from __future__ import annotations

import numpy as np

from bitnet_cli.formats.codecs.block_codec import BlockCodec, f16_scales
from bitnet_cli.formats.gguf_types import GGMLType


class Q8_0(BlockCodec):
    """8.5 bits a value."""

    name = "q8_0"
    type_id = GGMLType.Q8_0
    block = 32
    block_bytes = 34

    def _encode_blocks(self, values: np.ndarray, out: np.ndarray) -> None:
        d = np.abs(values).max(axis=1) / np.float32(127)
        out[:, :2] = self._f16_scales(d)
        scaled = values * inverse(d)[:, None]
        size = np.abs(scaled)
        whole = np.floor(size)
        whole += size - whole >= 0.5
        out[:, 2:] = np.copysign(whole, scaled).astype(np.int8).view(np.uint8)

    def _decode_blocks(self, raw: np.ndarray, out: np.ndarray) -> None:
        np.multiply(f16_scales(raw, 0), raw[:, 2:].view(np.int8), out=out, dtype=np.float32)


def inverse(d: np.ndarray) -> np.ndarray:
    """1 / d as float32, but 0 where that is not finite: a d so small is zero as f16 anyway."""
    reciprocal = np.float32(1) / d
    reciprocal[~np.isfinite(reciprocal)] = 0
    return reciprocal
