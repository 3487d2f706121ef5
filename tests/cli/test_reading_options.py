"""`--tiling` and `--i2s-layout`: refused, not ignored, where there is nothing that they could be about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ternary_models import ternary_model
from tiny_checkpoints import write_checkpoint

TILING = ("--tiling", "32,96,32")
COMMANDS: dict[str, tuple[str, ...]] = {
    "convert": ("convert", "{}", "-o", "out.gguf"),
    "inspect": ("inspect", "{}"),
    "verify": ("verify", "{}"),
    "bench": ("bench", "-m", "{}", "-p", "4", "-n", "0", "-r", "1"),
    "run": ("run", "-m", "{}", "one", "-n", "1"),
    "chat": ("chat", "{}"),
    "perplexity": ("perplexity", "-m", "{}", "-f", __file__, "-c", "8", "--chunks", "1"),
    "embed": ("embed", "-m", "{}", "one"),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny model in TQ2_0 and in I2_S."""
    folder = tmp_path_factory.mktemp("reading")
    return {
        "tq2_0": ternary_model("tq2_0", "256").write(folder / "tq2_0.gguf"),
        "i2_s": ternary_model().write(folder / "i2_s.gguf"),
    }


def refused(ran: object, words: str) -> bool:
    return ran.code == 2 and ran.out == "" and words in ran.err and "\nhint: leave it out" in ran.err


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_without_such_weights(
    bitnet: Callable, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [word.replace("{}", str(models["tq2_0"])) for word in COMMANDS[command]]
    for option, kind in ((TILING, "TL1 and TL2"), (("--i2s-layout", "arm64"), "I2_S")):
        message = f"`{option[0]}` says how {kind} weights are read, and {models['tq2_0']} holds none"
        assert refused(bitnet(*words, *option), message)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("outtype", ["i2_s", "tl1", "tl2"])
def test_a_tiling_is_not_for_what_is_written(
    bitnet: Callable, models: dict[str, Path], tmp_path: Path, outtype: str
) -> None:
    out = tmp_path / "out.gguf"
    ran = bitnet("convert", models["i2_s"], "-o", out, "--outtype", outtype, *TILING)
    assert refused(ran, f"{models['i2_s']} holds none") and not out.exists()
    write_checkpoint(tmp_path / "m", "bitnet-b1.58", "packed_auto", num_hidden_layers=1)
    for option in (TILING, ("--i2s-layout", "arm64")):
        ran = bitnet("convert", tmp_path / "m", "-o", out, "--outtype", outtype, *option)
        assert refused(
            ran, f"`{option[0]}` says how a GGUF file is read, and {tmp_path / 'm'} is a checkpoint"
        )
        assert not out.exists()


def test_random_weights_are_not_read(bitnet: Callable) -> None:
    assert refused(bitnet("bench", "--shape", "bitnet-large", *TILING), "the weights of `--shape` are random")


def test_a_tiling_for_a_shape_that_is_not_there(
    bitnet: Callable, models: dict[str, Path], tmp_path: Path
) -> None:
    tiled = tmp_path / "tl1.gguf"
    assert bitnet("convert", models["i2_s"], "-o", tiled, "--outtype", "tl1").code == 0
    ran = bitnet("inspect", tiled, "--tiling", "1536x4096=256,128,32")
    assert refused(ran, f"`--tiling 1536x4096=` is for no TL1 or TL2 matrix of {tiled}")
    assert "its shapes are 128x256, 256x256, 256x512, 512x256" in ran.err
    assert bitnet("inspect", tiled, "--tiling", "256x256=32,32,32").code == 0
    with_other = bitnet("inspect", tiled, "--diff", models["i2_s"], "--i2s-layout", "x86")
    assert with_other.code == 0, "one of two files is enough"
