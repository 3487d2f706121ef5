"""Error messages: where, then what; safe for a terminal."""

from __future__ import annotations

import pytest

from bitnet_cli.errors import FormatError, UsageError, printable, with_hint


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ({}, "wrong"),
        ({"path": "a.gguf"}, "a.gguf: wrong"),
        ({"tensor": "t"}, "`t`: wrong"),
        ({"path": "a.gguf", "tensor": "t", "offset": 12}, "a.gguf: `t` at byte 12: wrong"),
        ({"path": "a.gguf", "offset": 0}, "a.gguf at byte 0: wrong"),
        ({"tensor": "\x1b[31m\n"}, "`\\x1b[31m\\n`: wrong"),
    ],
)
def test_format_error(places: dict[str, str | int], message: str) -> None:
    assert str(FormatError("wrong", **places)) == message  # type: ignore[arg-type]


def test_exit_codes() -> None:
    assert (FormatError("a").exit_code, UsageError("a").exit_code) == (1, 2)


def test_printable_is_bounded() -> None:
    assert printable("ab\x00\u202e日", 50) == "ab\\x00\\u202e日"
    assert len(printable("x" * 1000)) == 100


@pytest.mark.parametrize(("own", "hint"), [(None, "given"), ("own", "own")])
def test_a_hint_of_its_own_comes_first(own: str | None, hint: str) -> None:
    with pytest.raises(FormatError) as caught, with_hint("given"):
        raise FormatError("wrong", hint=own)
    assert caught.value.hint == hint
