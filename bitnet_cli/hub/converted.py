"""GGUF files made here from downloaded checkpoints: made once, kept in the user's cache folder."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from bitnet_cli.hub import folders
from bitnet_cli.hub.digest import digest_of


@dataclass(frozen=True)
class Converted:
    """One converted model."""

    repo: str
    commit: str
    path: Path
    size: int
    sha256: str | None
    """Of the file when it was made; None if the note about it is lost."""


def converted_path(repo: str, commit: str, kind: str) -> Path:
    """Where the GGUF file made from a commit belongs.

    Args:
        kind: how it was made, such as `exact`.
    """
    return converted_folder(repo) / f"{commit}-{kind}.gguf"


def converted_folder(repo: str) -> Path:
    """Where all that was made from a repository is."""
    return folders.converted_cache() / repo.replace("/", "--")


def record(path: Path) -> None:
    """Notes the digest of a file that has just been made, so that damage can be told later.

    Raises:
        OSError: it cannot be read, or the note not be written.
    """
    note = {"sha256": digest_of(path, is_sha256=True), "size": path.stat().st_size}
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    temporary.write_text(json.dumps(note), encoding="utf-8")
    os.replace(temporary, note_path(path))


def note_path(path: Path) -> Path:
    """Where the digest of a converted file is noted."""
    return path.with_name(path.name + ".json")


def converted_models(repo: str | None = None) -> list[Converted]:
    """All converted files, or those of one repository."""
    found = []
    for path in sorted(folders.converted_cache().glob("*/*.gguf")):
        name = path.parent.name.replace("--", "/")
        if repo in (None, name) and not path.name.startswith("."):
            found.append(
                Converted(name, path.name.partition("-")[0], path, path.stat().st_size, _noted_digest(path))
            )
    return found


def _noted_digest(path: Path) -> str | None:
    try:
        note = json.loads(note_path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    digest = note.get("sha256") if isinstance(note, dict) else None
    return digest if isinstance(digest, str) else None
