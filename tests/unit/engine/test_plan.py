"""The plan played by C: the bits of the NumPy twin, op by op, whatever the ISA, the threads or the batch."""

from __future__ import annotations

import gc
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from model_numpy import Quantised
from tiny_checkpoints import FAMILIES
from tiny_models import Played, converted

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


def test_a_view_outlives_its_plan(directory: Path) -> None:
    played = Played(converted(directory, "bitnet", "masters"))
    played.run(TOKENS)
    view, expected = played.plan.f32(0, len(TOKENS)), played.get(0, len(TOKENS))
    del played
    gc.collect()
    assert (view == expected).all()
