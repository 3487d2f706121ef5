"""TL2: ternary matrices in threes, 5 bits for 3 weights, one float32 scale; the type of bitnet.cpp for x86.

Three neighbouring columns (a, b, c) are v = 9a + 3b + c, stored as the index |v| in a nibble and a sign bit elsewhere.
What whole tiles of columns leave over, a multiple of 32 up to 256, is stored in pairs as in TL1. A tensor has all
indices, then all signs, then all pairs, then zeros up to a size that is reckoned as if 256 columns were left over, then
32 bytes of which the first four are the scale; the others are written as zeros and never read.

Rows come 32 at a time, and of these first 0-7, then 16-23, 8-15 and 24-31, except for the signs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from bitnet_cli.errors import FormatError
from bitnet_cli.formats.codecs.block_codec import check_length
from bitnet_cli.formats.codecs.tiled_codec import TiledCodec, no_weights, pair_bytes, pair_trits
from bitnet_cli.formats.codecs.tiling import Tiling
from bitnet_cli.formats.gguf_types import TL_TAIL, GGMLType

_CAUSE = "the file is damaged, or it was made with another tiling, which `--tiling BM,BK,bm` gives"
# Columns of a byte of indices, of a word of signs, of a tile of pairs.
_INDEX_COLS, _SIGN_COLS, _PAIR_COLS = 6, 24, 32


class TL2(TiledCodec):
    """About 1.7 bits a weight; rows are multiples of 32, columns at least 256."""

    name: ClassVar[str] = "tl2"
    type_id: ClassVar[GGMLType] = GGMLType.TL2

    def codes(self, data: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """The codes without padding and tail: uint8, a view of `data`.

        Raises:
            FormatError: the length does not fit the shape, or the padding is not zero.
        """
        check_length(self.name, data, self.n_bytes(shape))
        used = sum(section_bytes(self.tiling_for(shape), int(shape[0]), int(shape[1])))
        if data[used:-TL_TAIL].any():
            at = used + int(np.flatnonzero(data[used:-TL_TAIL])[0])
            raise FormatError(f"byte {at} of the tensor is padding and not zero", hint=_CAUSE)
        return data[:used]

    def _encode_tiles(
        self, codes: np.ndarray, tiling: Tiling, tiles: slice, body: np.ndarray, rows: int
    ) -> None:
        n, cols = codes.shape
        indices, signs, pairs = _sections(body, tiling, rows, cols)
        n_threes = cols // tiling.cols * tiling.cols
        outer, inner = n // tiling.rows_outer, tiling.rows_outer // 32
        three = codes[:, :n_threes].reshape(n, -1, 3)
        v = (9 * three[..., 0] + 3 * three[..., 1] + three[..., 2]).view(np.int8) - np.int8(13)
        index = np.abs(v).view(np.uint8)
        packed = (index[:, ::2] << 4 | index[:, 1::2]).reshape(outer, inner, 2, 2, 8, *indices.shape[1:4:2])
        indices[tiles] = packed.transpose(0, 5, 1, 6, 3, 2, 4)
        negative = (v < 0).reshape(outer, inner, 2, 16, *signs.shape[1:4:2], 8)
        bits = negative.transpose(0, 4, 1, 5, 3, 6, 2).reshape(outer, *signs.shape[1:5], 16)
        signs[tiles] = np.packbits(bits, axis=-1)[..., ::-1]
        packed = pair_bytes(codes[:, n_threes:]).reshape(outer, inner, 2, 2, 8, *pairs.shape[1:4:2])
        pairs[tiles] = packed.transpose(0, 5, 1, 6, 3, 2, 4)

    def _decode_tiles(
        self, body: np.ndarray, tiling: Tiling, tiles: slice, trits: np.ndarray, first_row: int, rows: int
    ) -> None:
        n, cols = trits.shape
        indices, signs, pairs = _sections(body, tiling, rows, cols)
        n_threes = cols // tiling.cols * tiling.cols
        packed = indices[tiles].transpose(0, 2, 5, 4, 6, 1, 3).reshape(n, n_threes // 6)
        index = np.stack([packed >> 4, packed & 15], axis=2).reshape(n, n_threes // 3)
        if index.max(initial=0) > 13:
            row, three = (int(i) for i in np.argwhere(index > 13)[0])
            raise no_weights(int(index[row, three]), first_row + row, 3 * three, _CAUSE)
        bits = np.unpackbits(signs[tiles][..., ::-1], axis=-1).reshape(
            n // tiling.rows_outer, *signs.shape[1:5], 8, 2
        )
        negative = bits.transpose(0, 2, 6, 4, 1, 3, 5).reshape(n, n_threes // 3)
        trits[:, :n_threes] = _THREES[negative << 4 | index].reshape(n, n_threes)
        packed = pairs[tiles].transpose(0, 2, 5, 4, 6, 1, 3).reshape(n, (cols - n_threes) // 4)
        trits[:, n_threes:] = pair_trits(packed, first_row, n_threes, _CAUSE)


def section_bytes(tiling: Tiling, rows: int, cols: int) -> tuple[int, int, int]:
    """Bytes of the indices, of the signs and of the pairs of a tensor."""
    n_threes = cols // tiling.cols * tiling.cols
    return rows * n_threes // 6, rows * n_threes // 24, rows * (cols - n_threes) // 4


def _sections(
    body: np.ndarray, tiling: Tiling, rows: int, cols: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Views of the three sections, one axis for each step of their order.

    Indices and pairs: [outer tile, tile of columns, inner tile, byte of a row, odd or even 8 rows, upper or lower 16
    rows, 8 rows]. Signs: [outer tile, tile of columns, inner tile, 24 columns, 16 rows, 2 bytes of a word].
    """
    n_index, n_sign, n_pair = section_bytes(tiling, rows, cols)
    outer, inner, across = rows // tiling.rows_outer, tiling.rows_outer // 32, cols // tiling.cols
    left = cols - across * tiling.cols
    return (
        body[:n_index].reshape(outer, across, inner, tiling.cols // _INDEX_COLS, 2, 2, 8),
        body[n_index : n_index + n_sign].reshape(outer, across, inner, tiling.cols // _SIGN_COLS, 16, 2),
        body[n_index + n_sign : n_index + n_sign + n_pair].reshape(
            outer, left // _PAIR_COLS, inner, _PAIR_COLS // 4, 2, 2, 8
        ),
    )


def _three_table() -> np.ndarray:
    """The three trits of each index, with 16 added to it if the sign is set: int8 [32, 3]."""
    index = np.minimum(np.arange(16), 13)
    v = np.concatenate([index, -index]) + 13
    return np.stack([v // 9 - 1, v // 3 % 3 - 1, v % 3 - 1], axis=1).astype(np.int8)


_THREES = _three_table()
