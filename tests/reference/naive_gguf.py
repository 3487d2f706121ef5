"""A GGUF file read the slow, plain way, and I2_S decoded by its definition: witnesses for the writers.

Standard library and NumPy; nothing of the package.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_SCALARS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
_STRING, _ARRAY = 8, 9


@dataclass
class NaiveTensor:
    """A line of the tensor table: `ne` in file order, `offset` from the data section, `data` up to the next."""

    ne: tuple[int, ...]
    type: int
    offset: int
    data: bytes


class NaiveGGUF:
    """`metadata`: key → (value type number, value); `tensors`: name → NaiveTensor, both in file order."""

    def __init__(self, path: Path) -> None:
        self._raw, self._pos = path.read_bytes(), 0
        assert self._take(4) == b"GGUF"
        version, n_tensors, n_pairs = struct.unpack("<IQQ", self._take(20))
        assert version == 3
        self.metadata: dict[str, tuple[int, object]] = {}
        for _ in range(n_pairs):
            key = self._string()
            (kind,) = struct.unpack("<I", self._take(4))
            assert key not in self.metadata
            self.metadata[key] = (kind, self._value(kind))
        table = [self._line() for _ in range(n_tensors)]
        self.data_offset = -(-self._pos // 32) * 32
        assert not any(self._raw[self._pos : self.data_offset])
        ends = [line[3] for line in table[1:]] + [len(self._raw) - self.data_offset]
        self.tensors = {
            name: NaiveTensor(ne, kind, at, self._raw[self.data_offset + at : self.data_offset + end])
            for (name, ne, kind, at), end in zip(table, ends, strict=True)
        }

    def value(self, key: str) -> object:
        return self.metadata[key][1]

    def _take(self, n: int) -> bytes:
        self._pos += n
        return self._raw[self._pos - n : self._pos]

    def _string(self) -> str:
        return self._take(struct.unpack("<Q", self._take(8))[0]).decode()

    def _value(self, kind: int) -> object:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            element, count = struct.unpack("<IQ", self._take(12))
            return [self._value(element) for _ in range(count)]
        return struct.unpack(_SCALARS[kind], self._take(struct.calcsize(_SCALARS[kind])))[0]

    def _line(self) -> tuple[str, tuple[int, ...], int, int]:
        name = self._string()
        (n_dims,) = struct.unpack("<I", self._take(4))
        ne = struct.unpack(f"<{n_dims}Q", self._take(8 * n_dims))
        kind, offset = struct.unpack("<IQ", self._take(12))
        return name, ne, kind, offset


def naive_i2_s(data: bytes, rows: int, cols: int) -> tuple[np.ndarray, np.float32]:
    """Trits (int8 [rows, cols]) and scale of I2_S bytes, value by value as the format is defined."""
    codes = np.frombuffer(data, np.uint8, rows * cols // 4)
    k = np.arange(rows * cols)
    byte = (k // 128) * 32 + k % 32
    shift = 6 - 2 * ((k % 128) // 32)
    trits = ((codes[byte] >> shift) & 3).astype(np.int8) - 1
    return trits.reshape(rows, cols), np.frombuffer(data, "<f4", 1, rows * cols // 4)[0]
