"""Tests, repetitions and what comes out: tokens per second, named and counted as llama-bench does.

`pp512` evaluates 512 random tokens together and returns the logits of the last; `tg128` evaluates 128 tokens one by one,
with logits each; `@ d1024` means after 1024 tokens that are in the cache already. Tokenising and sampling are left out.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from bitnet_cli.bench.energy import EnergyMeter
from bitnet_cli.bench.ops import OpTime, op_times
from bitnet_cli.bench.probe import live_shares
from bitnet_cli.engine.model import Model
from bitnet_cli.engine.session import Session

WARM_UP_TOKENS = 4


@dataclass(frozen=True)
class Test:
    """One kind of work: prompt tokens together or generated ones one by one, behind `depth` others."""

    n_prompt: int = 0
    n_gen: int = 0
    depth: int = 0

    @property
    def name(self) -> str:
        name = f"pp{self.n_prompt}" if self.n_prompt else f"tg{self.n_gen}"
        return f"{name} @ d{self.depth}" if self.depth else name

    @property
    def n_tokens(self) -> int:
        return self.n_prompt or self.n_gen


@dataclass(frozen=True)
class Limits:
    """What this machine can do at most, at the thread count of the test: see `roofline`."""

    bandwidth_gbps: float
    int8_gmacs: float


@dataclass
class Measurement:
    """A test on a model with a number of threads, and all samples."""

    test: Test
    threads: int
    isa: str
    kernel: str
    bytes_per_token: int
    macs_per_token: int
    bytes_read_per_token: int | None = None
    """Of weights, after what zeros save; None where nothing is skipped."""
    samples_tps: list[float] = field(default_factory=list)
    rival_tps: list[float] = field(default_factory=list)
    """Of another program, alternating with ours."""
    joules_per_token: float | None = None
    limits: Limits | None = None
    ops: list[OpTime] = field(default_factory=list)

    @property
    def median_tps(self) -> float:
        return statistics.median(self.samples_tps)

    @property
    def share_of_bandwidth(self) -> float | None:
        """Of one-by-one tokens: the bytes they read, as a share of what memory delivers."""
        if self.limits is None or not self.test.n_gen:
            return None
        n_bytes = self.bytes_read_per_token or self.bytes_per_token
        return n_bytes * self.median_tps / (self.limits.bandwidth_gbps * 1e9)

    @property
    def share_of_int8_peak(self) -> float | None:
        """Of tokens together: their multiply-adds with ternary weights, as a share of what the cores can do."""
        if self.limits is None or not self.test.n_prompt:
            return None
        return self.macs_per_token * self.median_tps / (self.limits.int8_gmacs * 1e9)


class Bench:
    """The tests of one model, ready to be run sample by sample; use it as an iterator of measurements or step by step.

    Args:
        model: with the context (threads, instruction set) to measure.
        tests: what to run.
        repetitions: samples of each test.
        max_batch: tokens evaluated together, at most.
        kv_type: of the cache.
        seed: of the random tokens.
        with_ops: note the time of every op.
    """

    def __init__(
        self,
        model: Model,
        tests: list[Test],
        repetitions: int,
        max_batch: int,
        kv_type: str = "f16",
        seed: int = 0,
        with_ops: bool = False,
    ) -> None:
        longest = max((t.depth + t.n_tokens for t in tests), default=0)
        self.model, self.repetitions, self._with_ops = model, repetitions, with_ops
        self._session = Session(model, max(longest, WARM_UP_TOKENS), max_batch, kv_type=kv_type)
        self._random = np.random.default_rng(seed)
        self._energy = EnergyMeter()
        self._depth = 0
        self.measurements = [self._begin(test) for test in tests]

    def run(self, between: Callable[[Measurement], None] | None = None) -> Iterator[Measurement]:
        """All samples of one test after the other.

        Args:
            between: called after every sample, with what there is so far; the time it takes is not measured.
        """
        for m in self.measurements:
            self.warm_up(m)
            for _ in range(self.repetitions):
                self.sample(m)
                if between is not None:
                    between(m)
            yield m

    def warm_up(self, m: Measurement) -> None:
        """Fills the cache up to the test's depth and evaluates a little, unmeasured."""
        session = self._session
        if m.test.depth < len(session.ids):
            session.truncate(m.test.depth)
        if m.test.depth > len(session.ids):
            session.evaluate(self._tokens(m.test.depth - len(session.ids)), n_logits=0)
        if m.test.n_prompt:
            session.evaluate(self._tokens(m.test.n_prompt))
        for _ in range(min(m.test.n_gen, WARM_UP_TOKENS)):
            session.evaluate(self._tokens(1))
        session.truncate(m.test.depth)

    def sample(self, m: Measurement) -> float:
        """Runs a test once and returns its tokens per second; the session must stand at its depth."""
        session, test = self._session, m.test
        ids = self._tokens(test.n_tokens)
        session.plan.times_ns(reset=True)
        self._energy.start()
        started = time.perf_counter()
        if test.n_prompt:
            session.evaluate(ids)
        else:
            for token in ids:
                session.evaluate([token])
        seconds = time.perf_counter() - started
        joules = self._energy.joules()
        session.truncate(test.depth)
        m.samples_tps.append(test.n_tokens / seconds)
        if joules is not None:
            before = (m.joules_per_token or 0.0) * (len(m.samples_tps) - 1)
            m.joules_per_token = (before + joules / test.n_tokens) / len(m.samples_tps)
        if self._with_ops:
            shares = self._read_shares if test.n_gen else {}
            times = session.plan.times_ns()
            m.ops = op_times(self.model, times, test.n_tokens, m.ops, shares, bool(test.n_gen))
        return m.samples_tps[-1]

    def _tokens(self, n: int) -> list[int]:
        return [int(token) for token in self._random.integers(0, self.model.config.vocab_size, n)]

    def _begin(self, test: Test) -> Measurement:
        model, c = self.model, self.model.config
        mats = [m for layer in model.layers for m in vars(layer).values() if hasattr(m, "cols")]
        ternary = sum(m.rows * m.cols for m in mats)
        # Half of what a run adds to the cache is there on average.
        positions = test.depth + test.n_tokens / 2
        kv = int(self._session.kv_bytes_per_position * positions)
        n_bytes = sum(m.n_bytes for m in mats) + model.head.n_bytes + kv
        head = model.head.rows * model.head.cols if test.n_gen else 0
        measurement = Measurement(
            test, model.ctx.n_threads, model.ctx.isa, model.kernel, n_bytes, ternary + head
        )
        if test.n_gen and self._read_shares:
            layers = self.model.layers
            saved = sum(layer.up.n_bytes for layer in layers) * (1 - self._read_shares["ffn_up"])
            saved += sum(layer.down.n_bytes for layer in layers) * (1 - self._read_shares["ffn_down"])
            measurement.bytes_read_per_token = n_bytes - int(saved)
        return measurement

    @cached_property
    def _read_shares(self) -> dict[str, float]:
        """Share of their weights that `ffn_up` and `ffn_down` read, from a few tokens; empty if nothing is skipped."""
        if not any(layer.up.skips and layer.down.skips for layer in self.model.layers):
            return {}
        shares = live_shares(self._session)
        return {"ffn_up": statistics.fmean(shares.gates), "ffn_down": statistics.fmean(shares.down)}
