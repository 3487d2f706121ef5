"""Scales per tensor, row and group of columns, and sizes that no block divides: the bits of the NumPy twin on every path."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from model_numpy import PlanPlayer

from bitnet_cli.engine.options import layouts_for
from bitnet_cli.errors import NativeError
from bitnet_cli.native import Context, DenseMatrix, KVCache, Layout, Plan, TernaryMatrix, lib

N_CTX, VOCAB, N_HEADS, N_KV_HEADS, HEAD_DIM = 24, 37, 3, 1, 100
TOKENS = (np.arange(21, dtype=np.int32) * 5 + 3) % VOCAB
X, X_I8, Q, K, V, A, A_I8, G, M, M_I8 = range(10)
SIZES = {
    "tensor": (250, 530),
    "row": (250, 530),
    "64": (320, 448),
    "128": (256, 640),
    "256": (512, 768),
    "mixed": (512, 768),
}
"""dim and ffn_dim for each granularity."""
F32 = np.float32


def scales_for(kind: str, rows: int, cols: int, i: int, random: np.random.RandomState) -> np.ndarray:
    """float32 scales of either sign, a few of them 0; those of odd matrices are numbers of f16."""
    if kind == "mixed":
        kind = ["tensor", "row", "64", "128", "256"][i % 5]
    if not kind.isdigit() or cols % int(kind):
        kind = "row" if kind.isdigit() else kind
        shape = {"tensor": (1, 1), "row": (rows, 1)}[kind]
    else:
        shape = (rows, cols // int(kind))
    scales = random.uniform(0.5, 1.5, shape) * random.choice([-1, 1], shape, p=[0.2, 0.8]) / np.sqrt(cols)
    scales[random.random_sample(shape) < 0.03] = 0
    return scales.astype(np.float16).astype(F32) if i % 2 else scales.astype(F32)


class Played:
    """One layer with head_dim 100, embedding and head around it, as both players see it."""

    def __init__(self, kind: str, kernel: str, act: str, skip: bool, isa: str | None, n_threads: int) -> None:
        self.ctx, random, (dim, ffn) = Context(isa, n_threads), np.random.RandomState(11), SIZES[kind]
        layouts = layouts_for(kernel, act, skip)
        q_dim, kv_dim = N_HEADS * HEAD_DIM, N_KV_HEADS * HEAD_DIM
        mats = []
        for i, (rows, cols) in enumerate(
            [(q_dim, dim), (kv_dim, dim), (kv_dim, dim), (dim, q_dim), (ffn, dim), (ffn, dim), (dim, ffn)]
        ):
            layout = {5: layouts.up, 6: layouts.down}.get(i, layouts.whole)
            trits = random.randint(-1, 2, (rows, cols)).astype(np.int8)
            scales = scales_for(kind, rows, cols, i, random)
            mats.append(TernaryMatrix.from_trits(self.ctx, trits, scales, layout))
            assert (mats[-1].unpack() == trits).all()
        self.mats = mats
        dense = random.standard_normal((VOCAB, dim)).astype(F32).view(np.uint8).reshape(-1)
        angle = np.outer(np.arange(N_CTX), 100.0 ** (-np.arange(HEAD_DIM // 2) / 50))
        heads = {"n_heads": N_HEADS, "n_kv_heads": N_KV_HEADS, "head_dim": HEAD_DIM}
        norm = random.uniform(0.5, 1.5, dim).astype(F32)
        f32, i8 = lib.BN_BUF_F32, lib.BN_BUF_I8
        self.bufs = [(f32, dim), (i8, dim), (f32, q_dim), (f32, kv_dim), (f32, kv_dim), (f32, q_dim), (i8, q_dim),
                     (f32, ffn), (f32, ffn), (i8, ffn)]  # fmt: skip
        self.ops: list[dict[str, Any]] = [
            {"kind": lib.BN_OP_EMBED, "out": (X,), "dense_type": lib.BN_TYPE_F32, "dense": dense, "dense_rows": VOCAB},
            {"kind": lib.BN_OP_QUANT, "in": X, "out": (X_I8,), "weight": norm, "eps": 1e-5},
            {"kind": lib.BN_OP_MATMUL, "in": X_I8, "out": (Q, K, V), "mats": mats[:3]},
            {"kind": lib.BN_OP_ROPE, "in": Q, "in2": K, "n_rot": HEAD_DIM, "rope": lib.BN_ROPE_NEOX,
             "rope_cos": np.cos(angle).astype(F32), "rope_sin": np.sin(angle).astype(F32), **heads},
            {"kind": lib.BN_OP_KV_STORE, "in": K, "in2": V, "layer": 0, **heads},
            {"kind": lib.BN_OP_ATTENTION, "in": Q, "out": (A,), "layer": 0, "scale": 0.1, **heads},
            {"kind": lib.BN_OP_QUANT, "in": A, "out": (A_I8,)},
            {"kind": lib.BN_OP_MATMUL, "in": A_I8, "out": (X,), "mats": mats[3:4], "add": 1},
            {"kind": lib.BN_OP_QUANT, "in": X, "out": (X_I8,), "weight": norm, "eps": 1e-5},
            {"kind": lib.BN_OP_MATMUL, "in": X_I8, "out": (G,), "mats": mats[4:5]},
            {"kind": lib.BN_OP_GATED_MATMUL, "in": X_I8, "in2": G, "out": (M,), "mats": mats[5:6],
             "act": {"relu2": lib.BN_ACT_RELU2, "silu": lib.BN_ACT_SILU}[act]},
            {"kind": lib.BN_OP_QUANT, "in": M, "out": (M_I8,)},
            {"kind": lib.BN_OP_MATMUL, "in": M_I8, "out": (X,), "mats": mats[6:], "add": 1},
            {"kind": lib.BN_OP_HEAD, "in": X, "head": DenseMatrix(self.ctx, lib.BN_TYPE_F32, dense, VOCAB, dim)},
        ]  # fmt: skip
        self.plan = Plan(self.ctx, self.ops, self.bufs, N_CTX, N_CTX)

    def logits(self, sizes: list[int], kv_type: str = "f16") -> np.ndarray:
        """Of all tokens, evaluated so many at a time."""
        kv = KVCache(1, N_KV_HEADS, HEAD_DIM, N_CTX, kv_type)
        logits = np.zeros((len(TOKENS), VOCAB), F32)
        for pos, end in pairwise(np.cumsum([0, *sizes]).tolist()):
            self.plan.run(kv, TOKENS[pos:end], pos, logits=logits[pos:end])
        return logits


def twin_logits(played: Played, kv_type: str = "f16") -> np.ndarray:
    logits = PlanPlayer(played.ops, played.bufs, N_CTX, kv_type).run(TOKENS, 0, len(TOKENS))
    assert logits is not None and np.isfinite(logits).all()
    return logits


@pytest.mark.parametrize("act", ["relu2", "silu"])
@pytest.mark.parametrize("kind", SIZES)
def test_bits_do_not_depend_on_isa_kernel_threads_or_batch(isa: str, kind: str, act: str) -> None:
    expected = None
    for n_threads, kernel, skip in ((1, "mad", True), (2, "lut", True), (3, "mad", False)):
        played = Played(kind, kernel, act, skip, isa, n_threads)
        if expected is None:
            expected = twin_logits(played)
        for sizes in ([21], [1] * 21, [2, 11, 3, 5]):
            assert played.logits(sizes).tobytes() == expected.tobytes(), (n_threads, kernel, skip, sizes)


@pytest.mark.parametrize("kv_type", ["f32", "f16", "i8"])
def test_heads_of_100_values_in_every_cache(isa: str, kv_type: str) -> None:
    played = Played("tensor", "mad", "silu", False, isa, 2)
    expected = twin_logits(played, kv_type)
    for sizes in ([21], [3, 18], [1] * 21):
        assert played.logits(sizes, kv_type).tobytes() == expected.tobytes()


def test_scales_per_group_lie_with_their_tiles_whatever_was_asked_for() -> None:
    trits, scales = np.ones((70, 256), np.int8), np.ones((70, 2), F32)
    for layout in Layout:
        mat = TernaryMatrix.from_trits(Context(), trits, scales, layout)
        assert mat.layout == Layout.G2 and not mat.skips
        assert mat.n_bytes == 128 * (256 // 4 + 2 * 2)
    scales[69, 1] = 0.1  # no number of f16
    assert TernaryMatrix.from_trits(Context(), trits, scales).n_bytes == 128 * (256 // 4 + 2 * 4)


def test_one_group_for_all_columns_is_a_scale_per_row() -> None:
    mat = TernaryMatrix.from_trits(Context(), np.ones((3, 128), np.int8), np.ones((3, 1), F32), Layout.R2)
    assert mat.layout == Layout.R2


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(1, 1), (5, 1), (5, 2)])
def test_scales_that_are_not_finite_are_refused(shape: tuple[int, int], bad: float) -> None:
    scales = np.ones(shape, F32)
    scales[-1, -1] = bad
    with pytest.raises(NativeError, match="a scale is not a finite number"):
        TernaryMatrix.from_trits(Context(), np.ones((5, 256), np.int8), scales)


@pytest.mark.parametrize(
    ("rows", "cols", "shape"),
    [(5, 256, (2, 1)), (5, 256, (1, 2)), (5, 256, (5, 3)), (5, 256, (5, 8)), (5, 1024, (5, 2)), (5, 200, (5, 2)),
     (5, 256, (0, 1)), (5, 256, (5, 0)), (5, 256, (6, 2))],
)  # fmt: skip
def test_scales_that_do_not_fit_are_refused(rows: int, cols: int, shape: tuple[int, int]) -> None:
    with pytest.raises(NativeError, match="out of range"):
        TernaryMatrix.from_trits(Context(), np.ones((rows, cols), np.int8), np.ones(shape, F32))


def test_scales_are_copied() -> None:
    scales = np.ones((5, 1), F32)
    mat = TernaryMatrix.from_trits(Context(), np.ones((5, 4), np.int8), scales)
    scales[:] = 2
    assert (mat.scales == 1).all()
    with pytest.raises(ValueError, match="scales must be"):
        TernaryMatrix.from_trits(Context(), np.ones((5, 4), np.int8), np.ones(5, F32))
