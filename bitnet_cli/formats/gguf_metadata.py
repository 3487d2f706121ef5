"""Reading the header of a GGUF file: a cursor that never leaves the file, and the key-value pairs.

Scalars and strings are decoded when the file is opened. Arrays are only measured: a vocabulary of 128k tokens
and 280k merges costs a walk over the lengths of its strings, and is decoded when somebody asks for it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat

import numpy as np

from bitnet_cli.errors import FormatError, printable
from bitnet_cli.formats.file_mapping import FileMapping
from bitnet_cli.formats.gguf_types import SCALARS, ValueType

MAX_KEYS = 1 << 16
MAX_KEY_BYTES = (1 << 16) - 1
MAX_STRING_BYTES = 1 << 24

_U64 = struct.Struct("<Q")
# Smallest pair: length of the key, one character, value type, a one-byte value.
_MIN_PAIR_BYTES = 8 + 1 + 4 + 1


class Cursor:
    """A position in a mapped file; every read checks the end of the file first."""

    def __init__(self, mapping: FileMapping, pos: int = 0) -> None:
        self.mapping = mapping
        self.pos = pos
        self._buffer = mapping.buffer

    def error(self, message: str, *, key: str | None = None, pos: int | None = None) -> FormatError:
        """A FormatError at the cursor, or at `pos`."""
        return FormatError(
            message, path=self.mapping.path, tensor=key, offset=self.pos if pos is None else pos
        )

    def skip(self, n_bytes: int, what: str) -> int:
        """Steps over `n_bytes`, which may be any integer from the file; returns where they begin."""
        start = self.pos
        if n_bytes > self.mapping.size - start:
            left = self.mapping.size - start
            raise self.error(f"the file ends inside {what}: {n_bytes} bytes are needed, {left} are left")
        self.pos = start + n_bytes
        return start

    def scalar(self, value_type: ValueType, what: str) -> int | float:
        packing = SCALARS[value_type].packing
        value: int | float = packing.unpack_from(self._buffer, self.skip(packing.size, what))[0]
        return value

    def u32(self, what: str) -> int:
        return int(self.scalar(ValueType.U32, what))

    def u64(self, what: str) -> int:
        return int(self.scalar(ValueType.U64, what))

    def string(self, what: str, max_bytes: int) -> str:
        start = self.pos
        length = self.u64(f"the length of {what}")
        if length > max_bytes:
            raise self.error(f"{what} is {length} bytes long, at most {max_bytes} are accepted", pos=start)
        begin = self.skip(length, what)
        try:
            return self._buffer[begin : self.pos].decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.error(f"{what} is not valid UTF-8", pos=begin + error.start) from None

    def skip_strings(self, count: int, what: str) -> int:
        """Steps over `count` strings without looking into them; returns where they begin."""
        start = pos = self.pos
        if count > (self.mapping.size - start) // _U64.size:
            raise self.error(f"{what} claims {count} strings, more than the rest of the file can hold")
        length_at, buffer = _U64.unpack_from, self._buffer
        try:
            # 65 ns a string: this loop is most of the time it takes to open a file with a large vocabulary.
            for _ in repeat(None, count):
                pos += length_at(buffer, pos)[0] + 8
        except (struct.error, OverflowError):
            raise self.error(f"the file ends inside {what}", pos=min(pos, self.mapping.size)) from None
        if pos > self.mapping.size:
            raise self.error(f"the file ends inside {what}", pos=self.mapping.size)
        self.pos = pos
        return start


@dataclass(frozen=True, slots=True)
class _Entry:
    type: ValueType
    element: ValueType | None
    """Type of the elements if this is an array."""
    count: int
    offset: int
    """Where the value, or the first element, begins."""
    end: int
    """Where the next pair begins."""
    value: int | float | bool | str | None
    """None for arrays."""


class Metadata(Mapping[str, object]):
    """The key-value pairs in file order.

    Scalars are int, float, bool or str. Arrays are decoded at each access, so keep the result: arrays of
    strings are list[str], of bool np.ndarray of bool, of numbers np.ndarray of their type (a copy).
    """

    def __init__(self, mapping: FileMapping, entries: Mapping[str, _Entry]) -> None:
        self._mapping = mapping
        self._entries = entries

    def __getitem__(self, key: str) -> object:
        entry = self._entries[key]
        return entry.value if entry.element is None else self._elements(key, entry, entry.count)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def value_type(self, key: str) -> str:
        """Such as `u32`, `string` or `array<string>`."""
        entry = self._entries[key]
        return entry.type.word if entry.element is None else f"array<{entry.element.word}>"

    def array_length(self, key: str) -> int | None:
        """Number of elements without decoding them; None if the value is not an array."""
        entry = self._entries[key]
        return None if entry.element is None else entry.count

    def array_head(self, key: str, n: int) -> list[object]:
        """The first `n` elements of an array as plain values, or all if there are fewer."""
        entry = self._entries[key]
        head = self._elements(key, entry, min(n, entry.count))
        return head.tolist() if isinstance(head, np.ndarray) else list(head)

    def _elements(self, key: str, entry: _Entry, count: int) -> list[str] | np.ndarray:
        if entry.element == ValueType.STRING:
            return self._strings(key, entry, count)
        assert entry.element is not None
        dtype = SCALARS[entry.element].dtype
        raw = np.frombuffer(self._mapping.buffer, dtype, count=count, offset=entry.offset)
        if entry.element != ValueType.BOOL:
            return raw.astype(dtype.newbyteorder("="))
        if (raw > 1).any():
            raise FormatError(
                "an array of bool holds a byte that is neither 0 nor 1", path=self._mapping.path, tensor=key
            )
        return raw.astype(np.bool_)

    def _strings(self, key: str, entry: _Entry, count: int) -> list[str]:
        # All of them: slices of a copy cost half as much as slices of the mapping. The walk over all lengths
        # at opening has proved that every string lies in the file.
        whole = count == entry.count
        raw = self._mapping.buffer[entry.offset : entry.end] if whole else self._mapping.buffer
        base = entry.offset if whole else 0
        length_at, pos = _U64.unpack_from, entry.offset - base
        strings: list[str] = []
        append = strings.append
        try:
            for _ in repeat(None, count):
                start = pos + 8
                pos = start + length_at(raw, pos)[0]
                append(raw[start:pos].decode())
        except UnicodeDecodeError as error:
            message = f"string {len(strings)} is not valid UTF-8"
            offset = base + start + error.start
            raise FormatError(message, path=self._mapping.path, tensor=key, offset=offset) from None
        return strings


def read_metadata(cursor: Cursor, n_keys: int) -> Metadata:
    """Reads `n_keys` pairs at the cursor.

    Raises:
        FormatError: the pairs do not fit into the file, a key comes twice, a type is unknown, arrays are
            nested.
    """
    limit = min((cursor.mapping.size - cursor.pos) // _MIN_PAIR_BYTES, MAX_KEYS)
    if n_keys > limit:
        claim = f"the header claims {n_keys} metadata keys"
        raise cursor.error(f"{claim}, at most {limit} are accepted in this file")
    entries: dict[str, _Entry] = {}
    for _ in range(n_keys):
        start = cursor.pos
        key = cursor.string("a metadata key", MAX_KEY_BYTES)
        if not key:
            raise cursor.error("a metadata key is empty", pos=start)
        if key in entries:
            raise cursor.error("this metadata key comes twice", key=key, pos=start)
        entries[key] = _read_value(cursor, key)
    return Metadata(cursor.mapping, entries)


def _read_value(cursor: Cursor, key: str) -> _Entry:
    what = f"the value of `{printable(key)}`"
    value_type = _read_type(cursor, key)
    offset = cursor.pos
    if value_type == ValueType.ARRAY:
        return _skip_array(cursor, key, what)
    if value_type == ValueType.STRING:
        text = cursor.string(what, MAX_STRING_BYTES)
        return _Entry(value_type, None, 1, offset, cursor.pos, text)
    value = cursor.scalar(value_type, what)
    if value_type == ValueType.BOOL:
        if value > 1:
            raise cursor.error(f"a bool must be 0 or 1, found {value}", key=key, pos=offset)
        value = bool(value)
    return _Entry(value_type, None, 1, offset, cursor.pos, value)


def _skip_array(cursor: Cursor, key: str, what: str) -> _Entry:
    start = cursor.pos
    element = _read_type(cursor, key)
    if element == ValueType.ARRAY:
        raise cursor.error("arrays of arrays are not accepted", key=key, pos=start)
    count = cursor.u64(f"the length of {what}")
    if element == ValueType.STRING:
        offset = cursor.skip_strings(count, what)
    else:
        offset = cursor.skip(count * SCALARS[element].n_bytes, what)
    return _Entry(ValueType.ARRAY, element, count, offset, cursor.pos, None)


def _read_type(cursor: Cursor, key: str) -> ValueType:
    start = cursor.pos
    number = cursor.u32(f"the type of `{printable(key)}`")
    try:
        return ValueType(number)
    except ValueError:
        raise cursor.error(f"unknown metadata value type {number}", key=key, pos=start) from None
