"""The one sink of the command line: data to stdout, talk to stderr.

Rich is imported only when something needs it and only draws on terminals; NO_COLOR is honoured by it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from bitnet_cli.errors import printable

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress


MAX_LINE = 10_000
"""Characters of talk that are shown at once, at most."""


class Progress(Protocol):
    """How far a long piece of work has come."""

    def update(self, done: float, label: str | None = None) -> None:
        """`done` of the total are done."""


class Output:
    """Where commands put what they have to say."""

    json_mode = False
    """True under `--json`: stdout carries one JSON value and stderr only errors."""

    def data(self, text: str) -> None:
        """One line of result to stdout."""
        print(text, flush=True)

    def stream(self, text: str) -> None:
        """A piece of result to stdout, shown at once."""
        sys.stdout.write(text)
        sys.stdout.flush()

    def json(self, value: Any) -> None:
        """One JSON value to stdout, indented; characters outside ASCII as they are."""
        print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False), flush=True)

    def note(self, text: str) -> None:
        """One line of talk to stderr; silent under `--json`. What is not printable is escaped."""
        if not self.json_mode:
            _talk(_one_line(text))

    def error(self, message: str, hint: str | None) -> None:
        """What went wrong and what to do next, a line each to stderr. What is not printable is escaped."""
        _talk(f"{_paint('error', '31')}: {_one_line(message)}")
        if hint:
            _talk(f"\n{_paint('hint', '36')}: {_one_line(hint)}")

    def dim(self, text: str) -> None:
        """Text that belongs to the screen, not to the result: to stderr, and only if both streams are the screen."""
        if not self.json_mode and is_terminal(sys.stdout) and is_terminal(sys.stderr):
            sys.stderr.write(_paint(text, "2"))
            sys.stderr.flush()

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Shows on a terminal that something goes on, as long as it does."""
        shows = self.draws
        if shows:
            sys.stderr.write(_paint(f"{what} …", "2"))
            sys.stderr.flush()
        try:
            yield
        finally:
            if shows:
                sys.stderr.write("\r\x1b[K")
                sys.stderr.flush()

    def painted(self, text: str, code: str) -> str:
        """A part of a result in a terminal style; as it is where stdout is no terminal, or colours are not wanted."""
        return _paint(text, code, sys.stdout)

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """A table to stdout. Columns whose cells all begin with a digit or sign are set flush right."""
        lines = [tuple(str(cell) for cell in row) for row in rows]
        numeric = [
            all(row[i][:1] in "0123456789-+" for row in lines) and bool(lines) for i in range(len(columns))
        ]
        widths = [max(len(row[i]) for row in [tuple(columns), *lines]) for i in range(len(columns))]
        if title:
            self.data(_paint(title, "1", sys.stdout))
        for row in [tuple(columns), *lines]:
            cells = (
                c.rjust(w) if right else c.ljust(w) for c, w, right in zip(row, widths, numeric, strict=True)
            )
            self.data("  ".join(cells).rstrip())

    @property
    def draws(self) -> bool:
        """True if stderr is a terminal that bars can be drawn on."""
        return not self.json_mode and is_terminal(sys.stderr) and os.environ.get("TERM") != "dumb"

    @contextmanager
    def bars(self, *columns: Any) -> Iterator[RichProgress]:
        """Several bars on stderr with these columns, which go when the block ends; only where `draws` is true."""
        with _bars(*columns) as bars:
            yield bars

    def ask(self, question: str) -> bool:
        """Yes or no from the person at the terminal; no if there is none."""
        if self.json_mode or sys.stdin is None or not sys.stdin.isatty() or not is_terminal(sys.stderr):
            return False
        sys.stderr.write(f"{_one_line(question)} [y/N] ")
        sys.stderr.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    @contextmanager
    def progress(self, label: str, total: float, unit: str) -> Iterator[Progress]:
        """Progress on stderr: a bar with rate and time left on a terminal, a line every few seconds elsewhere.

        Args:
            label: what is being done.
            total: how much there is, in `unit`; bytes if `unit` is "B".
        """
        if self.json_mode:
            yield _Silent()
        elif self.draws:
            with _bar(unit) as bar:
                task = bar.add_task(label, total=total)
                yield _Bar(bar, task)
        else:
            yield _Lines(self, label, total)


class _Silent:
    def update(self, done: float, label: str | None = None) -> None:
        """Nothing is shown under `--json`."""


class _Bar:
    def __init__(self, bar: RichProgress, task: Any) -> None:
        self._bar, self._task = bar, task

    def update(self, done: float, label: str | None = None) -> None:
        if label is None:
            self._bar.update(self._task, completed=done)
        else:
            self._bar.update(self._task, completed=done, description=label)


class _Lines:
    """Plain lines for logs and pipes, at most one in five seconds."""

    PAUSE_S = 5.0

    def __init__(self, sink: Output, label: str, total: float) -> None:
        self._sink, self._label, self._total = sink, label, total
        self._started = self._last = time.monotonic()

    def update(self, done: float, label: str | None = None) -> None:
        now = time.monotonic()
        if now - self._last < self.PAUSE_S or done <= 0 or self._total <= 0:
            return
        self._last = now
        left = (now - self._started) * (self._total - done) / done
        self._sink.note(f"{label or self._label}: {100 * done / self._total:.0f} %, about {left:.0f} s left")


def _bar(unit: str) -> RichProgress:
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    amount = (
        [DownloadColumn(), TransferSpeedColumn()] if unit == "B" else [MofNCompleteColumn(), TextColumn(unit)]
    )
    columns = [TextColumn("{task.description}"), BarColumn(bar_width=None), *amount, TimeRemainingColumn()]
    return _bars(*columns)


def _bars(*columns: Any) -> RichProgress:
    from rich.console import Console, ConsoleDimensions
    from rich.progress import Progress

    class Narrower(Console):
        """Leaves room at the end of a line for the `^C` that a terminal shows; it would begin a new line otherwise."""

        def _narrower(self) -> ConsoleDimensions:
            width, height = Console.size.fget(self)  # type: ignore[attr-defined]
            return ConsoleDimensions(max(1, width - 3), height)

        size = property(_narrower)

    # Left to itself, rich would send what is printed to stdout meanwhile to this console, too.
    return Progress(*columns, console=Narrower(stderr=True), transient=True, redirect_stdout=False)


def _talk(line: str) -> None:
    """A line to stderr, lost if there is none, where `print` would take stdout, or if nothing more fits into it."""
    if sys.stderr is not None:
        with suppress(OSError):  # There is no other place to say it, and no reason to lose the work.
            print(_wrapped(line) if is_terminal(sys.stderr) else line, file=sys.stderr, flush=True)


def _wrapped(line: str) -> str:
    """Lines that a terminal need not cut within a word; names and paths stay whole."""
    width = max(shutil.get_terminal_size().columns, 20)
    if len(line) <= width:
        return line
    parts = (
        textwrap.fill(part, width, break_long_words=False, break_on_hyphens=False)
        for part in line.split("\n")
    )
    return "\n".join(parts)


def _one_line(text: str) -> str:
    """Names out of files and directories may hold anything; none of it may command the terminal."""
    return printable(text, MAX_LINE)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a standard stream is there and a terminal."""
    return stream is not None and stream.isatty()


def is_styled(stream: TextIO | None) -> bool:
    """Whether a standard stream may be written in styles: it is a terminal, and NO_COLOR is not set."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _paint(text: str, code: str, stream: Any = None) -> str:
    """`text` in a terminal style where the stream takes one."""
    stream = stream if stream is not None else sys.stderr
    return f"\x1b[{code}m{text}\x1b[0m" if is_styled(stream) else text


out = Output()
