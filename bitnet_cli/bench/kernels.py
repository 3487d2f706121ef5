"""`bitnet bench --kernels`: the time of every kernel that this CPU runs, by one thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bitnet_cli.native import Context
from bitnet_cli.native.timing import KernelTime, kernel_count, kernel_times

COLUMNS = ("kernel", "isa", "ns", "GB/s", "GMAC/s")
MIN_SECONDS = 0.05
"""How long each kernel is called."""


def time_kernels(
    min_seconds: float = MIN_SECONDS,
    progress: Callable[[int, int], None] | None = None,
    isa: str | None = None,
) -> list[KernelTime]:
    """Times every kernel, kernels of one name next to each other, the weakest instruction set first.

    Args:
        min_seconds: how long each kernel is called, 0..60; once at least.
        progress: called after each kernel with how many are done, of how many.
        isa: the instruction set whose kernels are timed; None for all.

    Raises:
        UsageError: there is no such instruction set here.
    """
    if isa is not None:
        Context(isa, 1)  # It knows what to say of a wrong one.
    times: list[KernelTime] = []
    for done, time in enumerate(kernel_times(min_seconds, isa), 1):
        if time is not None:
            times.append(time)
        if progress is not None:
            progress(done, kernel_count())
    order = list(dict.fromkeys(time.kernel for time in times))
    return sorted(times, key=lambda time: order.index(time.kernel))


def table(times: Sequence[KernelTime]) -> list[tuple[str, ...]]:
    """Rows of text under COLUMNS: medians; a dash where a kernel does not multiply."""
    return [
        (
            time.kernel,
            time.isa,
            f"{time.median_ns:.0f}",
            f"{time.bytes / time.median_ns:.2f}",
            f"{time.products / time.median_ns:.2f}" if time.products else "-",
        )
        for time in times
    ]


def as_json(times: Sequence[KernelTime]) -> list[dict[str, object]]:
    """The same as values: times in ns, rates in 10⁹ per second or None."""
    return [
        {
            "kernel": time.kernel,
            "isa": time.isa,
            "median_ns": round(time.median_ns, 1),
            "min_ns": round(time.min_ns, 1),
            "bytes": time.bytes,
            "products": time.products,
            "gb_per_s": round(time.bytes / time.median_ns, 3),
            "gmac_per_s": round(time.products / time.median_ns, 3) if time.products else None,
        }
        for time in times
    ]
