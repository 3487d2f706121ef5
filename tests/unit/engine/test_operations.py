"""Single operations in numbers that a person can check, through the C player on every instruction set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from model_numpy import exp, lane_sum

from bitnet_cli.native import Context, KVCache, Layout, Plan, TernaryMatrix, lib

F32, I8 = lib.BN_BUF_F32, lib.BN_BUF_I8
H = [0.1, -0.25, 0.5, 1.0, -2.0, 0.0039370078, 1.4999, -0.0236220472]
Q = [6, -16, 32, 64, -127, 0, 95, -2]
T = [1, -1, 0, 1, 1, 0, -1, 1]


def play(isa: str, ops: list[dict[str, Any]], bufs: list[tuple[int, int]], *inputs: list[float]) -> Plan:
    """One token through `ops`; `inputs` go into the buffers in order."""
    plan = Plan(Context(isa), ops, bufs, n_ctx=8, max_tokens=1)
    for index, values in enumerate(inputs):
        plan.f32(index, 1)[0] = values
    plan.run(KVCache(1, 1, bufs[0][1], 8), np.zeros(1, np.int32), 0)
    return plan


def quantised(isa: str, h: list[float]) -> tuple[list[int], float, int]:
    plan = play(isa, [{"kind": lib.BN_OP_QUANT, "in": 0, "out": (1,)}], [(F32, len(h)), (I8, len(h))], h)
    q, s, total = plan.i8(1, 1)
    return q[0, : len(h)].tolist(), float(s[0]), int(total[0])


def bit_linear(isa: str, h: list[float], trits: list[int], scale: float, add: float | None = None) -> float:
    """One row: quantise, multiply, scale; onto `add` if given."""
    mat = TernaryMatrix.from_trits(Context(isa), np.array([trits], np.int8), scale)
    ops = [
        {"kind": lib.BN_OP_QUANT, "in": 0, "out": (2,)},
        {"kind": lib.BN_OP_MATMUL, "in": 2, "out": (1,), "mats": (mat,), "add": int(add is not None)},
    ]
    plan = play(isa, ops, [(F32, len(h)), (F32, 1), (I8, len(h))], h, [add or 0.0])
    return float(plan.f32(1, 1)[0, 0])


def test_quantisation_rounds_half_to_even(isa: str) -> None:
    assert quantised(isa, H) == (Q, 63.5, sum(Q))


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.5, 0), (-0.5, 0), (1.5, 2), (-1.5, -2), (2.5, 2), (-2.5, -2), (126.5, 126), (-127.0, -127)],
)
def test_ties(isa: str, value: float, expected: int) -> None:
    q, s, _ = quantised(isa, [127.0, value])
    assert (q, s) == ([127, expected], 1.0)


def test_bit_linear_is_the_exact_sum_scaled(isa: str) -> None:
    assert sum(q * t for q, t in zip(Q, T, strict=True)) == -138
    expected = np.float32(-138) / np.float32(63.5) * np.float32(1.21875)
    assert bit_linear(isa, H, T, 1.21875) == expected
    assert abs(expected + 2.648622) < 1e-6


def test_the_residual_is_added_last(isa: str) -> None:
    y = np.float32(-138) / np.float32(63.5) * np.float32(1.21875)
    assert bit_linear(isa, H, T, 1.21875, add=10.0) == np.float32(10) + y


@pytest.mark.parametrize("sub_norm", [False, True])
def test_a_row_of_zeros_gives_zeros(isa: str, sub_norm: bool) -> None:
    op: dict[str, Any] = {"kind": lib.BN_OP_QUANT, "in": 0, "out": (1,), "eps": 1e-5}
    if sub_norm:
        op["weight"] = np.ones(8, np.float32)
    q, s, total = play(isa, [op], [(F32, 8), (I8, 8)], [0.0] * 8).i8(1, 1)
    assert not q.any() and total[0] == 0 and s[0] == np.float32(127) / np.float32(1e-5)
    assert bit_linear(isa, [0.0] * 8, T, 1.21875) == 0.0


def test_eps_is_inside_the_root(isa: str) -> None:
    weight = np.array([1, 2, 3, 4], np.float32)
    op = {"kind": lib.BN_OP_NORM, "in": 0, "out": (1,), "weight": weight, "eps": 0.75}
    y = play(isa, [op], [(F32, 4), (F32, 4)], [1.0, -1.0, 0.0, 1.0]).f32(1, 1)[0]
    # mean of squares 0.75, plus eps 1.5; with eps outside the root the values would be 0.619...
    assert np.allclose(y, weight * [1, -1, 0, 1] / np.sqrt(1.5), rtol=3e-7, atol=0)


@pytest.mark.parametrize(
    ("pairs", "partner"), [(lib.BN_ROPE_NEOX, 64), (lib.BN_ROPE_NORM, 1)], ids=["neox", "norm"]
)
def test_rope_turns_the_first_unit_vector(isa: str, pairs: int, partner: int) -> None:
    inverse = 500000.0 ** (-np.arange(64) / 64)
    angle = np.arange(8)[:, None] * inverse
    op = {
        "kind": lib.BN_OP_ROPE, "in": 0, "in2": 1, "n_heads": 1, "n_kv_heads": 1, "head_dim": 128, "n_rot": 128,
        "rope": pairs, "rope_cos": np.cos(angle).astype(np.float32), "rope_sin": np.sin(angle).astype(np.float32),
    }  # fmt: skip
    plan = Plan(Context(isa), [op], [(F32, 128), (F32, 128)], n_ctx=8, max_tokens=1)
    for index in (0, 1):
        plan.f32(index, 1)[0] = np.eye(128)[0]
    plan.run(KVCache(1, 1, 128, 8), np.zeros(1, np.int32), 1)
    expected = np.zeros(128, np.float32)
    expected[[0, partner]] = np.cos(1.0), np.sin(1.0)
    for index in (0, 1):
        assert (plan.f32(index, 1)[0] == expected).all()


@pytest.mark.parametrize("layout", [Layout.T2, Layout.R2])
@pytest.mark.parametrize(
    ("act", "expected"),
    [(lib.BN_ACT_RELU2, [18.0, 0.0, 0.0]), (lib.BN_ACT_SILU, [5.715445, -0.537883, 0.0])],
    ids=["relu2", "silu"],
)
def test_the_gate_goes_through_the_nonlinearity(
    isa: str, act: int, expected: list[float], layout: Layout
) -> None:
    up = TernaryMatrix.from_trits(Context(isa), np.ones((3, 2), np.int8), 1.0, layout)
    ops = [
        {"kind": lib.BN_OP_QUANT, "in": 2, "out": (3,)},
        {"kind": lib.BN_OP_GATED_MATMUL, "in": 3, "in2": 0, "out": (1,), "mats": (up,), "act": act},
    ]
    bufs = [(F32, 3), (F32, 3), (F32, 2), (I8, 2)]
    plan = play(isa, ops, bufs, [3.0, -1.0, 0.0], [np.nan] * 3, [1.0, 1.0])
    assert np.allclose(plan.f32(1, 1)[0], expected, rtol=1e-6, atol=0)


def test_the_twins_exp_and_sum_against_float64() -> None:
    x = np.linspace(-87, 88, 20001, dtype=np.float32)
    true = np.exp(x.astype(np.float64))
    assert (np.abs(exp(x) - true) / true).max() < 1.2e-7
    assert exp(np.array([-200.0, 0.0, 200.0], np.float32)).tolist() == [0.0, 1.0, np.inf]
    values = np.sin(np.arange(1003, dtype=np.float32))
    assert abs(lane_sum(values) - values.sum(dtype=np.float64)) < 1e-5
