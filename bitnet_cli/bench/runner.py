"""Runs tests: a warm-up, then repetitions, each timed by itself.

What is timed is the evaluation of random tokens and nothing else: no tokenising, no sampling, no text. All tests of one
number of threads share one model in memory, and it goes before the next number of threads gets its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bitnet_cli.bench.energy import Rapl
from bitnet_cli.bench.measurement import FfnZeros, OpTime, Result, Test
from bitnet_cli.bench.ops import PROBE_TOKENS, measure_zeros, op_times
from bitnet_cli.bench.rival import Rival, find_rival
from bitnet_cli.bench.roofline import Roofline, measure
from bitnet_cli.bench.subject import (
    EngineChoices,
    Subject,
    embed_type_of,
    load,
    session_for,
    skipped_bytes,
    skips_zeros,
    ternary_bytes,
    ternary_weights,
)
from bitnet_cli.engine.model import Model
from bitnet_cli.engine.session import Session

WARM_UP_TOKENS = 8
"""Single tokens before the timed ones; a prompt warms up with one batch."""
Say = Callable[[float, str], None]
"""Told how many stages are done, in parts of one too, and what is being done. See `Schedule.n_stages`."""


@dataclass(frozen=True)
class Schedule:
    """What to measure."""

    tests: tuple[Test, ...]
    threads: tuple[int, ...]
    repetitions: int = 5
    ops: bool = False
    """Also where the time goes, op by op."""
    roofline: bool = False
    """Also what the machine gives at most, before and after the tests."""
    against: str | None = None
    """Another program to alternate with: see `rival.find_rival`."""
    rival_model: Path | None = None
    """The file that this program gets, unless its command names one."""

    @property
    def context_length(self) -> int:
        """Positions that the longest test takes."""
        return max(test.depth + test.n_tokens for test in self.tests)

    @property
    def n_stages(self) -> int:
        """Loading and every test count as one stage, for each number of threads."""
        return len(self.threads) * (1 + len(self.tests))


def cross(prompts: Sequence[int], gens: Sequence[int], depths: Sequence[int]) -> tuple[Test, ...]:
    """All tests of these sizes, prompts first; a size of 0 stands for none."""
    tests = [Test(n, 0, depth) for depth in depths for n in prompts if n]
    tests += [Test(0, n, depth) for depth in depths for n in gens if n]
    return tuple(dict.fromkeys(tests))


@dataclass(frozen=True)
class ModelFacts:
    """What a report says about the model that was measured."""

    name: str
    embed_type: str
    weight_bytes: int
    """Of ternary matrices and head, as they lie in memory."""


def facts_of(model: Model) -> ModelFacts:
    return ModelFacts(model.config.name, embed_type_of(model), ternary_bytes(model) + int(model.head.n_bytes))


def run(
    subject: Subject, choices: EngineChoices, schedule: Schedule, say: Say
) -> Iterator[tuple[ModelFacts, Result, Roofline | None]]:
    """Runs all tests for each number of threads. Yields every result when it is there, or, where limits are wanted, when
    they have been measured for the second time; limits are the mean of both.

    Raises:
        UsageError, FormatError, UnsupportedError: see `subject.load`.
    """
    stage = 0
    for n_threads in schedule.threads:
        n_layers = subject.weights.shape.n_layers if subject.weights is not None else 1
        say(stage, "loading")
        model = load(
            subject,
            choices,
            n_threads,
            schedule.context_length,
            lambda done, first=stage, n=n_layers: say(first + done / n, "making random weights"),  # type: ignore[misc]
        )
        rival: Rival | None = None
        if schedule.against is not None:
            rival = find_rival(schedule.against, schedule.rival_model, n_threads, schedule.context_length)
        bench = _Bench(model, choices, schedule, rival)
        before = measure(model.ctx) if schedule.roofline else None
        waiting: list[Result] = []
        for test in schedule.tests:
            stage += 1
            result = bench.measure(test, lambda done, what, first=stage: say(first + done, what))  # type: ignore[misc]
            if before is None:
                yield bench.facts, result, None
            else:
                waiting.append(result)
        if before is not None:
            limits = before.mean(measure(model.ctx))
            yield from ((bench.facts, result, limits) for result in waiting)
        stage += 1
        del bench, model, rival  # Before the next model is made: two may not fit.


class _Bench:
    """A model in memory and a session on it, ready for any test."""

    def __init__(self, model: Model, choices: EngineChoices, schedule: Schedule, rival: Rival | None) -> None:
        self.model, self.choices, self.schedule, self.rival = model, choices, schedule, rival
        self.facts = facts_of(model)
        self.context_length = max(schedule.context_length, PROBE_TOKENS)
        self.session: Session = session_for(
            model, choices, min(self.context_length, model.config.context_length)
        )
        self.tokens = (
            np.random.default_rng(0).integers(0, model.config.vocab_size, self.context_length).tolist()
        )
        n = min(PROBE_TOKENS, choices.batch, self.session.context_length)
        self.zeros = measure_zeros(self.session, self.tokens[:n])

    def measure(self, test: Test, say: Say) -> Result:
        """Warms up and measures one test."""
        if len(self.session.ids) < test.depth:
            say(0, f"{test.name}: filling the context")
        self._fill(test.depth)
        warm_up = min(self.choices.batch, test.n_prompt) if test.is_prompt else WARM_UP_TOKENS
        warm_up = min(warm_up, test.n_tokens)
        self._run(test, warm_up)
        times_ns = np.zeros(self.session.plan.n_ops, np.uint64)
        samples, rival_tps, total, energy = [], [], self.schedule.repetitions, Rapl.start()
        for i in range(total):
            say(i / total, f"{test.name}, {_threads(self.model.ctx.n_threads)}")
            if self.rival is not None and i > 0:
                self._run(test, warm_up)  # The other program warms up in each of its runs.
            self.session.plan.times_ns(reset=True)
            samples.append(self._run(test, test.n_tokens))
            times_ns += self.session.plan.times_ns()
            if self.rival is not None:
                rival_tps.append(self.rival.tokens_per_second(test.n_prompt, test.n_gen, test.depth))
        # The counters cannot tell our runs from the other program's.
        joules = energy.joules() if energy is not None and self.rival is None else None
        n_bytes = self.facts.weight_bytes + self._cache_bytes(test)
        skips = skips_zeros(self.model, self.choices)
        skipped = self.zeros if skips and not test.is_prompt else None
        return Result(
            test=test,
            samples_s=tuple(samples),
            threads=self.model.ctx.n_threads,
            isa=self.model.ctx.isa,
            kernel=self.model.kernel,
            batch=min(self.choices.batch, test.n_prompt) if test.is_prompt else 1,
            bytes_per_token=n_bytes,
            bytes_read_per_token=(
                None if skipped is None else n_bytes - skipped_bytes(self.model, skipped.gate, skipped.down)
            ),
            ffn_zeros=self.zeros,
            macs_per_token=ternary_weights(self.model)
            + (0 if test.is_prompt else self.model.head.rows * self.model.head.cols),
            ops=self._ops(test, times_ns, skipped) if self.schedule.ops else (),
            joules_per_token=None if joules is None else joules / (test.n_tokens * total),
            rival=self.schedule.against,
            rival_tps=tuple(rival_tps),
            kv_type=self.choices.kv_type,
            skips_zeros=skips,
        )

    def _fill(self, depth: int) -> None:
        """Leaves `depth` tokens in the session; those of an earlier test stay."""
        self.session.truncate(min(depth, len(self.session.ids)))
        if len(self.session.ids) < depth:
            self.session.evaluate(self.tokens[len(self.session.ids) : depth], n_logits=0)

    def _run(self, test: Test, n: int) -> float:
        """Seconds that n tokens of a test take; the session is left as it was."""
        tokens = self.tokens[test.depth : test.depth + n]
        started = time.perf_counter()
        if test.is_prompt:
            self.session.evaluate(tokens)
        else:
            for token in tokens:
                self.session.evaluate([token])
        seconds = time.perf_counter() - started
        self.session.truncate(test.depth)
        return seconds

    def _cache_bytes(self, test: Test) -> int:
        """What attention reads of the cache for a token in the middle of the test."""
        return round(self.session.kv_bytes_per_position * (test.depth + (test.n_tokens + 1) / 2))

    def _ops(self, test: Test, times_ns: np.ndarray, skipped: FfnZeros | None) -> tuple[OpTime, ...]:
        n_runs = self.schedule.repetitions
        return op_times(self.model, times_ns, test, n_runs, self._cache_bytes(test), skipped)


def _threads(n: int) -> str:
    return f"{n} thread{'s' if n > 1 else ''}"
