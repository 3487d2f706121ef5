"""Attention far from the start: the twin's bits for every cache type, however many threads and tokens share the work."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from model_numpy import PlanPlayer

from bitnet_cli.errors import UsageError
from bitnet_cli.native import KV_TYPES, Context, KVCache, Plan, lib

N_CTX = 340
# Heads, key heads, values of a head: grouped as in the 2B model, alone, many to one key head, and no whole slab.
SHAPES = [(8, 2, 32), (2, 2, 20), (20, 1, 16), (3, 1, 1)]
# How 300 tokens before and 40 after come: threads share single tokens from position 256 on, batches always.
SIZES = [[300, 40], [300, *[1] * 9, 4, 3, 2, 5, 17], [7, 16, 233, 1, 1, 82]]


def attention_ops(
    heads: int, kv_heads: int, head_dim: int
) -> tuple[list[dict[str, Any]], list[tuple[int, int]]]:
    """Keys and values into the cache, then attention: buffers 0..3 are queries, keys, values and the result."""
    shape = {"layer": 1, "n_heads": heads, "n_kv_heads": kv_heads, "head_dim": head_dim}
    ops = [
        {"kind": lib.BN_OP_KV_STORE, "in": 1, "in2": 2, **shape},
        {"kind": lib.BN_OP_ATTENTION, "in": 0, "out": (3,), "scale": head_dim**-0.5, **shape},
    ]
    widths = (heads * head_dim, kv_heads * head_dim, kv_heads * head_dim, heads * head_dim)
    return ops, [(lib.BN_BUF_F32, width) for width in widths]


class Inputs:
    """Random queries, keys and values of N_CTX positions, a few of them large."""

    def __init__(self, heads: int, kv_heads: int, head_dim: int, kv_type: str) -> None:
        self.shape, self.kv_type = (heads, kv_heads, head_dim), kv_type
        self.ops, self.bufs = attention_ops(*self.shape)
        random = np.random.RandomState(7)
        self.values = [
            random.standard_normal((N_CTX, width)).astype(np.float32) for _, width in self.bufs[:3]
        ]
        self.values[1][::41] *= 30

    def twin(self) -> np.ndarray:
        player = PlanPlayer(self.ops, self.bufs, N_CTX, self.kv_type)
        player.buffers[:3] = self.values
        player.run(np.zeros(N_CTX, np.int32), 0)
        return player.buffers[3]

    def play(self, ctx: Context, sizes: list[int], kv: KVCache | None = None) -> np.ndarray:
        plan = Plan(ctx, self.ops, self.bufs, N_CTX, max(sizes))
        kv = kv or KVCache(2, *self.shape[1:], N_CTX, self.kv_type)
        results = []
        for pos, end in pairwise(int(edge) for edge in np.cumsum([0, *sizes])):
            for i, value in enumerate(self.values):
                plan.f32(i, end - pos)[:] = value[pos:end]
            plan.run(kv, np.zeros(end - pos, np.int32), pos)
            results.append(plan.f32(3, end - pos).copy())
        return np.concatenate(results)


@pytest.mark.parametrize("kv_type", KV_TYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bits_of_the_twin(isa: str, shape: tuple[int, int, int], kv_type: str) -> None:
    inputs = Inputs(*shape, kv_type)
    expected = inputs.twin()
    for n_threads in (1, 2, 3):
        ctx = Context(isa, n_threads)
        for sizes in SIZES:
            assert inputs.play(ctx, sizes).tobytes() == expected.tobytes(), (n_threads, sizes)


@pytest.mark.parametrize("kv_type", ["f32", "f16"])
def test_later_positions_do_not_matter(isa: str, kv_type: str) -> None:
    """What a longer run left behind the positions in use, NaN and infinity too, has no influence."""
    inputs, ctx = Inputs(8, 2, 32, kv_type), Context(isa, 2)
    kv = KVCache(2, 2, 32, N_CTX, kv_type)
    expected = inputs.play(ctx, [300, 40], kv)
    spoilt = Inputs(8, 2, 32, kv_type)
    spoilt.values[1][:], spoilt.values[2][:] = np.nan, np.inf
    spoilt.play(ctx, [N_CTX], kv)
    for sizes in SIZES:
        assert inputs.play(ctx, sizes, kv).tobytes() == expected.tobytes(), sizes


def test_int8_is_close_to_float32() -> None:
    ctx = Context(None, 1)
    exact, rounded = (Inputs(8, 2, 32, kv_type).play(ctx, [N_CTX]) for kv_type in ("f32", "i8"))
    error = np.abs(exact - rounded).mean() / exact.std()
    assert 1e-4 < error < 0.02


@pytest.mark.parametrize(("kv_type", "size"), [("f32", 4), ("f16", 2), ("i8", 1)])
def test_bytes(kv_type: str, size: int) -> None:
    scales = 4 if kv_type == "i8" else 0
    assert KVCache(3, 2, 32, 64, kv_type).n_bytes == 2 * 3 * 2 * 64 * (32 * size + scales)


def test_unknown_type() -> None:
    with pytest.raises(UsageError, match="no KV cache of type `f8`"):
        KVCache(1, 1, 16, 16, "f8")
