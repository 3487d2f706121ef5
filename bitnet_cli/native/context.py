"""What every call into the C library needs: a kernel table, threads, errors as exceptions, checked pointers."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from bitnet_cli.errors import NativeError, UsageError
from bitnet_cli.native import _bitnet
from bitnet_cli.native._bitnet import ffi, lib


class NotTernaryError(NativeError):
    """Weights to pack hold a value other than -1, 0 and +1."""


@dataclass(frozen=True)
class Isa:
    """An instruction set that this build has kernels for."""

    name: str
    supported: bool
    """True if this CPU and operating system can run it."""


def isas() -> list[Isa]:
    """The instruction sets compiled in, weakest (`scalar`) first."""
    return [
        Isa(ffi.string(lib.bn_isa_name(i)).decode(), bool(lib.bn_isa_supported(i)))
        for i in range(lib.bn_isa_count())
    ]


def physical_cores() -> int:
    """Physical cores this process may run on."""
    return int(lib.bn_cpu_physical_cores())


def compiler() -> str:
    """Name and version of the compiler that built the library."""
    return str(ffi.string(lib.bn_compiler()).decode())


def commit() -> str | None:
    """Short hash of the checkout that the library was built from, with `-dirty` if files differed; None if not known."""
    return str(ffi.string(lib.bn_commit()).decode()) or None


def build() -> str:
    """Names the build of the library: size and time of the compiled module, which any new build changes."""
    compiled = os.stat(_bitnet.__file__)
    return f"{compiled.st_size}-{compiled.st_mtime_ns}"


def check(status: int, doing: str) -> None:
    """Raises NativeError if a call returned anything but BN_OK."""
    if status != lib.BN_OK:
        reason = ffi.string(lib.bn_status_str(status)).decode()
        kind = NotTernaryError if status == lib.BN_ERR_CODE else NativeError
        raise kind(f"{doing}: {reason}", status=int(status))


def count_codes(data: np.ndarray) -> np.ndarray:
    """How often each 2-bit code 0..3 occurs in packed codes.

    Args:
        data: uint8, contiguous.

    Returns:
        uint64 [4].
    """
    counts = np.zeros(4, np.uint64)
    lib.bn_count_codes(
        pointer(data, np.uint8, "const uint8_t *"), data.nbytes, ffi.from_buffer("uint64_t[]", counts)
    )
    return counts


class Context:
    """A kernel table for one instruction set and a pool of threads.

    Args:
        isa: a name of `isas()`, or None for the strongest this CPU runs.
        n_threads: threads that work together, 1..256; the caller is one of them.

    Raises:
        UsageError: the instruction set is unknown or this CPU does not run it.
    """

    def __init__(self, isa: str | None = None, n_threads: int = 1) -> None:
        if isa is not None:
            _check_isa(isa)
        if not 1 <= n_threads <= 256:
            raise UsageError(
                f"threads must be 1 to 256, not {n_threads}", hint="leave out `-t` to use the physical cores"
            )
        handle = ffi.new("bn_ctx **")
        check(
            lib.bn_ctx_create(isa.encode() if isa is not None else ffi.NULL, n_threads, handle),
            "starting the engine",
        )
        self.handle = ffi.gc(handle[0], lib.bn_ctx_free)
        self.isa: str = ffi.string(lib.bn_ctx_isa(self.handle)).decode()
        self.n_threads = n_threads
        self.lock = threading.Lock()
        """Held during calls that use the pool: the library serves one caller at a time."""

    def kernel_isa(self, kernel: str) -> str | None:
        """The instruction set whose code serves `kernel` (such as `gemv_t2_i8`), or None if there is no such kernel."""
        name = lib.bn_ctx_kernel_isa(self.handle, kernel.encode())
        return ffi.string(name).decode() if name != ffi.NULL else None


def _check_isa(isa: str) -> None:
    known = isas()
    found = next((i for i in known if i.name == isa), None)
    usable = ", ".join(f"`{i.name}`" for i in known if i.supported)
    if found is None:
        raise UsageError(f"unknown instruction set `{isa}`", hint=f"this machine runs {usable}")
    if not found.supported:
        raise UsageError(f"this CPU does not run `{isa}`", hint=f"this machine runs {usable}")


def pointer(array: np.ndarray, dtype: Any, ctype: str) -> Any:
    """The address of a contiguous array of the right dtype; the caller keeps the array alive."""
    if array.dtype != dtype or not array.flags.c_contiguous:
        raise TypeError(f"expected a contiguous {np.dtype(dtype).name} array, got {array.dtype.name}")
    return ffi.cast(ctype, ffi.from_buffer(array))
