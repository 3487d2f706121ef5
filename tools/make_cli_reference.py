"""Makes docs/cli.md: the help of every command, as the program prints it at 80 columns.

usage: python tools/make_cli_reference.py [FILE]
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from pathlib import Path

from bitnet_cli.cli.app import app, main

OUT = Path(__file__).resolve().parent.parent / "docs" / "cli.md"
HEAD = """\
# Command line

What `bitnet COMMAND --help` prints. Made by `tools/make_cli_reference.py`; a test keeps it up to date.

Text and data go to stdout, talk to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted, 143 terminated.
Defaults of options can be set with `bitnet config` or in the environment: BITNET_TEMP stands for `--temp`.
"""


def reference() -> str:
    """The text of the page."""
    os.environ["COLUMNS"] = "80"
    names = [
        info.name or (info.callback.__name__.replace("_", "-") if info.callback else "")
        for info in app.registered_commands
    ]
    parts = [HEAD, *(f"## {name}\n\n```text\n{help_of(name)}\n```\n" for name in names)]
    return "\n".join(parts)


def help_of(command: str) -> str:
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        main([command, "--help"])
    return text.getvalue().rstrip("\n")


if __name__ == "__main__":
    Path(sys.argv[1] if len(sys.argv) > 1 else OUT).write_text(reference(), encoding="utf-8")
