"""How an embedding model makes one vector of a text, from the files that sentence-transformers writes.

`modules.json` lists the steps behind the transformer; the folder of the pooling step has a config.json with one flag for
each way. A checkpoint without `modules.json` is no embedding model, unless its class has no head to continue texts with:
then it is the mean, which sentence-transformers takes where nothing is said.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from bitnet_cli.convert.checkpoint import Checkpoint, listed
from bitnet_cli.errors import FormatError, UnsupportedError, printable

_MODULES = "modules.json"
_MEAN = 1
_WAYS = {"pooling_mode_mean_tokens": _MEAN, "pooling_mode_cls_token": 2, "pooling_mode_lasttoken": 3}
"""Flags, and the number that `pooling_type` has for each."""
_SILENT = ("Transformer", "Normalize")
"""Steps that need no mention: the model itself, and the scaling of vectors to length 1."""


def read_pooling(checkpoint: Checkpoint, *, headless: bool) -> int | None:
    """`pooling_type` of the file, or None for a model that continues texts.

    Args:
        checkpoint: its directory.
        headless: its class has no head.

    Raises:
        FormatError: the files contradict each other or make no sense.
        UnsupportedError: a step, or a way to pool, that is not known.
    """
    raw = checkpoint.json_value(_MODULES)
    if raw is None:
        return _MEAN if headless else None
    pooling = None
    for module in listed(raw):
        kind = module.get("type") if isinstance(module, dict) else None
        name = kind.rpartition(".")[2] if isinstance(kind, str) else ""
        if name == "Pooling" and isinstance(module, dict):
            if pooling is not None:
                raise _error(checkpoint, "two steps pool")
            pooling = _way(checkpoint, module.get("path"))
        elif name not in _SILENT:
            raise UnsupportedError(
                f"{checkpoint.directory / _MODULES}: the step `{printable(str(kind), 60)}` is not supported",
                hint="supported are pooling and normalising",
            )
    if pooling is None:
        raise _error(checkpoint, "no step pools")
    return pooling


def is_silent(checkpoint: Checkpoint) -> bool:
    """Whether no file says how vectors are made."""
    return checkpoint.json_value(_MODULES) is None


def _way(checkpoint: Checkpoint, folder: object) -> int:
    """The one flag that is set in the folder's config.json."""
    if (
        not isinstance(folder, str)
        or PurePosixPath(folder).is_absolute()
        or ".." in PurePosixPath(folder).parts
    ):
        raise _error(checkpoint, "the folder of the pooling step is no relative path")
    # An empty folder is the checkpoint's own, and not the root.
    name = str(PurePosixPath(folder) / "config.json")
    config = checkpoint.json(name)
    if config is None:
        raise _error(checkpoint, f"`{printable(name, 60)}` is missing")
    way = config.get("pooling_mode")
    flags = (
        [f"pooling_mode_{way}"]
        if isinstance(way, str)
        else [key for key, value in config.items() if key.startswith("pooling_mode_") and value is True]
    )
    flags = [
        {"pooling_mode_mean": "pooling_mode_mean_tokens", "pooling_mode_cls": "pooling_mode_cls_token"}.get(
            f, f
        )
        for f in flags
    ]
    if len(flags) != 1 or flags[0] not in _WAYS:
        raise UnsupportedError(
            f"{checkpoint.directory / name}: pooling by `{printable(', '.join(flags) or 'nothing', 80)}` is not supported",
            hint="supported is one of the mean, the first and the last token",
        )
    return _WAYS[flags[0]]


def _error(checkpoint: Checkpoint, message: str) -> FormatError:
    return FormatError(message, path=checkpoint.directory / _MODULES)
