"""`bitnet bench`: how fast a model runs here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bitnet_cli.cli.bench_arguments import counts, percent, refuse_beside_kernels, subject_of
from bitnet_cli.cli.options import (
    I2sLayoutOpt,
    IsaOpt,
    KernelOpt,
    KvTypeOpt,
    ModelOpt,
    TilingOpt,
    YesOpt,
    codec_for,
    refuse_reading,
)
from bitnet_cli.cli.output import out
from bitnet_cli.errors import UsageError

if TYPE_CHECKING:
    from bitnet_cli.bench.report import Record
    from bitnet_cli.bench.subject import Subject


def bench(
    model: ModelOpt = None,
    shape: Annotated[
        str | None,
        typer.Option(
            "--shape",
            metavar="NAME",
            help="Random weights instead of a file: bitnet-2b-4t, bitnet-large, bitnet-3b, llama3-8b, falcon3-1b, "
            "falcon3-3b, falcon3-7b, falcon3-10b.",
        ),
    ] = None,
    embed_type: Annotated[
        str | None,
        typer.Option(
            "--embed-type",
            metavar="TYPE",
            help="Head of a random model: f16, q8_0, q6_k, q4_0, q2_0. Default: q6_k, or q2_0 where the shape's head is "
            "ternary.",
        ),
    ] = None,
    ffn_zeros: Annotated[
        float | None,
        typer.Option(
            "--ffn-zeros", metavar="SHARE", help="Share of gates that a random relu² model shuts, 0 to 1."
        ),
    ] = None,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE", help="Also write the random model as GGUF.")
    ] = None,
    n_prompt: Annotated[
        str, typer.Option("-p", "--n-prompt", metavar="N,…", help="Tokens of a prompt; 0: none.")
    ] = "512",
    n_gen: Annotated[
        str, typer.Option("-n", "--n-gen", metavar="N,…", help="Tokens one by one; 0: none.")
    ] = "128",
    n_depth: Annotated[
        str, typer.Option("-d", "--n-depth", metavar="N,…", help="Tokens already in the context.")
    ] = "0",
    threads: Annotated[
        str | None,
        typer.Option("-t", "--threads", metavar="N,…", help="Threads. Default: the physical cores."),
    ] = None,
    repetitions: Annotated[
        int, typer.Option("-r", "--repetitions", metavar="N", min=1, help="Timed runs of each test.")
    ] = 5,
    batch: Annotated[
        int, typer.Option("-b", "--batch-size", metavar="N", min=1, help="Prompt tokens at a time, at most.")
    ] = 256,
    isa: IsaOpt = None,
    kernel: KernelOpt = None,
    kv_type: KvTypeOpt = None,
    i2s_layout: I2sLayoutOpt = None,
    tiling: TilingOpt = None,
    dense: Annotated[bool, typer.Option("--dense", help="Skip no zeros: read every weight.")] = False,
    roofline: Annotated[
        bool, typer.Option("--roofline", help="Measure the machine's limits too; show shares of them.")
    ] = False,
    ops: Annotated[bool, typer.Option("--ops", help="Show where the time goes, op by op.")] = False,
    kernels: Annotated[
        bool, typer.Option("--kernels", help="Time every kernel alone instead of a model.")
    ] = False,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="COMMAND",
            help="Alternate with a program that prints llama-bench's JSON, or with llama-cpp (llama-cpp-python).",
        ),
    ] = None,
    output: Annotated[
        Literal["md", "json", "jsonl", "csv"], typer.Option("-o", "--output", help="Format of the results.")
    ] = "md",
    baseline: Annotated[
        Path | None,
        typer.Option("--baseline", metavar="FILE", help="Compare with results of `-o json`; slower: exit 1."),
    ] = None,
    max_regression: Annotated[
        str | None,
        typer.Option("--max-regression", metavar="PERCENT", help="How much slower is too slow. Default: 5%."),
    ] = None,
    yes: YesOpt = False,
) -> None:
    """Measure tokens per second, for prompts and one by one.

    Random tokens are evaluated; tokenising and sampling are not measured. Lists such as -t 1,2 measure every
    combination. Results go to stdout, progress to stderr.

    Examples:

      bitnet bench

      bitnet bench -m model.gguf -p 512 -n 128 -t 1,2 --ops

      bitnet bench --shape bitnet-2b-4t --ffn-zeros 0.9 -o json
    """
    from bitnet_cli.bench.baseline import read_baseline
    from bitnet_cli.bench.host import this_host
    from bitnet_cli.bench.report import csv_text, json_line, markdown, record
    from bitnet_cli.bench.rival import needs_file
    from bitnet_cli.bench.runner import Schedule, cross, run
    from bitnet_cli.bench.subject import EngineChoices
    from bitnet_cli.engine.options import EngineOptions
    from bitnet_cli.native import physical_cores

    if kernels:
        refuse_beside_kernels(
            {"-m": model, "--shape": shape, "--save": save, "-t": threads, "--kernel": kernel, "--dense": dense or None,
             "--kv-type": kv_type, "--i2s-layout": i2s_layout, "--tiling": tiling, "--roofline": roofline or None,
             "--ops": ops or None, "--against": against,
             "--baseline": baseline, "--max-regression": max_regression}
        )  # fmt: skip
        _time_kernels(output, isa)
        return
    reading = codec_for(i2s_layout, tiling)
    if shape is not None:
        refuse_reading(i2s_layout, tiling, "the weights of `--shape` are random")
    subject = subject_of(model, shape, embed_type, ffn_zeros, save, yes, reading)
    if subject.path is not None:
        codec_for(i2s_layout, tiling, subject.path)
    tests = cross(counts("-p", n_prompt, 0), counts("-n", n_gen, 0), counts("-d", n_depth, 0))
    n_threads = counts("-t", threads, 1, 256) if threads is not None else (min(physical_cores(), 256),)
    engine = EngineOptions(kernel or "auto", skip_zeros=not dense)
    choices = EngineChoices(isa, engine, batch, kv_type or "f16")
    limit = percent(max_regression)
    if max_regression is not None and baseline is None:
        raise UsageError("`--max-regression` needs a `--baseline`", hint="`--baseline FILE.json`")
    rival_model = subject.path or save
    if against is not None and rival_model is None and needs_file(against):
        raise UsageError(
            "`--against` has no file to give to the other program: these weights are in memory only",
            hint="write them with `--save FILE`, or name a model in its command with `-m`",
        )
    before = read_baseline(baseline) if baseline is not None else []
    if save is not None:
        _save(subject, save)
    if not tests:
        if save is not None:
            return
        raise UsageError("there is nothing to measure", hint="give `-p` or `-n` a number above 0")
    host, records = this_host(), []
    schedule = Schedule(tests, n_threads, repetitions, ops, roofline, against, rival_model)
    with out.progress("bench", schedule.n_stages, "stages") as bar:
        for facts, result, limits in run(subject, choices, schedule, bar.update):
            records.append(record(subject, facts, result, host, limits))
            if output == "jsonl":
                out.data(json_line(records[-1]))
    if output == "json":
        out.json(records)
    elif output != "jsonl":
        out.data(markdown(records) if output == "md" else csv_text(records))
    if baseline is not None:
        _judge(records, before, baseline, limit)


def _time_kernels(output: str, isa: str | None) -> None:
    from bitnet_cli.bench.kernels import COLUMNS, as_json, table, time_kernels
    from bitnet_cli.bench.report import csv_text, json_line
    from bitnet_cli.native.timing import kernel_count

    with out.progress("kernels", kernel_count(), "kernels") as bar:
        times = time_kernels(isa=isa, progress=lambda done, _: bar.update(done))
    if output == "md":
        out.table("", COLUMNS, table(times))
    elif output == "json":
        out.json(as_json(times))
    elif output == "csv":
        out.data(csv_text(as_json(times)))
    else:
        for rec in as_json(times):
            out.data(json_line(rec))


def _save(subject: Subject, path: Path) -> None:
    from bitnet_cli.bench.saved_model import save

    assert subject.weights is not None
    with out.progress(f"writing {path.name}", subject.weights.shape.n_layers, "layers") as bar:
        n_bytes = save(subject.weights, path, bar.update)
    out.note(f"wrote {path}, {n_bytes / 1e6:.0f} MB of random weights")


def _judge(records: list[Record], before: list[Record], path: Path, limit: float) -> None:
    """Says what became slower, a sentence each, and ends with exit code 1 if anything did."""
    from bitnet_cli.bench.baseline import compare

    comparisons, new = compare(records, before, path)
    for name in new:
        out.note(f"note: the baseline has no {name}")
    slower = [comparison for comparison in comparisons if comparison.loss > limit]
    for comparison in slower:
        out.error(comparison.sentence(), None)
    if slower:
        raise typer.Exit(1)
    measures = ", ".join(sorted({comparison.measure for comparison in comparisons}))
    out.note(
        f"{len(comparisons)} of {len(records)} compared with {path} by {measures}: none slower by {100 * limit:g} %"
    )
