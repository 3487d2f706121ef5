"""Codecs: the bytes of one tensor type and its values, both ways. One module per type.

Codecs see no file: their FormatErrors name rows and lengths, and callers add the path with
`file_mapping.located`.
"""

from __future__ import annotations

from bitnet_cli.errors import UnsupportedError
from bitnet_cli.formats.codecs.bf16 import BF16
from bitnet_cli.formats.codecs.block_codec import BlockCodec
from bitnet_cli.formats.codecs.f16 import F16
from bitnet_cli.formats.codecs.f32 import F32
from bitnet_cli.formats.codecs.i2_s import I2S
from bitnet_cli.formats.codecs.q4_0 import Q4_0
from bitnet_cli.formats.codecs.q6_k import Q6_K
from bitnet_cli.formats.codecs.q8_0 import Q8_0
from bitnet_cli.formats.gguf_types import type_name

Codec = BlockCodec | I2S
"""`codec.ternary` tells the two kinds apart."""

CODECS: tuple[Codec, ...] = (F32(), F16(), BF16(), Q8_0(), Q6_K(), Q4_0(), I2S())
"""All codecs, dense ones first, in the order of their bits per value."""


def codec(type_id: int) -> Codec:
    """The codec of a tensor type. Raises UnsupportedError that names the type if there is none."""
    for candidate in CODECS:
        if candidate.type_id == type_id:
            return candidate
    known = ", ".join(candidate.type_id.name for candidate in CODECS)
    raise UnsupportedError(
        f"tensors of type `{type_name(type_id)}` ({type_id}) are not supported", hint=f"supported are {known}"
    )


def dense_codec(type_id: int) -> BlockCodec:
    """The codec of a dense tensor type. Raises UnsupportedError if it is unknown or ternary."""
    found = codec(type_id)
    if isinstance(found, I2S):
        raise UnsupportedError(f"a tensor of type `{type_name(type_id)}` was found where floats are needed")
    return found


def codec_named(name: str) -> Codec:
    """The codec called `f32`, `f16`, `bf16`, `q8_0`, `q6_k`, `q4_0` or `i2_s`; else UnsupportedError."""
    for candidate in CODECS:
        if candidate.name == name:
            return candidate
    known = ", ".join(f"`{candidate.name}`" for candidate in CODECS)
    raise UnsupportedError(f"unknown tensor type `{name}`", hint=f"supported are {known}")
