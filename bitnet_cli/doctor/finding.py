"""What a check found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Mark = Literal["ok", "absent", "note", "problem"]


@dataclass(frozen=True)
class Finding:
    """One line of a report.

    Attributes:
        section: what it belongs to.
        name: what was looked at.
        text: what was found.
        mark: `ok`, `absent` (not there, and need not be), `note` (could be better) or `problem` (something will not work, or
            not right).
        advice: what to do about it, if there is anything to be done.
    """

    section: str
    name: str
    text: str
    mark: Mark = "ok"
    advice: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
