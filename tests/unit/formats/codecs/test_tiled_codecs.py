"""TL1 and TL2 against their published vectors, and against the address formulas weight by weight."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pytest
from naive_tl import naive_tl1, naive_tl2

from bitnet_cli.errors import FormatError, RepresentationError
from bitnet_cli.formats.codecs import block_codec, codec_named
from bitnet_cli.formats.codecs.tiled_codec import TiledCodec
from bitnet_cli.formats.codecs.tiling import SHIPPED, Tiling
from bitnet_cli.formats.codecs.tl1 import TL1
from bitnet_cli.formats.codecs.tl2 import TL2, section_bytes
from bitnet_cli.formats.gguf_types import GGMLType, tensor_bytes

NAIVE = {"tl1": naive_tl1, "tl2": naive_tl2}
KINDS: dict[str, type[TiledCodec]] = {"tl1": TL1, "tl2": TL2}


def lcg_trits(rows: int, cols: int) -> np.ndarray:
    state, trits = 1, []
    for _ in range(rows * cols):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        trits.append((state >> 16) % 3 - 1)
    return np.array(trits, np.int8).reshape(rows, cols)


def random_trits(rows: int, cols: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1, 2, (rows, cols), np.int8)


def sha(data: np.ndarray) -> str:
    return hashlib.sha256(data.tobytes()).hexdigest()[:16]


# ---- Vectors ----


def test_tl1_vector() -> None:
    encoded = TL1(Tiling(32, 8, 32)).encode(lcg_trits(32, 8), 1.0)
    assert encoded[:-32].tobytes() == bytes.fromhex(
        "71 05 00 02 78 80 62 17 32 63 63 28 67 28 71 86"
        "50 08 76 58 40 52 51 43 74 43 44 04 00 73 43 65"
        "15 72 42 17 61 70 78 85 43 03 71 35 60 72 80 38"
        "52 46 52 37 47 54 80 61 67 30 85 34 77 30 10 77"
    )
    assert encoded[-32:].tobytes() == np.float32(1).tobytes() + bytes(28)


@pytest.mark.parametrize(
    ("tiling", "digest"),
    [((128, 64, 64), "3cd17f9917a5d3b1"), ((256, 128, 32), "ba18a460e2011b26")],
)
def test_tl1_by_hash(tiling: tuple[int, int, int], digest: str) -> None:
    codes = TL1(Tiling(*tiling)).encode(lcg_trits(256, 512), 1.0)[:-32]
    assert codes.size == 32768
    assert codes[:8].tobytes() == bytes.fromhex("71 31 75 15 71 04 68 46")
    assert sha(codes) == digest


def test_tl2_vector() -> None:
    trits = np.zeros((32, 264), np.int8)
    trits[:, :24] = lcg_trits(32, 24)
    codec = TL2(Tiling(32, 24, 32))
    encoded = codec.encode(trits, 1.0)
    n_index, _, n_pair = section_bytes(Tiling(32, 24, 32), 32, 264)
    assert n_pair == 0
    assert encoded[:128].tobytes() == bytes.fromhex(
        "81 da 5a 69 74 d7 1a 88 a8 38 d7 41 22 05 11 75 07 38 bc c3 b8 99 7c 8b 58 45 8a cc 8d 90 a8 ba"
        "d8 d4 a3 2a dd 21 73 14 6d 33 5d 1b 17 6c 63 16 8a 1d c5 dd 13 8d 3d 53 43 02 23 9b 18 35 09 70"
        "b5 15 0a 02 96 2c 22 b5 a8 0d d7 0c a5 20 29 37 46 a3 a1 ab 7a c5 10 b6 95 5c dd 19 3c b6 7b 92"
        "b2 c7 50 b9 91 62 93 4c 53 4a d5 40 4b a4 7c b0 8a 6d c6 95 8a 46 68 49 d5 5c 05 cc 9b 96 db 76"
    )
    assert encoded[n_index : n_index + 32].tobytes() == bytes.fromhex(
        "dc 0b a9 d4 2c 1c 32 2f 6a 2d 09 21 9d 8d 72 71 f8 32 1a c2 02 3a 16 29 50 fb 06 67 4b 5a 43 3e"
    )


def test_tl2_by_hash() -> None:
    codec = TL2(Tiling(128, 96, 32))
    encoded = codec.encode(lcg_trits(256, 512), 1.0)
    body = codec.codes(encoded, (256, 512))
    assert section_bytes(Tiling(128, 96, 32), 256, 512) == (20480, 5120, 2048)
    assert body[:8].tobytes() == bytes.fromhex("81 41 96 97 82 c3 78 19")
    assert body[20480:20488].tobytes() == bytes.fromhex("89 4f 71 9c 52 13 08 96")
    assert body[25600:25608].tobytes() == bytes.fromhex("51 03 71 25 11 80 74 85")
    assert (body.size, sha(body)) == (27648, "f204eae4384db486")
    assert (encoded.size, sha(encoded)) == (30080, "991d6f2813ef4941")


@pytest.mark.parametrize(
    ("shape", "real", "size"),
    [
        ((1536, 4096), 1_314_816, 1_327_136),
        ((1536, 1536), 491_520, 507_936),
        ((4096, 1536), 1_310_720, 1_354_464),
        ((3200, 8640), 5_760_000, 5_794_176),
        ((3200, 3200), 2_137_600, 2_167_520),
        ((8640, 3200), 5_771_520, 5_852_192),
        ((14336, 4096), 12_271_616, 12_386_336),
        ((4096, 14336), 12_238_848, 12_277_120),
        ((1024, 4096), 876_544, 884_768),
        ((4096, 4096), 3_506_176, 3_538_976),
    ],
)
def test_tl2_sizes(shape: tuple[int, int], real: int, size: int) -> None:
    assert sum(section_bytes(SHIPPED[GGMLType.TL2, shape], *shape)) == real
    assert TL2().n_bytes(shape) == tensor_bytes(GGMLType.TL2, shape) == size


# ---- Any shape, against the formulas ----

TL1_CASES = [
    ((rows, cols), (outer, tile, inner))
    for inner, rows, cols in itertools.product((32, 64), (64, 192, 320), (8, 24, 128, 264))
    for outer in (inner, rows)
    for tile in {256 // inner, cols}
]
TL2_CASES = [
    ((rows, cols), (outer, tile, 32))
    for rows, cols in itertools.product((32, 96, 256), (256, 288, 320, 352, 384, 512))
    for outer in (32, rows)
    for tile in (24, 96, 192, 288, 960)
    if cols % tile % 32 == 0 and cols % tile <= 256
]
CASES = [("tl1", *case) for case in TL1_CASES] + [("tl2", *case) for case in TL2_CASES]


@pytest.mark.parametrize(("name", "shape", "tiling"), CASES)
def test_against_the_formula(
    name: str, shape: tuple[int, int], tiling: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block_codec, "CHUNK_VALUES", 2 * tiling[0] * shape[1])
    codec = KINDS[name](Tiling(*tiling))
    trits = random_trits(*shape, seed=sum(tiling))
    encoded = codec.encode(trits, -0.75)
    assert np.array_equal(NAIVE[name](codec.codes(encoded, shape), *shape, tiling), trits)
    decoded, scales = codec.decode(encoded, shape)
    assert decoded.dtype == np.int8
    assert np.array_equal(decoded, trits)
    assert scales.tolist() == [[-0.75]]
    assert np.array_equal(codec.scales(encoded, shape), scales)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("shape", [(640, 576), (96, 288), (160, 864)])
def test_our_own_tilings(name: str, shape: tuple[int, int]) -> None:
    codec = codec_named(name)
    trits = random_trits(*shape)
    encoded = codec.encode(trits, 2.0)
    assert encoded.size == tensor_bytes(codec.type_id, shape) == codec.n_bytes(shape)
    tiling = codec.tiling_for(shape)
    assert np.array_equal(
        NAIVE[name](codec.codes(encoded, shape), *shape, (tiling.rows_outer, tiling.cols, tiling.rows_inner)),
        trits,
    )
    assert np.array_equal(codec.decode(encoded, shape)[0], trits)


@pytest.mark.parametrize("name", KINDS)
def test_a_transposed_matrix_is_encoded_as_it_reads(name: str) -> None:
    trits = random_trits(256, 512)
    codec = codec_named(name)
    assert np.array_equal(codec.encode(np.asfortranarray(trits), 1.0), codec.encode(trits, 1.0))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("trit", [-1, 0, 1])
def test_constant_matrices(name: str, trit: int) -> None:
    codec = codec_named(name)
    trits = np.full((64, 320), trit, np.int8)
    assert np.array_equal(codec.decode(codec.encode(trits, 1.0), trits.shape)[0], trits)


def test_codes_are_a_view() -> None:
    for name in KINDS:
        codec = codec_named(name)
        encoded = codec.encode(random_trits(64, 320), 1.0)
        assert np.shares_memory(codec.codes(encoded, (64, 320)), encoded)


# ---- Scales ----


@pytest.mark.parametrize("name", KINDS)
def test_one_scale_only(name: str) -> None:
    codec = codec_named(name)
    trits = random_trits(32, 256)
    equal = codec.encode(trits, np.full((32, 1), 0.3, np.float32))
    assert np.array_equal(equal, codec.encode(trits, 0.3))
    several = np.full((32, 1), 0.3, np.float32)
    several[5] = 0.4
    with pytest.raises(RepresentationError, match="one scale for a tensor"):
        codec.encode(trits, several)
    trits[5] = 0
    assert codec.decode(codec.encode(trits, several), trits.shape)[1] == np.float32(0.3)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("scale", [np.nan, np.inf, -np.inf])
def test_scale_must_be_finite(name: str, scale: float) -> None:
    codec = codec_named(name)
    encoded = codec.encode(random_trits(32, 256), 1.0)
    encoded[-32:-28] = np.array([scale], "<f4").view(np.uint8)
    for read in (codec.decode, codec.scales):
        with pytest.raises(FormatError, match="scale must be a finite number"):
            read(encoded, (32, 256))
    with pytest.raises(RepresentationError, match="finite"):
        codec.encode(random_trits(32, 256), scale)


@pytest.mark.parametrize("name", KINDS)
def test_tail_garbage_is_ignored(name: str) -> None:
    codec = codec_named(name)
    encoded = codec.encode(random_trits(32, 256), 1.5)
    encoded[-28:] = 0xFF
    assert codec.decode(encoded, (32, 256))[1] == 1.5


# ---- Damage ----


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("n_bytes", [0, 32, 2047, 2049])
def test_length_must_fit(name: str, n_bytes: int) -> None:
    for read in (codec_named(name).decode, codec_named(name).codes, codec_named(name).scales):
        with pytest.raises(FormatError, match=rf"{name} data of this shape takes \d+ bytes"):
            read(np.zeros(n_bytes, np.uint8), (32, 256))


def place_of(name: str, byte: int, high: bool, shape: tuple[int, int], tiling: Tiling) -> tuple[int, int]:
    """Row and column of the first weight of a nibble, by the formulas: the first weight that changes with it."""
    numbers = (tiling.rows_outer, tiling.cols, tiling.rows_inner)
    zeros, ones = np.zeros(1 << 16, np.uint8), np.zeros(1 << 16, np.uint8)
    ones[byte] = 0x88 & (0xF0 if high else 0x0F)
    row, col = np.argwhere(NAIVE[name](zeros, *shape, numbers) != NAIVE[name](ones, *shape, numbers))[0]
    return int(row), int(col)


@pytest.mark.parametrize("high", [True, False])
@pytest.mark.parametrize(
    ("name", "byte", "lowest"),
    [("tl1", 0, 9), ("tl1", 4321, 9), ("tl2", 0, 14), ("tl2", 3333, 14), ("tl2", 7000, 9)],
)
def test_codes_that_do_not_exist_are_placed(name: str, byte: int, lowest: int, high: bool) -> None:
    shape, tiling = (96, 352), Tiling(32, 32, 32) if name == "tl1" else Tiling(32, 96, 32)
    codec = KINDS[name](tiling)
    for code in range(lowest, 16):
        encoded = codec.encode(np.zeros(shape, np.int8), 1.0)
        encoded[byte] = encoded[byte] & 0x0F | code << 4 if high else encoded[byte] & 0xF0 | code
        row, col = place_of(name, byte, high, shape, tiling)
        with pytest.raises(FormatError, match=f"row {row}, column {col} holds the code {code},") as error:
            codec.decode(encoded, shape)
        assert error.value.hint


def test_tl2_reads_zero_with_a_sign_as_zero() -> None:
    codec = TL2(Tiling(32, 96, 32))
    encoded = codec.encode(np.zeros((32, 288), np.int8), 1.0)
    n_index, n_sign, _ = section_bytes(Tiling(32, 96, 32), 32, 288)
    encoded[n_index : n_index + n_sign] = 0xFF
    assert not codec.decode(encoded, (32, 288))[0].any()


def test_tl2_padding_must_be_zero() -> None:
    codec = TL2(Tiling(32, 96, 32))
    shape = (32, 288)
    encoded = codec.encode(random_trits(*shape), 1.0)
    used = codec.codes(encoded, shape).size
    assert used < encoded.size - 32
    for at in (used, encoded.size - 33):
        damaged = encoded.copy()
        damaged[at] = 1
        for read in (codec.decode, codec.codes):
            with pytest.raises(FormatError, match=f"byte {at} of the tensor is padding") as error:
                read(damaged, shape)
            assert "--tiling" in str(error.value.hint)


def test_a_wrong_split_of_tl2_columns_is_noticed() -> None:
    """288 columns: tiles of 96 store all of them in threes, tiles of 192 leave 96 for pairs."""
    encoded = TL2(Tiling(32, 192, 32)).encode(random_trits(64, 288), 1.0)
    with pytest.raises(FormatError):
        TL2(Tiling(32, 96, 32)).decode(encoded, (64, 288))
    encoded = TL2(Tiling(32, 96, 32)).encode(random_trits(64, 288), 1.0)
    with pytest.raises(FormatError):
        TL2(Tiling(32, 192, 32)).decode(encoded, (64, 288))


def test_other_wrong_tilings_are_not_noticed() -> None:
    """What docs/formats.md says: the formats hold nothing that could tell."""
    trits = random_trits(256, 384)
    for right, wrong in (
        (TL1(Tiling(128, 128, 32)), TL1(Tiling(256, 64, 64))),
        (TL2(Tiling(128, 96, 32)), TL2(Tiling(256, 192, 32))),
    ):
        misread = wrong.decode(right.encode(trits, 1.0), trits.shape)[0]
        assert not np.array_equal(misread, trits)
        assert np.count_nonzero(misread) == np.count_nonzero(trits)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    "trits",
    [
        np.full((32, 256), 2, np.int8),
        np.full((32, 256), -2, np.int8),
        np.full((32, 256), 127, np.int8),
        np.zeros((32, 256), np.int16),
        np.zeros((31, 256), np.int8),
        np.zeros((32, 258), np.int8),
        np.zeros(256, np.int8),
        np.zeros((1, 32, 256), np.int8),
    ],
)
def test_refuses_what_it_cannot_hold(name: str, trits: np.ndarray) -> None:
    with pytest.raises(RepresentationError):
        codec_named(name).encode(trits, 1.0)


@pytest.mark.parametrize(
    ("name", "shape", "tiling", "words"),
    [
        ("tl1", (96, 256), (64, 128, 32), "96 rows are not a multiple of 64"),
        ("tl1", (96, 256), (48, 128, 32), "48 rows are not a multiple of 32"),
        ("tl1", (96, 256), (96, 128, 16), "32 or 64 rows, not 16"),
        ("tl1", (96, 256), (32, 4, 32), "4 columns are not a multiple of 8"),
        ("tl1", (96, 256), (32, 96, 32), "256 columns are not a multiple of 96"),
        ("tl2", (64, 256), (64, 96, 64), "32 rows, not 64"),
        ("tl2", (64, 256), (64, 100, 32), "100 columns are not a multiple of 24"),
        ("tl2", (64, 264), (64, 96, 32), "the 72 of 264 columns"),
        ("tl2", (64, 896), (64, 960, 32), "leave 896, and TL2 has room for 256"),
    ],
)
def test_tilings_that_do_not_fit(
    name: str, shape: tuple[int, int], tiling: tuple[int, int, int], words: str
) -> None:
    codec = KINDS[name](Tiling(*tiling))
    for use in (codec.n_bytes, codec.tiling_for, lambda s: codec.encode(np.zeros(s, np.int8), 1.0)):
        with pytest.raises(RepresentationError, match=words):
            use(shape)
