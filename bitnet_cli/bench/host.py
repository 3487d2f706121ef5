"""The machine and the build that numbers were measured on."""

from __future__ import annotations

import platform
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bitnet_cli import __version__
from bitnet_cli.native import compiler, physical_cores

_CPUINFO = Path("/proc/cpuinfo")
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
    """Short hash of the checkout this runs from, with `-dirty` if files differ; None for an installed package."""


def this_host() -> Host:
    return Host(_cpu_name(), physical_cores(), compiler(), __version__, _commit(_CHECKOUT))


def _cpu_name(cpuinfo: Path = _CPUINFO) -> str:
    """What the processor calls itself; on ARM, which has numbers only, the architecture and these."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^(?:model name|Model)\s*:\s*(\S.*)$", text, re.MULTILINE)
    if found:
        return " ".join(found[1].split())
    numbers = [
        found[1]
        for key in ("implementer", "part")
        if (found := re.search(rf"^CPU {key}\s*:\s*(\S+)", text, re.MULTILINE))
    ]
    return " ".join([platform.machine() or "unknown", *numbers])


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
