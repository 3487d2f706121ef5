"""Makes docs/screens/*.svg: what a terminal of 80 columns shows, drawn from the program's own output.

usage: python tools/make_screens.py        (needs tmux; `bitnet` must be on the PATH)

Each screen is a tmux session in which keys are typed; its colours and all are taken over as text and drawn by rich. The
story model that comes with the package is used, so nothing has to be downloaded.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

OUT = Path(__file__).resolve().parent.parent / "docs" / "screens"
COLUMNS, LINES = 80, 24


@dataclass(frozen=True)
class Step:
    """Keys to type, and what the screen must show before the next step."""

    keys: str
    until: str


SCREENS = {
    "run": [Step('bitnet run "One day, a little fox found a red balloon" --temp 0.7 -s 7 -n 120', "seed 7")],
    "chat": [
        Step("bitnet chat -s 3 -n 60", "/help shows"),
        Step("Once upon a time, a small boat", "tok/s"),
        Step("/context", "context"),
    ],
    "bench": [Step("bitnet bench -p 256 -n 64 -r 3 --roofline", "of int8 peak")],
}


def tmux(*args: str) -> str:
    return subprocess.run(["tmux", "-L", "screens", *args], check=True, capture_output=True, text=True).stdout


def _wait(text: str, count: int, of: str) -> None:
    """Waits until a text is on the screen so many times."""
    for _ in range(600):
        time.sleep(0.1)
        if tmux("capture-pane", "-t", "one", "-p").count(text) >= count:
            return
    raise SystemExit(f"{of}: `{text}` did not appear")


def taken(steps: list[Step], home: str) -> str:
    """The screen after all steps, with escape sequences for colours."""
    shell = "env PS1='$ ' bash --norc --noprofile"
    environment = {"XDG_STATE_HOME": home, "XDG_CACHE_HOME": home, "COLORTERM": "truecolor"}
    settings = [word for name, value in environment.items() for word in ("-e", f"{name}={value}")]
    tmux("new-session", "-d", "-s", "one", "-x", str(COLUMNS), "-y", str(LINES), *settings, shell)
    try:
        _wait("$", 1, "the shell")  # Keys that come before it are shown twice.
        for step in steps:
            before = tmux("capture-pane", "-t", "one", "-p").count(step.until)
            tmux("send-keys", "-t", "one", "-l", step.keys)
            tmux("send-keys", "-t", "one", "Enter")
            _wait(step.until, before + 1, f"`{step.keys}`")
        time.sleep(1)
        return tmux("capture-pane", "-t", "one", "-p", "-e")
    finally:
        tmux("kill-server")


def main() -> None:
    OUT.mkdir(exist_ok=True)
    for name, steps in SCREENS.items():
        with tempfile.TemporaryDirectory() as home, open(os.devnull, "w", encoding="utf-8") as nowhere:
            console = Console(
                record=True, width=COLUMNS, file=nowhere, force_terminal=True, legacy_windows=False
            )
            for line in taken(steps, home).rstrip("\n").split("\n"):
                console.print(Text.from_ansi(line), soft_wrap=True)
            path = OUT / f"{name}.svg"
            path.write_text(console.export_svg(title=f"bitnet {name}", unique_id=name), encoding="utf-8")
            print(path)


if __name__ == "__main__":
    main()
