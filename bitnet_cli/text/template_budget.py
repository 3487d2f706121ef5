"""What one rendering of a chat template may use: characters of text, sizes of values, time."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from jinja2.exceptions import SecurityError
from jinja2.runtime import Undefined

MAX_VALUE_CHARS = 1 << 21
"""Of one string, or of everything in one list or mapping together."""
MAX_TOTAL_CHARS = 1 << 25
"""Of all that is made while rendering."""
MAX_SECONDS = 5.0
MAX_INT_BITS = 1024
MAX_DEPTH = 50

_DATA = (str, list, tuple, dict, int, float, type(None), Undefined)


class LimitError(Exception):
    """A template wants more time or memory than any chat needs."""


def data(value: Any) -> Any:
    """Lets through what is data; the engine's own objects have no text, or one that is endless."""
    if not isinstance(value, _DATA):
        raise SecurityError(f"a {type(value).__name__} cannot be printed")
    return value


def check_number(value: int) -> None:
    """Refuses a number of more digits than any template counts with."""
    if value.bit_length() > MAX_INT_BITS:
        raise LimitError("it makes numbers that are too large")


class Budget:
    """What one rendering may still use."""

    def __init__(self) -> None:
        self._chars = MAX_TOTAL_CHARS
        self._deadline = time.monotonic() + MAX_SECONDS
        self._known: dict[int, tuple[object, int]] = {}

    def charge(self, chars: int) -> None:
        """Counts what is made or printed, and looks at the clock."""
        self._chars -= chars
        if self._chars < 0:
            raise LimitError("it makes too much text")
        if time.monotonic() > self._deadline:
            raise LimitError(f"it takes more than {MAX_SECONDS:.0f} seconds")

    def fit(self, chars: int) -> None:
        """Refuses a value of this size before it is made."""
        if chars > MAX_VALUE_CHARS:
            raise LimitError("it makes values that are too large")

    def value(self, value: Any) -> Any:
        """Counts a value that was made and returns it."""
        self.fit(self.size(value))
        if isinstance(value, list | tuple | dict):
            self.charge(8 * len(value))  # A reference takes the place of eight characters.
        else:
            self.charge(len(value) if isinstance(value, str) else 1)
        return value

    def size(self, value: object, depth: int = 0) -> int:
        """Characters that a value would print, about; what a container holds several times counts as often.

        Sizes of containers are remembered (they never change here), or a list that grows by one element at a
        time would be walked to the bottom each time.
        """
        if isinstance(value, str):
            return len(value) + 1
        if isinstance(value, int):
            check_number(value)
        if depth and not isinstance(value, _DATA):
            raise SecurityError(f"a {type(value).__name__} cannot be put into a list")
        if not isinstance(value, list | tuple | dict):
            return 1
        known = self._known.get(id(value))
        if known is not None:
            return known[1]
        if depth > MAX_DEPTH:
            raise LimitError("it makes values that are too deep")
        parts: Iterable[object] = value
        if isinstance(value, dict):
            parts = [part for item in value.items() for part in item]
        size = 1
        for part in parts:
            size += self.size(part, depth + 1)
            self.fit(size)
        self._known[id(value)] = (value, size)  # The value too, so that no other comes to have its id.
        return size
