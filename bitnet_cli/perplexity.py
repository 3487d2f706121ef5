"""Perplexity of a text, with the procedure that makes the number comparable to published ones.

The text is tokenised once and cut into chunks of the context's length, a rest being dropped. Each chunk is evaluated
from an empty context, its first token replaced by the beginning-of-text token if the model wants one, and only tokens
of its second half are scored: those before are their context. The perplexity is exp of the mean of -log p.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from bitnet_cli.errors import BitnetError, UsageError
from bitnet_cli.library import BitNetModel

MIN_CONTEXT = 8


@dataclass(frozen=True)
class Estimate:
    """What is known after a number of chunks."""

    perplexity: float
    error: float
    """Standard error of the perplexity."""
    n_chunks: int
    n_scored: int
    """Tokens whose probability was taken."""


def cut(ids: list[int], n_ctx: int, bos_id: int | None) -> list[list[int]]:
    """Chunks of n_ctx tokens each; their first becomes bos_id unless that is None.

    Raises:
        UsageError: less than two chunks, or a context too short to be of use.
    """
    if n_ctx < MIN_CONTEXT:
        raise UsageError(
            f"a context of {n_ctx} is too short: perplexity takes at least {MIN_CONTEXT}", hint="512 is usual"
        )
    if len(ids) < 2 * n_ctx:
        raise UsageError(
            f"the text has {len(ids)} tokens, but a context of {n_ctx} takes at least {2 * n_ctx}",
            hint="give a longer text or a shorter context with `-c`",
        )
    chunks = [ids[at : at + n_ctx] for at in range(0, len(ids) - n_ctx + 1, n_ctx)]
    if bos_id is not None:
        for chunk in chunks:
            chunk[0] = bos_id
    return chunks


def chunks_of(model: BitNetModel, text: str, n_ctx: int) -> list[list[int]]:
    """The chunks of a text as the model's tokenizer sees it. Raises as `cut`."""
    tokenizer = model.tokenizer
    return cut(model.tokenize(text), n_ctx, tokenizer.bos_id if tokenizer.add_bos else None)


def estimates(
    model: BitNetModel, chunks: list[list[int]], progress: Callable[[int], None] | None = None
) -> Iterator[Estimate]:
    """Evaluates chunks of equal length one after the other and yields what is known after each.

    Args:
        model: with room for a chunk in its context.
        chunks: from `cut`.
        progress: called with the number of tokens done.

    Raises:
        UsageError: a chunk does not fit into the model's context.
        BitnetError: the model computes something that is not a number.
    """
    total = squares = 0.0
    count = 0
    for i, chunk in enumerate(chunks):
        done = i * len(chunk)

        def tell(n: int, done: int = done) -> None:
            if progress is not None:
                progress(done + n)

        losses = -model.log_probabilities(chunk, len(chunk) // 2, tell)
        if not np.isfinite(losses).all():
            raise BitnetError(
                f"chunk {i + 1}: the model computes values that are not numbers",
                hint="the file may be damaged: `bitnet inspect` shows its tensors",
            )
        total += float(losses.sum())
        squares += float((losses * losses).sum())
        count += len(losses)
        yield _estimate(total, squares, count, i + 1)


def _estimate(total: float, squares: float, count: int, n_chunks: int) -> Estimate:
    """From the sum of the losses and of their squares."""
    mean = total / count
    variance = max(squares / count - mean * mean, 0.0)
    try:
        perplexity = math.exp(mean)
    except OverflowError:
        perplexity = math.inf
    return Estimate(perplexity, perplexity * math.sqrt(variance / (count - 1)), n_chunks, count)
