"""Chunks and the estimates after each of them."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import pytest

from bitnet_cli.errors import BitnetError, UsageError
from bitnet_cli.library import BitNetModel
from bitnet_cli.perplexity import cut, estimates


class Fake:
    """A model that gives every token of a chunk the losses that it was told."""

    def __init__(self, *losses: list[float]) -> None:
        self._losses = iter(losses)

    def log_probabilities(self, ids: list[int], first: int, progress: object) -> np.ndarray:
        return -np.array(next(self._losses))


def test_cut() -> None:
    ids = list(range(100, 135))
    assert cut(ids, 10, None) == [ids[0:10], ids[10:20], ids[20:30]]
    assert cut(ids, 10, 7) == [[7, *ids[1:10]], [7, *ids[11:20]], [7, *ids[21:30]]]
    assert len(cut(ids[:20], 10, None)) == 2
    for n_ctx, n_ids in ((10, 19), (7, 35)):
        with pytest.raises(UsageError):
            cut(ids[:n_ids], n_ctx, None)


def test_mean_and_error() -> None:
    """Losses 1, 3 | 2, 6: mean 3, variance (4 + 0 + 1 + 9) / 4."""
    model = cast(BitNetModel, Fake([1.0, 3.0], [2.0, 6.0]))
    first, last = estimates(model, [[0] * 8, [0] * 8])
    assert (first.n_chunks, first.n_scored, last.n_chunks, last.n_scored) == (1, 2, 2, 4)
    assert first.perplexity == pytest.approx(math.exp(2)) and last.perplexity == pytest.approx(math.exp(3))
    assert last.error == pytest.approx(math.exp(3) * math.sqrt(3.5 / 3))


def test_extremes() -> None:
    (huge,) = estimates(cast(BitNetModel, Fake([900.0, 901.0])), [[0] * 8])
    assert huge.perplexity == math.inf and huge.error == math.inf
    (even,) = estimates(cast(BitNetModel, Fake([0.1] * 3)), [[0] * 8])
    assert even.perplexity == pytest.approx(math.exp(0.1)) and even.error == pytest.approx(0.0, abs=1e-7)
    with pytest.raises(BitnetError, match="chunk 2: the model computes values that are not numbers"):
        list(estimates(cast(BitNetModel, Fake([1.0, 2.0], [1.0, math.nan])), [[0] * 8, [0] * 8]))
