"""Memory as the system, or a container, tells it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bitnet_cli import machine
from bitnet_cli.machine import Memory

MEMINFO = "MemTotal:       8000000 kB\nMemFree:  1 kB\nMemAvailable:   4000000 kB\n"
WHOLE = Memory(8_192_000_000, 4_096_000_000)


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(machine, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    (tmp_path / "meminfo").write_text(MEMINFO)
    return tmp_path


def test_without_a_container(system: Path) -> None:
    assert machine.memory() == WHOLE


@pytest.mark.parametrize(
    ("limit", "used", "expected"),
    [
        ("max", "5", WHOLE),
        ("9000000000", "5", WHOLE),
        ("3000000000", "1000000000", Memory(3_000_000_000, 2_000_000_000, limited=True)),
        ("3000000000", "4000000000", Memory(3_000_000_000, 0, limited=True)),
        ("nonsense", "5", WHOLE),
        ("3000000000", "nonsense", WHOLE),
    ],
)
@pytest.mark.parametrize("names", [("memory.max", "memory.current"),
                                   ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")])  # fmt: skip
def test_limits(system: Path, names: tuple[str, str], limit: str, used: str, expected: Memory) -> None:
    for name, text in zip(names, (limit, used), strict=True):
        (system / name).parent.mkdir(exist_ok=True)
        (system / name).write_text(text + "\n")
    assert machine.memory() == expected


def test_systems_without_meminfo(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"SC_PHYS_PAGES": 100, "SC_AVPHYS_PAGES": 40, "SC_PAGE_SIZE": 4096}
    (system / "meminfo").write_text("MemTotal: many\n")
    monkeypatch.setattr(os, "sysconf", answers.__getitem__)
    assert machine.memory() == Memory(409600, 163840)

    def unknown(name: str) -> int:
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(os, "sysconf", unknown)
    assert machine.memory() is None


def test_processors() -> None:
    total, allowed = machine.processors()
    assert 1 <= allowed <= total
