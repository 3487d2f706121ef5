"""How a download looks: two bars on a terminal, the file's and the total; plain lines elsewhere; nothing under --json."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bitnet_cli.cli.output import out
from bitnet_cli.cli.sizes import size_text
from bitnet_cli.errors import printable

if TYPE_CHECKING:
    from rich.progress import Progress

    from bitnet_cli.hub.download import Observer, Plan
    from bitnet_cli.hub.selection import RemoteFile

NAME_WIDTH, SHORT_NAME_WIDTH = 22, 14
WIDE = 64
"""Columns of a terminal from which on there is room for a bar, and for bytes where else a percentage is."""
PAUSE_S = 5.0
"""Between two plain lines about one file."""


@contextmanager
def transfer_view(plan: Plan) -> Iterator[Observer]:
    """Shows how a plan is carried out."""
    if out.json_mode:
        yield _Silent()
    elif out.draws:
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            TaskProgressColumn,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        is_wide = shutil.get_terminal_size().columns >= WIDE
        how_far = (BarColumn(bar_width=None), DownloadColumn()) if is_wide else (TaskProgressColumn(),)
        columns = (
            TextColumn("{task.description}", markup=False),
            *how_far,
            TransferSpeedColumn(),
            TimeRemainingColumn(compact=True),
        )
        with out.bars(*columns) as bars:
            yield _Bars(plan, bars, NAME_WIDTH if is_wide else SHORT_NAME_WIDTH)
    else:
        yield _Lines(plan)


class _Silent:
    """Says nothing; what had to be repeated does not matter to whoever reads JSON."""

    def begin(self, file: RemoteFile) -> None: ...

    def arrived(self, file: RemoteFile, n_bytes: int) -> None: ...

    def checked(self, file: RemoteFile, n_bytes: int) -> None: ...

    def finished(self, file: RemoteFile) -> None: ...

    def told(self, sentence: str) -> None: ...


class _Meter:
    """Bytes of the whole plan that are here while one file is on its way."""

    def __init__(self, plan: Plan) -> None:
        self.missing = {item.file.path: item.missing_bytes for item in plan.items}
        self.total = plan.total_bytes
        self._before = plan.total_bytes - plan.missing_bytes
        """Of the plan, without what files have brought since."""

    def here(self, file: RemoteFile, n_bytes: int) -> int:
        """Of the plan, when so many bytes of a file are here."""
        return self._before + n_bytes - (file.size - self.missing[file.path])

    def finished(self, file: RemoteFile) -> int:
        self._before = self.here(file, file.size)
        self.missing[file.path] = 0
        return self._before


class _Bars:
    """Two bars, of which rich takes care."""

    def __init__(self, plan: Plan, bars: Progress, name_width: int) -> None:
        self._bars, self._meter, self._width = bars, _Meter(plan), name_width
        done = plan.total_bytes - plan.missing_bytes
        self._total = bars.add_task(_label("total", name_width), total=plan.total_bytes, completed=done)
        self._file: Any = None
        self._is_checking = False

    def begin(self, file: RemoteFile) -> None:
        self._show(file, file.path, file.size - self._meter.missing[file.path])

    def arrived(self, file: RemoteFile, n_bytes: int) -> None:
        if self._is_checking:  # It was damaged and comes a second time.
            self._show(file, file.path, 0)
        self._bars.update(self._file, completed=n_bytes)
        self._bars.update(self._total, completed=self._meter.here(file, n_bytes))

    def checked(self, file: RemoteFile, n_bytes: int) -> None:
        if not self._is_checking:
            self._show(file, f"checking {file.path}", 0)
            self._is_checking = True
        self._bars.update(self._file, completed=n_bytes)

    def finished(self, file: RemoteFile) -> None:
        self._bars.update(self._total, completed=self._meter.finished(file))

    def told(self, sentence: str) -> None:
        out.note(sentence)

    def _show(self, file: RemoteFile, label: str, done: int) -> None:
        if self._file is not None:
            self._bars.remove_task(self._file)
        self._file = self._bars.add_task(_label(label, self._width), total=file.size, completed=done)
        self._is_checking = False


class _Lines:
    """A line when a file begins to take long, one every few seconds, one when it is here."""

    def __init__(self, plan: Plan) -> None:
        self._meter = _Meter(plan)
        self._last = self._started = 0.0
        self._at_start = 0

    def begin(self, file: RemoteFile) -> None:
        self._last = self._started = time.monotonic()
        self._at_start = file.size - self._meter.missing[file.path]

    def arrived(self, file: RemoteFile, n_bytes: int) -> None:
        now = time.monotonic()
        if now - self._last < PAUSE_S:
            return
        self._last = now
        rate = max(0, n_bytes - self._at_start) / (now - self._started)
        left = f", about {(file.size - n_bytes) / rate:.0f} s left" if rate else ""
        total = 100 * self._meter.here(file, n_bytes) / max(1, self._meter.total)
        out.note(
            f"{file.path}: {100 * n_bytes / max(1, file.size):.0f} %, {size_text(int(rate))}/s{left}; "
            f"total {total:.0f} %"
        )

    def checked(self, file: RemoteFile, n_bytes: int) -> None:
        """Takes a second per gigabyte: not worth a line."""

    def finished(self, file: RemoteFile) -> None:
        is_new = self._meter.missing[file.path] > 0
        total = 100 * self._meter.finished(file) / max(1, self._meter.total)
        if is_new:
            out.note(f"{file.path}: {size_text(file.size)} arrived and checked; total {total:.0f} %")

    def told(self, sentence: str) -> None:
        out.note(sentence)


def _label(text: str, width: int) -> str:
    """As much of a name as there is room for; its end says more than its beginning."""
    text = printable(text)
    text = text if len(text) <= width else "…" + text[-(width - 1) :]
    return text.ljust(width)
