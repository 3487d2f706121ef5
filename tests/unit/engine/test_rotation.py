"""The tables of the rotary embedding; how transformers stretches them is in the goldens of the families."""

from __future__ import annotations

import numpy as np
import pytest

from bitnet_cli.arch.yarn import Yarn, usual_attention_factor
from bitnet_cli.engine.rotation import rope_tables

N_ROT, THETA, FACTOR, ORIGINAL = 128, 1e6, 4.0, 16384
YARN = Yarn(FACTOR, ORIGINAL, usual_attention_factor(FACTOR))


def speeds(yarn: Yarn | None) -> np.ndarray:
    """The angle of each pair at the first position, float64 [n_rot / 2]."""
    cos, sin = rope_tables(N_ROT, THETA, 2, yarn)
    return np.arctan2(sin[1].astype(np.float64), cos[1])


def test_plain_angles() -> None:
    expected = THETA ** -(np.arange(0, N_ROT, 2) / N_ROT)
    assert np.allclose(speeds(None), expected, rtol=1e-6, atol=0)


def test_yarn_slows_pairs_that_turn_rarely() -> None:
    """More than 32 turns within the original context: as before. Fewer than one: slower by the factor."""
    turns = ORIGINAL * speeds(None) / (2 * np.pi)
    ratio = speeds(None) / speeds(YARN)
    assert np.allclose(ratio[turns > 33], 1, rtol=1e-5) and (turns > 33).sum() > 10
    assert np.allclose(ratio[turns < 0.9], FACTOR, rtol=1e-5) and (turns < 0.9).sum() > 10
    assert (np.diff(ratio) > -1e-5).all()


def test_yarn_lengthens_what_is_rotated() -> None:
    cos, sin = rope_tables(N_ROT, THETA, 50, YARN)
    assert np.allclose(np.hypot(cos, sin), 0.1 * np.log(FACTOR) + 1, rtol=1e-6)
    assert cos.dtype == sin.dtype == np.float32 and cos.shape == (50, N_ROT // 2)


@pytest.mark.parametrize("yarn", [Yarn(1.0, ORIGINAL, 1.0), Yarn(1.0, 1, 1.0, 1e-3, 1e6)])
def test_a_factor_of_one_changes_nothing(yarn: Yarn) -> None:
    assert np.allclose(rope_tables(N_ROT, THETA, 9, yarn), rope_tables(N_ROT, THETA, 9), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("theta", [1.0000001, 2.0, 1e12])
@pytest.mark.parametrize(("fast", "slow"), [(32.0, 1.0), (1e-3, 1e6), (1.0, 1.0)])
def test_odd_values_give_numbers(theta: float, fast: float, slow: float) -> None:
    assert np.isfinite(rope_tables(64, theta, 5, Yarn(1e4, 1, 1.0, fast, slow))).all()
