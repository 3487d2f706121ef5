"""`bitnet chat` in a pseudo-terminal, for tests that press keys."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest

pexpect = pytest.importorskip("pexpect")

ROOT = Path(__file__).resolve().parents[2]
STYLE = re.compile(r"\x1b\[[0-9;]*m")
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|\r")
UP, LEFT, HOME, CTRL_C, CTRL_D, ENTER = "\x1b[A", "\x1b[D", "\x01", "\x03", "\x04", "\r"
PASTE = "\x1b[200~{}\x1b[201~"
ANSWERED = r"\d+ tokens[^\r\n]*\r\n"


class Screen:
    """A chat in a pseudo-terminal."""

    def __init__(self, folder: Path, *args: object, columns: int = 80, **env: str) -> None:
        self.folder = folder
        self.has_status = env.get("TERM") != "dumb"
        base = {
            k: v
            for k, v in os.environ.items()
            if k not in ("NO_COLOR", "COLUMNS", "LINES", "TMUX", "DISPLAY")
        }
        self.child = pexpect.spawn(
            sys.executable,
            ["-m", "bitnet_cli", "chat", *map(str, args)],
            env=base
            | {"PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(folder / "state"), "TERM": "xterm-256color"}
            | {"SSH_TTY": "/dev/null"}
            | env,
            cwd=str(folder),
            dimensions=(24, columns),
            timeout=30,
            encoding="utf-8",
            codec_errors="replace",
        )
        self.child.delaybeforesend = 0
        self.greeting = self.prompted()

    def expect(self, pattern: str) -> str:
        """Waits until something is shown; returns all that was shown since the last time, and that.

        Answers meanwhile, as terminals do, where the cursor is.
        """
        shown = ""
        while self.child.expect([r"\x1b\[6n", pattern]) == 0:
            shown += self.child.before
            self.child.send("\x1b[4;1R")
        return shown + self.child.before + self.child.after

    def prompted(self) -> str:
        """Waits until the next line may be typed, and the line of status is there."""
        return self.expect(">>>") + (self.expect(r"context.*?%") if self.has_status else "")

    def type(self, keys: str) -> None:
        self.child.send(keys)

    def say(self, text: str) -> str:
        """Types a line and returns what was shown until the next prompt."""
        self.type(text + ENTER)
        if not text.startswith("/") or text.startswith(("/regen", "//")):
            return self.expect(ANSWERED) + self.prompted()
        return self.prompted()

    def turns(self) -> list[dict[str, str]]:
        """Leaves, and reads what was said from the file in which it is kept."""
        self.leave()
        return self.kept()

    def kept(self) -> list[dict[str, str]]:
        """What was said, from the file in which it is kept."""
        return json.loads((self.folder / "state" / "bitnet" / "last-chat.json").read_text())["messages"]

    def leave(self) -> None:
        self.type(CTRL_D)
        self.child.expect(pexpect.EOF)
        self.child.close()
        assert self.child.exitstatus == 0


def seen(shown: str) -> str:
    """What was shown, without what only moves the cursor or changes styles."""
    return CONTROL.sub("", shown)
