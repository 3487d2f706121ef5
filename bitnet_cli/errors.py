"""The exceptions of `bitnet`; every error a user can meet is one of these.

::

    BitnetError                 message, hint
    ├── UsageError              wrong or contradictory arguments               exit 2
    ├── FormatError             a file is not what it claims to be: path, tensor, offset
    ├── UnsupportedError        valid, but not something this version can do
    ├── RepresentationError     the target format cannot hold these values
    ├── HubError                the hub refused, is out of reach, or sent something else than it promised
    └── NativeError             the C library refused: status

Messages are one sentence without a final period, literals in backticks. ``hint`` says what to do next. Apart from
UsageError all of them mean exit code 1. Imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class BitnetError(Exception):
    """Base of all errors of this package."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(BitnetError):
    """Wrong or contradictory arguments."""

    exit_code = 2


class FormatError(BitnetError):
    """A file is damaged, truncated or hostile.

    Args:
        message: what is wrong, what was expected and what was found.
        path: the file.
        tensor: the tensor or metadata key concerned, if any.
        offset: byte offset in the file where it shows, if known.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | Path | None = None,
        tensor: str | None = None,
        offset: int | None = None,
        hint: str | None = None,
    ) -> None:
        places = [str(path)] if path is not None else []
        if tensor is not None:
            places.append(f"`{printable(tensor)}`")
        where = ": ".join(places) + (f" at byte {offset}" if offset is not None else "")
        super().__init__(f"{where}: {message}" if where else message, hint=hint)
        self.path = Path(path) if path is not None else None
        self.tensor = tensor
        self.offset = offset


class UnsupportedError(BitnetError):
    """The input is valid, but this version cannot do it."""


class RepresentationError(BitnetError):
    """The target format cannot hold these values exactly."""


class HubError(BitnetError):
    """The hub refused a request, could not be reached, or sent something else than it promised.

    Args:
        message: what happened, with the repository or file concerned.
        passing: True if the same request may succeed a little later.
        wait_s: how long the hub asks to wait before the next request, if it said so.
    """

    def __init__(
        self, message: str, *, hint: str | None = None, passing: bool = False, wait_s: float | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.passing = passing
        self.wait_s = wait_s


class NativeError(BitnetError):
    """The C library refused a call."""

    def __init__(self, message: str, *, status: int = 0, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


@contextmanager
def with_hint(hint: str) -> Iterator[None]:
    """Gives a FormatError that leaves the block without a hint this one: what helps depends on who reads the file."""
    try:
        yield
    except FormatError as error:
        error.hint = error.hint or hint
        raise


def printable(text: str, limit: int = 100) -> str:
    """`text` made safe for one line of a terminal: control characters escaped, length bounded."""
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"
