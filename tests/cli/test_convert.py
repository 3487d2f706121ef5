"""`bitnet convert`: the table and the JSON, the default name, options, and every way to be refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from naive_gguf import NaiveGGUF
from ternary_models import ternary_model
from tiny_checkpoints import write_checkpoint


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models") / "tiny-bitnet"
    write_checkpoint(directory, "bitnet-b1.58", "packed_auto")
    return directory


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models") / "plain"
    write_checkpoint(directory, "llama", "masters", config_changes={"quantization_config": None})
    return directory


def test_table_to_stdout_summary_to_stderr(bitnet: Callable, packed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    ran = bitnet("convert", packed, "-o", out, "--verify")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0].split("  ")[0] == "tensors" and len(lines) == 1 + 13
    row = next(line for line in lines if line.startswith("attn_q")).split()
    assert row[1:4] == ["i2_s", "2", str(2 * 384 * 384)] and float(row[4]) > 10 and row[-1] == "0"
    assert f"{out}: 0.9 MB" in ran.err and "14 packed" in ran.err and "every weight was compared" in ran.err


def test_json_is_one_object(bitnet: Callable, packed: Path, tmp_path: Path) -> None:
    ran = bitnet("convert", packed, "-o", tmp_path / "out.gguf", "--json")
    assert ran.code == 0 and ran.err == ""
    got = json.loads(ran.out)
    assert got["architecture"] == "bitnet-b1.58" and got["encodings"] == {"packed": 14}
    assert got["size_bytes"] == (tmp_path / "out.gguf").stat().st_size and got["verified"] is False
    assert {"kind", "type", "count", "weights", "zeros", "scale_min", "scale_max", "max_error"} == set(
        got["kinds"][0]
    )


def test_default_file_is_in_the_current_directory(
    bitnet: Callable, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert bitnet("convert", packed).code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["tiny-bitnet-i2_s.gguf"]
    again = bitnet("convert", packed)
    assert again.code == 1 and "exists already" in again.err and "--force" in again.err
    assert bitnet("convert", packed, "--force").code == 0


def test_embedding_type(bitnet: Callable, packed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    assert bitnet("convert", packed, "-o", out, "--embed-type", "q8_0").code == 0
    assert NaiveGGUF(out).tensors["token_embd.weight"].type == 8


def test_plain_llama_needs_ternarize(bitnet: Callable, plain: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    ran = bitnet("convert", plain, "-o", out)
    assert ran.code == 1 and "--ternarize" in ran.err and not out.exists()
    assert bitnet("convert", plain, "-o", out, "--ternarize").code == 0


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("--outtype", "tl9"), 2, "`i2_s`, `tl1`"),
        (("--embed-type", "q3_k"), 2, "q8_0"),
        (("--embed-type", "q6_k"), 1, "--embed-type f16"),
        (("-o", "nowhere/out.gguf"), 1, "mkdir -p nowhere"),
        (("-o", "."), 1, "is a directory"),
    ],
)
def test_refused(
    bitnet: Callable,
    packed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    args: tuple,
    code: int,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = bitnet("convert", packed, *args)
    assert ran.code == code and words in ran.err and ran.out == ""
    assert ran.err.count("error: ") == 1 and "Traceback" not in ran.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("src", ["./missing", "loop", "file"])
def test_source_that_is_no_model(
    bitnet: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, src: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("x")
    ran = bitnet("convert", src)
    words = "not a GGUF file" if src == "file" else f"{src.removeprefix('./')} does not exist"
    assert ran.code == 1 and words in ran.err and "hint: " in ran.err and "Traceback" not in ran.err


@pytest.mark.parametrize(
    "file", ["config.json", "tokenizer.json", "model.safetensors.index.json", "model.safetensors"]
)
def test_a_damaged_checkpoint_is_to_be_downloaded_again(bitnet: Callable, tmp_path: Path, file: str) -> None:
    write_checkpoint(tmp_path / "m", "bitnet-b1.58", "packed_auto", num_hidden_layers=1)
    (tmp_path / "m" / file).write_text("{")
    ran = bitnet("convert", tmp_path / "m", "-o", tmp_path / "out.gguf")
    assert ran.code == 1 and file in ran.err
    assert "download it again" in ran.err and "make it again" not in ran.err


def test_from_gguf_with_scales_that_f16_does_not_hold(
    bitnet: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ternary_model(exact=False).write(tmp_path / "tiny-i2_s.gguf")
    ran = bitnet("convert", "tiny-i2_s.gguf", "--outtype", "tq2_0", "--verify")
    assert ran.code == 0 and (tmp_path / "tiny-tq2_0.gguf").exists()
    assert "note: `tq2_0` stores scales as f16: those of 7 tensors changed, by at most 0.0" in ran.err
    assert "made from: 7 i2_s" in ran.err and "every weight was compared" in ran.err
    ran = bitnet("convert", "tiny-i2_s.gguf", "--outtype", "tq2_0", "--force", "--json")
    got = json.loads(ran.out)
    assert got["outtype"] == "tq2_0" and got["scales_exact"] is False and got["rounding"]["tensors"] == 7
    assert 0 < got["rounding"]["largest"] < 2**-11 and len(got["notes"]) == 1
    got = json.loads(bitnet("convert", "tiny-i2_s.gguf", "--outtype", "tl2", "--json").out)
    assert got["scales_exact"] is True and got["notes"] == []


def test_what_a_type_cannot_hold_is_refused_with_those_that_can(
    bitnet: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ternary_model("q2_0", "64").write(tmp_path / "groups.gguf")
    ran = bitnet("convert", "groups.gguf", "--outtype", "tl1")
    assert ran.code == 1 and ran.out == "" and [path.name for path in tmp_path.iterdir()] == ["groups.gguf"]
    assert ran.err.startswith(
        "error: `blk.0.attn_q.weight`: tl1 holds one scale for a tensor; this one has several ("
    )
    assert ran.err.endswith("\n\nhint: `--outtype q2_0` or `--outtype f16` can hold it\n")


def test_kept_embedding_of_a_checkpoint(bitnet: Callable, packed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    assert bitnet("convert", packed, "-o", out, "--embed-type", "keep", "--verify").code == 0
    assert NaiveGGUF(out).tensors["token_embd.weight"].type == 30  # BF16, as the checkpoint has it.


@pytest.mark.parametrize("verify", [[], ["--verify"]], ids=["plain", "verify"])
def test_devices_are_not_replaced(
    bitnet: Callable, tiny_gguf: Path, tmp_path: Path, verify: list[str]
) -> None:
    pipe = tmp_path / "pipe.gguf"
    os.mkfifo(pipe)
    ran = bitnet("convert", tiny_gguf, "-o", pipe, "--force", *verify)
    assert ran.code == 1 and "is a device or a pipe" in ran.err and pipe.is_fifo()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
