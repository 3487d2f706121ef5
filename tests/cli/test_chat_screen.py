"""How answers of models that think aloud appear."""

from __future__ import annotations

import json
import re

import pytest

from bitnet_cli.chat.conversation import Reply
from bitnet_cli.cli.chat_screen import JsonScreen, PlainScreen, Screen, TerminalScreen
from bitnet_cli.cli.markdown_stream import DIM
from bitnet_cli.cli.wrapped_text import RESET

TEXT = "<think>\nA *star*?\nNo.\n</think>\n\nHello **you**"
MOVES = re.compile(r"\x1b\[[0-9;?]*[A-LN-Za-z]")


def show(screen: Screen, text: str) -> None:
    reply = Reply(text=text, tokens=9, finish_reason="stop", context_tokens=9)
    screen.begin(reply, 64)
    for letter in text:
        screen.piece(letter)
    screen.end()


def test_dimmed_and_apart_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show(TerminalScreen(styled=True), TEXT)
    shown = capsys.readouterr().out
    assert f"{DIM}│ {RESET}{DIM}No.{RESET}" in shown and "*star*?" in shown
    assert f"{DIM}Hello" not in shown and "think>" not in shown and "**" not in shown


def test_without_styles(capsys: pytest.CaptureFixture[str]) -> None:
    show(TerminalScreen(styled=False), TEXT)
    shown = MOVES.sub("", capsys.readouterr().out)
    lines = [line.strip() for line in re.sub(r"\n[^\n]*Ctrl-C stops\r?|\r", "", shown).split("\n")]
    assert "│ A *star*?" in lines and "│ No." in lines and "Hello **you**" in lines
    assert lines.index("Hello **you**") - lines.index("│ No.") == 2


def test_json_has_them_apart(capsys: pytest.CaptureFixture[str]) -> None:
    for text in (TEXT, "Hello"):
        show(JsonScreen(), text)
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["text"], first["thinking"]) == ("Hello **you**", "A *star*?\nNo.")
    assert second["text"] == "Hello" and "thinking" not in second


def test_plain_has_all(capsys: pytest.CaptureFixture[str]) -> None:
    show(PlainScreen(with_statistics=False), TEXT)
    assert capsys.readouterr().out == TEXT + "\n"
