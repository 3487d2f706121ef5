"""Options that several commands share, so that they cannot diverge."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitnet_cli.cli.output import out
from bitnet_cli.errors import UsageError, printable

if TYPE_CHECKING:
    from bitnet_cli.formats.codecs import CodecFor


def _set_json(value: bool) -> bool:
    out.json_mode = value
    return value


def _kv_type(value: str | None) -> str | None:
    """Refused before a model is downloaded for it, as are the two below."""
    if value is not None:
        from bitnet_cli.native import check_kv_type

        check_kv_type(value)
    return value


def _isa(value: str | None) -> str | None:
    if value is not None:
        from bitnet_cli.native import Context

        Context(value, 1)
    return value


def _kernel(value: str | None) -> str | None:
    if value is not None:
        from bitnet_cli.engine.options import EngineOptions

        EngineOptions(value)
    return value


JsonOpt = Annotated[
    bool, typer.Option("--json", help="Print one JSON value to stdout.", callback=_set_json, is_eager=True)
]
ModelOpt = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        metavar="MODEL",
        help="GGUF file, short name (`bitnet list --remote`) or ORG/NAME. Default: the small built-in story model.",
    ),
]
YesOpt = Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")]
ThreadsOpt = Annotated[
    int | None,
    typer.Option(
        "-t",
        "--threads",
        metavar="N",
        min=1,
        help="Threads. Default: the physical cores.",
        show_default=False,
    ),
]
ContextOpt = Annotated[
    int | None,
    typer.Option(
        "-c",
        "--ctx-size",
        metavar="N",
        min=1,
        help="Context in tokens. Default: the model's, at most 4096.",
        show_default=False,
    ),
]
KvTypeOpt = Annotated[
    str | None,
    typer.Option(
        "--kv-type",
        metavar="TYPE",
        callback=_kv_type,
        help="Stored keys and values: f32, f16, or i8 at half the memory of f16. Default: f16.",
        show_default=False,
    ),
]
IsaOpt = Annotated[
    str | None,
    typer.Option(
        "--isa",
        metavar="NAME",
        callback=_isa,
        envvar="BITNET_ISA",
        help="Instruction set: scalar, avx2, avxvnni, avx512icl, neon, dotprod, i8mm. Default: the strongest of this CPU.",
        show_default=False,
    ),
]
KernelOpt = Annotated[
    str | None,
    typer.Option(
        "--kernel",
        metavar="NAME",
        callback=_kernel,
        envvar="BITNET_KERNEL",
        help="mad multiplies and adds, lut looks up in tables. Default: auto, the faster one here. The text is the same.",
        show_default=False,
    ),
]
I2sLayoutOpt = Annotated[
    str | None,
    typer.Option(
        "--i2s-layout",
        metavar="NAME",
        help="How I2_S weights lie in the file: x86, or arm64 for files that bitnet.cpp made on ARM. Default: x86.",
        show_default=False,
    ),
]
TilingOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--tiling",
        metavar="TILING",
        help="How TL1 and TL2 weights are cut into tiles in a file that does not say it: BM,BK,bm, or "
        "ROWSxCOLS=BM,BK,bm for one shape; may be repeated.",
        show_default=False,
    ),
]


def codec_for(i2s_layout: str | None, tiling: list[str] | None, *files: Path) -> CodecFor:
    """How ternary tensors are read, by `--i2s-layout` and `--tiling`.

    Args:
        i2s_layout, tiling: as they were given.
        files: those that are read; at least one of them must have weights that the options are about.

    Raises:
        UsageError: the options make no sense, or no sense for these files.
        BitnetError: a file cannot be read.
    """
    from bitnet_cli.formats.codecs import I2S_LAYOUTS, refuse_unused, ternary_codec_for
    from bitnet_cli.formats.codecs.tiling import GivenTilings
    from bitnet_cli.formats.gguf_reader import GGUFReader

    if i2s_layout is not None and i2s_layout not in I2S_LAYOUTS:
        known = ", ".join(f"`{name}`" for name in I2S_LAYOUTS)
        raise UsageError(f"I2_S has no layout `{printable(i2s_layout)}`", hint=f"there are {known}")
    tilings = GivenTilings.parse(tiling or ())
    refusals = []
    for file in files if i2s_layout is not None or tilings else ():
        with GGUFReader(file) as reader:
            try:
                refuse_unused(reader, i2s_layout, tilings)
            except UsageError as refusal:
                refusals.append(refusal)
    if files and len(refusals) == len(files):
        raise refusals[0]
    return partial(ternary_codec_for, i2s_layout=i2s_layout or "x86", tilings=tilings)


def reading_of_use(
    i2s_layout: str | None, tiling: list[str] | None, file: Path
) -> tuple[str | None, list[str] | None]:
    """`--i2s-layout` and `--tiling`, each as it was given or None if a file has no weights that it is about.

    Raises:
        BitnetError: the file cannot be read.
    """
    try:
        codec_for(i2s_layout, None, file)
    except UsageError:
        i2s_layout = None
    try:
        codec_for(None, tiling, file)
    except UsageError:
        tiling = None
    return i2s_layout, tiling


def refuse_reading(i2s_layout: str | None, tiling: list[str] | None, what: str) -> None:
    """UsageError if `--i2s-layout` or `--tiling` is given where no GGUF file is read.

    Args:
        i2s_layout, tiling: as they were given.
        what: stands in for the file, such as "PATH is a checkpoint".
    """
    for name, value in (("--tiling", tiling), ("--i2s-layout", i2s_layout)):
        if value:
            raise UsageError(f"`{name}` says how a GGUF file is read, and {what}", hint="leave it out")
