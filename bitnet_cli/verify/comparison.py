"""Two models, weight by weight, whatever types and sources they have.

Where the types differ, differences that rounding to them explains are told apart from others: scales that went through
f16, and values that lie within the steps of a block type.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bitnet_cli.convert.checkpoint import row_blocks
from bitnet_cli.convert.gguf_source import values_of
from bitnet_cli.convert.source import Source, SourceTensor, TernaryWeights
from bitnet_cli.convert.verification import equal_bytes, first_difference
from bitnet_cli.formats.codecs import DENSE_CODECS, TERNARY_TYPES
from bitnet_cli.formats.gguf_types import GGMLType, type_name

# Largest error of a value over the largest magnitude of its block, as the types' encoders round: half a step of the
# codes, and what the block's own scales lose. Q4_0 cuts the largest positive value off; Q6_K rounds its scales twice.
_ROUNDING = {
    GGMLType.F32: 0.0,
    GGMLType.F16: 2.0**-11,
    GGMLType.BF16: 2.0**-8,
    GGMLType.Q8_0: 0.6 / 127,
    GGMLType.Q6_K: 0.08,
    GGMLType.Q4_0: 1 / 7.5,
    GGMLType.Q4_K: 0.1,
    GGMLType.IQ4_NL: 1 / 7.5,
}
_SMALLEST_F16 = 2.0**-24
_SCALE_ROUNDING = {
    **dict.fromkeys(
        (GGMLType.TQ1_0, GGMLType.TQ2_0, GGMLType.Q2_0, GGMLType.PQ2_0, GGMLType.IQ1_BN, GGMLType.F16),
        2.0**-11,
    ),
    GGMLType.BF16: 2.0**-8,
}
"""Relative error of a scale in the types whose ternary weights have scales of 16 bits."""
_BLOCK = {int(each.type_id): each.block for each in DENSE_CODECS}


@dataclass(frozen=True)
class Difference:
    """How the weights of one tensor differ.

    Attributes:
        weights: number of values.
        different: how many differ; 0 if the tensors stand for the same weights.
        largest: the largest |a - b|; infinite if one is not a number.
        explained: rounding to the types of the tensors explains all of it.
        comparable: false if one has a type that cannot be read, and the bytes differ.
    """

    weights: int
    different: int = 0
    largest: float = 0.0
    explained: bool = True
    comparable: bool = True


def compare(first: Source, a: SourceTensor, second: Source, b: SourceTensor) -> Difference:
    """Compares two tensors of one shape.

    Raises:
        BitnetError: one of them is damaged.
    """
    weights = math.prod(a.shape)
    if _same_bytes(first, a, second, b):
        return Difference(weights)
    if not (_readable(a) and _readable(b)):
        return Difference(weights, weights, math.inf, False, False)
    if _is_ternary(a) and _is_ternary(b):
        return _compare_ternary(first.ternary(a), second.ternary(b), _scale_rounding(a, b))
    return _compare_values(_values(first, a), _values(second, b), a, b)


def _same_bytes(first: Source, a: SourceTensor, second: Source, b: SourceTensor) -> bool:
    """Whether two dense tensors are copies. Ternary ones may mean different weights: by layout, tiling, or scale tensor."""
    if a.kept != b.kept or _is_ternary(a) or _is_ternary(b):
        return False
    x, y = first.raw(a), second.raw(b)

    def give_back() -> None:
        first.done(a)
        second.done(b)

    return x is not None and y is not None and equal_bytes(x, y, give_back)


def _is_ternary(tensor: SourceTensor) -> bool:
    return tensor.role == "ternary" or tensor.kept in TERNARY_TYPES


def _readable(tensor: SourceTensor) -> bool:
    return _is_ternary(tensor) or tensor.kept in _BLOCK


def _values(source: Source, tensor: SourceTensor) -> Iterator[np.ndarray]:
    """The values of a tensor in blocks of rows; two tensors of one shape have the same blocks."""
    weights = source.ternary(tensor) if _is_ternary(tensor) else None
    for start, stop in row_blocks(*tensor.matrix):
        yield source.rows(tensor, start, stop) if weights is None else values_of(weights, start, stop)
        source.done(tensor)


def _scale_rounding(a: SourceTensor, b: SourceTensor) -> float:
    """By how much, relatively, scales of the two may differ: not at all if both types round them alike."""
    first, second = (_SCALE_ROUNDING.get(GGMLType(each.kept), 0.0) for each in (a, b))
    return 0.0 if first == second else max(first, second)


def _compare_ternary(x: TernaryWeights, y: TernaryWeights, rounding: float) -> Difference:
    """rounding: what `_scale_rounding` says of the types."""
    if first_difference(x, y) is None:
        return Difference(x.trits.size)
    different, largest, explained = 0, 0.0, rounding > 0 and bool(np.array_equal(x.trits, y.trits))
    for start, stop in row_blocks(*x.trits.shape):
        one, other = values_of(x, start, stop), values_of(y, start, stop)
        gap = np.abs(one - other)
        different += int(np.count_nonzero(gap))
        largest = max(largest, float(gap.max(initial=0.0)))
        allowed = np.maximum(np.abs(one), np.abs(other)) * rounding + _SMALLEST_F16
        explained = explained and bool((gap <= allowed).all())
    return Difference(x.trits.size, different, largest, explained or different == 0)


def _compare_values(
    first: Iterator[np.ndarray], second: Iterator[np.ndarray], a: SourceTensor, b: SourceTensor
) -> Difference:
    different, largest, explained = 0, 0.0, a.kept != b.kept  # Equal types round equal values alike.
    for x, y in zip(first, second, strict=True):
        with np.errstate(invalid="ignore"):
            gap = np.where((x == y) | (np.isnan(x) & np.isnan(y)), np.float32(0), np.abs(x - y))
        gap = np.where(np.isnan(gap), np.float32(np.inf), gap)
        different += int(np.count_nonzero(gap))
        largest = max(largest, float(gap.max(initial=0.0)))
        allowed = _allowed(x, y, a) + _allowed(x, y, b)
        explained = explained and bool((gap <= allowed).all())
    return Difference(math.prod(a.shape), different, largest, explained or different == 0)


def _allowed(x: np.ndarray, y: np.ndarray, tensor: SourceTensor) -> np.ndarray:
    """What rounding to the type of a tensor may change in values, [rows, cols], of two versions of it."""
    rounding = _ROUNDING.get(GGMLType(tensor.kept), 2.0**-11)
    if rounding == 0:
        return np.zeros(1)
    size = np.nan_to_num(np.maximum(np.abs(x), np.abs(y)), posinf=0.0)
    block = _BLOCK.get(tensor.kept, 1)
    if block > 1 and size.shape[1] % block == 0:
        size = np.repeat(size.reshape(len(size), -1, block).max(axis=2), block, axis=1)
    allowed: np.ndarray = size * rounding + _SMALLEST_F16
    return allowed


def in_words(found: Difference, a: SourceTensor, b: SourceTensor) -> str:
    """One sentence about a difference."""
    if not found.comparable:
        unknown = a if not _readable(a) else b
        return f"the bytes differ, and the weights of type {type_name(unknown.kept)} cannot be compared"
    share = f"{found.different} of {found.weights} weights differ"
    return f"{share}, by at most {found.largest:.3g}"
