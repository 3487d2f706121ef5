"""One table: exception -> what happened, what to do next, exit code."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

import typer

from bitnet_cli.cli.termination import Terminated
from bitnet_cli.cli.usage_wording import reworded
from bitnet_cli.errors import (
    BitnetError,
    FormatError,
    HubError,
    NativeError,
    RepresentationError,
    UnsupportedError,
    UsageError,
)

FAILED, USAGE, INTERRUPTED, TERMINATED = 1, 2, 130, 143

# What to do about an error that does not say it itself. Errors about files of a checkpoint do.
_HINTS: tuple[tuple[type[BitnetError], str], ...] = (
    (UsageError, "`bitnet --help` shows the commands, `bitnet COMMAND --help` what each takes"),
    (
        FormatError,
        "the file is damaged or not of this kind: fetch it again, or make it again with `bitnet convert`",
    ),
    (UnsupportedError, "the README lists the models that this version runs"),
    (HubError, "try again later; what has arrived is kept, and `bitnet list` shows what is here already"),
    (RepresentationError, "choose another type for these tensors"),
    (NativeError, "close other programs or choose a shorter context (`-c`); if it stays, it is a defect"),
    (BitnetError, "check the path, its permissions and its disk"),
)


@dataclass(frozen=True)
class Explanation:
    """What a person is told about an error."""

    message: str
    hint: str | None
    exit_code: int


def explain(error: BaseException, command: str = "bitnet") -> Explanation | None:
    """The explanation of a known kind of error; None for a defect of this program.

    Args:
        error: what was raised.
        command: what was typed, for errors of usage that do not know it.
    """
    if isinstance(error, BitnetError):
        hint = error.hint or next(hint for kind, hint in _HINTS if isinstance(error, kind))
        return Explanation(error.message, hint, error.exit_code)
    if isinstance(error, KeyboardInterrupt):
        return Explanation("interrupted", None, INTERRUPTED)
    if isinstance(error, Terminated):
        return Explanation("terminated", None, TERMINATED)
    if isinstance(error, typer.TyperException):
        return _usage(error, command)
    if isinstance(error, OSError):
        return _os_error(error)
    if isinstance(error, MemoryError):
        return Explanation(
            "not enough memory", "close other programs, or use a smaller model or context (`-c`)", FAILED
        )
    if isinstance(error, UnicodeDecodeError):
        return Explanation("the input is not UTF-8 text", "convert it with `iconv -t UTF-8`", FAILED)
    return None


def _usage(error: typer.TyperException, command: str) -> Explanation:
    ctx = getattr(error, "ctx", None)
    said = error.format_message().rstrip(".") if hasattr(error, "format_message") else str(error)
    command = ctx.command_path if ctx is not None else command
    message, hint = reworded(said)
    return Explanation(message, hint or f"`{command} --help` shows what it takes", USAGE)


def _os_error(error: OSError) -> Explanation:
    name = os.fspath(error.filename) if error.filename is not None else ""
    name = name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
    if error.errno == errno.ENOSPC:
        return Explanation(
            f"the disk is full{': ' + name if name else ''}",
            "free some space, or write elsewhere",
            FAILED,
        )
    known = {
        errno.ENOENT: (f"no such file: {name}", "check the path"),
        errno.EACCES: (f"no permission: {name}", "check the file's owner and mode"),
        errno.EISDIR: (f"{name} is a directory, not a file", "give the path of a file"),
        errno.ENOTDIR: (f"{name} is not a directory", "check the path"),
        errno.EROFS: (f"the file system is read-only: {name}", "write elsewhere"),
    }
    message, hint = known.get(
        error.errno or 0,
        (
            f"{error.strerror or error}{': ' + name if name else ''}",
            "check the path, its permissions and its disk",
        ),
    )
    return Explanation(message, hint, FAILED)
