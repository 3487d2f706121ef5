"""What a measurement was made with: CPU, compiler, version, commit."""

from __future__ import annotations

import platform
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from bitnet_cli import __version__
from bitnet_cli.engine.calibration import cpu_name
from bitnet_cli.native import compiler, physical_cores


@dataclass(frozen=True)
class Host:
    """Everything that a number depends on besides the model."""

    cpu: str
    physical_cores: int
    system: str
    compiler: str
    version: str
    commit: str | None
    """Of the checkout this runs from, with `-dirty` if it was changed; None if it is no checkout."""

    @classmethod
    def here(cls) -> Host:
        return cls(
            cpu_name(), physical_cores(), f"{platform.system()} {platform.release()}", compiler(),
            __version__, _commit(),
        )  # fmt: skip

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def _commit() -> str | None:
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None
