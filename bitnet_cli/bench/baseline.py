"""Comparison with earlier results: what became slower, and by how much.

Where both sides know the limits of their machine, tokens per second are divided by the limit that holds them back, memory
for single tokens and int8 products for prompts, so that a machine that is slower today, or another one, does not pass for
slower code. Shares of the limit would not do: code that reads less has a smaller share and is faster.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitnet_cli.bench.report import Record
from bitnet_cli.errors import FormatError, UsageError

KEYS: dict[str, tuple[type, ...]] = {
    "test": (str,),
    "threads": (int,),
    "kernel": (str,),
    "isa": (str,),
    "embed_type": (str,),
    "model": (str,),
    "kv_type": (str,),
    "n_batch": (int,),
    "skips_zeros": (bool,),
    "synthetic_gate": (float, int, type(None)),
}
"""What must be equal for two records to be of the same thing, and its type in JSON."""
LIMITS = {"bandwidth_gbps": "tok/s per GB/s of memory", "int8_gmacs": "tok/s per int8 GMAC/s"}
"""What tokens per second may be divided by, and what that is called."""
_HINT = "make one with `bitnet bench -o json > FILE`"


@dataclass(frozen=True)
class Comparison:
    """One test, before and now."""

    name: str
    """The test, the threads and what else names it."""
    measure: str
    """What is compared: `tok/s` or one of LIMITS."""
    before: float
    now: float

    @property
    def loss(self) -> float:
        """How much slower it is, as a share of before; negative if faster."""
        return 1 - self.now / self.before

    def sentence(self) -> str:
        """What a person is told about a regression."""
        return (
            f"{self.name} is {100 * self.loss:.1f} % slower than the baseline, by {self.measure}: "
            f"{self.before:.4g} before, {self.now:.4g} now"
        )


def read_baseline(path: Path) -> list[Record]:
    """The records of a file that `bitnet bench -o json` wrote.

    Raises:
        FormatError: it is none.
        OSError: it cannot be read.
    """
    try:
        records = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise FormatError("the baseline is not JSON", path=path, hint=_HINT) from None
    if not isinstance(records, list):
        raise FormatError("a baseline is an array of results", path=path, hint=_HINT)
    if not records:
        raise FormatError("the baseline holds no results", path=path, hint=_HINT)
    for i, rec in enumerate(records):
        missing = _what_is_wrong(rec)
        if missing is not None:
            raise FormatError(f"result {i + 1} of the baseline {missing}", path=path, hint=_HINT)
    return records


def _what_is_wrong(rec: Any) -> str | None:
    if not isinstance(rec, dict):
        return "is no object"
    for key, kinds in KEYS.items():
        if key not in rec or type(rec[key]) not in kinds:
            return f"has no valid `{key}`"
    if not _is_positive(rec.get("median_tps")):
        return "has no valid `median_tps`"
    for key in LIMITS:
        if rec.get(key) is not None and not _is_positive(rec[key]):
            return f"has no valid `{key}`"
    return None


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e300


def compare(
    records: Sequence[Record], baseline: Sequence[Record], path: Path
) -> tuple[list[Comparison], list[str]]:
    """Compares what is in both.

    Returns:
        the comparisons, and the names of tests that the baseline does not have.

    Raises:
        UsageError: it has none of them.
    """
    before = {_key(rec): rec for rec in baseline}
    found = [_comparison(rec, before[_key(rec)]) for rec in records if _key(rec) in before]
    new = [_name(rec) for rec in records if _key(rec) not in before]
    if not found:
        raise UsageError(
            f"{path} has no result to compare with: not for {new[0]}",
            hint="compare the same model, tests, options, kernel (`auto` may choose another: name one) and instruction set",
        )
    return found, new


def _comparison(rec: Record, before: Record) -> Comparison:
    limit = "int8_gmacs" if rec["n_prompt"] else "bandwidth_gbps"
    if rec.get(limit) is None or before.get(limit) is None:
        return Comparison(_name(rec), "tok/s", before["median_tps"], rec["median_tps"])
    return Comparison(
        _name(rec), LIMITS[limit], before["median_tps"] / before[limit], rec["median_tps"] / rec[limit]
    )


def _key(rec: Record) -> tuple[Any, ...]:
    return tuple(rec[key] for key in KEYS)


def _name(rec: Record) -> str:
    threads = f"{rec['threads']} thread{'s' if rec['threads'] != 1 else ''}"
    return f"{rec['test']} of {rec['model']} ({threads}, {rec['kernel']}, {rec['isa']}, {rec['embed_type']})"
