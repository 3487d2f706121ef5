"""The machine's limits: numbers that can be true, and little memory where little is free."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bitnet_cli.bench import roofline
from bitnet_cli.errors import UnsupportedError
from bitnet_cli.machine import Memory
from bitnet_cli.native import Context

SMALL = 1 << 22


def test_both_limits_are_measured() -> None:
    measured = roofline.measure(Context(n_threads=2), SMALL)
    assert 0.1 < measured.bandwidth_gbps < 1e5
    assert 0.01 < measured.int8_gmacs < 1e6


def test_an_isa_has_limits_of_its_own() -> None:
    """Whatever the CPU: the strongest set multiplies faster than plain C, or it is plain C."""
    strongest, scalar = Context(), Context("scalar")
    if strongest.isa == "scalar":
        pytest.skip("this CPU has nothing but plain C")
    assert roofline.measure(strongest, SMALL).int8_gmacs > roofline.measure(scalar, SMALL).int8_gmacs


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """Says how much memory is free; what would be read comes back as the bandwidth."""
    monkeypatch.setattr(roofline, "memory_bandwidth", lambda ctx, n_bytes: float(n_bytes))

    def tell(free: int | None) -> None:
        monkeypatch.setattr(roofline, "memory", lambda: None if free is None else Memory(1 << 40, free))

    return tell


@pytest.mark.parametrize(
    ("free", "taken"), [(1 << 32, 1 << 30), (1 << 30, 1 << 29), (None, 1 << 30)], ids=str
)
def test_small_machines_are_not_filled(
    told: Callable[[int | None], None], free: int | None, taken: int
) -> None:
    told(free)
    assert roofline.measure(Context()).bandwidth_gbps == taken


def test_caches_do_not_pass_for_memory(told: Callable[[int | None], None]) -> None:
    told(488 << 20)
    with pytest.raises(UnsupportedError, match="488 MiB of memory are available"):
        roofline.measure(Context())
