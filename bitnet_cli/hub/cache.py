"""The hub's cache on disk, in the layout that all tools share.

    models--ORG--NAME/
        blobs/<digest>                  a content; <digest>.part and <digest>.part.json while it arrives
        snapshots/<commit>/<path>       a link to a blob, or the file itself where links are not possible
        refs/<branch or tag>            the commit it stood for when it was last asked

Reading needs no network and no library; what is damaged or foreign is passed over, never an error.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bitnet_cli.hub import folders
from bitnet_cli.hub.part_file import note_of
from bitnet_cli.hub.selection import RemoteFile, is_safe

_COMMIT = re.compile(r"[0-9a-f]{40}")
_DIGEST = re.compile(r"[0-9a-f]{64}|[0-9a-f]{40}")


@dataclass(frozen=True)
class CachedFile:
    """A file of a snapshot."""

    path: str
    """Inside the repository."""
    local: Path
    """Its name in the snapshot."""
    content: Path
    """What the name leads to: a blob, or the same path where links are not possible."""
    size: int
    """Bytes; -1 if the content is missing."""


@dataclass(frozen=True)
class Snapshot:
    """A repository at one commit, as far as it is here."""

    commit: str
    folder: Path
    refs: tuple[str, ...]
    files: tuple[CachedFile, ...]


class RepoCache:
    """One repository in the cache; it need not exist.

    Args:
        repo: `org/name`.
        root: the cache; None for the one that the environment names.
    """

    def __init__(self, repo: str, root: Path | None = None) -> None:
        self.repo = repo
        self.root = root if root is not None else folders.hub_cache()
        self.folder = self.root / f"models--{repo.replace('/', '--')}"
        self.blobs = self.folder / "blobs"

    def snapshot_folder(self, commit: str) -> Path:
        return self.folder / "snapshots" / commit

    def lock(self, oid: str) -> Path:
        """The lock that everybody who writes this blob holds; other tools use the same."""
        return self.root / ".locks" / self.folder.name / f"{oid}.lock"

    def commit_of(self, revision: str | None) -> str | None:
        """The commit that a branch, tag or beginning of a commit stands for here; None if it is not known."""
        wanted = revision or "main"
        try:
            ref = (self.folder / "refs" / wanted).read_text(encoding="utf-8").strip()
            if _COMMIT.fullmatch(ref):
                return ref
        except (OSError, UnicodeError, ValueError):
            pass
        commits = [name for name in _names(self.folder / "snapshots") if _COMMIT.fullmatch(name)]
        if re.fullmatch(r"[0-9a-f]{7,40}", wanted):
            found = [name for name in commits if name.startswith(wanted)]
            return found[0] if len(found) == 1 else None
        return None

    def find(self, commit: str, file: RemoteFile) -> Path | None:
        """Where a file of the hub's listing is in a snapshot, if it is and has the right size."""
        path = self.snapshot_folder(commit) / file.path
        return path if _size(path) == file.size else None

    def has_blob(self, file: RemoteFile) -> bool:
        """True if the content of a file is here, under whatever name."""
        return _size(self.blobs / file.oid) == file.size

    def snapshots(self) -> list[Snapshot]:
        """All commits that are here."""
        refs: dict[str, list[str]] = {}
        root = self.folder / "refs"
        for path in _files_below(root):
            try:
                refs.setdefault(path.read_text(encoding="utf-8").strip(), []).append(
                    path.relative_to(root).as_posix()
                )
            except (OSError, UnicodeError):
                continue
        found = []
        for commit in sorted(_names(self.folder / "snapshots")):
            folder = self.snapshot_folder(commit)
            files = [_cached_file(folder, path) for path in _files_below(folder)]
            found.append(Snapshot(commit, folder, tuple(sorted(refs.get(commit, []))), tuple(files)))
        return found

    def snapshot(self, revision: str | None) -> Snapshot | None:
        """The commit that a revision stands for here, with its files."""
        commit = self.commit_of(revision)
        return next((snapshot for snapshot in self.snapshots() if snapshot.commit == commit), None)

    def parts(self) -> list[Path]:
        """Blobs that were not finished, ours and other tools'."""
        return sorted(self.blobs / name for name in _names(self.blobs) if not _DIGEST.fullmatch(name))

    def blob_files(self) -> list[Path]:
        """Blobs under their real names."""
        return sorted(self.blobs / name for name in _names(self.blobs) if _DIGEST.fullmatch(name))

    def add_blob(self, part: Path, oid: str) -> None:
        """Gives a checked part its real name."""
        os.replace(part, self.blobs / oid)
        note_of(part).unlink(missing_ok=True)

    def link(self, commit: str, file: RemoteFile) -> Path:
        """Makes a blob appear in a snapshot: a link, or the content itself where links are not possible."""
        path, blob = self.snapshot_folder(commit) / file.path, self.blobs / file.oid
        path.parent.mkdir(parents=True, exist_ok=True)
        # Under another name first: whoever looks meanwhile finds the old file, the new one, or none.
        temporary = path.with_name(f".{secrets.token_hex(6)}.new")
        try:
            if folders.without_symlinks():
                raise OSError("links are switched off")
            os.symlink(os.path.relpath(blob, path.parent), temporary)
        except (OSError, NotImplementedError):
            if self._is_used_elsewhere(blob, path):
                shutil.copyfile(blob, temporary)
            else:
                os.replace(blob, temporary)
        os.replace(temporary, path)
        return path

    def _is_used_elsewhere(self, blob: Path, path: Path) -> bool:
        return any(
            file.content == blob and file.local != path
            for snapshot in self.snapshots()
            for file in snapshot.files
        )

    def set_ref(self, revision: str, commit: str) -> None:
        """Notes which commit a branch or tag stands for; nothing for a commit itself."""
        if revision == commit or not is_safe(revision):
            return
        path = self.folder / "refs" / revision
        if self.commit_of(revision) == commit and path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        # Outside of refs, where other tools take every file for a branch.
        temporary = self.folder / f".{secrets.token_hex(6)}.ref"
        temporary.write_text(commit, encoding="utf-8")
        os.replace(temporary, path)

    def size_bytes(self, snapshots: Sequence[Snapshot]) -> int:
        """What the repository takes on disk, each content once, parts included.

        Args:
            snapshots: those of the repository, which whoever asks has read already: there may be thousands of files.
        """
        # A part is allocated as it grows: its length says nothing about the room it takes.
        total = sum(allocated(path) for path in self.parts())
        contents = {file.content for snapshot in snapshots for file in snapshot.files} | set(
            self.blob_files()
        )
        return total + sum(max(0, _size(path)) for path in contents)


def cached_repos(root: Path | None = None) -> list[RepoCache]:
    """The repositories of models in the cache, by name."""
    root = root if root is not None else folders.hub_cache()
    names = [name for name in _names(root) if name.startswith("models--") and (root / name).is_dir()]
    return [RepoCache(name.removeprefix("models--").replace("--", "/"), root) for name in sorted(names)]


def _cached_file(folder: Path, path: Path) -> CachedFile:
    content = path
    if path.is_symlink():  # One step only: a blob may itself be a link into a store that tools share.
        content = Path(os.path.abspath(os.path.join(path.parent, os.readlink(path))))
    return CachedFile(path.relative_to(folder).as_posix(), path, content, _size(path))


def _files_below(folder: Path) -> Iterator[Path]:
    """Files and links in a folder and the folders in it."""
    for parent, _, names in os.walk(folder):
        for name in sorted(names):
            if not (name.startswith(".") and name.endswith(".new")) and name != ".DS_Store":
                yield Path(parent) / name


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1


def allocated(path: Path) -> int:
    """Bytes that a file takes on disk, where the system tells; its length, if that is less."""
    try:
        status = os.stat(path)
    except OSError:
        return 0
    return min(status.st_size, getattr(status, "st_blocks", 1 << 50) * 512)
