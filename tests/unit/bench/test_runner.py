"""What is run, how often, and what is computed from the times."""

from __future__ import annotations

import pytest

from bitnet_cli.bench import runner
from bitnet_cli.bench.energy import Rapl
from bitnet_cli.bench.measurement import Result, Test, share_of_bandwidth, share_of_int8_peak
from bitnet_cli.bench.runner import Schedule, cross, run
from bitnet_cli.bench.shapes import Shape
from bitnet_cli.bench.subject import EngineChoices, Subject
from bitnet_cli.bench.synthetic import RandomWeights
from bitnet_cli.engine.options import EngineOptions
from bitnet_cli.engine.session import Session
from bitnet_cli.errors import UsageError
from bitnet_cli.library import BUILTIN_MODEL

TINY = Shape("tiny", "bitnet-b1.58", 256, 384, 2, 4, 2, 64, 300, True, 1e-5, 1e4, 64)
RANDOM = Subject(None, RandomWeights(TINY, "f16", 0.9))
TERNARY = 2 * 256 * (2 * 256 + 2 * 128 + 3 * 384)


def results(choices: EngineChoices, schedule: Schedule, subject: Subject = RANDOM) -> list[Result]:
    return [result for _, result, _ in run(subject, choices, schedule, lambda done, what: None)]


def test_names() -> None:
    assert [t.name for t in cross([512, 0], [128], [0, 1024])] == [
        "pp512",
        "pp512 @ d1024",
        "tg128",
        "tg128 @ d1024",
    ]
    assert cross([0], [0], [5]) == ()
    assert cross([8, 8], [0], [0]) == (Test(8, 0, 0),)


def test_what_is_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Warm-up, then every repetition from the same depth; a depth is filled once."""
    seen: list[tuple[int, int]] = []
    evaluate = Session.evaluate

    def spy(self: Session, ids: list[int], n_logits: int = 1) -> object:
        seen.append((len(self.ids), len(ids)))
        return evaluate(self, ids, n_logits)

    monkeypatch.setattr(Session, "evaluate", spy)
    results(EngineChoices(batch=4), Schedule((Test(6, 0, 10), Test(0, 2, 10)), (1,), repetitions=2))
    single = [(10, 1), (11, 1)]
    assert seen == [(0, 10), (10, 4), (10, 6), (10, 6), *single * 3]


def test_results() -> None:
    stages: list[float] = []
    schedule = Schedule((Test(6, 0), Test(0, 3)), (1, 2), repetitions=3, ops=True)
    found = [
        r for _, r, _ in run(RANDOM, EngineChoices(batch=4), schedule, lambda done, _: stages.append(done))
    ]
    assert [(r.test.name, r.threads) for r in found] == [("pp6", 1), ("tg3", 1), ("pp6", 2), ("tg3", 2)]
    assert all(len(r.samples_s) == 3 and min(r.samples_tps) > 0 for r in found)
    assert stages == sorted(stages) and stages[-1] <= schedule.n_stages == 6
    prompt, single = found[:2]
    assert prompt.macs_per_token == TERNARY and single.macs_per_token == TERNARY + 300 * 256
    assert prompt.batch == 4 and single.batch == 1
    weights = TERNARY // 4 + 300 * 256 * 2
    assert weights <= single.bytes_per_token <= 1.2 * weights
    assert single.bytes_per_token - prompt.bytes_per_token == -2 * 2 * 2 * 128 * 1.5
    assert prompt.bytes_read_per_token is None
    assert single.bytes_read_per_token is not None and single.ffn_zeros is not None
    ffn = 2 * 256 * 384 // 4
    skipped = ffn * (single.ffn_zeros.gate + single.ffn_zeros.down)
    assert single.bytes_per_token - single.bytes_read_per_token == pytest.approx(skipped, rel=0.05)


def test_without_skipping_every_byte_is_read() -> None:
    (result,) = results(
        EngineChoices(engine=EngineOptions(skip_zeros=False)), Schedule((Test(0, 2),), (1,), 1)
    )
    assert result.bytes_read_per_token is None and result.ffn_zeros is not None
    assert result.stddev_tps == 0


def test_ops_add_up() -> None:
    (result,) = results(EngineChoices(), Schedule((Test(0, 4),), (1,), repetitions=3, ops=True))
    assert [op.label for op in result.ops] == [
        "embed", "quant", "qkv", "rope", "kv_store", "attention", "attn_output", "gate", "up", "down", "norm", "head",
    ]  # fmt: skip
    assert sum(op.share for op in result.ops) == pytest.approx(1)
    assert sum(op.macs_per_token for op in result.ops) == result.macs_per_token
    assert result.bytes_read_per_token == pytest.approx(sum(op.bytes_per_token for op in result.ops), abs=2)
    in_ops = sum(op.us_per_token for op in result.ops) * 4 * 3 / 1e6
    assert 0.2 * sum(result.samples_s) < in_ops <= sum(result.samples_s)


def test_a_file_is_measured_within_its_context() -> None:
    subject = Subject(BUILTIN_MODEL)
    (result,) = results(EngineChoices("scalar"), Schedule((Test(0, 2, 3),), (1,), 1), subject)
    assert result.isa == "scalar" and result.kernel == "mad"
    with pytest.raises(UsageError, match="takes 513 tokens, the model's context is 512"):
        results(EngineChoices(), Schedule((Test(513, 0),), (1,)), subject)


def test_noise_may_take_any_context() -> None:
    (result,) = results(EngineChoices(), Schedule((Test(0, 1, 200),), (1,), 1))
    assert result.test.depth == 200


def test_energy_is_that_of_the_timed_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counter:
        def joules(self) -> float:
            return 24.0

    monkeypatch.setattr(Rapl, "start", lambda: Counter())
    (result,) = results(EngineChoices(), Schedule((Test(0, 4),), (1,), repetitions=3))
    assert result.joules_per_token == 2.0
    monkeypatch.setattr(Rapl, "start", lambda: None)
    (result,) = results(EngineChoices(), Schedule((Test(0, 4),), (1,), repetitions=1))
    assert result.joules_per_token is None


def test_numbers_of_a_result() -> None:
    result = Result(Test(0, 10), (1.0, 2.0, 0.5), 1, "scalar", "mad", 1, 500, 400, None, 1000)
    assert result.samples_tps == (10, 5, 20)
    assert (result.median_tps, result.mean_tps) == (10, 35 / 3)
    assert result.stddev_tps == pytest.approx(7.6376, abs=1e-4)
    assert share_of_bandwidth(result, 1e-5) == pytest.approx(0.4)
    assert share_of_int8_peak(result, 1e-4) == pytest.approx(0.1)
    prompt = Result(Test(10, 0), (1.0,), 1, "scalar", "mad", 10, 500, None, None, 1000)
    assert share_of_bandwidth(prompt, 1e-6) == pytest.approx(0.5)


def test_another_program_alternates_and_both_are_warm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its runs leave our threads asleep and our weights out of the caches; each of them begins with a warm-up."""
    seen: list[object] = []
    evaluate = Session.evaluate

    def spy(self: Session, ids: list[int], n_logits: int = 1) -> object:
        seen.append(len(ids))
        return evaluate(self, ids, n_logits)

    class Other:
        name = "other"

        def tokens_per_second(self, n_prompt: int, n_gen: int, depth: int = 0) -> float:
            seen.append("other")
            return 5.0

    monkeypatch.setattr(Session, "evaluate", spy)
    monkeypatch.setattr(runner, "find_rival", lambda *_: Other())
    schedule = Schedule((Test(6, 0),), (1,), repetitions=2, ops=True, against="other")
    (result,) = results(EngineChoices(batch=4), schedule)
    assert seen == [4, 6, "other", 4, 6, "other"]
    assert result.rival_tps == (5.0, 5.0) and result.ratio_to_rival == result.median_tps / 5.0
    timed_us = sum(result.samples_s) / 12 * 1e6
    assert 0 < sum(op.us_per_token for op in result.ops) <= timed_us
