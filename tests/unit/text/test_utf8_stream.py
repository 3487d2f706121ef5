"""Streaming decoder: complete characters only, invalid bytes replaced."""

from __future__ import annotations

import random

import pytest

from bitnet_cli.text.utf8_stream import Utf8Stream


@pytest.mark.parametrize(
    ("pieces", "given"),
    [
        ([b"abc"], ["abc", ""]),
        ([b""], ["", ""]),
        ([b"\xe2", b"\x82", b"\xac!"], ["", "", "€!", ""]),
        ([b"\xf0\x9f", b"\x91\x8d"], ["", "👍", ""]),
        ([b"a\xe2\x82"], ["a", "\ufffd"]),
        ([b"\xff\xfea"], ["\ufffd\ufffda", ""]),
        ([b"\xe2", b"a"], ["", "\ufffda", ""]),
        ([b"\xed\xa0\x80"], ["\ufffd\ufffd\ufffd", ""]),
        ([b"\xc3\xa9", b"\xc3", b"\xa9"], ["é", "", "é", ""]),
    ],
)
def test_pieces(pieces: list[bytes], given: list[str]) -> None:
    stream = Utf8Stream()
    assert [*map(stream.feed, pieces), stream.flush()] == given


def test_any_cut_gives_the_same_text() -> None:
    chance = random.Random(7)
    for _ in range(200):
        data = bytes(chance.choice(b"a\xe2\x82\xac\xf0\x9f\x91\x8d\xff\xc3\x28") for _ in range(30))
        stream, pos, text = Utf8Stream(), 0, ""
        while pos < len(data):
            step = chance.randint(1, 5)
            text += stream.feed(data[pos : pos + step])
            pos += step
        assert text + stream.flush() == data.decode("utf-8", "replace")


def test_flush_makes_ready_for_the_next_text() -> None:
    stream = Utf8Stream()
    assert stream.feed(b"\xe2\x82") == "" and stream.flush() == "\ufffd"
    assert stream.feed(b"\xac") == "\ufffd" and stream.flush() == ""
