"""Random models: the same weights every time, runnable, with as many zeros as were asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bitnet_cli.bench.ops import measure_zeros
from bitnet_cli.bench.saved_model import save
from bitnet_cli.bench.shapes import Shape
from bitnet_cli.bench.synthetic import RandomWeights, build
from bitnet_cli.engine.model import Model
from bitnet_cli.engine.options import EngineOptions
from bitnet_cli.engine.session import Session
from bitnet_cli.errors import BitnetError, UnsupportedError, UsageError
from bitnet_cli.formats.gguf_reader import GGUFReader
from bitnet_cli.native import Context, Layout
from bitnet_cli.text.tokenizer import Tokenizer

RELU2 = Shape("relu2", "bitnet-b1.58", 512, 640, 2, 8, 2, 64, 700, True, 1e-5, 1e4, 128)
SILU = Shape("silu", "llama", 256, 384, 2, 4, 2, 64, 300, False, 1e-6, 1e4, 128)
ODD = Shape("odd", "bitnet", 320, 200, 2, 4, 4, 100, 300, True, 1e-5, 1e4, 128)
GROUPS = Shape("groups", "qwen3", 256, 384, 2, 4, 2, 64, 300, True, 1e-6, 1e4, 128, 128, True)
GROUPS_OF_64 = Shape("groups of 64", "qwen3", 192, 320, 2, 4, 2, 64, 300, False, 1e-6, 1e4, 128, 64, True)
WHOLE = EngineOptions("mad", skip_zeros=False)
SKIPPING = EngineOptions("mad")
TOKENS = [3, 1, 4, 1, 5, 9, 2, 6]


def logits(model: Model) -> np.ndarray:
    return Session(model, 32).evaluate(TOKENS, n_logits=len(TOKENS))


@pytest.mark.parametrize("shape", [RELU2, SILU, ODD], ids=lambda shape: shape.name)
@pytest.mark.parametrize("embed_type", ["f16", "q8_0", "q4_0"])
def test_every_shape_runs_and_is_reproducible(shape: Shape, embed_type: str) -> None:
    ctx = Context(None, 1)
    first, again = (logits(build(RandomWeights(shape, embed_type), ctx, WHOLE, 32)) for _ in range(2))
    other = logits(build(RandomWeights(shape, embed_type, seed=1), ctx, WHOLE, 32))
    assert first.tobytes() == again.tobytes() != other.tobytes()
    assert np.isfinite(first).all() and first.std() > 1


def test_the_head_is_q6_k_where_rows_allow_it() -> None:
    assert RandomWeights(SILU).embed_type == "q6_k"
    assert RandomWeights(ODD).embed_type == "q8_0"
    assert RandomWeights(GROUPS).embed_type == "q2_0"
    with pytest.raises(UsageError, match="no whole blocks of `q6_k`"):
        RandomWeights(ODD, "q6_k")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((SILU, "q5_k"), "unknown embedding type `q5_k`"),
        ((SILU, None, 0.5), "for relu² models"),
        ((RELU2, None, 2.0), "must be 0 to 1, not 2"),
        ((RELU2, None, -0.1), "must be 0 to 1"),
        ((RELU2, None, float("nan")), "must be 0 to 1"),
        ((RELU2, "q2_0", 0.5), "a ternary one cannot"),
    ],
)
def test_what_cannot_be_made_is_refused(arguments: tuple, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        RandomWeights(*arguments)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.7, 0.9, 0.95, 1.0])
def test_the_synthetic_gate_shuts_the_share_that_was_asked_for(share: float) -> None:
    shape = replace(RELU2, dim=1024, ffn_dim=1024, n_heads=16, n_kv_heads=4, n_layers=6)
    model = build(RandomWeights(shape, "f16", share), Context(None, 1), SKIPPING, 32)
    zeros = measure_zeros(Session(model, 32), TOKENS)
    assert zeros is not None
    assert zeros.gate == pytest.approx(share, abs=0.02)
    assert zeros.gate < zeros.down <= 1


def test_noise_shuts_half_and_other_activations_have_no_zeros() -> None:
    zeros = measure_zeros(Session(build(RandomWeights(RELU2), Context(None, 1), SKIPPING, 32), 32), TOKENS)
    assert zeros is not None and zeros.gate == pytest.approx(0.5, abs=0.05)
    silu = build(RandomWeights(SILU), Context(None, 1), WHOLE, 32)
    assert measure_zeros(Session(silu, 32), TOKENS) is None


def test_skipping_changes_no_bit() -> None:
    ctx, weights = Context(None, 1), RandomWeights(RELU2, "f16", 0.9)
    assert (
        logits(build(weights, ctx, SKIPPING, 32)).tobytes()
        == logits(build(weights, ctx, WHOLE, 32)).tobytes()
    )


@pytest.mark.parametrize("shape", [GROUPS, GROUPS_OF_64], ids=lambda shape: shape.name)
def test_groups_have_scales_of_their_own_here_and_in_a_file(tmp_path: Path, shape: Shape) -> None:
    ctx, weights, path = Context(None, 1), RandomWeights(shape), tmp_path / "model.gguf"
    model = build(weights, ctx, WHOLE, 32)
    matrix = weights.ternary("ffn_down", 0)
    assert matrix.scales.shape == (shape.dim, shape.ffn_dim // shape.scale_group)
    assert len(np.unique(matrix.scales)) > 100
    assert model.layers[0].q_norm is not None and model.layers[0].q_norm.shape == (shape.head_dim,)
    assert (model.embedding is model.output) == shape.tied
    assert build(weights, ctx, EngineOptions("lut"), 32).kernel == "mad"  # Groups know no lookups.
    assert np.isfinite(logits(model)).all() and logits(model).std() > 1
    assert save(weights, path) == path.stat().st_size
    with GGUFReader(path) as reader:
        loaded = Model.load(reader, reader.metadata, ctx)
        assert logits(loaded).tobytes() == logits(model).tobytes()
        del loaded


@pytest.mark.parametrize("shape", [RELU2, ODD], ids=lambda shape: shape.name)
def test_three_in_ten_trits_are_zero(shape: Shape) -> None:
    trits = RandomWeights(shape).ternary("ffn_up", 1).packed(Context(None, 1), Layout.T2).unpack()
    counts = [float(np.mean(trits == trit)) for trit in (-1, 0, 1)]
    assert counts == pytest.approx([0.35, 0.3, 0.35], abs=0.01)


@pytest.mark.parametrize("share", [None, 0.9])
def test_the_file_holds_the_same_model(tmp_path: Path, share: float | None) -> None:
    ctx, weights, path = Context(None, 1), RandomWeights(RELU2, "q6_k", share), tmp_path / "model.gguf"
    made = []
    assert save(weights, path, made.append) == path.stat().st_size
    assert made == [1, 2]
    with GGUFReader(path) as reader:
        model = Model.load(reader, reader.metadata, ctx)
        assert model.config == replace(RELU2.config(), name="relu2 (random weights)")
        assert logits(model).tobytes() == logits(build(weights, ctx, WHOLE, 32)).tobytes()
        tokenizer = Tokenizer.from_metadata(reader.metadata)
        assert tokenizer.n_vocab == RELU2.vocab_size
        assert tokenizer.decode(tokenizer.encode("Hello wörld", add_bos=False)) == "Hello wörld"
        del model


def test_an_untied_head_is_in_the_file(tmp_path: Path) -> None:
    save(RandomWeights(SILU, "q8_0"), tmp_path / "model.gguf")
    with GGUFReader(tmp_path / "model.gguf") as reader:
        assert reader.tensors["output.weight"].shape == (300, 256)


def test_what_cannot_be_saved_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="multiples of 128"):
        save(RandomWeights(ODD), tmp_path / "model.gguf")
    (tmp_path / "model.gguf").write_bytes(b"kept")
    with pytest.raises(BitnetError, match="exists already"):
        save(RandomWeights(SILU), tmp_path / "model.gguf")
    assert (tmp_path / "model.gguf").read_bytes() == b"kept"
