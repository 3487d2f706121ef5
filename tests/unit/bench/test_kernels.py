"""The times of kernels: all that this CPU runs, grouped, and as text and values."""

from __future__ import annotations

import pytest

from bitnet_cli.bench import kernels
from bitnet_cli.errors import UsageError
from bitnet_cli.native.timing import KernelTime

FAKE = [
    KernelTime("a", "scalar", 1000.0, 900.0, 4000, 0),
    KernelTime("b", "scalar", 2000.0, 1900.0, 1000, 8000),
    KernelTime("a", "avx2", 100.0, 90.0, 4000, 0),
]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "kernel_times", lambda min_seconds, isa: iter([*FAKE, None]))
    monkeypatch.setattr(kernels, "kernel_count", lambda: 4)


def test_kernels_of_one_name_lie_together(fake: None) -> None:
    seen: list[tuple[int, int]] = []
    times = kernels.time_kernels(progress=lambda done, total: seen.append((done, total)))
    assert times == [FAKE[0], FAKE[2], FAKE[1]]
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_one_instruction_set() -> None:
    times = kernels.time_kernels(0.0, isa="scalar")
    assert times and {time.isa for time in times} == {"scalar"}
    with pytest.raises(UsageError, match="no-such"):
        kernels.time_kernels(0.0, isa="no-such")


def test_table() -> None:
    assert kernels.table(FAKE[:2]) == [
        ("a", "scalar", "1000", "4.00", "-"),
        ("b", "scalar", "2000", "0.50", "4.00"),
    ]
    assert len(kernels.COLUMNS) == 5


def test_json() -> None:
    assert kernels.as_json(FAKE[1:]) == [
        {
            **{"kernel": "b", "isa": "scalar", "median_ns": 2000.0, "min_ns": 1900.0},
            **{"bytes": 1000, "products": 8000, "gb_per_s": 0.5, "gmac_per_s": 4.0},
        },
        {
            **{"kernel": "a", "isa": "avx2", "median_ns": 100.0, "min_ns": 90.0},
            **{"bytes": 4000, "products": 0, "gb_per_s": 40.0, "gmac_per_s": None},
        },
    ]


def test_real_kernels_are_timed() -> None:
    times = kernels.time_kernels(0)
    assert {"gemv_t2_i8", "softmax_f32", "probe_read"} <= {time.kernel for time in times}
