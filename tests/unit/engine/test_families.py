"""Families beyond BitNet's own graph, `qwen3` and `gemma3`: the twin's bits, and what their files may and may not say."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_numpy import PlanPlayer, Quantised, gelu
from tiny_gguf import BOOL, F32, STRING, U32, TinyGGUF, tiny_model
from tiny_models import Played

from bitnet_cli.engine.model import Model
from bitnet_cli.errors import BitnetError, FormatError, UnsupportedError
from bitnet_cli.formats.gguf_reader import GGUFReader
from bitnet_cli.native import Context, KVCache, Plan, lib

TOKENS = (np.arange(33, dtype=np.int32) * 53 + 5) % 258
SMALL: dict[str, Any] = {"n_heads": 8, "n_kv_heads": 2, "head_dim": 48, "context_length": 64}
# Three layers: with a period of 2 the middle one sees everything, the others 7 or 20 of 33 positions.
KINDS: dict[str, dict[str, Any]] = {
    "qwen3": {"arch": "qwen3", **SMALL},
    "qwen3 with norm_in": {"arch": "qwen3", "norm_in": True, **SMALL},
    "llama with norm_in": {"arch": "llama", "norm_in": True, **SMALL},
    "gemma3": {"arch": "gemma3", "n_layers": 3, "window": (7, 2), **SMALL},
    "gemma3 with norm_in": {"arch": "gemma3", "n_layers": 3, "norm_in": True, "window": (20, 2), **SMALL},
    "gemma3 with one key head": {"arch": "gemma3", "n_heads": 8, "n_kv_heads": 1, "head_dim": 80, "n_layers": 3,
                                 "window": (1, 3)},
}  # fmt: skip


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("families")


def written(directory: Path, kind: str) -> Path:
    path = directory / f"{kind}.gguf"
    return path if path.exists() else tiny_model(**KINDS[kind]).write(path)


@cache
def twin_logits(path: Path, kv_type: str) -> np.ndarray:
    return Played(path, kv_type=kv_type).twin().run(TOKENS, 0, len(TOKENS))


@pytest.mark.parametrize("sizes", [[33], [9, 1, 23]], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_every_op_leaves_the_bits_of_the_twin(directory: Path, kind: str, sizes: list[int]) -> None:
    played = Played(written(directory, kind))
    twin = played.twin()
    for pos, end in pairwise(int(edge) for edge in np.cumsum([0, *sizes])):
        tokens = TOKENS[pos:end]
        for i, op in enumerate(played.ops):
            played.run(tokens, pos, first=i, end=i + 1)
            twin.run(tokens, pos, len(tokens), first=i, end=i + 1)
            for index in op.get("out", ()):
                ours, theirs = played.get(index, len(tokens)), twin.buffers[index]
                if isinstance(ours, Quantised):
                    assert (ours.q == theirs.q).all() and ours.s.tobytes() == theirs.s.tobytes(), (i, index)
                else:
                    assert ours.tobytes() == theirs.tobytes(), (i, index)


@pytest.mark.parametrize("kv_type", ["f16", "i8"])
@pytest.mark.parametrize("kind", KINDS)
def test_bits_do_not_depend_on_isa_threads_or_batch(
    directory: Path, isa: str, kind: str, kv_type: str
) -> None:
    path = written(directory, kind)
    expected = twin_logits(path, kv_type)
    assert np.isfinite(expected).all()
    for n_threads, sizes in ((1, [33]), (1, [1] * 33), (2, [2, 11, 1, 19]), (3, [1, 32])):
        played = Played(path, isa, n_threads, kv_type)
        edges = np.cumsum([0, *sizes])
        logits = [played.run(TOKENS[a:b], int(a)) for a, b in pairwise(edges)]
        assert np.concatenate(logits).tobytes() == expected.tobytes(), (n_threads, sizes)


# ---- What makes a family, seen in the ops ----


def kinds_of(played: Played) -> list[int]:
    return [op["kind"] for op in played.ops]


def test_norm_in_quantises_for_every_matrix_of_its_own(directory: Path) -> None:
    plain, normed = (Played(written(directory, kind)) for kind in ("qwen3", "qwen3 with norm_in"))
    assert kinds_of(plain).count(lib.BN_OP_QUANT) == 2 * 4
    assert kinds_of(normed).count(lib.BN_OP_QUANT) == 2 * 7
    assert all("weight" in op for op in normed.ops if op["kind"] == lib.BN_OP_QUANT)


def test_windows_and_rotations_of_gemma(directory: Path) -> None:
    ops = Played(written(directory, "gemma3")).ops
    assert [op["window"] for op in ops if op["kind"] == lib.BN_OP_ATTENTION] == [7, 0, 7]
    turns = [op["rope_cos"] for op in ops if op["kind"] == lib.BN_OP_ROPE]
    assert (turns[0] == turns[2]).all() and not (turns[0] == turns[1]).all()
    assert ops[0]["scale"] == np.sqrt(np.float32(128))


def test_a_window_forgets(directory: Path) -> None:
    """One layer of one position: what came before changes nothing."""
    kind = {**KINDS["gemma3"], "n_layers": 1, "window": (1, 3)}
    played = Played(tiny_model(**kind).write(directory / "forgets.gguf"))
    first, second = played.run(np.array([5, 9], np.int32)), played.run(np.array([6, 9], np.int32))
    assert (first[1] == second[1]).all() and not (first[0] == second[0]).all()


def test_gelu_against_float64() -> None:
    """The exponent has four roundings of 2^-24 of itself, sum, division and exp three more: relative to the result."""
    x = np.linspace(-9, 12, 200001, dtype=np.float32)
    wide = x.astype(np.float64)
    w = -2 * np.sqrt(2 / np.pi) * (wide + 0.044715 * wide**3)
    true = wide / (1 + np.exp(w))
    assert (np.abs(gelu(x) - true) <= np.abs(true) * (4 * np.maximum(w, 0) + 6) * 2.0**-24).all()


# ---- Attention with a window, far from the start ----


@pytest.mark.parametrize("kv_type", ["f32", "i8"])
@pytest.mark.parametrize("window", [1, 5, 16, 100, 290, 1000])
def test_windows_far_from_the_start(isa: str, window: int, kv_type: str) -> None:
    """However threads and tokens share the work, also where they score, soften and weigh together."""
    n, heads, kv_heads, dim = 340, 4, 2, 20
    shape = {"layer": 0, "n_heads": heads, "n_kv_heads": kv_heads, "head_dim": dim}
    ops = [
        {"kind": lib.BN_OP_KV_STORE, "in": 1, "in2": 2, **shape},
        {"kind": lib.BN_OP_ATTENTION, "in": 0, "out": (3,), "scale": dim**-0.5, "window": window, **shape},
    ]
    bufs = [(lib.BN_BUF_F32, h * dim) for h in (heads, kv_heads, kv_heads, heads)]
    random = np.random.RandomState(window)
    values = [random.standard_normal((n, width)).astype(np.float32) for _, width in bufs[:3]]
    twin = PlanPlayer(ops, bufs, n, kv_type)
    twin.buffers[:3] = values
    twin.run(np.zeros(n, np.int32), 0)
    for n_threads in (1, 2, 3):
        ctx = Context(isa, n_threads)
        for sizes in ([300, 40], [300, *[1] * 9, 4, 3, 2, 5, 17], [7, 16, 233, 1, 1, 82]):
            plan, kv = Plan(ctx, ops, bufs, n, max(sizes)), KVCache(1, kv_heads, dim, n, kv_type)
            for pos, end in pairwise(int(edge) for edge in np.cumsum([0, *sizes])):
                for i, value in enumerate(values):
                    plan.f32(i, end - pos)[:] = value[pos:end]
                plan.run(kv, np.zeros(end - pos, np.int32), pos)
                ours = plan.f32(3, end - pos)
                assert ours.tobytes() == twin.buffers[3][pos:end].tobytes(), (n_threads, sizes, pos)


def test_values_before_the_window_do_not_matter(isa: str) -> None:
    """Not even NaN and infinity, alone or in a batch."""
    n, dim, window = 40, 16, 6
    shape = {"layer": 0, "n_heads": 1, "n_kv_heads": 1, "head_dim": dim}
    ops = [
        {"kind": lib.BN_OP_KV_STORE, "in": 1, "in2": 2, **shape},
        {"kind": lib.BN_OP_ATTENTION, "in": 0, "out": (3,), "scale": 0.25, "window": window, **shape},
    ]
    random = np.random.RandomState(0)
    values = [random.standard_normal((n, dim)).astype(np.float32) for _ in range(3)]
    values[1][3], values[2][9] = np.nan, np.inf
    results = []
    for sizes in ([n], [1] * n):
        plan, kv = Plan(Context(isa), ops, [(lib.BN_BUF_F32, dim)] * 4, n, n), KVCache(1, 1, dim, n, "f32")
        rows = []
        for pos, end in pairwise(int(edge) for edge in np.cumsum([0, *sizes])):
            for i, value in enumerate(values):
                plan.f32(i, end - pos)[:] = value[pos:end]
            plan.run(kv, np.zeros(end - pos, np.int32), pos)
            rows.append(plan.f32(3, end - pos).copy())
        results.append(np.concatenate(rows))
    assert results[0].tobytes() == results[1].tobytes()
    assert np.isfinite(results[0][9 + window :]).all() and not np.isfinite(results[0][9 : 9 + window]).any()


# ---- Files ----


def load(model: TinyGGUF, path: Path) -> Model:
    reader = GGUFReader(model.write(path))
    return Model.load(reader, reader.metadata, Context(None, 1))


def without(name: str) -> Callable[[TinyGGUF], None]:
    return lambda model: model.tensors.pop(name) and None


def setting(key: str, kind: int, value: object) -> Callable[[TinyGGUF], None]:
    return lambda model: model.metadata.update({key: (kind, value)})


@pytest.mark.parametrize(
    ("kind", "change", "error", "message"),
    [
        ("qwen3 with norm_in", without("blk.1.ffn_up_norm_in.weight"), FormatError, "blk.1.ffn_up_norm_in"),
        ("qwen3 with norm_in", without("blk.0.attn_q_norm_in.weight"), FormatError, "blk.0.attn_q_norm_in"),
        (
            "qwen3 with norm_in",
            without("blk.1.attn_output_norm_in.weight"),
            FormatError,
            "attn_output_norm_in",
        ),
        ("qwen3", without("blk.1.attn_k_norm.weight"), FormatError, "blk.1.attn_k_norm.weight"),
        ("gemma3", without("blk.2.post_ffw_norm.weight"), FormatError, "blk.2.post_ffw_norm.weight"),
        ("gemma3", setting("gemma3.attention.sliding_window", U32, 0), FormatError, "sliding_window"),
        ("gemma3", setting("gemma3.rope.freq_base_swa", F32, 0.0), FormatError, "freq_base_swa"),
        ("gemma3", setting("gemma3.attention.causal", BOOL, False), UnsupportedError, "later positions"),
        ("gemma3", setting("gemma3.final_logit_softcapping", F32, 30.0), UnsupportedError, "softcapping"),
        ("qwen3", setting("prism.hadamard.block_size", U32, 128), UnsupportedError, "prism.hadamard"),
        ("qwen3", setting("qwen3.pooling_type", U32, 4), UnsupportedError, "rankers"),
        ("qwen3", setting("qwen3.pooling_type", U32, 5), FormatError, "pooling_type"),
        ("qwen3", setting("qwen3.pooling_type", STRING, "last"), FormatError, "pooling_type"),
        ("qwen3", setting("qwen3.attention.scale", F32, 0.0), FormatError, "attention.scale"),
    ],
)
def test_what_is_missing_or_unknown_is_refused(
    tmp_path: Path, kind: str, change: Callable[[TinyGGUF], None], error: type[BitnetError], message: str
) -> None:
    model = tiny_model(**KINDS[kind])
    change(model)
    with pytest.raises(error, match=message.replace(".", r"\.")):
        load(model, tmp_path / "changed.gguf")


def test_norm_in_belongs_to_some_families_only(tmp_path: Path) -> None:
    model = tiny_model("bitnet")
    model.tensors |= {"blk.0.attn_q_norm_in.weight": tiny_model("bitnet").tensors["blk.0.attn_norm.weight"]}
    with pytest.raises(UnsupportedError, match="norm_in"):
        load(model, tmp_path / "bitnet.gguf")


def test_configuration(tmp_path: Path) -> None:
    """A window needs its key; the period and the other base have the family's defaults."""
    model = tiny_model("gemma3", **SMALL)
    config = load(model, tmp_path / "plain.gguf").config
    assert (config.window, config.pooling, config.attention_scale) == (0, "none", None)
    assert not any(config.has_window(i) for i in range(12))
    model.metadata["gemma3.attention.sliding_window"] = (U32, 512)
    model.metadata["gemma3.attention.scale"] = (F32, 0.0625)
    config = load(model, tmp_path / "window.gguf").config
    assert (config.window, config.window_period, config.local_rope_theta) == (512, 6, 10000.0)
    assert [i for i in range(18) if not config.has_window(i)] == [5, 11, 17]
    assert config.attention_scale == 0.0625
