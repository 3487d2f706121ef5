"""The order of rows in a head, by the published index lists, and back."""

from __future__ import annotations

import numpy as np
import pytest

from bitnet_cli.convert.head_rows import halved, interleaved


@pytest.mark.parametrize(
    ("head_dim", "order"),
    [(8, [0, 4, 1, 5, 2, 6, 3, 7]), (4, [0, 2, 1, 3, 4, 6, 5, 7]), (2, [0, 1, 2, 3, 4, 5, 6, 7])],
)
def test_index_lists(head_dim: int, order: list[int]) -> None:
    rows = np.arange(8 * 3).reshape(8, 3)
    assert np.array_equal(interleaved(rows, head_dim), rows[order])
    assert np.array_equal(halved(interleaved(rows, head_dim), head_dim), rows)


def test_pairs_of_the_rotation_become_neighbours() -> None:
    rows = np.arange(3 * 64)[:, None]
    moved = interleaved(rows, 64).reshape(3, 32, 2)
    assert (moved[..., 1] - moved[..., 0] == 32).all()
