"""What a model thinks aloud before it answers: the text between `<think>` and `</think>`, as Qwen3 and its kin write it."""

from __future__ import annotations

from typing import NamedTuple

OPEN, CLOSE = "<think>", "</think>"


class Said(NamedTuple):
    """A piece of what a model says."""

    text: str
    is_thought: bool


class ThoughtStream:
    """Tells thoughts from the answer while they come, in pieces cut anywhere. Only what an answer begins with is thought."""

    def __init__(self) -> None:
        self._held = ""
        """What may become a mark, or is white space beside one."""
        self._thinks: bool | None = None
        """None until that is certain."""
        self._begins = False
        """What comes after a mark has no word yet."""

    def feed(self, piece: str) -> list[Said]:
        """The pieces that are certain now, without the marks."""
        self._held += piece
        if self._thinks is None:
            begun = self._held.lstrip()
            if len(begun) < len(OPEN) and OPEN.startswith(begun):
                return []
            self._thinks = self._begins = begun.startswith(OPEN)
            if self._thinks:
                self._held = begun.removeprefix(OPEN)
        found = []
        if self._thinks:
            thought, mark, rest = self._held.partition(CLOSE)
            certain = len(thought.rstrip()) if mark else self._certain(thought)
            found = self._said(thought[:certain])
            if not mark:
                self._held = thought[certain:]
                return found
            self._held, self._thinks, self._begins = rest, False, True
        text, self._held = self._held, ""
        return [*found, *self._said(text)]

    def flush(self) -> list[Said]:
        """What was held back; nothing more comes."""
        held, self._held = self._held, ""
        return self._said(held.rstrip() if self._thinks else held)

    def _said(self, text: str) -> list[Said]:
        text = text.lstrip() if self._begins else text
        self._begins = self._begins and not text
        return [Said(text, bool(self._thinks))] if text else []

    @staticmethod
    def _certain(thought: str) -> int:
        """How much of a thought is neither white space at its end nor the beginning of the mark that closes it."""
        for n in range(min(len(CLOSE) - 1, len(thought)), 0, -1):
            if CLOSE.startswith(thought[-n:]):
                return len(thought[:-n].rstrip())
        return len(thought.rstrip())


def split(text: str) -> tuple[str, str]:
    """The thoughts and the answer of a whole text; no thoughts are an empty text."""
    stream = ThoughtStream()
    said = [*stream.feed(text), *stream.flush()]
    thoughts, answer = ("".join(s.text for s in said if s.is_thought is kind) for kind in (True, False))
    return thoughts, answer
