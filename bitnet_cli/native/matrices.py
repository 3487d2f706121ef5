"""Weights as the kernels read them: ternary matrices and the head."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Protocol

import numpy as np

from bitnet_cli.native._bitnet import ffi, lib
from bitnet_cli.native.context import Context, check, pointer


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
        data_at, held = pointer(data, dtype, "const void *"), _scales(scales)
        if held.shape[1] > 1:
            layout = Layout.G2
        tiles = ffi.NULL
        if tiling is not None:
            tiles = ffi.new("bn_tiling *", (tiling.rows_outer, tiling.cols, tiling.rows_inner))
        out = _place("bn_tmat **", lib.bn_tmat_free)
        with ctx.lock:
            status = lib.bn_tmat_pack(
                ctx.handle,
                pack_format,
                layout,
                data_at,
                data.nbytes,
                rows,
                cols,
                tiles,
                pointer(held, np.float32, "const float *"),
                *held.shape,
                out,
            )
        check(status, f"packing a {rows}×{cols} ternary matrix")
        return cls(_taken(out), held, layout)

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
        type: F32, F16, BF16, Q8_0, Q6_K, Q4_0 or Q2_0 of the GGUF tensor types.
        data: uint8, the rows as GGUF stores them; they are copied.
        rows, cols: the shape.
    """

    def __init__(self, ctx: Context, type: int, data: np.ndarray, rows: int, cols: int) -> None:
        out = _place("bn_dmat **", lib.bn_dmat_free)
        with ctx.lock:
            data_at = pointer(data, np.uint8, "const void *")
            status = lib.bn_dmat_pack(ctx.handle, type, data_at, data.nbytes, rows, cols, out)
        check(status, f"packing a {rows}×{cols} head")
        self._own(_taken(out))

    @classmethod
    def from_ternary(cls, ctx: Context, mat: TernaryMatrix) -> DenseMatrix:
        """The weights of a ternary matrix, trit * scale, in the smallest type that holds them exactly.

        Q2_0 if all scales are numbers of f16 and rows are whole blocks of 64, F16 if only rows are not, else F32.
        """
        out = _place("bn_dmat **", lib.bn_dmat_free)
        with ctx.lock:
            status = lib.bn_dmat_from_tmat(ctx.handle, mat.handle, out)
        check(status, f"packing a {mat.rows}×{mat.cols} head")
        dense = cls.__new__(cls)
        dense._own(_taken(out))
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


def _scales(scales: np.ndarray | float) -> np.ndarray:
    """Scales as an array of its own, float32 [n, m]."""
    held = np.array(scales, np.float32, order="C")
    if held.ndim not in (0, 2):
        raise ValueError(f"scales must be a number or a matrix, not of the shape {held.shape}")
    return held.reshape(1, 1) if held.ndim == 0 else held


def _place(kind: str, free: Any) -> Any:
    """Where the library puts a matrix, which goes with it unless it is taken: Ctrl-C comes after the call at the soonest."""
    return ffi.gc(ffi.new(kind), lambda place: free(place[0]))


def _taken(place: Any) -> Any:
    """The matrix in a place, which is its caller's from now on."""
    handle, place[0] = place[0], ffi.NULL
    return handle
