"""`bitnet verify`: is this file in order, and does it hold what it should?"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitnet_cli.cli.options import I2sLayoutOpt, JsonOpt, TilingOpt, codec_for
from bitnet_cli.cli.output import Progress, out
from bitnet_cli.errors import FormatError, UsageError, printable

if TYPE_CHECKING:
    from bitnet_cli.convert.source import Source
    from bitnet_cli.verify.report import KindResult
    from bitnet_cli.verify.report import VerifyReport as Report


def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="GGUF file.", show_default=False)],
    against: Annotated[
        Path | None,
        typer.Option(
            "--against",
            metavar="MODEL",
            help="Compare every weight with this checkpoint directory or GGUF file.",
            show_default=False,
        ),
    ] = None,
    ternarize: Annotated[
        bool, typer.Option("--ternarize", help="As for `convert`, of the checkpoint compared with.")
    ] = False,
    i2s_layout: I2sLayoutOpt = None,
    tiling: TilingOpt = None,
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
    with ExitStack() as stack:
        try:
            source = stack.enter_context(GGUFSource(file, codec_for(i2s_layout, tiling, file)))
        except FormatError as error:
            if json:
                out.json(VerifyReport(file, against, [Finding("", error.message)]).to_json())
            raise
        other: Source | None = None
        if against is not None:
            other = open_source(against, ternarize=ternarize)
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
            hint="download the file again, or make it again with `bitnet convert ... --verify`",
        )


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
