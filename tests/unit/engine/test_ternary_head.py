"""Ternary embeddings and heads: exact weights in a dense type, and the logits that this type has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from model_numpy import PlanPlayer
from tiny_gguf import tiny_model

from bitnet_cli.engine.model import Model
from bitnet_cli.formats.codecs import codec_named, dense_codec
from bitnet_cli.formats.gguf_reader import GGUFReader
from bitnet_cli.formats.gguf_types import GGMLType
from bitnet_cli.library import BitNetModel
from bitnet_cli.native import Context, DenseMatrix, KVCache, Layout, Plan, TernaryMatrix, lib

F32 = np.float32
EXACT = {"of f16": np.float16, "of f32": F32}


def random_matrix(
    rows: int, cols: int, groups: int, dtype: type = np.float16
) -> tuple[np.ndarray, np.ndarray]:
    """Trits and scales of either sign, some of them 0; groups 0 is one scale for the tensor."""
    random = np.random.RandomState(rows + cols)
    shape = (rows, groups) if groups else (1, 1)
    scales = random.uniform(-1, 1, shape).astype(dtype).astype(F32)
    scales[random.random_sample(shape) < 0.1] = 0
    scales[0, 0] = dtype(1 / 3)
    return random.randint(-1, 2, (rows, cols)).astype(np.int8), scales


def values_of(trits: np.ndarray, scales: np.ndarray) -> np.ndarray:
    return trits * np.repeat(scales, trits.shape[1] // scales.shape[1], axis=1)


@pytest.mark.parametrize("dtype", EXACT.values(), ids=EXACT)
@pytest.mark.parametrize(
    ("rows", "cols", "groups"),
    [
        (1, 32, 0),
        (37, 100, 1),
        (16, 192, 1),
        (16, 96, 1),
        (65, 256, 4),
        (130, 256, 2),
        (18, 1024, 4),
        (3, 7, 0),
        (20, 8640, 1),
    ],
)
def test_the_weights_are_exact_in_the_smallest_type(rows: int, cols: int, groups: int, dtype: type) -> None:
    trits, scales = random_matrix(rows, cols, groups, dtype)
    expected = {np.float16: GGMLType.F16 if cols % 64 else GGMLType.Q2_0, F32: GGMLType.F32}[dtype]
    for n_threads, layout in ((1, Layout.T2), (3, Layout.L3), (2, Layout.R2), (1, Layout.C2)):
        ctx = Context(n_threads=n_threads)
        dense = DenseMatrix.from_ternary(ctx, TernaryMatrix.from_trits(ctx, trits, scales, layout))
        assert (dense.type, dense.rows, dense.cols) == (expected, rows, cols)
        if dense.type == GGMLType.Q2_0:
            found = values_of(*codec_named("q2_0").decode(dense.unpack(), (rows, cols)))
        else:
            found = dense_codec(dense.type).decode(dense.unpack(), (rows, cols))
        np.testing.assert_array_equal(found, values_of(trits, scales))


@pytest.mark.parametrize("name", ["f32", "f16", "bf16", "q8_0", "q6_k", "q4_0", "q2_0"])
def test_a_head_gives_its_bytes_back(name: str) -> None:
    codec, (rows, cols) = codec_named(name), (37, 768)
    data = np.random.RandomState(1).randint(0, 256, codec.n_bytes((rows, cols))).astype(np.uint8)
    np.testing.assert_array_equal(DenseMatrix(Context(), codec.type_id, data, rows, cols).unpack(), data)


def naive_q2_0(trits: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Blocks as docs/formats.md draws them: uint8 [bytes]."""
    rows, cols = trits.shape
    blocks = np.zeros((rows, cols // 64, 18), np.uint8)
    d = np.repeat(np.broadcast_to(scales, (rows, scales.shape[1])), cols // 64 // scales.shape[1], axis=1)
    blocks[..., :2] = d.astype("<f2")[..., None].view(np.uint8)
    codes = (trits + 1).astype(np.uint8).reshape(rows, -1, 16, 4)
    blocks[..., 2:] = codes[..., 0] | codes[..., 1] << 2 | codes[..., 2] << 4 | codes[..., 3] << 6
    return blocks.reshape(-1)


@pytest.mark.parametrize(("cols", "groups"), [(512, 0), (512, 1), (512, 4), (64, 1), (192, 3)])
def test_embedding_and_head_leave_the_bits_of_the_twin(isa: str, cols: int, groups: int) -> None:
    """The twin is given blocks that this file makes."""
    rows, ctx = 53, Context(isa, 2)
    trits, scales = random_matrix(rows, cols, groups)
    mat = DenseMatrix.from_ternary(ctx, TernaryMatrix.from_trits(ctx, trits, scales))
    blocks = naive_q2_0(trits, scales)
    values = values_of(trits, scales).astype("<f4").view(np.uint8)
    theirs = {"dense_type": int(GGMLType.F32), "dense": values, "dense_rows": rows}
    bufs = [(lib.BN_BUF_F32, cols)]
    embed, head = {"kind": lib.BN_OP_EMBED, "out": (0,)}, {"kind": lib.BN_OP_HEAD, "in": 0}
    plan = Plan(ctx, [{**embed, "head": mat}, {**head, "head": mat}], bufs, 16, 16)
    head_of_twin = DenseMatrix(ctx, GGMLType.Q2_0, blocks, rows, cols)
    twin = PlanPlayer([{**embed, **theirs}, {**head, "head": head_of_twin}], bufs, 16)
    tokens = np.array([0, 52, 7, 7, 31], np.int32)
    for n in (1, 2, 5):
        logits = np.zeros((n, rows), F32)
        plan.run(KVCache(1, 1, 16, 16), tokens[:n], 0, logits=logits)
        expected = twin.run(tokens[:n], 0, n)
        assert expected is not None and logits.tobytes() == expected.tobytes()
        assert plan.f32(0, n).tobytes() == values_of(trits, scales)[tokens[:n]].tobytes()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("name", ["tq2_0", "tq1_0", "iq1_bn", "iq2_bn", "i2_s"])
def test_models_with_ternary_embedding_and_head(tmp_path: Path, name: str, tied: bool) -> None:
    """The logits are those of the same file with the weights as Q2_0, or F32 where scales are no f16."""
    model, codec = tiny_model(dim=256), codec_named(name)
    (_, vocab), _, _ = model.tensors["token_embd.weight"]
    exact = name in ("iq2_bn", "i2_s")
    for tensor in ["token_embd.weight"] if tied else ["token_embd.weight", "output.weight"]:
        groups = 0 if name == "i2_s" else 1
        trits, scales = random_matrix(vocab, 256, groups, F32 if exact else np.float16)
        scales = np.abs(scales) + F32(0.125)
        scales = scales if exact else scales.astype(np.float16).astype(F32)
        if tensor == "output.weight":
            trits = trits[::-1].copy()
        model.tensors[tensor] = ((256, vocab), int(codec.type_id), codec.encode(trits, scales).tobytes())
    path = model.write(tmp_path / "ternary.gguf")
    ours = BitNetModel.from_pretrained(path, n_threads=2)
    reader = GGUFReader(path)
    loaded = Model.load(reader, reader.metadata, Context())
    assert (loaded.embedding is loaded.head) == tied  # a tied pair is held once
    for tensor in ("token_embd.weight", "output.weight"):
        if tensor in model.tensors:
            trits, scales = codec.decode(np.frombuffer(model.tensors[tensor][2], np.uint8), (vocab, 256))
            if exact:
                values = values_of(trits, scales).astype("<f4")
                model.tensors[tensor] = ((256, vocab), int(GGMLType.F32), values.tobytes())
            else:
                blocks = naive_q2_0(trits, scales)
                model.tensors[tensor] = ((256, vocab), int(GGMLType.Q2_0), blocks.tobytes())
    theirs = BitNetModel.from_pretrained(model.write(tmp_path / "dense.gguf"), n_threads=1)
    ids = [256, 65, 66, 65, 200, 0, 7]
    logits = ours.logits(ids)
    assert np.isfinite(logits).all() and np.array_equal(logits, theirs.logits(ids))
