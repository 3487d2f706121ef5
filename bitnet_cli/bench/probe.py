"""Looking into a forward pass: which gates are open, and which inputs of the down projection are not zero."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bitnet_cli.engine.plan import Buf, write_plan
from bitnet_cli.engine.session import Session
from bitnet_cli.native import lib

PROBES = 4
"""Tokens that are looked at."""


@dataclass(frozen=True)
class LiveShares:
    """What is left to compute, layer by layer: shares of all, averaged over a few tokens."""

    gates: list[float]
    """Gates above zero: the rows of `up` that are wanted."""
    down: list[float]
    """Inputs of `down` that are not zero: its columns that are wanted."""
    inputs: list[np.ndarray]
    """int8 [PROBES, dim] of each layer: what gate and up read."""

    def bias_steps(self, n_channels: int, density: float) -> list[float]:
        """By how many standard deviations of a gate one of the first n_channels moves it, layer by layer.

        Args:
            density: share of weights that are not zero.
        """
        steps = []
        for q in self.inputs:
            values = q.astype(np.float64)
            deviation = np.sqrt(density * (values[:, n_channels:] ** 2).sum(axis=1))
            steps.append(max(float((values[:, :n_channels].mean(axis=1) / deviation).mean()), 1e-6))
        return steps


def live_shares(session: Session) -> LiveShares:
    """Evaluates a few tokens op by op. The session is empty before and after."""
    config = session.model.config
    kinds = [op["kind"] for op in write_plan(session.model, 1)]
    gated = [i for i, kind in enumerate(kinds) if kind == lib.BN_OP_GATED_MATMUL]
    gates, down = np.zeros(config.n_layers), np.zeros(config.n_layers)
    inputs: list[list[np.ndarray]] = [[] for _ in range(config.n_layers)]
    for token in range(PROBES):
        done = 0
        for layer, i in enumerate(gated):
            session.play(token * 31 % config.vocab_size, done, i)
            inputs[layer].append(session.plan.i8(Buf.x_i8, 1)[0][0, : config.dim].copy())
            gates[layer] += (session.plan.f32(Buf.g, 1)[0] > 0).mean()
            session.play(token * 31 % config.vocab_size, i, i + 2)
            down[layer] += (session.plan.i8(Buf.m_i8, 1)[0][0, : config.ffn_dim] != 0).mean()
            done = i + 2
    return LiveShares(
        (gates / PROBES).tolist(), (down / PROBES).tolist(), [np.stack(layer) for layer in inputs]
    )
