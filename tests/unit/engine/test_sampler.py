"""Sampling: which tokens may be drawn, in what order, and that a seed fixes the draw."""

from __future__ import annotations

import numpy as np
import pytest

from bitnet_cli.engine.sampler import GROUP, Sampling, all_finite, candidates, most_likely, penalise, sample
from bitnet_cli.errors import UsageError

ALL = Sampling(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0)
LOGITS = np.log(np.array([0.1, 0.4, 0.2, 0.3], np.float32))


@pytest.mark.parametrize(
    ("sampling", "ids"),
    [
        (ALL, [1, 3, 2, 0]),
        (Sampling(1.0, top_k=2, top_p=1.0, min_p=0.0), [1, 3]),
        (Sampling(1.0, top_k=9, top_p=1.0, min_p=0.0), [1, 3, 2, 0]),
        (Sampling(1.0, top_k=0, top_p=0.69, min_p=0.0), [1, 3]),
        (Sampling(1.0, top_k=0, top_p=0.71, min_p=0.0), [1, 3, 2]),
        (Sampling(1.0, top_k=0, top_p=0.0, min_p=0.0), [1]),
        (Sampling(1.0, top_k=0, top_p=1.0, min_p=0.45), [1, 3, 2]),
        (Sampling(1.0, top_k=0, top_p=1.0, min_p=1.0), [1]),
        (Sampling(1.0, top_k=3, top_p=0.5, min_p=0.0), [1, 3]),
    ],
)
def test_candidates(sampling: Sampling, ids: list[int]) -> None:
    found, p = candidates(LOGITS, sampling)
    assert found.tolist() == ids
    assert p.sum() == pytest.approx(1.0)
    assert (np.diff(p) <= 0).all()


def test_temperature_sharpens() -> None:
    cold = candidates(LOGITS, Sampling(0.5, top_k=0, top_p=1.0, min_p=0.0))[1]
    assert cold[0] == pytest.approx(0.16 / 0.30, rel=1e-6)


def random_logits(random: np.random.Generator, n: int) -> np.ndarray:
    """float32 [n]: sometimes all different, sometimes many equal ones, zeros of both signs, or a single value."""
    kind = random.integers(4)
    if kind == 0:
        return random.normal(0, 3, n).astype(np.float32)
    if kind == 1:
        return random.integers(-3, 4, n).astype(np.float32)
    if kind == 2:
        return random.choice(np.array([0.0, -0.0, -1.0], np.float32), n)
    return np.full(n, random.normal(), np.float32)


@pytest.mark.parametrize("n", [1, 2, GROUP - 1, GROUP, GROUP + 1, 5 * GROUP, 64 * GROUP + 37, 8191])
def test_most_likely_is_what_sorting_everything_finds(n: int) -> None:
    random = np.random.default_rng(n)
    for _ in range(12):
        logits = random_logits(random, n)
        plain = sorted(range(n), key=lambda i: (-logits[i], i))
        for k in {1, 2, 5, 40, n // GROUP, n // GROUP + 1, n - 1, n, n + 1} - {0}:
            assert most_likely(logits, k).tolist() == plain[:k]


@pytest.mark.parametrize("at", [0, 70, 199])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_all_finite(at: int, wrong: float) -> None:
    logits = np.linspace(-3e38, 3e38, 200, dtype=np.float32)
    assert all_finite(logits)
    logits[at] = wrong
    assert not all_finite(logits)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_equal_logits_keep_the_lowest_ids(k: int) -> None:
    logits = np.zeros(6, np.float32)
    logits[5] = 1.0
    assert candidates(logits, Sampling(1.0, top_k=k, top_p=1.0, min_p=0.0))[0].tolist() == [5, 0, 1, 2][:k]


def test_penalty_lowers_both_signs_and_leaves_the_input() -> None:
    logits = np.array([2.0, -2.0, 1.0], np.float32)
    assert penalise(logits, [0, 1, 1], 2.0).tolist() == [1.0, -4.0, 1.0]
    assert logits.tolist() == [2.0, -2.0, 1.0]
    assert penalise(logits, [0], 1.0) is logits
    assert penalise(logits, [1, 3, 99], 2.0).tolist() == [2.0, -4.0, 1.0]


def test_penalty_looks_back_only_so_far() -> None:
    logits = np.array([3.0, 2.9, 0.0], np.float32)
    greedy = Sampling(temperature=0.0, repeat_penalty=2.0, repeat_last_n=1)
    random = np.random.default_rng(0)
    assert sample(logits, [0], greedy, random) == 1
    assert sample(logits, [0, 2], greedy, random) == 0


def test_greedy_takes_the_first_of_equals() -> None:
    logits = np.array([1.0, 5.0, 5.0], np.float32)
    assert sample(logits, [], Sampling(temperature=0.0), np.random.default_rng(0)) == 1


def test_a_seed_fixes_the_draws_and_they_follow_the_probabilities() -> None:
    def draw(seed: int) -> list[int]:
        random = np.random.default_rng(seed)
        return [sample(LOGITS, [], ALL, random) for _ in range(4000)]

    assert draw(7) == draw(7) != draw(8)
    shares = np.bincount(draw(7), minlength=4) / 4000
    np.testing.assert_allclose(shares, [0.1, 0.4, 0.2, 0.3], atol=0.03)


@pytest.mark.parametrize(
    "wrong", [{"temperature": -1.0}, {"top_p": 1.5}, {"min_p": -0.1}, {"top_k": -1}, {"repeat_penalty": 0.0}]
)
def test_options_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Sampling(**wrong)  # type: ignore[arg-type]
