"""`bitnet convert`: a checkpoint directory becomes one GGUF file."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitnet_cli.cli.model_argument import model_source
from bitnet_cli.cli.options import JsonOpt, YesOpt
from bitnet_cli.cli.output import Progress, out
from bitnet_cli.errors import UsageError, printable

if TYPE_CHECKING:
    from bitnet_cli.convert.report import ConvertReport, KindReport


def convert(
    src: Annotated[
        str,
        typer.Argument(
            help="Directory with config.json, *.safetensors and the tokenizer's files; or a short name or ORG/NAME."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="File to write. Default: the model's name and `-i2_s.gguf`, in the current directory.",
            show_default=False,
        ),
    ] = None,
    outtype: Annotated[
        str, typer.Option("--outtype", metavar="TYPE", help="How ternary weights are stored: i2_s.")
    ] = "i2_s",
    embed_type: Annotated[
        str,
        typer.Option(
            "--embed-type",
            metavar="TYPE",
            help="How embedding and output matrix are stored: f16, q8_0 or q6_k.",
        ),
    ] = "f16",
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")] = False,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Read the file again and compare every weight with the checkpoint."),
    ] = False,
    ternarize: Annotated[
        bool,
        typer.Option("--ternarize", help="Round float weights although config.json does not say BitNet."),
    ] = False,
    yes: YesOpt = False,
    json: JsonOpt = False,
) -> None:
    """Convert a Hugging Face checkpoint to GGUF.

    Takes packed BitNet checkpoints, float master weights and weights that are ternary already, of the classes
    BitNetForCausalLM and LlamaForCausalLM. Memory stays within a few hundred megabytes.

    Examples:

      bitnet convert bitnet-b1.58-2B-4T

      bitnet convert bitnet-b1.58-2B-4T -o 2b.gguf --embed-type q6_k --verify
    """
    from bitnet_cli.convert import pipeline

    if outtype != "i2_s":
        raise UsageError(
            f"`--outtype {printable(outtype)}` is not supported", hint="the only type so far is `i2_s`"
        )
    source = model_source(src, yes=yes)
    target = output or pipeline.default_output(source)
    with ExitStack() as stack:
        bars: list[Progress] = []

        def show(progress: pipeline.Progress) -> None:
            if not bars:  # How much there is to do is known only now.
                bars.append(stack.enter_context(out.progress("converting", progress.total_bytes, "B")))
            bars[0].update(progress.done_bytes, progress.tensor)

        report = pipeline.convert(
            source,
            target,
            embed_type=embed_type,
            overwrite=force,
            verify=verify,
            ternarize=ternarize,
            progress=show,
        )
    if json:
        out.json(report.to_dict())
    else:
        _print(report)


def _print(report: ConvertReport) -> None:
    columns = (
        "tensors",
        "type",
        "count",
        "weights",
        "zeros",
        "scale min",
        "scale max",
        "max error",
    )
    out.table("", columns, [_row(kind) for kind in report.kinds.values()])
    encodings = ", ".join(f"{count} {name}" for name, count in report.encodings.items())
    checked = "; every weight was compared" if report.verified else ""
    for note in report.notes:
        out.note(f"note: {note}")
    out.note(
        f"{report.path}: {report.size_bytes / 1e6:.1f} MB, architecture {report.architecture}, "
        f"matrices: {encodings}; {report.seconds:.1f} s{checked}"
    )


def _row(kind: KindReport) -> tuple[str, ...]:
    scales = (kind.scale_min, kind.scale_max)
    return (
        kind.kind,
        kind.type,
        str(kind.count),
        str(kind.weights),
        f"{100 * kind.zeros / kind.weights:.1f} %",
        *("-" if scale is None else f"{scale:.6g}" for scale in scales),
        f"{kind.max_error:.3g}",
    )
