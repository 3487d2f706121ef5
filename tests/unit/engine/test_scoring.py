"""Log-probabilities of given tokens: the softmax of the logits, whatever is held at a time."""

from __future__ import annotations

import numpy as np
import pytest

from bitnet_cli.engine import scoring
from bitnet_cli.errors import UsageError
from bitnet_cli.library import BitNetModel


@pytest.fixture(scope="module")
def model() -> BitNetModel:
    return BitNetModel.from_pretrained(n_threads=2)


def test_log_probabilities_are_the_softmax_of_the_logits(
    model: BitNetModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = model.tokenize("Once upon a time, there was a little girl named Lily. She loved to play.")
    logits = model.logits(ids).astype(np.float64)
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = np.log(e / e.sum(axis=1, keepdims=True))[np.arange(len(ids) - 1), ids[1:]]
    for first in (0, 5, len(ids) - 2):
        for held in (scoring.LOGITS_BYTES, 3 * 4 * model.config.vocab_size, 1):
            monkeypatch.setattr(scoring, "LOGITS_BYTES", held)
            done: list[int] = []
            got = model.log_probabilities(ids, first, done.append)
            assert got.dtype == np.float64 and got == pytest.approx(expected[first:], abs=1e-12)
            assert done == sorted(done) and done[-1] == len(ids) - 1


def test_what_cannot_be_scored(model: BitNetModel) -> None:
    for ids, first in (([], 0), ([1], 0), ([1, 2, 3], 2), ([1, 2, 3], -1), ([1, -1], 0), ([1, 4096], 0)):
        with pytest.raises(UsageError):
            model.log_probabilities(ids, first)
