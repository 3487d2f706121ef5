"""What the ternary codecs with scales beside their weights share: a tensor is a sequence of records.

A record is the scales of some weights and the codes of these weights: a block of a row with its scale, a whole
row, or four rows that are stored together. Records are worked through in chunks, so that memory beyond input and
output stays within a few megabytes.

Codes 0, 1, 2 stand for -1, 0, +1. A group of weights that are all 0 is stored with the scale 0.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

import numpy as np

from bitnet_cli.errors import RepresentationError
from bitnet_cli.formats.codecs.block_codec import CHUNK_VALUES, check_length
from bitnet_cli.formats.codecs.ternary_codec import (
    as_scales,
    check_trits,
    codes_of,
    no_weight,
    refuse_infinite,
    regrouped,
)
from bitnet_cli.formats.gguf_types import GGMLType, tensor_bytes


class ScaledBlocks(ABC):
    """A ternary tensor type made of records; a TernaryCodec.

    Attributes:
        block: weights that are coded together.
        by_row: a scale serves a whole row, else one block.
        lines: rows of a record.
        scale_type: of a scale in the file.
        scale_last: scales stand behind the codes of a record, else before them.
        damage: what `_unpack` makes 3 of, in words.
    """

    name: ClassVar[str]
    type_id: ClassVar[GGMLType]
    ternary: ClassVar[Literal[True]] = True
    block: ClassVar[int]
    by_row: ClassVar[bool] = False
    lines: ClassVar[int] = 1
    scale_type: ClassVar[str] = "<f2"
    scale_last: ClassVar[bool] = False
    damage: ClassVar[str] = "the code 3"

    def n_bytes(self, shape: Sequence[int]) -> int:
        """Bytes of a tensor; RepresentationError unless it is a matrix of whole blocks."""
        if len(shape) != 2:
            raise RepresentationError(f"{self.name} weights are matrices of 2 dimensions, not {len(shape)}")
        return tensor_bytes(self.type_id, shape)

    def encode(self, trits: np.ndarray, scales: np.ndarray | float) -> np.ndarray:
        """The bytes of a tensor, uint8 [n_bytes(trits.shape)]; see TernaryCodec."""
        encoded = np.empty(self.n_bytes(trits.shape), np.uint8)
        check_trits(trits)
        rows, cols = trits.shape
        wanted = regrouped(self.stored_scales(scales), trits, self._groups(cols), self.name)
        records = self._records(encoded, rows, cols)
        headers, bodies = self._parts(records)
        weights = np.ascontiguousarray(trits).reshape(len(records), self.lines, -1)
        wanted = wanted.reshape(len(records), self.lines)
        for chunk in _chunks(weights):
            codes = codes_of(weights[chunk])
            live = (codes != 1).any(axis=2)
            stored = np.where(live, wanted[chunk], np.float32(0)).astype(self.scale_type)
            headers[chunk] = stored.view(np.uint8)[:, : headers.shape[1]]
            bodies[chunk] = self._pack(codes)
        return encoded

    def decode(self, data: np.ndarray, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """The weights, int8 [rows, cols], and what `scales` gives; see TernaryCodec."""
        scales = self.scales(data, shape)
        rows, cols = int(shape[0]), int(shape[1])
        _, bodies = self._parts(self._records(data, rows, cols))
        trits = np.empty((rows, cols), np.int8)
        target = trits.reshape(len(bodies), self.lines, -1)
        for chunk in _chunks(target):
            codes = self._unpack(bodies[chunk])
            if codes.max(initial=0) > 2:
                at = np.argwhere(codes > 2)[0] + (chunk.start, 0, 0)
                raise self._no_weight(at, cols)
            np.subtract(codes.view(np.int8), 1, out=target[chunk])
        return trits, scales

    def scales(self, data: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """The scales, float32 [rows, 1] or [rows, cols / block]; see TernaryCodec."""
        check_length(self.name, data, self.n_bytes(shape))
        rows, cols = int(shape[0]), int(shape[1])
        headers, bodies = self._parts(self._records(data, rows, cols))
        stored: np.ndarray = np.ascontiguousarray(headers).view(self.scale_type).astype(np.float32)
        refuse_infinite(stored.reshape(rows, -1))
        dead: np.ndarray = np.zeros(stored.shape, bool)
        suspects = np.flatnonzero((stored == 0).any(axis=1))
        step = max(1, CHUNK_VALUES * len(bodies) // (rows * cols))
        for start in range(0, len(suspects), step):
            some = suspects[start : start + step]
            dead[some] = (stored[some] == 0) & (self._unpack(bodies[some]) == 1).all(axis=2)
        stored, dead = stored.reshape(rows, -1), dead.reshape(rows, -1)
        return _filled(stored, dead) if dead.any() else stored

    def codes(self, data: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """All of the tensor: scales stand among the codes."""
        check_length(self.name, data, self.n_bytes(shape))
        return data

    def stored_scales(self, scales: np.ndarray | float) -> np.ndarray:
        """Scales as the file would hold them, float32 of the same shape.

        Raises:
            RepresentationError: a scale is not finite as it would be stored, or would become 0.
        """
        exact = as_scales(scales)
        with np.errstate(over="ignore"):
            stored = exact.astype(self.scale_type).astype(np.float32)
        lost = ~np.isfinite(stored) | ((stored == 0) & (exact != 0))
        if lost.any():
            raise RepresentationError(
                f"{self.name} stores scales as f16, which cannot hold {exact[lost][0]:.6g}",
                hint="`i2_s` and `iq2_bn` store them as f32",
            )
        return stored

    def _groups(self, cols: int) -> int:
        """Scales of a row."""
        return 1 if self.by_row else cols // self.block

    def _records(self, data: np.ndarray, rows: int, cols: int) -> np.ndarray:
        """The bytes of a tensor as uint8 [n_records, bytes of a record]."""
        return np.ascontiguousarray(data).reshape(rows // self.lines * self._groups(cols), -1)

    def _header_bytes(self) -> int:
        """Bytes of a record's scales."""
        return self.lines * np.dtype(self.scale_type).itemsize

    def _parts(self, records: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scales and codes of records, both views: uint8 [n_records, ...]."""
        n = self._header_bytes()
        if self.scale_last:
            at = records.shape[1] - n
            return records[:, at:], records[:, :at]
        return records[:, :n], records[:, n:]

    def _no_weight(self, at: np.ndarray, cols: int) -> Exception:
        """The error for the weight at (record, line, place in the line)."""
        record, line, place = (int(n) for n in at)
        group_row, group = divmod(record, self._groups(cols))
        return no_weight(
            self.damage, group_row * self.lines + line, group * (cols // self._groups(cols)) + place
        )

    @abstractmethod
    def _pack(self, codes: np.ndarray) -> np.ndarray:
        """Codes of records, uint8 [n, lines, weights of a line], as their bytes, uint8 [n, bytes]."""

    @abstractmethod
    def _unpack(self, body: np.ndarray) -> np.ndarray:
        """The reverse; what stands for no weight becomes the code 3."""


def _chunks(weights: np.ndarray) -> Iterator[slice]:
    """Slices of records, [n, lines, weights], that together cover them, each about CHUNK_VALUES weights."""
    step = max(1, CHUNK_VALUES // max(1, weights.shape[1] * weights.shape[2]))
    for start in range(0, len(weights), step):
        yield slice(start, min(start + step, len(weights)))


def _filled(scales: np.ndarray, dead: np.ndarray) -> np.ndarray:
    """Scales [rows, n] in which groups without weights have that of the others: of the tensor, the row, or neighbours."""
    for width in (scales.size, scales.shape[1], 2, 4):
        if scales.shape[1] % width and width != scales.size:
            continue
        cells, live = scales.reshape(-1, width), ~dead.reshape(-1, width)
        low = cells.min(axis=1, initial=np.inf, where=live, keepdims=True)
        agree = low == cells.max(axis=1, initial=-np.inf, where=live, keepdims=True)
        scales = np.where(agree & ~live, low, cells).reshape(scales.shape)
        dead = (~live & ~agree).reshape(scales.shape)
    return scales
