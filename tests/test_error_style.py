"""Every error raised in the package is worded alike: one sentence, no final period, and a hint where a person needs one.

A FormatError, UnsupportedError, RepresentationError or NativeError may leave its hint to the class
(`bitnet_cli/cli/explain.py`): what helps against a damaged file is always the same. What helps against wrong usage, a
refusing hub or a failing system depends on the case, so these errors say it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bitnet_cli import errors

PACKAGE = Path(errors.__file__).parent
CLASSES = {
    name for name, each in vars(errors).items() if isinstance(each, type) and issubclass(each, Exception)
}
NEED_A_HINT = {"UsageError", "HubError", "BitnetError"}
PLACE = "\N{WHITE SQUARE}"
"""Stands for what an f-string puts in."""

CAPITALS = re.compile(r"[A-Z]{2}|[A-Z]+\d|RoPE|YaRN|I2_S|HF_|SentencePiece")
"""Names that a message may begin with; all other messages begin with a small letter, a literal or a value."""

WITHOUT_HINT = {
    ("hub/remote.py", "the connection was cut while `□` arrived"): "told only between two tries",
    ("formats/gguf_writer.py", "□ is closed"): "a mistake in a program, not of a person",
    ("formats/gguf_writer.py", "□: □"): "a mistake in a program, not of a person",
}


@dataclass(frozen=True)
class Raised:
    """One place where an error is made."""

    file: str
    line: int
    name: str
    messages: tuple[str, ...]
    """Its message, once for each branch; empty if it comes from elsewhere."""
    has_hint: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.name}: {' | '.join(self.messages)}"


def texts(node: ast.expr) -> tuple[str, ...]:
    """All texts that an expression may be, with PLACE for values; none if it is no text written here."""
    match node:
        case ast.Constant(value=str(text)):
            return (text,)
        case ast.JoinedStr(values=values):
            found: tuple[str, ...] = ("",)
            for value in values:
                inner = value.value if isinstance(value, ast.FormattedValue) else value
                ends = texts(inner) if not isinstance(inner, ast.Call) else ()
                found = tuple(begin + end for begin in found for end in (ends or (PLACE,)))
            return found
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return tuple(a + b for a in texts(left) or (PLACE,) for b in texts(right) or (PLACE,))
        case ast.IfExp(body=body, orelse=orelse):
            return (texts(body) or (PLACE,)) + (texts(orelse) or (PLACE,))
    return ()


def raised(tree: ast.AST, file: str) -> Iterator[Raised]:
    for node in ast.walk(tree):
        if (
            not isinstance(node, ast.Call)
            or not isinstance(node.func, ast.Name)
            or node.func.id not in CLASSES
        ):
            continue
        has_hint = any(
            keyword.arg == "hint"
            and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is None)
            for keyword in node.keywords
        )
        messages = texts(node.args[0]) if node.args else ()
        yield Raised(file, node.lineno, node.func.id, messages, has_hint)


def faults(each: Raised) -> Iterator[str]:
    """What is wrong with the wording of an error."""
    for text in each.messages:
        if text != text.strip() or "\n" in text or "  " in text:
            yield "white space"
        if text.rstrip().endswith((".", "!", ":", ";", ",")):
            yield "the end"
        if re.search(r"[.!?] [A-Z" + PLACE + "]", text):
            yield "more than one sentence"
        if text[:1].isupper() and not CAPITALS.match(text):
            yield "the beginning"
        if re.search(r"\b(please|sorry|oops|invalid argument|failed to)\b", text, re.IGNORECASE):
            yield "the tone"
        if text.count("`") % 2:
            yield "the backticks"
    excused = any((each.file, text) in WITHOUT_HINT for text in each.messages)
    if each.name in NEED_A_HINT and not each.has_hint and not excused:
        yield "the hint is missing"


ALL = [
    each
    for path in sorted(PACKAGE.rglob("*.py"))
    for each in raised(ast.parse(path.read_text(encoding="utf-8")), path.relative_to(PACKAGE).as_posix())
]


def test_all_errors_are_worded_alike() -> None:
    assert len(ALL) > 250
    found = [f"{each}: {fault}" for each in ALL for fault in faults(each)]
    assert not found, "\n" + "\n".join(found)


def test_no_exception_is_out_of_date() -> None:
    written = {(each.file, text) for each in ALL for text in each.messages if not each.has_hint}
    assert not set(WITHOUT_HINT) - written


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("FormatError('it is damaged.')", "the end"),
        ("FormatError(f'it is {kind}: ')", "the end"),
        ("FormatError('it is damaged. Fetch it')", "more than one sentence"),
        ("FormatError('It is damaged')", "the beginning"),
        ("FormatError('please wait')", "the tone"),
        ("FormatError('`it is damaged')", "the backticks"),
        ("FormatError('it is ' + ('damaged.' if a else 'well'))", "the end"),
        ("UsageError('it is not')", "the hint is missing"),
        ("UsageError(message, hint=None)", "the hint is missing"),
        ("HubError(f'{host} is away')", "the hint is missing"),
        ("UsageError('it is not', hint='it must be')", None),
        ("FormatError(f'I2_S has {n} rows')", None),
        ("FormatError(f'{path}: it has {n} rows')", None),
    ],
)
def test_the_check_itself(code: str, fault: str | None) -> None:
    (each,) = raised(ast.parse(code), "x.py")
    assert (fault in set(faults(each))) if fault else not list(faults(each))
