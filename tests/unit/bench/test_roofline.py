"""The machine's limits: numbers that can be true, and little memory where little is free."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bitnet_cli.bench import roofline
from bitnet_cli.errors import UnsupportedError
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
def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Stands for /proc/meminfo; what would be read comes back as the bandwidth."""
    meminfo = tmp_path / "meminfo"
    monkeypatch.setattr(roofline, "_MEMINFO", meminfo)
    monkeypatch.setattr(roofline, "memory_bandwidth", lambda ctx, n_bytes: float(n_bytes))
    return meminfo


@pytest.mark.parametrize(("available_kb", "taken"), [(1 << 22, 1 << 30), (1 << 20, 1 << 29)], ids=str)
def test_small_machines_are_not_filled(told: Path, available_kb: int, taken: int) -> None:
    told.write_text(f"MemTotal:  9999999 kB\nMemFree:  1 kB\nMemAvailable:  {available_kb} kB\n")
    assert roofline.measure(Context()).bandwidth_gbps == taken


def test_caches_do_not_pass_for_memory(told: Path) -> None:
    told.write_text("MemAvailable:  500000 kB\n")
    with pytest.raises(UnsupportedError, match="488 MiB of memory are available"):
        roofline.measure(Context())


@pytest.mark.parametrize(("free_pages", "taken"), [(1 << 20, 1 << 30), (1 << 18, 1 << 29)], ids=str)
def test_systems_without_meminfo(
    told: Path, monkeypatch: pytest.MonkeyPatch, free_pages: int, taken: int
) -> None:
    answers = {"SC_AVPHYS_PAGES": free_pages, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sysconf", answers.__getitem__)
    assert roofline.measure(Context()).bandwidth_gbps == taken


def test_a_system_that_does_not_tell_its_memory(told: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> int:
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(os, "sysconf", unknown)
    assert roofline.measure(Context()).bandwidth_gbps == 1 << 30
