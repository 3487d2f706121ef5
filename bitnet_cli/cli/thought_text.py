"""The thoughts of a reasoning model on a terminal: dimmed, and behind a bar for screens without styles."""

from __future__ import annotations

from collections.abc import Callable

from bitnet_cli.cli.markdown_stream import DIM
from bitnet_cli.cli.wrapped_text import RESET, WrappedText, harmless

_BAR = "│ "


class ThoughtText:
    """Text as it was written, fed in pieces.

    Args:
        write: takes what goes to the terminal.
        width: its columns at this moment.
        styled: may use styles.
    """

    def __init__(self, write: Callable[[str], None], width: Callable[[], int], styled: bool) -> None:
        self._text = WrappedText(write, width)
        self._style = DIM if styled else ""
        self._text.indent = (f"{DIM}{_BAR}{RESET}" if styled else _BAR, len(_BAR))
        self._in_line, self._write, self._has_text = False, write, False

    @property
    def column(self) -> int:
        """Of the cursor."""
        return self._text.column

    def feed(self, piece: str) -> None:
        """Takes the next piece."""
        for n, line in enumerate(harmless(piece).split("\n")):
            if n:
                self._begin_line()
                self._text.end_line()
                self._in_line = False
            if line:
                self._begin_line()
                self._text.put(line, self._style)
        self._has_text = self._has_text or bool(piece)

    def finish(self, *, with_space: bool = False) -> None:
        """The thoughts are over: the cursor goes to the beginning of a line, if asked for below an empty one."""
        if self._in_line:
            self._text.end_line()
            self._in_line = False
        if with_space and self._has_text:
            self._write("\n")
        self._has_text = False

    def _begin_line(self) -> None:
        if not self._in_line:
            self._text.put_unbroken(_BAR, self._style)
            self._in_line = True
