"""Thoughts and answers told apart, however the text is cut into pieces."""

from __future__ import annotations

import pytest

from bitnet_cli.chat.thoughts import ThoughtStream, thoughts_and_answer


@pytest.mark.parametrize(
    ("text", "begun", "thoughts", "answer"),
    [
        ("", False, "", ""),
        ("Hello", False, "", "Hello"),
        ("\n Hello", False, "", "\n Hello"),
        ("<think>\na  b\n\nc\n</think>\n\nHello\n", False, "a  b\n\nc", "Hello\n"),
        (" \n<think>a</think>b", False, "a", "b"),
        ("<think>\n\n</think>\n\nHello", False, "", "Hello"),
        ("<think>a</think>b <think>c</think>", False, "a", "b <think>c</think>"),
        ("Write <think>a</think>", False, "", "Write <think>a</think>"),
        ("<thinking>a", False, "", "<thinking>a"),
        ("<thi", False, "", "<thi"),
        ("<think>a </ b </think", False, "a </ b </think", ""),
        ("<think>a \n", False, "a", ""),
        ("a</think>b", False, "", "a</think>b"),
        ("\na\n</think>\nb", True, "a", "b"),
        ("a", True, "a", ""),
        ("</think>b", True, "", "b"),
    ],
)
def test_thoughts_and_answer(text: str, begun: bool, thoughts: str, answer: str) -> None:
    assert thoughts_and_answer(text, begun) == (thoughts, answer)
    for n in range(1, 10):
        stream = ThoughtStream(begun)
        found = [pair for i in range(0, len(text), n) for pair in stream.feed(text[i : i + n])]
        found += stream.flush()
        assert "".join(t for is_thought, t in found if is_thought) == thoughts
        assert "".join(t for is_thought, t in found if not is_thought) == answer


def test_what_is_certain_comes_at_once() -> None:
    stream = ThoughtStream()
    assert stream.feed("<think>") == [] and stream.thinking
    assert stream.feed("a b") == [(True, "a b")]
    assert stream.feed(" <") == [] and stream.feed("c") == [(True, " <c")]
    assert stream.feed("</think>d") == [(False, "d")] and not stream.thinking
