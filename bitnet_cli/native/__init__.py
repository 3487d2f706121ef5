"""The C library as Python objects; the only package that imports the compiled module.

Each object owns one native handle and frees it with itself. Arrays go in and out as NumPy arrays whose dtype, shape and
contiguity are checked here, so that nothing wrong reaches C.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol

import numpy as np

from bitnet_cli.errors import NativeError, UsageError
from bitnet_cli.native import _bitnet
from bitnet_cli.native._bitnet import ffi, lib

__all__ = [
    "DEFAULT_KV_TYPE",
    "KV_TYPES",
    "Context",
    "DenseMatrix",
    "Isa",
    "KVCache",
    "Layout",
    "NotTernaryError",
    "Plan",
    "TernaryMatrix",
    "Tiling",
    "build",
    "compiler",
    "count_codes",
    "isas",
    "lib",
    "physical_cores",
]


KV_TYPES = {"f32": lib.BN_KV_F32, "f16": lib.BN_KV_F16, "i8": lib.BN_KV_I8}
"""What a KV cache may store, by name."""
DEFAULT_KV_TYPE = "f16"


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
        _pointer(data, np.uint8, "const uint8_t *"), data.nbytes, ffi.from_buffer("uint64_t[]", counts)
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


class Layout(IntEnum):
    """How the weights of a ternary matrix lie in memory; results do not depend on it."""

    T2 = lib.BN_LAYOUT_T2
    """Tiles, streamed from end to end."""
    R2 = lib.BN_LAYOUT_R2
    """Rows: those whose gate is shut are skipped."""
    C2 = lib.BN_LAYOUT_C2
    """Columns: those that meet a zero are skipped."""
    L3 = lib.BN_LAYOUT_L3
    """Lookups, streamed from end to end: three weights to an index of five bits."""
    G2 = lib.BN_LAYOUT_G2
    """Tiles with their scales, group after group of columns: for scales per group."""


class Tiling(Protocol):
    """How a TL1 or TL2 tensor is cut into tiles."""

    @property
    def rows_outer(self) -> int: ...

    @property
    def cols(self) -> int: ...

    @property
    def rows_inner(self) -> int: ...


class TernaryMatrix:
    """An immutable matrix of -1, 0, +1 with scales, in the layout the kernels read.

    Wherever scales are taken they are a float, one for the tensor, or float32 [1, 1], [rows, 1] (one per row) or
    [rows, cols // group] (one per group of 64, 128 or 256 columns). They may be negative or 0, but must be finite.
    """

    def __init__(self, handle: Any, scales: np.ndarray, layout: Layout) -> None:
        self.handle = ffi.gc(handle, lib.bn_tmat_free)
        self.scales = scales
        """What the weights are multiplied by: float32 [1, 1], [rows, 1] or [rows, cols // group]."""
        self.layout = layout
        self.rows = int(lib.bn_tmat_rows(handle))
        self.cols = int(lib.bn_tmat_cols(handle))
        self.n_bytes = int(lib.bn_tmat_bytes(handle))

    @property
    def skips(self) -> bool:
        """True if what meets a zero is not read when one token is evaluated."""
        return self.layout in (Layout.R2, Layout.C2)

    @classmethod
    def from_trits(
        cls, ctx: Context, trits: np.ndarray, scales: np.ndarray | float, layout: Layout = Layout.T2
    ) -> TernaryMatrix:
        """From int8 [rows, cols] of -1, 0, +1."""
        rows, cols = trits.shape
        return cls.pack(ctx, lib.BN_PACK_TRITS, trits, rows, cols, scales, layout)

    @classmethod
    def pack(
        cls,
        ctx: Context,
        pack_format: int,
        data: np.ndarray,
        rows: int,
        cols: int,
        scales: np.ndarray | float,
        layout: Layout = Layout.T2,
        tiling: Tiling | None = None,
    ) -> TernaryMatrix:
        """From the codes of a tensor as a file holds them.

        Args:
            ctx: threads and kernels; packing uses all of them.
            pack_format: a `BN_PACK_…` of `lib` (bitnet_api.h).
            data: uint8, contiguous: the codes; for BN_PACK_TRITS int8 [rows, cols].
            rows, cols: the shape.
            scales: as the class says.
            layout: how the weights are to lie in memory. With scales per group it is always G2, which is for nothing
                else.
            tiling: of BN_PACK_TL1 and BN_PACK_TL2.

        Raises:
            NotTernaryError: a code stands for no weight.
            NativeError: a scale is not finite, or the sizes do not fit each other or the format.
        """
        dtype = np.int8 if pack_format == lib.BN_PACK_TRITS else np.uint8
        pointer, held = _pointer(data, dtype, "const void *"), _scales(scales)
        if held.shape[1] > 1:
            layout = Layout.G2
        tiles = ffi.NULL
        if tiling is not None:
            tiles = ffi.new("bn_tiling *", (tiling.rows_outer, tiling.cols, tiling.rows_inner))
        out = ffi.new("bn_tmat **")
        with ctx.lock:
            status = lib.bn_tmat_pack(
                ctx.handle,
                pack_format,
                layout,
                pointer,
                data.nbytes,
                rows,
                cols,
                tiles,
                _pointer(held, np.float32, "const float *"),
                *held.shape,
                out,
            )
        check(status, f"packing a {rows}×{cols} ternary matrix")
        return cls(out[0], held, layout)

    def unpack(self) -> np.ndarray:
        """int8 [rows, cols]."""
        trits = np.empty((self.rows, self.cols), np.int8)
        check(
            lib.bn_tmat_unpack(self.handle, ffi.from_buffer("int8_t[]", trits)), "unpacking a ternary matrix"
        )
        return trits


class DenseMatrix:
    """The output head, logits = head @ hidden state, as the kernels read it; immutable.

    Args:
        ctx: threads and kernels; packing uses all of them.
        type: F32, F16, BF16, Q8_0, Q6_K or Q4_0 of the GGUF tensor types.
        data: uint8, the rows as GGUF stores them; they are copied.
        rows, cols: the shape.
    """

    def __init__(self, ctx: Context, type: int, data: np.ndarray, rows: int, cols: int) -> None:
        out = ffi.new("bn_dmat **")
        with ctx.lock:
            pointer = _pointer(data, np.uint8, "const void *")
            status = lib.bn_dmat_pack(ctx.handle, type, pointer, data.nbytes, rows, cols, out)
        check(status, f"packing a {rows}×{cols} head")
        self._own(out[0])

    @classmethod
    def from_ternary(cls, ctx: Context, mat: TernaryMatrix) -> DenseMatrix:
        """The weights of a ternary matrix, trit * scale, in the smallest type that holds them exactly.

        Q4_0 if all scales are numbers of f16 and rows are whole blocks of 32, F16 if only rows are not, else F32.
        """
        out = ffi.new("bn_dmat **")
        with ctx.lock:
            status = lib.bn_dmat_from_tmat(ctx.handle, mat.handle, out)
        check(status, f"packing a {mat.rows}×{mat.cols} head")
        dense = cls.__new__(cls)
        dense._own(out[0])
        return dense

    def _own(self, handle: Any) -> None:
        self.handle = ffi.gc(handle, lib.bn_dmat_free)
        self.type = int(lib.bn_dmat_type(handle))
        self.rows = int(lib.bn_dmat_rows(handle))
        self.cols = int(lib.bn_dmat_cols(handle))
        self.n_bytes = int(lib.bn_dmat_bytes(handle))

    def unpack(self) -> np.ndarray:
        """The rows as GGUF stores them, uint8 [bytes]."""
        data = np.empty(self.rows * lib.bn_type_row_bytes(self.type, self.cols), np.uint8)
        check(lib.bn_dmat_unpack(self.handle, ffi.from_buffer("uint8_t[]", data)), "unpacking a head")
        return data


class KVCache:
    """Keys and values of all layers; pages of memory are taken as positions are written.

    Args:
        n_layers, n_kv_heads, head_dim: the model's shape.
        n_ctx: positions.
        kv_type: what a value is stored as: `f32`, `f16` (rounded half to even), or `i8` (one float32 scale per position
            and head, absmax / 127).

    Raises:
        UsageError: an unknown `kv_type`.
    """

    def __init__(
        self, n_layers: int, n_kv_heads: int, head_dim: int, n_ctx: int, kv_type: str = DEFAULT_KV_TYPE
    ) -> None:
        if kv_type not in KV_TYPES:
            raise UsageError(
                f"there is no KV cache of type {kv_type!r}", hint=f"use one of {', '.join(KV_TYPES)}"
            )
        out = ffi.new("bn_kv **")
        check(
            lib.bn_kv_create(KV_TYPES[kv_type], n_layers, n_kv_heads, head_dim, n_ctx, out),
            f"making room for a context of {n_ctx} tokens",
        )
        self.handle = ffi.gc(out[0], lib.bn_kv_free)
        self.n_ctx = n_ctx
        self.kv_type = kv_type
        self.n_bytes = int(lib.bn_kv_bytes(out[0]))

    @property
    def bytes_per_position(self) -> float:
        """Positions come in blocks of 16."""
        return self.n_bytes / (-(-self.n_ctx // 16) * 16)


class Plan:
    """A list of ops over buffers, played by the C library in one call.

    Args:
        ctx: threads and kernels.
        ops: dicts with the fields of `bn_op` (bitnet_api.h); arrays and matrices as Python objects, which the plan
            keeps alive.
        bufs: (kind, width) of each buffer, kind being `lib.BN_BUF_F32` or `lib.BN_BUF_I8`.
        n_ctx: positions, at most.
        max_tokens: tokens of one run, at most.
    """

    def __init__(
        self,
        ctx: Context,
        ops: Sequence[dict[str, Any]],
        bufs: Sequence[tuple[int, int]],
        n_ctx: int,
        max_tokens: int,
    ) -> None:
        self.ctx = ctx
        self.n_ops = len(ops)
        self.max_tokens = max_tokens
        self._kept: list[Any] = []
        c_ops = ffi.new("bn_op[]", len(ops))
        for c_op, op in zip(c_ops, ops, strict=True):
            _check_sizes(op, bufs, n_ctx)
            self._fill(c_op, op)
        self._n_vocab = {op["head"].rows for op in ops if op["kind"] == lib.BN_OP_HEAD}
        c_bufs = ffi.new("bn_buf[]", [{"kind": kind, "width": width} for kind, width in bufs])
        out = ffi.new("bn_plan **")
        status = lib.bn_plan_create(ctx.handle, c_ops, len(ops), c_bufs, len(bufs), n_ctx, max_tokens, out)
        check(status, "planning the forward pass")
        self.handle = ffi.gc(out[0], lib.bn_plan_free)

    def _fill(self, c_op: Any, op: dict[str, Any]) -> None:
        c_op.in2 = -1
        for field, value in op.items():
            if field == "out":
                for i in range(3):
                    c_op.out[i] = value[i] if i < len(value) else -1
            elif field == "mats":
                c_op.n_mats = len(value)
                for i, mat in enumerate(value):
                    c_op.mat[i] = mat.handle
                self._kept.append(list(value))
            elif field in ("weight", "rope_cos", "rope_sin"):
                self._kept.append(value)
                setattr(c_op, field, _pointer(value, np.float32, "const float *"))
            elif field == "head":
                self._kept.append(value)
                c_op.head = value.handle
            elif field == "dense":
                self._kept.append(value)
                c_op.dense = _pointer(value, np.uint8, "const void *")
            else:
                setattr(c_op, field, value)

    def run(
        self,
        kv: KVCache,
        tokens: np.ndarray,
        pos: int,
        *,
        logits: np.ndarray | None = None,
        first: int = 0,
        end: int | None = None,
    ) -> None:
        """Plays ops `first`..`end`-1 for `tokens` (int32 [n_tokens]) at positions `pos`...

        Args:
            logits: float32 [n_logits, n_vocab], filled with the logits of the last n_logits tokens; None for none.
        """
        n_logits = 0 if logits is None else logits.shape[0]
        if tokens.ndim != 1 or (
            logits is not None and (logits.ndim != 2 or {logits.shape[1]} != self._n_vocab)
        ):
            raise ValueError("tokens must be [n_tokens] and logits [n_logits, n_vocab]")
        with self.ctx.lock:
            status = lib.bn_plan_run(
                self.handle,
                kv.handle,
                _pointer(tokens, np.int32, "const int32_t *"),
                len(tokens),
                pos,
                first,
                self.n_ops if end is None else end,
                ffi.NULL if logits is None else _pointer(logits, np.float32, "float *"),
                n_logits,
            )
        check(status, "running the model")

    def f32(self, index: int, n_tokens: int) -> np.ndarray:
        """A float buffer as a writable view, float32 [n_tokens, width]."""
        view = self._view(index)
        array = self._array(view.f32, self.max_tokens * view.stride, np.float32)
        return array.reshape(self.max_tokens, view.stride)[:n_tokens]

    def i8(self, index: int, n_tokens: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """An int8 buffer as writable views: q int8 [n_tokens, stride], s float32 [n_tokens], sum int32 [n_tokens]."""
        view = self._view(index)
        q = self._array(view.i8, self.max_tokens * view.stride, np.int8)
        s = self._array(view.scale, self.max_tokens, np.float32)
        total = self._array(view.sum, self.max_tokens, np.int32)
        return q.reshape(self.max_tokens, view.stride)[:n_tokens], s[:n_tokens], total[:n_tokens]

    def _array(self, pointer: Any, n: int, dtype: Any) -> np.ndarray:
        """Memory of the plan as an array [n]. Its base holds `self`, so the memory lives as long as the array."""
        kept = ffi.gc(pointer, lambda _, plan=self: None)
        return np.frombuffer(ffi.buffer(kept, n * np.dtype(dtype).itemsize), dtype)

    def _view(self, index: int) -> Any:
        view = ffi.new("bn_buf_view *")
        check(lib.bn_plan_buf(self.handle, index, view), "reading a buffer of the plan")
        return view

    def times_ns(self, *, reset: bool = False) -> np.ndarray:
        """Nanoseconds spent in each op since creation or the last reset, uint64 [n_ops]."""
        times = np.zeros(self.n_ops, np.uint64)
        check(
            lib.bn_plan_times(self.handle, ffi.from_buffer("uint64_t[]", times), int(reset)),
            "reading the clock",
        )
        return times


def _check_sizes(op: dict[str, Any], bufs: Sequence[tuple[int, int]], n_ctx: int) -> None:
    """Raises ValueError if an array of an op is not as large as C will read it. Wrong indices are C's to refuse."""

    def width(index: int) -> int:
        return bufs[index][1] if 0 <= index < len(bufs) else 0

    expected = {}
    if "weight" in op:
        expected["weight"] = (op["kind"] == lib.BN_OP_NORM and op.get("head_dim")) or width(op["in"])
    if "rope_cos" in op or "rope_sin" in op:
        expected |= dict.fromkeys(("rope_cos", "rope_sin"), n_ctx * (op["n_rot"] // 2))
    if "dense" in op:
        row_bytes = lib.bn_type_row_bytes(op["dense_type"], width(op["out"][0]))
        expected["dense"] = op["dense_rows"] * row_bytes
    for name, size in expected.items():
        if op[name].size != size:
            raise ValueError(f"`{name}` must hold {size} values, not {op[name].size}")


def _check_isa(isa: str) -> None:
    known = isas()
    found = next((i for i in known if i.name == isa), None)
    usable = ", ".join(f"`{i.name}`" for i in known if i.supported)
    if found is None:
        raise UsageError(f"unknown instruction set `{isa}`", hint=f"this machine runs {usable}")
    if not found.supported:
        raise UsageError(f"this CPU does not run `{isa}`", hint=f"this machine runs {usable}")


def _scales(scales: np.ndarray | float) -> np.ndarray:
    """Scales as an array of its own, float32 [n, m]."""
    held = np.array(scales, np.float32, order="C")
    if held.ndim not in (0, 2):
        raise ValueError(f"scales must be a number or a matrix, not of the shape {held.shape}")
    return held.reshape(1, 1) if held.ndim == 0 else held


def _pointer(array: np.ndarray, dtype: Any, ctype: str) -> Any:
    """The address of a contiguous array of the right dtype; the caller keeps the array alive."""
    if array.dtype != dtype or not array.flags.c_contiguous:
        raise TypeError(f"expected a contiguous {np.dtype(dtype).name} array, got {array.dtype.name}")
    return ffi.cast(ctype, ffi.from_buffer(array))
