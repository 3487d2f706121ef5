"""What the machine gives at most, and the time of every kernel, as the C library measures them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bitnet_cli.native._bitnet import ffi, lib
from bitnet_cli.native.context import Context, check


@dataclass(frozen=True)
class KernelTime:
    """One call of one kernel by one thread, on inputs of a real model's sizes (native/src/bench_kernels.c)."""

    kernel: str
    isa: str
    median_ns: float
    min_ns: float
    bytes: int
    """Read and written by a call, each byte counted once."""
    products: int
    """Multiply-adds of a call; 0 where those are not its work."""


def memory_bandwidth(ctx: Context, n_bytes: int) -> float:
    """Bytes, in 10⁹ per second, that all threads of a context read together; the best of several passes.

    Args:
        ctx: threads and instruction set.
        n_bytes: how much memory to read in a pass, at least 1 MiB; it should be much more than the caches hold.

    Raises:
        NativeError: there is not that much memory.
    """
    rate = ffi.new("double *")
    with ctx.lock:
        status = lib.bn_roofline_bandwidth(ctx.handle, n_bytes, rate)
    check(status, "measuring the memory")
    return float(rate[0])


def int8_peak(ctx: Context) -> float:
    """int8 multiply-adds, in 10⁹ per second, that all threads of a context do together without reading memory."""
    rate = ffi.new("double *")
    with ctx.lock:
        status = lib.bn_roofline_int8(ctx.handle, rate)
    check(status, "measuring the processor")
    return float(rate[0])


def kernel_times(min_seconds: float, isa: str | None = None) -> Iterator[KernelTime | None]:
    """Times every kernel that this build has; None stands for one that this CPU does not run or that was not asked for.

    Args:
        min_seconds: how long each kernel is called, 0..60; once at least.
        isa: only kernels of this instruction set; None for all.
    """
    result = ffi.new("bn_bench_result *")
    for index in range(lib.bn_bench_count()):
        if isa is not None and isa != _isa_of(index):
            yield None
            continue
        status = lib.bn_bench_run(index, min_seconds, result)
        if status == lib.BN_ERR_ISA:
            yield None
            continue
        check(status, "timing a kernel")
        yield KernelTime(
            ffi.string(result.kernel).decode(),
            ffi.string(result.isa).decode(),
            result.median_ns,
            result.min_ns,
            int(result.bytes),
            int(result.products),
        )


def kernel_count() -> int:
    """How many items `kernel_times` yields."""
    return int(lib.bn_bench_count())


def _isa_of(index: int) -> str | None:
    name = lib.bn_bench_isa(index)
    return ffi.string(name).decode() if name != ffi.NULL else None
