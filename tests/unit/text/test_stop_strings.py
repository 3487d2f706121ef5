"""Stop texts: found across pieces, never shown, never holding back more than they must."""

from __future__ import annotations

import pytest

from bitnet_cli.text.stop_strings import StopStrings


@pytest.mark.parametrize(
    ("stops", "pieces", "shown", "found"),
    [
        ([], ["a", "b"], ["a", "b"], False),
        (["END"], ["one E", "N", "D two"], ["one ", "", ""], True),
        (["END"], ["one EN", "T two"], ["one ", "ENT two"], False),
        (["aab"], ["aaa", "b"], ["a", ""], True),
        (["x", "longer"], ["long", "x"], ["", "long"], True),
        (["b", "a"], ["zab"], ["z"], True),
        (["\n\n"], ["a\n", "b\n", "\n"], ["a", "\nb", ""], True),
        (["日本"], ["日", "本"], ["", ""], True),
    ],
)
def test_stream(stops: list[str], pieces: list[str], shown: list[str], found: bool) -> None:
    stream = StopStrings(stops)
    assert [stream.feed(piece) for piece in pieces] == shown
    assert stream.found is found


def test_what_was_held_back_comes_at_the_end() -> None:
    stream = StopStrings(["END"])
    assert stream.feed("the EN") == "the "
    assert stream.flush() == "EN"
    assert stream.flush() == ""


def test_nothing_after_the_stop() -> None:
    stream = StopStrings(["."])
    assert stream.feed("a.b") == "a"
    assert stream.feed("c") == "" and stream.flush() == ""
