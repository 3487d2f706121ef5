"""What a model thinks aloud is told from what it answers, however the text was cut."""

from __future__ import annotations

import pytest

from bitnet_cli.chat.thoughts import ThoughtStream, split

CASES = {
    "": ("", ""),
    "Hello": ("", "Hello"),
    " Hello <think>no</think>": ("", " Hello <think>no</think>"),
    "<think>\nOne.\n\nTwo.\n</think>\n\nHi": ("One.\n\nTwo.", "Hi"),
    "\n<think>a</think>b": ("a", "b"),
    "<think>\n\n</think>\n\nHi there\n": ("", "Hi there\n"),
    "<think>a </thin b </think>c</think>": ("a </thin b", "c</think>"),
    "<think>never done </thi": ("never done </thi", ""),
    "<think>never done \n": ("never done", ""),
    "<thin air": ("", "<thin air"),
    "<thi": ("", "<thi"),
    "< think>": ("", "< think>"),
}


@pytest.mark.parametrize("text", CASES)
def test_whole_texts(text: str) -> None:
    assert split(text) == CASES[text]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("text", CASES)
def test_pieces(text: str, size: int) -> None:
    stream = ThoughtStream()
    said = [s for i in range(0, len(text), size) for s in stream.feed(text[i : i + size])] + stream.flush()
    found = tuple("".join(s.text for s in said if s.is_thought is kind) for kind in (True, False))
    assert found == CASES[text]
    assert all(s.text for s in said)


def test_thoughts_are_told_as_they_come() -> None:
    stream = ThoughtStream()
    assert stream.feed("<think>One ") == [("One", True)]
    assert stream.feed("two</") == [(" two", True)]
    assert stream.feed("b") == [("</b", True)]
    assert stream.feed("</think>\n") == []
    assert stream.feed("\nHi ") == [("Hi ", False)]
    assert stream.feed(" there") == [(" there", False)]
