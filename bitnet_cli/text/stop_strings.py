"""Stop texts in a stream: holds back what may be the beginning of one, cuts at the first that is complete."""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Feed pieces of text; get back what is certain to come before any stop text.

    Args:
        stops: the texts, none of them empty.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.found = False
        """True once a stop text is complete; nothing is returned after that."""

    def feed(self, piece: str) -> str:
        """Takes the next piece, returns the text that may be shown."""
        if self.found:
            return ""
        text = self._held + piece
        hits = [(at, stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if hits:
            self.found, self._held = True, ""
            return text[: min(hits)[0]]
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """The stream has ended: what was held back is ordinary text."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of text that begins stop."""
    for n in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:n]):
            return n
    return 0
