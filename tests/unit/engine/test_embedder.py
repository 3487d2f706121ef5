"""Vectors of texts: what is pooled, their length, and that they depend on nothing but model and tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_gguf import TYPE_F32, tiny_model
from tiny_models import Played

from bitnet_cli.engine.embedder import Embedder
from bitnet_cli.engine.model import Model
from bitnet_cli.engine.plan import Buf
from bitnet_cli.engine.session import Session
from bitnet_cli.errors import FormatError, UsageError
from bitnet_cli.formats.gguf_reader import GGUFReader
from bitnet_cli.native import Context

IDS = [72, 101, 108, 108, 111, 32, 119, 111, 114, 108, 100, 33, 257]
GEMMA: dict[str, Any] = {
    "n_layers": 3,
    "n_heads": 8,
    "n_kv_heads": 1,
    "head_dim": 80,
    "window": (4, 3),
    "norm_in": True,
}


def written(directory: Path, pooling: int | None) -> Path:
    path = directory / f"pooling-{pooling}.gguf"
    return path if path.exists() else tiny_model("gemma3", pooling=pooling, **GEMMA).write(path)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("embedders")


def load(path: Path, isa: str | None = None, n_threads: int = 1) -> Model:
    reader = GGUFReader(path)
    return Model.load(reader, reader.metadata, Context(isa, n_threads))


@pytest.fixture(scope="module")
def states(directory: Path) -> np.ndarray:
    """The normed hidden states by the twin, float32 [n_tokens, dim]."""
    twin = Played(written(directory, None)).twin()
    twin.run(IDS, 0)
    return twin.buffers[Buf.h]


def pooled(states: np.ndarray, pooling: int) -> np.ndarray:
    wide = states.astype(np.float64)
    vector = {1: wide.mean(axis=0), 2: wide[0], 3: wide[-1]}[pooling]
    return (vector / np.linalg.norm(vector)).astype(np.float32)


@pytest.mark.parametrize("pooling", [1, 2, 3], ids=["mean", "cls", "last"])
def test_the_pooled_states_brought_to_length_one(
    directory: Path, states: np.ndarray, isa: str, pooling: int
) -> None:
    expected = pooled(states, pooling)
    first = Embedder(Session(load(written(directory, pooling), isa))).embed(IDS)
    assert first.dtype == np.float32 and abs(np.linalg.norm(first.astype(np.float64)) - 1) < 1e-6
    assert np.abs(first - expected).max() < 1e-7  # one rounding of float32
    for n_threads, max_batch in ((2, 256), (3, 5), (1, 1)):
        embedder = Embedder(Session(load(written(directory, pooling), isa, n_threads), max_batch=max_batch))
        for ids in (IDS[:5], IDS):  # what came before leaves nothing behind
            vector = embedder.embed(ids)
        assert vector.tobytes() == first.tobytes(), (n_threads, max_batch)


def test_hidden_states_of_the_last_tokens(directory: Path, states: np.ndarray) -> None:
    session = Session(load(written(directory, 3)), max_batch=4)
    assert session.hidden_states(IDS, 6).tobytes() == states[-6:].tobytes()
    assert session.ids == IDS


def test_an_embedding_model_has_no_logits(directory: Path) -> None:
    model = load(written(directory, 3))
    assert model.output is None
    with pytest.raises(UsageError, match="is an embedding model: it turns texts into vectors") as caught:
        Session(model).evaluate(IDS)
    assert "bitnet embed" in str(caught.value.hint)


def test_a_model_without_pooling_has_no_vectors(directory: Path) -> None:
    with pytest.raises(UsageError, match="is no embedding model") as caught:
        Embedder(Session(load(written(directory, None))))
    assert "bitnet run" in str(caught.value.hint)


def test_too_many_tokens_and_none(directory: Path) -> None:
    embedder = Embedder(Session(load(written(directory, 3)), context_length=8))
    with pytest.raises(UsageError, match="13 tokens do not fit"):
        embedder.embed(IDS)
    with pytest.raises(UsageError, match="nothing to evaluate"):
        embedder.embed([])
    assert len(embedder.embed(IDS[:8])) == 128


def test_values_that_are_not_finite(tmp_path: Path) -> None:
    model = tiny_model("qwen3", pooling=3)
    ne, *_ = model.tensors["output_norm.weight"]
    huge = np.full(ne[0], 3e38, "<f4")
    model.tensors["output_norm.weight"] = (ne, TYPE_F32, huge.tobytes())
    with pytest.raises(FormatError, match="not finite"):
        Embedder(Session(load(model.write(tmp_path / "huge.gguf")))).embed(IDS)
