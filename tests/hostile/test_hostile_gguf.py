"""Damaged and malicious GGUF files, a few hundred bytes each: each is refused with a FormatError, at once."""

from __future__ import annotations

import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bitnet_cli.errors import FormatError
from bitnet_cli.formats.codecs import codec
from bitnet_cli.formats.file_mapping import located
from bitnet_cli.formats.gguf_reader import GGUFReader

HUGE = 1 << 63
U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)


def text(value: bytes | str, length: int | None = None) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw) if length is None else length) + raw


def pair(key: bytes | str, value_type: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", value_type) + value


def u32(value: int) -> bytes:
    return struct.pack("<I", value)


def u64(value: int) -> bytes:
    return struct.pack("<Q", value)


def tensor(
    name: bytes | str = "t",
    dims: tuple[int, ...] = (128, 1),
    kind: int = 36,
    offset: int = 0,
    n_dims: int | None = None,
) -> bytes:
    """A line of the tensor table; dims fastest first, as in the file."""
    n_dims = len(dims) if n_dims is None else n_dims
    return text(name) + struct.pack(f"<I{len(dims)}QIQ", n_dims, *dims, kind, offset)


I2_S_DATA = b"\x55" * 32 + struct.pack("<f", 1.0) + bytes(28)


def gguf(
    pairs: list[bytes] | None = None,
    tensors: list[bytes] | None = None,
    data: bytes = I2_S_DATA,
    *,
    n_pairs: int | None = None,
    n_tensors: int | None = None,
    magic: bytes = b"GGUF",
    alignment: int = 32,
) -> bytes:
    pairs = pairs if pairs is not None else [pair("general.architecture", STRING, text("llama"))]
    tensors = tensors if tensors is not None else [tensor()]
    head = magic + struct.pack(
        "<IQQ",
        3,
        len(tensors) if n_tensors is None else n_tensors,
        len(pairs) if n_pairs is None else n_pairs,
    )
    head += b"".join(pairs) + b"".join(tensors)
    return head + bytes(-len(head) % alignment) + data


GOOD = gguf(
    [
        pair("general.architecture", STRING, text("llama")),
        pair("list", ARRAY, u32(STRING) + u64(2) + text("a") + text("bc")),
        pair("numbers", ARRAY, u32(I32) + u64(3) + bytes(12)),
        pair("flags", ARRAY, u32(BOOL) + u64(2) + b"\x00\x01"),
        pair("flag", BOOL, b"\x01"),
    ],
    [tensor("t"), tensor("u", (128, 2), 36, 64), tensor("f", (4,), 0, 160)],
    I2_S_DATA + I2_S_DATA[:32] + I2_S_DATA + bytes(32),
)


def read_everything(path: Path) -> None:
    """Opens a file, reads all metadata and decodes all tensors."""
    with GGUFReader(path) as reader:
        for key in reader.metadata:
            reader.metadata[key]
        for name, info in reader.tensors.items():
            with located(path, name):
                codec(info.type).decode(reader.data(name), info.shape)


def test_the_good_file_is_good(tmp_path: Path) -> None:
    path = tmp_path / "good.gguf"
    path.write_bytes(GOOD)
    read_everything(path)


def with_value(value_type: int, value: bytes) -> bytes:
    return gguf([pair("key", value_type, value)])


def aligned_to(value_type: int, value: bytes) -> bytes:
    return gguf([pair("general.alignment", value_type, value)])


def patched(position: int, value: bytes) -> bytes:
    """One I2_S tensor whose data section is changed."""
    data = bytearray(I2_S_DATA)
    data[position : position + len(value)] = value
    return gguf(data=bytes(data))


CASES: dict[str, tuple[bytes, str]] = {
    # magic and counts
    "empty": (b"", "empty"),
    "wrong magic": (gguf(magic=b"GGML"), "not a GGUF file"),
    "lower case magic": (gguf(magic=b"gguf"), "not a GGUF file"),
    "terminal escapes for magic": (gguf(magic=b"\x1b[2J"), "x1b"),
    "2^63 tensors": (gguf(n_tensors=HUGE), "claims 9223372036854775808 tensors"),
    "2^64-1 tensors": (gguf(n_tensors=2 * HUGE - 1), "tensors"),
    "2^63 keys": (gguf(n_pairs=HUGE), "claims 9223372036854775808 metadata keys"),
    "one key too many": (gguf(n_pairs=2), "a tensor name is"),
    "one tensor too many": (gguf(n_tensors=2), "found 0"),
    "one key too few": (gguf([pair("a", U8, b"\1"), pair("b", U8, b"\1")], n_pairs=1), "found 0"),
    # keys
    "key of 2^63 bytes": (gguf([text("key", HUGE)]), "65535 are accepted"),
    "key of 2^16 bytes": (gguf([pair("k" * 65536, U8, b"\0")]), "65535 are accepted"),
    "key beyond the end": (gguf([text("key", 1000)], []), "ends inside a metadata key"),
    "empty key": (gguf([pair("", U8, b"\0")]), "is empty"),
    "key twice": (gguf([pair("k", U8, b"\0"), pair("k", U8, b"\1")]), "comes twice"),
    "key that is no text": (gguf([pair(b"\xff\xfe", U8, b"\0")]), "not valid UTF-8"),
    "key of surrogates": (gguf([pair(b"\xed\xa0\x80", U8, b"\0")]), "not valid UTF-8"),
    # values
    "value type 13": (with_value(13, b"\0" * 8), "unknown metadata value type 13"),
    "value type 2^32-1": (with_value(2**32 - 1, b"\0" * 8), "unknown metadata value type"),
    "bool 2": (with_value(BOOL, b"\2"), "must be 0 or 1"),
    "string of 2^63 bytes": (with_value(STRING, u64(HUGE)), "are accepted"),
    "string of 2^24 bytes": (with_value(STRING, u64(1 << 24)), "the file ends inside"),
    "string that is no text": (with_value(STRING, text(b"abc\x80")), "not valid UTF-8"),
    "array of 2^63 strings": (
        with_value(ARRAY, u32(STRING) + u64(HUGE)),
        "claims 9223372036854775808 strings",
    ),
    "array of 2^63 bytes": (with_value(ARRAY, u32(U8) + u64(HUGE)), "the file ends inside"),
    "array of 2^61 u64": (with_value(ARRAY, u32(U64) + u64(1 << 61)), "the file ends inside"),
    "array one element too long": (gguf([pair("k", ARRAY, u32(U64) + u64(20))], [], b""), "ends inside"),
    "array of arrays": (
        with_value(ARRAY, u32(ARRAY) + u64(1) + u32(U8) + u64(1) + b"\1"),
        "arrays of arrays",
    ),
    "array of type 13": (with_value(ARRAY, u32(13) + u64(1) + b"\1"), "value type 13"),
    "array with a string of 2^63 bytes": (with_value(ARRAY, u32(STRING) + u64(2) + u64(HUGE)), "ends inside"),
    "array with a string of 2^64-8 bytes": (
        with_value(ARRAY, u32(STRING) + u64(2) + u64(2 * HUGE - 8)),
        "ends inside",
    ),
    "array whose last string is too long": (
        with_value(ARRAY, u32(STRING) + u64(2) + text("a") + text("b", 10_000)),
        "ends inside",
    ),
    "array with a string that is no text": (
        with_value(ARRAY, u32(STRING) + u64(2) + text("a") + text(b"\xc3")),
        "string 1 is not valid UTF-8",
    ),
    "array of bools with a 2": (with_value(ARRAY, u32(BOOL) + u64(2) + b"\1\2"), "neither 0 nor 1"),
    # alignment
    "alignment 0": (aligned_to(U32, u32(0)), "power of two"),
    "alignment 1": (aligned_to(U32, u32(1)), "at least 8"),
    "alignment 48": (aligned_to(U32, u32(48)), "power of two"),
    "alignment 2^32-1": (aligned_to(U32, u32(2**32 - 1)), "power of two"),
    "alignment 2^31": (aligned_to(U32, u32(2**31)), "passes the end of the file"),
    "alignment as u64": (aligned_to(U64, u64(32)), "expected a u32, found u64"),
    "alignment as bool": (aligned_to(BOOL, b"\1"), "expected a u32, found bool"),
    "alignment as string": (aligned_to(STRING, text("32")), "expected a u32, found string"),
    "alignment as array": (
        aligned_to(ARRAY, u32(U32) + u64(1) + u32(32)),
        "expected a u32, found array<u32>",
    ),
    # the tensor table
    "name of 2^63 bytes": (gguf(tensors=[text("t", HUGE) + bytes(40)]), "are accepted"),
    "name of 2000 bytes": (gguf(tensors=[tensor("t" * 2000)]), "1024 are accepted"),
    "name that is no text": (gguf(tensors=[tensor(b"\xff")]), "not valid UTF-8"),
    "name twice": (gguf(tensors=[tensor(), tensor(offset=64)], data=I2_S_DATA * 2), "comes twice"),
    "no dimensions": (gguf(tensors=[tensor(dims=())]), "found 0"),
    "5 dimensions": (gguf(tensors=[tensor(dims=(128, 1, 1, 1, 1))]), "found 5"),
    "2^32-1 dimensions": (gguf(tensors=[tensor(n_dims=2**32 - 1)]), "found 4294967295"),
    "first dimension zero": (gguf(tensors=[tensor(dims=(0, 1))]), "dimension is zero"),
    "last dimension zero": (gguf(tensors=[tensor(dims=(128, 0))]), "dimension is zero"),
    "product of 2^64": (gguf(tensors=[tensor(dims=(1 << 32, 1 << 32))]), "passes the end"),
    "product of 2^64 + 128": (gguf(tensors=[tensor(dims=((1 << 57) + 1, 128), kind=0)]), "passes the end"),
    "product of 2^256": (gguf(tensors=[tensor(dims=(HUGE, HUGE, HUGE, HUGE), kind=1)]), "passes the end"),
    "product of 2^256 of unknown type": (
        gguf(tensors=[tensor(dims=(HUGE,) * 4, kind=40)]),
        "fit into 64 bytes",
    ),
    "one value too many": (gguf(tensors=[tensor(dims=(17,), kind=0)]), "passes the end"),
    "offset 2^63": (gguf(tensors=[tensor(offset=HUGE)]), "passes the end"),
    "offset 2^64-32": (gguf(tensors=[tensor(offset=2 * HUGE - 32)]), "passes the end"),
    "offset at the end": (gguf(tensors=[tensor(offset=64)]), "passes the end"),
    "offset at the end of unknown type": (gguf(tensors=[tensor(offset=64, kind=40)]), "fit into 0 bytes"),
    "offset not aligned": (
        gguf(tensors=[tensor(offset=16)], data=bytes(96)),
        "not a multiple of the alignment",
    ),
    "same offset": (gguf(tensors=[tensor("a"), tensor("b")]), "overlaps"),
    "overlap": (gguf(tensors=[tensor("a"), tensor("b", offset=32)], data=bytes(96)), "overlaps"),
    "overlap in reverse order": (
        gguf(tensors=[tensor("b", offset=32), tensor("a")], data=bytes(96)),
        "`a`.*overlaps",
    ),
    "same offset of unknown types": (
        gguf(tensors=[tensor("a", kind=40), tensor("b", kind=40)]),
        "fit into 0 bytes",
    ),
    "data missing": (gguf(data=b""), "passes the end"),
    "tail missing": (gguf(data=I2_S_DATA[:32]), "passes the end"),
    "last byte missing": (gguf(data=I2_S_DATA[:-1]), "passes the end"),
    # shapes that a type cannot have
    "I2_S rows of 127": (gguf(tensors=[tensor(dims=(127, 1))]), "multiple of 128"),
    "I2_S rows of 64": (gguf(tensors=[tensor(dims=(64, 2))]), "multiple of 128"),
    "I2_S vector": (gguf(tensors=[tensor(dims=(128,))]), "2 dimensions"),
    "I2_S of 3 dimensions": (gguf(tensors=[tensor(dims=(128, 1, 1))]), "2 dimensions"),
    "Q8_0 rows of 33": (gguf(tensors=[tensor(dims=(33, 1), kind=8)]), "multiple of 32"),
    "Q6_K rows of 128": (gguf(tensors=[tensor(dims=(128, 1), kind=14)]), "multiple of 256"),
    # contents
    "code 3": (patched(7, b"\x57"), "`t`: row 0, column 103 holds the code 3"),
    "code 3 in the top field": (patched(31, b"\xd5"), "`t`: row 0, column 31 holds the code 3"),
    "scale NaN": (patched(32, np.float32(np.nan).tobytes()), "scale must be a finite number"),
    "scale infinity": (patched(32, np.float32(np.inf).tobytes()), "scale must be a finite number"),
}


@pytest.mark.parametrize("case", CASES)
def test_is_refused(case: str, tmp_path: Path) -> None:
    raw, words = CASES[case]
    path = tmp_path / "hostile.gguf"
    path.write_bytes(raw)
    refuse(read_everything, path, words)


def refuse(read: Callable[[Path], None], path: Path, words: str) -> None:
    """The file is refused in well under a second and a few megabytes, with a message fit for a terminal."""
    tracemalloc.start()
    start = time.perf_counter()
    try:
        with pytest.raises(FormatError, match=words) as error:
            read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.perf_counter() - start < 5
    assert peak < 8 << 20
    assert str(path) in str(error.value)
    assert str(error.value).isprintable()
    assert not str(error.value).endswith(".")


def test_truncated_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "truncated.gguf"
    # The last tensor has 16 bytes; the 16 behind it are padding, and a file may end without.
    for length in range(len(GOOD) - 16):
        path.write_bytes(GOOD[:length])
        with pytest.raises(FormatError):
            read_everything(path)
    path.write_bytes(GOOD[:-16])
    read_everything(path)
