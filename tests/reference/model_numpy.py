"""The forward pass in NumPy: plays the list of ops that `engine/plan.py` writes, as docs/model.md describes them.

Slow and plain, to be trusted at sight. It follows the rules that make floats reproducible (sums over 16 lanes, one
polynomial for exp, separate multiply and add), so the C player must return the same bits, op by op.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bitnet_cli.formats.codecs import codec
from bitnet_cli.native import lib

Op = dict[str, Any]
F32 = np.float32
LANES = 16


@dataclass
class Quantised:
    """Activations as integers: x is q / s."""

    q: np.ndarray
    """int8 [n_tokens, width]"""
    s: np.ndarray
    """float32 [n_tokens]"""

    @property
    def sum(self) -> np.ndarray:
        """int32 [n_tokens]: the sum of each token's q."""
        return self.q.sum(axis=1, dtype=np.int32)


@dataclass
class Cached:
    """Keys or values of some positions as the cache gives them back; with scales, a value counts times its scale."""

    values: np.ndarray
    """float32 [..., n_pos, head_dim]"""
    scales: np.ndarray | None
    """float32 [..., n_pos], or None if values count as they are."""

    def of(self, kv_head: int, first: int, end: int) -> Cached:
        """Positions first..end-1 of one head."""
        scales = None if self.scales is None else self.scales[kv_head, first:end]
        return Cached(self.values[kv_head, first:end], scales)


class PlanPlayer:
    """A list of ops over named buffers, played by NumPy.

    Args:
        ops: what `engine.plan.write_plan` returns.
        bufs: (kind, width) of each buffer, what `engine.plan.buffers` returns.
        n_ctx: positions, at most.
        kv_type: what the KV cache stores: `f32`, `f16` or `i8`.

    Attributes:
        buffers: float32 [n_tokens, width] or `Quantised`, by index; free to be read and replaced between runs.
        cache: layer -> (keys, values), each [n_kv_heads, n_ctx, head_dim] with scales if `i8`.
    """

    def __init__(
        self, ops: Sequence[Op], bufs: Sequence[tuple[int, int]], n_ctx: int, kv_type: str = "f16"
    ) -> None:
        self.kv_type = kv_type
        self.ops = list(ops)
        self.n_ctx = n_ctx
        self.cache: dict[int, tuple[Cached, Cached]] = {}
        self.buffers: list[Any] = [
            np.zeros((n_ctx, width), F32)
            if kind == lib.BN_BUF_F32
            else Quantised(np.zeros((n_ctx, width), np.int8), np.ones(n_ctx, F32))
            for kind, width in bufs
        ]
        self._play: dict[int, Callable[[Op], None]] = {
            lib.BN_OP_EMBED: self._embed,
            lib.BN_OP_NORM: self._norm,
            lib.BN_OP_QUANT: self._quant,
            lib.BN_OP_MATMUL: self._matmul,
            lib.BN_OP_ROPE: self._rope,
            lib.BN_OP_KV_STORE: self._kv_store,
            lib.BN_OP_ATTENTION: self._attention,
            lib.BN_OP_GATED_MATMUL: self._gated_matmul,
            lib.BN_OP_HEAD: self._head,
        }

    def run(
        self,
        tokens: Sequence[int] | np.ndarray,
        pos: int,
        n_logits: int = 0,
        *,
        first: int = 0,
        end: int | None = None,
    ) -> np.ndarray | None:
        """Plays ops first..end-1 for `tokens` at positions pos...

        Returns:
            float32 [n_logits, vocabulary] of the last n_logits tokens, or None if no HEAD was played or wanted.
        """
        self.tokens, self.pos, self.n_logits = np.asarray(tokens), pos, n_logits
        self.logits: np.ndarray | None = None
        for op in self.ops[first:end]:
            self._play[op["kind"]](op)
        return self.logits

    def _embed(self, op: Op) -> None:
        width, mat = self.buffers[op["out"][0]].shape[1], op.get("head")
        if mat is not None:
            w = codec(mat.type).decode(mat.unpack(), (mat.rows, width))
        else:
            w = codec(op["dense_type"]).decode(op["dense"], (op["dense_rows"], width))
        self.buffers[op["out"][0]] = w[self.tokens] * F32(op.get("scale") or 1)

    def _norm(self, op: Op) -> None:
        x = self.buffers[op["in"]]
        heads = x.reshape(len(x), -1, op.get("head_dim") or x.shape[1])
        y = rms_norm(heads, op["weight"], op["eps"]).reshape(x.shape)
        out = op["out"][0]
        self.buffers[out] = self.buffers[out] + y if op.get("add") else y

    def _quant(self, op: Op) -> None:
        x = self.buffers[op["in"]]
        if op.get("weight") is not None:
            x = rms_norm(x, op["weight"], op["eps"])
        self.buffers[op["out"][0]] = quantise(x)

    def _matmul(self, op: Op) -> None:
        x = self.buffers[op["in"]]
        for mat, out in zip(op["mats"], op["out"], strict=True):
            y = bit_linear(x, mat.unpack(), mat.scales)
            self.buffers[out] = self.buffers[out] + y if op.get("add") else y

    def _rope(self, op: Op) -> None:
        at = slice(self.pos, self.pos + len(self.tokens))
        cos, sin = op["rope_cos"][at], op["rope_sin"][at]
        for index in (op["in"], op["in2"]):
            heads = self.buffers[index].reshape(len(self.tokens), -1, op["head_dim"])
            turned = rope(heads, cos, sin, neox=op["rope"] == lib.BN_ROPE_NEOX)
            self.buffers[index] = turned.reshape(len(self.tokens), -1)

    def _kv_store(self, op: Op) -> None:
        shape = (op["n_kv_heads"], self.n_ctx, op["head_dim"])
        cache = self.cache.setdefault(op["layer"], (self._empty(shape), self._empty(shape)))
        at = slice(self.pos, self.pos + len(self.tokens))
        for index, stored in zip((op["in"], op["in2"]), cache, strict=True):
            heads = self.buffers[index].reshape(len(self.tokens), op["n_kv_heads"], op["head_dim"])
            heads = heads.transpose(1, 0, 2)
            if stored.scales is not None:
                quantised = quantise(heads)
                stored.values[:, at], stored.scales[:, at] = quantised.q, F32(1) / quantised.s
            else:
                stored.values[:, at] = heads if self.kv_type == "f32" else heads.astype(np.float16)

    def _empty(self, shape: tuple[int, ...]) -> Cached:
        return Cached(np.zeros(shape, F32), np.zeros(shape[:2], F32) if self.kv_type == "i8" else None)

    def _attention(self, op: Op) -> None:
        queries = self.buffers[op["in"]].reshape(len(self.tokens), op["n_heads"], op["head_dim"])
        keys, values = self.cache[op["layer"]]
        group = op["n_heads"] // op["n_kv_heads"]
        out = np.empty_like(queries)
        for t in range(len(self.tokens)):
            n_pos = self.pos + t + 1
            first = max(0, n_pos - op["window"]) if op.get("window") else 0
            for head in range(op["n_heads"]):
                k, v = (cached.of(head // group, first, n_pos) for cached in (keys, values))
                out[t, head] = attend(queries[t, head], k, v, F32(op["scale"]))
        self.buffers[op["out"][0]] = out.reshape(len(self.tokens), -1)

    def _gated_matmul(self, op: Op) -> None:
        (mat,), gate = op["mats"], self.buffers[op["in2"]]
        y = bit_linear(self.buffers[op["in"]], mat.unpack(), mat.scales)
        if op["act"] == lib.BN_ACT_RELU2:
            self.buffers[op["out"][0]] = np.where(gate > 0, (gate * gate) * y, F32(0))
        else:
            self.buffers[op["out"][0]] = (silu if op["act"] == lib.BN_ACT_SILU else gelu)(gate) * y

    def _head(self, op: Op) -> None:
        if self.n_logits:
            h = self.buffers[op["in"]][-self.n_logits :]
            mat = op["head"]
            if mat.type in QUANTISED_HEADS:
                values, scales = QUANTISED_HEADS[mat.type](mat.unpack(), mat.rows)
                self.logits = np.stack([head_of_integers(values, scales, row) for row in h])
            else:
                w = codec(mat.type).decode(mat.unpack(), (mat.rows, mat.cols))
                self.logits = np.stack([lane_sum(w * row) for row in h])


# ---- The operations; x is float32 [..., n] unless said. ----


def rms_norm(x: np.ndarray, weight: np.ndarray, eps: float) -> np.ndarray:
    """weight * (x / sqrt(mean(x²) + eps)), the mean over the last axis."""
    mean = lane_sum(x * x) / F32(x.shape[-1])
    r = F32(1) / np.sqrt(mean + F32(eps))
    return weight * (x * r[..., None])


def quantise(x: np.ndarray) -> Quantised:
    """q = round_half_even(x * s), s = 127 / absmax of the token; a row of zeros has s = 127 / 1e-5."""
    amax = np.maximum(np.abs(x).max(axis=-1), F32(1e-5))
    s = F32(127) / amax
    q = np.clip(np.rint(x * s[..., None]), -128, 127).astype(np.int8)
    return Quantised(q, s)


def bit_linear(x: Quantised, trits: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """The product with a ternary matrix, its integers exact: float32 [n_tokens, rows].

    ((trits @ q) / s) * scale; with a scale per group of columns (Σ (trits @ q) * scale, group after group from +0 on) / s.

    Args:
        trits: int8 [rows, cols].
        scales: float32 [1, 1], [rows, 1] or [rows, groups].
    """
    n_groups = scales.shape[1]
    q = x.q.astype(np.int32).reshape(len(x.q), n_groups, -1)
    t = trits.astype(np.int32).reshape(len(trits), n_groups, -1)
    exact = np.einsum("ngc,rgc->gnr", q, t).astype(F32)
    if n_groups == 1:
        return (exact[0] / x.s[:, None]) * scales[:, 0]
    return in_order(exact * scales.T[:, None, :]) / x.s[:, None]


def rope(x: np.ndarray, cos: np.ndarray, sin: np.ndarray, *, neox: bool) -> np.ndarray:
    """Turns the pairs of each head; x [n_tokens, n_heads, head_dim], cos and sin [n_tokens, n_rot/2].

    Pairs are (i, i + n_rot/2) if neox, else (2i, 2i + 1); values from n_rot on stay.
    """
    half = cos.shape[1]
    first = np.arange(half) if neox else np.arange(0, 2 * half, 2)
    second = first + half if neox else first + 1
    cos, sin = cos[:, None, :], sin[:, None, :]
    a, b = x[..., first], x[..., second]
    out = x.copy()
    out[..., first] = a * cos - b * sin
    out[..., second] = a * sin + b * cos
    return out


def attend(q: np.ndarray, keys: Cached, values: Cached, scale: F32) -> np.ndarray:
    """softmax(scale * keys @ q) @ values for one head of one token; q [d], keys and values `Cached` [n_pos, d]."""
    scores = in_order(keys.values.T * q[:, None])
    if keys.scales is not None:
        scores = scores * keys.scales
    scores = scores * scale
    e = exp(scores - scores.max())
    weights = e if values.scales is None else e * values.scales
    return in_order(values.values * weights[:, None]) / lane_sum(e)


def in_order(products: np.ndarray) -> np.ndarray:
    """The sum over the first axis, one term after the other from +0 on."""
    out = np.zeros(products.shape[1:], F32)
    for product in products:
        out += product
    return out


def silu(x: np.ndarray) -> np.ndarray:
    """x / (1 + exp(-x))."""
    return x / (F32(1) + exp(-x))


def gelu(x: np.ndarray) -> np.ndarray:
    """x / (1 + exp(-x * (a + b * x²))): 0.5 * x * (1 + tanh(z)) with z = sqrt(2/pi) * (x + 0.044715 * x³)."""
    a = 2 * np.sqrt(2 / np.pi)
    return x / (F32(1) + exp(-(x * (F32(a) + F32(0.044715 * a) * (x * x)))))


def head_of_integers(values: np.ndarray, scales: np.ndarray, h: np.ndarray) -> np.ndarray:
    """Logits of one token, h being rounded to 16 bits: float32 [rows].

    Args:
        values: int8 [rows, groups, cols of a group].
        scales: float32 [rows, groups].
        h: float32 [cols].
    """
    if not np.isfinite(h).all():
        return np.full(len(values), np.nan, F32)
    s = F32(32512) / np.maximum(np.abs(h).max(), F32(1e-30))
    x = np.rint(h * s).astype(np.int32).reshape(values.shape[1:])
    sums = (values.astype(np.int32) * x).sum(axis=2, dtype=np.int32).astype(F32)
    acc = np.zeros(len(values), F32)
    for group in range(values.shape[1]):
        acc += sums[:, group] * scales[:, group]
    return acc / s


def _q8_0(data: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Values and scales as `head_of_integers` takes them; docs/formats.md has the blocks."""
    blocks = data.reshape(rows, -1, 34)
    return blocks[..., 2:].view(np.int8), _f16(blocks, 0)


def _q4_0(data: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray]:
    blocks = data.reshape(rows, -1, 18)
    nibbles = blocks[..., 2:]
    return np.concatenate([nibbles & 15, nibbles >> 4], axis=2).view(np.int8) - np.int8(8), _f16(blocks, 0)


def _q2_0(data: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray]:
    blocks = data.reshape(rows, -1, 18)
    codes = blocks[..., 2:, None] >> np.array([0, 2, 4, 6], np.uint8) & 3
    return codes.reshape(rows, -1, 64).view(np.int8) - np.int8(1), _f16(blocks, 0)


def _q6_k(data: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray]:
    blocks = data.reshape(rows, -1, 210)
    low = blocks[..., :128].reshape(rows, -1, 2, 1, 64) >> np.array([[0], [4]], np.uint8) & 15
    high = blocks[..., 128:192].reshape(rows, -1, 2, 1, 32) >> np.array([[0], [2], [4], [6]], np.uint8) & 3
    codes = low.reshape(high.shape) | high << 4
    scales = _f16(blocks, 208)[..., None] * blocks[..., 192:208].view(np.int8).astype(F32)
    return (codes.view(np.int8) - np.int8(32)).reshape(rows, -1, 16), scales.reshape(rows, -1)


def _f16(blocks: np.ndarray, at: int) -> np.ndarray:
    return np.ascontiguousarray(blocks[..., at : at + 2]).view(np.float16)[..., 0].astype(F32)


QUANTISED_HEADS = {
    lib.BN_TYPE_Q8_0: _q8_0,
    lib.BN_TYPE_Q6_K: _q6_k,
    lib.BN_TYPE_Q4_0: _q4_0,
    lib.BN_TYPE_Q2_0: _q2_0,
}


# ---- What makes floats reproducible: one order of addition, one exp. ----


def lane_sum(x: np.ndarray) -> np.ndarray:
    """The sum over the last axis: element i goes to lane i % 16 in ascending order, then the lanes meet in a tree."""
    pad = -x.shape[-1] % LANES
    x = np.concatenate([x, np.zeros((*x.shape[:-1], pad), F32)], axis=-1)
    lane = np.zeros((*x.shape[:-1], LANES), F32)
    for i in range(0, x.shape[-1], LANES):
        lane += x[..., i : i + LANES]
    for half in (8, 4, 2, 1):
        lane = lane[..., :half] + lane[..., half:]
    return lane[..., 0]


def exp(x: np.ndarray) -> np.ndarray:
    """e^x below one ulp of error: x = n·ln2 + r, e^r by its Taylor polynomial, times 2^n in two factors."""
    x = np.clip(x, F32(-104), F32(89))
    to_integer = F32(1.5 * 2**23)
    n = (x * F32(1.44269504) + to_integer) - to_integer
    ln2_hi, ln2_lo = F32(float.fromhex("0x1.62e4p-1")), F32(float.fromhex("0x1.7f7d1cp-20"))
    r = (x - n * ln2_hi) - n * ln2_lo
    p = np.full_like(x, 1 / 5040)
    for coefficient in (1 / 720, 1 / 120, 1 / 24, 1 / 6, 1 / 2, 1, 1):
        p = p * r + F32(coefficient)
    whole = n.astype(np.int32)
    half = whole >> 1
    with np.errstate(over="ignore"):  # infinity is the right answer above 88.7
        return np.ldexp(np.ldexp(p, half), whole - half)
