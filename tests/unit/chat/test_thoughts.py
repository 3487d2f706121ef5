"""What a model thinks aloud is told from what it answers, however the text was cut."""

from __future__ import annotations

import pytest

from bitnet_cli.chat.thoughts import ThoughtStream, thoughts_and_answer

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
    assert thoughts_and_answer(text) == CASES[text]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("text", CASES)
def test_pieces(text: str, size: int) -> None:
    stream = ThoughtStream()
    said = [s for i in range(0, len(text), size) for s in stream.feed(text[i : i + size])] + stream.flush()
    found = tuple("".join(text for is_thought, text in said if is_thought is kind) for kind in (True, False))
    assert found == CASES[text]
    assert all(text for _, text in said)


def test_thoughts_are_told_as_they_come() -> None:
    stream = ThoughtStream()
    assert stream.feed("<think>One ") == [(True, "One")]
    assert stream.feed("two</") == [(True, " two")]
    assert stream.feed("b") == [(True, "</b")]
    assert stream.feed("</think>\n") == []
    assert stream.feed("\nHi ") == [(False, "Hi ")]
    assert stream.feed(" there") == [(False, " there")]


def test_a_turn_that_begins_inside_the_thoughts() -> None:
    assert thoughts_and_answer("One.\n</think>\n\nHi", begun=True) == ("One.", "Hi")
    assert thoughts_and_answer("One.", begun=True) == ("One.", "")
