"""One turn of a conversation."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LONE_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass
class Turn:
    """What a person said and what the model answered."""

    user: str
    answer: str | None = None
    """None as long as there is none; perhaps empty."""
    ids: tuple[int, ...] | None = None
    """The answer as it was generated, without the token that ended it; None where only the text is known."""
    finish_reason: str = ""
    """Why the answer ended: `stop`, `length`, `context`, `interrupted`; empty where that is not known."""


def readable(text: str) -> str:
    """`text` with U+FFFD where bytes were typed that are no characters, as tokenizers and files take it."""
    return _LONE_SURROGATES.sub("\ufffd", text)
