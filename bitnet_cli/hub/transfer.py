"""Fetches one file over several connections, goes on where an earlier run ended, and checks every bit of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bitnet_cli.errors import HubError
from bitnet_cli.hub.digest import digest_of
from bitnet_cli.hub.part_file import PartFile, Piece, discard
from bitnet_cli.hub.patience import Patience
from bitnet_cli.hub.remote import Hub, NoRanges
from bitnet_cli.hub.selection import RemoteFile

CONNECTIONS = 4
PIECE_BYTES = 32 << 20
"""What a connection asks for at once: few requests for a large file, and little to share out at its end."""
TRIES = 6
SAVE_S = 0.5
"""How often the note is written: what arrived since is fetched again if the process is killed."""
_WAKE_S = 0.1


@dataclass(frozen=True)
class Source:
    """Where files come from."""

    hub: Hub
    repo: str
    commit: str


@dataclass(frozen=True)
class Watcher:
    """Who wants to know how a transfer goes; `arrived` and `checked` are called in the thread that waits for it."""

    arrived: Callable[[int], None]
    """So many bytes of the file are here."""
    checked: Callable[[int], None]
    """So many bytes have been checked."""
    told: Callable[[str], None]
    """Something had to be repeated: a sentence, from any thread."""


def fetch(source: Source, file: RemoteFile, part_path: Path, watcher: Watcher) -> None:
    """Leaves the whole, checked file at `part_path`, with its note beside it.

    Args:
        source: hub, repository and commit.
        file: as the hub lists it.
        part_path: where it grows; what an earlier run left there is used.
        watcher: told how it goes.

    Raises:
        HubError: it cannot be had, or is not what the hub promised. What may be of use to another try stays.
        OSError: the disk is full, or fails.
    """
    found = ""
    for is_last in (False, True):
        _fill(source, file, part_path, watcher)
        found = digest_of(part_path, is_sha256=file.is_sha256, progress=watcher.checked)
        if found == file.oid:
            return
        discard(part_path)
        if not is_last:
            watcher.told(f"`{file.path}` arrived damaged: fetching it again")
    raise HubError(
        f"`{file.path}` arrives damaged: its digest is {found[:12]}…, the hub says {file.oid[:12]}…",
        hint="a proxy may change what it passes on: try another network, or a mirror (HF_ENDPOINT)",
    )


def _fill(source: Source, file: RemoteFile, part_path: Path, watcher: Watcher) -> None:
    """Fetches what is missing of a part: in pieces, or as a whole from a server that knows no ranges."""
    whole = (max(1, file.size), 1)  # A server without ranges begins anew after each cut.
    for piece_bytes, n_threads in ((PIECE_BYTES, CONNECTIONS), *[whole] * (TRIES - 1)):
        # A new one each time: threads of the first try may live a little longer, and must find theirs closed.
        part = PartFile(part_path, file)
        try:
            n_pieces = -(-file.size // piece_bytes)
            _Workers(source, file, part, watcher, piece_bytes).run(min(n_threads, n_pieces))
            return
        except NoRanges:
            discard(part_path)
        finally:
            part.close()
    raise HubError(
        f"the server sends `{file.path}` neither whole nor in the ranges that it is asked for",
        hint="try another network, or a mirror (HF_ENDPOINT)",
    )


class _Workers:
    """The threads that fetch the pieces of one file."""

    def __init__(
        self, source: Source, file: RemoteFile, part: PartFile, watcher: Watcher, piece_bytes: int
    ) -> None:
        self._source, self._file, self._part, self._watcher = source, file, part, watcher
        self._piece_bytes = piece_bytes
        self._stop = threading.Event()
        self._errors: list[Exception] = []

    def run(self, n_threads: int) -> None:
        """Returns when all bytes are here.

        Raises:
            HubError, OSError: as `fetch`.
            NoRanges: the server does not send pieces.
        """
        # Daemons: on Ctrl-C nobody waits for one that waits for the network. It can harm nothing: the part is closed.
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(n_threads)]
        try:
            for thread in threads:
                thread.start()
            wakes = 0
            # A thread may still pause after a failure while the others have fetched all there is.
            while any(thread.is_alive() for thread in threads) and not self._is_over():
                next(thread for thread in threads if thread.is_alive() or thread is threads[-1]).join(_WAKE_S)
                self._watcher.arrived(self._part.done_bytes)
                wakes += 1
                if wakes % round(SAVE_S / _WAKE_S) == 0:
                    self._part.save()
        finally:
            self._stop.set()
            self._part.save()
        self._watcher.arrived(self._part.done_bytes)
        if self._part.done_bytes < self._file.size:
            raise next((error for error in self._errors if not isinstance(error, HubError)), self._errors[0])

    def _is_over(self) -> bool:
        return self._stop.is_set() or self._part.done_bytes == self._file.size

    def _work(self) -> None:
        """Fetches pieces until none is left, it fails for good, or it is told to stop."""
        patience = Patience(TRIES, self._stop, self._watcher.told)
        while not self._stop.is_set():
            piece = self._part.take(self._piece_bytes)
            if piece is None:
                return
            try:
                self._receive(piece, patience)
            except HubError as error:
                self._part.give_back(piece)
                try:
                    patience.wait(error)
                except HubError:
                    self._errors.append(error)
                    if not error.passing:
                        self._stop.set()
                    return  # If it may pass, the others still have their chance.
            except Exception as error:
                self._part.give_back(piece)
                self._errors.append(error)
                self._stop.set()
                return
            else:
                self._part.give_back(piece)

    def _receive(self, piece: Piece, patience: Patience) -> None:
        source = self._source
        with source.hub.piece(source.repo, source.commit, self._file, piece.pos, piece.stop) as chunks:
            for chunk in chunks:
                if not self._part.write(piece, chunk) or self._stop.is_set():
                    return
                patience.arrived()
