"""What is converted, whatever it comes in: tensors in file order, each asked for when it is its turn.

A checkpoint directory (`checkpoint_source`) and a GGUF file (`gguf_source`) are two sources of one stream. Tensors have
the names, shapes and row order of the file to be written.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from bitnet_cli.errors import FormatError
from bitnet_cli.formats.tensor_roles import Role

Pair = tuple[str, str, object]
"""Key, value type and value of a piece of metadata."""


@dataclass(frozen=True)
class SourceTensor:
    """One tensor of the file to be written.

    Attributes:
        name: in the file.
        shape: NumPy order, (rows, cols) or (size,).
        role: what decides its type: `--outtype`, `--embed-type`, or nobody.
        kept: number of the type that it has if nobody decides.
        n_bytes: of the source that are read for it.
    """

    name: str
    shape: tuple[int, ...]
    role: Role
    kept: int
    n_bytes: int

    @property
    def kind(self) -> str:
        """The name without block number and `.weight`: `attn_q`, `token_embd`."""
        return self.name.removesuffix(".weight").split(".")[-1]

    @property
    def matrix(self) -> tuple[int, int]:
        """(rows, cols); a vector is one row, further dimensions count as rows."""
        return math.prod(self.shape[:-1]), self.shape[-1]


@dataclass(frozen=True)
class TernaryWeights:
    """A ternary matrix in memory.

    Attributes:
        trits: int8 [rows, cols] of -1, 0, +1.
        scales: float32 [1, 1], [rows, 1] or [rows, groups], as `formats.scales` describes them.
        encoding: how the source stores it, in words.
        max_error: largest |trit times scale - weight| where the source holds other weights than these, else 0.
    """

    trits: np.ndarray
    scales: np.ndarray
    encoding: str
    max_error: float = 0.0


class Source(Protocol):
    """A model that can be converted; a context manager.

    Attributes:
        path: the directory or file.
        architecture: its `general.architecture`.
        alignment: what tensors of the file are aligned to, in bytes.
        tensors: in file order.
        notes: remarks for the user, one sentence each; complete once `metadata` was asked for.
    """

    path: Path
    architecture: str
    alignment: int
    tensors: list[SourceTensor]
    notes: list[str]

    def metadata(self) -> list[Pair]:
        """All keys of the file except those that say how the weights are stored."""
        ...

    def known_scales(self, tensor: SourceTensor) -> np.ndarray | None:
        """The scales of a ternary tensor if they can be told without reading all of its weights."""
        ...

    def ternary(self, tensor: SourceTensor) -> TernaryWeights:
        """A ternary matrix. Raises BitnetErrors if it is damaged or not ternary."""
        ...

    def raw(self, tensor: SourceTensor) -> np.ndarray | None:
        """The bytes of a tensor, uint8, if the source holds it in its `kept` type, to be copied."""
        ...

    def rows(self, tensor: SourceTensor, start: int, stop: int) -> np.ndarray:
        """Rows of an embedding or other tensor as `matrix` counts them: float32 [stop - start, cols].

        Raises:
            UnsupportedError: it has a type that cannot be read.
        """
        ...

    def stored_name(self, tensor: SourceTensor) -> str:
        """What the source calls a tensor."""
        ...

    def error(self, tensor: SourceTensor, message: str) -> FormatError:
        """A FormatError at the tensor."""
        ...

    def done(self, tensor: SourceTensor) -> None:
        """Lets the system take back the memory that reading a tensor filled."""
        ...

    def close(self) -> None:
        """Gives the files up."""
        ...

    def __enter__(self) -> Source: ...

    def __exit__(self, *_: object) -> None: ...
