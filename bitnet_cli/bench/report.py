"""Results as records, and records as Markdown, JSON lines and CSV.

A record is one JSON object for one test; every format is made from records, so that all say the same.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bitnet_cli.bench.host import Host
from bitnet_cli.bench.measurement import OpTime, Result, share_of_bandwidth, share_of_int8_peak
from bitnet_cli.bench.roofline import Roofline
from bitnet_cli.bench.runner import ModelFacts
from bitnet_cli.bench.subject import Subject

Record = dict[str, Any]


def record(
    subject: Subject, facts: ModelFacts, result: Result, host: Host, limits: Roofline | None = None
) -> Record:
    """Everything about one test; docs/bench/README.md says what each key means."""
    test, weights, zeros = result.test, subject.weights, result.ffn_zeros
    return {
        "test": test.name,
        "model": facts.name,
        "threads": result.threads,
        "kernel": result.kernel,
        "isa": result.isa,
        "embed_type": facts.embed_type,
        "kv_type": result.kv_type,
        "skips_zeros": result.skips_zeros,
        "samples_tps": [round(tps, 4) for tps in result.samples_tps],
        "median_tps": round(result.median_tps, 4),
        "bytes_per_token": result.bytes_per_token,
        "bytes_read_per_token": result.bytes_read_per_token,
        "macs_per_token": result.macs_per_token,
        "bandwidth_gbps": None if limits is None else limits.bandwidth_gbps,
        "int8_gmacs": None if limits is None else limits.int8_gmacs,
        "share_of_bandwidth": None if limits is None else share_of_bandwidth(result, limits.bandwidth_gbps),
        "share_of_int8_peak": None if limits is None else share_of_int8_peak(result, limits.int8_gmacs),
        "joules_per_token": result.joules_per_token,
        "rival": result.rival,
        "rival_samples_tps": [round(tps, 4) for tps in result.rival_tps] or None,
        "ratio_to_rival": result.ratio_to_rival,
        "random_weights": weights is not None,
        "synthetic_gate": None if weights is None else weights.ffn_zeros,
        "ffn_zeros": None if zeros is None else {"gate": zeros.gate, "down": zeros.down},
        "cpu": host.cpu,
        "cores": host.cores,
        "compiler": host.compiler,
        "version": host.version,
        "commit": host.commit,
        "model_filename": None if subject.path is None else str(subject.path),
        "model_size": facts.weight_bytes,
        "n_prompt": test.n_prompt,
        "n_gen": test.n_gen,
        "n_depth": test.depth,
        "n_threads": result.threads,
        "n_batch": result.batch,
        "avg_ts": round(result.mean_tps, 4),
        "stddev_ts": round(result.stddev_tps, 4),
        "ops": [_op_record(test.is_prompt, op) for op in result.ops] or None,
    }


def _op_record(is_prompt: bool, op: OpTime) -> Record:
    def per_second(amount: float) -> float | None:
        """10⁹ a second, if there is anything to count."""
        return amount / (op.us_per_token * 1000) if op.us_per_token and amount else None

    return {
        "op": op.label,
        "us_per_token": round(op.us_per_token, 3),
        "share": round(op.share, 4),
        "gbps": None if is_prompt else per_second(op.bytes_per_token),
        "gmacs": per_second(op.macs_per_token),
    }


def json_line(rec: Record) -> str:
    """A record as one line."""
    return json.dumps(rec, ensure_ascii=False, allow_nan=False)


def csv_text(records: Sequence[Record]) -> str:
    """A line of names and a line for each record; lists and objects are JSON, null is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(records[0])
    for rec in records:
        writer.writerow(
            json.dumps(value) if isinstance(value, list | dict | bool) else value for value in rec.values()
        )
    return text.getvalue().rstrip("\n")


def markdown(records: Sequence[Record]) -> str:
    """What was measured on which machine, and a table of tests; after it the tables of ops, if there are any."""
    parts = [_heading(records), _tests(records), _costs(records)]
    parts += [_ops(rec) for rec in records if rec["ops"]]
    return "\n\n".join(part for part in parts if part is not None)


def _heading(records: Sequence[Record]) -> str:
    """The model, the machine and the build."""
    rec = records[0]
    labels = [f"**{rec['model']}**"]
    if rec["model_filename"] is not None:
        labels.append(Path(rec["model_filename"]).name)
    if rec["random_weights"]:
        labels.append("random weights")
    if rec["synthetic_gate"] is not None:
        labels.append("synthetic gate")
    commit = f", commit {rec['commit']}" if rec["commit"] else ""
    cores = f"{rec['cores']} core{'s' if rec['cores'] > 1 else ''}"
    lines = [
        f"- {rec['cpu']}, {cores}, {', '.join(dict.fromkeys(rec['isa'] for rec in records))}",
        f"- bitnet {rec['version']}{commit}, {rec['compiler']}",
        f"- {_weights(records)} of weights, head {rec['embed_type']}, cache {rec['kv_type']}",
    ]
    if rec["ffn_zeros"] is not None:
        gate, down = rec["ffn_zeros"]["gate"], rec["ffn_zeros"]["down"]
        use = "" if rec["skips_zeros"] else "; none is skipped"
        lines.append(f"- zeros: {_percent(gate)} after relu², {_percent(down)} of what `down` reads{use}")
    limits = {rec["threads"]: rec for rec in records if rec["bandwidth_gbps"] is not None}
    for n_threads, limit in limits.items():
        lines.append(
            f"- limits of {_threads(n_threads)}: {limit['bandwidth_gbps']:.1f} GB/s, "
            f"{limit['int8_gmacs']:.0f} int8 GMAC/s"
        )
    if rec["rival"] is not None:
        lines.append(f"- the other: `{rec['rival']}`")
    if all(rec["joules_per_token"] is None for rec in records):
        lines.append("- energy: not available")
    return ", ".join(labels) + "\n\n" + "\n".join(lines)


def _weights(records: Sequence[Record]) -> str:
    """Their size in memory; it depends on the kernel."""
    sizes = {rec["kernel"]: f"{rec['model_size'] / 1e6:.0f} MB" for rec in records}
    if len(set(sizes.values())) == 1:
        return next(iter(sizes.values()))
    return ", ".join(f"{size} ({kernel})" for kernel, size in sizes.items())


def _tests(records: Sequence[Record]) -> str:
    """Speeds, with what a token reads."""
    columns = {
        "test": [rec["test"] for rec in records],
        "threads": [str(rec["threads"]) for rec in records],
        "kernel": [rec["kernel"] for rec in records],
        "tok/s": [_rate(rec["median_tps"]) for rec in records],
        "min–max": [f"{_rate(min(rec['samples_tps']))}–{_rate(max(rec['samples_tps']))}" for rec in records],
        "MB/tok": [_megabytes(rec["bytes_per_token"]) for rec in records],
    }
    if any(rec["bytes_read_per_token"] is not None for rec in records):
        columns["read"] = [_megabytes(rec["bytes_read_per_token"]) for rec in records]
    return _table(columns, left=("test", "kernel"))


def _costs(records: Sequence[Record]) -> str | None:
    """What the speeds are of the machine's limits, and the energy, as far as they were measured."""
    columns = {
        "test": [rec["test"] for rec in records],
        "threads": [str(rec["threads"]) for rec in records],
    }
    for title, key, shown in (
        ("of memory bandwidth", "share_of_bandwidth", _percent),
        ("of int8 peak", "share_of_int8_peak", _percent),
        ("J/token", "joules_per_token", "{:.4g}".format),
        ("of the other's", "ratio_to_rival", "{:.2f} ×".format),
    ):
        if any(rec[key] is not None for rec in records):
            columns[title] = ["" if rec[key] is None else shown(rec[key]) for rec in records]
    return _table(columns, left=("test",)) if len(columns) > 2 else None


def _ops(rec: Record) -> str:
    ops, is_prompt = rec["ops"], rec["n_prompt"] > 0
    columns = {
        "op": [op["op"] for op in ops],
        "µs/token": [f"{op['us_per_token']:.1f}" for op in ops],
        "share": [_percent(op["share"]) for op in ops],
    }
    unit, key = ("GMAC/s", "gmacs") if is_prompt else ("GB/s", "gbps")
    columns[unit] = ["" if op[key] is None else f"{op[key]:.1f}" for op in ops]
    total = sum(op["us_per_token"] for op in ops)
    title = f"{rec['test']}, {_threads(rec['threads'])}: {total:.0f} µs a token in ops"
    return title + "\n\n" + _table(columns, left=("op",))


def _table(columns: dict[str, list[str]], left: Sequence[str]) -> str:
    """A Markdown table that reads well as plain text too."""
    widths = {name: max(len(cell) for cell in [name, *cells]) for name, cells in columns.items()}

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.ljust(widths[name]) if name in left else cell.rjust(widths[name])
            for name, cell in zip(columns, cells, strict=True)
        )
        return "| " + " | ".join(padded) + " |"

    rule = "|".join(
        "-" * (widths[name] + 2) if name in left else "-" * (widths[name] + 1) + ":" for name in columns
    )
    rows = zip(*columns.values(), strict=True)
    return "\n".join([line(list(columns)), f"|{rule}|", *(line(row) for row in rows)])


def _rate(tps: float) -> str:
    return f"{tps:.2f}" if tps < 100 else f"{tps:.1f}" if tps < 1000 else f"{tps:.0f}"


def _threads(n: int) -> str:
    return f"{n} thread{'s' if n > 1 else ''}"


def _megabytes(n_bytes: int | None) -> str:
    return "" if n_bytes is None else f"{n_bytes / 1e6:.1f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
