"""Scales that repeat are told from scales that differ."""

from __future__ import annotations

import numpy as np
import pytest

from bitnet_cli.formats.scales import simplest

NAN = float("nan")


@pytest.mark.parametrize(
    ("scales", "cols", "expected"),
    [
        ([[2]], None, [[2]]),
        ([[2], [2], [2]], None, [[2]]),
        ([[2], [3], [2]], None, [[2], [3], [2]]),
        ([[2, 2], [2, 2]], 256, [[2]]),
        ([[2, 2], [3, 3]], 256, [[2], [3]]),
        ([[2, 2], [3, 2]], 256, [[2, 2], [3, 2]]),
        ([[-0.0, 0.0]], 256, [[0]]),
        ([[2, -2]], 256, [[2, -2]]),
        ([[0, 2]], 256, [[0, 2]]),
        ([[NAN, NAN]], 128, [[NAN, NAN]]),
        ([[2, 2, 3, 3, 5, 5, 5, 5]], 512, [[2, 3, 5, 5]]),
        ([[2, 2, 2, 2, 5, 5, 5, 5]], 512, [[2, 5]]),
        ([[2, 2, 2, 2, 5, 5, 5, 5]], 1024, [[2, 2, 5, 5]]),
        ([[2, 2, 2, 2, 5, 5, 5, 5]], 2048, [[2, 2, 2, 2, 5, 5, 5, 5]]),
        ([[2, 2, 2, 2, 5, 5, 5, 5]], None, [[2, 2, 2, 2, 5, 5, 5, 5]]),
        ([[2, 2, 5, 5, 5, 5]], 384, [[2, 5, 5]]),
    ],
)
def test_simplest(scales: list[list[float]], cols: int | None, expected: list[list[float]]) -> None:
    found = simplest(np.array(scales, np.float32), cols)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array(expected, np.float32))


@pytest.mark.parametrize(
    ("scales", "full", "expected"),
    [
        ([[2, 0], [0, 2]], [[1, 0], [0, 1]], [[2]]),
        ([[2, 0], [0, 2]], [[1, 0], [1, 1]], [[2, 0], [0, 2]]),
        ([[2, 0], [0, 0]], [[1, 0], [0, 0]], [[2]]),
        ([[0, 0], [0, 3]], [[0, 0], [0, 1]], [[3]]),
        ([[0, 0], [0, 3], [2, 2]], [[0, 0], [0, 1], [1, 1]], [[0], [3], [2]]),
        ([[0, 0], [0, 0]], [[1, 0], [0, 0]], [[0]]),
        ([[0, 5, 7, 0]], [[0, 1, 1, 0]], [[5, 7]]),
    ],
)
def test_a_scale_of_nothing_goes_with_any(
    scales: list[list[float]], full: list[list[int]], expected: list[list[float]]
) -> None:
    trits = np.repeat(np.array(full, np.int8), 64, axis=1)
    found = simplest(np.array(scales, np.float32), trits.shape[1], lambda: trits)
    np.testing.assert_array_equal(found, np.array(expected, np.float32))


def test_the_weights_are_looked_at_only_where_a_scale_of_0_is_in_the_way() -> None:
    def never() -> np.ndarray:
        raise AssertionError

    for scales in ([[2, 3]], [[0, 0]], [[2, 2]]):
        simplest(np.array(scales, np.float32), 128, never)
