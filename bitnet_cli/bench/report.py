"""Results as rows of data: the fields of the JSON, and the same as lines for people."""

from __future__ import annotations

import csv
import io
import json
import statistics
from dataclasses import dataclass
from typing import Any

from bitnet_cli.bench.host import Host
from bitnet_cli.bench.runner import Measurement

FORMATS = ("md", "json", "jsonl", "csv")


@dataclass(frozen=True)
class Subject:
    """The model that was measured."""

    name: str
    filename: str | None
    size: int
    """Bytes of weights in memory: ternary matrices and head."""
    n_ternary_weights: int
    embed_type: str
    kv_type: str
    random_weights: bool
    gate_zeros: float | None = None
    """Share of relu² outputs that are zero, measured; None without relu²."""
    down_zeros: float | None = None
    """Share of the down projection's int8 inputs that are zero, measured."""
    synthetic_gate: bool = False


def to_json(m: Measurement, subject: Subject, host: Host) -> dict[str, Any]:
    """One test as the object that `-o json` prints. Rates are rounded to what means something."""
    limits = m.limits
    return {
        "test": m.test.name,
        "model": subject.name,
        "threads": m.threads,
        "kernel": m.kernel,
        "isa": m.isa,
        "embed_type": subject.embed_type,
        "kv_type": subject.kv_type,
        "samples_tps": [round(tps, 3) for tps in m.samples_tps],
        "median_tps": round(m.median_tps, 3),
        "bytes_per_token": m.bytes_per_token,
        "bytes_read_per_token": m.bytes_read_per_token,
        "macs_per_token": m.macs_per_token,
        "bandwidth_gbps": round(limits.bandwidth_gbps, 2) if limits else None,
        "int8_gmacs": round(limits.int8_gmacs, 1) if limits else None,
        "share_of_bandwidth": _rounded(m.share_of_bandwidth),
        "share_of_int8_peak": _rounded(m.share_of_int8_peak),
        "rival_samples_tps": [round(tps, 3) for tps in m.rival_tps],
        "ratio_to_rival": _rounded(m.median_tps / statistics.median(m.rival_tps)) if m.rival_tps else None,
        "joules_per_token": _rounded(m.joules_per_token),
        "random_weights": subject.random_weights,
        "synthetic_gate": subject.synthetic_gate,
        "gate_zeros": _rounded(subject.gate_zeros),
        "down_zeros": _rounded(subject.down_zeros),
        "ops": [
            {"op": op.name, "us_per_token": round(op.us_per_token, 2), "bytes_per_token": op.bytes_per_token,
             "macs_per_token": op.macs_per_token}
            for op in m.ops
        ],
        **host.to_json(),
        # The names of llama-bench, so that whatever reads its output reads ours.
        "model_filename": subject.filename,
        "model_size": subject.size,
        "model_n_params": subject.n_ternary_weights,
        "n_prompt": m.test.n_prompt,
        "n_gen": m.test.n_gen,
        "n_depth": m.test.depth,
        "n_threads": m.threads,
        "avg_ts": round(statistics.fmean(m.samples_tps), 3),
        "stddev_ts": round(statistics.pstdev(m.samples_tps), 3),
        "samples_ts": [round(tps, 3) for tps in m.samples_tps],
    }  # fmt: skip


def formatted(results: list[dict[str, Any]], form: str) -> str:
    """The results as `json`, `jsonl` or `csv` text."""
    if form == "json":
        return json.dumps(results, indent=2, ensure_ascii=False)
    if form == "jsonl":
        return "\n".join(json.dumps(result, ensure_ascii=False) for result in results)
    text = io.StringIO()
    names = [name for name in results[0] if name != "ops"] if results else []
    writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for result in results:
        lists = {k: " ".join(map(str, v)) for k, v in result.items() if isinstance(v, list) and k in names}
        writer.writerow({**result, **lists})
    return text.getvalue().rstrip("\n")


def heading(subject: Subject, host: Host, measurements: list[Measurement]) -> list[str]:
    """What the numbers below stand for, in lines of at most 80 columns."""
    lines = [
        f"{host.cpu}, {host.physical_cores} physical cores, {host.system}",
        f"bitnet {host.version}" + (f" ({host.commit})" if host.commit else "") + f", {host.compiler}",
        f"{subject.name}{', random weights' if subject.random_weights else ''}: "
        f"{subject.n_ternary_weights / 1e9:.2f} G ternary weights, {subject.embed_type} head, "
        f"{subject.kv_type} cache",
    ]
    if subject.gate_zeros is not None and subject.down_zeros is not None:
        made = "synthetic gate: " if subject.synthetic_gate else ""
        lines.append(
            f"{made}{100 * subject.gate_zeros:.0f} % of gates shut, "
            f"{100 * subject.down_zeros:.0f} % of the down projection's inputs zero"
        )
    if all(m.joules_per_token is None for m in measurements):
        lines.append("energy: not available")
    return lines


def table(measurements: list[Measurement]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Columns and rows of the table for people."""
    limited = any(m.limits for m in measurements)
    energy = any(m.joules_per_token is not None for m in measurements)
    columns = ["test", "thr", "kernel", "isa", "MB/token", "tokens/s", "min-max"]
    columns += ["of limit"] if limited else []
    columns += ["J/token"] if energy else []
    rows = []
    for m in measurements:
        n_bytes = m.bytes_per_token if m.bytes_read_per_token is None else m.bytes_read_per_token
        row = [m.test.name, str(m.threads), m.kernel, m.isa, f"{n_bytes / 1e6:.0f}", f"{m.median_tps:.2f}"]
        row.append(f"{min(m.samples_tps):.1f}-{max(m.samples_tps):.1f}")
        if limited:
            share = m.share_of_bandwidth if m.test.n_gen else m.share_of_int8_peak
            row.append(f"{100 * share:.0f} % {'mem' if m.test.n_gen else 'int8'}" if share is not None else "")
        if energy:
            row.append("" if m.joules_per_token is None else f"{m.joules_per_token:.3f}")
        rows.append(tuple(row))
    return tuple(columns), rows


def rival_table(measurements: list[Measurement]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Ours against another program's, medians of alternating samples."""
    rows = []
    for m in measurements:
        theirs = statistics.median(m.rival_tps)
        ours = m.median_tps
        rows.append((m.test.name, str(m.threads), f"{ours:.2f}", f"{theirs:.2f}", f"{ours / theirs:.2f}"))
    return ("test", "thr", "bitnet", "other", "ratio"), rows


def limits_line(measurements: list[Measurement]) -> list[str]:
    """The limits of this machine by thread count, a line each."""
    found = {m.threads: m.limits for m in measurements if m.limits}
    return [
        f"limits with {threads} thread{'s' if threads > 1 else ''}: memory {limits.bandwidth_gbps:.1f} GB/s, "
        f"int8 {limits.int8_gmacs:.0f} GMAC/s"
        for threads, limits in found.items()
    ]


def ops_table(m: Measurement) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Where the time of one test went."""
    total = sum(op.us_per_token for op in m.ops)
    rate = "GB/s" if m.test.n_gen else "GMAC/s"
    rows = []
    for op in m.ops:
        amount = op.bytes_per_token if m.test.n_gen else op.macs_per_token
        shown = f"{amount / op.us_per_token / 1e3:.1f}" if amount and op.us_per_token > 0 else ""
        rows.append((op.name, f"{op.us_per_token:.1f}", f"{100 * op.us_per_token / total:.1f} %", shown))
    return ("op", "us/token", "share", rate), rows


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
