"""How likely a given text is to a model: the log-probability of each of its tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bitnet_cli.engine.session import MAX_BATCH, Session

LOGITS_BYTES = 1 << 25
"""Logits that are held at a time, at most, but for one token."""


def log_probabilities(
    session: Session,
    ids: Sequence[int],
    first: int,
    n_vocab: int,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """The log-probabilities of the tokens after position `first`, each given all tokens before it.

    Args:
        session: emptied and then filled with all tokens but the last.
        ids: token ids.
        first: the first position whose successor is scored, 0..len(ids) - 2.
        n_vocab: tokens that there are to choose from; rows of the head beyond do not count.
        progress: called with the number of tokens done, now and then.

    Returns:
        float64 [len(ids) - 1 - first]: entry i is that of ids[first + 1 + i].
    """
    session.truncate(0)
    if first:
        session.evaluate(ids[:first], 0, progress)
    end = len(ids) - 1
    step = max(1, min(MAX_BATCH, LOGITS_BYTES // (4 * session.model.config.vocab_size)))
    scores = np.empty(end - first)
    for at in range(first, end, step):
        block = ids[at : min(at + step, end)]
        logits = session.evaluate(block, len(block))[:, :n_vocab]
        for i, row in enumerate(logits, at):
            scores[i - first] = _log_softmax(row, ids[i + 1])
        if progress is not None:
            progress(at + len(block))
    return scores


def _log_softmax(logits: np.ndarray, token: int) -> float:
    """log(softmax(logits)[token]) in double precision; logits: float32 [n_vocab]."""
    shifted = logits.astype(np.float64) - logits.max()
    return float(shifted[token] - np.log(np.exp(shifted).sum()))
