"""Numbers of the GGUF format: tensor types with their block sizes, and metadata value types.

Sources: the GGUF specification of ggml, and for I2_S, TL1 and TL2 (36, 38, 39) bitnet.cpp. docs/formats.md draws the blocks.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from bitnet_cli.errors import RepresentationError, UnsupportedError

MAGIC = b"GGUF"
DEFAULT_ALIGNMENT = 32
MAX_DIMS = 4


class GGMLType(IntEnum):
    """Tensor types by their number in a file. A name here does not mean that there is a codec."""

    F32 = 0
    F16 = 1
    Q4_0 = 2
    Q4_1 = 3
    Q5_0 = 6
    Q5_1 = 7
    Q8_0 = 8
    Q8_1 = 9
    Q2_K = 10
    Q3_K = 11
    Q4_K = 12
    Q5_K = 13
    Q6_K = 14
    Q8_K = 15
    IQ2_XXS = 16
    IQ2_XS = 17
    IQ3_XXS = 18
    IQ1_S = 19
    IQ4_NL = 20
    IQ3_S = 21
    IQ2_S = 22
    IQ4_XS = 23
    I8 = 24
    I16 = 25
    I32 = 26
    I64 = 27
    F64 = 28
    IQ1_M = 29
    BF16 = 30
    TQ1_0 = 34
    TQ2_0 = 35
    I2_S = 36
    I8_S = 37
    TL1 = 38
    TL2 = 39
    NVFP4 = 40
    Q1_0 = 41
    Q2_0 = 42
    PQ2_0 = 142
    IQ1_BN = 134
    IQ2_BN = 135
    IQ2_BN_R4 = 335
    # Two projects gave number 39 away. Within this package the second owner has bit 32 set, which no number of a file
    # has; `meant_type` tells them apart and `file_number` gives the number that stands in files.
    MXFP4 = 1 << 32 | 39


# type: (values of a block, bytes of a block). Types not listed have sizes that this table cannot express or
# that differ between the projects using the number.
_BLOCKS: dict[int, tuple[int, int]] = {
    GGMLType.F32: (1, 4),
    GGMLType.F16: (1, 2),
    GGMLType.Q4_0: (32, 18),
    GGMLType.Q4_1: (32, 20),
    GGMLType.Q5_0: (32, 22),
    GGMLType.Q5_1: (32, 24),
    GGMLType.Q8_0: (32, 34),
    GGMLType.Q2_K: (256, 84),
    GGMLType.Q3_K: (256, 110),
    GGMLType.Q4_K: (256, 144),
    GGMLType.Q5_K: (256, 176),
    GGMLType.Q6_K: (256, 210),
    GGMLType.IQ2_XXS: (256, 66),
    GGMLType.IQ2_XS: (256, 74),
    GGMLType.IQ3_XXS: (256, 98),
    GGMLType.IQ1_S: (256, 50),
    GGMLType.IQ4_NL: (32, 18),
    GGMLType.IQ3_S: (256, 110),
    GGMLType.IQ2_S: (256, 82),
    GGMLType.IQ4_XS: (256, 136),
    GGMLType.I8: (1, 1),
    GGMLType.I16: (1, 2),
    GGMLType.I32: (1, 4),
    GGMLType.I64: (1, 8),
    GGMLType.F64: (1, 8),
    GGMLType.IQ1_M: (256, 56),
    GGMLType.BF16: (1, 2),
    GGMLType.TQ1_0: (256, 54),
    GGMLType.TQ2_0: (256, 66),
    GGMLType.MXFP4: (32, 17),
    GGMLType.Q1_0: (128, 18),
    GGMLType.Q2_0: (64, 18),
    GGMLType.PQ2_0: (128, 34),
    GGMLType.IQ1_BN: (64, 13),
    GGMLType.IQ2_BN: (64, 16),
    GGMLType.IQ2_BN_R4: (64, 16),
}

# Bytes of the scale that each row has beside its blocks.
_ROW_SCALES = {GGMLType.IQ1_BN: 2, GGMLType.IQ2_BN: 4, GGMLType.IQ2_BN_R4: 4}
# Rows that are stored together.
_ROWS_TOGETHER = {GGMLType.IQ2_BN_R4: 4}
# Types whose tensors are matrices.
_MATRICES = {GGMLType.I2_S, *_ROW_SCALES}
# Ternary types by the multiple that their rows must be of: what a hint can offer.
_TERNARY_COLS = {"i2_s": 128, "tq1_0": 256, "tq2_0": 256, "q2_0": 64, "iq1_bn": 64, "iq2_bn": 64}

BARE_TYPES = frozenset({GGMLType.IQ1_BN, GGMLType.IQ2_BN})
"""Types that older files have without scales, under the same number."""

I2_S_COLS = 128
"""Values of one I2_S block; every row is a whole number of them."""
I2_S_TAIL = 32
"""Bytes after the codes of an I2_S tensor; the first four are its float32 scale."""
TL_TAIL = 32
"""The same of TL1 and TL2 tensors."""
TL2_MAX_PAIR_COLS = 256
"""Columns of a TL2 tensor, at most, that are stored in pairs and not in threes; every tensor has room for so many."""
_TL_ROWS = 32


def type_name(type_id: int) -> str:
    """The name of a tensor type for messages and listings, also of one that is not known."""
    try:
        return GGMLType(type_id).name
    except ValueError:
        return f"type {type_id}"


def file_number(type_id: int) -> int:
    """The number of a type as it stands in files."""
    return type_id & 0xFFFFFFFF


def meant_type(
    number: int, shape: Sequence[int], room: int, alignment: int, metadata: Mapping[str, object]
) -> int:
    """Which type a number in a file means. Doubtful are 39, which is TL2 of bitnet.cpp or MXFP4, and 42: files of
    Ternary-Bonsai hold PQ2_0 under the number of Q2_0.

    Args:
        number: as it stands in the file.
        shape: of the tensor, slowest dimension first.
        room: bytes from the tensor's beginning to the next tensor or the end of the file.
        alignment: of the file's tensors.
        metadata: of the file. Where the room does not decide, `general.file_type` does, which is 39 beside TL2 and
            38 beside MXFP4, together with the architecture.
    """
    if number == GGMLType.Q2_0:
        is_short = _fills(GGMLType.PQ2_0, shape, room, alignment) and not _fills(
            number, shape, room, alignment
        )
        return GGMLType.PQ2_0 if is_short else number
    if number != GGMLType.TL2:
        return number
    fits = [each for each in (GGMLType.TL2, GGMLType.MXFP4) if _fills(each, shape, room, alignment)]
    if len(fits) == 1:
        return fits[0]
    arch = str(metadata.get("general.architecture", ""))
    of_bitnet_cpp = metadata.get("general.file_type") == 39 and (arch.startswith("bitnet") or arch == "llama")
    return GGMLType.TL2 if of_bitnet_cpp else GGMLType.MXFP4


def _fills(type_id: int, shape: Sequence[int], room: int, alignment: int) -> bool:
    """Whether a tensor of this type and shape takes the room, up to the padding behind it."""
    try:
        n_bytes = tensor_bytes(type_id, shape)
    except RepresentationError:
        return False
    return n_bytes <= room and -(-n_bytes // alignment) == -(-room // alignment)


def has_known_size(type_id: int) -> bool:
    """True if `tensor_bytes` can say how long a tensor of this type is."""
    return type_id in (GGMLType.I2_S, GGMLType.TL1, GGMLType.TL2) or type_id in _BLOCKS


def tensor_bytes(type_id: int, shape: Sequence[int]) -> int:
    """Bytes of a tensor's data in a file, without padding.

    Args:
        type_id: number of the tensor type.
        shape: dimensions in NumPy order, slowest first; the last one is the row.

    Raises:
        RepresentationError: the type cannot hold rows of this length, or this number of dimensions.
        UnsupportedError: the size of this type is not known.
    """
    if not has_known_size(type_id):
        raise UnsupportedError(
            f"tensors of type `{type_name(type_id)}` ({file_number(type_id)}) are not supported"
        )
    known = GGMLType(type_id)
    n_values = 1
    for dim in shape:
        n_values *= int(dim)
    cols = int(shape[-1]) if shape else 1
    if type_id in (GGMLType.TL1, GGMLType.TL2):
        return _tl_bytes(type_id, shape)
    n_rows = n_values // cols if cols else 0
    if known in _MATRICES and len(shape) != 2:
        raise RepresentationError(f"{known.name} holds matrices of 2 dimensions, not {len(shape)}")
    if n_rows % _ROWS_TOGETHER.get(known, 1):
        raise RepresentationError(
            f"{known.name} stores {_ROWS_TOGETHER[known]} rows together, and {n_rows} is no multiple of that",
            hint="`iq2_bn` holds any number of rows",
        )
    if known == GGMLType.I2_S:
        block, block_bytes, tail = I2_S_COLS, I2_S_COLS // 4, I2_S_TAIL
    else:
        (block, block_bytes), tail = _BLOCKS[known], _ROW_SCALES.get(known, 0) * n_rows
    if cols % block:
        raise RepresentationError(
            f"{known.name} needs rows of a multiple of {block} values, not {cols}",
            hint=_wider_hint(known, cols),
        )
    return n_values // block * block_bytes + tail


def _tl_bytes(type_id: int, shape: Sequence[int]) -> int:
    """Bytes of a TL1 or TL2 tensor. They do not depend on its tiling."""
    name = type_name(type_id)
    if len(shape) != 2:
        raise RepresentationError(f"{name} holds matrices of 2 dimensions, not {len(shape)}")
    rows, cols = int(shape[0]), int(shape[1])
    if rows % _TL_ROWS:
        raise RepresentationError(f"{name} needs a multiple of {_TL_ROWS} rows, not {rows}")
    if type_id == GGMLType.TL1:
        if cols % 4:
            raise RepresentationError(f"TL1 needs rows of a multiple of 4 values, not {cols}")
        return rows * cols // 4 + TL_TAIL
    if cols % 8 or cols < TL2_MAX_PAIR_COLS:
        raise RepresentationError(
            f"TL2 needs rows of a multiple of 8 values and at least {TL2_MAX_PAIR_COLS}, not {cols}"
        )
    # As bitnet.cpp reckons, rounding down at each step: all columns but 256 in threes of 5 bits, 256 in pairs of 4,
    # however many pairs there really are.
    n = (cols - TL2_MAX_PAIR_COLS) * rows // 3 * 5 // 8 + TL2_MAX_PAIR_COLS * rows // 2 * 4 // 8
    return -(-n // 32) * 32 + TL_TAIL


def bare_tensor_bytes(type_id: int, shape: Sequence[int]) -> int:
    """Bytes of a tensor in the older form of its type, which has no scales beside the blocks.

    Raises: as `tensor_bytes`; UnsupportedError also if the type has no such form.
    """
    if type_id not in BARE_TYPES:
        raise UnsupportedError(f"tensors of type `{type_name(type_id)}` always have scales")
    return tensor_bytes(type_id, shape) - int(shape[0]) * _ROW_SCALES[GGMLType(type_id)]


def _wider_hint(type_id: GGMLType, cols: int) -> str | None:
    """Which ternary types hold rows that this one cannot; None if it is not a ternary type."""
    if type_id.name.lower().removesuffix("_r4") not in _TERNARY_COLS:
        return None
    fitting = [f"`{name}`" for name, multiple in _TERNARY_COLS.items() if cols % multiple == 0]
    return f"{', '.join(fitting)} can hold such rows" if fitting else "`f16` holds rows of any length"


class ValueType(IntEnum):
    """Types of metadata values by their number in a file."""

    U8 = 0
    I8 = 1
    U16 = 2
    I16 = 3
    U32 = 4
    I32 = 5
    F32 = 6
    BOOL = 7
    STRING = 8
    ARRAY = 9
    U64 = 10
    I64 = 11
    F64 = 12

    @property
    def word(self) -> str:
        """The name used in code and listings, such as `u32`."""
        return self.name.lower()


@dataclass(frozen=True)
class Scalar:
    """How a fixed-size value lies in the file: for `struct`, for NumPy, in bytes."""

    packing: struct.Struct
    dtype: np.dtype[np.generic]

    @property
    def n_bytes(self) -> int:
        return self.packing.size


SCALARS: dict[ValueType, Scalar] = {
    ValueType.U8: Scalar(struct.Struct("<B"), np.dtype("u1")),
    ValueType.I8: Scalar(struct.Struct("<b"), np.dtype("i1")),
    ValueType.U16: Scalar(struct.Struct("<H"), np.dtype("<u2")),
    ValueType.I16: Scalar(struct.Struct("<h"), np.dtype("<i2")),
    ValueType.U32: Scalar(struct.Struct("<I"), np.dtype("<u4")),
    ValueType.I32: Scalar(struct.Struct("<i"), np.dtype("<i4")),
    ValueType.F32: Scalar(struct.Struct("<f"), np.dtype("<f4")),
    ValueType.BOOL: Scalar(struct.Struct("<B"), np.dtype("u1")),
    ValueType.U64: Scalar(struct.Struct("<Q"), np.dtype("<u8")),
    ValueType.I64: Scalar(struct.Struct("<q"), np.dtype("<i8")),
    ValueType.F64: Scalar(struct.Struct("<d"), np.dtype("<f8")),
}
