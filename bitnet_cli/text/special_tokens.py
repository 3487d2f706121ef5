"""Finds special tokens in text: at each place the longest one that matches, from the left."""

from __future__ import annotations

import re
from collections.abc import Iterable


class SpecialTokens:
    """A set of literal token texts, searched for without building an expression of them all.

    Args:
        tokens: (text, id) pairs; empty texts are never found.
    """

    def __init__(self, tokens: Iterable[tuple[str, int]]) -> None:
        self._ids = {text: i for text, i in tokens if text}
        lengths: dict[str, set[int]] = {}
        for text in self._ids:
            lengths.setdefault(text[0], set()).add(len(text))
        self._lengths = {first: sorted(found, reverse=True) for first, found in lengths.items()}
        firsts = "".join(map(re.escape, self._lengths))
        self._candidate = re.compile(f"[{firsts}]") if firsts else None

    def get(self, text: str) -> int | None:
        """The id of the special token with exactly this text."""
        return self._ids.get(text)

    def characters(self) -> set[str]:
        """The characters that the tokens are written with."""
        return set().union(*self._ids)

    def find(self, text: str) -> list[tuple[int, int, int]]:
        """(begin, end, id) of the special tokens in `text`, in order, none overlapping another."""
        found: list[tuple[int, int, int]] = []
        if self._candidate is None:
            return found
        pos = 0
        while (match := self._candidate.search(text, pos)) is not None:
            begin = match.start()
            pos = begin + 1
            for length in self._lengths[text[begin]]:
                token = self._ids.get(text[begin : begin + length])
                if token is not None:
                    pos = begin + length
                    found.append((begin, pos, token))
                    break
        return found

    def split(self, text: str) -> list[str | int]:
        """`text` as stretches between special tokens and the ids of these; stretches are not empty."""
        parts: list[str | int] = []
        pos = 0
        for begin, end, token in self.find(text):
            if begin > pos:
                parts.append(text[pos:begin])
            parts.append(token)
            pos = end
        if pos < len(text):
            parts.append(text[pos:])
        return parts
