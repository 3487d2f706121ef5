"""What this machine has: memory, and how many processors this process may use. Standard library only."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Memory:
    """Bytes of memory.

    Attributes:
        total: of the machine, or of the container where that may have less.
        free: what programs can have without pushing others out; pages of files count as free.
        limited: a container's limit is below what the machine has.
    """

    total: int
    free: int
    limited: bool = False


def memory() -> Memory | None:
    """The memory that this process can have; None if the system does not tell."""
    found = _from_meminfo() or _from_sysconf()
    if found is None:
        return None
    limit, used = _cgroup_limit()
    if limit is None or limit >= found.total:
        return found
    return Memory(limit, max(0, min(found.free, limit - used)), limited=True)


def processors() -> tuple[int, int]:
    """Processors of the machine, hyper-threads counted, and those that this process may run on."""
    allowed = getattr(os, "sched_getaffinity", None)
    total = os.cpu_count() or 1
    return total, len(allowed(0)) if allowed is not None else total


def _from_meminfo() -> Memory | None:
    try:
        text = _MEMINFO.read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
    sizes = dict(re.findall(r"^(MemTotal|MemAvailable):\s*(\d+) kB$", text, re.MULTILINE))
    if len(sizes) < 2:
        return None
    return Memory(int(sizes["MemTotal"]) * 1024, int(sizes["MemAvailable"]) * 1024)


def _from_sysconf() -> Memory | None:
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        return Memory(os.sysconf("SC_PHYS_PAGES") * page, os.sysconf("SC_AVPHYS_PAGES") * page)
    except (ValueError, OSError, AttributeError):
        return None


def _cgroup_limit() -> tuple[int | None, int]:
    """The limit of memory that a container sets, None for none, and what is used of it; version 2, then 1."""
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            text = (_CGROUP / limit).read_text(encoding="ascii").strip()
            return (int(text) if text.isdigit() else None), int((_CGROUP / used).read_text(encoding="ascii"))
        except (OSError, ValueError):
            continue
    return None, 0
