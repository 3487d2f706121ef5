"""Codecs: the bytes of one tensor type and its values, both ways. One module per type.

Codecs see no file: their FormatErrors name rows and lengths, and callers add the path with
`file_mapping.located`.
"""

from __future__ import annotations

from collections.abc import Callable

from bitnet_cli.errors import UnsupportedError, UsageError, printable
from bitnet_cli.formats.codecs.bf16 import BF16
from bitnet_cli.formats.codecs.block_codec import BlockCodec, ReadOnlyCodec
from bitnet_cli.formats.codecs.f16 import F16
from bitnet_cli.formats.codecs.f32 import F32
from bitnet_cli.formats.codecs.i2_s import I2S, I2SArm
from bitnet_cli.formats.codecs.iq1_bn import IQ1_BN
from bitnet_cli.formats.codecs.iq2_bn import IQ2_BN, IQ2_BN_R4
from bitnet_cli.formats.codecs.iq4_nl import IQ4_NL
from bitnet_cli.formats.codecs.q2_0 import PQ2_0, Q2_0
from bitnet_cli.formats.codecs.q4_0 import Q4_0
from bitnet_cli.formats.codecs.q4_k import Q4_K
from bitnet_cli.formats.codecs.q6_k import Q6_K
from bitnet_cli.formats.codecs.q8_0 import Q8_0
from bitnet_cli.formats.codecs.ternary_codec import TernaryCodec
from bitnet_cli.formats.codecs.ternary_floats import TernaryBF16, TernaryF16, TernaryF32
from bitnet_cli.formats.codecs.tiling import GivenTilings, tiling_to_read
from bitnet_cli.formats.codecs.tl1 import TL1
from bitnet_cli.formats.codecs.tl2 import TL2
from bitnet_cli.formats.codecs.tq1_0 import TQ1_0
from bitnet_cli.formats.codecs.tq2_0 import TQ2_0
from bitnet_cli.formats.gguf_reader import GGUFReader, TensorInfo
from bitnet_cli.formats.gguf_types import GGMLType, file_number, type_name

Codec = BlockCodec | TernaryCodec
"""`codec.ternary` tells the two kinds apart; so does `isinstance(codec, BlockCodec)`."""

READ_ONLY_CODECS: tuple[ReadOnlyCodec, ...] = (Q4_K(), IQ4_NL())
"""What other programs give embeddings beside ternary weights."""

DENSE_CODECS: tuple[BlockCodec, ...] = (F32(), F16(), BF16(), Q8_0(), Q6_K(), Q4_0(), *READ_ONLY_CODECS)
"""In the order of their bits per value."""

TERNARY_CODECS: tuple[TernaryCodec, ...] = (
    IQ1_BN(),
    TQ1_0(),
    TL2(),
    I2S(),
    TL1(),
    IQ2_BN(),
    IQ2_BN_R4(),
    TQ2_0(),
    PQ2_0(),
    Q2_0(),
)
"""In the order of their bits per value. A tensor of a file is read by what `ternary_codec_for` says."""

CODECS: tuple[Codec, ...] = (*DENSE_CODECS, *TERNARY_CODECS)
"""All codecs, dense ones first."""

TERNARY_TYPES = frozenset(int(each.type_id) for each in TERNARY_CODECS)
"""Numbers of the tensor types that hold ternary weights."""

TERNARY_FLOATS: dict[int, TernaryCodec] = {
    each.type_id: each for each in (TernaryF32(), TernaryF16(), TernaryBF16())
}
"""How ternary weights are read from tensors of types that hold any weights; whether they are ternary, they tell."""

I2S_LAYOUTS: dict[str, TernaryCodec] = {"x86": I2S(), "arm64": I2SArm()}
"""The layouts that I2_S tensors can have, the usual one first; no file says which."""

_BARE: dict[int, TernaryCodec] = {GGMLType.IQ1_BN: IQ1_BN(bare=True), GGMLType.IQ2_BN: IQ2_BN(bare=True)}


def codec(type_id: int) -> Codec:
    """The codec of a tensor type. Raises UnsupportedError that names the type if there is none."""
    for candidate in CODECS:
        if candidate.type_id == type_id:
            return candidate
    known = ", ".join(candidate.type_id.name for candidate in CODECS)
    raise UnsupportedError(
        f"tensors of type `{type_name(type_id)}` ({file_number(type_id)}) are not supported",
        hint=f"supported are {known}",
    )


def dense_codec(type_id: int) -> BlockCodec:
    """The codec of a dense tensor type. Raises UnsupportedError if it is unknown or ternary."""
    found = codec(type_id)
    if not isinstance(found, BlockCodec):
        raise UnsupportedError(f"a tensor of type `{type_name(type_id)}` was found where floats are needed")
    return found


CodecFor = Callable[[GGUFReader, TensorInfo], TernaryCodec]
"""Finds the codec of a ternary tensor; may raise BitnetErrors."""


def ternary_codec_for(
    reader: GGUFReader, info: TensorInfo, i2s_layout: str = "x86", tilings: GivenTilings | None = None
) -> TernaryCodec:
    """The codec that reads one ternary tensor of a file.

    Args:
        reader: the file, whose metadata and other tensors may be needed to tell.
        info: the tensor.
        i2s_layout: which of I2S_LAYOUTS the I2_S tensors of the file have.
        tilings: how TL1 and TL2 tensors are cut into tiles, if the user says it.

    Raises:
        UnsupportedError: the tensor is of a type that holds no ternary weights, or nothing is known about its tiling.
        UsageError: there is no such layout, or the tiling does not fit.
        FormatError: the metadata that should give the tiling are damaged.
    """
    if i2s_layout not in I2S_LAYOUTS:
        known = ", ".join(f"`{name}`" for name in I2S_LAYOUTS)
        raise UsageError(f"I2_S has no layout `{printable(i2s_layout)}`", hint=f"there are {known}")
    if info.type == GGMLType.I2_S:
        return I2S_LAYOUTS[i2s_layout]
    if info.type in (GGMLType.TL1, GGMLType.TL2):
        tiling = tiling_to_read(reader, info, tilings)
        return TL1(tiling) if info.type == GGMLType.TL1 else TL2(tiling)
    found = codec(info.type)
    if found.type_id in TERNARY_FLOATS:
        return TERNARY_FLOATS[found.type_id]
    if isinstance(found, BlockCodec):
        raise UnsupportedError(
            f"{reader.path}: `{printable(info.name)}` of type {type_name(info.type)} is not a ternary matrix",
            hint="convert the original checkpoint with `bitnet convert`",
        )
    return _BARE[info.type] if is_bare(info) else found


def refuse_unused(reader: GGUFReader, i2s_layout: str | None, tilings: GivenTilings) -> None:
    """Raises UsageError if the user says how to read weights of a kind or shape that the file does not hold.

    Args:
        reader: the file.
        i2s_layout: the layout of I2_S weights that was asked for, None if nothing was said.
        tilings: the tilings of TL1 and TL2 weights that were given.
    """
    kinds = {info.type for info in reader.tensors.values()}
    if i2s_layout is not None and GGMLType.I2_S not in kinds:
        raise UsageError(
            f"`--i2s-layout` says how I2_S weights are read, and {reader.path} holds none",
            hint="leave it out",
        )
    if not tilings:
        return
    tiled = {info.shape for info in reader.tensors.values() if info.type in (GGMLType.TL1, GGMLType.TL2)}
    if not tiled:
        raise UsageError(
            f"`--tiling` says how TL1 and TL2 weights are read, and {reader.path} holds none",
            hint="leave it out",
        )
    for rows, cols in tilings.by_shape:
        if (rows, cols) not in tiled:
            shapes = sorted({f"{shape[0]}x{shape[1]}" for shape in tiled if len(shape) == 2})
            raise UsageError(
                f"`--tiling {rows}x{cols}=` is for no TL1 or TL2 matrix of {reader.path}",
                hint=f"leave it out; its shapes are {', '.join(shapes[:10])}",
            )


def is_bare(info: TensorInfo) -> bool:
    """Whether the rows of a tensor lack the scales that its type has today: its size tells (`gguf_reader`)."""
    return info.type in _BARE and info.n_bytes == _BARE[info.type].n_bytes(info.shape)


def codec_named(name: str) -> Codec:
    """The codec of a name such as `f16`, `q6_k` or `i2_s`. Raises UnsupportedError if there is none."""
    for candidate in CODECS:
        if candidate.name == name:
            return candidate
    known = ", ".join(f"`{candidate.name}`" for candidate in CODECS)
    raise UnsupportedError(f"unknown tensor type `{name}`", hint=f"supported are {known}")
