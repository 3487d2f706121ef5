"""`bitnet verify` and `bitnet inspect --diff` as a person and as a program meet them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ternary_models import random_trits, ternary_model
from tiny_checkpoints import write_checkpoint

from bitnet_cli.formats.codecs.i2_s import I2S, I2SArm
from bitnet_cli.formats.codecs.tiling import Tiling
from bitnet_cli.formats.codecs.tl1 import TL1
from bitnet_cli.formats.gguf_types import GGMLType

Q = "blk.0.attn_q.weight"
TABLE = """\
tensors        type  count  weights  checked        bad
token_embd     f16       1    66048  values           0
attn_norm      f32       1      256  values           0
attn_q         i2_s      1    65536  codes, scales    {bad}
attn_k         i2_s      1    32768  codes, scales    0
attn_v         i2_s      1    32768  codes, scales    0
attn_output    i2_s      1    65536  codes, scales    0
ffn_norm       f32       1      256  values           0
ffn_gate       i2_s      1   131072  codes, scales    0
ffn_up         i2_s      1   131072  codes, scales    0
ffn_down       i2_s      1   131072  codes, scales    0
attn_sub_norm  f32       1      256  values           0
ffn_sub_norm   f32       1      512  values           0
output_norm    f32       1      256  values           0
"""


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    return ternary_model().write(tmp_path / "sound.gguf")


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    model = ternary_model()
    ne, kind, raw = model.tensors[Q]
    model.tensors[Q] = (ne, kind, raw[:77] + b"\xff" + raw[78:])
    return model.write(tmp_path / "damaged.gguf")


def test_a_sound_file(bitnet: Callable, sound: Path) -> None:
    ran = bitnet("verify", sound)
    assert ran.code == 0 and ran.err == ""
    assert ran.out == TABLE.format(bad=0) + f"{sound}: no problems\n"


@pytest.mark.parametrize("outtype", ["i2_s", "tl1", "tl2"])
def test_against_a_file_that_does_not_record_its_tiling(
    bitnet: Callable, tmp_path: Path, outtype: str
) -> None:
    """The tiling that `convert` was told serves `verify` too; our file keeps its own, which is another one."""
    model = ternary_model("tl1")
    tiling = Tiling(64, 64, 32)
    for seed, (name, (ne, kind, _)) in enumerate(model.tensors.items()):
        if kind == GGMLType.TL1:
            raw = TL1(tiling).encode(random_trits(ne[::-1], seed), 0.5)
            model.tensors[name] = (ne, kind, raw.tobytes())
    foreign, ours = model.write(tmp_path / "foreign.gguf"), tmp_path / "ours.gguf"
    assert bitnet("convert", foreign, "-o", ours, "--outtype", outtype, "--tiling", str(tiling)).code == 0
    without = bitnet("verify", ours, "--against", foreign)
    assert without.code == 1 and "nothing tells the tiling" in without.out
    alone = bitnet("verify", foreign)
    assert alone.code == 1 and "hint: add `--tiling " in alone.err
    for pair in ((ours, foreign), (foreign, ours)):
        ran = bitnet("verify", pair[0], "--against", pair[1], "--tiling", str(tiling))
        assert ran.code == 0 and "no problems" in ran.out, ran.out + ran.err


def test_against_a_file_of_an_arm_build(bitnet: Callable, tmp_path: Path) -> None:
    """The layout is that of the file that has I2_S weights."""
    model = ternary_model()
    for name, (ne, kind, raw) in model.tensors.items():
        if kind == GGMLType.I2_S:
            trits, scales = I2S().decode(np.frombuffer(raw, np.uint8), ne[::-1])
            model.tensors[name] = (ne, kind, I2SArm().encode(trits, scales).tobytes())
    foreign, ours = model.write(tmp_path / "foreign.gguf"), tmp_path / "ours.gguf"
    layout = ("--i2s-layout", "arm64")
    assert bitnet("convert", foreign, "-o", ours, "--outtype", "iq2_bn", *layout).code == 0
    for pair in ((ours, foreign), (foreign, ours)):
        ran = bitnet("verify", pair[0], "--against", pair[1], *layout)
        assert ran.code == 0 and "no problems" in ran.out, ran.out + ran.err
        assert bitnet("verify", pair[0], "--against", pair[1]).code == 1


def test_a_damaged_file(bitnet: Callable, damaged: Path) -> None:
    ran = bitnet("verify", damaged)
    problem = f"problem: `{Q}`: row 1, column 13 holds the code 3, which stands for no weight\n"
    assert ran.code == 1 and ran.out == TABLE.format(bad=1) + problem
    assert ran.err == (
        f"error: {damaged}: 1 problem found\n\nhint: the file is damaged; download or convert it again\n"
    )


def test_json(bitnet: Callable, sound: Path, damaged: Path) -> None:
    ran = bitnet("verify", sound, "--json")
    value = json.loads(ran.out)
    assert ran.code == 0 and ran.err == "" and value["ok"] is True and value["problems"] == []
    assert list(value) == ["path", "against", "ok", "problems", "remarks", "kinds"]
    ran = bitnet("verify", damaged, "--against", sound, "--json")
    value = json.loads(ran.out)
    assert ran.code == 1 and value["ok"] is False and value["against"] == str(sound)
    assert [problem["where"] for problem in value["problems"]] == [Q]


def test_a_file_that_cannot_be_opened(bitnet: Callable, sound: Path) -> None:
    sound.write_bytes(sound.read_bytes()[:-5000])
    ran = bitnet("verify", sound)
    assert ran.code == 1 and ran.out == "" and "passes the end of the file" in ran.err
    value = json.loads(bitnet("verify", sound, "--json").out)
    assert value["ok"] is False and "passes the end of the file" in value["problems"][0]["text"]


def test_against_a_checkpoint(bitnet: Callable, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "m", "bitnet-b1.58", "packed_auto")
    out = tmp_path / "out.gguf"
    assert bitnet("convert", tmp_path / "m", "-o", out, "--embed-type", "q8_0").code == 0
    ran = bitnet("verify", out, "--against", tmp_path / "m")
    assert ran.code == 0 and ran.out.endswith(f"{out}: no problems, compared with {tmp_path / 'm'}\n")
    row = next(line for line in ran.out.splitlines() if line.startswith("token_embd")).split()
    assert row[1] == "q8_0" and int(row[-2]) > 100_000 and float(row[-1]) > 0
    assert max(len(line) for line in ran.out.splitlines()[:-1]) <= 80


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("missing.gguf",), 1, "missing.gguf does not exist"),
        (("{sound}", "--against", "./missing"), 1, "missing does not exist"),
        (("{sound}", "--against", "missing"), 2, "there is no model `missing`"),
        (("{sound}", "--against", "{sound}", "--ternarize"), 2, "`--ternarize` rounds"),
        (("{sound}", "--i2s-layout", "mips"), 2, "no layout `mips`"),
        (("{sound}", "--tiling", "1,2"), 2, "`1,2` is not a tiling"),
        ((), 2, "MODEL is missing"),
    ],
)
def test_refused(bitnet: Callable, sound: Path, args: tuple[str, ...], code: int, words: str) -> None:
    ran = bitnet("verify", *(arg.format(sound=sound) for arg in args))
    assert ran.code == code and words in ran.err and "hint: " in ran.err and "Traceback" not in ran.err


def test_diff_of_a_conversion(bitnet: Callable, sound: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    assert bitnet("convert", sound, "-o", out, "--outtype", "tq2_0", "--embed-type", "q8_0").code == 0
    ran = bitnet("inspect", sound, "--diff", out)
    assert ran.code == 0 and ran.err == ""
    embedding = next(line for line in ran.out.splitlines() if "token_embd" in line)
    assert ran.out.replace(embedding + "\n", "") == (
        f"- {sound}\n+ {out}\n\n"
        "Metadata\n"
        "~ general.file_type: 40 → 37\n"
        "+ general.quantization_version: 2\n\n"
        "Tensors\n"
        "   name         n  before          after            weights\n"
        "~  attn_q       1  I2_S 256 × 256  TQ2_0 256 × 256  the same\n"
        "~  attn_k       1  I2_S 128 × 256  TQ2_0 128 × 256  the same\n"
        "~  attn_v       1  I2_S 128 × 256  TQ2_0 128 × 256  the same\n"
        "~  attn_output  1  I2_S 256 × 256  TQ2_0 256 × 256  the same\n"
        "~  ffn_gate     1  I2_S 512 × 256  TQ2_0 512 × 256  the same\n"
        "~  ffn_up       1  I2_S 512 × 256  TQ2_0 512 × 256  the same\n"
        "~  ffn_down     1  I2_S 256 × 512  TQ2_0 256 × 512  the same\n\n"
        "unchanged: 20 metadata keys, 5 tensors\n"
    )
    assert (
        "F16 258 × 256" in embedding and "Q8_0 258 × 256" in embedding and "differ, by at most" in embedding
    )


def test_diff_of_the_same(bitnet: Callable, sound: Path) -> None:
    ran = bitnet("inspect", sound, "--diff", sound)
    assert ran.code == 0 and "the files hold the same\n" in ran.out
    assert json.loads(bitnet("inspect", sound, "--diff", sound, "--json").out)["same"] is True


def test_diff_lists_every_tensor_if_asked(bitnet: Callable, sound: Path, damaged: Path) -> None:
    ran = bitnet("inspect", sound, "--diff", damaged, "--tensors")
    assert ran.code == 0 and f"~  {Q}  1  I2_S 256 × 256  same type  the second file: row 1" in ran.out


def test_inspect_shows_scales_of_rows_and_groups(bitnet: Callable, tmp_path: Path) -> None:
    for type_name, per, words in (
        ("iq2_bn", "row", " by row"),
        ("q2_0", "64", " by 64 columns"),
        ("tq2_0", "tensor", ""),
    ):
        path = ternary_model(type_name, per).write(tmp_path / "x.gguf")
        ran = bitnet("inspect", path)
        row = next(line for line in ran.out.splitlines() if line.startswith("attn_q"))
        assert ran.code == 0 and row.endswith(words) and type_name.upper() in row
        value = json.loads(bitnet("inspect", path, "--json").out)
        found = next(tensor for tensor in value["tensors"] if tensor["name"] == Q)["ternary"]
        assert found["scales_per"] == per and found["sparsity"] > 0.3
