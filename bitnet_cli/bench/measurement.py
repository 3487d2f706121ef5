"""What is measured and what came out: the data that the runner fills and the reports print."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Test:
    """One thing to measure: a prompt of `n_prompt` tokens, or `n_gen` tokens one by one, after `depth` tokens."""

    __test__ = False  # pytest would take the name for a class of tests

    n_prompt: int
    n_gen: int
    depth: int = 0

    @property
    def name(self) -> str:
        """`pp512`, `tg128`, `pp512 @ d1024`."""
        what = f"pp{self.n_prompt}" if self.n_prompt else f"tg{self.n_gen}"
        return f"{what} @ d{self.depth}" if self.depth else what

    @property
    def is_prompt(self) -> bool:
        return self.n_prompt > 0

    @property
    def n_tokens(self) -> int:
        """Tokens whose time is taken."""
        return self.n_prompt or self.n_gen


@dataclass(frozen=True)
class FfnZeros:
    """Shares of the values that relu² shuts and that skipping therefore need not read weights for, 0..1."""

    gate: float
    """Zeros after relu²: rows of `up` that are not read."""
    down: float
    """Zeros among the int8 inputs of `down`: columns of it that are not read."""


@dataclass(frozen=True)
class OpTime:
    """What one kind of op takes of a token."""

    label: str
    us_per_token: float
    share: float
    """Of the time of all ops, 0..1."""
    bytes_per_token: float
    """Of weights, or of the cache for attention; 0 where neither is read."""
    macs_per_token: float


@dataclass(frozen=True)
class Result:
    """A test with its times and with what they are to be judged by."""

    test: Test
    samples_s: tuple[float, ...]
    """Seconds of each repetition."""
    threads: int
    isa: str
    kernel: str
    batch: int
    """Tokens for which weights are read once; 1 where tokens come one by one."""
    bytes_per_token: int
    """Weights that a token without skipping reads, as they lie in memory, and the cache at the test's mean depth."""
    bytes_read_per_token: int | None
    """The same less what the measured zeros let the kernels skip; None where nothing is skipped."""
    ffn_zeros: FfnZeros | None
    """Measured on a few tokens; None for models without relu²."""
    macs_per_token: int
    """Ternary weights, and those of the head where logits are computed: one multiply-add each."""
    ops: tuple[OpTime, ...] = field(default=())
    joules_per_token: float | None = None
    rival: str | None = None
    """The other program, as `--against` named it."""
    rival_tps: tuple[float, ...] = ()
    """Tokens per second of another program, whose runs alternated with ours."""
    kv_type: str = "f16"
    skips_zeros: bool = False
    """Whether single tokens skip what meets a zero."""

    @property
    def samples_tps(self) -> tuple[float, ...]:
        """Tokens per second of each repetition."""
        return tuple(self.test.n_tokens / s for s in self.samples_s)

    @property
    def median_tps(self) -> float:
        return statistics.median(self.samples_tps)

    @property
    def ratio_to_rival(self) -> float | None:
        """Of the medians."""
        return self.median_tps / statistics.median(self.rival_tps) if self.rival_tps else None

    @property
    def mean_tps(self) -> float:
        return statistics.fmean(self.samples_tps)

    @property
    def stddev_tps(self) -> float:
        """Sample standard deviation, 0 for one repetition."""
        return statistics.stdev(self.samples_tps) if len(self.samples_s) > 1 else 0.0


def share_of_bandwidth(result: Result, bandwidth_gbps: float) -> float:
    """What the bytes that are read per second are of the memory's bandwidth (10⁹ bytes a second)."""
    n_bytes = result.bytes_per_token if result.bytes_read_per_token is None else result.bytes_read_per_token
    return n_bytes / result.batch * result.median_tps / (bandwidth_gbps * 1e9)


def share_of_int8_peak(result: Result, int8_gmacs: float) -> float:
    """What the multiply-adds per second are of the machine's peak (10⁹ int8 multiply-adds a second)."""
    return result.macs_per_token * result.median_tps / (int8_gmacs * 1e9)
