"""Reads everything that was downloaded or converted and compares it with its digest."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bitnet_cli.hub.cache import RepoCache, cached_repos
from bitnet_cli.hub.converted import converted_models
from bitnet_cli.hub.digest import digest_of
from bitnet_cli.hub.selection import is_allowed

State = Literal["right", "damaged", "missing", "unreadable", "unknown"]


@dataclass(frozen=True)
class Check:
    """One content to look at."""

    repo: str
    name: str
    """What people call it: the file's path in the repository."""
    path: Path
    size: int
    digest: str | None
    """What it should be; None if nobody knows."""


@dataclass(frozen=True)
class Finding:
    """What was found."""

    check: Check
    state: State

    @property
    def remedy(self) -> str | None:
        """What to do about it."""
        if self.state in ("right", "unknown"):
            return None
        if self.state == "unreadable":
            return "check its permissions and its disk"
        if self.state == "damaged" and "--" in self.check.path.parent.name:
            return f"delete it; the next `bitnet run -m {self.check.repo}` makes it again"
        first = "" if self.state == "missing" else "delete it, then "
        if not is_allowed(self.check.name):  # Another tool's, or of a name that nobody knows any more.
            return f"{first}let the program that downloaded it fetch it again"
        return f"{first}`bitnet download {self.check.repo} {shlex.quote(self.check.name)}` fetches it again"


def checks() -> list[Check]:
    """All contents of models in the hub's cache, and all converted files."""
    found = [check for cache in cached_repos() for check in _checks_of(cache)]
    found += [
        Check(made.repo, f"converted {made.commit[:7]}", made.path, made.size, made.sha256)
        for made in converted_models()
    ]
    return found


def _checks_of(cache: RepoCache) -> Iterator[Check]:
    names: dict[Path, str] = {}
    sizes: dict[Path, int] = {}
    for snapshot in cache.snapshots():
        for file in snapshot.files:
            names.setdefault(file.content, file.path)
            sizes[file.content] = file.size
    for blob in cache.blob_files():
        names.setdefault(blob, blob.name)
        sizes.setdefault(blob, blob.stat().st_size if blob.exists() else -1)
    for path, name in sorted(names.items(), key=lambda item: item[1]):
        # A file that stands in the snapshot itself, where links are not possible, does not say what it should be.
        digest = path.name if path.parent == cache.blobs else None
        yield Check(cache.repo, name, path, sizes[path], digest)


def verify(check: Check, progress: Callable[[int], None] | None = None) -> Finding:
    """Reads one content.

    Args:
        progress: called with the number of bytes read.
    """
    if check.size < 0:
        return Finding(check, "missing")
    if check.digest is None:
        return Finding(check, "unknown")
    try:
        found = digest_of(check.path, is_sha256=len(check.digest) == 64, progress=progress)
    except OSError:
        return Finding(check, "unreadable")
    return Finding(check, "right" if found == check.digest else "damaged")
