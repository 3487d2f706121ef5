"""Dense codecs against the `gguf` package: the same bytes written, the same bits read."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize, quantize

from bitnet_cli.errors import FormatError, RepresentationError
from bitnet_cli.formats.codecs import block_codec, codec_named
from bitnet_cli.formats.codecs.block_codec import BlockCodec

DENSE = ["f32", "f16", "bf16", "q8_0", "q6_k", "q4_0"]
READ_ONLY = ["q4_k", "iq4_nl"]


def dense(name: str) -> BlockCodec:
    codec = codec_named(name)
    assert isinstance(codec, BlockCodec)
    return codec


def reference_type(name: str) -> gguf.GGMLQuantizationType:
    return gguf.GGMLQuantizationType[name.upper()]


def samples() -> dict[str, np.ndarray]:
    """Matrices float32 [rows, 512] of several kinds."""
    rng = np.random.default_rng(7)
    normal = rng.standard_normal((64, 512)).astype(np.float32)
    integers = rng.integers(-127, 128, (16, 512)).astype(np.float32)
    halves = (rng.integers(-16, 17, (16, 512)) / 2).astype(np.float32)
    zeros = np.zeros((2, 512), np.float32)
    sparse = normal[:8] * (rng.random((8, 512)) < 0.02)
    return {
        "normal": normal,
        "small": normal * np.float32(0.02),
        "tiny": normal * np.float32(1e-6),
        "large": normal * np.float32(1000),
        "heavy": rng.standard_t(3, (64, 512)).astype(np.float32),
        "integers": integers,
        "ties": halves,
        "zeros": zeros,
        "negative zeros": -zeros,
        "sparse": sparse.astype(np.float32),
    }


SAMPLES = samples()


@pytest.mark.parametrize("kind", SAMPLES)
@pytest.mark.parametrize("name", ["f32", "f16", "bf16", "q8_0", "q4_0"])
def test_encodes_the_bytes_of_the_gguf_package(name: str, kind: str) -> None:
    values = SAMPLES[kind]
    expected = quantize(values, reference_type(name)).view(np.uint8)
    assert dense(name).encode(values).tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", [*DENSE, *READ_ONLY])
def test_decodes_random_bytes_as_the_gguf_package_does(name: str) -> None:
    codec = dense(name)
    raw = np.random.default_rng(3).integers(0, 256, codec.n_bytes((512, 512)), np.uint8)
    raw = finite(codec, raw)
    with np.errstate(all="ignore"):
        expected = dequantize(raw.reshape(512, -1), reference_type(name))
    decoded = codec.decode(raw, (512, 512))
    assert decoded.dtype == np.float32
    assert np.array_equal(decoded.view(np.uint32), expected.astype(np.float32).view(np.uint32))


def finite(codec: BlockCodec, raw: np.ndarray) -> np.ndarray:
    """`raw` with the exponents of values, or of block scales, kept away from NaN: its payload may differ."""
    blocks = raw.reshape(-1, codec.block_bytes).copy()
    top_bytes = {"f32": [3], "q6_k": [209], "q4_k": [1, 3]}.get(codec.name, [1])
    blocks[:, top_bytes] &= 0xBF
    return blocks.reshape(-1)


@pytest.mark.parametrize("name", ["f16", "bf16"])
def test_every_16_bit_pattern(name: str) -> None:
    raw = np.arange(65536, dtype="<u2").view(np.uint8)
    decoded = dense(name).decode(raw, (65536,))
    with np.errstate(all="ignore"):
        expected = dequantize(raw, reference_type(name)).reshape(-1)
    numbers = ~np.isnan(expected)
    assert np.array_equal(np.isnan(decoded), ~numbers)
    assert np.array_equal(decoded[numbers].view(np.uint32), expected[numbers].view(np.uint32))
    assert (
        dense(name).encode(decoded)[np.repeat(numbers, 2)].tobytes() == raw[np.repeat(numbers, 2)].tobytes()
    )


@pytest.mark.parametrize("name", DENSE)
def test_rows_encoded_apart_concatenate(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = dense(name)
    values = np.concatenate(list(SAMPLES.values()))[:41]
    whole = codec.encode(values).tobytes()
    for cuts in ([1], [40], [7, 8, 23]):
        pieces = np.split(values, cuts)
        assert b"".join(codec.encode(piece).tobytes() for piece in pieces) == whole
    monkeypatch.setattr(block_codec, "CHUNK_VALUES", 512)
    assert codec.encode(values).tobytes() == whole
    assert codec.decode(codec.encode(values), values.shape).shape == values.shape


@pytest.mark.parametrize("name", DENSE)
def test_one_block_alone(name: str) -> None:
    codec = dense(name)
    values = np.random.default_rng(5).standard_normal((9, codec.block)).astype(np.float32)
    alone = b"".join(codec.encode(row).tobytes() for row in values)
    assert alone == codec.encode(values).tobytes()


@pytest.mark.parametrize("name", DENSE)
def test_encoding_leaves_its_input_alone(name: str) -> None:
    values = np.random.default_rng(6).standard_normal((4, 512)).astype(np.float32)
    values.flags.writeable = False
    dense(name).encode(values)


@pytest.mark.parametrize("name", DENSE)
def test_decoding_a_misaligned_read_only_view(name: str) -> None:
    codec = dense(name)
    values = np.random.default_rng(8).standard_normal((4, 512)).astype(np.float32)
    encoded = codec.encode(values)
    shifted = np.frombuffer(b"x" + encoded.tobytes(), np.uint8)[1:]
    assert np.array_equal(codec.decode(shifted, (4, 512)), codec.decode(encoded, (4, 512)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("name", ["q8_0", "q6_k", "q4_0"])
def test_blocks_refuse_what_is_not_a_number_of_theirs(name: str, bad: float) -> None:
    values = np.ones((3, 512), np.float32)
    values[1, 300] = bad
    with pytest.raises(RepresentationError, match=name):
        dense(name).encode(values)


@pytest.mark.parametrize(("name", "value"), [("f16", 65520.0), ("f16", -1e30), ("bf16", 3.4e38)])
def test_halves_refuse_to_round_to_infinity(name: str, value: float) -> None:
    with pytest.raises(RepresentationError, match=name):
        dense(name).encode(np.array([1, value], np.float32))


@pytest.mark.parametrize(("name", "value"), [("f16", 65519.0), ("bf16", 3.38e38)])
def test_halves_hold_what_rounds_down(name: str, value: float) -> None:
    assert np.isfinite(dense(name).decode(dense(name).encode(np.array([value], np.float32)), (1,))).all()


@pytest.mark.parametrize("name", ["f32", "f16", "bf16"])
def test_floats_keep_nan_and_infinity(name: str) -> None:
    values = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0], np.float32)
    values[0] = np.uint32(0x7F800001).view(np.float32)
    decoded = dense(name).decode(dense(name).encode(values), (5,))
    assert np.array_equal(decoded, values, equal_nan=True)
    assert np.signbit(decoded[4])


@pytest.mark.parametrize("name", DENSE)
def test_lengths_are_checked(name: str) -> None:
    codec = dense(name)
    n = codec.n_bytes((2, 256))
    for wrong in (0, n - 1, n + 1, 2 * n):
        with pytest.raises(FormatError, match=f"{n} bytes"):
            codec.decode(np.zeros(wrong, np.uint8), (2, 256))
    if codec.block > 1:
        with pytest.raises(RepresentationError, match=str(codec.block)):
            codec.encode(np.zeros((2, codec.block + 1), np.float32))
        with pytest.raises(RepresentationError, match=str(codec.block)):
            codec.decode(np.zeros(n, np.uint8), (2, codec.block - 1))


@pytest.mark.parametrize("name", READ_ONLY)
def test_what_is_only_read_is_not_written(name: str) -> None:
    with pytest.raises(RepresentationError, match="only read"):
        dense(name).encode(SAMPLES["normal"])
