"""What the processor calls itself."""

from __future__ import annotations

import platform
import re
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


def cpu_name(cpuinfo: Path = _CPUINFO) -> str:
    """The name of the CPU; on ARM, which has numbers only, the architecture, the implementer and the part."""
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
