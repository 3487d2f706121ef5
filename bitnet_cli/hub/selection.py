"""Which files of a repository are wanted: weights without code, tokenizers, settings, and never a pickle."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from bitnet_cli.errors import HubError, UsageError, printable

ALLOWED = (".safetensors", ".gguf", ".json", ".model", ".txt", ".jinja", ".md")
"""Endings of files that hold data and nothing that a program could be told to run."""
PROGRAMS = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
"""Endings of weights in which a program may hide."""
_LICENCE = re.compile(r"(licen[cs]e|notice)([_-][\w-]*)?", re.IGNORECASE)
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_SHA256, _SHA1 = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")

PREFERRED = ("i2_s", "tq2_0", "tq1_0", "q2_0", "iq2_bn", "tl2", "tl1", "q6_k", "f16", "bf16", "f32")
"""What a GGUF file's name says about its weights, the best first."""


@dataclass(frozen=True)
class RemoteFile:
    """A file as the hub lists it."""

    path: str
    """Inside the repository, with forward slashes."""
    size: int
    """Bytes."""
    oid: str
    """sha256 of a large file's content, or git's sha1 of a small one's: the file's name in the cache."""

    @property
    def is_sha256(self) -> bool:
        return len(self.oid) == 64


def remote_file(path: object, size: object, oid: object) -> RemoteFile:
    """A file of a listing, after a look at whether it may be what it says.

    Raises:
        HubError: the path leads out of the repository, or size or digest are none.
    """
    if not isinstance(path, str) or not is_safe(path):
        raise HubError(
            f"the hub lists a file with an impossible name: `{printable(str(path))}`",
            hint="do not use this repository",
        )
    is_size = isinstance(size, int) and not isinstance(size, bool) and 0 <= size < 1 << 50
    if not is_size or not isinstance(oid, str) or not (_SHA256.fullmatch(oid) or _SHA1.fullmatch(oid)):
        raise HubError(
            f"the hub's entry of `{path}` makes no sense", hint="is HF_ENDPOINT the address of a hub?"
        )
    assert isinstance(size, int)
    return RemoteFile(path, size, oid)


def is_safe(path: str) -> bool:
    """True for a relative path that stays where it is put, on every system."""
    parts = path.split("/")
    return (
        0 < len(path) <= 1024
        and path.isprintable()
        and not any(c in '\\:*?"<>|' for c in path)
        and all(0 < len(part) <= 200 and part not in (".", "..") for part in parts)
    )


def is_allowed(path: str) -> bool:
    """True for a kind of file that this program downloads; nothing in hidden folders, where programs look for settings."""
    name = PurePosixPath(path).name
    if any(
        part.startswith(".") or part.endswith((" ", ".")) or _DEVICE.fullmatch(part)
        for part in path.split("/")
    ):
        return False
    return name.lower().endswith(ALLOWED) or _LICENCE.fullmatch(name) is not None


def is_pickle(path: str) -> bool:
    """True for weights that are never downloaded."""
    return path.lower().endswith(PROGRAMS)


def select(
    listed: Sequence[RemoteFile],
    names: Sequence[str] = (),
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> list[RemoteFile]:
    """The files to fetch: those named, or all that are allowed and match the patterns.

    Args:
        listed: the repository.
        names: files; a name that ends in a slash stands for a folder.
        include: patterns such as `*.gguf`; a file has to match one of them, if there are any.
        exclude: patterns; a file must match none of them.

    Raises:
        UsageError: a named file is of a kind that is never downloaded.
        HubError: a named file is not there, or nothing is left.
    """
    if names:
        return _named(listed, names)
    chosen = [
        file
        for file in listed
        if is_allowed(file.path)
        and (not include or any(fnmatchcase(file.path, pattern) for pattern in include))
        and not any(fnmatchcase(file.path, pattern) for pattern in exclude)
    ]
    if not chosen:
        raise HubError(
            "no file of the repository is of a kind that is downloaded and matches",
            hint=f"downloaded are {', '.join(ALLOWED)} and licences; see `--include` and `--exclude`",
        )
    return chosen


def _named(listed: Sequence[RemoteFile], names: Iterable[str]) -> list[RemoteFile]:
    chosen: dict[str, RemoteFile] = {}
    for name in names:
        found = [
            file
            for file in listed
            if file.path == name or (name.endswith("/") and file.path.startswith(name))
        ]
        if not found:
            ggufs = ", ".join(f"`{file.path}`" for file in ggufs_of(listed)[:8])
            raise HubError(
                f"the repository has no file `{printable(name)}`",
                hint=f"it has {ggufs}" if ggufs else "`bitnet download NAME --dry-run` lists its files",
            )
        allowed = [file for file in found if is_allowed(file.path)]
        if not allowed:
            raise UsageError(
                f"`{printable(name)}` is not downloaded: files of its kind can hold programs",
                hint=f"downloaded are {', '.join(ALLOWED)} and licences",
            )
        chosen |= {file.path: file for file in allowed}
    return list(chosen.values())


def ggufs_of(files: Iterable[RemoteFile]) -> list[RemoteFile]:
    return [file for file in files if file.path.lower().endswith(".gguf")]


def best_gguf(paths: Sequence[str], recommended: str | None = None, *, repo: str = "ORG/NAME") -> str | None:
    """The GGUF file to run: the recommended one, or the first by PREFERRED; None if there is none.

    Args:
        paths: of the repository.
        recommended: one of them, if somebody recommends one.
        repo: the repository's name, for messages.

    Raises:
        UsageError: several are equally good.
    """
    ggufs = sorted(path for path in paths if path.lower().endswith(".gguf"))
    if recommended in ggufs:
        return recommended
    if len(ggufs) <= 1:
        return ggufs[0] if ggufs else None
    for kind in PREFERRED:
        found = [path for path in ggufs if re.search(rf"(^|[^a-z0-9]){kind}($|[^a-z0-9])", path.lower())]
        if len(found) == 1:
            return found[0]
        if found:
            break
    more = " or another" if len(ggufs) > 3 else ""
    raise UsageError(
        f"`{repo}` has {len(ggufs)} GGUF files, none better than the others",
        hint="name one: " + " or ".join(f"`{repo}/{printable(path)}`" for path in ggufs[:3]) + more,
    )


def checkpoint_files(files: Sequence[RemoteFile]) -> list[RemoteFile]:
    """What a conversion needs: safetensors, settings and tokenizer of the top folder; empty if there are no weights."""
    top = [file for file in files if "/" not in file.path and is_allowed(file.path)]
    wanted = [file for file in top if not file.path.lower().endswith((".gguf", ".md"))]
    has_weights = any(file.path.lower().endswith(".safetensors") for file in wanted)
    return wanted if has_weights else []
