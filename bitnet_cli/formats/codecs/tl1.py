"""TL1: ternary matrices in pairs, 2 bits a weight, one float32 scale; the type of bitnet.cpp for ARM.

The unit is 16 rows of 4 columns in 16 bytes, a byte for each row; the tiling says in which order the units come. After
the codes come 32 bytes of which the first four are the scale; the others are written as zeros and never read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from bitnet_cli.formats.codecs.block_codec import check_length
from bitnet_cli.formats.codecs.ternary_codec import DAMAGED
from bitnet_cli.formats.codecs.tiled_codec import TiledCodec, pair_bytes, pair_trits
from bitnet_cli.formats.codecs.tiling import Tiling
from bitnet_cli.formats.gguf_types import TL_TAIL, GGMLType


class TL1(TiledCodec):
    """2 bits a weight; rows are multiples of 32, columns of 4 or 8."""

    name: ClassVar[str] = "tl1"
    type_id: ClassVar[GGMLType] = GGMLType.TL1

    def codes(self, data: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """The codes without the tail: uint8 [rows * cols / 4], a view of `data`."""
        check_length(self.name, data, self.n_bytes(shape))
        return data[:-TL_TAIL]

    def _encode_tiles(
        self, codes: np.ndarray, tiling: Tiling, tiles: slice, body: np.ndarray, rows: int
    ) -> None:
        outer, inner, row16, row, col_tile, step, four = _steps(tiling, codes.shape[1])
        packed = pair_bytes(codes).reshape(outer, inner, row16, row, col_tile, step, four)
        target = body.reshape(outer, col_tile, inner, step, row16, four, row)
        target[tiles] = packed.transpose(0, 4, 1, 5, 2, 6, 3)

    def _decode_tiles(
        self, body: np.ndarray, tiling: Tiling, tiles: slice, trits: np.ndarray, first_row: int, rows: int
    ) -> None:
        outer, inner, row16, row, col_tile, step, four = _steps(tiling, trits.shape[1])
        raw = body.reshape(outer, col_tile, inner, step, row16, four, row)[tiles]
        packed = raw.transpose(0, 2, 4, 6, 1, 3, 5).reshape(len(trits), -1)
        # A tiling only moves whole codes, so a code that does not exist is damage under any of them.
        trits[:] = pair_trits(packed, first_row, 0, DAMAGED)


def _steps(tiling: Tiling, cols: int) -> tuple[int, ...]:
    """Into how many parts rows and columns are divided, from the outside in.

    Rows are outer tiles (-1: as many as there are) of inner tiles of 16 times 16 rows; columns are tiles of steps of
    fours. A step is 64 bytes.
    """
    step_cols = 256 // tiling.rows_inner
    rows = (-1, tiling.rows_outer // tiling.rows_inner, tiling.rows_inner // 16, 16)
    return *rows, cols // tiling.cols, tiling.cols // step_cols, step_cols // 4
