"""Absmean: the worked example, ties, the clamp, and a mean that does not depend on how a matrix is cut."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from tiny_checkpoints import _normal

from bitnet_cli.convert.ternarize import AbsMean, row_sums, ternarize


def scale_of(*blocks: np.ndarray) -> np.float32:
    mean = AbsMean()
    for block in blocks:
        mean.add(block)
    return mean.scale()


def test_worked_example() -> None:
    master = np.array([[0.02, -0.5, 0.31, 0], [0.9, -0.26, -0.24, 0.25]], np.float32)
    scale = scale_of(master)
    assert scale.dtype == np.float32 and scale.tobytes() == bytes.fromhex("52b89e3e")
    assert ternarize(master, scale).tolist() == [[0, -1, 1, 0], [1, -1, -1, 1]]


@pytest.mark.parametrize(
    ("products", "trits"),
    [
        ([0.5, -0.5], [0, 0]),
        (
            [np.nextafter(np.float32(0.5), np.float32(1)), -np.nextafter(np.float32(0.5), np.float32(1))],
            [1, -1],
        ),
        ([1.5, -1.5, 2.5, -2.5], [1, -1, 1, -1]),
        ([0.0, -0.0, 3e38, -3e38], [0, 0, 1, -1]),
    ],
)
def test_ties_go_to_even_and_everything_is_clamped(products: list[float], trits: list[int]) -> None:
    values = np.array([products], np.float32)
    assert ternarize(values, np.float32(1)).tolist() == [trits]
    assert ternarize(values, np.float32(1)).tolist() == np.clip(np.rint(values), -1, 1).tolist()


def test_the_product_with_the_reciprocal_is_rounded_and_not_the_quotient() -> None:
    values = _normal("reciprocal", 200_000).astype(np.float32).reshape(100, -1)
    scale = np.float32(0.7)
    expected = np.clip(np.rint(values * (np.float32(1) / scale)), -1, 1)
    assert np.array_equal(ternarize(values, scale), expected)
    assert ternarize(values, scale).dtype == np.int8


def test_all_zero_matrix_has_the_smallest_scale() -> None:
    zero = np.zeros((4, 128), np.float32)
    assert scale_of(zero) == np.float32(1e-5)
    assert not ternarize(zero, scale_of(zero)).any()


@pytest.mark.parametrize("cols", [1, 2, 3, 127, 128, 129, 1000])
def test_mean_does_not_depend_on_the_blocks(cols: int) -> None:
    matrix = (_normal("blocks", 37 * cols).reshape(37, cols) * 0.02).astype(np.float32)
    whole = scale_of(matrix)
    for cut in (1, 5, 36):
        assert scale_of(matrix[:cut], matrix[cut:]).tobytes() == whole.tobytes()
    assert scale_of(*matrix[:, None]).tobytes() == whole.tobytes()


@pytest.mark.parametrize("cols", [1, 7, 640, 2560])
def test_mean_is_the_exact_mean_rounded(cols: int) -> None:
    matrix = (_normal(f"exact {cols}", 64 * cols).reshape(64, cols) * 0.03).astype(np.float32)
    exact = sum((Fraction(abs(float(w))) for w in matrix.reshape(-1)), Fraction(0)) / matrix.size
    assert scale_of(matrix) == np.float32(float(exact))


def test_row_sums_are_sums() -> None:
    matrix = np.abs(_normal("sums", 9 * 77).reshape(9, 77)).astype(np.float32)
    for row, total in zip(matrix, row_sums(matrix), strict=True):
        assert math.isclose(total, math.fsum(row.astype(np.float64)), rel_tol=1e-15)


def test_float32_means_differ_by_at_most_one_unit_in_the_last_place() -> None:
    """What a pairwise float32 sum gives, as torch takes it, against the mean here."""
    for i in range(20):
        matrix = (_normal(f"f32 {i}", 256 * 512).reshape(256, 512) * 0.02).astype(np.float32)
        pairwise = np.abs(matrix).mean(dtype=np.float32)
        assert abs(int(pairwise.view(np.uint32)) - int(scale_of(matrix).view(np.uint32))) <= 1
