"""Energy in joules from the CPU's own counters (RAPL, by Linux' powercap); None where there are none or they may not be
read. Never an estimate. Layout: Documentation/power/powercap/powercap.rst of the Linux kernel.
"""

from __future__ import annotations

from pathlib import Path

POWERCAP = Path("/sys/class/powercap")


class EnergyMeter:
    """The package domains of this machine: `start`, then `joules` since then."""

    def __init__(self, root: Path = POWERCAP) -> None:
        self._domains = []
        for domain in sorted(root.glob("*-rapl:[0-9]*")) if root.is_dir() else []:
            # `intel-rapl:0` is a package, `intel-rapl:0:0` a part of it that it contains.
            if domain.name.count(":") == 1 and _read(domain / "energy_uj") is not None:
                self._domains.append(domain)
        self._before: list[int | None] = []

    def start(self) -> None:
        self._before = [_read(domain / "energy_uj") for domain in self._domains]

    def joules(self) -> float | None:
        """Since `start`; None if there is no counter. A counter may have wrapped around once."""
        total = 0
        for domain, before in zip(self._domains, self._before, strict=True):
            now, limit = _read(domain / "energy_uj"), _read(domain / "max_energy_range_uj")
            if before is None or now is None or (now < before and limit is None):
                return None
            total += now - before + (limit or 0 if now < before else 0)
        return total / 1e6 if self._domains else None


def _read(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
