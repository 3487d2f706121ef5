"""Registers the commands; `main` is the one error boundary."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from bitnet_cli import __version__
from bitnet_cli.cli.commands.bench import bench
from bitnet_cli.cli.commands.chat import chat
from bitnet_cli.cli.commands.completion import completion
from bitnet_cli.cli.commands.config import config
from bitnet_cli.cli.commands.convert import convert
from bitnet_cli.cli.commands.doctor import doctor
from bitnet_cli.cli.commands.download import download
from bitnet_cli.cli.commands.embed import embed
from bitnet_cli.cli.commands.inspect import inspect
from bitnet_cli.cli.commands.list import list_models
from bitnet_cli.cli.commands.perplexity import perplexity
from bitnet_cli.cli.commands.rm import rm
from bitnet_cli.cli.commands.run import run
from bitnet_cli.cli.commands.verify import verify
from bitnet_cli.cli.commands.verify_cache import verify_cache
from bitnet_cli.cli.explain import explain
from bitnet_cli.cli.output import out
from bitnet_cli.cli.settings import chosen, default_map
from bitnet_cli.cli.termination import Terminated, termination_raises

app = typer.Typer(
    name="bitnet",
    help="Ternary (1.58-bit) language models on ordinary CPUs.",
    epilog=(
        "Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted, 143 terminated. "
        "BITNET_DEBUG=1 shows tracebacks."
    ),
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(chat)
app.command()(run)
app.command()(convert)
app.command()(inspect)
app.command()(verify)
app.command()(bench)
app.command()(perplexity)
app.command()(embed)
app.command()(download)
app.command(name="list")(list_models)
app.command()(rm)
app.command()(verify_cache)
app.command()(doctor)
app.command()(config)
app.command()(completion)


_PLAIN = ("config", "completion", "doctor")
"""Commands that run whatever the config file holds."""


def _version(value: bool) -> None:
    """Version, commit if it is known, and the instruction set that will be used."""
    if value:
        from bitnet_cli.bench.host import this_host
        from bitnet_cli.native import Context

        commit = this_host().commit
        out.data(f"bitnet {__version__}{f', commit {commit}' if commit else ''}, {Context().isa}")
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
    _replace_missing_streams()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    out.json_mode = False
    words = (sys.argv[1:] if args is None else args) or ["--help"]
    try:
        with termination_raises():
            return _run(words)
    except BrokenPipeError:
        return 1  # The reader of our output has gone: nothing to say.
    except (Exception, KeyboardInterrupt, Terminated) as error:
        if os.environ.get("BITNET_DEBUG"):
            raise
        explanation = explain(error, "bitnet" if words[0].startswith("-") else f"bitnet {words[0]}")
        if explanation is None:
            out.error(
                f"unexpected {type(error).__name__}: {error}", "this is a defect; BITNET_DEBUG=1 shows where"
            )
            return 1
        out.error(explanation.message, explanation.hint)
        return explanation.exit_code
    finally:
        _give_up_broken_streams()


def _run(args: list[str]) -> int:
    """Parses and runs; not through typer's own `main`, which ends silently on Ctrl-C and on broken pipes."""
    command = typer.main.get_command(app)
    try:
        with command.make_context("bitnet", list(args), default_map=_defaults(command, args)) as ctx:
            command.invoke(ctx)
    except typer.Exit as end:
        return end.exit_code
    finally:
        sys.stdout.flush()  # Here a full disk is still an error that can be told.
    return 0


def _defaults(group: Any, args: list[str]) -> dict[str, Any] | None:
    """The defaults that somebody chose, for commands that have any; help shows the program's own."""
    if not args or args[0] not in group.commands or args[0] in _PLAIN or {"-h", "--help"} & set(args):
        return None
    return default_map(group, chosen())


def _replace_missing_streams() -> None:
    """Puts the null device where a standard stream was closed (`>&-`); `sys.stdin` stays None.

    The number of a closed stream would go to the next file that is opened, and whatever is written to the
    stream would end in that file. The lowest free number is taken first, so each stream gets its own.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDWR)
            if name != "stdin":
                setattr(sys, name, open(number, "w", encoding="utf-8"))  # noqa: SIM115 - as long as we run


def _give_up_broken_streams() -> None:
    """Points streams that cannot be written at the null device, or Python would complain about them at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
