"""Limits and times through the binding."""

from __future__ import annotations

import pytest

from bitnet_cli.errors import NativeError
from bitnet_cli.native import Context, isas
from bitnet_cli.native.timing import int8_peak, kernel_count, kernel_times, memory_bandwidth


def test_too_little_to_measure_is_refused() -> None:
    with pytest.raises(NativeError, match="measuring the memory"):
        memory_bandwidth(Context(), 1000)


def test_limits_are_rates() -> None:
    ctx = Context(n_threads=2)
    assert 0.1 < memory_bandwidth(ctx, 1 << 22) < 1e5
    assert 0.01 < int8_peak(ctx) < 1e6


def test_every_kernel_has_a_time_or_does_not_run_here() -> None:
    times = list(kernel_times(0))
    assert len(times) == kernel_count()
    assert {time.isa for time in times if time} == {isa.name for isa in isas() if isa.supported}
    assert all(0 < time.min_ns <= time.median_ns and time.bytes > 0 for time in times if time)


def test_a_number_of_seconds_that_is_none() -> None:
    with pytest.raises(NativeError, match="timing a kernel"):
        next(kernel_times(-1))
