"""Comparing with an earlier run: has anything become slower?

Where both runs measured the limits of their machine, shares of the limit are compared: a slower hour of a shared machine
slows the limit as well. Otherwise tokens per second.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitnet_cli.errors import FormatError, UsageError

KEY = ("model", "test", "threads", "kernel", "isa", "embed_type", "kv_type")
SHARES = ("share_of_bandwidth", "share_of_int8_peak")
MAX_BYTES = 1 << 26


@dataclass(frozen=True)
class Comparison:
    """One test then and now."""

    name: str
    what: str
    """`median_tps` or the share that was compared."""
    before: float
    now: float

    @property
    def ratio(self) -> float:
        return self.now / self.before

    def regressed(self, max_regression: float) -> bool:
        """True if it lost more than this share."""
        return self.ratio < 1 - max_regression


def read_baseline(path: Path) -> dict[tuple[object, ...], dict[str, Any]]:
    """The results of a file that `bench -o json` wrote, by what identifies a test.

    Raises:
        FormatError: it is no such file.
    """
    with open(path, "rb") as file:
        text = file.read(MAX_BYTES + 1)
    try:
        if len(text) > MAX_BYTES:
            raise ValueError("too long")
        entries = json.loads(text)
        found = {tuple(entry[key] for key in KEY): entry for entry in entries}
        for entry in found.values():
            if not float(entry["median_tps"]) > 0:
                raise ValueError("a rate that is not positive")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FormatError(
            "the file is no result of `bitnet bench -o json`", path=path, hint="make one with `-o json > FILE`"
        ) from error
    return found


def compare(
    results: list[dict[str, Any]], baseline: dict[tuple[object, ...], dict[str, Any]]
) -> Iterator[Comparison]:
    """Every result that the baseline has too.

    Raises:
        UsageError: it has none of them.
    """
    pairs = [(baseline.get(tuple(result[key] for key in KEY)), result) for result in results]
    if not any(before for before, _ in pairs):
        raise UsageError(
            "the baseline has no result for any of these tests",
            hint="model, test, threads, kernel, isa, embed_type and kv_type must be the same",
        )
    for before, now in pairs:
        if before is None:
            continue
        what = next((s for s in SHARES if _positive(before.get(s)) and _positive(now.get(s))), "median_tps")
        name = f"{now['test']} ({now['threads']} threads)"
        yield Comparison(name, what, float(before[what]), float(now[what]))


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def parse_share(text: str) -> float:
    """`5%` or `0.05` as 0.05. UsageError if it is neither, or not from 0 to 100 %."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise UsageError(f"expected a share such as `5%`, not `{text}`")
    return value
