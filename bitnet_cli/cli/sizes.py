"""Numbers of bytes as people read them: powers of ten, as disks and hubs count."""

from __future__ import annotations


def size_text(n_bytes: int) -> str:
    """Such as `812 B`, `4.1 kB`, `650 MB`, `1.19 GB`."""
    if n_bytes < 1000:
        return f"{n_bytes} B"
    value, unit = n_bytes / 1000, "kB"
    for larger in ("MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}" if value < 100 else f"{value:.0f} {unit}"


def threads_text(n: int) -> str:
    """`1 thread`, `2 threads`."""
    return f"{n} thread{'s' if n != 1 else ''}"
