"""How answers appear: on a terminal, as plain text, or as JSON."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from bitnet_cli.chat.conversation import Reply
from bitnet_cli.chat.thoughts import OPEN, ThoughtStream, thoughts_and_answer
from bitnet_cli.cli.markdown_stream import DIM, MarkdownStream
from bitnet_cli.cli.output import out
from bitnet_cli.cli.thought_text import ThoughtText
from bitnet_cli.cli.wrapped_text import RESET, harmless

STOPPED = {"length": "reached `-n`", "context": "the context is full", "interrupted": "interrupted"}
_PAUSE_S = 0.02
"""Pieces that come faster are shown together."""


class Screen(Protocol):
    """Where an answer goes."""

    def begin(self, reply: Reply, context_length: int) -> None:
        """An answer is about to come; `reply` is filled meanwhile."""

    def progress(self, done: int, total: int) -> None:
        """So many tokens of the prompt are evaluated, of so many."""

    def piece(self, text: str) -> None:
        """The next piece of the answer."""

    def notice(self, text: str) -> None:
        """Something to know that is not part of the answer."""

    def end(self) -> None:
        """The answer is over, or nothing comes of it."""


class JsonScreen:
    """An object for each answer, a line each, on stdout."""

    def begin(self, reply: Reply, context_length: int) -> None:
        """See `Screen`."""
        self._reply, self._length = reply, context_length

    def progress(self, done: int, total: int) -> None:
        """See `Screen`."""

    def piece(self, text: str) -> None:
        """See `Screen`."""

    def notice(self, text: str) -> None:
        """The objects say it themselves."""

    def end(self) -> None:
        """See `Screen`."""
        reply = self._reply
        if not _is_answered(reply):
            return
        thoughts, answer = thoughts_and_answer(reply.text, reply.begins_thinking)
        value: dict[str, Any] = {
            "role": "assistant",
            **({"thinking": thoughts} if thoughts else {}),
            "text": answer,
            "prompt_tokens": reply.prompt_tokens,
            "reused_tokens": reply.reused_tokens,
            "tokens": reply.tokens,
            "prompt_tps": round(reply.prompt_tps, 3),
            "tps": round(reply.tps, 3),
            "finish_reason": reply.finish_reason,
            "context_tokens": reply.context_tokens,
            "context_length": self._length,
            "dropped_turns": reply.dropped_turns,
        }
        out.data(json.dumps(value, ensure_ascii=False, allow_nan=False))


class PlainScreen:
    """Text as it comes on stdout; on a terminal without what would command it.

    Args:
        with_statistics: a line about each answer to stderr.
    """

    def __init__(self, *, with_statistics: bool) -> None:
        self._with_statistics = with_statistics
        self._harmless = sys.stdout.isatty()

    def begin(self, reply: Reply, context_length: int) -> None:
        """See `Screen`."""
        self._reply, self._length = reply, context_length
        self._ends_line, self._has_begun = True, False

    def progress(self, done: int, total: int) -> None:
        """See `Screen`."""

    def piece(self, text: str) -> None:
        """See `Screen`."""
        if self._reply.begins_thinking and not self._has_begun:
            text = f"{OPEN}\n{text}"  # So that whoever reads it finds both tags.
        self._has_begun = True
        out.stream(harmless(text) if self._harmless else text)
        self._ends_line = text.endswith("\n")

    def notice(self, text: str) -> None:
        """See `Screen`."""
        out.note(text)

    def end(self) -> None:
        """See `Screen`."""
        if not self._ends_line or (_is_answered(self._reply) and not self._reply.text):
            out.stream("\n")
        if self._with_statistics and self._reply.tokens:
            out.note(f"[{statistics(self._reply, self._length)}]")


class TerminalScreen:
    """Markdown on a terminal, with a line below it that says how fast it comes and how full the context is.

    Args:
        styled: may use colours and other styles.
    """

    def __init__(self, *, styled: bool) -> None:
        self._styled = styled
        self._pending: list[str] = []

    def begin(self, reply: Reply, context_length: int) -> None:
        """See `Screen`."""
        self._reply, self._length = reply, context_length
        self._columns = terminal_columns()
        self._markdown = MarkdownStream(self._pending.append, self._width, self._styled)
        self._thoughts: ThoughtStream | None = None
        self._thought = ThoughtText(self._pending.append, self._width, self._styled)
        self._column, self._status, self._has_status = 0, "reading", False
        self._begun = self._shown = 0.0
        self._n_pieces, self._has_words = 0, False
        self._show()

    def progress(self, done: int, total: int) -> None:
        """See `Screen`."""
        if done < total:
            self._status = f"reading {done} of {total} tokens"
            self._show()

    def piece(self, text: str) -> None:
        """See `Screen`."""
        now = time.monotonic()
        self._begun = self._begun or now
        self._n_pieces += 1
        # White space before the first word belongs to a text that goes on, and would look odd on a line of its own.
        text = text if self._has_words else text.lstrip()
        self._has_words = self._has_words or bool(text)
        self._thoughts = self._thoughts or ThoughtStream(self._reply.begins_thinking)
        self._write(self._thoughts.feed(text))
        if now - self._shown < _PAUSE_S and self._n_pieces > 1:
            return
        words = [f"{self._n_pieces} tokens"]
        if now > self._begun:
            words.insert(0, f"{(self._n_pieces - 1) / (now - self._begun):.1f} tok/s")
        if self._thoughts.thinking:
            words.insert(0, "thinking")
        held = self._reply.reused_tokens + self._reply.prompt_tokens + self._n_pieces
        self._status = " · ".join([*words, meter(held, self._length), "Ctrl-C stops"])
        self._show()

    def notice(self, text: str) -> None:
        """See `Screen`."""
        self._show(with_status=False)
        out.stream("\n" if self._column else "")
        self._column = 0
        out.note(text)

    def end(self) -> None:
        """See `Screen`."""
        if self._thoughts is not None:
            self._write(self._thoughts.flush())
        self._thought.finish()
        self._markdown.finish()
        self._show(with_status=False)
        if self._reply.tokens:
            line = fit(statistics(self._reply, self._length), self._columns - 1)
            out.stream((f"{DIM}{line}{RESET}" if self._styled else line) + "\n\n")

    def _width(self) -> int:
        return self._columns - 1

    def _write(self, pieces: list[tuple[bool, str]]) -> None:
        for is_thought, text in pieces:
            if is_thought:
                self._thought.feed(text)
            else:
                self._thought.finish(with_space=True)
                self._markdown.feed(text)

    def _show(self, *, with_status: bool = True) -> None:
        """Writes what is pending and then the status on the line below, in one piece, which is what prevents flicker."""
        back = f"\x1b[A\r\x1b[{self._column}C" if self._column else "\x1b[A\r"
        text = (f"\n\x1b[2K{back}" if self._has_status else "") + "".join(self._pending)
        self._pending.clear()
        self._column, self._columns = self._markdown.column or self._thought.column, terminal_columns()
        # Below a line that the terminal itself has broken there is no knowing where the cursor is.
        self._has_status = with_status and self._column < self._columns
        if self._has_status:
            line = fit(self._status, self._columns - 1)
            line = f"{DIM}{line}{RESET}" if self._styled else line
            back = f"\x1b[A\r\x1b[{self._column}C" if self._column else "\x1b[A\r"
            text += f"\n\x1b[2K{line}{back}"
        if text:
            out.stream(text)
        self._shown = time.monotonic()


def _is_answered(reply: Reply) -> bool:
    """Whether the turn was answered, if only by silence."""
    return reply.tokens > 0 or reply.finish_reason not in ("", "interrupted")


def terminal_columns() -> int:
    """The width of the terminal behind stdout; 80 if it does not tell."""
    with suppress(OSError, ValueError):
        return max(os.get_terminal_size(sys.stdout.fileno()).columns or 80, 10)
    return 80


def meter(used: int, length: int) -> str:
    """How full the context is."""
    used = min(used, length)
    return f"context {used}/{length} ({100 * used // length} %)"


def bar(used: int, length: int, width: int = 20) -> str:
    """The same as a bar."""
    full = min(round(width * used / length), width)
    return "█" * full + "░" * (width - full)


def statistics(reply: Reply, length: int) -> str:
    """A line about an answer that is over."""
    words = [f"{reply.tokens} tokens"]
    if reply.finish_reason in STOPPED:
        words.append(STOPPED[reply.finish_reason])
    if reply.tps:
        words.append(f"{reply.tps:.1f} tok/s")
    words += [meter(reply.context_tokens, length), f"read {reply.prompt_tokens}, kept {reply.reused_tokens}"]
    return " · ".join(words)


def fit(line: str, columns: int) -> str:
    """As much of a line of status as fits, whole statements if possible."""
    while len(line) > columns and " · " in line:
        line = line.rpartition(" · ")[0]
    return line[:columns]


@contextmanager
def quiet_terminal() -> Iterator[None]:
    """Inside the block the terminal shows neither cursor nor keys; what is typed or pasted waits for the next prompt."""
    try:
        import termios
    except ImportError:  # Windows
        yield
        return
    try:
        number = sys.stdin.fileno()
        before = termios.tcgetattr(number)
    except (OSError, ValueError, AttributeError, termios.error):
        yield
        return
    without = list(before)
    # Keys come as they are pressed, for the line editor; Ctrl-C throws none of them away.
    without[3] = without[3] & ~(termios.ECHO | termios.ICANON) | termios.NOFLSH
    without[6] = [*before[6]]
    without[6][termios.VMIN], without[6][termios.VTIME] = 1, 0
    draws = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    try:
        termios.tcsetattr(number, termios.TCSADRAIN, without)
        out.stream("\x1b[?25l\x1b[?2004h" if draws else "")
        yield
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)
        out.stream("\x1b[?2004l\x1b[?25h" if draws else "")
