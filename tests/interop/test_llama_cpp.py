"""Our files in llama.cpp: the same logits, but for how it rounds activations.

Runs where the PyPI package `llama-cpp-python` is installed. It multiplies TQ1_0 and TQ2_0 with activations in blocks of 256,
each with a scale of its own, and F16 with activations in f16, where this program has one scale for a token. So its logits
differ from ours, and must be those of our own graph with activations rounded its way.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from model_numpy import PlanPlayer, rms_norm, silu
from ternary_models import llama_model
from tiny_models import Played

from bitnet_cli.convert.pipeline import convert

llama_cpp = pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")

N_CTX = 64
IDS = [256, *np.random.default_rng(3).integers(0, 256, 30).tolist()]
Rounding = Callable[[np.ndarray], np.ndarray]


def in_blocks(x: np.ndarray) -> np.ndarray:
    """float32 [n, cols] as Q8_K holds it: blocks of 256, the value of largest magnitude at -127."""
    blocks = x.reshape(len(x), -1, 256)
    at = np.abs(blocks).argmax(axis=2)[..., None]
    inverse = np.float32(-127) / np.take_along_axis(blocks, at, axis=2)
    q = np.minimum(np.rint(blocks * inverse), 127)
    return (q / inverse).astype(np.float32).reshape(x.shape)


def in_f16(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float16).astype(np.float32)


class RoundingPlayer(PlanPlayer):
    """Our graph with activations of ternary matrices rounded in another way."""

    rounding: Rounding

    def _quant(self, op: dict) -> None:
        x = self.buffers[op["in"]]
        self.buffers[op["out"][0]] = self.rounding(
            rms_norm(x, op["weight"], op["eps"]) if op.get("weight") is not None else x
        )

    def _matmul(self, op: dict) -> None:
        for mat, out in zip(op["mats"], op["out"], strict=True):
            y = self._product(op, mat)
            self.buffers[out] = self.buffers[out] + y if op.get("add") else y

    def _gated_matmul(self, op: dict) -> None:
        self.buffers[op["out"][0]] = silu(self.buffers[op["in2"]]) * self._product(op, op["mats"][0])

    def _product(self, op: dict, mat: object) -> np.ndarray:
        return self.buffers[op["in"]] @ mat.unpack().T.astype(np.float32) * mat.scales[:, 0]  # type: ignore[attr-defined]


def relative(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a - b| / |b| of each position."""
    return np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)


# What remains are its sums in another order and its keys, values and head in f16: about 0.1 % of the logits. Where
# activations become 8 bits after that, some of them round the other way.
@pytest.mark.parametrize(
    ("outtype", "rounding", "rest"),
    [("tq1_0", in_blocks, 0.02), ("tq2_0", in_blocks, 0.02), ("f16", in_f16, 0.004)],
)
def test_the_same_but_for_activations(tmp_path: Path, outtype: str, rounding: Rounding, rest: float) -> None:
    path = convert(llama_model().write(tmp_path / "in.gguf"), tmp_path / "out.gguf", outtype=outtype).path
    llama = llama_cpp.Llama(str(path), n_ctx=N_CTX, n_threads=1, logits_all=True, verbose=False)
    llama.eval(IDS)
    theirs = np.array(llama.scores[: len(IDS)], np.float32)
    played = Played(path)
    player = RoundingPlayer(played.ops, played.bufs, len(IDS))
    player.rounding = rounding
    explained = player.run(IDS, 0, len(IDS))
    assert explained is not None
    unexplained = relative(theirs, explained).mean()
    assert unexplained < rest
    assert unexplained < relative(theirs, played.run(np.array(IDS, np.int32))).mean()
    best = np.sort(explained, axis=1)
    clear = best[:, -1] - best[:, -2] > 4 * rest * explained.std()
    assert clear.sum() > len(IDS) // 2
    assert np.array_equal(theirs[clear].argmax(axis=1), explained[clear].argmax(axis=1))
