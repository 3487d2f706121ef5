"""Energy of the processor packages, as the machine itself counts it (RAPL); never an estimate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True)
class _Zone:
    """The counter of one package, in microjoules; it starts over after `range_uj`."""

    path: Path
    range_uj: int
    start_uj: int

    def spent_uj(self) -> int:
        spent = _number(self.path / "energy_uj") - self.start_uj
        return spent if spent >= 0 else spent + self.range_uj


class Rapl:
    """Energy spent since `start` was called. A counter may start over once in that time, not twice."""

    def __init__(self, zones: list[_Zone]) -> None:
        self._zones = zones

    @classmethod
    def start(cls, powercap: Path = POWERCAP) -> Rapl | None:
        """Begins to count; None if this machine counts nothing, or only for root."""
        zones = []
        try:
            for path in sorted(powercap.glob("*-rapl:*")):
                if (path / "name").read_text().startswith("package"):
                    range_uj = _number(path / "max_energy_range_uj")
                    zones.append(_Zone(path, range_uj, _number(path / "energy_uj")))
        except (OSError, ValueError):
            return None
        return cls(zones) if zones else None

    def joules(self) -> float | None:
        """Joules of all packages since the start, or None if the counters cannot be read any more."""
        try:
            return sum(zone.spent_uj() for zone in self._zones) / 1e6
        except (OSError, ValueError):
            return None


def _number(path: Path) -> int:
    return int(path.read_text())
