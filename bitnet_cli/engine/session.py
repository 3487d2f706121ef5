"""A session: everything about one conversation with a model that changes.

Holds the KV cache, the position and the ids that the cache stands for. A token evaluated in a batch and the same token
evaluated alone leave the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from bitnet_cli.engine.model import Model
from bitnet_cli.engine.plan import Buf, buffers, write_plan
from bitnet_cli.errors import UsageError
from bitnet_cli.native import DEFAULT_KV_TYPE, KVCache, Plan

MAX_BATCH = 256
DEFAULT_CONTEXT = 4096


class Session:
    """One sequence of tokens under evaluation.

    Args:
        model: the weights; several sessions may share them, one call at a time.
        context_length: positions in the cache; None for the model's own, at most 4096.
        max_batch: tokens evaluated together, at most.
        kv_type: what the cache stores a key or value as: `f32`, `f16` or `i8`.

    Raises:
        UsageError: a context longer than the model was made for, or an unknown `kv_type`.
    """

    def __init__(
        self,
        model: Model,
        context_length: int | None = None,
        max_batch: int = MAX_BATCH,
        kv_type: str = DEFAULT_KV_TYPE,
    ) -> None:
        longest = model.config.context_length
        if context_length is None:
            context_length = min(longest, DEFAULT_CONTEXT)
        if not 1 <= context_length <= longest:
            raise UsageError(
                f"the context must be 1 to {longest} tokens for this model, not {context_length}",
                hint=f"`-c {min(longest, DEFAULT_CONTEXT)}` does",
            )
        c = model.config
        self.model = model
        self.context_length = context_length
        self.ids: list[int] = []
        """The tokens in the cache, in order; their number is the next position."""
        self.kv_type = kv_type
        self._kv = KVCache(c.n_layers, c.n_kv_heads, c.head_dim, context_length, kv_type)
        self._max_batch = min(max_batch, context_length)
        self.plan = Plan(
            model.ctx, write_plan(model, context_length), buffers(c), context_length, self._max_batch
        )

    @property
    def free(self) -> int:
        """Positions left in the cache."""
        return self.context_length - len(self.ids)

    def evaluate(
        self, ids: Sequence[int], n_logits: int = 1, progress: Callable[[int], None] | None = None
    ) -> np.ndarray:
        """Appends tokens to the sequence.

        Args:
            ids: token ids, at least one.
            n_logits: for how many of the last of them to return logits.
            progress: called with the number of tokens done after each batch.

        Returns:
            float32 [n_logits, vocab_size].

        Raises:
            UsageError: more tokens than the context has room for, an id outside the vocabulary, or logits of an embedding
                model.
        """
        logits = np.empty((n_logits, self.model.head.rows if n_logits else 0), np.float32)
        for batch, wanted in self._batches(ids, logits, progress):
            self.plan.run(self._kv, batch, len(self.ids), logits=wanted if len(wanted) else None)
        return logits

    def hidden_states(
        self, ids: Sequence[int], n_states: int = 1, progress: Callable[[int], None] | None = None
    ) -> np.ndarray:
        """Appends tokens to the sequence, as `evaluate` does, for what the head would read.

        Returns:
            float32 [n_states, dim]: the normed hidden states of the last tokens.

        Raises:
            UsageError: more tokens than the context has room for, or an id outside the vocabulary.
        """
        states = np.empty((n_states, self.model.config.dim), np.float32)
        for batch, wanted in self._batches(ids, states, progress):
            self.plan.run(self._kv, batch, len(self.ids))
            wanted[:] = self.plan.f32(Buf.h, len(batch))[len(batch) - len(wanted) :]
        return states

    def _batches(
        self, ids: Sequence[int], out: np.ndarray, progress: Callable[[int], None] | None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Checks tokens, then takes them batch by batch: each to be played at the current position, which moves after it.

        Args:
            out: a row for each of the last tokens.

        Yields:
            The batch, int32 [n], and the rows of `out` for the last of its tokens.
        """
        if not ids:
            raise UsageError("there is nothing to evaluate", hint="give at least one token")
        if len(out) > len(ids):
            raise UsageError(
                f"results of {len(out)} tokens cannot be had from {len(ids)}",
                hint="ask for at most as many as there are tokens",
            )
        if len(ids) > self.free:
            raise UsageError(
                f"{len(ids)} tokens do not fit: {self.free} of {self.context_length} positions are free",
                hint="give a shorter text or ask for a longer context with `-c`",
            )
        if min(ids) < 0 or max(ids) >= self.model.config.vocab_size:
            raise UsageError(
                f"token ids must be 0 to {self.model.config.vocab_size - 1}", hint="take them from `tokenize`"
            )
        tokens = np.array(ids, np.int32)
        wanted_from = len(ids) - len(out)
        for first in range(0, len(ids), self._max_batch):
            batch = tokens[first : first + self._max_batch]
            end = first + len(batch)
            yield batch, out[max(first - wanted_from, 0) : max(end - wanted_from, 0)]
            self.ids += batch.tolist()
            if progress is not None:
                progress(end)

    @property
    def kv_bytes_per_position(self) -> float:
        """Bytes of the cache that a position takes in all layers."""
        return self._kv.bytes_per_position

    def play(self, tokens: np.ndarray, first: int, end: int) -> None:
        """Plays ops `first`..`end`-1 of the plan for tokens (int32 [n]) at the current position, which stays."""
        self.plan.run(self._kv, tokens, len(self.ids), first=first, end=end)

    def truncate(self, n: int) -> None:
        """Forgets all but the first n tokens."""
        del self.ids[n:]
