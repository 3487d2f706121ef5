"""IQ2_BN and IQ2_BN_R4: ternary rows at 2 bits a weight with one float32 scale each; types of ik_llama.cpp.

A row of IQ2_BN is its scale and then blocks of 64 weights in 16 bytes: byte m holds the weights m, 16 + m, 32 + m, 48 + m
from the low bits up. IQ2_BN_R4 stores four rows together, for kernels that read them so: four scales, then for every 64
columns 64 bytes, of which byte 16 l + 4 row + i holds the columns 16 l + i, + 4, + 8, + 12 of that row.

Files of 2024 have rows without a scale under the same number; the scale of the tensor is in another one, `*.scale`.
"""

from __future__ import annotations

import numpy as np

from bitnet_cli.formats.codecs.row_scaled import RowScaled
from bitnet_cli.formats.codecs.scaled_blocks import ScaledBlocks
from bitnet_cli.formats.codecs.tq2_0 import four_fields
from bitnet_cli.formats.gguf_types import GGMLType


class IQ2_BN(RowScaled):
    """Rows are multiples of 64 weights."""

    name = "iq2_bn"
    type_id = GGMLType.IQ2_BN
    block = 64
    scale_type = "<f4"

    def _pack(self, codes: np.ndarray) -> np.ndarray:
        fields = codes.reshape(len(codes), -1, 4, 16)
        return four_fields(*(fields[:, :, n] for n in range(4))).reshape(len(codes), -1)

    def _unpack(self, body: np.ndarray) -> np.ndarray:
        blocks = body.reshape(len(body), -1, 16)
        codes = np.empty((*blocks.shape[:2], 4, 16), np.uint8)
        for n in range(4):
            np.bitwise_and(blocks >> 2 * n, 3, out=codes[:, :, n])
        return codes.reshape(len(body), 1, -1)


class IQ2_BN_R4(ScaledBlocks):
    """Rows are multiples of 64 weights, and their number is a multiple of 4."""

    name = "iq2_bn_r4"
    type_id = GGMLType.IQ2_BN_R4
    block = 64
    by_row = True
    lines = 4
    scale_type = "<f4"

    def _pack(self, codes: np.ndarray) -> np.ndarray:
        # [record, row, block, l, field, i] to [record, block, l, row, i] of four fields.
        fields = codes.reshape(len(codes), 4, -1, 4, 4, 4).transpose(0, 2, 3, 1, 5, 4)
        return four_fields(*(fields[..., n] for n in range(4))).reshape(len(codes), -1)

    def _unpack(self, body: np.ndarray) -> np.ndarray:
        blocks = body.reshape(len(body), -1, 4, 4, 4).transpose(0, 3, 1, 2, 4)
        codes = np.empty((*blocks.shape[:4], 4, 4), np.uint8)
        for n in range(4):
            np.bitwise_and(blocks >> 2 * n, 3, out=codes[:, :, :, :, n])
        return codes.reshape(len(body), 4, -1)
