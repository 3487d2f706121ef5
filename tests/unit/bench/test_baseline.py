"""Comparison with a baseline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bitnet_cli.bench.baseline import compare, read_baseline
from bitnet_cli.errors import FormatError, UsageError

PATH = Path("base.json")


def rec(**changes: Any) -> dict[str, Any]:
    return {
        "test": "tg128", "threads": 2, "kernel": "mad", "isa": "avx2", "embed_type": "q6_k", "model": "2b",
        "kv_type": "f16", "n_batch": 1, "skips_zeros": True, "synthetic_gate": None,
        "median_tps": 40.0, "n_prompt": 0, "bandwidth_gbps": None, "int8_gmacs": None, **changes,
    }  # fmt: skip


def test_tokens_per_second() -> None:
    (comparison,), new = compare([rec(median_tps=36.0)], [rec()], PATH)
    assert comparison.loss == pytest.approx(0.1) and new == []
    assert comparison.sentence() == (
        "tg128 of 2b (2 threads, mad, avx2, q6_k) is 10.0 % slower than the baseline, by tok/s: 40 before, 36 now"
    )


@pytest.mark.parametrize(
    ("n_prompt", "key", "measure"),
    [(0, "bandwidth_gbps", "tok/s per GB/s of memory"), (512, "int8_gmacs", "tok/s per int8 GMAC/s")],
)
def test_limits_are_divided_by_where_both_sides_have_them(n_prompt: int, key: str, measure: str) -> None:
    """A machine half as fast today is no regression."""
    before = rec(n_prompt=n_prompt, bandwidth_gbps=20.0, int8_gmacs=400.0)
    now = rec(n_prompt=n_prompt, bandwidth_gbps=99.0, int8_gmacs=99.0, median_tps=20.0) | {
        key: before[key] / 2
    }
    (comparison,), _ = compare([now], [before], PATH)
    assert (comparison.measure, comparison.loss) == (measure, 0)
    (comparison,), _ = compare([now], [before | {key: None}], PATH)
    assert (comparison.measure, comparison.loss) == ("tok/s", 0.5)


@pytest.mark.parametrize(
    "change",
    [{"test": "tg64"}, {"threads": 1}, {"kernel": "lut"}, {"isa": "neon"}, {"embed_type": "f16"}, {"model": "x"},
     {"kv_type": "i8"}, {"n_batch": 2}, {"skips_zeros": False}, {"synthetic_gate": 0.9}],
)  # fmt: skip
def test_other_things_are_not_compared(change: dict[str, Any]) -> None:
    found, new = compare([rec(), rec(**change)], [rec()], PATH)
    assert len(found) == 1 and len(new) == 1
    with pytest.raises(UsageError, match="no result to compare with"):
        compare([rec(**change)], [rec()], PATH)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not JSON"),
        ("\x00\xff", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("{}", "is an array"),
        ("[]", "holds no results"),
        ("[1]", "result 1 of the baseline is no object"),
        (json.dumps([rec(), rec(threads="2")]), "result 2 of the baseline has no valid `threads`"),
        (json.dumps([rec(threads=True)]), "no valid `threads`"),
        (json.dumps([rec(median_tps=0)]), "no valid `median_tps`"),
        (json.dumps([rec(median_tps=None)]), "no valid `median_tps`"),
        ('[{"test": "tg128", "threads": 2}]', "no valid `kernel`"),
        (json.dumps([rec(bandwidth_gbps="x")]), "no valid `bandwidth_gbps`"),
        (json.dumps([rec(int8_gmacs=float("nan"))]), "no valid `int8_gmacs`"),
        (json.dumps([rec(skips_zeros=1)]), "no valid `skips_zeros`"),
        (json.dumps([rec(synthetic_gate="0.9")]), "no valid `synthetic_gate`"),
        (json.dumps([rec(kv_type=None)]), "no valid `kv_type`"),
    ],
)
def test_malformed(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "base.json").write_text(text, encoding="latin-1")
    with pytest.raises(FormatError, match=words) as error:
        read_baseline(tmp_path / "base.json")
    assert "base.json" in error.value.message and "bitnet bench -o json" in str(error.value.hint)


def test_well_formed(tmp_path: Path) -> None:
    (tmp_path / "base.json").write_text(json.dumps([rec()]))
    assert read_baseline(tmp_path / "base.json") == [rec()]
