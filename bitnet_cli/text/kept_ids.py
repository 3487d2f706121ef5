"""Puts the ids that a model generated back into a conversation that a template prints anew.

A template is given a marker in place of such a message, a private-use character that occurs nowhere else. Where the marker
comes out, the ids belong. What surrounds them must be what surrounded them when they were generated. It is, but for one
thing: a template may begin the assistant's turn with other white space than it puts before a turn that is over (`Assistant:`
and then ` Hello`, say, where the model generated the space).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import islice

from bitnet_cli.errors import UsageError
from bitnet_cli.text.tokenizer import Part

_PRIVATE_USE = range(0xF0000, 0x10FFFE)


class Marked:
    """Messages with markers in place of what is kept.

    Args:
        messages: the conversation.
        kept: ids by index of the message.
        taken: characters that markers must not be, beside those of the messages.
    """

    def __init__(
        self, messages: Sequence[Mapping[str, str]], kept: Mapping[int, Sequence[int]], taken: set[str]
    ) -> None:
        taken = taken.union(*(text for message in messages for text in message.values()))
        free = (chr(code) for code in _PRIVATE_USE if chr(code) not in taken)
        self.places = sorted(kept)
        self.markers = list(islice(free, len(self.places)))
        if len(self.markers) < len(self.places):
            raise UsageError(
                "the messages have too many different characters",
                hint="shorten them, or begin a new conversation",
            )
        self.ids = {m: tuple(kept[i]) for m, i in zip(self.markers, self.places, strict=True)}
        by_place = dict(zip(self.places, self.markers, strict=True))
        self.messages = [
            {**message, "content": by_place[i]} if i in by_place else message
            for i, message in enumerate(messages)
        ]


def opening(begun: Sequence[Part]) -> str | None:
    """What a turn of the assistant begins with after the last control token, from a conversation that ends there."""
    return begun[-1] if begun and isinstance(begun[-1], str) else None


def split_at_markers(parts: Sequence[Part], marked: Marked, begun: str | None) -> list[Part]:
    """`parts` with the kept ids in place of the markers.

    Args:
        parts: stretches of text and control tokens, markers in them.
        marked: what the markers stand for.
        begun: what the assistant's turn began with when it was generated, if that is known. Before the ids its white space
            at the end replaces another one.
    """
    marker = re.compile(f"([{''.join(marked.markers)}])")
    done: list[Part] = []
    for part in parts:
        if not isinstance(part, str):
            done.append(part)
            continue
        *before, rest = marker.split(part)
        for text, found in zip(before[::2], before[1::2], strict=True):
            if begun is not None and _same_last_word(text, begun):
                text = text.rstrip() + begun[len(begun.rstrip()) :]
            done += [text, marked.ids[found]]
        done.append(rest)
    return [part for part in done if part != ""]


def _same_last_word(text: str, begun: str) -> bool:
    words = begun.split()
    return bool(words) and text.rstrip().endswith(words[-1])
