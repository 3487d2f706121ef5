"""The machine and the build that numbers were measured on."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from bitnet_cli import __version__
from bitnet_cli.native import commit, compiler, physical_cores
from bitnet_cli.native.processor import cpu_name

_CHECKOUT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Host:
    """What a number means nothing without."""

    cpu: str
    cores: int
    """Physical cores this process may use."""
    compiler: str
    """The one that built the kernels."""
    version: str
    commit: str | None
    """Short hash of the checkout this runs from, or was installed from, with `-dirty` if files differ; None if not known."""


def this_host() -> Host:
    return Host(cpu_name(), physical_cores(), compiler(), __version__, _commit(_CHECKOUT) or commit())


def _commit(checkout: Path) -> str | None:
    if not (checkout / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
