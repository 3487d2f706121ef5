"""From logits to a token: pure functions, seeded.

The order is that of llama.cpp: repetition penalty, top-k, top-p, min-p, temperature, draw. All of it in float64 on the few
candidates that are left, so that the choice does not depend on the platform.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bitnet_cli.errors import UsageError

COLDEST = 1e-6
"""Below this temperature the most likely token is taken: the division would leave nothing else, or overflow."""

GROUP = 64
"""Logits of which only the largest is looked at first."""


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. temperature 0 takes the most likely one."""

    temperature: float = 0.8
    top_k: int = 40
    """Keep the k most likely tokens; 0 keeps all."""
    top_p: float = 0.95
    """Keep the fewest tokens whose probabilities reach p; 1 keeps all."""
    min_p: float = 0.05
    """Drop tokens less likely than min_p times the most likely; 0 keeps all."""
    repeat_penalty: float = 1.0
    """Divides (or, if negative, multiplies) the logits of recent tokens; 1 does nothing."""
    repeat_last_n: int = 64
    """How many recent tokens the penalty looks at."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("temperature", 0.0, 100.0),
            ("top_k", 0, 1 << 31),
            ("top_p", 0.0, 1.0),
            ("min_p", 0.0, 1.0),
            ("repeat_penalty", 0.01, 100.0),
            ("repeat_last_n", 0, 1 << 31),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise UsageError(
                    f"{name} must be {low} to {high}, not {value}", hint="leave it out for the default"
                )


def penalise(logits: np.ndarray, recent: Sequence[int], penalty: float) -> np.ndarray:
    """Makes recent tokens less likely: positive logits are divided by the penalty, negative ones multiplied."""
    if penalty == 1.0 or not recent:
        return logits
    logits = logits.copy()
    ids = np.unique(np.asarray(recent))
    ids = ids[ids < len(logits)]  # A prompt may hold tokens that are never chosen.
    values = logits[ids]
    logits[ids] = np.where(values > 0, values / np.float32(penalty), values * np.float32(penalty))
    return logits


def most_likely(logits: np.ndarray, k: int) -> np.ndarray:
    """The k largest logits' ids, largest first, equal ones in order of id; all ids if there are no more than k.

    Each of the k largest of many groups' maxima is a logit, so the k-th largest logit is no smaller than the least of
    them: only the few logits from there on have to be sorted.

    Args:
        logits: float32 [vocab_size], finite.

    Returns:
        int64 [min(k, vocab_size)].
    """
    n_groups = len(logits) // GROUP
    if k <= n_groups:
        # Group g is every n_groups-th logit from g on: whole rows are compared, which vector units are good at.
        maxima = logits[: n_groups * GROUP].reshape(GROUP, n_groups).max(axis=0)
        ids = np.flatnonzero(logits >= np.partition(maxima, n_groups - k)[n_groups - k])
    else:
        ids = np.arange(len(logits))
    return ids[np.lexsort((ids, -logits[ids]))[:k]]


def all_finite(logits: np.ndarray) -> bool:
    """Whether no logit is infinite or NaN: then the largest is not, for NaN counts as largest, nor the smallest."""
    return bool(np.isfinite(logits.max()) and np.isfinite(logits.min()))


def candidates(logits: np.ndarray, sampling: Sampling) -> tuple[np.ndarray, np.ndarray]:
    """The tokens that may be drawn and their probabilities, most likely first; equal logits in order of id.

    Args:
        logits: float32 [vocab_size].

    Returns:
        ids int64 [n], probabilities float64 [n] that add up to 1.
    """
    ids = most_likely(logits, sampling.top_k or len(logits))
    values = logits[ids].astype(np.float64)
    p = _softmax(values)
    if sampling.top_p < 1.0:
        keep = int(np.searchsorted(np.cumsum(p), sampling.top_p)) + 1
        ids, values, p = ids[:keep], values[:keep], p[:keep]
    if sampling.min_p > 0.0:
        keep = max(int((p >= sampling.min_p * p[0]).sum()), 1)
        ids, values = ids[:keep], values[:keep]
    return ids, _softmax(values / sampling.temperature)


def sample(logits: np.ndarray, recent: Sequence[int], sampling: Sampling, random: np.random.Generator) -> int:
    """Draws the next token.

    Args:
        logits: float32 [vocab_size].
        recent: the tokens before it, newest last.
        random: drawn from exactly once per call unless temperature is 0.
    """
    last = recent[-sampling.repeat_last_n :] if sampling.repeat_last_n else []
    logits = penalise(logits, last, sampling.repeat_penalty)
    if sampling.temperature < COLDEST:
        return int(np.argmax(logits))
    ids, p = candidates(logits, sampling)
    drawn = int(np.searchsorted(np.cumsum(p), random.random(), side="right"))
    return int(ids[min(drawn, len(ids) - 1)])


def _softmax(values: np.ndarray) -> np.ndarray:
    e = np.exp(values - values[0])
    return np.asarray(e / e.sum())
