"""Q6_K: blocks of 256 values in 210 bytes: low nibbles (128), high bits (64), 16 int8 sub-scales, f16 scale
d.

A value is (d * sc) * (q - 32) with q in 0..63 and one sub-scale sc for every 16 values. The encoder tries 19
sub-scales that put the largest magnitude at 26 to 32.75 on the scale of the codes, takes the one of least
squared error, and then rounds the scales to what the block can store and the values to what those scales
give.
"""

from __future__ import annotations

import numpy as np

from bitnet_cli.formats.codecs.block_codec import BlockCodec, f16_scales
from bitnet_cli.formats.codecs.q8_0 import inverse
from bitnet_cli.formats.gguf_types import GGMLType

SUB = 16
"""Values that share a sub-scale."""
_SUBS = 256 // SUB
# Where the largest magnitude of 16 values is put. Giving up the outer codes often pays: this range has 5 %
# less error than the 31.1 to 32.9 that ggml tries, at the same cost; 31 steps or a wider range gain 0.3 %
# more.
_REACHES = tuple(np.float32(26 + 3 * step / 8) for step in range(19))


class Q6_K(BlockCodec):
    """6.5625 bits a value; rows are multiples of 256 values."""

    name = "q6_k"
    type_id = GGMLType.Q6_K
    block = 256
    block_bytes = 210

    def _encode_blocks(self, values: np.ndarray, out: np.ndarray) -> None:
        n = len(values)
        # One sub-block a column: sums over its 16 values become sums of rows, in the same order for any n.
        x = np.ascontiguousarray(values.reshape(-1, SUB).T)
        peaks = _peaks(x)
        self._refuse_infinite(peaks)
        scales = _best_scales(x, peaks).reshape(n, _SUBS)
        stored, d = self._stored_scale(scales)
        sub = np.clip(np.rint(scales * inverse(d)[:, None]), -128, 127)
        np.multiply(x, inverse(d[:, None] * sub).reshape(-1), out=x)
        codes = _rounded(x, x).astype(np.int8).T.reshape(n, 2, 4, 32)
        codes = (codes + np.int8(32)).view(np.uint8)
        out[:, :128] = (codes[:, :, :2] & 15 | (codes[:, :, 2:] & 15) << 4).reshape(n, 128)
        high = codes >> 4
        out[:, 128:192] = (
            high[:, :, 0] | high[:, :, 1] << 2 | high[:, :, 2] << 4 | high[:, :, 3] << 6
        ).reshape(n, 64)
        out[:, 192:208] = sub.astype(np.int8).view(np.uint8)
        out[:, 208:] = stored

    def _stored_scale(self, scales: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The scales of blocks with the sub-scales float32 [n, 16]: f16 bytes [n, 2] and values [n]."""
        at = np.abs(scales).argmax(axis=1)
        d = np.take_along_axis(scales, at[:, None], axis=1)[:, 0] / np.float32(-128)
        half = d.astype(np.float16)
        # Away from zero, so that -128 * d reaches the largest sub-scale. Weights below 0.25 have a subnormal
        # d, whose rounding is coarse enough to show: nearest would cost up to a tenth more error.
        half.view(np.uint16)[np.abs(half.astype(np.float32)) < np.abs(d)] += 1
        d = half.astype(np.float32)
        return self._f16_scales(d), d

    def _decode_blocks(self, raw: np.ndarray, out: np.ndarray) -> None:
        n = len(raw)
        low, high = raw[:, :128].reshape(n, 2, 2, 32), raw[:, 128:192].reshape(n, 2, 1, 32)
        codes = np.empty((n, 2, 4, 32), np.uint8)
        codes[:, :, :2] = low & 15
        codes[:, :, 2:] = low >> 4
        codes |= (high >> np.array([0, 2, 4, 6], np.uint8)[:, None] & 3) << 4
        scales = f16_scales(raw, 208) * raw[:, 192:208].view(np.int8)
        signed = codes.view(np.int8) - np.int8(32)
        np.multiply(scales[:, :, None], signed.reshape(n, _SUBS, SUB), out=out.reshape(n, _SUBS, SUB))


def _best_scales(x: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    """For each column of float32 [16, m] the scale s that, with codes q of -32..31, makes sum((x - s q)^2)
    smallest.

    For given codes the best s is sum(x q) / sum(q q), and it explains sum(x q)^2 / sum(q q) of sum(x x).
    """
    best = np.full(x.shape[1], -1, np.float32)
    scales = np.zeros(x.shape[1], np.float32)
    q = np.empty_like(x)
    per_peak = inverse(-peaks)
    for reach in _REACHES:
        np.multiply(x, reach * per_peak, out=q)
        _rounded(q, q)
        xq, qq = _column_dot(x, q), _column_dot(q, q)
        scale = xq * inverse(qq)
        gain = scale * xq
        better = gain > best
        np.copyto(best, gain, where=better)
        np.copyto(scales, scale, where=better)
    return scales


def _peaks(x: np.ndarray) -> np.ndarray:
    """The value of largest magnitude of each column, with its sign."""
    high, low = x.max(axis=0), x.min(axis=0)
    peaks: np.ndarray = np.where(-low > high, low, high)
    return peaks


def _rounded(x: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Values as codes -32..31, still float32."""
    np.rint(x, out=out)
    np.clip(out, np.float32(-32), np.float32(31), out=out)
    return out


def _column_dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """sum(a * b) of each column of [16, m], added from the first row to the last."""
    total: np.ndarray = a[0] * b[0]
    for row in range(1, len(a)):
        total += a[row] * b[row]
    return total
