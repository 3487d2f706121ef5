"""Guesses the next tokens of a text that repeats itself: they are those that followed the same words before.

Quotations, code, lists and summaries copy from what came before them. The engine checks a draft of several tokens in one
batch, which costs less than the tokens one by one; what a draft says never changes what is generated.
"""

from __future__ import annotations

from collections.abc import Iterable

NGRAM = 3
"""Tokens that must be the same for a place to be looked at."""
MAX_DRAFT = 7
"""Most tokens of a draft: eight rows with the token before it."""
LEAST_TRUST, MOST_TRUST = 4, 64
"""Tokens that must be the same before anything is drafted: at first, and after drafts that were wrong."""


class PromptLookup:
    """The tokens of one sequence, and where each n-gram of them was seen last."""

    def __init__(self, ids: Iterable[int]) -> None:
        self._ids: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}
        """N-gram → position of the token that followed its latest appearance."""
        self._needed = LEAST_TRUST
        for token in ids:
            self.append(token)

    def append(self, token: int) -> None:
        """Adds the next token of the sequence."""
        if len(self._ids) >= NGRAM:
            self._after[tuple(self._ids[-NGRAM:])] = len(self._ids)
        self._ids.append(token)

    def draft(self, limit: int) -> list[int]:
        """The tokens that may come next, at most `limit`; none if the sequence does not seem to repeat itself.

        Half as many as agree before them: the longer the repetition, the further it is trusted. What is nearer to the end
        than the draft is long goes round, as a loop does.
        """
        ids = self._ids
        after = self._after.get(tuple(ids[-NGRAM:]))
        if after is None:
            return []
        same, most = NGRAM, min(after, max(self._needed, 2 * MAX_DRAFT))
        while same < most and ids[after - same - 1] == ids[-same - 1]:
            same += 1
        if same < self._needed:
            return []
        period = len(ids) - after
        return [ids[after + i % period] for i in range(min(same // 2, MAX_DRAFT, limit))]

    def learn(self, drafted: int, accepted: int) -> None:
        """Wrong drafts ask for twice the agreement before the next one, right ones for half."""
        if accepted < drafted:
            self._needed = min(2 * self._needed, MOST_TRUST)
        else:
            self._needed = max(self._needed // 2, LEAST_TRUST)
