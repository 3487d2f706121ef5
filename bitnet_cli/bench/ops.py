"""Where a token's time goes: the clock of the plan, summed by kind of op."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bitnet_cli.engine.model import Model
from bitnet_cli.engine.plan import write_plan
from bitnet_cli.native import lib

KINDS = {getattr(lib, name): name.removeprefix("BN_OP_").lower() for name in dir(lib) if name[:6] == "BN_OP_"}


@dataclass(frozen=True)
class OpTime:
    """All ops of one kind, of all layers together."""

    name: str
    us_per_token: float
    bytes_per_token: int
    """Of weights that they read for one token."""
    macs_per_token: int
    """Their products for one token if nothing is skipped; 0 for a head that meets only the last of many tokens."""


def op_times(
    model: Model,
    times_ns: np.ndarray,
    n_tokens: int,
    earlier: list[OpTime],
    read_shares: dict[str, float],
    one_by_one: bool,
) -> list[OpTime]:
    """Sums the times of a plan by kind, largest first; of earlier samples of the same test, the faster ones stay.

    Args:
        times_ns: what `Plan.times_ns` returned, uint64 [n_ops].
        n_tokens: how many tokens they were spent on.
        earlier: the result for earlier samples.
        read_shares: share of its weights that an op reads, for those that skip some.
        one_by_one: every token had its logits.
    """
    sums: dict[str, list[float]] = {}
    for op, ns in zip(write_plan(model, 1), times_ns, strict=True):
        mats = op.get("mats", ())
        entry = sums.setdefault(_name(model, op), [0.0, 0, 0])
        entry[0] += float(ns) / 1e3 / n_tokens
        entry[1] += sum(m.n_bytes for m in mats)
        entry[2] += sum(m.rows * m.cols for m in mats)
        if op["kind"] == lib.BN_OP_HEAD:
            entry[1] += model.head.n_bytes
            entry[2] += model.head.rows * model.head.cols * one_by_one
    found = [
        OpTime(name, us, int(n_bytes * read_shares.get(name, 1.0)), int(macs))
        for name, (us, n_bytes, macs) in sums.items()
    ]
    if earlier and sum(o.us_per_token for o in earlier) <= sum(o.us_per_token for o in found):
        return earlier
    return sorted(found, key=lambda op: -op.us_per_token)


def _name(model: Model, op: dict[str, object]) -> str:
    mats = op.get("mats", ())
    assert isinstance(mats, tuple)
    if len(mats) == 3:
        return "attn_qkv"
    if mats:
        for layer in model.layers:
            for name in ("attn_output", "gate", "up", "down"):
                if getattr(layer, name) is mats[0]:
                    return name if name == "attn_output" else f"ffn_{name}"
    return KINDS[op["kind"]]
