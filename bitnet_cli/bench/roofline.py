"""The machine's limits: what a model's speed is judged by."""

from __future__ import annotations

import os
from dataclasses import dataclass

from bitnet_cli.native import Context
from bitnet_cli.native.timing import int8_peak, memory_bandwidth

READ_BYTES = 1 << 30
"""Read in a pass, unless the machine is too small: far more than caches hold."""


@dataclass(frozen=True)
class Roofline:
    """What all threads of a context reach together at most."""

    bandwidth_gbps: float
    """Bytes read from memory, 10⁹ a second."""
    int8_gmacs: float
    """int8 multiply-adds, 10⁹ a second, by the best instruction of the context's set."""

    def mean(self, other: Roofline) -> Roofline:
        """Of two measurements, such as before and after something."""
        return Roofline(
            (self.bandwidth_gbps + other.bandwidth_gbps) / 2, (self.int8_gmacs + other.int8_gmacs) / 2
        )


def measure(ctx: Context, n_bytes: int = READ_BYTES) -> Roofline:
    """Measures both limits with the threads and the instruction set of a context, in about two seconds.

    Args:
        ctx: threads and instruction set.
        n_bytes: memory to take and read, at least 1 MiB; less is taken where that is more than half of what is free.

    Raises:
        NativeError: there is no memory.
    """
    return Roofline(memory_bandwidth(ctx, _affordable(n_bytes)), int8_peak(ctx))


def _affordable(n_bytes: int) -> int:
    """`n_bytes`, or half of the free memory where that is less, where the system tells how much is free."""
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return n_bytes
    return min(n_bytes, max(free // 2, 1 << 20))
