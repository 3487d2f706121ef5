"""`bitnet inspect`: what a GGUF file holds."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Any

import typer

from bitnet_cli.cli.model_argument import model_file
from bitnet_cli.cli.options import JsonOpt, YesOpt
from bitnet_cli.cli.output import out
from bitnet_cli.errors import FormatError

LONG_READ_BYTES = 1 << 28
"""Below this, reading is over before a progress bar could be drawn."""


def inspect(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="GGUF file, short name or ORG/NAME.", show_default=False)
    ],
    tensors: Annotated[bool, typer.Option("--tensors", help="List every tensor.")] = False,
    yes: YesOpt = False,
    json: JsonOpt = False,
) -> None:
    """Show metadata, tensors, bits per weight and the share of zeros.

    All ternary tensors are read, so damage in them shows up as a problem; the exit code is then 1. With --json
    everything is printed, metadata arrays with their first elements.

    Examples:

      bitnet inspect model.gguf

      bitnet inspect model.gguf --tensors

      bitnet inspect model.gguf --json
    """
    from bitnet_cli.cli.inspection_view import show
    from bitnet_cli.formats.gguf_reader import GGUFReader
    from bitnet_cli.formats.inspection import inspect_gguf, ternary_bytes
    from bitnet_cli.native import count_codes

    file = model_file(model, yes=yes)
    assert file is not None
    with GGUFReader(file) as reader:
        total = ternary_bytes(reader)
        progress: AbstractContextManager[Any] = nullcontext()
        if total >= LONG_READ_BYTES:
            progress = out.progress("reading ternary tensors", total, "B")
        with progress as bar:
            found = inspect_gguf(reader, count_codes, bar.update if bar is not None else None)
    if json:
        out.json(found.to_json())
    else:
        show(found, list_tensors=tensors)
    if found.damage:
        raise FormatError(
            f"the file is damaged in {len(found.damage)} place{'s' if len(found.damage) > 1 else ''}",
            path=file,
        )
