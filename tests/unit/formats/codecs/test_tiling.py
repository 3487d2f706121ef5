"""Tilings: parsing, the shipped table, our own choice, and what is read from files."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_gguf import ARRAY, STRING, U32, TinyGGUF

from bitnet_cli.errors import FormatError, RepresentationError, UnsupportedError, UsageError
from bitnet_cli.formats.codecs.tiling import (
    MAX_ENTRIES,
    PRESETS,
    SHIPPED,
    GivenTilings,
    Tiling,
    tiling_key,
    tiling_metadata,
    tiling_to_read,
    tiling_to_write,
)
from bitnet_cli.formats.gguf_reader import GGUFReader
from bitnet_cli.formats.gguf_types import GGMLType, tensor_bytes

TL1, TL2 = GGMLType.TL1, GGMLType.TL2


def test_a_tiling_is_three_numbers() -> None:
    tiling = Tiling.parse("256,128,32")
    assert tiling == Tiling(rows_outer=256, cols=128, rows_inner=32)
    assert str(tiling) == "256,128,32"


@pytest.mark.parametrize(
    "text",
    [
        *("", "256", "256,128", "256,128,32,1", "256, 128, 32", " 256,128,32", "256,128,32\n", "a,b,c"),
        *("0,128,32", "256,0,32", "-256,128,32", "+256,128,32", "256,1e2,32", "256,128.0,32", "0256,128,32"),
        *("9999999999,128,32", "256,128," + "9" * 5000, "２５６,128,32", "\x1b[2J,1,1"),
    ],
)
def test_what_is_no_tiling(text: str) -> None:
    with pytest.raises(UsageError, match="is not a tiling") as error:
        Tiling.parse(text)
    assert "256,128,32" in str(error.value.hint)
    assert len(error.value.message) < 100 and error.value.message.isprintable()


def test_what_the_user_gives() -> None:
    given = GivenTilings.parse(["256,128,32", "1536x4096=128,64,64"])
    assert given.get((1536, 4096)) == Tiling(128, 64, 64)
    assert given.get((4096, 1536)) == Tiling(256, 128, 32)
    assert GivenTilings.parse(["1536x4096=128,64,64"]).get((1, 2)) is None
    assert GivenTilings.parse([]).get((1, 2)) is None


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["256,128,32", "128,128,32"], "twice for every shape"),
        (["32x32=256,128,32", "32x32=256,128,32"], "twice for 32x32"),
        (["32=256,128,32"], "not a shape and a tiling"),
        (["0x32=256,128,32"], "not a shape and a tiling"),
        (["32x32=256,128"], "`256,128` is not a tiling"),
        (["32x32==256,128,32"], "is not a tiling"),
        (["x=" + "1" * 10000], "not a shape and a tiling"),
    ],
)
def test_what_the_user_cannot_give(texts: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        GivenTilings.parse(texts)


# ---- The table and our own choice ----


def test_the_shipped_tilings_fit_their_shapes() -> None:
    assert len(SHIPPED) == 20
    for (type_id, shape), tiling in (SHIPPED | PRESETS).items():
        assert tiling.obstacle(type_id, shape) is None
    for (type_id, shape), tiling in SHIPPED.items():
        assert tiling_to_write(type_id, shape) == tiling
        assert PRESETS.get((type_id, shape)) != tiling
    assert SHIPPED[TL1, (3200, 8640)] == Tiling(160, 64, 32)
    assert SHIPPED[TL2, (1536, 1536)] == Tiling(128, 192, 32)


@pytest.mark.parametrize(
    ("type_id", "shape", "tiling"),
    [
        # BitNet-b1.58-2B-4T, which bitnet.cpp has no tilings for.
        (TL1, (2560, 2560), (128, 128, 32)),
        (TL1, (640, 2560), (128, 128, 32)),
        (TL1, (6912, 2560), (128, 128, 32)),
        (TL1, (2560, 6912), (128, 128, 32)),
        (TL2, (2560, 2560), (128, 96, 32)),
        (TL2, (2560, 6912), (128, 96, 32)),
        (TL1, (96, 64), (96, 64, 32)),
        (TL1, (32 * 101, 8640), (32, 64, 32)),
        (TL1, (320, 8 * 37), (160, 8, 32)),
        (TL1, (320, 8 * 9), (160, 72, 32)),
        (TL1, (128, 4 * 33), (128, 132, 64)),
        (TL2, (160, 288), (160, 96, 32)),
    ],
)
def test_our_own_choice(type_id: GGMLType, shape: tuple[int, int], tiling: tuple[int, int, int]) -> None:
    assert tiling_to_write(type_id, shape) == Tiling(*tiling)


def test_our_own_choice_fits_every_shape_that_any_tiling_fits() -> None:
    for type_id in (TL1, TL2):
        for rows in (32, 64, 96, 160, 992, 1024):
            for cols in range(4, 1400, 4):
                tl1, tl2 = cols % 8 == 0 or rows % 64 == 0, cols >= 256 and cols % 32 == 0
                if tl1 if type_id == TL1 else tl2:
                    tiling = tiling_to_write(type_id, (rows, cols))
                    assert tiling.obstacle(type_id, (rows, cols)) is None
                    assert tensor_bytes(type_id, (rows, cols)) > 0
                    assert type_id == TL2 or tiling.cols <= 258


@pytest.mark.parametrize(
    ("type_id", "shape", "words"),
    [
        (TL1, (48, 128), "multiple of 32 rows and 8 columns, or of 64 rows and 4"),
        (TL1, (32, 12), "multiple of 32 rows and 8 columns"),
        (TL1, (64, 6), "not 64 rows and 6 columns"),
        (TL2, (48, 288), "multiple of 32 rows and 32 columns, not 48 rows and 288 columns"),
        (TL2, (32, 264), "multiple of 32 rows and 32 columns"),
        (TL1, (2, 3, 4), "2 dimensions"),
    ],
)
def test_shapes_without_a_tiling(type_id: GGMLType, shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(RepresentationError, match=words):
        tiling_to_write(type_id, shape)


# ---- Files ----


def file_with(
    directory: Path, type_id: int, shape: tuple[int, int], *pairs: tuple[str, int, object]
) -> GGUFReader:
    model = TinyGGUF({key: (kind, value) for key, kind, value in pairs})
    model.tensors["w"] = ((shape[1], shape[0]), type_id, bytes(tensor_bytes(type_id, shape)))
    return GGUFReader(model.write(directory / "model.gguf"))


def test_metadata_are_read_back(tmp_path: Path) -> None:
    tilings = {(64, 256): Tiling(32, 96, 32), (32, 512): Tiling(32, 192, 32)}
    key, kind, entries = tiling_metadata(TL2, tilings)
    assert (key, kind) == ("bitnet_cli.tl2.tiling", "array<string>")
    assert entries == ["64x256=32,96,32", "32x512=32,192,32"]
    for shape, tiling in tilings.items():
        with file_with(tmp_path, TL2, shape, (key, ARRAY, (STRING, entries))) as reader:
            assert tiling_to_read(reader, reader.tensors["w"]) == tiling


def test_the_order_of_precedence(tmp_path: Path) -> None:
    shape = (1536, 1536)
    with file_with(tmp_path, TL1, shape) as reader:
        assert tiling_to_read(reader, reader.tensors["w"]) == SHIPPED[TL1, shape]
        given = GivenTilings.parse(["256,64,32"])
        assert tiling_to_read(reader, reader.tensors["w"], given) == Tiling(256, 64, 32)
        other = GivenTilings.parse(["32x32=256,64,32"])
        assert tiling_to_read(reader, reader.tensors["w"], other) == SHIPPED[TL1, shape]
    pair = (tiling_key(TL1), ARRAY, (STRING, ["1536x1536=512,96,64"]))
    with file_with(tmp_path, TL1, shape, pair) as reader:
        assert tiling_to_read(reader, reader.tensors["w"]) == Tiling(512, 96, 64)
        assert tiling_to_read(reader, reader.tensors["w"], given) == Tiling(256, 64, 32)
    # The tilings of the other type say nothing.
    with file_with(tmp_path, TL1, shape, ("bitnet_cli.tl2.tiling", U32, 7)) as reader:
        assert tiling_to_read(reader, reader.tensors["w"]) == SHIPPED[TL1, shape]


def test_nothing_known_is_refused(tmp_path: Path) -> None:
    with file_with(tmp_path, TL1, (2560, 640)) as reader:
        with pytest.raises(UnsupportedError, match="`w`: nothing tells the tiling") as error:
            tiling_to_read(reader, reader.tensors["w"])
        assert str(reader.path) in error.value.message
        assert "--tiling 2560x640=BM,BK,bm" in str(error.value.hint)
        with pytest.raises(UsageError, match="2560 rows are not a multiple of 96"):
            tiling_to_read(reader, reader.tensors["w"], GivenTilings.parse(["96,128,32"]))


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        (U32, 128, "expected an array<string>, found u32"),
        (STRING, "64x256=32,128,32", "expected an array<string>, found string"),
        (ARRAY, (U32, [32, 128, 32]), "expected an array<string>, found array<u32>"),
        (ARRAY, (STRING, []), "64x256 is not listed"),
        (ARRAY, (STRING, ["64x512=32,128,32"]), "64x256 is not listed"),
        (ARRAY, (STRING, ["64x256=32,128,32"] * 2), "64x256 is listed twice"),
        (ARRAY, (STRING, ["64x256=0,128,32"]), "`0,128,32` is not a tiling"),
        (ARRAY, (STRING, ["64x256=32,128,0"]), "`32,128,0` is not a tiling"),
        (ARRAY, (STRING, ["64x256=-32,128,32"]), "`-32,128,32` is not a tiling"),
        (ARRAY, (STRING, ["64x256=32,128,32", "64x256"]), "`64x256` is not a shape and a tiling"),
        (ARRAY, (STRING, ["64x256=" + "9" * 20 + ",1,1"]), "is not a tiling"),
        (ARRAY, (STRING, ["64x256=999999999,128,32"]), "64 rows are not a multiple of 999999999"),
        (ARRAY, (STRING, ["64x256=64,128,48"]), "outer tiles of 64 rows are not a multiple of 48"),
        (ARRAY, (STRING, ["64x256=64,999999992,64"]), "256 columns are not a multiple of 999999992"),
        (ARRAY, (STRING, ["\x1b[31m"]), "is not a shape and a tiling"),
        (ARRAY, (STRING, ["64x256=32,128,32"] * (MAX_ENTRIES + 1)), "at most 4096 are accepted"),
    ],
)
def test_nonsense_in_metadata(kind: int, value: object, words: str, tmp_path: Path) -> None:
    with file_with(tmp_path, TL1, (64, 256), ("bitnet_cli.tl1.tiling", kind, value)) as reader:
        with pytest.raises(FormatError, match=words) as error:
            tiling_to_read(reader, reader.tensors["w"])
        assert "bitnet_cli.tl1.tiling" in str(error.value) and error.value.path == reader.path
        assert "\x1b" not in str(error.value)
        assert "--tiling 64x256" in str(error.value.hint)
