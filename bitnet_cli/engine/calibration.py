"""Which kernel is faster on this machine: measured once, then remembered in the user's cache directory.

Multiply-add reads 2 bits a weight, lookups 5/3 bits and more instructions: what is faster depends on how much memory
bandwidth a core can get, so it is measured, with the threads that will be used. The answer changes no result. What is
remembered may be deleted at any time; a damaged or unwritable file only means that it is measured again.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bitnet_cli.engine.options import layouts_for
from bitnet_cli.native import Context, KVCache, Plan, TernaryMatrix, build, lib
from bitnet_cli.native.processor import cpu_name

MIN_WEIGHTS = 800_000_000
"""Fewer ternary weights (200 MB at 2 bits) may live in a large cache, where bandwidth does not decide."""

ROWS, COLS, COPIES = 6912, 2560, 20
"""The gate of a model of 2.4 billion weights, as often as no cache holds: 88 MB at 2 bits and 74 MB at 5/3."""

ROUNDS, MIN_ROUNDS, SECONDS = 9, 2, 1.0
"""Timed runs of both kernels: at most, at least, and the time after which no further one begins."""


def kernel_for(ctx: Context, n_weights: int) -> str:
    """`mad` or `lut`, whichever is faster for a model of so many ternary weights.

    Args:
        ctx: the instruction set and the threads that will be used.
        n_weights: of all ternary matrices.
    """
    if n_weights < MIN_WEIGHTS or ctx.isa == "scalar":  # Plain C shows what is right, not what is fast.
        return "mad"
    path = cache_file()
    key = f"{cpu_name()} | {ctx.isa} | {ctx.n_threads} threads | {build()}"
    known = _read(path) if path is not None else {}
    if key not in known:
        seconds = measure(ctx)
        known[key] = {"kernel": min(seconds, key=lambda name: seconds[name]), "seconds": seconds}
        if path is not None:
            _write(path, known)
    return str(known[key]["kernel"])


def measure(ctx: Context) -> dict[str, float]:
    """Seconds that one token takes with the matrices of each kernel: the median of alternating runs."""
    trits = np.random.default_rng(0).integers(-1, 2, (ROWS, COLS), dtype=np.int8)
    activations = np.random.default_rng(1).standard_normal(COLS).astype(np.float32)
    plans = {name: _plan(ctx, name, trits) for name in ("mad", "lut")}
    kv, token = KVCache(1, 1, 1, 1), np.zeros(1, np.int32)
    times: dict[str, list[float]] = {name: [] for name in plans}
    started = time.perf_counter()
    for done in range(ROUNDS + 1):
        if done > MIN_ROUNDS and time.perf_counter() - started > SECONDS:
            break
        for name, plan in plans.items():
            plan.f32(0, 1)[0] = activations
            plan.times_ns(reset=True)
            plan.run(kv, token, 0)
            times[name].append(float(plan.times_ns()[1:].sum()) * 1e-9)
    return {name: float(np.median(runs[1:])) for name, runs in times.items()}


def _plan(ctx: Context, kernel: str, trits: np.ndarray) -> Plan:
    """The same activations times many copies of a matrix."""
    layout = layouts_for(kernel, "silu", skip_zeros=False).whole
    bufs = [(lib.BN_BUF_F32, COLS), (lib.BN_BUF_I8, COLS), (lib.BN_BUF_F32, ROWS)]
    ops: list[dict[str, Any]] = [{"kind": lib.BN_OP_QUANT, "in": 0, "out": (1,)}]
    for _ in range(COPIES):
        mat = TernaryMatrix.from_trits(ctx, trits, 1.0, layout)
        ops.append({"kind": lib.BN_OP_MATMUL, "in": 1, "out": (2,), "mats": (mat,)})
    return Plan(ctx, ops, bufs, 1, 1)


# ---- What is remembered: {key: {"kernel": name, "seconds": {name: seconds}}} ----


def cache_file() -> Path | None:
    """`bitnet/calibration.json` in the user's cache directory, which XDG_CACHE_HOME may move; None for a user without
    a home."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if os.path.isabs(base) else Path(os.path.expanduser("~")) / ".cache"
    return root / "bitnet" / "calibration.json" if root.is_absolute() else None


def _read(path: Path) -> dict[str, Any]:
    """The entries that make sense; none if there is no such file."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(known, dict):
        return {}
    return {k: v for k, v in known.items() if isinstance(v, dict) and v.get("kernel") in ("mad", "lut")}


def _write(path: Path, known: dict[str, Any]) -> None:
    """Replaces the file as a whole; where that is not possible the next run measures again."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    except OSError:
        return
    try:
        with open(handle, "w", encoding="utf-8") as file:
            json.dump(known, file, indent=1)
        os.replace(name, path)
    except OSError:
        Path(name).unlink(missing_ok=True)
