"""RAPL counters: packages only, around their end, and nothing where there is nothing."""

from __future__ import annotations

from pathlib import Path

from bitnet_cli.bench.energy import Rapl


def zone(powercap: Path, directory: str, name: str, energy: int, full: int = 1_000_000) -> Path:
    path = powercap / directory
    path.mkdir(parents=True)
    (path / "name").write_text(name + "\n")
    (path / "energy_uj").write_text(f"{energy}\n")
    (path / "max_energy_range_uj").write_text(f"{full}\n")
    return path


def test_packages_add_up_and_wrap_around(tmp_path: Path) -> None:
    first = zone(tmp_path, "intel-rapl:0", "package-0", 100)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 999_000)
    core = zone(tmp_path, "intel-rapl:0:0", "core", 5)
    counting = Rapl.start(tmp_path)
    assert counting is not None and counting.joules() == 0
    (first / "energy_uj").write_text("500100")
    (second / "energy_uj").write_text("1000")
    (core / "energy_uj").write_text("900000")
    assert counting.joules() == 0.502
    (first / "energy_uj").unlink()
    assert counting.joules() is None


def test_a_machine_that_counts_nothing(tmp_path: Path) -> None:
    assert Rapl.start(tmp_path / "none") is None
    zone(tmp_path, "intel-rapl:0", "psys", 100)
    assert Rapl.start(tmp_path) is None
    (zone(tmp_path, "intel-rapl:1", "package-0", 1) / "energy_uj").write_text("not a number")
    assert Rapl.start(tmp_path) is None
