"""Downloads: what is to be done is planned first and can be looked at; then it is done, file by file.

Files go into the hub's shared cache or into a folder of the user's. A file gets its name when it is complete and its
digest is right; whoever wants the same file meanwhile waits for it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bitnet_cli.errors import BitnetError, HubError
from bitnet_cli.hub.cache import RepoCache
from bitnet_cli.hub.digest import digest_of
from bitnet_cli.hub.part_file import discard, missing_bytes, note_of, read_note
from bitnet_cli.hub.remote import Hub, Listing
from bitnet_cli.hub.selection import RemoteFile, select
from bitnet_cli.hub.transfer import Source, Watcher, fetch

SPARE_BYTES = 64 << 20
"""Room that a download leaves on the disk."""
_LOCK_POLL_S = 0.2


class Observer(Protocol):
    """Who is told how a download goes."""

    def begin(self, file: RemoteFile) -> None:
        """Work on a file begins."""

    def arrived(self, file: RemoteFile, n_bytes: int) -> None:
        """So many bytes of it are here."""

    def checked(self, file: RemoteFile, n_bytes: int) -> None:
        """So many bytes of it have been checked."""

    def finished(self, file: RemoteFile) -> None:
        """It is here."""

    def told(self, sentence: str) -> None:
        """Something that people want to know; may come from any thread."""


class Target(Protocol):
    """Where files go."""

    folder: Path

    def find(self, file: RemoteFile) -> Path | None:
        """The file, if it is here and right as far as a look can tell."""

    def adopt(self, file: RemoteFile) -> Path | None:
        """The file, if it need not be fetched; the lock is held."""

    def missing_bytes(self, file: RemoteFile) -> int:
        """How much of a file that is not found is still to come."""

    def part(self, file: RemoteFile) -> Path:
        """Where it grows."""

    def lock(self, file: RemoteFile) -> Path:
        """What to hold meanwhile."""

    def stale_parts(self, file: RemoteFile) -> list[tuple[Path, Path]]:
        """Parts of what this file was before it changed on the hub, with their locks."""

    def finish(self, file: RemoteFile) -> Path:
        """Gives the checked part its name."""


class CacheTarget:
    """The hub's cache."""

    def __init__(self, cache: RepoCache, commit: str) -> None:
        self._cache, self._commit = cache, commit
        self.folder = cache.snapshot_folder(commit)

    def find(self, file: RemoteFile) -> Path | None:
        return self._cache.find(self._commit, file)

    def adopt(self, file: RemoteFile) -> Path | None:
        found = self.find(file)
        if found is None and self._cache.has_blob(file):  # It came with another commit, or another tool.
            found = self._cache.link(self._commit, file)
        return found

    def missing_bytes(self, file: RemoteFile) -> int:
        return 0 if self._cache.has_blob(file) else missing_bytes(self.part(file), file)

    def part(self, file: RemoteFile) -> Path:
        return self._cache.blobs / f"{file.oid}.part"

    def lock(self, file: RemoteFile) -> Path:
        return self._cache.lock(file.oid)

    def stale_parts(self, file: RemoteFile) -> list[tuple[Path, Path]]:
        ours = [path for path in self._cache.parts() if path.suffix == ".part" and path != self.part(file)]
        return [
            (path, self._cache.lock(path.stem)) for path in ours if read_note(path).get("path") == file.path
        ]

    def finish(self, file: RemoteFile) -> Path:
        self._cache.add_blob(self.part(file), file.oid)
        return self._cache.link(self._commit, file)


class FolderTarget:
    """A folder of the user's, with notes where other tools around the hub keep theirs."""

    def __init__(self, folder: Path, commit: str) -> None:
        self.folder, self._commit = folder, commit
        self._notes = folder / ".cache" / "huggingface" / "download"

    def find(self, file: RemoteFile) -> Path | None:
        path = self.folder / file.path
        if not path.is_file():
            return None
        if not self._note(file).exists() and digest_of(path, is_sha256=file.is_sha256) != file.oid:
            raise HubError(
                f"{path} is there already and is another file than the repository's",
                hint="move it away, or give another `--local-dir`",
            )
        if path.stat().st_size != file.size:
            return None
        try:
            _, oid, when = self._note(file).read_text(encoding="utf-8").split("\n")[:3]
            if oid == file.oid and float(when) >= path.stat().st_mtime:
                return path
        except (OSError, ValueError):
            pass
        if digest_of(path, is_sha256=file.is_sha256) != file.oid:
            return None
        return self._noted(file)

    def adopt(self, file: RemoteFile) -> Path | None:
        return self.find(file)

    def missing_bytes(self, file: RemoteFile) -> int:
        return missing_bytes(self.part(file), file)

    def part(self, file: RemoteFile) -> Path:
        return self._notes / f"{file.path}.part"

    def lock(self, file: RemoteFile) -> Path:
        return self._note(file).with_suffix(".lock")

    def stale_parts(self, file: RemoteFile) -> list[tuple[Path, Path]]:
        return []  # The part has the file's name: what does not fit is thrown away when it is opened.

    def finish(self, file: RemoteFile) -> Path:
        path = self.folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(self.part(file), path)
        note_of(self.part(file)).unlink(missing_ok=True)
        return self._noted(file)

    def _note(self, file: RemoteFile) -> Path:
        return self._notes / f"{file.path}.metadata"

    def _noted(self, file: RemoteFile) -> Path:
        """Notes what the file is, so that it need not be read again to know."""
        note = self._note(file)
        note.parent.mkdir(parents=True, exist_ok=True)
        temporary = note.with_name(f".{secrets.token_hex(6)}.new")
        temporary.write_text(f"{self._commit}\n{file.oid}\n{time.time()}\n", encoding="utf-8")
        os.replace(temporary, note)
        return self.folder / file.path


@dataclass(frozen=True)
class Item:
    """One file of a plan."""

    file: RemoteFile
    found: Path | None
    """Where it is already."""
    missing_bytes: int


@dataclass
class Plan:
    """What a download will do."""

    listing: Listing
    target: Target
    items: list[Item] = field(default_factory=list)

    @property
    def total_bytes(self) -> int:
        return sum(item.file.size for item in self.items)

    @property
    def missing_bytes(self) -> int:
        return sum(item.missing_bytes for item in self.items)

    def path_of(self, file: RemoteFile) -> Path:
        return self.target.folder / file.path


def plan_download(listing: Listing, files: Sequence[RemoteFile], local_dir: Path | None = None) -> Plan:
    """Finds out what of these files is here already.

    Args:
        listing: the repository.
        files: those wanted.
        local_dir: a folder to put them in; None for the hub's cache.

    Raises:
        OSError: the folder cannot be read.
    """
    target: Target
    if local_dir is not None:
        target = FolderTarget(local_dir, listing.commit)
    else:
        target = CacheTarget(RepoCache(listing.repo), listing.commit)
    plan = Plan(listing, target)
    for file in sorted(files, key=lambda file: (file.size, file.path)):  # Settings first, weights last.
        found = target.find(file)
        missing = 0 if found is not None else target.missing_bytes(file)
        plan.items.append(Item(file, found, missing))
    return plan


def download(hub: Hub, plan: Plan, observer: Observer) -> list[Path]:
    """Carries out a plan and returns where the files are, in its order.

    Raises:
        BitnetError: there is not room enough, said before anything is fetched.
        HubError: a file cannot be had. Those before it are here, and what has arrived of it is kept.
        OSError: the disk fails.
    """
    _check_room(plan)
    paths = []
    for item in plan.items:
        observer.begin(item.file)
        path = item.found
        if path is None:
            path = _download_one(hub, plan, item.file, observer)
        observer.finished(item.file)
        paths.append(path)
    if isinstance(plan.target, CacheTarget):
        # Only now: offline, a branch shall lead to a commit that is complete.
        RepoCache(plan.listing.repo).set_ref(plan.listing.revision, plan.listing.commit)
    return paths


def _download_one(hub: Hub, plan: Plan, file: RemoteFile, observer: Observer) -> Path:
    target = plan.target
    with _held(target.lock(file), file, observer):
        found = target.adopt(file)  # Somebody else may have fetched it while this process waited.
        if found is not None:
            return found
        import filelock

        for part, lock in target.stale_parts(file):
            with suppress(filelock.Timeout), filelock.FileLock(lock, timeout=0, mode=0o664):
                discard(part)  # Unless somebody is just fetching that version.
        watcher = Watcher(
            lambda n_bytes: observer.arrived(file, n_bytes),
            lambda n_bytes: observer.checked(file, n_bytes),
            observer.told,
        )
        source = Source(hub, plan.listing.repo, plan.listing.commit)
        fetch(source, file, target.part(file), watcher)
        return target.finish(file)


@contextmanager
def _held(lock: Path, file: RemoteFile, observer: Observer) -> Iterator[None]:
    """Holds the lock of a file, waiting for whoever has it; the system frees the lock of a process that died."""
    import filelock

    lock.parent.mkdir(parents=True, exist_ok=True)
    held: filelock.BaseFileLock = filelock.FileLock(lock, mode=0o664)
    try:
        try:
            held.acquire(timeout=0)
        except filelock.Timeout:
            observer.told(f"another process is downloading `{file.path}`: waiting for it")
            held.acquire(poll_interval=_LOCK_POLL_S)
    except NotImplementedError:  # A file system without locks: a file that must not exist yet is one, too.
        held = filelock.SoftFileLock(lock)
        held.acquire(poll_interval=_LOCK_POLL_S)
    try:
        yield
    finally:
        held.release()


def _check_room(plan: Plan) -> None:
    if not plan.missing_bytes:
        return
    folder = plan.target.folder
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < plan.missing_bytes + SPARE_BYTES:
        raise BitnetError(
            f"not enough room in {folder}: {plan.missing_bytes / 1e6:.1f} MB are to come and {SPARE_BYTES / 1e6:.0f} MB "
            f"to stay free, {free / 1e6:.1f} MB are free",
            hint="`bitnet list` shows what could go (`bitnet rm`); HF_HOME or `--local-dir` name another disk",
        )


def offline_path(
    cache: RepoCache,
    revision: str | None,
    names: Sequence[str] = (),
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> Path:
    """What is here of a repository, for use without a network: the file, if it is one, else the folder of all.

    Args:
        cache: the repository.
        revision: None for `main`.
        names, include, exclude: what of it is asked for, as for `select`; all of it if nothing is said.

    Raises:
        HubError: nothing of that is here, or a file that is named is not.
        UsageError: a named file is of a kind that is never downloaded.
    """
    snapshot = cache.snapshot(revision)
    here = [file for file in snapshot.files if file.size >= 0] if snapshot is not None else []
    paths = [file.path for file in here]
    try:
        if names or include or exclude:
            listed = [RemoteFile(file.path, file.size, file.content.name) for file in here]
            paths = [file.path for file in select(listed, names, include, exclude)]
    except HubError:
        paths = []
    if snapshot is None or not paths:
        asked = "what is asked for of " if here else ""
        raise HubError(
            f"{asked}`{cache.repo}` is not on this machine, and the network is switched off by HF_HUB_OFFLINE",
            hint="unset HF_HUB_OFFLINE to download it",
        )
    return snapshot.folder / paths[0] if len(paths) == 1 else snapshot.folder
