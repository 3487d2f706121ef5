"""Damaged and malicious safetensors files: every one is refused with a FormatError, at once."""

from __future__ import annotations

import json
import time
import tracemalloc
from pathlib import Path

import pytest

from bitnet_cli.errors import FormatError
from bitnet_cli.formats.safetensors_reader import MAX_HEADER_BYTES, SafetensorsFile


def file(header: object, data: bytes = bytes(8), length: int | None = None) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(raw) if length is None else length).to_bytes(8, "little") + raw + data


def entry(
    shape: object = (2,), offsets: object = (0, 8), dtype: object = "F32", **more: object
) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}


def one(**fields: object) -> bytes:
    return file({"t": entry(**fields)})  # type: ignore[arg-type]


GOOD = file(
    {"__metadata__": {"format": "pt"}, "a": entry((1,), (0, 4)), "b": entry((2, 1), (4, 8), "BF16")},
    b"abcdefgh",
)
HUGE = 1 << 63

CASES: dict[str, tuple[bytes, str]] = {
    # header
    "empty": (b"", "empty"),
    "7 bytes": (bytes(7), "not a safetensors file"),
    "header of no bytes": (bytes(8), "not valid JSON"),
    "header of 2^63 bytes": (file({}, length=HUGE), "claims 9223372036854775808 bytes"),
    "header of 2^64-1 bytes": (file({}, length=2 * HUGE - 1), "claims"),
    "header one byte too long": (file({}, b"", length=3), "claims 3 bytes"),
    "a zip file": (b"PK\x03\x04" + bytes(60), "claims|not valid JSON"),
    "no JSON": (file(b"hello"), "not valid JSON"),
    "no text": (file(b'{"\xff": 1}'), "not valid JSON"),
    "an array": (file([]), "must be a JSON object, found a list"),
    "a number": (file(b"7"), "must be a JSON object"),
    "null": (file(b"null"), "must be a JSON object"),
    "cut off": (file(b'{"t": {"dtype"'), "not valid JSON"),
    "a comma too many": (file(b'{"t": 1,}'), "not valid JSON"),
    "two values": (file(b"{} {}"), "not valid JSON"),
    "NaN": (file(b'{"t": NaN}'), "`NaN` is not a JSON value"),
    "a number of 5000 digits": (file(b'{"t": ' + b"9" * 5000 + b"}"), "not valid JSON"),
    "100,000 brackets": (file(b"[" * 100_000), "not valid JSON"),
    "100,000 braces": (file(b'{"a":' * 100_000), "not valid JSON"),
    "name twice": (file(b'{"t": 1, "t": 2}'), "comes twice"),
    "field twice": (file(b'{"t": {"dtype": "F32", "dtype": "F16"}}'), "comes twice"),
    # names and metadata
    "half a character": (file(b'{"\\ud800": {}}'), "not valid Unicode"),
    "metadata of numbers": (file({"__metadata__": {"a": 1}}), "object of strings"),
    "metadata as list": (file({"__metadata__": []}), "object of strings"),
    "metadata of half a character": (file(b'{"__metadata__": {"a": "\\udc00"}}'), "object of strings"),
    # entries
    "entry null": (file({"t": None}), "expected an object"),
    "entry empty": (file({"t": {}}), "expected an object"),
    "entry with more": (one(more=1), "expected an object"),
    "dtype unknown": (one(dtype="F33"), "unknown dtype `F33`"),
    "dtype lower case": (one(dtype="f32"), "unknown dtype"),
    "dtype null": (one(dtype=None), "unknown dtype"),
    "dtype list": (one(dtype=["F32"]), "unknown dtype"),
    "dtype with escapes": (one(dtype="\x1b[2J"), "x1b"),
    "shape null": (one(shape=None), "list of at most"),
    "shape negative": (one(shape=[-2]), "list of at most"),
    "shape of negatives": (one(shape=[-2, -1]), "list of at most"),
    "shape of floats": (one(shape=[2.0]), "list of at most"),
    "shape of booleans": (one(shape=[2, True]), "list of at most"),
    "shape of strings": (one(shape=["2"]), "list of at most"),
    "shape 2^63": (one(shape=[HUGE]), "list of at most"),
    "shape 2^62 * 8": (one(shape=[1 << 62, 1 << 62]), "data_offsets"),
    "shape of 2^64 values and none": (one(shape=[1 << 62, 0]), "takes 0 bytes"),
    "shape of 17 dimensions": (one(shape=[1] * 17), "list of at most 16"),
    "shape too small": (one(shape=[1]), "takes 4 bytes, `data_offsets` give 8"),
    "shape too large": (one(shape=[3]), "takes 12 bytes, `data_offsets` give 8"),
    "offsets null": (one(offsets=None), "must be \\[begin, end\\]"),
    "offsets of one": (one(offsets=[0]), "must be \\[begin, end\\]"),
    "offsets of three": (one(offsets=[0, 8, 8]), "must be \\[begin, end\\]"),
    "offsets reversed": (one(offsets=[8, 0]), "must be \\[begin, end\\]"),
    "offsets negative": (one(offsets=[-8, 0]), "must be \\[begin, end\\]"),
    "offsets of floats": (one(offsets=[0.0, 8.0]), "must be \\[begin, end\\]"),
    "offsets of 2^63": (one(offsets=[HUGE, HUGE + 8]), "must be \\[begin, end\\]"),
    "offsets beyond the end": (one(offsets=[8, 16]), "truncated"),
    "offsets far beyond the end": (one(offsets=[HUGE - 16, HUGE - 8]), "truncated"),
    # cover
    "a gap before": (file({"t": entry((1,), (4, 8))}), "begins 4 bytes late"),
    "a gap between": (
        file({"a": entry((1,), (0, 4)), "b": entry((1,), (8, 12))}, bytes(12)),
        "begins 4 bytes late",
    ),
    "an overlap": (file({"a": entry((2,), (0, 8)), "b": entry((1,), (4, 8))}), "overlaps"),
    "the same bytes twice": (file({"a": entry((2,), (0, 8)), "b": entry((2,), (0, 8))}), "overlaps"),
    "bytes behind": (one(shape=[1], offsets=[0, 4]), "4 bytes follow the last tensor"),
    "bytes and no tensors": (file({}), "8 bytes follow the last tensor"),
    "data missing": (file({"t": entry()}, b""), "truncated"),
    "last byte missing": (file({"t": entry()}, bytes(7)), "truncated"),
}


@pytest.mark.parametrize("case", CASES)
def test_is_refused(case: str, tmp_path: Path) -> None:
    raw, words = CASES[case]
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(raw)
    tracemalloc.start()
    start = time.perf_counter()
    try:
        with pytest.raises(FormatError, match=words) as error:
            SafetensorsFile(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.perf_counter() - start < 5
    assert peak < 16 << 20
    assert str(path) in str(error.value)
    assert str(error.value).isprintable()
    assert not str(error.value).endswith(".")


def test_a_header_that_would_cost_memory(tmp_path: Path) -> None:
    path = tmp_path / "large.safetensors"
    path.write_bytes(file(b" " * (MAX_HEADER_BYTES + 1)))
    with pytest.raises(FormatError, match="are accepted"):
        SafetensorsFile(path)


def test_truncated_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "truncated.safetensors"
    path.write_bytes(GOOD)
    assert SafetensorsFile(path).data("b").tobytes() == b"efgh"
    for length in range(len(GOOD)):
        path.write_bytes(GOOD[:length])
        with pytest.raises(FormatError):
            SafetensorsFile(path)
