"""The ops of a forward pass by name: what each reads, what it computes, and how many zeros the feed-forward part holds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bitnet_cli.bench.measurement import FfnZeros, OpTime, Test
from bitnet_cli.engine.model import Model
from bitnet_cli.engine.plan import Buf, Op, write_plan
from bitnet_cli.engine.session import Session
from bitnet_cli.native import lib

PROBE_TOKENS = 8

_KINDS = {
    lib.BN_OP_EMBED: "embed",
    lib.BN_OP_QUANT: "quant",
    lib.BN_OP_ROPE: "rope",
    lib.BN_OP_KV_STORE: "kv_store",
    lib.BN_OP_ATTENTION: "attention",
    lib.BN_OP_GATED_MATMUL: "up",
    lib.BN_OP_NORM: "norm",
    lib.BN_OP_HEAD: "head",
}


def label(op: Op) -> str:
    """What an op is called in tables: its kind, for matrices their names."""
    if op["kind"] != lib.BN_OP_MATMUL:
        return _KINDS.get(op["kind"], f"op {op['kind']}")
    if op["in"] in (Buf.a_i8, Buf.m_i8):
        return "down" if op["in"] == Buf.m_i8 else "attn_output"
    return "gate" if op["out"][0] == Buf.g else "qkv"


def op_times(
    model: Model,
    times_ns: np.ndarray,
    test: Test,
    n_runs: int,
    cache_bytes: float,
    skipped: FfnZeros | None,
) -> tuple[OpTime, ...]:
    """The time of each kind of op, per token, in the order in which the kinds first come.

    Args:
        times_ns: uint64 [n_ops], of all repetitions together.
        n_runs: how many these were.
        cache_bytes: what attention reads for a token, in all layers.
        skipped: the zeros for which nothing is read; None if everything is.
    """
    n_tokens = test.n_tokens * n_runs
    kinds: dict[str, list[float]] = {}
    for op, ns in zip(write_plan(model, 1), times_ns, strict=True):
        kind = label(op)
        sums = kinds.setdefault(kind, [0.0, 0.0, 0.0])
        n_bytes, macs = _work(op)
        sums[0] += float(ns)
        sums[1] += n_bytes * _live(kind, skipped)
        sums[2] += macs / (test.n_prompt if kind == "head" and test.is_prompt else 1)
    if "attention" in kinds:
        kinds["attention"][1] = cache_bytes
    total = sum(ns for ns, _, _ in kinds.values()) or 1.0
    return tuple(
        OpTime(kind, ns / n_tokens / 1000, ns / total, n_bytes, macs)
        for kind, (ns, n_bytes, macs) in kinds.items()
    )


def _work(op: Op) -> tuple[int, int]:
    """Bytes of weights and multiply-adds with them for one token."""
    mats = [*op.get("mats", ()), *([op["head"]] if "head" in op else [])]
    return sum(mat.n_bytes for mat in mats), sum(mat.rows * mat.cols for mat in mats)


def _live(kind: str, skipped: FfnZeros | None) -> float:
    if skipped is None:
        return 1.0
    return {"up": 1 - skipped.gate, "down": 1 - skipped.down}.get(kind, 1.0)


def measure_zeros(session: Session, tokens: Sequence[int]) -> FfnZeros | None:
    """The share of zeros after relu² and among the int8 inputs of `down`, over all layers and a few tokens.

    Args:
        session: an empty one; its cache is written, its position stays at the start.
        tokens: token ids, as many as a batch may have at most.

    Returns:
        None for a model without relu².
    """
    config = session.model.config
    if config.arch.hidden_act != "relu2":
        return None
    ids, first, n = np.array(tokens, np.int32), 0, len(tokens)
    shut, zeros = [], []
    for end, op in enumerate(write_plan(session.model, 1), start=1):
        is_gate = label(op) == "gate"
        if not is_gate and not (op["kind"] == lib.BN_OP_QUANT and op["out"][0] == Buf.m_i8):
            continue
        session.play(ids, first, end)
        first = end
        if is_gate:
            shut.append(float(np.mean(session.plan.f32(Buf.g, n) <= 0)))
        else:
            zeros.append(float(np.mean(session.plan.i8(Buf.m_i8, n)[0][:, : config.ffn_dim] == 0)))
    return FfnZeros(float(np.mean(shut)), float(np.mean(zeros)))
