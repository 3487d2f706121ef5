"""The plan played by C: the bits of the NumPy twin, op by op, whatever the ISA, the threads or the batch."""

from __future__ import annotations

import gc
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from model_numpy import PlanPlayer, Quantised
from tiny_checkpoints import FAMILIES
from tiny_models import Played, converted

from bitnet_cli.native import Context, DenseMatrix, KVCache, Plan, lib

TOKENS = (np.arange(19, dtype=np.int32) * 53 + 5) % 320
# q6_k needs widths in multiples of 256.
HEADS = [(family, head, {}) for family in FAMILIES for head in ("f16", "q8_0")] + [
    ("bitnet-b1.58", "q6_k", {"hidden_size": 512, "num_attention_heads": 8, "num_key_value_heads": 2}),
    ("bitnet", "q6_k", {}),
    ("llama", "q6_k", {}),
]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plans")


@cache
def twin_logits(path: Path) -> np.ndarray:
    return Played(path).twin().run(TOKENS, 0, len(TOKENS))


def in_chunks(played: Played, sizes: list[int]) -> np.ndarray:
    edges = np.cumsum([0, *sizes])
    return np.concatenate([played.run(TOKENS[a:b], int(a)) for a, b in pairwise(edges)])


@pytest.mark.parametrize("sizes", [[19], [7, 3, 9]], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_op_leaves_the_bits_of_the_twin(directory: Path, family: str, sizes: list[int]) -> None:
    played = Played(converted(directory, family, "packed_auto"))
    twin = played.twin()
    edges = np.cumsum([0, *sizes])
    for pos, end in pairwise(int(edge) for edge in edges):
        tokens = TOKENS[pos:end]
        for i, op in enumerate(played.ops):
            logits = played.run(tokens, pos, first=i, end=i + 1)
            expected = twin.run(tokens, pos, len(tokens), first=i, end=i + 1)
            for index in op.get("out", ()):
                ours, theirs = played.get(index, len(tokens)), twin.buffers[index]
                if isinstance(ours, Quantised):
                    assert (ours.q == theirs.q).all() and ours.s.tobytes() == theirs.s.tobytes(), (i, index)
                else:
                    assert ours.tobytes() == theirs.tobytes(), (i, index)
        assert logits.tobytes() == expected.tobytes()


@pytest.mark.parametrize(("family", "head", "shape"), HEADS, ids=lambda v: v if isinstance(v, str) else "")
def test_bits_do_not_depend_on_isa_threads_or_batch(
    directory: Path, isa: str, family: str, head: str, shape: dict[str, int]
) -> None:
    path = converted(directory, family, "masters", head, **shape)
    expected = twin_logits(path)
    for n_threads, sizes in ((1, [19]), (1, [1] * 19), (2, [2, 11, 1, 5]), (3, [1, 18])):
        logits = in_chunks(Played(path, isa, n_threads), sizes)
        assert logits.tobytes() == expected.tobytes(), (n_threads, sizes)


@pytest.mark.parametrize(
    ("type_", "block_bytes", "d_at"),
    [(lib.BN_TYPE_Q8_0, 34, 0), (lib.BN_TYPE_Q4_0, 18, 0), (lib.BN_TYPE_Q6_K, 210, 208)],
    ids=["q8_0", "q4_0", "q6_k"],
)
def test_quantised_heads_leave_the_bits_of_the_twin(
    isa: str, type_: int, block_bytes: int, d_at: int
) -> None:
    rows, cols, n_tokens = 53, 768, 11
    random = np.random.RandomState(4)
    blocks = random.randint(0, 256, (rows * lib.bn_type_row_bytes(type_, cols) // block_bytes, block_bytes))
    data = blocks.astype(np.uint8)
    d = random.standard_normal(len(data)).astype(np.float16)
    data[:, d_at : d_at + 2] = d.view(np.uint8).reshape(-1, 2)
    ctx, bufs = Context(isa, 2), [(lib.BN_BUF_F32, cols)]
    ops = [{"kind": lib.BN_OP_HEAD, "in": 0, "head": DenseMatrix(ctx, type_, data.reshape(-1), rows, cols)}]
    plan, twin = Plan(ctx, ops, bufs, 16, 16), PlanPlayer(ops, bufs, 16)
    h = random.standard_normal((n_tokens, cols)).astype(np.float32)
    h[3, 5], h[7, 700], h[8] = np.nan, -np.inf, 0
    plan.f32(0, n_tokens)[:] = h
    twin.buffers[0] = h
    logits = np.zeros((n_tokens, rows), np.float32)
    tokens = np.zeros(n_tokens, np.int32)
    plan.run(KVCache(1, 1, 16, 16), tokens, 0, logits=logits)
    np.testing.assert_array_equal(logits, twin.run(tokens, 0, n_tokens))
    assert np.isnan(logits).all(axis=1).nonzero()[0].tolist() == [3, 7]
    assert np.isfinite(np.delete(logits, [3, 7], axis=0)).all()


def test_a_view_outlives_its_plan(directory: Path) -> None:
    played = Played(converted(directory, "bitnet", "masters"))
    played.run(TOKENS)
    view, expected = played.plan.f32(0, len(TOKENS)), played.get(0, len(TOKENS))
    del played
    gc.collect()
    assert (view == expected).all()
