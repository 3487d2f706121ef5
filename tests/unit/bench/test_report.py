"""Records and their formats."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bitnet_cli.bench.host import Host
from bitnet_cli.bench.measurement import FfnZeros, OpTime, Result, Test
from bitnet_cli.bench.report import Record, csv_text, json_line, markdown, record
from bitnet_cli.bench.runner import ModelFacts
from bitnet_cli.bench.shapes import SHAPES
from bitnet_cli.bench.subject import Subject
from bitnet_cli.bench.synthetic import RandomWeights


@dataclass(frozen=True)
class Limits:
    bandwidth_gbps: float
    int8_gmacs: float


HOST = Host("Some CPU with a name of a usual length @ 3.00GHz", 2, "gcc 12.2.0", "0.1.0", "0123abc-dirty")
FACTS = ModelFacts("bitnet-2b-4t", "q6_k", 790_000_000)
RANDOM = Subject(None, RandomWeights(SHAPES["bitnet-2b-4t"], None, 0.9))
OPS = (OpTime("gate", 12.5, 0.75, 50_000, 200_000), OpTime("quant", 4.0, 0.25, 0, 0))
SINGLE = Result(
    Test(0, 128, 1024), (2.0, 4.0, 3.2), 16, "avx512icl", "mad", 1, 800_000_000, 500_000_000,
    FfnZeros(0.901, 0.953), 2_400_000_000, OPS, 0.25, skips_zeros=True,
)  # fmt: skip
PROMPT = replace(
    SINGLE, test=Test(512, 0), batch=256, bytes_read_per_token=None, joules_per_token=None, samples_s=(2.0,)
)


def records(limits: Limits | None = None) -> list[Record]:
    return [record(RANDOM, FACTS, result, HOST, limits) for result in (PROMPT, SINGLE)]


def test_a_record() -> None:
    rec = records(Limits(50.0, 1000.0))[1]
    assert json.loads(json_line(rec)) == rec
    expected = {
        "test": "tg128 @ d1024", "model": "bitnet-2b-4t", "threads": 16, "kernel": "mad", "isa": "avx512icl",
        "embed_type": "q6_k", "kv_type": "f16", "skips_zeros": True, "samples_tps": [64.0, 32.0, 40.0], "median_tps": 40.0,
        "bytes_per_token": 800_000_000, "bytes_read_per_token": 500_000_000, "macs_per_token": 2_400_000_000,
        "bandwidth_gbps": 50.0, "int8_gmacs": 1000.0, "share_of_bandwidth": 0.4, "share_of_int8_peak": 0.096,
        "joules_per_token": 0.25, "rival": None, "rival_samples_tps": None, "ratio_to_rival": None,
        "random_weights": True, "synthetic_gate": 0.9,
        "ffn_zeros": {"gate": 0.901, "down": 0.953}, "cpu": HOST.cpu, "cores": 2, "compiler": "gcc 12.2.0",
        "version": "0.1.0", "commit": "0123abc-dirty", "model_filename": None, "model_size": 790_000_000,
        "n_prompt": 0, "n_gen": 128, "n_depth": 1024, "n_threads": 16, "n_batch": 1,
        "avg_ts": 45.3333, "stddev_ts": 16.6533,
        "ops": [
            {"op": "gate", "us_per_token": 12.5, "share": 0.75, "gbps": 4.0, "gmacs": 16.0},
            {"op": "quant", "us_per_token": 4.0, "share": 0.25, "gbps": None, "gmacs": None},
        ],
    }  # fmt: skip
    assert rec == expected


def test_what_is_not_measured_is_null() -> None:
    rec = records()[0]
    for key in (
        "bandwidth_gbps",
        "int8_gmacs",
        "share_of_bandwidth",
        "share_of_int8_peak",
        "joules_per_token",
    ):
        assert rec[key] is None
    file = record(Subject(Path("x/model.gguf")), FACTS, replace(PROMPT, ops=()), replace(HOST, commit=None))
    assert file["model_filename"] == "x/model.gguf" and not file["random_weights"]
    assert file["commit"] is None and file["ops"] is None


MARKDOWN = """\
**bitnet-2b-4t**, random weights, synthetic gate

- Some CPU with a name of a usual length @ 3.00GHz, 2 cores, avx512icl
- bitnet 0.1.0, commit 0123abc-dirty, gcc 12.2.0
- 790 MB of weights, head q6_k, cache f16
- zeros: 90.1 % after relu², 95.3 % of what `down` reads
- energy: not available

| test          | threads | kernel | tok/s |     min–max | MB/tok |  read |
|---------------|--------:|--------|------:|------------:|-------:|------:|
| pp512         |      16 | mad    | 256.0 | 256.0–256.0 |  800.0 |       |
| tg128 @ d1024 |      16 | mad    | 40.00 | 32.00–64.00 |  800.0 | 500.0 |

pp512, 16 threads: 16 µs a token in ops

| op    | µs/token |  share | GMAC/s |
|-------|---------:|-------:|-------:|
| gate  |     12.5 | 75.0 % |   16.0 |
| quant |      4.0 | 25.0 % |        |

tg128 @ d1024, 16 threads: 16 µs a token in ops

| op    | µs/token |  share | GB/s |
|-------|---------:|-------:|-----:|
| gate  |     12.5 | 75.0 % |  4.0 |
| quant |      4.0 | 25.0 % |      |"""


def test_what_is_not_skipped_is_said() -> None:
    rec = record(RANDOM, FACTS, replace(SINGLE, skips_zeros=False, kv_type="i8"), HOST)
    lines = markdown([rec]).splitlines()
    assert "- 790 MB of weights, head q6_k, cache i8" in lines
    assert "- zeros: 90.1 % after relu², 95.3 % of what `down` reads; none is skipped" in lines


def test_markdown() -> None:
    recs = records()
    recs[1]["joules_per_token"] = None
    assert markdown(recs) == MARKDOWN


@pytest.mark.parametrize("limits", [None, Limits(47.3, 1234.5)])
def test_markdown_fits_a_terminal(limits: Limits | None) -> None:
    text = markdown(records(limits))
    assert max(len(line) for line in text.splitlines()) <= 80
    assert ("- limits of 16 threads: 47.3 GB/s, 1234 int8 GMAC/s\n" in text) == (limits is not None)
    assert ("of memory bandwidth | of int8 peak | J/token |" in text) == (limits is not None)


def test_csv() -> None:
    rows = list(csv.DictReader(csv_text(records()).splitlines()))
    assert [row["test"] for row in rows] == ["pp512", "tg128 @ d1024"]
    assert json.loads(rows[1]["samples_tps"]) == [64.0, 32.0, 40.0]
    assert rows[1]["median_tps"] == "40.0" and rows[0]["bandwidth_gbps"] == ""
    assert list(rows[0]) == list(records()[0])
