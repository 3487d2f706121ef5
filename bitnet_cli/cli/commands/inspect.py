"""`bitnet inspect`: what a GGUF file holds."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitnet_cli.cli.model_argument import model_file
from bitnet_cli.cli.options import I2sLayoutOpt, JsonOpt, TilingOpt, YesOpt, codec_for
from bitnet_cli.cli.output import out
from bitnet_cli.errors import FormatError

if TYPE_CHECKING:
    from bitnet_cli.formats.codecs import CodecFor

LONG_READ_BYTES = 1 << 28
"""Below this, reading is over before a progress bar could be drawn."""


def inspect(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="GGUF file, short name or ORG/NAME.", show_default=False)
    ],
    tensors: Annotated[bool, typer.Option("--tensors", help="List every tensor.")] = False,
    diff: Annotated[
        str | None,
        typer.Option(
            "--diff",
            metavar="OTHER",
            help="Show what is different in this other GGUF file or model, down to the weights.",
            show_default=False,
        ),
    ] = None,
    i2s_layout: I2sLayoutOpt = None,
    tiling: TilingOpt = None,
    yes: YesOpt = False,
    json: JsonOpt = False,
) -> None:
    """Show metadata, tensors, bits per weight, scales and the share of zeros.

    All ternary tensors are read, so damage in them shows up as a problem; the exit code is then 1. With --json
    everything is printed, metadata arrays with their first elements. With --diff two files are compared: what OTHER
    lacks begins with -, what it has in addition with +, what is different with ~.

    Examples:

      bitnet inspect model.gguf

      bitnet inspect model.gguf --tensors

      bitnet inspect model.gguf --json

      bitnet inspect old.gguf --diff new.gguf
    """
    from bitnet_cli.cli.inspection_view import show
    from bitnet_cli.formats.gguf_reader import GGUFReader
    from bitnet_cli.formats.inspection import inspect_gguf, ternary_bytes
    from bitnet_cli.native import count_codes

    file = model_file(model, yes=yes)
    assert file is not None
    other = model_file(diff, yes=yes)
    reading = codec_for(i2s_layout, tiling, file, *([other] if other is not None else []))
    if other is not None:
        _diff(file, other, reading, list_tensors=tensors, json=json)
        return
    with GGUFReader(file) as reader:
        total = ternary_bytes(reader)
        progress: AbstractContextManager[Any] = nullcontext()
        if total >= LONG_READ_BYTES:
            progress = out.progress("reading ternary tensors", total, "B")
        with progress as bar:
            found = inspect_gguf(reader, count_codes, bar.update if bar is not None else None, reading)
    if json:
        out.json(found.to_json())
    else:
        show(found, list_tensors=tensors)
    if found.damage:
        raise FormatError(
            f"the file is damaged in {len(found.damage)} place{'s' if len(found.damage) > 1 else ''}",
            path=file,
        )


def _diff(file: Path, other: Path, reading: CodecFor, *, list_tensors: bool, json: bool) -> None:
    """Shows how two files differ."""
    from bitnet_cli.cli.diff_view import show_diff
    from bitnet_cli.convert.gguf_source import GGUFSource
    from bitnet_cli.verify.diff import diff_files

    with GGUFSource(file, reading) as first, GGUFSource(other, reading) as second:
        total = first.reader.size + second.reader.size
        done = 0
        with out.progress("comparing", total, "B") if total >= LONG_READ_BYTES else nullcontext() as bar:

            def show(n_bytes: int, tensor: str) -> None:
                nonlocal done
                done += n_bytes
                if bar is not None:
                    bar.update(done, tensor)

            found = diff_files(first, second, show)
    if json:
        out.json(found.to_json())
    else:
        show_diff(found, list_tensors=list_tensors)
