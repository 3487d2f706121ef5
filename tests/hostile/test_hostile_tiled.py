"""Damaged TL1 and TL2 tensors, tilings that are none, and MXFP4 under the number of TL2: one clear error each."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from tiny_gguf import ARRAY, STRING, U32, TinyGGUF

from bitnet_cli.errors import BitnetError, FormatError, UnsupportedError
from bitnet_cli.formats.codecs import codec, codec_named, ternary_codec_for
from bitnet_cli.formats.file_mapping import located
from bitnet_cli.formats.gguf_reader import GGUFReader
from bitnet_cli.formats.gguf_types import GGMLType
from bitnet_cli.formats.inspection import inspect_gguf
from bitnet_cli.native import count_codes

TL1, TL2 = int(GGMLType.TL1), int(GGMLType.TL2)
SHAPE = (64, 288)
NAN, INFINITY = struct.pack("<f", np.nan), struct.pack("<f", -np.inf)
KEYS = {TL1: "bitnet_cli.tl1.tiling", TL2: "bitnet_cli.tl2.tiling"}
TILINGS = {TL1: "64x288=64,72,32", TL2: "64x288=64,96,32"}
# Of 64 rows of 288 columns, all of them in threes: 3072 bytes of indices, 768 of signs, padding to 4437, the scale.
SOUND = {
    TL1: codec_named("tl1").encode(np.zeros(SHAPE, np.int8), 1.0).tobytes(),  # type: ignore[call-arg]
    TL2: codec_named("tl2").encode(np.zeros(SHAPE, np.int8), 1.0).tobytes(),  # type: ignore[call-arg]
}


def model(kind: int, data: bytes | None = None, ne: tuple[int, ...] = SHAPE[::-1]) -> TinyGGUF:
    tensors = {"t": (ne, kind, SOUND[kind] if data is None else data)}
    metadata = {
        "general.architecture": (STRING, "bitnet-b1.58"),
        "general.file_type": (U32, kind),
        KEYS[kind]: (ARRAY, (STRING, [TILINGS[kind]])),
    }
    return TinyGGUF(metadata, tensors)


def patched(kind: int, at: int, value: bytes) -> TinyGGUF:
    raw = bytearray(SOUND[kind])
    raw[at : at + len(value) or None] = value
    assert len(raw) == len(SOUND[kind])
    return model(kind, bytes(raw))


def tiled(kind: int, *entries: str) -> TinyGGUF:
    changed = model(kind)
    changed.metadata[KEYS[kind]] = (ARRAY, (STRING, list(entries)))
    return changed


def with_value(kind: int, value_kind: int, value: object) -> TinyGGUF:
    changed = model(kind)
    changed.metadata[KEYS[kind]] = (value_kind, value)
    return changed


CASES: dict[str, tuple[TinyGGUF, type[BitnetError], str]] = {
    # what stands for no weights
    "TL1: code 9": (patched(TL1, 0, b"\x94"), FormatError, "row 0, column 0 holds the code 9"),
    "TL1: code 15": (patched(TL1, 4607, b"\x4f"), FormatError, "row 63, column 286 holds the code 15"),
    "TL2: index 14": (patched(TL2, 0, b"\xe0"), FormatError, "row 0, column 0 holds the code 14"),
    "TL2: index 15": (patched(TL2, 3071, b"\x0f"), FormatError, "row 63, column 285 holds the code 15"),
    # padding and scales
    "TL2: padding": (patched(TL2, 3840, b"\x01"), FormatError, "byte 3840 of the tensor is padding"),
    "TL2: padding at its end": (patched(TL2, -33, b"\x80"), FormatError, "is padding and not zero"),
    "TL1: scale NaN": (patched(TL1, -32, NAN), FormatError, "the scale must be a finite number, found nan"),
    "TL2: scale infinite": (patched(TL2, -32, INFINITY), FormatError, "found -inf"),
    # sizes and shapes
    "TL1: cut off": (model(TL1, SOUND[TL1][:-32]), FormatError, "passes the end"),
    "TL2: cut off": (model(TL2, SOUND[TL2][:-32]), FormatError, "passes the end"),
    "TL1: half a tile": (model(TL1, ne=(288, 16)), FormatError, "TL1 needs a multiple of 32 rows, not 16"),
    "TL2: half a tile": (model(TL2, ne=(288, 48)), FormatError, "multiple of 32"),
    "TL1: a vector": (model(TL1, ne=(288,)), FormatError, "2 dimensions"),
    "TL1: 2^60 rows": (model(TL1, ne=(288, 1 << 60)), FormatError, "passes the end"),
    "TL2: 2^60 columns": (model(TL2, ne=(1 << 60, 64)), FormatError, "passes the end"),
    "TL1: no shape of the list": (model(TL1, ne=(72, 256)), FormatError, "256x72 is not listed"),
    # tilings
    "tiling of zero": (tiled(TL1, "64x288=64,0,32"), FormatError, "`64,0,32` is not a tiling"),
    "tiling below zero": (tiled(TL2, "64x288=64,-96,32"), FormatError, "`64,-96,32` is not a tiling"),
    "tiling of 10^12": (tiled(TL2, "64x288=64,1000000000000,32"), FormatError, "is not a tiling"),
    "tiling of 10^8": (tiled(TL2, "64x288=64,960000000,32"), FormatError, "leave 288, and TL2 has room for 256"),
    "tiling of words": (tiled(TL2, "64x288=a,b,c"), FormatError, "`a,b,c` is not a tiling"),
    "tiling with an escape": (tiled(TL2, "\x1b[2J"), FormatError, "is not a shape and a tiling"),
    "tiling that does not divide": (tiled(TL1, "64x288=64,64,32"), FormatError, "288 columns are not a multiple of 64"),
    "tiling twice": (tiled(TL1, *[TILINGS[TL1]] * 2), FormatError, "listed twice"),
    "no tiling": (tiled(TL1), FormatError, "64x288 is not listed"),
    "tilings of a wrong type": (with_value(TL1, U32, 64), FormatError, "expected an array<string>, found u32"),
    "tilings of numbers": (with_value(TL1, ARRAY, (U32, [64, 72, 32])), FormatError, "found array<u32>"),
    "tilings not of this type": (
        TinyGGUF(tiled(TL1).metadata, model(TL2).tensors), UnsupportedError, "nothing tells the tiling"),
    # a tiling of other threes: what then is padding or an index shows it
    "TL2: another tiling": (tiled(TL2, "64x288=64,192,32"), FormatError, "row|padding"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_is_refused(case: str, tmp_path: Path) -> None:
    hostile, kind, words = CASES[case]
    path = hostile.write(tmp_path / "hostile.gguf")
    if case == "TL2: another tiling":  # Zeros are zeros in any order.
        trits = np.random.default_rng(1).integers(-1, 2, SHAPE, np.int8)
        data = codec_named("tl2").encode(trits, 1.0)  # type: ignore[call-arg]
        path = TinyGGUF(hostile.metadata, model(TL2, data.tobytes()).tensors).write(path)
    with pytest.raises(kind, match=words) as error, GGUFReader(path) as reader:
        info = reader.tensors["t"]
        found = ternary_codec_for(reader, info)
        with located(path, "t"):
            found.decode(reader.data("t"), info.shape)
    assert str(path) in str(error.value) and "\x1b" not in str(error.value)
    if (
        kind is FormatError
        and "passes" not in words
        and "dimensions" not in words
        and "multiple of 32" not in words
    ):
        assert error.value.hint


@pytest.mark.parametrize("kind", SOUND)
def test_the_sound_ones_are_read(kind: int, tmp_path: Path) -> None:
    with GGUFReader(model(kind).write(tmp_path / "sound.gguf")) as reader:
        info = reader.tensors["t"]
        trits, scales = ternary_codec_for(reader, info).decode(reader.data("t"), info.shape)
    assert trits.shape == SHAPE and not trits.any() and scales.tolist() == [[1.0]]


def test_mxfp4_is_listed_by_its_name_and_refused(tmp_path: Path) -> None:
    """A file of another world: 39 is MXFP4 there, with experts of three dimensions and matrices of two."""
    file = TinyGGUF(
        {"general.architecture": (STRING, "gpt-oss"), "general.file_type": (U32, 38)},
        {
            "blk.0.ffn_gate_exps.weight": ((64, 32, 4), 39, bytes(4 * 32 * 34)),
            "blk.0.attn_q.weight": ((288, 64), 39, bytes(64 * 9 * 17)),
            "output_norm.weight": ((8,), 0, bytes(32)),
        },
    )
    with GGUFReader(file.write(tmp_path / "mxfp4.gguf")) as reader:
        found = inspect_gguf(reader, count_codes)
        assert [tensor["type"] for tensor in found.to_json()["tensors"]] == ["MXFP4", "MXFP4", "F32"]
        assert [tensor["type_id"] for tensor in found.to_json()["tensors"]] == [39, 39, 0]
        assert any("MXFP4" in problem for problem in found.problems)
        for name in ("blk.0.ffn_gate_exps.weight", "blk.0.attn_q.weight"):
            with pytest.raises(UnsupportedError, match=r"MXFP4` \(39\)"):
                codec(reader.tensors[name].type)
            with pytest.raises(UnsupportedError, match="MXFP4"):
                ternary_codec_for(reader, reader.tensors[name])
