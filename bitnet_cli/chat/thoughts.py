"""What a reasoning model thinks, told from what it answers.

Such a model writes `<think>`, its thoughts, `</think>` and then its answer; with some templates the turn begins inside the
thoughts already. Only what a turn begins with are thoughts: an answer may speak of the tags.
"""

from __future__ import annotations

OPEN, CLOSE = "<think>", "</think>"


class ThoughtStream:
    """Feed pieces of a turn; get back thoughts and answer apart, without the tags and the white space around them.

    Args:
        begun: the turn begins inside the thoughts.
    """

    def __init__(self, begun: bool = False) -> None:
        self.thinking = begun
        """Whether the thoughts go on."""
        self._tag = CLOSE if begun else OPEN
        """The tag that may come next; empty once there is none any more."""
        self._held = ""
        """What may be the beginning of the tag, or white space before it."""
        self._strips = begun
        """A tag came last: white space after it is left out."""

    def feed(self, piece: str) -> list[tuple[bool, str]]:
        """Takes the next piece; returns what is certain, as (is it thought, text)."""
        text, self._held = self._held + piece, ""
        found: list[tuple[bool, str]] = []
        if self._tag == OPEN:
            begin = text.lstrip()
            if OPEN.startswith(begin[: len(OPEN)]) and len(begin) < len(OPEN):
                self._held = text
                return []
            self.thinking = self._strips = begin.startswith(OPEN)
            self._tag = CLOSE if self.thinking else ""
            text = begin.removeprefix(OPEN) if self.thinking else text
        if self._tag == CLOSE:
            thought, tag, text = text.partition(CLOSE)
            if not tag:
                certain = _without_begun_tag(thought).rstrip()
                self._held = thought[len(certain) :]
                return self._given(certain)
            found = self._given(thought.rstrip())
            self.thinking, self._tag, self._strips = False, "", True
        return found + self._given(text)

    def flush(self) -> list[tuple[bool, str]]:
        """The turn is over: what was held back is no tag."""
        held, self._held, self._tag = self._held, "", ""
        return self._given(held.rstrip() if self.thinking else held)

    def _given(self, text: str) -> list[tuple[bool, str]]:
        if self._strips:
            text = text.lstrip()
            self._strips = not text
        return [(self.thinking, text)] if text else []


def thoughts_and_answer(text: str, begun: bool = False) -> tuple[str, str]:
    """What was thought and what was answered in a turn; `begun` as for `ThoughtStream`."""
    stream = ThoughtStream(begun)
    found = stream.feed(text) + stream.flush()
    return "".join(t for is_thought, t in found if is_thought), "".join(
        t for is_thought, t in found if not is_thought
    )


def _without_begun_tag(text: str) -> str:
    """`text` without an end that may be the beginning of the closing tag."""
    for n in range(min(len(CLOSE) - 1, len(text)), 0, -1):
        if text.endswith(CLOSE[:n]):
            return text[:-n]
    return text
