"""What changes while tokens are evaluated: the cache, and the plan that is played."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bitnet_cli.errors import UsageError
from bitnet_cli.native._bitnet import ffi, lib
from bitnet_cli.native.context import Context, check, pointer

KV_TYPES = {"f32": lib.BN_KV_F32, "f16": lib.BN_KV_F16, "i8": lib.BN_KV_I8}
"""What a KV cache may store, by name."""
DEFAULT_KV_TYPE = "f16"


def check_kv_type(name: str) -> None:
    """Raises UsageError if there is no cache of this type."""
    if name not in KV_TYPES:
        raise UsageError(
            f"there is no KV cache of type `{name}`",
            hint="the types are " + ", ".join(f"`{known}`" for known in KV_TYPES),
        )


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
        check_kv_type(kv_type)
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
                setattr(c_op, field, pointer(value, np.float32, "const float *"))
            elif field == "head":
                self._kept.append(value)
                c_op.head = value.handle
            elif field == "dense":
                self._kept.append(value)
                c_op.dense = pointer(value, np.uint8, "const void *")
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
                pointer(tokens, np.int32, "const int32_t *"),
                len(tokens),
                pos,
                first,
                self.n_ops if end is None else end,
                ffi.NULL if logits is None else pointer(logits, np.float32, "float *"),
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
