"""`bitnet verify`: is this file in order, and does it hold what it should?"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from bitnet_cli.cli.model_argument import model_file, model_source
from bitnet_cli.cli.options import I2sLayoutOpt, JsonOpt, TilingOpt, YesOpt, codec_for
from bitnet_cli.cli.output import Progress, out
from bitnet_cli.errors import FormatError, UsageError, printable

if TYPE_CHECKING:
    from bitnet_cli.convert.source import Source
    from bitnet_cli.formats.codecs import CodecFor
    from bitnet_cli.formats.codecs.ternary_codec import TernaryCodec
    from bitnet_cli.formats.gguf_reader import GGUFReader, TensorInfo
    from bitnet_cli.verify.report import KindResult
    from bitnet_cli.verify.report import VerifyReport as Report


def verify(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="GGUF file, short name or ORG/NAME.", show_default=False)
    ],
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="MODEL",
            help="Compare every weight with this checkpoint directory, GGUF file, short name or ORG/NAME.",
            show_default=False,
        ),
    ] = None,
    ternarize: Annotated[
        bool, typer.Option("--ternarize", help="As for `convert`, of the checkpoint compared with.")
    ] = False,
    i2s_layout: I2sLayoutOpt = None,
    tiling: TilingOpt = None,
    yes: YesOpt = False,
    json: JsonOpt = False,
) -> None:
    """Check a GGUF file: codes, scales, numbers, padding, metadata, tokenizer.

    Everything in the file is read. With --against every weight is compared; what rounding to the types of the file
    explains (f16 scales, quantised embeddings) is shown and is no problem. The exit code is 1 if there are problems.

    Examples:

      bitnet verify model.gguf

      bitnet verify model.gguf --against bitnet-b1.58-2B-4T

      bitnet verify model-tl2.gguf --against model.gguf --json
    """
    from bitnet_cli.convert.gguf_source import GGUFSource
    from bitnet_cli.convert.pipeline import open_source
    from bitnet_cli.verify.file_check import check_file, total_bytes
    from bitnet_cli.verify.report import Finding, VerifyReport

    if ternarize and against is None:
        raise UsageError(
            "`--ternarize` is for the checkpoint of `--against`",
            hint="leave it out, or add `--against DIRECTORY`",
        )
    file = model_file(model, yes=yes)
    assert file is not None
    original = None if against is None else model_source(against, yes=yes)
    files = [file] if original is None or not original.is_file() else [file, original]
    with ExitStack() as stack:
        try:
            reading = codec_for(i2s_layout, tiling, *files)
            if original is not None:
                reading = _of_two(i2s_layout, tiling)
            source = stack.enter_context(GGUFSource(file, reading))
        except FormatError as error:
            if json:
                out.json(VerifyReport(file, original, [Finding("", error.message, error.hint)]).to_json())
            raise
        other: Source | None = None
        if original is not None:
            # The layout is that of the first file with I2_S weights.
            layout = None if _has_i2s(source.reader) else i2s_layout
            other = open_source(original, ternarize=ternarize, codec_for=_of_two(layout, tiling))
            stack.callback(other.close)
        bar: Progress = stack.enter_context(out.progress("checking", total_bytes(source, other), "B"))
        done = 0

        def show(n_bytes: int, tensor: str) -> None:
            nonlocal done
            done += n_bytes
            bar.update(done, tensor)

        report = check_file(source, other, show)
    if json:
        out.json(report.to_json())
    else:
        _print(report)
    if not report.ok:
        n = len(report.problems)
        raise FormatError(
            f"{n} problem{'s' if n > 1 else ''} found",
            path=file,
            hint=report.problems[0].hint
            or "download the file again, or make it again with `bitnet convert ... --verify`",
        )


def _has_i2s(reader: GGUFReader) -> bool:
    from bitnet_cli.formats.gguf_types import GGMLType

    return any(info.type == GGMLType.I2_S for info in reader.tensors.values())


def _of_two(i2s_layout: str | None, tiling: list[str] | None) -> CodecFor:
    """How one of two files is read: `--tiling` may be meant for the other one, so what a file records goes first."""
    from bitnet_cli.formats.codecs.tiling import tiling_key
    from bitnet_cli.formats.gguf_types import GGMLType

    own, given = codec_for(i2s_layout, None), codec_for(i2s_layout, tiling)

    def found(reader: GGUFReader, info: TensorInfo) -> TernaryCodec:
        is_tiled = info.type in (GGMLType.TL1, GGMLType.TL2)
        return (own if is_tiled and tiling_key(info.type) in reader.metadata else given)(reader, info)

    return found


def _print(report: Report) -> None:
    columns = ["tensors", "type", "count", "weights", "checked", "bad"]
    if report.against is not None:
        columns += ["different", "largest"]
    out.table("", columns, [_row(kind, report.against is not None) for kind in report.kinds.values()])
    for finding in report.problems:
        out.data(f"problem: {printable(str(finding), 300)}")
    for finding in report.remarks:
        out.data(f"remark: {printable(str(finding), 300)}")
    if report.ok:
        compared = f", compared with {report.against}" if report.against is not None else ""
        out.data(f"{printable(str(report.path), 200)}: no problems{printable(compared, 200)}")


def _row(kind: KindResult, compared: bool) -> tuple[str, ...]:
    cells = [printable(kind.kind, 24), kind.type, str(kind.count), str(kind.weights), kind.checked]
    cells.append(str(kind.problems))
    if compared:
        cells += ["-" if kind.different is None else str(kind.different)]
        cells += ["-" if kind.largest is None else f"{kind.largest:.3g}"]
    return tuple(cells)
