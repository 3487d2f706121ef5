"""`bitnet bench` as a person and as a program meet it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bitnet_cli.bench import shapes
from bitnet_cli.bench.shapes import Shape
from bitnet_cli.engine.session import Session

QUICK = ["bench", "-p", "8", "-n", "4", "-r", "2", "-t", "1"]
TINY = Shape("tiny", "bitnet-b1.58", 256, 384, 2, 4, 2, 64, 300, True, 1e-5, 1e4, 64)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> str:
    """A shape that is made in no time."""
    monkeypatch.setitem(shapes.SHAPES, "tiny", TINY)
    return "tiny"


def test_tables(bitnet: Callable) -> None:
    ran = bitnet(*QUICK, "-t", "1,2", "--ops")
    assert ran.code == 0 and ran.err == ""
    lines = ran.out.splitlines()
    assert lines[0] == "**stories**, stories.gguf"
    assert [line.split("|")[1:4] for line in lines if line.startswith(("| pp8", "| tg4"))] == [
        [" pp8  ", "       1 ", " mad    "],
        [" tg4  ", "       1 ", " mad    "],
        [" pp8  ", "       2 ", " mad    "],
        [" tg4  ", "       2 ", " mad    "],
    ]
    assert sum(line.startswith("| attention ") for line in lines) == 4
    assert max(len(line) for line in lines) <= 80
    assert "\x1b" not in ran.out


def test_json(bitnet: Callable) -> None:
    ran = bitnet(*QUICK, "-d", "0,5", "-o", "json")
    assert ran.code == 0 and ran.err == ""
    records = json.loads(ran.out)
    assert [rec["test"] for rec in records] == ["pp8", "pp8 @ d5", "tg4", "tg4 @ d5"]
    assert all(len(rec["samples_tps"]) == 2 and rec["isa"] and rec["cpu"] for rec in records)
    assert not records[0]["random_weights"] and records[0]["ops"] is None


def test_jsonl_and_csv(bitnet: Callable) -> None:
    lines = bitnet(*QUICK, "-o", "jsonl").out.splitlines()
    assert [json.loads(line)["test"] for line in lines] == ["pp8", "tg4"]
    rows = list(csv.DictReader(bitnet(*QUICK, "-o", "csv").out.splitlines()))
    assert [row["test"] for row in rows] == ["pp8", "tg4"]


def test_random_weights(bitnet: Callable, tiny: str, tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    args = ["--shape", tiny, "--ffn-zeros", "0.9", "--embed-type", "f16"]
    ran = bitnet(*QUICK, *args, "--save", path)
    assert ran.code == 0
    assert ran.out.startswith("**tiny**, random weights, synthetic gate\n")
    assert ran.err == f"wrote {path}, 0 MB of random weights\n"
    assert path.stat().st_size > 300 * 256 * 2
    ran = bitnet(*QUICK, "-m", path, "--dense", "-o", "json")
    assert ran.code == 0
    record = json.loads(ran.out)[1]
    assert record["model"] == "tiny (random weights)" and record["bytes_read_per_token"] is None
    assert record["ffn_zeros"]["gate"] > 0.8
    assert bitnet("run", "-m", path, "x", "-n", "2", "--raw", "--temp", "0").code == 0


def test_saving_alone(bitnet: Callable, tiny: str, tmp_path: Path) -> None:
    ran = bitnet("bench", "--shape", tiny, "--save", tmp_path / "x.gguf", "-p", "0", "-n", "0")
    assert (ran.code, ran.out) == (0, "") and (tmp_path / "x.gguf").exists()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["-t", "0"], "`-t` takes whole numbers from 1 to 256, not `0`"),
        (["-t", "257"], "`-t` takes whole numbers from 1 to 256, not `257`"),
        (["-p", "x"], "`-p` takes whole numbers from 0 to 1048576, not `x`"),
        (["-p", "1,,2"], "not ``"),
        (["-n", "-1"], "not `-1`"),
        (["-d", "²"], "not `²`"),
        (["-n", "9" * 5000], "`-n` takes whole numbers"),
        (["-p", "0", "-n", "0"], "there is nothing to measure"),
        (["-p", "513"], "the longest test takes 513 tokens"),
        (["-r", "0"], "must be at least 1"),
        (["-b", "0"], "must be at least 1"),
        (["-o", "xml"], "`xml`"),
        (["--shape", "gpt"], "unknown shape `gpt`"),
        (["--shape", "bitnet-2b-4t", "--embed-type", "q5"], "unknown embedding type `q5`"),
        (["--shape", "bitnet-2b-4t", "--ffn-zeros", "2"], "must be 0 to 1, not 2"),
        (["--shape", "bitnet-2b-4t", "--ffn-zeros", "nan"], "must be 0 to 1, not nan"),
        (["--shape", "llama3-8b", "--ffn-zeros", "0.5"], "for relu² models"),
        (["--shape", "bitnet-2b-4t", "-m", "x.gguf"], "not both"),
        (["--ffn-zeros", "0.5"], "`--ffn-zeros` is for random models"),
        (["--save", "x.gguf"], "`--save` is for random models"),
        (["--kernel", "fast"], "unknown kernel `fast`"),
        (["--isa", "z80"], "unknown instruction set `z80`"),
        (["--max-regression", "5%"], "needs a `--baseline`"),
        (["--max-regression", "x", "--baseline", "x"], "takes 0 to 100 percent, not `x`"),
        (["--max-regression", "nan", "--baseline", "x"], "takes 0 to 100 percent"),
    ],
)
def test_wrong_usage(bitnet: Callable, args: list[str], words: str) -> None:
    ran = bitnet("bench", *args)
    assert ran.code == 2 and ran.out == ""
    first, hint = filter(None, ran.err.splitlines())
    assert first.startswith("error: ") and words in first and hint.startswith("hint: ")


@pytest.fixture
def baseline(bitnet: Callable, tmp_path: Path) -> Callable[..., Path]:
    def write(factor: float, **changes: object) -> Path:
        records = json.loads(bitnet(*QUICK, "-o", "json").out)
        for rec in records:
            rec["median_tps"] *= factor
            rec.update(changes)
        path = tmp_path / "base.json"
        path.write_text(json.dumps(records))
        return path

    return write


def test_a_regression_is_a_failure(bitnet: Callable, baseline: Callable) -> None:
    ran = bitnet(*QUICK, "-o", "json", "--baseline", baseline(1000))
    assert ran.code == 1 and len(json.loads(ran.out)) == 2
    lines = ran.err.splitlines()
    assert [line.split()[1] for line in lines] == ["pp8", "tg4"]
    assert all(" slower than the baseline, by tok/s: " in line for line in lines)


def test_no_regression(bitnet: Callable, baseline: Callable) -> None:
    path = baseline(0.001)
    ran = bitnet(*QUICK, "--baseline", path, "--max-regression", "2.5%")
    assert ran.code == 0
    assert ran.err == f"2 of 2 compared with {path} by tok/s: none slower by 2.5 %\n"
    ran = bitnet(*QUICK, "-n", "4,5", "--baseline", path)
    assert ran.code == 0 and ran.err.startswith("note: the baseline has no tg5 of stories (1 thread")


def test_a_baseline_of_something_else(bitnet: Callable, baseline: Callable, tmp_path: Path) -> None:
    assert bitnet(*QUICK, "--baseline", baseline(1, model="other")).code == 2
    ran = bitnet(*QUICK, "--baseline", tmp_path / "none.json")
    assert ran.code == 1 and "no such file" in ran.err
    (tmp_path / "base.json").write_text("{}")
    ran = bitnet(*QUICK, "--baseline", tmp_path / "base.json")
    assert ran.code == 1 and ran.out == "" and "is an array of results" in ran.err


def test_interrupted(bitnet: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Session, "evaluate", interrupt)
    ran = bitnet(*QUICK)
    assert (ran.code, ran.out, ran.err) == (130, "", "error: interrupted\n")


def test_random_weights_need_a_file_for_others(bitnet: Callable, tiny: str) -> None:
    ran = bitnet(*QUICK, "--shape", tiny, "--against", "true")
    assert ran.code == 2 and "no file to give to the other program" in ran.err and "--save" in ran.err


def test_others_get_the_saved_file(bitnet: Callable, tiny: str, tmp_path: Path) -> None:
    """The other program here prints what it was given as an error."""
    path, script = tmp_path / "tiny.gguf", tmp_path / "other.sh"
    script.write_text('echo "$@" >&2; exit 3')
    ran = bitnet(*QUICK, "--shape", tiny, "--save", str(path), "--against", f"sh {script}")
    assert ran.code == 1 and f"-m {path} -t 1 -p 8" in ran.err


@pytest.mark.parametrize(
    "option", [["--baseline", "x"], ["--ops"], ["-t", "1"], ["--kernel", "mad"]], ids=str
)
def test_kernels_alone_have_no_model(bitnet: Callable, option: list[str]) -> None:
    ran = bitnet("bench", "--kernels", *option)
    assert ran.code == 2 and f"`{option[0]}` is about models" in ran.err
