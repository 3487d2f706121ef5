"""Where a person's turns come from: lines of a pipe, or a terminal with line editing, history and completion."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from prompt_toolkit.completion import Completer
    from prompt_toolkit.history import History
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

QUOTES = '"""'
MAX_HISTORY_BYTES = 1 << 20


class ChatInput(Protocol):
    """Gives the turns of a person one by one."""

    def read(self, suggestion: str = "") -> str:
        """The next turn, perhaps of several lines; `suggestion` may be edited.

        Raises:
            EOFError: there is no more.
        """


def is_open(text: str) -> bool:
    """Whether a turn goes on: after a backslash at the end of the line, or until triple quotes are closed."""
    if text.lstrip().startswith(QUOTES):
        return QUOTES not in text.lstrip()[len(QUOTES) :]
    return text.endswith("\\") and not text.endswith("\\\\")


def joined(text: str) -> str:
    """A turn without what was only there to write it on several lines."""
    stripped = text.strip()
    if stripped.startswith(QUOTES):
        inner = stripped[len(QUOTES) :]
        before, closed, after = inner.partition(QUOTES)
        return (before.strip("\n") + after if closed else before).strip("\n")
    return re.sub(r"(?<!\\)\\\n", "\n", text)


class PipedInput:
    """Each line is a turn.

    Raises:
        UnicodeDecodeError: from `read`, if a line is not UTF-8.
    """

    def __init__(self) -> None:
        self._lines: Iterator[bytes] = iter(sys.stdin.buffer) if sys.stdin is not None else iter(())

    def read(self, suggestion: str = "") -> str:
        """See `ChatInput`."""
        text = self._line()
        while is_open(text):
            try:
                text += "\n" + self._line()
            except EOFError:
                break
        return joined(text)

    def _line(self) -> str:
        line = next(self._lines, None)
        if line is None:
            raise EOFError
        return line.decode("utf-8").removesuffix("\n").removesuffix("\r")


class TerminalInput:
    """A prompt with line editing.

    prompt_toolkit and not readline: pasted lines must never be sent one by one, and Python's readline may be any of several
    libraries, or missing.

    Args:
        commands: name → what may follow it, for completion; `FILE` stands for paths.
        status: the line below the prompt, for a number of columns.
        history: a file, or None.
    """

    def __init__(
        self, commands: Mapping[str, Sequence[str]], status: Callable[[int], str], history: Path | None
    ) -> None:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.history import InMemoryHistory
        from prompt_toolkit.output import create_output
        from prompt_toolkit.shortcuts import CompleteStyle

        self._status = status
        self._hint, self._suggested = "", False
        self._session: PromptSession[str] = PromptSession(
            history=_history(history) if history is not None else InMemoryHistory(),
            completer=_completer(commands),
            complete_style=CompleteStyle.MULTI_COLUMN,
            complete_while_typing=False,
            reserve_space_for_menu=4,
            multiline=True,
            prompt_continuation="... ",
            bottom_toolbar=self._toolbar,
            key_bindings=self._keys(),
            output=create_output(always_prefer_tty=True),
            enable_suspend=True,
        )

    def read(self, suggestion: str = "") -> str:
        """See `ChatInput`."""
        self._hint, self._suggested = "", bool(suggestion)
        return joined(self._session.prompt(">>> ", default=suggestion))

    def _toolbar(self) -> str:
        columns = self._session.output.get_size().columns
        return (self._hint or self._status(columns))[:columns]

    def _keys(self) -> KeyBindings:
        from prompt_toolkit.key_binding import KeyBindings

        keys = KeyBindings()

        @keys.add("enter")
        def _(event: KeyPressEvent) -> None:
            buffer = event.current_buffer
            if is_open(buffer.document.text) and buffer.document.is_cursor_at_the_end:
                buffer.newline(copy_margin=False)
            else:
                buffer.validate_and_handle()

        @keys.add("escape", "enter")
        def _(event: KeyPressEvent) -> None:
            event.current_buffer.newline(copy_margin=False)

        @keys.add("c-c")
        def _(event: KeyPressEvent) -> None:
            if self._suggested:
                event.app.exit(result="")  # Whoever suggested the text learns that it is not wanted.
                return
            self._hint = "" if event.current_buffer.text else " Ctrl-D or /exit leaves"
            event.current_buffer.reset()

        return keys


def _completer(commands: Mapping[str, Sequence[str]]) -> Completer:
    from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
    from prompt_toolkit.document import Document

    paths = PathCompleter(expanduser=True)

    class Commands(Completer):
        """Names of commands after a slash, then what may follow them."""

        def get_completions(self, document: Document, event: CompleteEvent) -> Iterable[Completion]:
            text = document.text_before_cursor
            if not text.startswith("/") or "\n" in text:
                return
            name, space, rest = text.partition(" ")
            if not space:
                yield from (Completion(c, -len(name)) for c in sorted(commands) if c.startswith(name))
                return
            for word in commands.get(name, ()):
                if word == "FILE":
                    yield from paths.get_completions(Document(rest, len(rest)), event)
                elif word.startswith(rest):
                    yield Completion(word, -len(rest))

    return Commands()


def _history(path: Path) -> History:
    from prompt_toolkit.history import FileHistory

    class PrivateHistory(FileHistory):
        """Lines of earlier sessions in a file that is only its owner's; without it, where it cannot be had."""

        def load_history_strings(self) -> Iterable[str]:
            try:
                _shorten(path)
                return list(super().load_history_strings())
            except OSError:
                return []

        def store_string(self, string: str) -> None:
            text = string.encode("utf-8", "replace").decode("utf-8")
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
                super().store_string(text)
            except OSError:
                return

    return PrivateHistory(str(path))


def _shorten(path: Path) -> None:
    """Keeps the newer half of a history that has become long."""
    if not path.exists() or path.stat().st_size <= MAX_HISTORY_BYTES:
        return
    data = path.read_bytes()
    begin = data.find(b"\n# ", len(data) // 2)
    path.write_bytes(data[begin:] if begin >= 0 else b"")
