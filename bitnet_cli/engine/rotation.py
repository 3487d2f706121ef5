"""The tables of the rotary embedding: cos and sin of every position and pair of a head."""

from __future__ import annotations

import math

import numpy as np

from bitnet_cli.arch.yarn import Yarn


def rope_tables(
    n_rot: int, theta: float, n_ctx: int, yarn: Yarn | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin of the angles of all positions, float32 [n_ctx, n_rot/2].

    The angle is position * theta^(-2i/n_rot), rounded to float32 as in transformers. With YaRN the second factor is slowed
    down pair by pair, and both tables are multiplied by the attention factor.
    """
    speed = np.power(theta, np.arange(0, n_rot, 2, dtype=np.float64) / n_rot).astype(np.float32)
    inverse = np.float32(1) / speed
    if yarn is not None:
        slow = np.float32(1) / (np.float32(yarn.factor) * speed)
        kept = 1 - _ramp(n_rot, theta, yarn)
        inverse = slow * (1 - kept) + inverse * kept
    angle = (np.arange(n_ctx, dtype=np.float32)[:, None] * inverse[None, :]).astype(np.float64)
    tables = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    if yarn is None:
        return tables
    factor = np.float32(yarn.attention_factor)
    return tables[0] * factor, tables[1] * factor


def _ramp(n_rot: int, theta: float, yarn: Yarn) -> np.ndarray:
    """How much of the slowing down each pair has, 0 to 1, float32 [n_rot/2]: pairs with more than `beta_fast` turns within
    the original context none, with fewer than `beta_slow` all."""
    first, last = (
        n_rot * math.log(yarn.original_context / (turns * 2 * math.pi)) / (2 * math.log(theta))
        for turns in (yarn.beta_fast, yarn.beta_slow)
    )
    low, high = max(math.floor(first), 0), min(math.ceil(last), n_rot - 1)
    width = high - low if high != low else 0.001
    pairs: np.ndarray = np.clip((np.arange(n_rot // 2, dtype=np.float32) - low) / width, 0, 1)
    return pairs.astype(np.float32)
