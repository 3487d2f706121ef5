"""Ternary weights as floats: recognised by their values, whatever has a scale of its own, and ordinary floats refused."""

from __future__ import annotations

import numpy as np
import pytest

from bitnet_cli.errors import FormatError, RepresentationError, UnsupportedError
from bitnet_cli.formats.codecs.ternary_floats import TernaryBF16, TernaryF16, TernaryF32, TernaryFloats

CODECS = (TernaryF32(), TernaryF16(), TernaryBF16())
SHAPE = (6, 512)
SCALES = {
    "tensor": (1, 1),
    "row": (6, 1),
    "256 columns": (6, 2),
    "128 columns": (6, 4),
    "64 columns": (6, 8),
}


def trits(shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """No group of 64 is all zero."""
    return np.random.default_rng(shape).integers(-1, 2, shape, np.int8)


def scales(shape: tuple[int, int]) -> np.ndarray:
    """Different ones, exact in every float type."""
    return (np.arange(shape[0] * shape[1]).reshape(shape) + 64).astype(np.float32) / 128


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
@pytest.mark.parametrize("per", SCALES)
def test_there_and_back(codec: TernaryFloats, per: str) -> None:
    weights, wanted = trits(), scales(SCALES[per])
    data = codec.encode(weights, wanted)
    assert data.nbytes == codec.n_bytes(SHAPE)
    found, found_scales = codec.decode(data, SHAPE)
    assert np.array_equal(found, weights) and np.array_equal(found_scales, wanted)
    assert np.array_equal(codec.scales(data, SHAPE), wanted)
    assert np.array_equal(codec.codes(data, SHAPE), weights)


def test_the_bytes_are_the_products() -> None:
    weights, wanted = trits(), scales((6, 2))
    expected = (weights.reshape(6, 2, 256) * wanted[:, :, None]).reshape(SHAPE).astype("<f2")
    assert np.array_equal(TernaryF16().encode(weights, wanted), expected.view(np.uint8).reshape(-1))


def test_rows_of_any_length() -> None:
    weights = trits((3, 100))
    found, found_scales = TernaryF16().decode(TernaryF16().encode(weights, scales((3, 1))), (3, 100))
    assert np.array_equal(found, weights) and np.array_equal(found_scales, scales((3, 1)))


def test_rows_and_groups_without_weights_have_any_scale() -> None:
    weights = trits()
    weights[2], weights[4, 64:192] = 0, 0
    codec = TernaryF16()
    for shape in ((1, 1), (6, 1)):
        found, found_scales = codec.decode(codec.encode(weights, scales(shape)), SHAPE)
        live = [row for row in range(6) if row != 2]
        assert found_scales.shape == shape and np.array_equal(found, weights)
        assert shape == (1, 1) or np.array_equal(found_scales[live], scales(shape)[live])
    found, found_scales = codec.decode(codec.encode(np.zeros(SHAPE, np.int8), 0.5), SHAPE)
    assert not found.any() and found_scales.shape == (1, 1)


def test_scales_are_rounded_as_said() -> None:
    odd = np.array([[0.1]], np.float32)
    stored = TernaryF16().stored_scales(odd)
    assert stored == np.float32(np.float16(0.1)) and stored != odd
    assert np.array_equal(TernaryF32().stored_scales(odd), odd)
    assert np.array_equal(TernaryF16().decode(TernaryF16().encode(trits(), odd), SHAPE)[1], stored)


@pytest.mark.parametrize("scale", [1e-9, 1e6, np.nan])
def test_scales_that_f16_cannot_hold(scale: float) -> None:
    with pytest.raises(RepresentationError):
        TernaryF16().encode(trits(), scale)


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ((0, 5, 0.25), UnsupportedError, "row 0 holds both 0.25 and 0.5"),
        ((5, 511, 7.0), UnsupportedError, "row 5 holds both 0.5 and 7"),
        ((3, 2, np.nan), FormatError, "row 3 holds a value that is not a finite number"),
        ((1, 2, -np.inf), FormatError, "row 1 holds a value that is not a finite number"),
    ],
)
def test_other_values(change: tuple[int, int, float], kind: type[Exception], words: str) -> None:
    values = TernaryF16().encode(trits(), 0.5).view("<f2").reshape(SHAPE)
    row, col, value = change
    values[row, col] = value
    with pytest.raises(kind, match=words):
        TernaryF16().decode(values.view(np.uint8).reshape(-1), SHAPE)


def test_what_does_not_fit() -> None:
    codec = TernaryF16()
    with pytest.raises(RepresentationError, match="2 dimensions, not 3"):
        codec.n_bytes((1, 2, 3))
    with pytest.raises(RepresentationError, match="not -1, 0 or \\+1"):
        codec.encode(np.full((1, 4), 2, np.int8), 1.0)
    with pytest.raises(RepresentationError, match="must be int8"):
        codec.encode(np.zeros((1, 4)), 1.0)
    with pytest.raises(RepresentationError, match=r"scales of shape \(2, 1\)"):
        codec.encode(trits(), scales((2, 1)))
    with pytest.raises(FormatError, match="takes 6144 bytes"):
        codec.decode(np.zeros(100, np.uint8), SHAPE)
