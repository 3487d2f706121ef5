"""The Q6_K encoder is as good as its format allows; `test_block_codecs` covers decoding and chunking."""

from __future__ import annotations

import numpy as np
import pytest

from bitnet_cli.formats.codecs import codec_named
from bitnet_cli.formats.codecs.block_codec import BlockCodec


def relative_error(name: str, values: np.ndarray) -> float:
    """Root mean square error of coding, as a share of the root mean square of the values."""
    codec = codec_named(name)
    assert isinstance(codec, BlockCodec)
    error = codec.decode(codec.encode(values), values.shape) - values
    return float(
        np.sqrt(np.mean(np.square(error, dtype=np.float64)) / np.mean(np.square(values, dtype=np.float64)))
    )


def lower_bound(values: np.ndarray) -> float:
    """The relative error if each sub-block had a float32 scale of its own, the best of 400."""
    blocks = values.reshape(-1, 16).astype(np.float64)
    at = np.abs(blocks).argmax(axis=1)
    peak = np.take_along_axis(blocks, at[:, None], axis=1)
    best = np.square(blocks).sum(axis=1)
    for reach in np.linspace(22, 38, 400):
        step = -peak / reach
        codes = np.clip(np.rint(blocks / step), -32, 31)
        with np.errstate(invalid="ignore"):
            step = (blocks * codes).sum(axis=1, keepdims=True) / np.square(codes).sum(axis=1, keepdims=True)
        best = np.minimum(best, np.square(blocks - codes * step).sum(axis=1))
    return float(np.sqrt(best.sum() / np.square(blocks).sum()))


RNG = np.random.default_rng(11)
KINDS = {
    "normal": RNG.standard_normal((64, 512)),
    "uniform": RNG.uniform(-1, 1, (64, 512)),
    "heavy": RNG.standard_t(4, (64, 512)),
    "one sign": np.abs(RNG.standard_normal((64, 512))),
}


@pytest.mark.parametrize("size", [1.0, 0.02, 0.002])
@pytest.mark.parametrize("kind", KINDS)
def test_error_is_near_the_least_possible(kind: str, size: float) -> None:
    values = (KINDS[kind] * size).astype(np.float32)
    error = relative_error("q6_k", values)
    assert error < 1.04 * lower_bound(values)
    assert error < 0.25 * relative_error("q4_0", values)


def test_error_of_normal_weights() -> None:
    assert relative_error("q6_k", KINDS["normal"].astype(np.float32)) == pytest.approx(0.0165, abs=0.0001)


def test_exact_where_the_format_is() -> None:
    # d = 2^-10 and sub-scales of -128..127: values that the format holds come back unchanged.
    scales = np.array([-128, 127, 64, -32, 1, -1, 100, -100, 5, 17, -77, 33, 2, 90, -3, 12])
    codes = np.tile(np.array([-32, 31, -31, 30, 0, 1, -1, 15, -16, 7, 3, -20, 25, -9, 12, -5]), (16, 1))
    values = (scales[:, None] * codes / 1024).astype(np.float32).reshape(1, 256)
    codec = codec_named("q6_k")
    assert isinstance(codec, BlockCodec)
    assert np.array_equal(codec.decode(codec.encode(values), (1, 256)), values)


@pytest.mark.parametrize("value", [0.0, 1e-30, 1e-42, 1e-8])
def test_blocks_without_content(value: float) -> None:
    values = np.full((2, 256), value, np.float32)
    values[:, ::3] *= -1
    codec = codec_named("q6_k")
    assert isinstance(codec, BlockCodec)
    decoded = codec.decode(codec.encode(values), values.shape)
    assert np.abs(decoded - values).max() <= max(2 * value, 0)


def test_signs_and_outliers() -> None:
    values = np.zeros((1, 256), np.float32)
    values[0, [3, 40, 255]] = [5.0, -0.25, 1e-3]
    codec = codec_named("q6_k")
    assert isinstance(codec, BlockCodec)
    decoded = codec.decode(codec.encode(values), values.shape)
    assert decoded[0, 3] == pytest.approx(5.0, rel=2**-10)
    assert decoded[0, 40] == pytest.approx(-0.25, rel=0.1)
    assert np.count_nonzero(decoded) <= 3
