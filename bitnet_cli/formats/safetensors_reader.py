"""safetensors files: the JSON header read with suspicion, the tensors as views of the mapped file.

Layout: u64 little-endian length of the header, the header as a JSON object, the data. The rules are those of
the reference implementation: tensors lie back to back in the data section, without gaps, overlaps or anything
behind them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bitnet_cli.errors import FormatError, UnsupportedError, printable
from bitnet_cli.formats.codecs import codec_named
from bitnet_cli.formats.file_mapping import FileMapping

MAX_HEADER_BYTES = 1 << 23
"""A header of a thousand tensors has 0.1 MB; this bounds the memory that parsing can take."""
MAX_DIMS = 16

DTYPE_BYTES: dict[str, int] = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "U16": 2,
    "I16": 2,
    "F16": 2,
    "BF16": 2,
    "U32": 4,
    "I32": 4,
    "F32": 4,
    "U64": 8,
    "I64": 8,
    "F64": 8,
}
_FLOATS = {"F32": "f32", "F16": "f16", "BF16": "bf16"}


@dataclass(frozen=True, slots=True)
class STInfo:
    """One tensor of the header."""

    name: str
    dtype: str
    """A key of `DTYPE_BYTES`, such as `BF16`."""
    shape: tuple[int, ...]
    offset: int
    """Of the first byte, from the beginning of the file."""
    n_bytes: int


class SafetensorsFile:
    """An open safetensors file; a context manager.

    Args:
        path: the file.

    Attributes:
        path, size: the file and its length in bytes.
        tensors: by name, in the order of the header.
        metadata: the strings of `__metadata__`, empty if there are none.

    Raises:
        BitnetError: the file cannot be opened.
        FormatError: it is not a safetensors file, is truncated, or contradicts itself.
    """

    def __init__(self, path: str | Path) -> None:
        self._mapping = FileMapping(path)
        self.path = self._mapping.path
        self.size = self._mapping.size
        header, data_offset = _read_header(self._mapping)
        self.metadata = _read_metadata(self.path, header.pop("__metadata__", {}))
        self.tensors = {
            name: _read_tensor(self.path, name, entry, data_offset) for name, entry in header.items()
        }
        _check_cover(self.path, self.tensors, data_offset, self.size)

    def data(self, name: str) -> np.ndarray:
        """The bytes of a tensor: uint8 [n_bytes], a read-only view of the file."""
        info = self.tensors[name]
        return self._mapping.view(info.offset, info.n_bytes)

    def advise_done(self, name: str) -> None:
        """Lets the system take back the memory that reading a tensor filled."""
        info = self.tensors[name]
        self._mapping.advise_done(info.offset, info.n_bytes)

    def close(self) -> None:
        """Gives the file up. Views handed out by `data` stay valid."""
        self._mapping.close()

    def __enter__(self) -> SafetensorsFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def to_float32(dtype: str, data: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Floats of a tensor, or of some of its rows, exactly.

    Args:
        dtype: `F32`, `F16` or `BF16`.
        data: uint8, the bytes of the values.
        shape: of the result.

    Returns:
        float32 [shape], a new array.

    Raises:
        UnsupportedError: the dtype is not one of the three.
        FormatError: the number of bytes does not fit the shape.
    """
    if dtype not in _FLOATS:
        raise UnsupportedError(f"values of type `{dtype}` cannot be read as floats; F32, F16 and BF16 can")
    values = codec_named(_FLOATS[dtype]).decode(data, shape)
    assert isinstance(values, np.ndarray)
    return values


def _read_header(mapping: FileMapping) -> tuple[dict[str, object], int]:
    """The JSON object of the header, and where the data begins."""
    path = mapping.path
    if mapping.size < 8:
        raise FormatError(f"not a safetensors file: {mapping.size} bytes are too few for a header", path=path)
    length = int.from_bytes(mapping.buffer[:8], "little")
    if length > mapping.size - 8:
        raise FormatError(
            f"the header claims {length} bytes, {mapping.size - 8} follow: truncated or no safetensors file",
            path=path,
            offset=0,
        )
    if length > MAX_HEADER_BYTES:
        raise FormatError(
            f"the header is {length} bytes long, at most {MAX_HEADER_BYTES} are accepted", path=path, offset=0
        )
    try:
        header = json.loads(
            mapping.buffer[8 : 8 + length].decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
        )
    except (ValueError, RecursionError) as error:
        # UnicodeDecodeError and JSONDecodeError are ValueErrors, and so is an integer of too many digits.
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else printable(str(error))
        raise FormatError(f"the header is not valid JSON: {reason}", path=path, offset=8) from None
    if not isinstance(header, dict):
        raise FormatError(
            f"the header must be a JSON object, found a {type(header).__name__}", path=path, offset=8
        )
    return header, 8 + length


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError("a name comes twice")
    return entries


def _refuse_constant(word: str) -> object:
    raise ValueError(f"`{word}` is not a JSON value")


def _read_metadata(path: Path, entries: object) -> dict[str, str]:
    if not isinstance(entries, dict) or not all(_is_text(key) and _is_text(entries[key]) for key in entries):
        raise FormatError("`__metadata__` must be an object of strings", path=path, tensor="__metadata__")
    return entries


def _read_tensor(path: Path, name: str, entry: object, data_offset: int) -> STInfo:
    if not _is_text(name):
        raise FormatError("the name is not valid Unicode", path=path, tensor=name)
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise FormatError(
            "expected an object with `dtype`, `shape` and `data_offsets`", path=path, tensor=name
        )
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BYTES:
        raise FormatError(f"unknown dtype `{printable(str(dtype))}`", path=path, tensor=name)
    if not _is_counts(shape) or len(shape) > MAX_DIMS:
        raise FormatError(f"the shape must be a list of at most {MAX_DIMS} counts", path=path, tensor=name)
    if not _is_counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise FormatError("`data_offsets` must be [begin, end]", path=path, tensor=name)
    n_bytes = DTYPE_BYTES[dtype]
    for dim in shape:
        n_bytes *= dim
    if n_bytes != offsets[1] - offsets[0]:
        raise FormatError(
            f"{dtype} of shape {shape} takes {n_bytes} bytes, `data_offsets` give {offsets[1] - offsets[0]}",
            path=path,
            tensor=name,
        )
    return STInfo(name, dtype, tuple(shape), data_offset + offsets[0], n_bytes)


def _is_text(value: object) -> bool:
    """JSON can spell halves of surrogate pairs, which are no characters."""
    return isinstance(value, str) and not any("\ud800" <= c <= "\udfff" for c in value)


def _is_counts(value: object) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item <= sys.maxsize for item in value)


def _check_cover(path: Path, tensors: dict[str, STInfo], data_offset: int, size: int) -> None:
    """Refuses gaps, overlaps, tensors beyond the end and bytes behind the last one."""
    end = data_offset
    for info in sorted(tensors.values(), key=lambda info: (info.offset, info.n_bytes)):
        if info.offset + info.n_bytes > size:
            raise FormatError(
                f"its data ends at byte {info.offset + info.n_bytes}, the file at {size}: truncated",
                path=path,
                tensor=info.name,
                offset=info.offset,
            )
        if info.offset != end:
            problem = (
                "overlaps the tensor before it"
                if info.offset < end
                else f"begins {info.offset - end} bytes late"
            )
            raise FormatError(f"its data {problem}", path=path, tensor=info.name, offset=info.offset)
        end += info.n_bytes
    if end != size:
        raise FormatError(f"{size - end} bytes follow the last tensor", path=path, offset=end)
