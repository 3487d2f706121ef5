"""The score that the C library plays: the transformer, top to bottom, on one page.

Everything happens in the order it is written. Activations are quantised once per input and shared by the matrices that
read it; the residual stream `x` is only ever added to. docs/model.md has the mathematics.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np

from bitnet_cli.engine.model import Model, ModelConfig
from bitnet_cli.native import DenseMatrix, TernaryMatrix, lib

Op = dict[str, Any]


class Buf(IntEnum):
    """The buffers of a plan, by index. Names ending in `_i8` hold quantised activations, the others floats."""

    x = 0  # the residual stream
    x_i8 = 1
    q = 2
    k = 3
    v = 4
    a = 5  # what attention returns
    a_i8 = 6
    g = 7  # the gate
    m = 8  # the gated product
    m_i8 = 9
    h = 10  # the last hidden state, normed


def buffers(c: ModelConfig) -> list[tuple[int, int]]:
    """(kind, width) of every buffer, in the order of `Buf`."""
    f32, i8 = lib.BN_BUF_F32, lib.BN_BUF_I8
    q_dim, kv_dim = c.n_heads * c.head_dim, c.n_kv_heads * c.head_dim
    return [
        (f32, c.dim), (i8, c.dim),
        (f32, q_dim), (f32, kv_dim), (f32, kv_dim),
        (f32, q_dim), (i8, q_dim),
        (f32, c.ffn_dim), (f32, c.ffn_dim), (i8, c.ffn_dim),
        (f32, c.dim),
    ]  # fmt: skip


def write_plan(model: Model, n_ctx: int) -> list[Op]:
    """The ops of one forward pass over up to n_ctx positions."""
    c, cos_sin = model.config, rope_tables(model.config, n_ctx)
    ops = [embed(model)]
    for i, layer in enumerate(model.layers):
        ops += [
            quant(Buf.x, Buf.x_i8, layer.attn_norm, c.rms_eps),
            matmul(Buf.x_i8, (layer.q, Buf.q), (layer.k, Buf.k), (layer.v, Buf.v)),
            rope(c, *cos_sin),
            kv_store(c, i),
            attention(c, i),
            quant(Buf.a, Buf.a_i8, layer.attn_sub_norm, c.rms_eps),
            matmul(Buf.a_i8, (layer.attn_output, Buf.x), add=True),
            quant(Buf.x, Buf.x_i8, layer.ffn_norm, c.rms_eps),
            matmul(Buf.x_i8, (layer.gate, Buf.g)),
            gated_matmul(c, Buf.x_i8, layer.up),
            quant(Buf.m, Buf.m_i8, layer.ffn_sub_norm, c.rms_eps),
            matmul(Buf.m_i8, (layer.down, Buf.x), add=True),
        ]
    return [*ops, norm(Buf.x, Buf.h, model.output_norm, c.rms_eps), head(model)]


def rope_tables(c: ModelConfig, n_ctx: int) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin of position * theta^(-2i/n_rot), float32 [n_ctx, n_rot/2]; the angle in float32 as in transformers."""
    inverse = np.float32(1) / np.power(
        c.rope_theta, np.arange(0, c.n_rot, 2, dtype=np.float64) / c.n_rot
    ).astype(np.float32)
    angle = (np.arange(n_ctx, dtype=np.float32)[:, None] * inverse[None, :]).astype(np.float64)
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


# ---- The ops, one constructor each; bitnet_api.h says what they compute. ----


def embed(model: Model) -> Op:
    e = model.embedding
    if isinstance(e, DenseMatrix):
        return {"kind": lib.BN_OP_EMBED, "out": (Buf.x,), "head": e}
    return {
        "kind": lib.BN_OP_EMBED,
        "out": (Buf.x,),
        "dense_type": e.type,
        "dense": e.data,
        "dense_rows": e.rows,
    }


def quant(source: Buf, out: Buf, weight: np.ndarray | None, eps: float) -> Op:
    op: Op = {"kind": lib.BN_OP_QUANT, "in": source, "out": (out,), "eps": eps}
    return op if weight is None else {**op, "weight": weight}


def matmul(source: Buf, *mats: tuple[Any, Buf], add: bool = False) -> Op:
    matrices, outs = zip(*mats, strict=True)
    return {"kind": lib.BN_OP_MATMUL, "in": source, "out": outs, "mats": matrices, "add": int(add)}


def rope(c: ModelConfig, cos: np.ndarray, sin: np.ndarray) -> Op:
    pairs = lib.BN_ROPE_NEOX if c.arch.rope == "neox" else lib.BN_ROPE_NORM
    return {"kind": lib.BN_OP_ROPE, "in": Buf.q, "in2": Buf.k, **_heads(c), "n_rot": c.n_rot, "rope": pairs,
            "rope_cos": cos, "rope_sin": sin}  # fmt: skip


def kv_store(c: ModelConfig, layer: int) -> Op:
    return {"kind": lib.BN_OP_KV_STORE, "in": Buf.k, "in2": Buf.v, "layer": layer, **_heads(c)}


def attention(c: ModelConfig, layer: int) -> Op:
    scale = float(np.float32(1) / np.sqrt(np.float32(c.head_dim)))
    return {
        "kind": lib.BN_OP_ATTENTION,
        "in": Buf.q,
        "out": (Buf.a,),
        "layer": layer,
        "scale": scale,
        **_heads(c),
    }


def gated_matmul(c: ModelConfig, source: Buf, up: TernaryMatrix) -> Op:
    """m = act(g) * (up @ source)"""
    act = {"relu2": lib.BN_ACT_RELU2, "silu": lib.BN_ACT_SILU}[c.arch.hidden_act]
    return {"kind": lib.BN_OP_GATED_MATMUL, "in": source, "in2": Buf.g, "out": (Buf.m,), "mats": (up,),
            "act": act}  # fmt: skip


def norm(source: Buf, out: Buf, weight: np.ndarray, eps: float) -> Op:
    return {"kind": lib.BN_OP_NORM, "in": source, "out": (out,), "weight": weight, "eps": eps}


def head(model: Model) -> Op:
    return {"kind": lib.BN_OP_HEAD, "in": Buf.h, "head": model.head}


def _heads(c: ModelConfig) -> Op:
    return {"n_heads": c.n_heads, "n_kv_heads": c.n_kv_heads, "head_dim": c.head_dim}
