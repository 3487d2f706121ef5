"""What all ternary codecs have in common: their face, and the checks of weights and scales.

Scales are one array everywhere: float32 of 2 dimensions, where shape (1, 1) means one scale for the tensor,
(rows, 1) one for each row, and (rows, cols / group) one for each group of consecutive columns of a row. A weight
is its trit -1, 0 or +1 times its scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, Protocol

import numpy as np

from bitnet_cli.errors import FormatError, RepresentationError
from bitnet_cli.formats.gguf_types import GGMLType

DAMAGED = "the file is damaged; download or convert it again"
"""The hint beside what no encoder writes."""


class TernaryCodec(Protocol):
    """A ternary tensor type. `shape` is (rows, cols) throughout."""

    name: ClassVar[str]
    type_id: ClassVar[GGMLType]
    ternary: ClassVar[Literal[True]] = True

    def n_bytes(self, shape: Sequence[int]) -> int:
        """Bytes of a tensor. Raises RepresentationError if the type cannot hold a matrix of this shape."""
        ...

    def encode(self, trits: np.ndarray, scales: np.ndarray | float) -> np.ndarray:
        """The bytes of a tensor.

        Args:
            trits: int8 [rows, cols] of -1, 0, +1.
            scales: as the module describes them; a number means one for the tensor. They are stored as
                `stored_scales` gives them. A group of weights that are all 0 fits any scale.

        Returns:
            uint8 [n_bytes(trits.shape)].

        Raises:
            RepresentationError: the type cannot hold this shape, these scales, or a weight is not ternary.
        """
        ...

    def decode(self, data: np.ndarray, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """The weights of a tensor: int8 [rows, cols] of -1, 0, +1, and what `scales` gives.

        Args:
            data: uint8 [n_bytes(shape)].

        Raises:
            FormatError: the length does not fit the shape, a code stands for no weight, or a scale is no number.
            RepresentationError: the type cannot hold a matrix of this shape.
        """
        ...

    def scales(self, data: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """The scales of a tensor, float32, without decoding its weights.

        Types with block or row scales store 0 for a group of weights that are all 0. Such a group gets the scale of
        its neighbours instead, if they agree on one, so that a matrix of one scale is seen to be one.

        Raises: as `decode`, but codes are not looked at.
        """
        ...

    def codes(self, data: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """What the kernels are packed from: uint8, a view of `data`. Raises FormatError on a wrong length."""
        ...

    def stored_scales(self, scales: np.ndarray | float) -> np.ndarray:
        """Scales as `encode` would store them, in the shape that they have: what f16 scales lose shows here.

        Raises:
            RepresentationError: a scale is not finite as the type stores it.
        """
        ...


def as_scales(scales: np.ndarray | float) -> np.ndarray:
    """Scales as float32 [n, m]; a number becomes [1, 1].

    Raises:
        RepresentationError: a scale is not finite as float32, or the array is no matrix.
    """
    with np.errstate(over="ignore"):
        array = np.asarray(scales, np.float32)
    if array.ndim == 0:
        array = array.reshape(1, 1)
    if array.ndim != 2 or array.size == 0:
        raise RepresentationError(f"scales must be a matrix, not of shape {array.shape}")
    if not np.isfinite(array).all():
        raise RepresentationError(f"a scale must be finite as float32, not {array[~np.isfinite(array)][0]}")
    return array


def refuse_infinite(scales: np.ndarray) -> None:
    """Raises FormatError with the place of the first of float32 [n, m] scales that is no number."""
    if not np.isfinite(scales).all():
        row, group = np.argwhere(~np.isfinite(scales))[0]
        where = f" of row {row}" if len(scales) > 1 else ""
        where += f", group {group}" if scales.shape[1] > 1 else ""
        raise FormatError(
            f"the scale{where} must be a finite number, found {scales[row, group]}", hint=DAMAGED
        )


def regrouped(scales: np.ndarray, trits: np.ndarray, n_groups: int, name: str) -> np.ndarray:
    """The scales of a matrix as a type of another granularity takes them.

    Args:
        scales: as `as_scales` gives them.
        trits: int8 [rows, cols]; scales of groups that are all 0 do not matter.
        n_groups: groups of a row in the type; 0 if it has one scale for the tensor.
        name: of the type, for the message.

    Returns:
        float32 [rows, n_groups], or [1, 1] if n_groups is 0.

    Raises:
        RepresentationError: weights that are not 0 have several scales where the type has one, or the shape of
            `scales` does not divide the matrix.
    """
    (rows, cols), (n, m) = trits.shape, scales.shape
    wanted = (rows, n_groups) if n_groups else (1, 1)
    if n not in (1, rows) or (n == 1 and m > 1 and rows > 1) or cols % m:
        raise RepresentationError(
            f"scales of shape {(n, m)} do not fit a matrix of {rows} rows and {cols} columns"
        )
    if (scales == scales[0, 0]).all():
        return np.full(wanted, scales[0, 0], np.float32)
    if n_groups and n_groups % m == 0:
        return np.repeat(scales, n_groups // m, axis=1)
    if n_groups and m % n_groups:
        raise RepresentationError(f"{name} has {n_groups} scales for a row, and these weights have {m}")
    live = trits.reshape(rows * m, cols // m).any(axis=1).reshape(*wanted, -1)
    cells = scales.reshape(*wanted, -1)
    low = cells.min(axis=2, initial=np.inf, where=live)
    high = cells.max(axis=2, initial=-np.inf, where=live)
    if (low < high).any():
        row, group = np.argwhere(low < high)[0]
        where = (
            f"row {row} has" + (f" in group {group}" if n_groups > 1 else "") if n_groups else "this one has"
        )
        raise RepresentationError(
            f"{name} holds one scale for {_extent(n_groups, cols)}; {where} several "
            f"({low[row, group]:.6g} to {high[row, group]:.6g})",
            hint="`iq2_bn` holds one for each row, `tq2_0` one for each 256 weights, `q2_0` one for each 64",
        )
    return np.where(live.any(axis=2), low, np.float32(0))


def _extent(n_groups: int, cols: int) -> str:
    if n_groups > 1:
        return f"{cols // n_groups} weights"
    return "a row" if n_groups else "a tensor"


def check_trits(trits: np.ndarray) -> None:
    """Raises RepresentationError unless the array is int8; the values are checked as they become codes."""
    if trits.dtype != np.int8:
        raise RepresentationError(f"ternary weights must be int8, not {trits.dtype}")


def codes_of(trits: np.ndarray) -> np.ndarray:
    """Trits as codes 0, 1, 2: uint8 of the same shape. Raises RepresentationError if one is not -1, 0 or +1."""
    codes: np.ndarray = (trits + np.int8(1)).view(np.uint8)
    if codes.max(initial=0) > 2:
        raise RepresentationError("a weight is not -1, 0 or +1")
    return codes


def no_weight(code: str, row: int, col: int) -> FormatError:
    """The error for a code that stands for no weight, at its place."""
    return FormatError(f"row {row}, column {col} holds {code}, which stands for no weight", hint=DAMAGED)
