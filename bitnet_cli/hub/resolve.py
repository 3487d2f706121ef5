"""From a name to files: what is on this machine already, and what would have to be downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bitnet_cli.errors import HubError, UsageError, printable
from bitnet_cli.hub.cache import RepoCache, Snapshot
from bitnet_cli.hub.converted import converted_path
from bitnet_cli.hub.names import ModelName
from bitnet_cli.hub.remote import Hub, Listing
from bitnet_cli.hub.selection import RemoteFile, best_gguf, checkpoint_files, select

Need = Literal["gguf", "checkpoint"]
"""What a command reads first: a GGUF file to run, or a checkpoint to convert."""

CONVERTED_KIND = "exact"
"""How checkpoints are converted when a GGUF file is wanted: nothing ternary is lost, float embeddings are in f16."""
_INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class Local:
    """A model on this machine."""

    path: Path
    """A GGUF file, or the folder of a checkpoint."""
    kind: Need
    repo: str
    commit: str


@dataclass(frozen=True)
class Wanted:
    """What would have to be downloaded."""

    listing: Listing
    files: list[RemoteFile]
    kind: Need
    """What the files are."""


def sources(name: ModelName, need: Need) -> list[tuple[str, str | None]]:
    """The repositories to look into, in order, each with the GGUF file that is recommended in it.

    A name of the catalogue may stand for two: a checkpoint, and GGUF files made from it.
    """
    entry = name.entry
    own = (name.repo, name.file)
    if entry is None or entry.gguf_repo is None or name.revision is not None or name.file is not None:
        return [own]
    gguf = (entry.gguf_repo, entry.gguf_file)
    return [gguf, own] if need == "gguf" else [own, gguf]


def find_local(name: ModelName, need: Need) -> Local | None:
    """The model as far as it is here, without asking anybody; None if it is not, or not completely.

    Raises:
        UsageError: several GGUF files of the repository are here, none better than the others.
    """
    checkpoint: Local | None = None
    for repo, recommended in sources(name, need):
        snapshot = RepoCache(repo).snapshot(name.revision)
        if snapshot is None:
            continue
        here = [file.path for file in snapshot.files if file.size >= 0]
        folder = Local(snapshot.folder, "checkpoint", repo, snapshot.commit)
        has_checkpoint = name.file is None and _is_complete(snapshot, here)
        if need == "checkpoint" and has_checkpoint:
            return folder
        gguf = _gguf_in(repo, here, name.file, recommended)
        if gguf is not None:
            return Local(snapshot.folder / gguf, "gguf", repo, snapshot.commit)
        if has_checkpoint:
            made = converted_path(repo, snapshot.commit, CONVERTED_KIND)
            if made.is_file():
                return Local(made, "gguf", repo, snapshot.commit)
            checkpoint = checkpoint or folder
    return checkpoint


def find_remote(name: ModelName, need: Need, hub: Hub) -> Wanted:
    """What to download for a model.

    Raises:
        HubError: the hub cannot be asked, or the repository holds nothing of use.
        UsageError: the repository has several GGUF files, none better than the others.
    """
    listings = []
    for repo, recommended in sources(name, need):
        listing = hub.listing(repo, name.revision)
        listings.append(listing)
        checkpoint = checkpoint_files(listing.files) if name.file is None else []
        if need == "checkpoint" and checkpoint:
            return Wanted(listing, checkpoint, "checkpoint")
        if name.file is not None:
            return Wanted(listing, select(listing.files, [name.file]), _kind_of(name.file))
        gguf = best_gguf([file.path for file in listing.files], recommended, repo=repo)
        if gguf is not None:
            return Wanted(listing, select(listing.files, [gguf]), "gguf")
        if checkpoint:
            return Wanted(listing, checkpoint, "checkpoint")
    names = " and ".join(f"`{listing.repo}`" for listing in listings)
    raise HubError(
        f"{names} has neither a GGUF file nor safetensors",
        hint="weights in other formats can hold programs and are not downloaded",
    )


def _kind_of(file: str) -> Need:
    if not file.lower().endswith(".gguf"):
        raise UsageError(f"`{printable(file)}` is not a GGUF file", hint="leave the file's name out")
    return "gguf"


def _gguf_in(repo: str, here: Sequence[str], named: str | None, recommended: str | None) -> str | None:
    if named is not None:
        return named if named in here else None
    if recommended is not None and recommended not in here:
        return None  # Another file was fetched once: that is no reason to run it in place of the best one.
    return best_gguf(here, recommended, repo=repo)


def _is_complete(snapshot: Snapshot, here: Sequence[str]) -> bool:
    """True if settings, a tokenizer and all weights of a checkpoint are in a snapshot."""
    if "config.json" not in here or not any(path.startswith("tokenizer") for path in here):
        return False
    if _INDEX not in here:
        return "model.safetensors" in here
    import json

    try:
        index = json.loads((snapshot.folder / _INDEX).read_text(encoding="utf-8"))
        return set(index["weight_map"].values()) <= set(here)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
