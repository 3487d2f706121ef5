"""`bitnet bench`: speed, as a share of what the machine can do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitnet_cli.cli.options import IsaOpt, KernelOpt, ModelOpt, bench_format
from bitnet_cli.cli.output import out
from bitnet_cli.errors import BitnetError

if TYPE_CHECKING:
    from bitnet_cli.bench.report import Subject
    from bitnet_cli.bench.runner import Measurement
    from bitnet_cli.bench.work import Work


def bench(
    model: ModelOpt = None,
    shape: Annotated[
        str | None,
        typer.Option(
            "--shape",
            metavar="NAME",
            help="Instead of a file: random weights in the shape of bitnet-2b-4t, bitnet-large, bitnet-3b, "
            "llama3-8b, falcon3-1b, falcon3-3b, falcon3-7b, falcon3-10b or mini.",
        ),
    ] = None,
    n_prompt: Annotated[
        str, typer.Option("-p", "--n-prompt", metavar="N,..", help="Prompt tokens; 0: no such test.")
    ] = "512",
    n_gen: Annotated[
        str, typer.Option("-n", "--n-gen", metavar="N,..", help="Generated tokens; 0: no such test.")
    ] = "128",
    depth: Annotated[
        str, typer.Option("-d", "--n-depth", metavar="N,..", help="Tokens that are in the cache before.")
    ] = "0",
    threads: Annotated[
        str | None,
        typer.Option(
            "-t", "--threads", metavar="N,..", help="Threads. Default: the physical cores.", show_default=False
        ),
    ] = None,
    repetitions: Annotated[
        int, typer.Option("-r", "--repetitions", metavar="N", min=1, max=1000, help="Samples of each test.")
    ] = 5,
    batch_size: Annotated[
        int, typer.Option("-b", "--batch-size", metavar="N", min=1, max=65536, help="Tokens evaluated together.")
    ] = 256,
    kernel: KernelOpt = None,
    isa: IsaOpt = None,
    dense: Annotated[bool, typer.Option("--dense", help="Read what meets a zero, too.")] = False,
    embed_type: Annotated[
        str, typer.Option("--embed-type", metavar="TYPE", help="Head of a --shape: f16, q8_0, q6_k or q4_0.")
    ] = "q6_k",
    kv_type: Annotated[
        str, typer.Option("--kv-type", metavar="TYPE", help="KV cache: f32, f16 or i8.")
    ] = "f16",
    ffn_zeros: Annotated[
        float | None,
        typer.Option(
            "--ffn-zeros", metavar="SHARE", help="Make the gates of a --shape so that this share is shut."
        ),
    ] = None,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE", help="Write the --shape as GGUF; measure nothing.")
    ] = None,
    roofline: Annotated[
        bool, typer.Option("--roofline", help="Measure the machine's limits too; show shares of them.")
    ] = False,
    ops: Annotated[bool, typer.Option("--ops", help="Show where a token's time goes.")] = False,
    kernels: Annotated[
        bool, typer.Option("--kernels", help="Time every kernel of this CPU alone; no model.")
    ] = False,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="COMMAND",
            help="Alternate with a program that prints llama-bench's JSON, such as 'llama-bench -m x.gguf', or "
            "with `llama-cpp` (llama-cpp-python and the same -m).",
        ),
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option("--baseline", metavar="FILE", help="Compare with an earlier -o json.")
    ] = None,
    max_regression: Annotated[
        str, typer.Option("--max-regression", metavar="SHARE", help="Loss against --baseline that is an error.")
    ] = "5%",
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="FORMAT", help="md, json, jsonl or csv.", callback=bench_format)
    ] = "md",
) -> None:
    """Measure speed on this machine.

    Tests are named as by llama-bench: pp512 evaluates 512 prompt tokens, tg128 generates 128. Random tokens; median of
    the samples after a warm-up. With no model given, the small built-in one is measured.

    Examples:

      bitnet bench -m model.gguf -t 1,2 --roofline

      bitnet bench --shape bitnet-2b-4t --ops

      bitnet bench -m model.gguf -o json --baseline before.json
    """
    from bitnet_cli.bench.work import Work, counts

    if kernels:
        _show_kernels(isa, output)
        return
    work = Work(
        model=model, shape=shape, embed_type=embed_type, ffn_zeros=ffn_zeros, kernel=kernel or "auto",
        skip_zeros=not dense, isa=isa, kv_type=kv_type, repetitions=repetitions, max_batch=batch_size,
        n_prompt=counts(n_prompt, "-p"), n_gen=counts(n_gen, "-n"), depths=counts(depth, "-d"),
        threads=counts(threads, "-t", 1, 256) if threads is not None else None,
        roofline=roofline, ops=ops, against=against,
    )  # fmt: skip
    if save is not None:
        work.save(save)
        out.note(f"wrote {save}")
        return
    if baseline is not None:
        from bitnet_cli.bench.baseline import parse_share, read_baseline

        limit, before = parse_share(max_regression), read_baseline(baseline)
    results, measured = [], []
    for measurement, subject, result in work.run(out.note):
        results.append(result)
        measured.append((measurement, subject))
        if output == "jsonl":
            out.data(_text([result], output))
    if output == "md":
        _show(measured, work)
    elif output != "jsonl":
        out.data(_text(results, output))
    if baseline is not None:
        _compare(results, before, limit)


def _text(results: list[dict[str, object]], output: str) -> str:
    from bitnet_cli.bench.report import formatted

    return formatted(results, output)


def _show(measured: list[tuple[Measurement, Subject]], work: Work) -> None:
    from bitnet_cli.bench.report import heading, limits_line, ops_table, rival_table, table

    measurements = [m for m, _ in measured]
    for line in [*heading(measured[-1][1], work.host, measurements), *limits_line(measurements)]:
        out.data(line)
    out.data("")
    out.markdown(*table(measurements))
    if work.against:
        out.data("")
        out.markdown(*rival_table(measurements))
    for m in measurements:
        if m.ops:
            out.data(f"\n{m.test.name}, {m.threads} thread{'s' if m.threads > 1 else ''}:\n")
            out.markdown(*ops_table(m))


def _show_kernels(isa: str | None, output: str) -> None:
    from bitnet_cli.bench.kernels import kernel_table, time_kernels
    from bitnet_cli.bench.report import formatted

    timings = time_kernels(isa)
    if output == "md":
        out.markdown(*kernel_table(timings))
    else:
        out.data(formatted([timing.to_json() for timing in timings], output))


def _compare(results: list[dict[str, object]], before: dict, limit: float) -> None:  # type: ignore[type-arg]
    from bitnet_cli.bench.baseline import compare

    worse = []
    for c in compare(results, before):
        line = f"{c.name}: {c.what} {c.now:.4g}, was {c.before:.4g} ({100 * (c.ratio - 1):+.1f} %)"
        out.note(line)
        if c.regressed(limit):
            worse.append(line)
    if worse:
        raise BitnetError(
            f"slower by more than {100 * limit:g} %: " + "; ".join(worse),
            hint="run it again on a quiet machine; with --roofline shares of the machine's limits are compared",
        )


