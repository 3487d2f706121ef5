"""The loop: evaluate, sample, stop. Token ids in, token ids out; it knows nothing of text."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bitnet_cli.engine.prompt_lookup import PromptLookup
from bitnet_cli.engine.sampler import Sampling, all_finite, sample
from bitnet_cli.engine.session import Session
from bitnet_cli.errors import FormatError


@dataclass
class Timings:
    """What a generation took. Rates are tokens per second; 0 where nothing was measured."""

    prompt_tokens: int = 0
    prompt_s: float = 0.0
    decode_tokens: int = 0
    """Tokens evaluated after the prompt and kept; the first generated token comes with the prompt."""
    decode_s: float = 0.0
    drafted_tokens: int = 0
    """Tokens guessed ahead and evaluated with the token before them."""
    accepted_tokens: int = 0
    """How many of them were right."""

    @property
    def prompt_tps(self) -> float:
        return self.prompt_tokens / self.prompt_s if self.prompt_s > 0 else 0.0

    @property
    def decode_tps(self) -> float:
        return self.decode_tokens / self.decode_s if self.decode_s > 0 else 0.0


class Generation:
    """One continuation of a session. Iterate over it for the new token ids; stop iterating to end it early.

    Args:
        session: where the prompt is appended to what is there; afterwards it also holds the prompt and all generated
            tokens but the last. If the iteration is ended early, perhaps drafted tokens, too.
        prompt: token ids to evaluate first, at least one.
        sampling: how tokens are chosen; what was in the session before counts as said.
        max_new_tokens: the most to generate.
        eos_ids: tokens that end the generation; they are not yielded.
        n_vocab: ids from here on stand for no token and are never chosen; None if all do.
        seed: of the random choices.
        speculate: guess tokens ahead where the text repeats itself. The tokens are the same; they may come faster.
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
        speculate: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        rows = session.model.head.rows  # Refuses an embedding model before anything is evaluated.
        self._session, self._prompt, self._sampling = session, list(prompt), sampling
        self._max_new_tokens, self._eos_ids, self._progress = max_new_tokens, eos_ids, progress
        self._n_vocab, self._speculate = rows if n_vocab is None else n_vocab, speculate
        self._random = np.random.default_rng(seed)
        self.timings = Timings(prompt_tokens=len(prompt))
        self.finish_reason = "length"
        """`stop` (an end token), `length` (max_new_tokens) or `context` (the cache is full)."""

    def __iter__(self) -> Iterator[int]:
        session, timings = self._session, self.timings
        before = len(session.ids)
        started = time.perf_counter()
        logits = session.evaluate(self._prompt, progress=self._progress)
        timings.prompt_s = time.perf_counter() - started
        recent = list(session.ids)
        lookup = PromptLookup(recent) if self._speculate else None
        draft: list[int] = []
        """Guessed tokens in the cache; the logits after the newest token and after each of them are `logits`."""
        row = 0
        for left in range(self._max_new_tokens - 1, -1, -1):
            token = self._choose(logits[row, : self._n_vocab], recent)
            if token in self._eos_ids:
                self.finish_reason = "stop"
                session.truncate(before + len(recent))
                return
            yield token
            recent.append(token)
            if lookup is not None:
                lookup.append(token)
            if left and row < len(draft) and draft[row] == token:
                row += 1
                timings.accepted_tokens += 1
                timings.decode_tokens += 1
                continue
            session.truncate(before + len(recent) - 1)
            if left == 0:
                return
            if session.free == 0:
                self.finish_reason = "context"
                return
            if lookup is not None:
                if draft:
                    lookup.learn(len(draft), row)
                draft = self._until_end(lookup.draft(min(left, session.free) - 1))
            logits, row = self._decode([token, *draft]), 0

    def _choose(self, logits: np.ndarray, recent: Sequence[int]) -> int:
        if not all_finite(logits):
            raise FormatError(
                "the model computes values that are not finite: its weights are damaged",
                path=self._session.model.path,
            )
        return sample(logits, recent, self._sampling, self._random)

    def _until_end(self, draft: list[int]) -> list[int]:
        """A draft up to the token that would end the generation: nothing is evaluated after that one."""
        end = next((i for i, token in enumerate(draft) if token in self._eos_ids), len(draft))
        return draft[:end]

    def _decode(self, ids: list[int]) -> np.ndarray:
        """Evaluates the newest token and a draft: logits after each, float32 [n, vocab_size]."""
        started = time.perf_counter()
        logits = self._session.evaluate(ids, n_logits=len(ids))
        self.timings.decode_s += time.perf_counter() - started
        self.timings.decode_tokens += 1
        self.timings.drafted_tokens += len(ids) - 1
        return logits
