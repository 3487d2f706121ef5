"""Words onto a terminal as they come, broken at its width; knows in which column the cursor is."""

from __future__ import annotations

from collections.abc import Callable

from rich.cells import cell_len

RESET = "\x1b[0m"
_TAB = 4
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")


def harmless(text: str) -> str:
    """`text` without what would command a terminal or turn its letters round; line ends and tabs stay."""
    return "".join(c if c in "\n\t" or _is_shown(c) else _spelled(c) for c in text)


def _is_shown(c: str) -> bool:
    # isprintable() counts the spaces and joiners of many scripts as not printable.
    return c not in _BIDI and (c.isprintable() or c in "\xa0\u200c\u200d" or ord(c) > 0x2FFF)


def _spelled(c: str) -> str:
    return "" if c == "\r" else c.encode("unicode_escape").decode("ascii")


class WrappedText:
    """Writes styled words, never a part of one, with line breaks where they do not fit.

    Args:
        write: takes what goes to the terminal.
        width: its columns at this moment.
    """

    def __init__(self, write: Callable[[str], None], width: Callable[[], int]) -> None:
        self._write, self._width = write, width
        self.column = 0
        """Of the cursor; more than the width where something could not be broken."""
        self.indent = ("", 0)
        """What a line that had to be broken goes on with, and how many columns that takes."""
        self.n_lines = 0
        """Line ends written so far."""
        self._word: list[tuple[str, str]] = []
        self._word_cells = 0
        self._space = 0
        """Spaces before the word, which are not written where a line is broken."""

    def put(self, text: str, style: str = "") -> None:
        """Adds text without line ends; `style` is a terminal's escape sequence."""
        for c in text:
            if c in " \t":
                self._end_word()
                self._space += 1 if c == " " else _TAB - (self.column + self._space) % _TAB
            else:
                cells = cell_len(c)
                self._word.append((c, style))
                self._word_cells += cells
                if cells > 1 or self._word_cells >= self._room():
                    self._end_word()  # Wide characters may be broken anywhere, and so must a very long word.

    def put_unbroken(self, text: str, style: str = "") -> None:
        """Adds text that is written as it is, spaces included."""
        self._end_word()
        self._spaces()
        if text:
            self._write(f"{style}{text}{RESET}" if style else text)
            self.column += cell_len(text)

    def end_line(self) -> None:
        """Ends the line."""
        self._end_word()
        self._space = 0
        self._break()

    def flush(self) -> None:
        """Writes the word that was still growing."""
        self._end_word()

    def _room(self) -> int:
        return max(self._width() - self.indent[1], 8)

    def _end_word(self) -> None:
        if not self._word:
            return
        if self.column + self._space + self._word_cells > self._width() and self.column > self.indent[1]:
            self._space = 0
            self._break()
            self._write(self.indent[0])
            self.column = self.indent[1]
        self._spaces()
        at = ""
        pieces = []
        for c, style in self._word:
            if style != at:
                pieces.append((RESET if at else "") + style)
                at = style
            pieces.append(c)
        self._write("".join(pieces) + (RESET if at else ""))
        self.column += self._word_cells
        self._word, self._word_cells = [], 0

    def _spaces(self) -> None:
        if self._space:
            self._write(" " * self._space)
            self.column += self._space
            self._space = 0

    def _break(self) -> None:
        self._write("\n")
        self.column = 0
        self.n_lines += 1
