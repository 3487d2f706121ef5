"""What a person calls a model becomes a file: a path as it is, a name by way of what is here, the hub and a conversion.

Every command that takes a model asks here, so all of them take the same names.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from bitnet_cli.cli.output import Progress, out
from bitnet_cli.cli.sizes import size_text
from bitnet_cli.errors import HubError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bitnet_cli.convert import pipeline
    from bitnet_cli.hub.names import ModelName
    from bitnet_cli.hub.resolve import Local, Need

ASK_BYTES = 50_000_000
"""Downloads from this size on are asked about."""
CONVERTED_TYPES = (("i2_s", "f16"), ("iq2_bn", "f16"), ("q2_0", "q2_0"), ("q2_0", "f16"))
"""For weights and for the embedding: a scale for each matrix, for each row, for each 64 columns."""


def model_file(name: str | None, *, yes: bool = False) -> Path | None:
    """The GGUF file that a name or path stands for; None for None, the built-in model.

    Downloads it, and converts it if it is a checkpoint, after asking on a terminal.

    Args:
        name: a path, a name of the catalogue, or `org/name` with `@revision` or `/file.gguf` if wanted.
        yes: do not ask.

    Raises:
        UsageError, HubError: nobody knows the name, or it is not here and may not or cannot be fetched.
    """
    if name is None:
        return None
    if _is_path(name):
        path = Path(name)
        if (path / "config.json").is_file():
            raise UsageError(
                f"{path} is a checkpoint, not a GGUF file", hint=f"`bitnet convert {path}` makes one of it"
            )
        return path
    from bitnet_cli.hub.names import parse

    local = _local(parse(name), "gguf", yes)
    return local.path if local.kind == "gguf" else _converted(local)


def model_source(name: str, *, yes: bool = False) -> Path:
    """What `convert` reads for a name or path: the folder of a checkpoint, or a GGUF file where there is no other.

    Raises:
        UsageError, HubError: as `model_file`.
    """
    if _is_path(name):
        return Path(name)
    from bitnet_cli.hub.names import parse

    return _local(parse(name), "checkpoint", yes).path


def _is_path(text: str) -> bool:
    """True if a file has this name, or if it can only be meant as one: whoever opens it then says what is wrong."""
    if os.path.lexists(text):
        return True
    beginning = (".", "~", os.sep)
    if text.startswith(beginning) or "\\" in text:
        return True
    parts = text.split("/")  # A file of a repository is ORG/NAME/FILE.gguf.
    return text.lower().endswith(".gguf") and (len(parts) < 3 or os.path.isdir(parts[0]))


def _local(name: ModelName, need: Need, yes: bool) -> Local:
    """The model on this machine, downloaded if need be."""
    from bitnet_cli.hub import folders
    from bitnet_cli.hub.resolve import find_local

    found = find_local(name, need)
    if found is not None:
        return found
    if folders.is_offline():
        raise HubError(
            f"`{name.text}` is not on this machine, and the network is switched off by HF_HUB_OFFLINE",
            hint=f"unset HF_HUB_OFFLINE, then `bitnet download {name.text}`",
        )
    return _downloaded(name, need, yes)


def _downloaded(name: ModelName, need: Need, yes: bool) -> Local:
    from bitnet_cli.cli.forecast import forecast
    from bitnet_cli.cli.transfer_view import transfer_view
    from bitnet_cli.hub.download import download, plan_download
    from bitnet_cli.hub.remote import Hub
    from bitnet_cli.hub.resolve import Local, find_remote

    hub = Hub(tell=out.note)
    wanted = find_remote(name, need, hub)
    plan = plan_download(wanted.listing, wanted.files)
    if plan.missing_bytes >= ASK_BYTES and not yes:
        out.note(f"{name.text} is not on this machine: {size_text(plan.missing_bytes)} to download")
        for sentence in [] if out.json_mode else forecast(hub, wanted, name.entry).sentences():
            out.note(sentence)
        if not out.ask("Download it now?"):
            raise HubError(
                f"`{name.text}` is not on this machine: {size_text(plan.missing_bytes)} would have to be downloaded",
                hint=f"`bitnet download {name.text}` fetches it, or add `--yes`",
            )
    with transfer_view(plan) as view:
        paths = download(hub, plan, view)
    listing = wanted.listing
    path = paths[0] if wanted.kind == "gguf" else plan.target.folder
    return Local(path, wanted.kind, listing.repo, listing.commit)


def _converted(local: Local) -> Path:
    """A GGUF file made from a cached checkpoint, once; whoever wants the same meanwhile waits."""
    import filelock

    from bitnet_cli.hub.converted import converted_path, record
    from bitnet_cli.hub.resolve import CONVERTED_KIND

    path = converted_path(local.repo, local.commit, CONVERTED_KIND)
    path.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(path.with_name(f".{path.name}.lock")):
        if not path.exists():
            with _ConversionBar(local.repo) as show:
                _convert(local.path, path, show)
            record(path)
            out.note(f"converted {local.repo}: {size_text(path.stat().st_size)}, kept for next time")
    return path


def _convert(checkpoint: Path, path: Path, show: Callable[[pipeline.Progress], None]) -> None:
    """Writes the file in the first types that can hold the checkpoint, and says if scales were rounded for it."""
    from bitnet_cli.convert import pipeline
    from bitnet_cli.errors import RepresentationError

    for types in CONVERTED_TYPES:
        outtype, embed_type = types
        try:
            report = pipeline.convert(checkpoint, path, outtype=outtype, embed_type=embed_type, progress=show)
        except RepresentationError:
            if types == CONVERTED_TYPES[-1]:
                raise
            continue
        for note in report.notes:
            out.note(f"note: {note}")
        return


class _ConversionBar:
    """A bar for a conversion, whose size is known only when it has begun."""

    def __init__(self, repo: str) -> None:
        from contextlib import ExitStack

        self._repo, self._stack = repo, ExitStack()
        self._bar: Progress | None = None

    def __enter__(self) -> _ConversionBar:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __call__(self, progress: pipeline.Progress) -> None:
        if self._bar is None:
            label = f"converting {self._repo}"
            self._bar = self._stack.enter_context(out.progress(label, progress.total_bytes, "B"))
        self._bar.update(progress.done_bytes)
