"""The GGUF reader: the documented file, files of the `gguf` package, lazy arrays, large vocabularies."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import gguf
import numpy as np
import pytest

from bitnet_cli.errors import BitnetError, FormatError, UnsupportedError
from bitnet_cli.formats import file_mapping
from bitnet_cli.formats.codecs import codec
from bitnet_cli.formats.gguf_reader import GGUFReader, TensorInfo
from bitnet_cli.formats.gguf_types import GGMLType

# The complete example of the format's description: two keys and one I2_S tensor.
EXAMPLE = bytes.fromhex(
    """
    47 47 55 46 03 00 00 00 01 00 00 00 00 00 00 00  02 00 00 00 00 00 00 00 14 00 00 00 00 00 00 00
    67 65 6e 65 72 61 6c 2e 61 72 63 68 69 74 65 63  74 75 72 65 08 00 00 00 0c 00 00 00 00 00 00 00
    62 69 74 6e 65 74 2d 62 31 2e 35 38 11 00 00 00  00 00 00 00 67 65 6e 65 72 61 6c 2e 66 69 6c 65
    5f 74 79 70 65 04 00 00 00 28 00 00 00 01 00 00  00 00 00 00 00 74 02 00 00 00 80 00 00 00 00 00
    00 00 01 00 00 00 00 00 00 00 24 00 00 00 00 00  00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    29 0a a6 28 9a a0 68 82 a2 08 88 22 20 8a 82 29  0a a6 28 9a a0 68 82 a2 08 88 22 20 8a 82 29 0a
    00 00 9c 3f 00 00 00 00 00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    """
)


@pytest.fixture
def example(tmp_path: Path) -> Path:
    path = tmp_path / "example.gguf"
    path.write_bytes(EXAMPLE)
    return path


def test_the_documented_file(example: Path) -> None:
    assert len(EXAMPLE) == 224
    with GGUFReader(str(example)) as reader:
        assert (reader.path, reader.size, reader.version) == (example, 224, 3)
        assert (reader.alignment, reader.data_offset) == (32, 0xA0)
        assert dict(reader.metadata) == {"general.architecture": "bitnet-b1.58", "general.file_type": 40}
        assert reader.value_type("general.file_type") == "u32"
        assert reader.tensors == {"t": TensorInfo("t", (1, 128), 36, 0xA0, 64)}
        assert reader.tensors["t"].n_values == 128
        data = reader.data("t")
        assert data.dtype == np.uint8
        assert data.tobytes() == EXAMPLE[0xA0:]
        assert not data.flags.writeable
        trits, scale = codec(GGMLType.I2_S).decode(data, (1, 128))
        assert trits.ravel().tolist() == [((i * i + 3 * i) // 5) % 3 - 1 for i in range(128)]
        assert scale == 1.21875


def test_version_2_is_read_like_3(example: Path) -> None:
    example.write_bytes(EXAMPLE[:4] + b"\x02" + EXAMPLE[5:])
    assert GGUFReader(example).version == 2


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (b"\x01\0\0\0", "version 1;"),
        (b"\x04\0\0\0", "version 4;"),
        (b"\0\0\0\x03", "big-endian"),
        (b"\0" * 4, "version 0"),
    ],
)
def test_other_versions_are_unsupported(example: Path, version: bytes, words: str) -> None:
    example.write_bytes(EXAMPLE[:4] + version + EXAMPLE[8:])
    with pytest.raises(UnsupportedError, match=words):
        GGUFReader(example)


def test_views_outlive_the_reader(example: Path) -> None:
    reader = GGUFReader(example)
    data = reader.data("t")
    reader.close()
    reader.close()
    del reader
    assert data.tobytes() == EXAMPLE[0xA0:]


def test_advice_does_not_change_the_data(tmp_path: Path) -> None:
    path = tmp_path / "two.gguf"
    values = np.arange(40_000, dtype=np.float32).reshape(2, 20_000)
    write_with_gguf(path, {"a": (values, None), "b": (values, None)})
    reader = GGUFReader(path)
    before = reader.data("a").tobytes()
    reader.advise_done("a")
    reader.advise_done("b")
    metadata = dict(reader.metadata)
    reader.advise_header_done()
    assert reader.data("a").tobytes() == before == values.tobytes()
    assert dict(reader.metadata) == metadata


def write_with_gguf(
    path: Path, tensors: dict[str, tuple[np.ndarray, gguf.GGMLQuantizationType | None]], **options: object
) -> gguf.GGUFWriter:
    writer = gguf.GGUFWriter(path, "llama")
    for key, add in options.items():
        add(writer, key)  # type: ignore[operator]
    for name, (values, kind) in tensors.items():
        writer.add_tensor(name, values, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return writer


def test_tensors_written_by_the_gguf_package(tmp_path: Path) -> None:
    values = np.random.default_rng(2).standard_normal((6, 256)).astype(np.float32)
    kinds = [gguf.GGMLQuantizationType[name] for name in ("F32", "F16", "BF16", "Q8_0", "Q4_0")]
    path = tmp_path / "foreign.gguf"
    write_with_gguf(path, {kind.name: (gguf.quants.quantize(values, kind), kind) for kind in kinds})
    with GGUFReader(path) as reader:
        assert list(reader.tensors) == [kind.name for kind in kinds]
        for kind in kinds:
            info = reader.tensors[kind.name]
            assert (info.shape, info.type) == ((6, 256), kind.value)
            expected = gguf.quants.dequantize(gguf.quants.quantize(values, kind), kind)
            decoded = codec(info.type).decode(reader.data(kind.name), info.shape)
            assert np.array_equal(decoded, expected.reshape(6, 256))


def test_shapes_of_1_to_4_dimensions(tmp_path: Path) -> None:
    shapes = {"a": (5,), "b": (2, 3), "c": (2, 3, 4), "d": (2, 1, 3, 4)}
    path = tmp_path / "dims.gguf"
    write_with_gguf(path, {name: (np.zeros(shape, np.float32), None) for name, shape in shapes.items()})
    assert {name: info.shape for name, info in GGUFReader(path).tensors.items()} == shapes


def test_i2_s_written_through_the_gguf_package(tmp_path: Path) -> None:
    raw = np.frombuffer(EXAMPLE[0xA0:], np.int8)
    path = tmp_path / "i2_s.gguf"
    writer = gguf.GGUFWriter(path, "bitnet-b1.58")
    writer.add_tensor("t", raw, raw_shape=(1, 128), raw_dtype=36)  # type: ignore[arg-type]
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    reader = GGUFReader(path)
    assert reader.tensors["t"].type == GGMLType.I2_S
    assert reader.data("t").tobytes() == EXAMPLE[0xA0:]


def test_every_value_type_of_the_gguf_package(tmp_path: Path) -> None:
    path = tmp_path / "values.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint8("u8", 255)
    writer.add_int8("i8", -128)
    writer.add_uint16("u16", 65535)
    writer.add_int16("i16", -32768)
    writer.add_uint32("u32", 2**32 - 1)
    writer.add_int32("i32", -(2**31))
    writer.add_uint64("u64", 2**64 - 1)
    writer.add_int64("i64", -(2**63))
    writer.add_float32("f32", 1e-5)
    writer.add_float64("f64", 1e-5)
    writer.add_bool("bool", True)
    writer.add_string("string", "zażółć ❤")
    writer.add_array("strings", ["", "a", "日本", "x" * 300])
    writer.add_array("numbers", [1, -2, 3])
    writer.add_array("floats", [0.5, -1.25])
    writer.add_array("flags", [True, False, True])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    reader = GGUFReader(path)
    scalars = {key: (reader.value_type(key), reader.metadata[key]) for key in list(reader.metadata)[1:13]}
    assert scalars == {
        "u8": ("u8", 255),
        "i8": ("i8", -128),
        "u16": ("u16", 65535),
        "i16": ("i16", -32768),
        "u32": ("u32", 2**32 - 1),
        "i32": ("i32", -(2**31)),
        "u64": ("u64", 2**64 - 1),
        "i64": ("i64", -(2**63)),
        "f32": ("f32", float(np.float32(1e-5))),
        "f64": ("f64", 1e-5),
        "bool": ("bool", True),
        "string": ("string", "zażółć ❤"),
    }
    assert reader.metadata["bool"] is True
    assert reader.value_type("strings") == "array<string>"
    assert reader.metadata["strings"] == ["", "a", "日本", "x" * 300]
    assert reader.metadata.array_length("strings") == 4
    assert reader.metadata.array_length("u8") is None
    assert reader.metadata.array_head("strings", 2) == ["", "a"]
    assert reader.metadata.array_head("numbers", 9) == [1, -2, 3]
    numbers, floats, flags = (reader.metadata[key] for key in ("numbers", "floats", "flags"))
    assert isinstance(numbers, np.ndarray) and numbers.dtype == np.int32 and numbers.tolist() == [1, -2, 3]
    assert isinstance(floats, np.ndarray) and floats.dtype == np.float32 and floats.tolist() == [0.5, -1.25]
    assert isinstance(flags, np.ndarray) and flags.dtype == np.bool_ and flags.tolist() == [True, False, True]
    assert reader.tensors == {}


def test_metadata_is_a_mapping(example: Path) -> None:
    metadata = GGUFReader(example).metadata
    assert list(metadata) == ["general.architecture", "general.file_type"]
    assert len(metadata) == 2
    assert "general.file_type" in metadata
    assert metadata.get("absent", 5) == 5
    with pytest.raises(KeyError):
        metadata["absent"]


def test_types_of_unknown_size_reach_to_the_next_tensor(tmp_path: Path) -> None:
    path = tmp_path / "nvfp4.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tensor("nvfp4", np.zeros(160, np.int8), raw_shape=(4, 96), raw_dtype=40)  # type: ignore[arg-type]
    writer.add_tensor("norm", np.ones(8, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    reader = GGUFReader(path)
    assert reader.data("nvfp4").nbytes == 160
    with pytest.raises(UnsupportedError, match="NVFP4"):
        codec(reader.tensors["nvfp4"].type)


def test_a_large_vocabulary_opens_quickly(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.gguf"
    rng = np.random.default_rng(4)
    words = ["x" * int(n) for n in rng.integers(1, 30, 408_403)]
    text = b"".join(struct.pack("<Q", len(word)) + word.encode() for word in words)
    keys = struct.pack("<Q6sIIQ", 6, b"tokens", 9, 8, len(words)) + text
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + keys)
    times = []
    for _ in range(3):
        start = time.process_time()
        GGUFReader(path)
        times.append(time.process_time() - start)
    # 27 ms on a 2023 server core; the bound leaves room for slow and busy machines.
    assert min(times) < 0.25
    assert GGUFReader(path).metadata["tokens"] == words


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "is a directory"),
        (lambda path: path.write_bytes(b""), "the file is empty"),
        (lambda path: path.write_bytes(b"PK\x03\x04 not it"), "not a GGUF file"),
        (lambda path: path.write_bytes(b"GG"), "not a GGUF file"),
    ],
)
def test_files_that_are_none(tmp_path: Path, make: object, words: str) -> None:
    path = tmp_path / "model.gguf"
    make(path)  # type: ignore[operator]
    with pytest.raises(BitnetError, match=words) as error:
        GGUFReader(path)
    assert str(path) in str(error.value)


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    import os

    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(BitnetError, match="not a regular file"):
        GGUFReader(path)


def test_located_adds_the_place_once() -> None:
    with pytest.raises(FormatError) as error, file_mapping.located("m.gguf", "blk.0.x"):
        raise FormatError("code 3", hint="again")
    assert str(error.value) == "m.gguf: `blk.0.x`: code 3"
    assert error.value.hint == "again"
    with pytest.raises(FormatError) as error, file_mapping.located("outer"):
        raise FormatError("code 3", path="inner")
    assert str(error.value) == "inner: code 3"
