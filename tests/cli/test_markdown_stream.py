"""Markdown as it comes: what is shown, line by line, however it is cut into pieces; and nothing that commands a terminal."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from bitnet_cli.cli.chat_screen import fit
from bitnet_cli.cli.markdown_stream import BOLD, CODE, DIM, ITALIC, UNDERLINE, MarkdownStream
from bitnet_cli.cli.wrapped_text import RESET, harmless

NAMES = {BOLD: "b", ITALIC: "i", UNDERLINE: "u", DIM: "d", CODE: "c"}
STYLE = re.compile(r"\x1b\[[0-9;]*m")


def shown(text: str, width: int = 40, *, styled: bool = True, size: int = 1) -> str:
    """What a terminal gets; with one piece of a style not ended before the same one begins again."""
    written: list[str] = []
    stream = MarkdownStream(written.append, lambda: width, styled)
    for at in range(0, len(text), size):
        stream.feed(text[at : at + size])
    stream.finish()
    assert stream.column == 0
    return "".join(written).replace(RESET + CODE, "")


def tagged(text: str) -> str:
    """Styles as letters: `<b>bold<>`; spaces between words have none."""
    for style, name in NAMES.items():
        text = text.replace(style, f"<{name}>")
    return text.replace(RESET, "<>").replace("><", "")


CASES = {
    "words": ("one two", "one two\n"),
    "emphasis": (
        "**bold** *it* _it_ `code` ***all*** __bold__",
        "<b>bold<> <i>it<> <i>it<> <c>code<> <bi>all<> <b>bold<>\n",
    ),
    "inside bold": ("**a `b` c**", "<b>a<> <bc>b<> <b>c<>\n"),
    "not emphasis": ("2 * 3 * 4 snake_case_name a*b", "2 * 3 * 4 snake_case_name a*b\n"),
    "never closed": ("f(*args, **kwargs) and `x", "f(*args, **kwargs) and `x\n"),
    "closed on the next line": ("*a\nb*", "*a\nb*\n"),
    "code with stars": ("`*a*` ``b`c``", "<c>*a*<> <c>b`c<>\n"),
    "escaped": (r"\*a\* \_ \n", "*a* _ \\n\n"),
    "header": ("# One\n### Three *it*", "<bu>One<>\n<b>Three<> <bi>it<>\n"),
    "no header": ("#hash\n####### seven", "#hash\n####### seven\n"),
    "list": ("- a\n* b\n  + c\n1. d\n12) e", "• a\n• b\n  • c\n1. d\n12) e\n"),
    "list, broken": (
        "- one two three four five six seven eight nine",
        "• one two three four five six seven\n  eight nine\n",
    ),
    "quote, broken": ("> " + "word " * 9, "│ " + " ".join(["word"] * 7) + "\n│ word word\n"),
    "rule": ("a\n\n---\nb", "a\n\n<d>" + "─" * 39 + "<>\nb\n"),
    "fence": ("```py\n*a*  b\n# c\n```\n*d*", "<d>```py<>\n<c>*a*  b<>\n<c># c<>\n<d>```<>\n<i>d<>\n"),
    "fence in a fence": ("````\n```\n````", "<d>````<>\n<c>```<>\n<d>````<>\n"),
    "fence without end": ("~~~\na", "<d>~~~<>\n<c>a<>\n"),
    "table": (
        "| a | **b** |\n|---|:-:|\n| 日本 | `c` |\nend",
        "<b>a<>     <b>b<>\n<d>────  ─<>\n日本  <c>c<>\nend\n",
    ),
    "no table": ("| a | b |\n| c |", "| a | b |\n| c |\n"),
    "a bar": ("|x| is the absolute", "|x| is the absolute\n"),
    "long word": ("a" * 90, "a" * 40 + "\n" + "a" * 40 + "\n" + "a" * 10 + "\n"),
    "wide letters": ("日" * 21, "日" * 20 + "\n日\n"),
    "commands": ("\x1b[31mred\x07 \u202eevil \x9b", "\\x1b[31mred\\x07 \\u202eevil \\x9b\n"),
    "joined letters": ("👩‍👩‍👧 می‌خواهم a\xa0b", "👩‍👩‍👧 می‌خواهم a\xa0b\n"),
    "lines": ("a\r\n\n\nb\n", "a\n\n\nb\n"),
    "nothing": ("", ""),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_shown(name: str) -> None:
    text, expected = CASES[name]
    for size in (1, 2, 7, 1000):
        assert tagged(shown(text, size=size)) == expected


@pytest.mark.parametrize("name", CASES)
def test_without_styles_nothing_but_line_ends_changes(name: str) -> None:
    text = CASES[name][0]
    out = shown(text, styled=False)
    assert "\x1b" not in out and "".join(out.split()).replace(">", "") == "".join(
        harmless(text).split()
    ).replace(">", "")


PARTS = [*"ab12 \n*_`#->|\\~:.", "日", "```\n", "\n- ", "\n| a | b |\n|---|---|\n"]
MARKDOWN = st.lists(st.sampled_from(PARTS), max_size=80).map("".join)


@settings(max_examples=300, deadline=None)
@given(MARKDOWN, st.integers(10, 50), st.integers(1, 9), st.booleans())
def test_pieces_do_not_matter_and_lines_fit(text: str, width: int, size: int, styled: bool) -> None:
    whole = shown(text, width, styled=styled, size=len(text) or 1)
    assert shown(text, width, styled=styled, size=size) == whole
    if "```" not in text and "~~~" not in text:
        assert all(cell_len(STYLE.sub("", line)) <= width for line in whole.split("\n"))
    letters = [c for c in STYLE.sub("", whole) if c in "ab12日"]
    assert letters == [c for c in text if c in "ab12日"]


def test_what_is_certain_is_shown_at_once() -> None:
    written: list[str] = []
    stream = MarkdownStream(written.append, lambda: 40, True)
    stream.feed("Hello wor")
    assert "".join(written) == "Hello"
    stream.feed("ld **bo")
    assert "".join(written) == "Hello world"
    stream.feed("ld** and")
    assert tagged("".join(written)) == "Hello world <b>bold<>"


def test_the_width_may_change() -> None:
    width, written = 40, list[str]()
    stream = MarkdownStream(written.append, lambda: width, True)
    stream.feed("word " * 7)
    width = 10
    stream.feed("word " * 7)
    stream.finish()
    first, *others = "".join(written).split("\n")
    assert len(first) > 30 and all(len(line) <= 10 for line in others)


def test_status_fits_by_whole_statements() -> None:
    assert fit("one · two · three", 12) == "one · two"
    assert fit("one · two · three", 17) == "one · two · three"
    assert fit("one · two", 2) == "on"
