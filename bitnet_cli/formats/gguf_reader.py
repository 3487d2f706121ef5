"""GGUF files: header, metadata and tensor table, with every number checked before it is used.

Opening reads the header only. Tensors are views of the mapped file; decoding them is the work of `codecs`.
Limits that no honest file meets: 65,536 metadata keys, 131,072 tensors, 16 MiB in one metadata string.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from bitnet_cli.errors import FormatError, RepresentationError, UnsupportedError, printable
from bitnet_cli.formats.file_mapping import FileMapping
from bitnet_cli.formats.gguf_metadata import Cursor, Metadata, read_metadata
from bitnet_cli.formats.gguf_types import (
    BARE_TYPES,
    DEFAULT_ALIGNMENT,
    MAGIC,
    MAX_DIMS,
    bare_tensor_bytes,
    has_known_size,
    meant_type,
    tensor_bytes,
    type_name,
)

MAX_TENSORS = 1 << 17
MAX_NAME_BYTES = 1024

# Versions 2 and 3 differ only in that 3 allows big-endian files.
_VERSIONS = (2, 3)
# Smallest entry of the tensor table: length of the name, no name, one dimension, type, offset.
_MIN_TENSOR_BYTES = 8 + 4 + 8 + 4 + 8


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One line of the tensor table."""

    name: str
    shape: tuple[int, ...]
    """NumPy order, slowest dimension first: (rows, cols) of a matrix; reversed in the file."""
    type: int
    """Number of the tensor type, known to `GGMLType` or not; `GGMLType.MXFP4` where the file's 39 means that."""
    offset: int
    """Of the first byte, from the beginning of the file."""
    n_bytes: int
    """Length of the data. For a type of unknown size: up to the next tensor or the end of the file."""

    @property
    def n_values(self) -> int:
        total = 1
        for dim in self.shape:
            total *= dim
        return total


class GGUFReader:
    """An open GGUF file; a context manager.

    Args:
        path: the file.

    Attributes:
        path, size: the file and its length in bytes.
        version: of the container, 2 or 3.
        alignment: of tensor data, in bytes.
        data_offset: where the data section begins.
        metadata: a Mapping; see `Metadata`.
        tensors: by name, in file order.

    Raises:
        BitnetError: the file cannot be opened.
        FormatError: it is not a GGUF file, is truncated, or contradicts itself.
        UnsupportedError: it is a GGUF file of another version or byte order.
    """

    def __init__(self, path: str | Path) -> None:
        self._mapping = FileMapping(path)
        self.path = self._mapping.path
        self.size = self._mapping.size
        cursor = Cursor(self._mapping)
        self.version = _read_version(cursor)
        n_tensors = cursor.u64("the number of tensors")
        n_keys = cursor.u64("the number of metadata keys")
        self.metadata: Metadata = read_metadata(cursor, n_keys)
        self.alignment = _alignment(cursor, self.metadata)
        table = _read_table(cursor, n_tensors)
        self.data_offset = -(-cursor.pos // self.alignment) * self.alignment
        self.tensors = _place(cursor, table, self.data_offset, self.alignment, self.metadata)

    def value_type(self, key: str) -> str:
        """Type of a metadata value, such as `u32`, `string` or `array<string>`."""
        return self.metadata.value_type(key)

    def data(self, name: str) -> np.ndarray:
        """The bytes of a tensor: uint8 [n_bytes], a read-only view of the file, scales included."""
        info = self.tensors[name]
        return self._mapping.view(info.offset, info.n_bytes)

    def bytes_between(self, start: int, stop: int) -> np.ndarray:
        """Bytes of the file that may belong to no tensor: uint8 [stop - start], a read-only view."""
        return self._mapping.view(start, stop - start)

    def advise_done(self, name: str) -> None:
        """Lets the system take back the memory that reading a tensor filled; call it after repacking."""
        info = self.tensors[name]
        self._mapping.advise_done(info.offset, info.n_bytes)

    def advise_header_done(self) -> None:
        """The same for metadata and the tensor table, whose vocabulary may be megabytes."""
        self._mapping.advise_done(0, self.data_offset)

    def close(self) -> None:
        """Gives the file up. Views from `data` stay valid, arrays of the metadata are out of reach."""
        self._mapping.close()

    def __enter__(self) -> GGUFReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _read_version(cursor: Cursor) -> int:
    path = cursor.mapping.path
    magic = cursor.mapping.buffer[: len(MAGIC)]
    if magic != MAGIC:
        raise FormatError(
            f"not a GGUF file: it begins with `{printable(magic.decode('latin-1'))}` instead of `GGUF`",
            path=path,
        )
    cursor.skip(len(MAGIC), "the magic number")
    version = cursor.u32("the version")
    if version in _VERSIONS:
        return version
    if int.from_bytes(version.to_bytes(4, "little"), "big") in (1, *_VERSIONS):
        raise UnsupportedError(f"{path} is a big-endian GGUF file; only little-endian files are supported")
    raise UnsupportedError(f"{path} has GGUF version {version}; versions 2 and 3 are supported")


def _alignment(cursor: Cursor, metadata: Metadata) -> int:
    key = "general.alignment"
    if key not in metadata:
        return DEFAULT_ALIGNMENT
    alignment = metadata[key]
    if metadata.value_type(key) != "u32" or not isinstance(alignment, int):
        found = metadata.value_type(key)
        raise FormatError(f"expected a u32, found {found}", path=cursor.mapping.path, tensor=key)
    if alignment < 8 or alignment & (alignment - 1):
        raise FormatError(
            f"alignment must be a power of two and at least 8, found {alignment}",
            path=cursor.mapping.path,
            tensor=key,
        )
    return alignment


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of the table as read; `offset` counts from the data section, and is itself found at `pos`."""

    shape: tuple[int, ...]
    type: int
    offset: int
    pos: int


def _read_table(cursor: Cursor, n_tensors: int) -> dict[str, _Row]:
    limit = min((cursor.mapping.size - cursor.pos) // _MIN_TENSOR_BYTES, MAX_TENSORS)
    if n_tensors > limit:
        raise cursor.error(
            f"the header claims {n_tensors} tensors, at most {limit} are accepted in this file"
        )
    table: dict[str, _Row] = {}
    for _ in range(n_tensors):
        start = cursor.pos
        name = cursor.string("a tensor name", MAX_NAME_BYTES)
        if name in table:
            raise cursor.error("this tensor name comes twice", key=name, pos=start)
        table[name] = _read_row(cursor, name)
    return table


def _read_row(cursor: Cursor, name: str) -> _Row:
    start = cursor.pos
    n_dims = cursor.u32("the number of dimensions")
    if not 1 <= n_dims <= MAX_DIMS:
        raise cursor.error(f"expected 1 to {MAX_DIMS} dimensions, found {n_dims}", key=name, pos=start)
    dims = [cursor.u64("a dimension") for _ in range(n_dims)]
    if 0 in dims:
        raise cursor.error("a dimension is zero", key=name, pos=start)
    tensor_type = cursor.u32("the type of a tensor")
    pos = cursor.pos
    return _Row(tuple(reversed(dims)), tensor_type, cursor.u64("the offset of a tensor"), pos)


def _place(
    cursor: Cursor, table: dict[str, _Row], data_offset: int, alignment: int, metadata: Metadata
) -> dict[str, TensorInfo]:
    """Turns the table into TensorInfos: aligned, inside the file, not overlapping."""
    end_of_file = cursor.mapping.size
    by_offset = sorted(table, key=lambda name: table[name].offset)
    limits = {name: data_offset + table[after].offset for name, after in pairwise(by_offset)}
    tensors = {}
    for name, row in table.items():
        start, limit = data_offset + row.offset, limits.get(name, end_of_file)
        if row.offset % alignment:
            raise cursor.error(
                f"its offset {row.offset} is not a multiple of the alignment {alignment}",
                key=name,
                pos=row.pos,
            )
        row = replace(row, type=meant_type(row.type, row.shape, limit - start, alignment, metadata))
        n_bytes = _size(cursor, name, row, limit - start, alignment)
        if start >= end_of_file or n_bytes > end_of_file - start:
            raise cursor.error(
                f"its data, {n_bytes} bytes from byte {start}, passes the end of the file at {end_of_file}",
                key=name,
                pos=row.pos,
            )
        if n_bytes > limit - start or start == limit:
            raise cursor.error(
                f"its data overlaps the tensor that begins at byte {limit}", key=name, pos=row.pos
            )
        tensors[name] = TensorInfo(name, row.shape, row.type, start, n_bytes)
    return tensors


def _size(cursor: Cursor, name: str, row: _Row, room: int, alignment: int) -> int:
    """Bytes of the data; types of unknown size fill the room up to the next tensor."""
    if not has_known_size(row.type):
        # Every format spends some bits on a value: a shape beyond that is not one.
        if TensorInfo(name, row.shape, row.type, 0, 0).n_values > room * 64:
            what = f"{type_name(row.type)} of shape {row.shape}"
            raise cursor.error(f"{what} does not fit into {max(room, 0)} bytes", key=name, pos=row.pos)
        return room
    try:
        n_bytes = tensor_bytes(row.type, row.shape)
    except RepresentationError as error:
        raise cursor.error(error.message, key=name, pos=row.pos) from None
    if n_bytes > room and row.type in BARE_TYPES:
        # Rows without scales: only the room that a tensor has tells.
        bare = bare_tensor_bytes(row.type, row.shape)
        if bare <= room < bare + alignment:
            return bare
    return n_bytes


def refuse_parts(reader: GGUFReader) -> None:
    """Raises UnsupportedError if the file is one of several that are a model only together."""
    parts = reader.metadata.get("split.count", 1)
    if isinstance(parts, int) and parts > 1:
        raise UnsupportedError(
            f"{reader.path} is one of {parts} parts of a model",
            hint="join them first: `llama-gguf-split --merge FIRST_PART OUT`",
        )
