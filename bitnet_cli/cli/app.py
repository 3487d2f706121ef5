"""Registers the commands; `main` is the one error boundary."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from bitnet_cli import __version__
from bitnet_cli.cli.commands.convert import convert
from bitnet_cli.cli.commands.inspect import inspect
from bitnet_cli.cli.commands.run import run
from bitnet_cli.cli.explain import explain
from bitnet_cli.cli.output import out

app = typer.Typer(
    name="bitnet",
    help="Ternary (1.58-bit) language models on ordinary CPUs.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted. BITNET_DEBUG=1 shows tracebacks.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(run)
app.command()(convert)
app.command()(inspect)


def _version(value: bool) -> None:
    if value:
        out.data(f"bitnet {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Ternary (1.58-bit) language models on ordinary CPUs."""


def main(args: list[str] | None = None) -> int:
    """Runs one command line and returns its exit code; every error is explained in one sentence."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    out.json_mode = False
    try:
        code = app((sys.argv[1:] if args is None else args) or ["--help"], prog_name="bitnet", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except BrokenPipeError:
        # The reader of our output has gone: nothing to say, and nothing to be flushed at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Exception, KeyboardInterrupt) as error:
        explanation = explain(error)
        if explanation is None or os.environ.get("BITNET_DEBUG"):
            if os.environ.get("BITNET_DEBUG"):
                raise
            out.error(
                f"unexpected {type(error).__name__}: {error}", "this is a defect; BITNET_DEBUG=1 shows where"
            )
            return 1
        out.error(explanation.message, explanation.hint)
        return explanation.exit_code
