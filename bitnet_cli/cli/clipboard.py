"""Text to the clipboard: by a program of this desktop, or by asking the terminal."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys

from bitnet_cli.errors import BitnetError

MAX_OSC52 = 74_994
"""Bytes of base64 that terminals take."""


def copy(text: str) -> str:
    """Copies a text and returns how, in words.

    A program puts it into the clipboard of the machine it runs on, so over ssh the terminal is asked, by the escape sequence
    OSC 52. Whether it obeys it does not say.

    Raises:
        BitnetError: neither is possible.
    """
    program = _program()
    if program is not None:
        try:
            subprocess.run(program, input=text.encode("utf-8", "replace"), timeout=5, check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
            return f"with `{program[0]}`"
        except (OSError, subprocess.SubprocessError):
            pass  # A display that is not there; the terminal may still do it.
    screen = next((s for s in (sys.stdout, sys.stderr) if s is not None and s.isatty()), None)
    data = base64.b64encode(text.encode("utf-8", "replace")).decode("ascii")
    if screen is None or len(data) > MAX_OSC52:
        raise BitnetError(
            "the text cannot be copied: "
            + ("there is no terminal" if screen is None else "it is too long for a terminal's clipboard"),
            hint="`/save` writes it to a file",
        )
    screen.write(f"\x1b]52;c;{data}\x07")
    screen.flush()
    return "through the terminal (OSC 52), if it allows that"


def _program() -> list[str] | None:
    """The command that reads a text for the clipboard from its stdin, if there is one that belongs to this screen."""
    env = os.environ
    if env.get("TMUX") and shutil.which("tmux"):
        return ["tmux", "load-buffer", "-w", "-"]
    if env.get("SSH_CONNECTION") or env.get("SSH_TTY"):
        return None
    candidates = [
        (sys.platform == "darwin", ["pbcopy"]),
        (sys.platform == "win32" or "WSL_DISTRO_NAME" in env, ["clip.exe"]),
        (bool(env.get("WAYLAND_DISPLAY")), ["wl-copy"]),
        (bool(env.get("DISPLAY")), ["xclip", "-selection", "clipboard"]),
        (bool(env.get("DISPLAY")), ["xsel", "--clipboard", "--input"]),
    ]
    return next((command for there, command in candidates if there and shutil.which(command[0])), None)
