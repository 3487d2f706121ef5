"""The loop: evaluate, sample, stop. Token ids in, token ids out; it knows nothing of text."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bitnet_cli.engine.sampler import Sampling, all_finite, sample
from bitnet_cli.engine.session import Session
from bitnet_cli.errors import FormatError


@dataclass
class Timings:
    """What a generation took. Rates are tokens per second; 0 where nothing was measured."""

    prompt_tokens: int = 0
    prompt_s: float = 0.0
    decode_tokens: int = 0
    """Tokens evaluated one by one; the first generated token comes with the prompt."""
    decode_s: float = 0.0

    @property
    def prompt_tps(self) -> float:
        return self.prompt_tokens / self.prompt_s if self.prompt_s > 0 else 0.0

    @property
    def decode_tps(self) -> float:
        return self.decode_tokens / self.decode_s if self.decode_s > 0 else 0.0


class Generation:
    """One continuation of a session. Iterate over it for the new token ids; stop iterating to end it early.

    Args:
        session: where the prompt is appended; afterwards it holds the prompt and all generated tokens but the last.
        prompt: token ids to evaluate first, at least one.
        sampling: how tokens are chosen.
        max_new_tokens: the most to generate.
        eos_ids: tokens that end the generation; they are not yielded.
        n_vocab: ids from here on stand for no token and are never chosen; None if all do.
        seed: of the random choices.
        progress: called with the number of prompt tokens done.
    """

    def __init__(
        self,
        session: Session,
        prompt: Sequence[int],
        sampling: Sampling,
        *,
        max_new_tokens: int,
        eos_ids: frozenset[int] = frozenset(),
        n_vocab: int | None = None,
        seed: int = 0,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self._session, self._prompt, self._sampling = session, list(prompt), sampling
        self._max_new_tokens, self._eos_ids, self._progress = max_new_tokens, eos_ids, progress
        self._n_vocab = n_vocab
        self._random = np.random.default_rng(seed)
        self.timings = Timings(prompt_tokens=len(prompt))
        self.finish_reason = "length"
        """`stop` (an end token), `length` (max_new_tokens) or `context` (the cache is full)."""

    def __iter__(self) -> Iterator[int]:
        session, timings = self._session, self.timings
        started = time.perf_counter()
        logits = session.evaluate(self._prompt, progress=self._progress)[0, : self._n_vocab]
        timings.prompt_s = time.perf_counter() - started
        recent = list(self._prompt)
        for i in range(self._max_new_tokens):
            if not all_finite(logits):
                raise FormatError(
                    "the model computes values that are not finite: its weights are damaged",
                    path=session.model.reader.path,
                )
            token = sample(logits, recent, self._sampling, self._random)
            if token in self._eos_ids:
                self.finish_reason = "stop"
                return
            yield token
            recent.append(token)
            if i + 1 == self._max_new_tokens:
                return
            if session.free == 0:
                self.finish_reason = "context"
                return
            started = time.perf_counter()
            logits = session.evaluate([token])[0, : self._n_vocab]
            timings.decode_s += time.perf_counter() - started
            timings.decode_tokens += 1
