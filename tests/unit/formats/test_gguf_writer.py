"""The GGUF writer: the documented 224-byte file, files the `gguf` package reads, and nothing half-written."""

from __future__ import annotations

import errno
import gc
import os
from pathlib import Path

import gguf
import numpy as np
import pytest

from bitnet_cli.errors import BitnetError, RepresentationError
from bitnet_cli.formats import gguf_writer
from bitnet_cli.formats.codecs import BlockCodec, codec_named
from bitnet_cli.formats.gguf_reader import GGUFReader
from bitnet_cli.formats.gguf_types import GGMLType
from bitnet_cli.formats.gguf_writer import GGUFWriter, TensorSpec

T = TensorSpec("t", (1, 128), GGMLType.I2_S)
A = TensorSpec("a", (3,), GGMLType.F32)
B = TensorSpec("b", (2, 5), GGMLType.F32)


def left_behind(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_the_documented_file(tmp_path: Path) -> None:
    path = tmp_path / "example.gguf"
    metadata = [("general.architecture", "string", "bitnet-b1.58"), ("general.file_type", "u32", 40)]
    trits = np.array([((i * i + 3 * i) // 5) % 3 - 1 for i in range(128)], np.int8).reshape(1, 128)
    with GGUFWriter(path, metadata, [T]) as writer:
        assert writer.total_bytes == 224
        writer.write("t", codec_named("i2_s").encode(trits, 1.21875))
    assert path.read_bytes() == bytes.fromhex(
        "47475546030000000100000000000000020000000000000014000000000000006765"
        "6e6572616c2e617263686974656374757265080000000c000000000000006269746e"
        "65742d62312e3538110000000000000067656e6572616c2e66696c655f7479706504"
        "00000028000000010000000000000074020000008000000000000000010000000000"
        "000024000000000000000000000000000000000000000000"
        "290aa6289aa06882a208882220 8a82290aa6289aa06882a2088822208a82290a"
        "00009c3f00000000000000000000000000000000000000000000000000000000"
    )


def test_tensors_are_read_by_the_gguf_package(tmp_path: Path) -> None:
    path = tmp_path / "ours.gguf"
    values = np.random.default_rng(1).standard_normal((6, 512)).astype(np.float32)
    names = ["f32", "f16", "bf16", "q8_0", "q6_k", "q4_0"]
    specs = [TensorSpec(name, values.shape, codec_named(name).type_id) for name in names]
    with GGUFWriter(path, [("general.architecture", "string", "llama")], specs) as writer:
        for name in names:
            dense = codec_named(name)
            assert isinstance(dense, BlockCodec)
            writer.write(name, dense.encode(values))
    reader = gguf.GGUFReader(path)
    assert [tensor.name for tensor in reader.tensors] == names
    for tensor in reader.tensors:
        dense = codec_named(tensor.name)
        assert isinstance(dense, BlockCodec)
        assert tensor.tensor_type.name == tensor.name.upper()
        assert tensor.shape.tolist() == [512, 6]
        expected = dense.decode(dense.encode(values), values.shape)
        assert np.array_equal(gguf.quants.dequantize(tensor.data, tensor.tensor_type), expected)


VALUES = [
    ("a.u8", "u8", 255),
    ("a.i8", "i8", -128),
    ("a.u16", "u16", 65535),
    ("a.i16", "i16", -5),
    ("a.u32", "u32", 2**32 - 1),
    ("a.i32", "i32", -(2**31)),
    ("a.u64", "u64", 2**64 - 1),
    ("a.i64", "i64", -(2**63)),
    ("a.f32", "f32", 0.25),
    ("a.f64", "f64", 1e-300),
    ("a.true", "bool", True),
    ("a.false", "bool", False),
    ("a.string", "string", "żółw ❤ \n"),
    ("a.strings", "array<string>", ["", "ab", "日"]),
    ("a.none", "array<string>", []),
    ("a.floats", "array<f32>", [0.5, 1.0]),
    ("a.flags", "array<bool>", [True, False]),
    ("a.numbers", "array<i32>", np.arange(-2, 3)),
    ("a.unsigned", "array<u32>", np.arange(3)),
    ("a.halves", "array<f32>", np.array([0.5, 1.0])),
]


def test_metadata_is_read_by_both_readers(tmp_path: Path) -> None:
    path = tmp_path / "values.gguf"
    GGUFWriter(path, VALUES, []).close()
    ours, theirs = GGUFReader(path), gguf.GGUFReader(path)
    assert list(ours.metadata) == [key for key, _, _ in VALUES]
    for key, word, value in VALUES:
        assert ours.value_type(key) == word
        assert np.array_equal(ours.metadata[key], value)  # type: ignore[arg-type]
        if not word.startswith("array<"):
            assert theirs.fields[key].contents() == value
        elif len(value) > 0:  # type: ignore[arg-type]
            assert list(theirs.fields[key].contents()) == list(value)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("u8", 256),
        ("u32", -1),
        ("i32", 2**31),
        ("u64", 2**64),
        ("u32", 1.5),
        ("u32", "1"),
        ("f32", "x"),
        ("f32", 1e39),
        ("bool", 1),
        ("string", b"bytes"),
        ("string", "\ud800"),
        ("string", None),
        ("array", [1]),
        ("array<array>", [[1]]),
        ("array<string>", "abc"),
        ("array<string>", [1]),
        ("array<i32>", [1, "2"]),
        ("array<i32>", np.array([2**31])),
        ("array<u32>", np.array([-1])),
        ("array<i32>", np.array([0.5])),
        ("array<f32>", np.array([1e39])),
        ("array<f32>", np.array([1])),
        ("array<f32>", np.zeros((2, 2))),
        ("array<nothing>", []),
        ("nothing", 1),
    ],
)
def test_values_that_do_not_fit(tmp_path: Path, word: str, value: object) -> None:
    with pytest.raises(RepresentationError) as error:
        GGUFWriter(tmp_path / "x.gguf", [("some.key", word, value)], [])
    assert "\n" not in str(error.value)
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(
    "specs",
    [
        [A, A],
        [TensorSpec("a", (), GGMLType.F32)],
        [TensorSpec("a", (0, 3), GGMLType.F32)],
        [TensorSpec("a", (1, 1, 1, 1, 1), GGMLType.F32)],
        [TensorSpec("a", (2, 127), GGMLType.I2_S)],
        [TensorSpec("a", (2, 33), GGMLType.Q8_0)],
    ],
)
def test_tensors_that_do_not_fit(tmp_path: Path, specs: list[TensorSpec]) -> None:
    with pytest.raises(RepresentationError):
        GGUFWriter(tmp_path / "x.gguf", [], specs)
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("alignment", [8, 64, 4096])
def test_alignment(tmp_path: Path, alignment: int) -> None:
    path = tmp_path / "aligned.gguf"
    with GGUFWriter(path, [], [A, B], alignment=alignment) as writer:
        writer.write("a", np.arange(3, dtype=np.float32))
        writer.write("b", np.arange(10, dtype=np.float32))
    reader = GGUFReader(path)
    assert reader.alignment == alignment
    assert reader.metadata["general.alignment"] == alignment
    assert all(info.offset % alignment == 0 for info in reader.tensors.values())
    assert path.stat().st_size % alignment == 0
    assert reader.data("b").view("<f4").tolist() == list(range(10))


@pytest.mark.parametrize(
    ("alignment", "metadata"),
    [
        (0, []),
        (4, []),
        (48, []),
        (64, [("general.alignment", "u32", 32)]),
        (64, [("general.alignment", "u64", 64)]),
        (32, [("k", "u8", 1), ("k", "u8", 2)]),
    ],
)
def test_contradictory_headers(
    tmp_path: Path, alignment: int, metadata: list[tuple[str, str, object]]
) -> None:
    with pytest.raises(RepresentationError):
        GGUFWriter(tmp_path / "x.gguf", metadata, [], alignment=alignment)


def test_pieces_add_up(tmp_path: Path) -> None:
    whole, pieces = tmp_path / "whole.gguf", tmp_path / "pieces.gguf"
    values = np.arange(10, dtype=np.float32)
    with GGUFWriter(whole, [], [A, B]) as writer:
        writer.write("a", values[:3])
        writer.write("b", values.reshape(2, 5))
    with GGUFWriter(pieces, [], [A, B]) as writer:
        writer.write("a", values[:3].tobytes())
        writer.write("b", values[:5])
        writer.write("b", values[5:].tobytes())
    assert whole.read_bytes() == pieces.read_bytes()


def test_arrays_in_any_order_are_written_in_c_order(tmp_path: Path) -> None:
    values = np.arange(10, dtype=np.float32).reshape(5, 2)
    with GGUFWriter(tmp_path / "x.gguf", [], [B]) as writer:
        writer.write("b", values.T)
    assert GGUFReader(tmp_path / "x.gguf").data("b").tobytes() == values.T.tobytes()


A_BYTES, B_BYTES = bytes(12), bytes(40)
MISUSES = {
    "wrong order": ([("b", B_BYTES)], "`a` is due"),
    "unknown": ([("a", A_BYTES), ("c", B_BYTES)], "`b` is due"),
    "too short": ([("a", A_BYTES), ("b", bytes(36))], "`b` was not written completely"),
    "short before the next": ([("a", bytes(8)), ("b", B_BYTES)], "`a` is short of 4 bytes"),
    "too long": ([("a", bytes(16))], "`a` takes 12 bytes"),
    "missing": ([("a", A_BYTES)], "`b` was not written completely"),
    "once more": ([("a", A_BYTES), ("b", B_BYTES), ("b", B_BYTES)], "all tensors are written"),
}


@pytest.mark.parametrize("misuse", MISUSES)
def test_misuse_leaves_nothing(tmp_path: Path, misuse: str) -> None:
    calls, words = MISUSES[misuse]
    with pytest.raises(BitnetError, match=words), GGUFWriter(tmp_path / "x.gguf", [], [A, B]) as writer:
        for name, data in calls:
            writer.write(name, data)
    assert left_behind(tmp_path) == []


def test_an_exception_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), GGUFWriter(tmp_path / "x.gguf", [], [A, B]) as writer:
        writer.write("a", A_BYTES)
        assert len(left_behind(tmp_path)) == 1
        raise KeyboardInterrupt
    assert left_behind(tmp_path) == []


def test_a_writer_that_was_never_entered_leaves_nothing(tmp_path: Path) -> None:
    """A signal may strike as soon as the file exists, before anybody holds the writer."""

    def interrupted(self: GGUFWriter) -> None:
        open(self._temporary, "xb").close()
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(GGUFWriter, "_create", interrupted)
        GGUFWriter(tmp_path / "a.gguf", [], [A])
    gc.collect()
    assert left_behind(tmp_path) == []
    writer = GGUFWriter(tmp_path / "a.gguf", [], [A])
    assert len(left_behind(tmp_path)) == 1
    del writer
    gc.collect()
    assert left_behind(tmp_path) == []


def test_the_name_appears_with_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    writer = GGUFWriter(path, [], [A])
    writer.write("a", A_BYTES)
    assert not path.exists()
    writer.close()
    writer.close()
    writer.abort()
    assert left_behind(tmp_path) == ["x.gguf"]
    with pytest.raises(BitnetError, match="all tensors are written"):
        writer.write("a", A_BYTES)
    assert path.exists()


def test_existing_files_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(b"precious")
    with pytest.raises(BitnetError, match="exists already") as error:
        GGUFWriter(path, [], [])
    assert error.value.hint is not None and "another path" in error.value.hint
    assert path.read_bytes() == b"precious"
    with pytest.raises(RuntimeError), GGUFWriter(path, [], [], overwrite=True):
        raise RuntimeError
    assert path.read_bytes() == b"precious"
    GGUFWriter(path, [], [], overwrite=True).close()
    assert GGUFReader(path).tensors == {}
    assert left_behind(tmp_path) == ["x.gguf"]


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    writer = GGUFWriter(path, [], [])
    path.write_bytes(b"precious")
    with pytest.raises(BitnetError, match="exists already"):
        writer.close()
    assert path.read_bytes() == b"precious"
    assert left_behind(tmp_path) == ["x.gguf"]


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(BitnetError, match="does not exist") as error:
        GGUFWriter(tmp_path / "none" / "x.gguf", [], [])
    assert error.value.hint is not None and "mkdir" in error.value.hint
    for overwrite in (False, True):
        with pytest.raises(BitnetError, match="is a directory"):
            GGUFWriter(tmp_path, [], [], overwrite=overwrite)


def test_too_little_room_is_seen_at_once(tmp_path: Path) -> None:
    huge = TensorSpec("huge", (1 << 30, 1 << 20), GGMLType.F32)
    with pytest.raises(BitnetError, match="MB are free"):
        GGUFWriter(tmp_path / "x.gguf", [], [huge])
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "hint"),
    [(errno.ENOSPC, "free some space"), (errno.EFBIG, "no file as large"), (errno.EIO, "owner")],
)
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, hint: str) -> None:
    def full(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(gguf_writer.os, "fsync", full)
    with (
        pytest.raises(BitnetError, match=f"cannot be written: {os.strerror(number)}") as error,
        GGUFWriter(tmp_path / "x", [], [A]) as w,
    ):
        w.write("a", A_BYTES)
    assert error.value.hint is not None and hint in error.value.hint
    assert left_behind(tmp_path) == []
