"""Markdown onto a terminal while it is still being written.

What is certain is shown at once and never changed again: nothing flickers, and scrolling back shows what was there. Only
what may still become something else is held back: the beginning of a line, an emphasised span, a table. Without styles
the markup is shown as it was written, and only lines are broken.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from rich.cells import cell_len

from bitnet_cli.cli.wrapped_text import WrappedText, harmless

BOLD, ITALIC, UNDERLINE, DIM, CODE = "\x1b[1m", "\x1b[3m", "\x1b[4m", "\x1b[2m", "\x1b[36m"
MAX_SPAN = 400
"""Characters that an emphasised span may have; a longer one is shown as it was written."""

_UNDECIDED = re.compile(r"[ \t]*(?:#{0,6}|`{1,2}|~{1,2}|[-*+_]|\d{1,4}[.)]?|>|(?:[-*_] *){2,})$")
_FENCE = re.compile(r"( {0,3})(`{3,}|~{3,})(.*)$")
_HEADER = re.compile(r" {0,3}(#{1,6})[ \t]")
_ITEM = re.compile(r"([ \t]*)([-*+]|\d{1,4}[.)])[ \t]")
_QUOTE = re.compile(r" {0,3}> ?")
_RULE = re.compile(r" {0,3}(?:(?:- *){3,}|(?:\* *){3,}|(?:_ *){3,})$")
_TABLE_RULE = re.compile(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")
_SPAN = re.compile(
    r"(?P<code>`+)(?!`)(?P<in_code>.+?)(?<!`)(?P=code)(?!`)"
    r"|(?P<both>\*\*\*)(?P<in_both>[^\s*](?:[^*]*[^\s*])?)\*\*\*"
    r"|(?P<bold>\*\*|__)(?P<in_bold>[^\s*_](?:.*?[^\s])?)(?P=bold)(?![*_])"
    r"|\*(?P<star>[^\s*](?:[^*]*[^\s*])?)\*(?!\*)"
    r"|(?<![^\W_])_(?P<line>[^\s_](?:[^_]*[^\s_])?)_(?![^\W_])"
)
_STYLES = {"in_code": CODE, "in_both": BOLD + ITALIC, "in_bold": BOLD, "star": ITALIC, "line": ITALIC}


class MarkdownStream:
    """One answer, fed in pieces.

    Args:
        write: takes what goes to the terminal.
        width: its columns at this moment.
        styled: show emphasis by styles in place of markup.
    """

    def __init__(self, write: Callable[[str], None], width: Callable[[], int], styled: bool) -> None:
        self._text = WrappedText(write, width)
        self._width, self._styled = width, styled
        self._line = ""
        """The beginning of a line of which it is not certain yet what it is."""
        self._begun = False
        """The line is certain: what comes is shown at once."""
        self._span = ""
        """From a character on that may begin an emphasised span."""
        self._before = ""
        """The character before that."""
        self._style = ""
        self._fence = ""
        self._table: list[str] = []

    @property
    def column(self) -> int:
        """Of the cursor."""
        return self._text.column

    @property
    def n_lines(self) -> int:
        """Line ends written so far."""
        return self._text.n_lines

    def feed(self, piece: str) -> None:
        """Takes the next piece of the answer."""
        first, *others = harmless(piece).split("\n")
        self._take(first)
        for line in others:
            self._end_line()
            self._take(line)

    def finish(self) -> None:
        """The answer is over: shows what was held back; the cursor is then at the beginning of a line."""
        if self._line or self._begun or self._text.column:
            self._end_line()
        self._end_table()
        if self._text.column:
            self._text.end_line()

    def _take(self, text: str) -> None:
        """Text within one line."""
        at = 0
        # What a line is must not depend on how the text was cut into pieces.
        while not self._begun and at < len(text):
            self._line += text[at]
            at += 1
            if not self._held(self._line):
                if not self._fence:
                    self._end_table()
                self._begin_line()
        if at < len(text):
            self._show(text[at:])

    def _held(self, line: str) -> bool:
        """Whether what follows may still tell what a line is that begins so."""
        if self._fence:
            return self._may_end_fence(line)
        if _UNDECIDED.match(line) or _FENCE.match(line):
            return True
        return self._styled and (line.lstrip().startswith("|") or bool(self._table and "|" in line))

    def _end_line(self) -> None:
        line, begun = self._line, self._begun
        if not begun:
            if not self._fence and self._styled and self._is_row(line):
                self._table.append(line)
                self._line = ""
                return
            self._end_table()
            if self._fence_line(line) or self._rule(line):
                self._line = ""
                return
            self._begin_line()
        self._flush_span()
        self._text.end_line()
        self._text.indent, self._style = ("", 0), ""
        self._line, self._begun, self._before = "", False, ""

    # ---- Lines ----

    def _begin_line(self) -> None:
        """Shows what a line begins with, now that it is certain, and then the rest of what is there of it."""
        line, self._begun, self._line = self._line, True, ""
        if self._fence:
            self._text.put_unbroken(line, CODE if self._styled else "")
            return
        if header := _HEADER.match(line):
            line = self._prefix(line, header, "")
            self._style = BOLD + (UNDERLINE if len(header[1]) == 1 else "") if self._styled else ""
        elif item := _ITEM.match(line):
            mark = "•" if self._styled and item[2] in "-*+" else item[2]
            line = self._prefix(line, item, item[1].expandtabs(4) + mark + " ")
            self._hang()
        elif quote := _QUOTE.match(line):
            line = self._prefix(line, quote, "│ ")
            self._hang("│ " if self._styled else "> ")
        else:
            space = len(line) - len(line.lstrip())
            self._text.put_unbroken(line[:space].expandtabs(4))
            line = line[space:]
            self._hang()
        self._show(line)

    def _prefix(self, line: str, found: re.Match[str], shown: str) -> str:
        """Shows the mark that a line begins with; returns what follows it."""
        self._text.put_unbroken(shown if self._styled else found[0])
        return line[found.end() :]

    def _hang(self, begin: str = "") -> None:
        """Lines that have to be broken go on under the first letter, unless little is left of the width."""
        column = self._text.column
        if column <= self._width() // 2:
            self._text.indent = (begin.ljust(column), column)

    def _fence_line(self, line: str) -> bool:
        """Shows a line that begins or ends code, if it is one."""
        found = _FENCE.match(line)
        if found is None:
            return False
        if self._fence:
            if not found[2].startswith(self._fence) or found[3].strip():
                return False
            self._fence = ""
        elif "`" in found[3] and found[2][0] == "`":
            return False
        else:
            self._fence = found[2]
        self._text.put_unbroken(line, DIM if self._styled else "")
        self._text.end_line()
        return True

    def _may_end_fence(self, line: str) -> bool:
        return not line.strip(" ") or (
            line.strip(" ").strip(self._fence[0]) == "" and len(line) - len(line.lstrip(" ")) < 4
        )

    def _rule(self, line: str) -> bool:
        if not self._styled or self._fence or not _RULE.match(line):
            return False
        self._text.put_unbroken("─" * max(self._width() - 1, 3), DIM)
        self._text.end_line()
        return True

    # ---- Spans within a line ----

    def _show(self, text: str) -> None:
        if self._fence:
            self._text.put_unbroken(text, CODE if self._styled else "")
        elif not self._styled:
            self._text.put(text)
        else:
            for c in text:
                self._show_character(c)

    def _show_character(self, c: str) -> None:
        if not self._span:
            if c in "*_`\\" and not (c == "_" and self._before.isalnum()):
                self._span = c
            else:
                self._plain(c)
            return
        self._span += c
        first = self._span[0]
        if first == "\\":
            self._plain(c if c in "*_`\\#" else self._span)
            self._span = ""
        elif c not in "*_`" and (found := _SPAN.fullmatch(self._span[:-1])):
            self._span = ""
            self._styled_span(found)
            self._show_character(c)
        elif (first != "`" and self._span.lstrip("*_")[:1].isspace()) or len(self._span) > MAX_SPAN:
            self._flush_span()

    def _flush_span(self) -> None:
        """Shows what was held back; what is complete in it has its style."""
        text, self._span = self._span, ""
        at = 0
        for found in _SPAN.finditer(text):
            self._plain(text[at : found.start()])
            self._styled_span(found)
            at = found.end()
        self._plain(text[at:])

    def _styled_span(self, found: re.Match[str]) -> None:
        kind = next(name for name in _STYLES if found[name] is not None)
        outer, added = self._style, _STYLES[kind]
        self._style = outer if added in outer else outer + added
        at, text = 0, found[kind]
        if kind == "in_bold":  # Other spans may stand in bold ones.
            for inner in _SPAN.finditer(text):
                self._plain(text[at : inner.start()])
                self._styled_span(inner)
                at = inner.end()
        self._plain(text[at:])
        self._style = outer

    def _plain(self, text: str) -> None:
        if text:
            self._text.put(text, self._style)
            self._before = text[-1]

    # ---- Tables ----

    def _is_row(self, line: str) -> bool:
        return line.lstrip().startswith("|") or (len(self._table) > 0 and "|" in line)

    def _end_table(self) -> None:
        """Shows the rows held back: with columns set under one another if they are a table and fit, else as written."""
        lines, self._table = self._table, []
        if not lines:
            return
        cells = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
        n = len(cells[0])
        is_table = len(lines) > 2 and _TABLE_RULE.match(lines[1]) and all(len(row) == n for row in cells)
        shown = [row for j, row in enumerate(cells) if j != 1]
        widths = [max(cell_len(_bare(row[i])) for row in shown) for i in range(n)] if is_table else []
        if not is_table or sum(widths) + 2 * n > self._width():
            for line in lines:
                self._text.put(line)
                self._text.end_line()
            return
        for j, row in enumerate(cells):
            if j == 1:
                self._text.put_unbroken("  ".join("─" * w for w in widths), DIM)
            else:
                for i, cell in enumerate(row):
                    self._style = BOLD if j == 0 else ""
                    self._span, rest = cell, " " * (widths[i] - cell_len(_bare(cell)))
                    self._flush_span()
                    self._style = ""
                    if i + 1 < n:
                        self._text.put_unbroken(rest + "  ")
            self._text.end_line()


def _bare(text: str) -> str:
    """What is shown of a cell."""
    return _SPAN.sub(lambda found: next(found[name] for name in _STYLES if found[name] is not None), text)
