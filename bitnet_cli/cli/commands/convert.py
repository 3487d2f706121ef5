"""`bitnet convert`: a checkpoint directory or a GGUF file becomes one GGUF file."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitnet_cli.cli.model_argument import model_source
from bitnet_cli.cli.options import I2sLayoutOpt, JsonOpt, TilingOpt, YesOpt, codec_for, refuse_reading
from bitnet_cli.cli.output import Progress, out

if TYPE_CHECKING:
    from bitnet_cli.convert.report import ConvertReport, KindReport


def convert(
    src: Annotated[
        str,
        typer.Argument(
            help="Directory with config.json, *.safetensors and the tokenizer's files; or a GGUF file; or a short "
            "name or ORG/NAME.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="File to write. Default: the model's name and type, such as `MODEL-i2_s.gguf`, in the current "
            "directory.",
            show_default=False,
        ),
    ] = None,
    outtype: Annotated[
        str,
        typer.Option(
            "--outtype",
            metavar="TYPE",
            help="How ternary weights are stored: i2_s, tl1, tl2, tq1_0, tq2_0, q2_0, iq2_bn or f16.",
        ),
    ] = "i2_s",
    embed_type: Annotated[
        str | None,
        typer.Option(
            "--embed-type",
            metavar="TYPE",
            help="How embedding and output matrix are stored: f16, q8_0, q6_k, q4_0, q2_0 (if they are ternary "
            "themselves), or keep. Default: f16 from a checkpoint, keep from a GGUF file.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")] = False,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Read the file again and compare every weight with the source."),
    ] = False,
    ternarize: Annotated[
        bool,
        typer.Option("--ternarize", help="Round float weights although config.json does not say BitNet."),
    ] = False,
    i2s_layout: I2sLayoutOpt = None,
    tiling: TilingOpt = None,
    yes: YesOpt = False,
    json: JsonOpt = False,
) -> None:
    """Convert a Hugging Face checkpoint, or another GGUF file, to GGUF.

    Checkpoints may be packed, float master weights or ternary already, of the classes of BitNet, Llama, Qwen3
    and Gemma 3 text models. From a GGUF file of any ternary type the weights -1, 0, +1 and their scales are carried over
    exactly, unless the new type holds scales in f16, which is said; everything else in the file stays as it is. One
    matrix is in memory at a time.

    Examples:

      bitnet convert bitnet-b1.58-2B-4T

      bitnet convert bitnet-b1.58-2B-4T -o 2b.gguf --embed-type q6_k --verify

      bitnet convert 2b.gguf -o 2b-tq2_0.gguf --outtype tq2_0 --verify
    """
    from bitnet_cli.convert import pipeline

    codec_for(i2s_layout, tiling)  # What makes no sense is refused before anything is downloaded.
    source = model_source(src, yes=yes)
    if source.is_dir():
        refuse_reading(i2s_layout, tiling, f"{source} is a checkpoint")
        reading = codec_for(None, None)
    else:
        reading = codec_for(i2s_layout, tiling, source)
    target = output or pipeline.default_output(source, outtype)
    with ExitStack() as stack:
        bars: list[Progress] = []

        def show(progress: pipeline.Progress) -> None:
            if not bars:  # How much there is to do is known only now.
                bars.append(stack.enter_context(out.progress("converting", progress.total_bytes, "B")))
            bars[0].update(progress.done_bytes, progress.tensor)

        report = pipeline.convert(
            source,
            target,
            outtype=outtype,
            embed_type=embed_type,
            overwrite=force,
            verify=verify,
            ternarize=ternarize,
            codec_for=reading,
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
        f"made from: {encodings}; {report.seconds:.1f} s{checked}"
    )


def _row(kind: KindReport) -> tuple[str, ...]:
    scales = (kind.scale_min, kind.scale_max)
    return (
        kind.kind,
        kind.type,
        str(kind.count),
        str(kind.weights),
        "-" if kind.zeros is None else f"{100 * kind.zeros / kind.weights:.1f} %",
        *("-" if scale is None else f"{scale:.6g}" for scale in scales),
        f"{kind.max_error:.3g}",
    )
