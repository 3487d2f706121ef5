"""`bitnet inspect` as a person and as a program meet it."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from bitnet_cli.cli.app import main

TEXT = """\
{path}: GGUF version 3, 512 B, alignment 32

Metadata
key                                            value
general.architecture                           bitnet-b1.58
bitnet-b1.58.attention.layer_norm_rms_epsilon  1e-05
tokenizer.ggml.tokens                          [9] "a" "!" "b\\n" "d" "e" "f" …
tokenizer.chat_template                        {{% for m in messages %}}\\n\\x1b[2J

Tensors by kind
kind         n  type    shape   bits        zeros    scale
attn_q       2  I2_S  1 × 128   4.00  0.0–100.0 %  0.5–1.5
output_norm  1  F32         4  32.00

Total
part     tensors  parameters  bytes  bits/weight   zeros
all            3         260  144 B        4.431  50.0 %
ternary        2         256  128 B        4.000  50.0 %
"""
TENSORS = """\

Tensors
name                 type    shape  bytes    zeros  scale
blk.0.attn_q.weight  I2_S  1 × 128     64  100.0 %    1.5
blk.1.attn_q.weight  I2_S  1 × 128     64    0.0 %    0.5
output_norm.weight   F32         4     16
"""


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A file of three tensors, one of them all zeros, one without any."""
    words = ["a", "!", "b\n", "d", "e", "f", "g", "h", "i"]
    pairs = [
        text("general.architecture") + struct.pack("<I", 8) + text("bitnet-b1.58"),
        text("bitnet-b1.58.attention.layer_norm_rms_epsilon") + struct.pack("<If", 6, 1e-5),
        text("tokenizer.ggml.tokens")
        + struct.pack("<IIQ", 9, 8, len(words))
        + b"".join(text(word) for word in words),
        text("tokenizer.chat_template") + struct.pack("<I", 8) + text("{% for m in messages %}\n\x1b[2J"),
    ]
    table = [
        text("blk.0.attn_q.weight") + struct.pack("<IQQIQ", 2, 128, 1, 36, 0),
        text("blk.1.attn_q.weight") + struct.pack("<IQQIQ", 2, 128, 1, 36, 64),
        text("output_norm.weight") + struct.pack("<IQIQ", 1, 4, 0, 128),
    ]
    head = b"GGUF" + struct.pack("<IQQ", 3, 3, len(pairs)) + b"".join(pairs) + b"".join(table)
    data = (
        b"\x55" * 32 + struct.pack("<f", 1.5) + bytes(28) + b"\xaa" * 32 + struct.pack("<f", 0.5) + bytes(28)
    )
    path = tmp_path / "model.gguf"
    path.write_bytes(head + bytes(-len(head) % 32) + data + bytes(16))
    return path


def test_tables(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = f"{model.stat().st_size} B"
    assert main(["inspect", str(model)]) == 0
    shown, talk = capsys.readouterr()
    assert shown == TEXT.format(path=model).replace("512 B", size)
    assert talk == ""
    assert max(len(line) for line in shown.splitlines()[1:]) <= 80
    assert main(["inspect", str(model), "--tensors"]) == 0
    assert TENSORS in capsys.readouterr().out


def test_json(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(model), "--json"]) == 0
    shown, talk = capsys.readouterr()
    value = json.loads(shown)
    assert value["totals"]["ternary"]["sparsity"] == 0.5
    assert value["metadata"]["tokenizer.ggml.tokens"]["length"] == 9
    assert talk == ""


def test_damage_is_a_problem(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model.write_bytes(model.read_bytes().replace(b"\x55" * 32, b"\x55" * 31 + b"\xff"))
    assert main(["inspect", str(model)]) == 1
    shown, talk = capsys.readouterr()
    assert shown.endswith("\nproblem: `blk.0.attn_q.weight` is damaged: it holds 4 times the code 3\n")
    assert talk.startswith(f"error: {model}: the file is damaged in 1 place\n") and "hint: " in talk
    assert main(["inspect", str(model), "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["problems"]) == 1


def test_a_type_that_is_not_supported_is_no_damage(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    norm = text("output_norm.weight") + struct.pack("<IQ", 1, 4)
    raw = model.read_bytes()
    assert norm + struct.pack("<I", 0) in raw
    model.write_bytes(raw.replace(norm + struct.pack("<I", 0), norm + struct.pack("<I", 26)))  # I32
    assert main(["inspect", str(model)]) == 0
    shown, talk = capsys.readouterr()
    assert "problem: 1 of 3 tensors have the unsupported type" in shown and talk == ""


@pytest.mark.parametrize(
    ("raw", "words"),
    [(None, "does not exist"), (b"GGUF\x03", "the file ends inside the version"), (b"PK", "not a GGUF file")],
)
def test_files_that_are_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], raw: bytes | None, words: str
) -> None:
    path = tmp_path / "x.gguf"
    if raw is not None:
        path.write_bytes(raw)
    assert main(["inspect", str(path)]) == 1
    shown, talk = capsys.readouterr()
    assert shown == ""
    assert words in talk and str(path) in talk


def test_a_layout_that_does_not_exist(bitnet: Callable, tiny_gguf: Path) -> None:
    """Also where nothing in the file has a layout."""
    ran = bitnet("inspect", tiny_gguf, "--i2s-layout", "foo")
    assert ran.code == 2 and "no layout `foo`" in ran.err and "`arm64`" in ran.err
