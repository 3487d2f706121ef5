"""The machine's limits: numbers that can be true, and little memory where little is free."""

from __future__ import annotations

import os

import pytest

from bitnet_cli.bench import roofline
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


@pytest.mark.parametrize(
    ("free_pages", "taken"), [(1 << 20, 1 << 30), (1 << 18, 1 << 29), (0, 1 << 20)], ids=str
)
def test_small_machines_are_not_filled(monkeypatch: pytest.MonkeyPatch, free_pages: int, taken: int) -> None:
    answers = {"SC_AVPHYS_PAGES": free_pages, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sysconf", answers.__getitem__)
    monkeypatch.setattr(roofline, "memory_bandwidth", lambda ctx, n_bytes: float(n_bytes))
    assert roofline.measure(Context()).bandwidth_gbps == taken


def test_a_system_that_does_not_tell_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> int:
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(os, "sysconf", unknown)
    monkeypatch.setattr(roofline, "memory_bandwidth", lambda ctx, n_bytes: float(n_bytes))
    assert roofline.measure(Context()).bandwidth_gbps == 1 << 30
