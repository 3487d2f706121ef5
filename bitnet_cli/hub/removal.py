"""Takes models off the disk: a repository or one of its commits, and no content that something else still needs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bitnet_cli.errors import HubError
from bitnet_cli.hub.cache import RepoCache, Snapshot, allocated
from bitnet_cli.hub.converted import converted_folder, converted_models, note_path


@dataclass(frozen=True)
class Removal:
    """What would go."""

    cache: RepoCache
    snapshots: tuple[Snapshot, ...]
    contents: tuple[Path, ...]
    """Blobs and parts that nothing else refers to, and converted files."""
    size_bytes: int
    whole: bool
    """Nothing of the repository stays."""


def plan_removal(repo: str, revision: str | None) -> Removal | None:
    """What goes with a repository, or with one revision of it; None if nothing of it is here."""
    cache = RepoCache(repo)
    snapshots = cache.snapshots()
    going = snapshots
    if revision is not None:
        commit = cache.commit_of(revision)
        going = [snapshot for snapshot in snapshots if snapshot.commit == commit]
    staying = [snapshot for snapshot in snapshots if snapshot not in going]
    needed = {file.content for snapshot in staying for file in snapshot.files}
    whole = revision is None or (bool(going) and not staying)
    contents = {
        file.content for snapshot in going for file in snapshot.files if _is_inside(cache, file.content)
    }
    if whole:
        contents |= {*cache.blob_files(), *cache.parts()}
    commits = {snapshot.commit for snapshot in going}
    contents |= {
        path
        for made in converted_models(repo)
        if whole or made.commit in commits
        for path in (made.path, note_path(made.path))
    }
    contents = {path for path in contents - needed if os.path.lexists(path)}
    if not contents and not going and not (whole and cache.folder.exists()):
        return None
    size = sum(allocated(path) if path.suffix == ".part" else path.lstat().st_size for path in contents)
    return Removal(cache, tuple(going), tuple(sorted(contents)), size, whole)


def remove(removal: Removal) -> None:
    """Carries it out: names first, then contents, so that nobody finds a name without a content.

    Raises:
        HubError: something of it is being downloaded.
        OSError: something cannot be deleted.
    """
    cache = removal.cache
    with _nobody_writes(cache):
        here = cache.snapshots()
        going = {snapshot.commit for snapshot in removal.snapshots}
        others = [snapshot for snapshot in here if snapshot.commit not in going]
        if removal.whole and others:
            raise HubError(
                f"another version of `{cache.repo}` has come since this was asked",
                hint="look again: `bitnet list`",
            )
        needed = {file.content for snapshot in others for file in snapshot.files}
        for snapshot in removal.snapshots:
            for ref in snapshot.refs:
                (cache.folder / "refs" / ref).unlink(missing_ok=True)
            shutil.rmtree(snapshot.folder, ignore_errors=False)
        for path in removal.contents:
            if path not in needed:
                path.unlink(missing_ok=True)
        if removal.whole:
            shutil.rmtree(converted_folder(cache.repo), ignore_errors=True)  # It holds only locks by now.
            if cache.folder.exists():
                shutil.rmtree(cache.folder)


def _is_inside(cache: RepoCache, content: Path) -> bool:
    """Whether a content is the cache's own. A link in a snapshot may lead anywhere: then only the link goes."""
    return Path(os.path.abspath(cache.folder)) in Path(os.path.abspath(content)).parents


@contextmanager
def _nobody_writes(cache: RepoCache) -> Iterator[None]:
    """Holds the locks of all contents that are being, or might be, downloaded."""
    import filelock

    with ExitStack() as stack:
        for path in sorted(cache.lock("x").parent.glob("*.lock")):
            try:
                stack.enter_context(filelock.FileLock(path, timeout=0, mode=0o664))
            except filelock.Timeout:
                raise HubError(
                    f"`{cache.repo}` is just being downloaded", hint="wait for it, or end that process first"
                ) from None
            except NotImplementedError:
                continue
        yield
