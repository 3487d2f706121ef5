"""The machine's limits: what a model's speed is judged by."""

from __future__ import annotations

from dataclasses import dataclass

from bitnet_cli.errors import UnsupportedError
from bitnet_cli.machine import memory
from bitnet_cli.native import Context
from bitnet_cli.native.timing import int8_peak, memory_bandwidth

READ_BYTES = 1 << 30
"""Read in a pass, unless the machine is too small: far more than caches hold."""
MIN_READ_BYTES = 1 << 28
"""With less, large caches would pass for memory."""


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
        n_bytes: memory to take and read, at least 1 MiB; less is taken where that is more than half of what is available.

    Raises:
        UnsupportedError: too little memory is available to tell it from caches.
        NativeError: there is no memory.
    """
    return Roofline(memory_bandwidth(ctx, _affordable(n_bytes)), int8_peak(ctx))


def _affordable(n_bytes: int) -> int:
    """`n_bytes`, or half of the available memory where that is less and the system tells."""
    machine = memory()
    available = None if machine is None else machine.free
    if available is None or n_bytes <= available // 2:
        return n_bytes
    if available // 2 < MIN_READ_BYTES:
        raise UnsupportedError(
            f"{available >> 20} MiB of memory are available, too little to measure its bandwidth",
            hint=f"close other programs, or leave out `--roofline`: it needs {2 * MIN_READ_BYTES >> 20} MiB",
        )
    return available // 2
