"""I2_S against its published vectors, and against a codec that follows the formula element by element."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from bitnet_cli.errors import FormatError, RepresentationError
from bitnet_cli.formats.codecs import block_codec, codec_named
from bitnet_cli.formats.codecs.i2_s import I2S, I2SArm, stored_scale

CODEC = codec_named("i2_s")

V1_TRITS = np.array([((i * i + 3 * i) // 5) % 3 - 1 for i in range(128)], np.int8).reshape(1, 128)
V1_CODES = bytes.fromhex(
    "290aa6289aa0688 2a208882 2208a8229 0aa6289aa068 82a2088822208a82290a".replace(" ", "")
)
V1_TAIL = bytes.fromhex("00009c3f") + bytes(28)


def naive_code(data: bytes, k: int) -> int:
    """Code of the flat element k."""
    return data[(k // 128) * 32 + k % 32] >> (6 - 2 * ((k % 128) // 32)) & 3


def lcg_trits(n: int) -> np.ndarray:
    state, trits = 1, []
    for _ in range(n):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        trits.append((state >> 16) % 3 - 1)
    return np.array(trits, np.int8)


def test_v1_bytes_both_ways() -> None:
    encoded = CODEC.encode(V1_TRITS, 1.21875)
    assert encoded.tobytes() == V1_CODES + V1_TAIL
    trits, scales = CODEC.decode(encoded, (1, 128))
    assert trits.dtype == np.int8
    assert np.array_equal(trits, V1_TRITS)
    assert (scales.dtype, scales.tolist()) == (np.float32, [[1.21875]])


@pytest.mark.parametrize(
    ("index", "byte", "value"),
    [
        (0, 0, 0x95),
        (16, 16, 0x95),
        (32, 0, 0x65),
        (48, 16, 0x65),
        (64, 0, 0x59),
        (96, 0, 0x56),
        (127, 31, 0x56),
    ],
)
def test_v2_one_hot(index: int, byte: int, value: int) -> None:
    trits = np.zeros((1, 128), np.int8)
    trits[0, index] = 1
    expected = bytearray(b"\x55" * 32)
    expected[byte] = value
    encoded = CODEC.encode(trits, 1.0)
    assert encoded[:32].tobytes() == bytes(expected)
    assert np.array_equal(CODEC.decode(encoded, (1, 128))[0], trits)


def test_v4_by_hash() -> None:
    trits = lcg_trits(256 * 512).reshape(256, 512)
    assert trits.ravel()[:16].tolist() == [1, 0, -1, 0, 0, 1, -1, -1, -1, -1, 0, 1, -1, -1, 1, 1]
    assert hashlib.sha256(trits.tobytes()).hexdigest().startswith("6d3f5c98c1e4645d")
    codes = CODEC.encode(trits, 1.0)[:-32].tobytes()
    assert codes[:8] == bytes.fromhex("a650226958940404")
    assert hashlib.sha256(codes).hexdigest().startswith("175d08f1bfb52aea")
    assert np.array_equal(CODEC.decode(CODEC.encode(trits, 1.0), trits.shape)[0], trits)


@pytest.mark.parametrize(
    ("index", "byte", "value"),
    [
        (0, 0, 0x95),
        (16, 0, 0x65),
        (32, 0, 0x59),
        (48, 0, 0x56),
        (64, 16, 0x95),
        (96, 16, 0x59),
        (127, 31, 0x56),
    ],
)
def test_v2_one_hot_as_on_arm(index: int, byte: int, value: int) -> None:
    trits = np.zeros((1, 128), np.int8)
    trits[0, index] = 1
    expected = bytearray(b"\x55" * 32)
    expected[byte] = value
    assert I2SArm().encode(trits, 1.0)[:32].tobytes() == bytes(expected)


def test_v4_by_hash_as_on_arm() -> None:
    trits = lcg_trits(256 * 512).reshape(256, 512)
    codes = I2SArm().encode(trits, 1.0)[:-32].tobytes()
    assert codes[:8] == bytes.fromhex("8a44084a65962001")
    assert hashlib.sha256(codes).hexdigest().startswith("121390e239aade46")


@pytest.mark.parametrize(("trit", "byte"), [(-1, 0x00), (0, 0x55), (1, 0xAA)])
def test_constant_matrices(trit: int, byte: int) -> None:
    encoded = CODEC.encode(np.full((2, 128), trit, np.int8), 0.0)
    assert encoded.tobytes() == bytes([byte]) * 64 + bytes(32)


@pytest.mark.parametrize("shape", [(1, 128), (3, 256), (7, 384), (640, 2560)])
def test_against_the_formula(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_codec, "CHUNK_VALUES", 3 * 128)
    rng = np.random.default_rng(shape[0])
    trits = rng.integers(-1, 2, shape, np.int8)
    encoded = CODEC.encode(trits, 0.5)
    data, flat = encoded.tobytes(), trits.ravel()
    for k in rng.integers(0, flat.size, 200):
        assert naive_code(data, int(k)) - 1 == flat[k]
    assert np.array_equal(CODEC.decode(encoded, shape)[0], trits)


def test_a_transposed_matrix_is_encoded_as_it_reads() -> None:
    trits = np.random.default_rng(1).integers(-1, 2, (128, 256), np.int8)
    assert np.array_equal(CODEC.encode(trits.T, 1.0), CODEC.encode(np.ascontiguousarray(trits.T), 1.0))


def test_tail_garbage_is_ignored() -> None:
    encoded = CODEC.encode(V1_TRITS, 1.21875)
    encoded[-28:] = 0xFF
    assert CODEC.decode(encoded, (1, 128))[1] == 1.21875


def test_scale_is_a_float32() -> None:
    assert CODEC.decode(CODEC.encode(V1_TRITS, 0.1), (1, 128))[1] == float(np.float32(0.1))


@pytest.mark.parametrize(("row", "col"), [(0, 0), (2, 383), (6, 130)])
def test_code_3_names_the_row(row: int, col: int) -> None:
    encoded = CODEC.encode(np.zeros((7, 384), np.int8), 1.0)
    encoded[row * 96 + col // 128 * 32 + col % 32] |= 3 << (6 - 2 * (col % 128 // 32))
    with pytest.raises(FormatError, match=f"row {row}, column {col} holds the code 3") as error:
        CODEC.decode(encoded, (7, 384))
    assert error.value.path is None


@pytest.mark.parametrize("scale", [np.nan, np.inf, -np.inf])
def test_scale_must_be_finite(scale: float) -> None:
    encoded = CODEC.encode(V1_TRITS, 1.0)
    encoded[32:36] = np.array([scale], "<f4").view(np.uint8)
    for read in (CODEC.decode, CODEC.scales):
        with pytest.raises(FormatError, match="scale must be a finite number"):
            read(encoded, (1, 128))
    assert not np.isfinite(stored_scale(encoded))
    with pytest.raises(RepresentationError, match="finite"):
        CODEC.encode(V1_TRITS, scale)


def test_scale_beyond_float32() -> None:
    with pytest.raises(RepresentationError, match="finite"):
        CODEC.encode(V1_TRITS, 1e39)


@pytest.mark.parametrize("n_bytes", [0, 32, 63, 65, 96])
def test_length_must_fit(n_bytes: int) -> None:
    with pytest.raises(FormatError, match="64 bytes"):
        CODEC.decode(np.zeros(n_bytes, np.uint8), (1, 128))


@pytest.mark.parametrize(
    "trits",
    [
        np.full((1, 128), 2, np.int8),
        np.full((1, 128), -2, np.int8),
        np.full((1, 128), 127, np.int8),
        np.zeros((1, 128), np.int16),
        np.zeros((1, 130), np.int8),
        np.zeros(128, np.int8),
    ],
)
def test_refuses_what_it_cannot_hold(trits: np.ndarray) -> None:
    with pytest.raises(RepresentationError):
        CODEC.encode(trits, 1.0)


def test_codes_are_a_view() -> None:
    encoded = CODEC.encode(V1_TRITS, 0.75)
    codes = CODEC.codes(encoded, (1, 128))
    assert codes.tobytes() == V1_CODES
    assert np.shares_memory(codes, encoded)
    assert CODEC.scales(encoded, (1, 128)).tolist() == [[0.75]]


def test_says_what_it_is() -> None:
    assert isinstance(CODEC, I2S)
    assert CODEC.ternary
    assert CODEC.n_bytes((2, 128)) == 96
