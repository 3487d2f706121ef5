"""Kernels and layouts: which matrix gets which, and that none of it shows in the results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_models import converted

from bitnet_cli.engine.model import Model
from bitnet_cli.engine.options import EngineOptions, Layouts, layouts_for
from bitnet_cli.engine.session import Session
from bitnet_cli.errors import UsageError
from bitnet_cli.formats.gguf_reader import GGUFReader
from bitnet_cli.library import BUILTIN_MODEL, BitNetModel
from bitnet_cli.native import Context, Layout

IDS = [5, 9, 2, 30, 31, 7, 1, 1, 40, 3]
FAMILIES = ("bitnet-b1.58", "bitnet", "llama")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


def logits(
    path: Path, options: EngineOptions, isa: str | None, n_threads: int, sizes: list[int]
) -> np.ndarray:
    reader = GGUFReader(path)
    session = Session(Model.load(reader, reader.metadata, Context(isa, n_threads), options))
    parts, at = [], 0
    for size in sizes:
        parts.append(session.evaluate(IDS[at : at + size], n_logits=size))
        at += size
    return np.concatenate(parts)


@pytest.mark.parametrize(
    ("kernel", "act", "skips", "expected"),
    [
        ("mad", "relu2", True, Layouts(Layout.T2, Layout.R2, Layout.C2)),
        ("mad", "relu2", False, Layouts(Layout.T2, Layout.T2, Layout.T2)),
        ("mad", "silu", True, Layouts(Layout.T2, Layout.T2, Layout.T2)),
        ("lut", "relu2", True, Layouts(Layout.L3, Layout.R2, Layout.C2)),
        ("lut", "relu2", False, Layouts(Layout.L3, Layout.L3, Layout.L3)),
        ("lut", "silu", True, Layouts(Layout.L3, Layout.L3, Layout.L3)),
    ],
)
def test_layouts(kernel: str, act: str, skips: bool, expected: Layouts) -> None:
    assert layouts_for(kernel, act, skips) == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_bits_do_not_depend_on_kernel_or_skipping(directory: Path, isa: str, family: str) -> None:
    path = converted(directory, family, "i2_s")
    expected = logits(path, EngineOptions("mad", skip_zeros=False), "scalar", 1, [1] * 10)
    for options in (EngineOptions("lut"), EngineOptions("lut", skip_zeros=False), EngineOptions("mad")):
        for n_threads, sizes in ((1, [10]), (2, [1, 2, 3, 4]), (3, [1] * 10)):
            got = logits(path, options, isa, n_threads, sizes)
            assert got.tobytes() == expected.tobytes(), (options, n_threads, sizes)


def test_the_built_in_model_says_the_same_with_every_kernel() -> None:
    texts = set()
    for kernel in ("mad", "lut", "auto"):
        model = BitNetModel.from_pretrained(BUILTIN_MODEL, n_threads=2, kernel=kernel)
        assert model.kernel == ("lut" if kernel == "lut" else "mad")
        texts.add(model.generate("Once upon a time", max_new_tokens=40))
    assert len(texts) == 1


def test_lookups_take_a_sixth_less_memory(directory: Path) -> None:
    path = converted(directory, "llama", "i2_s", hidden_size=384, intermediate_size=768)
    sizes = {}
    for kernel in ("mad", "lut"):
        reader = GGUFReader(path)
        sizes[kernel] = (
            Model.load(reader, reader.metadata, Context(None, 1), EngineOptions(kernel))
            .layers[0]
            .gate.n_bytes
        )
    assert sizes["lut"] * 6 == sizes["mad"] * 5


def test_unknown_kernels_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown kernel `fast`") as error:
        EngineOptions(kernel="fast")
    assert error.value.hint and "`lut`" in error.value.hint
