"""A file that is arriving: its bytes under a temporary name, and beside it a note of what is still missing.

The note is written after the bytes it speaks of, so it may know less than there is but never more, whenever the process
dies. A note that does not fit what is wanted, or makes no sense, is thrown away with the bytes.
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitnet_cli.hub.selection import RemoteFile

Span = tuple[int, int]
"""First byte and the one after the last."""


@dataclass(eq=False)  # A piece is itself, whatever bytes another one stands for.
class Piece:
    """What one connection is fetching: bytes pos..stop are still to come."""

    pos: int
    stop: int


class PartFile:
    """The bytes of one file as far as they are here; may be used from several threads.

    Args:
        path: `….part`; the note is `….part.json`.
        file: what is to arrive.

    Raises:
        OSError: it cannot be created.
    """

    def __init__(self, path: Path, file: RemoteFile) -> None:
        self.path, self._file = path, file
        self._lock = threading.Lock()
        self._taken: list[Piece] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        known = self._known()
        if known is None:
            discard(path)
        self._missing = known if known is not None else _all_of(file)
        self._fd: int | None = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        os.ftruncate(self._fd, file.size)
        self.save()

    @property
    def done_bytes(self) -> int:
        with self._lock:
            return self._file.size - sum(stop - start for start, stop in self._spans())

    def take(self, limit: int) -> Piece | None:
        """The next missing bytes, at most `limit`; None if all are here or being fetched."""
        with self._lock:
            if not self._missing:
                return None
            start, stop = self._missing.pop(0)
            if stop - start > limit:
                self._missing.insert(0, (start + limit, stop))
                stop = start + limit
            piece = Piece(start, stop)
            self._taken.append(piece)
            return piece

    def give_back(self, piece: Piece) -> None:
        """Ends the work on a piece; what did not arrive is missing again."""
        with self._lock:
            self._taken.remove(piece)
            if piece.pos < piece.stop:
                self._missing.append((piece.pos, piece.stop))
                self._missing.sort()

    def write(self, piece: Piece, data: bytes) -> bool:
        """The next bytes of a piece; False if the file has been closed meanwhile.

        Raises:
            OSError: the disk is full, or fails.
        """
        with self._lock:  # Closing waits, or the number of the closed file might be another's by now.
            if self._fd is None:
                return False
            view = memoryview(data)
            while view:
                n = os.pwrite(self._fd, view, piece.pos)
                piece.pos += n
                view = view[n:]
            return True

    def save(self) -> None:
        """Writes the note, as a whole or not at all."""
        with self._lock:
            spans = self._spans()
        note = {"path": self._file.path, "oid": self._file.oid, "size": self._file.size, "missing": spans}
        temporary = note_of(self.path).with_suffix(".new")
        temporary.write_text(json.dumps(note), encoding="utf-8")
        os.replace(temporary, note_of(self.path))

    def close(self) -> None:
        """Closes the file; with all bytes here, flushes them to disk first."""
        with self._lock:
            fd, self._fd = self._fd, None
            if fd is None:
                return
            try:
                if not self._spans():
                    os.fsync(fd)
            finally:
                os.close(fd)

    def _spans(self) -> list[Span]:
        """What is missing, by position; the lock is held, or nobody else is there yet."""
        pieces = [(piece.pos, piece.stop) for piece in self._taken if piece.pos < piece.stop]
        return sorted([*self._missing, *pieces])

    def _known(self) -> list[Span] | None:
        """What an earlier run left to be done; None if nothing of it can be used."""
        note = read_note(self.path)
        try:
            if note.get("oid") != self._file.oid or self.path.stat().st_size != self._file.size:
                return None
        except OSError:
            return None
        missing, end = [], 0
        for span in note.get("missing", [None]):
            is_span = isinstance(span, list) and len(span) == 2 and all(type(n) is int for n in span)
            if not is_span or not end <= span[0] < span[1] <= self._file.size:
                return None
            missing.append((span[0], span[1]))
            end = span[1]
        return missing


def _all_of(file: RemoteFile) -> list[Span]:
    return [(0, file.size)] if file.size else []


def discard(part: Path) -> None:
    """Removes a part and its note."""
    for path in (note_of(part), note_of(part).with_suffix(".new"), part):
        path.unlink(missing_ok=True)


def note_of(part: Path) -> Path:
    """Where the note about a part is."""
    return part.with_name(part.name + ".json")


def read_note(part: Path) -> dict[str, Any]:
    """The note about a part, unchecked; empty if there is none that can be read."""
    try:
        with open(note_of(part), encoding="utf-8") as file:
            note = json.loads(file.read(1 << 20))
    except (OSError, ValueError, RecursionError):
        return {}
    return note if isinstance(note, dict) and isinstance(note.get("missing"), list) else {}


def missing_bytes(part: Path, file: RemoteFile) -> int:
    """How much of a file is still to come, from a look at the note."""
    note = read_note(part)
    if note.get("oid") != file.oid or not part.exists():
        return file.size
    spans = [span for span in note["missing"] if isinstance(span, list) and len(span) == 2]
    try:
        return min(file.size, sum(int(stop) - int(start) for start, stop in spans))
    except (TypeError, ValueError):
        return file.size
