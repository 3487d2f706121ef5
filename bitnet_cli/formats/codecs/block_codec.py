"""What the dense codecs share: a row is a sequence of blocks, each coded on its own, worked through in
chunks.

Because blocks know nothing of each other, coding some rows and then the others gives the same bytes as coding
all of them, and memory beyond input and output stays within a few megabytes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

import numpy as np

from bitnet_cli.errors import FormatError, RepresentationError
from bitnet_cli.formats.gguf_types import GGMLType, tensor_bytes

# 1 MB of float32: the temporaries of a chunk stay in the second-level cache.
CHUNK_VALUES = 1 << 18


class BlockCodec(ABC):
    """A dense tensor type: `block` values become `block_bytes` bytes."""

    name: ClassVar[str]
    type_id: ClassVar[GGMLType]
    ternary: ClassVar[Literal[False]] = False
    block: ClassVar[int]
    block_bytes: ClassVar[int]

    def n_bytes(self, shape: Sequence[int]) -> int:
        """Bytes of a tensor. Raises RepresentationError if rows are not whole blocks."""
        return tensor_bytes(self.type_id, shape)

    def encode(self, values: np.ndarray) -> np.ndarray:
        """The bytes of a tensor, or of some of its rows: encodings of consecutive rows concatenate.

        Args:
            values: float32 [..., cols].

        Returns:
            uint8 [n_bytes(values.shape)].

        Raises:
            RepresentationError: rows are not whole blocks, or a value is beyond what the type can hold.
        """
        encoded = np.empty(self.n_bytes(values.shape), np.uint8)
        blocks = np.ascontiguousarray(values, np.float32).reshape(-1, self.block)
        target = encoded.reshape(-1, self.block_bytes)
        with np.errstate(all="ignore"):
            for chunk in chunks(len(blocks), self.block):
                self._encode_blocks(blocks[chunk], target[chunk])
        return encoded

    def decode(self, data: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """The values of a tensor, or of some of its rows.

        Args:
            data: uint8 [n_bytes(shape)].
            shape: of the result.

        Returns:
            float32 [shape], a new array.

        Raises:
            FormatError: the length of `data` does not fit the shape.
            RepresentationError: rows are not whole blocks.
        """
        check_length(self.name, data, self.n_bytes(shape))
        raw = np.ascontiguousarray(data).reshape(-1, self.block_bytes)
        values = np.empty(tuple(shape), np.float32)
        target = values.reshape(-1, self.block)
        with np.errstate(all="ignore"):
            for chunk in chunks(len(raw), self.block):
                self._decode_blocks(raw[chunk], target[chunk])
        return values

    @abstractmethod
    def _encode_blocks(self, values: np.ndarray, out: np.ndarray) -> None:
        """Fills out, uint8 [n, block_bytes], from float32 [n, block]."""

    @abstractmethod
    def _decode_blocks(self, raw: np.ndarray, out: np.ndarray) -> None:
        """Fills out, float32 [n, block], from uint8 [n, block_bytes]."""

    def _f16_scales(self, scales: np.ndarray) -> np.ndarray:
        """float32 [n] as the bytes of f16, uint8 [n, 2].

        Raises:
            RepresentationError: a scale is not finite as f16, because a value is NaN, infinite or very large.
        """
        half = scales.astype("<f2")
        self._refuse_infinite(half)
        return half.view(np.uint8).reshape(-1, 2)

    def _refuse_infinite(self, numbers: np.ndarray) -> None:
        """Raises RepresentationError unless all are finite."""
        if not np.isfinite(numbers).all():
            raise RepresentationError(f"{self.name} cannot hold NaN, infinity or values this large")


class ReadOnlyCodec(BlockCodec):
    """A dense type that others write: its values are read, and the engine meets them as floats."""

    def _encode_blocks(self, values: np.ndarray, out: np.ndarray) -> None:
        raise RepresentationError(f"{self.name} is only read, not written")


def chunks(n_blocks: int, block: int) -> Iterator[slice]:
    """Slices of blocks that together cover `n_blocks`, each about CHUNK_VALUES values."""
    step = max(1, CHUNK_VALUES // block)
    for start in range(0, n_blocks, step):
        yield slice(start, min(start + step, n_blocks))


def check_length(name: str, data: np.ndarray, n_bytes: int) -> None:
    """Raises FormatError unless `data` has `n_bytes` bytes."""
    if data.nbytes != n_bytes:
        raise FormatError(f"{name} data of this shape takes {n_bytes} bytes, found {data.nbytes}")


def f16_scales(raw: np.ndarray, offset: int) -> np.ndarray:
    """The f16 at `offset` of each block: uint8 [n, block_bytes] -> float32 [n, 1]."""
    return np.ascontiguousarray(raw[:, offset : offset + 2]).view("<f2").astype(np.float32)
