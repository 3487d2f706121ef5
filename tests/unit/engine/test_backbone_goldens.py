"""`qwen3` and `gemma3` against transformers in float32: quantised values, hidden states, logits and vectors.

The numbers come from tests/golden/make_backbone_goldens.py. What may differ, and why:

* Two float32 programs round sums in other orders: a value that is quantised, at most 127 steps large, may be off by some
  sixteen roundings of 2^-24, 127 * 2^-20 = 1.2e-4 of a step. If a tie lies within that distance the integer is another one,
  by one step. A value lies so near to a tie with a probability of 2.4e-4, so of n values that many may differ, at most.
* With transformers' integers put in after each quantisation only roundings are left: 1e-6 of the deviation on average.
* Once an integer has differed, all layers behind it round in another way: the noise of int8 activations itself, which for
  models so small is below 2.5 % (docs/model.md). Where no integer differs, the whole is as near as with integers put in.
* The length of the difference of two vectors of length 1 is a root mean square, 1.25 times the mean for normal errors: twice
  the mean is allowed.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from model_numpy import Quantised, rms_norm
from tiny_backbones import BACKBONES, Backbone, gguf
from tiny_models import Played

from bitnet_cli.engine.embedder import Embedder
from bitnet_cli.engine.model import Model
from bitnet_cli.engine.plan import Buf
from bitnet_cli.engine.session import Session
from bitnet_cli.formats.gguf_reader import GGUFReader
from bitnet_cli.native import Context, lib

GOLDEN = Path(__file__).parents[2] / "golden" / "backbones.npz"
NEAR_A_TIE = 127 * 2.0**-20
ROUNDINGS = 1e-6
INT8_NOISE = 0.025


@cache
def goldens() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as file:
        return dict(file)


def golden(backbone: Backbone, name: str) -> np.ndarray:
    return goldens()[f"{backbone.name}/{name}"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("backbones")


def error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Mean |difference| in units of the golden values' deviation."""
    return float(np.abs(ours - theirs).mean() / theirs.std())


class Forced:
    """A run with a float32 cache in which transformers' integers take the place of ours after each quantisation."""

    def __init__(self, directory: Path, backbone: Backbone) -> None:
        played = Played(gguf(backbone).write(directory / f"{backbone.name}.gguf"), kv_type="f32")
        tokens, index = goldens()["tokens"], 0
        self.n_values = self.n_differing = 0
        for i, op in enumerate(played.ops):
            self.logits = played.run(tokens, first=i, end=i + 1)
            if op["kind"] != lib.BN_OP_QUANT:
                continue
            ours = played.get(op["out"][0], len(tokens))
            theirs = Quantised(golden(backbone, f"q.{index}"), golden(backbone, f"s.{index}"))
            x = played.get(op["in"], len(tokens))
            x = rms_norm(x, op["weight"], op["eps"]) if "weight" in op else x
            self._compare(ours, theirs, x)
            played.put(op["out"][0], theirs)
            index += 1
        self.hidden = played.get(Buf.h, len(tokens))
        assert f"{backbone.name}/q.{index}" not in goldens()

    def _compare(self, ours: Quantised, theirs: Quantised, x: np.ndarray) -> None:
        differing = ours.q != theirs.q
        assert np.allclose(ours.s, theirs.s, rtol=16 * 2.0**-24, atol=0)
        assert np.abs(ours.q.astype(int) - theirs.q).max() <= 1
        steps = np.abs(x * ours.s[:, None])[differing]
        assert (np.abs(steps % 1 - 0.5) < NEAR_A_TIE).all()
        self.n_values += differing.size
        self.n_differing += int(differing.sum())


@cache
def forced(directory: Path, backbone: Backbone) -> Forced:
    return Forced(directory, backbone)


@pytest.mark.parametrize("backbone", BACKBONES, ids=lambda b: b.name)
def test_every_operation_by_its_effect(directory: Path, backbone: Backbone) -> None:
    """All layers with transformers' integers: what else there is between two quantisations must agree to the last bits."""
    run = forced(directory, backbone)
    assert run.n_differing <= 2 * NEAR_A_TIE * run.n_values
    for ours, name in ((run.hidden, "hidden"), (run.logits, "logits")):
        theirs = golden(backbone, name)
        assert error(ours, theirs) < ROUNDINGS
        assert np.abs(ours - theirs).max() < 5 * ROUNDINGS * theirs.std()


@pytest.mark.parametrize("backbone", BACKBONES, ids=lambda b: b.name)
def test_logits_and_vectors(directory: Path, backbone: Backbone) -> None:
    """By ourselves from tokens on; the vector by the file of an embedding model, which has no head."""
    run, tokens = forced(directory, backbone), goldens()["tokens"]
    tolerance = ROUNDINGS if run.n_differing == 0 else INT8_NOISE
    exact = Played(directory / f"{backbone.name}.gguf", kv_type="f32")
    assert error(exact.run(tokens), golden(backbone, "logits")) < tolerance
    reader = GGUFReader(gguf(backbone, pooling=3).write(directory / f"{backbone.name}-last.gguf"))
    model = Model.load(reader, reader.metadata, Context(None, 2))
    expected = golden(backbone, "vector")
    vector = Embedder(Session(model, kv_type="f32")).embed(tokens.tolist())
    assert np.linalg.norm(vector - expected) < 2 * tolerance
    half = Embedder(Session(model)).embed(tokens.tolist())  # the float16 cache turns values near ties
    assert np.linalg.norm(half - expected) < 2 * INT8_NOISE


def test_no_two_backbones_are_the_same() -> None:
    """What distinguishes them shows in the numbers, far beyond what is tolerated."""
    vectors = [golden(backbone, "vector") for backbone in BACKBONES]
    for i, one in enumerate(vectors):
        assert all(np.linalg.norm(one - other) > 0.2 for other in vectors[:i])
