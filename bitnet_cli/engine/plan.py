"""The score that the C library plays: the transformer, top to bottom, on one page.

Everything happens in the order it is written. Activations are quantised once per input and shared by the matrices that
read it, unless each has a norm of its own for it; the residual stream `x` is only ever added to. docs/model.md has the
mathematics and says which family has what.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np

from bitnet_cli.engine.config import ModelConfig
from bitnet_cli.engine.model import Model
from bitnet_cli.engine.rotation import rope_tables
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
    h = 10  # what is normed but not yet quantised, what is still to be normed, and in the end the last hidden state


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
    c, eps = model.config, model.config.rms_eps
    turns = rope_tables(c.n_rot, c.rope_theta, n_ctx, c.yarn)
    window_turns = rope_tables(c.n_rot, c.local_rope_theta, n_ctx) if c.window else turns
    ops = [embed(model)]
    for i, w in enumerate(model.layers):
        if w.norm_in is None:
            ops += [
                quant(Buf.x, Buf.x_i8, w.attn_norm, eps),
                matmul(Buf.x_i8, (w.q, Buf.q), (w.k, Buf.k), (w.v, Buf.v)),
            ]
        else:
            ops += [
                norm(Buf.x, Buf.h, w.attn_norm, eps),
                quant(Buf.h, Buf.x_i8, w.norm_in.q, eps),
                matmul(Buf.x_i8, (w.q, Buf.q)),
                quant(Buf.h, Buf.x_i8, w.norm_in.k, eps),
                matmul(Buf.x_i8, (w.k, Buf.k)),
                quant(Buf.h, Buf.x_i8, w.norm_in.v, eps),
                matmul(Buf.x_i8, (w.v, Buf.v)),
            ]
        if w.q_norm is not None and w.k_norm is not None:
            ops += [
                norm(Buf.q, Buf.q, w.q_norm, eps, head_dim=c.head_dim),
                norm(Buf.k, Buf.k, w.k_norm, eps, head_dim=c.head_dim),
            ]
        ops += [
            rope(c, *(window_turns if c.has_window(i) else turns)),
            kv_store(c, i),
            attention(c, i),
            quant(Buf.a, Buf.a_i8, w.attn_sub_norm, eps),
            *onto_residual(Buf.a_i8, w.attn_output, w.attn_post_norm, eps),
        ]
        if w.norm_in is None:
            ops += [
                quant(Buf.x, Buf.x_i8, w.ffn_norm, eps),
                matmul(Buf.x_i8, (w.gate, Buf.g)),
            ]
        else:
            ops += [
                norm(Buf.x, Buf.h, w.ffn_norm, eps),
                quant(Buf.h, Buf.x_i8, w.norm_in.gate, eps),
                matmul(Buf.x_i8, (w.gate, Buf.g)),
                quant(Buf.h, Buf.x_i8, w.norm_in.up, eps),
            ]
        ops += [
            gated_matmul(c, Buf.x_i8, w.up),
            quant(Buf.m, Buf.m_i8, w.ffn_sub_norm, eps),
            *onto_residual(Buf.m_i8, w.down, w.ffn_post_norm, eps),
        ]
    ops.append(norm(Buf.x, Buf.h, model.output_norm, eps))
    return ops if model.output is None else [*ops, head(model.output)]


def onto_residual(source: Buf, mat: TernaryMatrix, post_norm: np.ndarray | None, eps: float) -> list[Op]:
    """x += mat @ source, normed before it is added if there is a norm for that."""
    if post_norm is None:
        return [matmul(source, (mat, Buf.x), add=True)]
    return [matmul(source, (mat, Buf.h)), norm(Buf.h, Buf.x, post_norm, eps, add=True)]


# ---- The ops, one constructor each; bitnet_api.h says what they compute. ----


def embed(model: Model) -> Op:
    e = model.embedding
    scale = float(np.sqrt(np.float32(e.cols))) if model.config.arch.embedding_scaled else 0.0
    op: Op = {"kind": lib.BN_OP_EMBED, "out": (Buf.x,), "scale": scale}
    if isinstance(e, DenseMatrix):
        return {**op, "head": e}
    return {**op, "dense_type": e.type, "dense": e.data, "dense_rows": e.rows}


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
    scale = c.attention_scale or float(np.float32(1) / np.sqrt(np.float32(c.head_dim)))
    return {
        "kind": lib.BN_OP_ATTENTION,
        "in": Buf.q,
        "out": (Buf.a,),
        "layer": layer,
        "scale": scale,
        "window": c.window if c.has_window(layer) else 0,
        **_heads(c),
    }


def gated_matmul(c: ModelConfig, source: Buf, up: TernaryMatrix) -> Op:
    """m = act(g) * (up @ source)"""
    act = {"relu2": lib.BN_ACT_RELU2, "silu": lib.BN_ACT_SILU, "gelu_tanh": lib.BN_ACT_GELU}[
        c.arch.hidden_act
    ]
    return {"kind": lib.BN_OP_GATED_MATMUL, "in": source, "in2": Buf.g, "out": (Buf.m,), "mats": (up,),
            "act": act}  # fmt: skip


def norm(
    source: Buf, out: Buf, weight: np.ndarray, eps: float, *, head_dim: int = 0, add: bool = False
) -> Op:
    """Of all values of a token together, or of each head alone."""
    return {"kind": lib.BN_OP_NORM, "in": source, "out": (out,), "weight": weight, "eps": eps, "head_dim": head_dim,
            "add": int(add)}  # fmt: skip


def head(mat: DenseMatrix) -> Op:
    return {"kind": lib.BN_OP_HEAD, "in": Buf.h, "head": mat}


def _heads(c: ModelConfig) -> Op:
    return {"n_heads": c.n_heads, "n_kv_heads": c.n_kv_heads, "head_dim": c.head_dim}
