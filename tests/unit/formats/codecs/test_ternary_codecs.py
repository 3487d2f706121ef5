"""The ternary codecs that store rows one after another: published vectors, the quantiser of the `gguf` package, a slow
witness, and each other."""

from __future__ import annotations

import itertools
from pathlib import Path

import gguf
import numpy as np
import pytest
from naive_ternary import codes_and_weights

from bitnet_cli.errors import FormatError, RepresentationError
from bitnet_cli.formats.codecs import TERNARY_CODECS, codec_named, scaled_blocks, ternary_codec_for
from bitnet_cli.formats.codecs.i2_s import I2SArm
from bitnet_cli.formats.codecs.iq1_bn import IQ1_BN
from bitnet_cli.formats.codecs.iq2_bn import IQ2_BN
from bitnet_cli.formats.codecs.ternary_codec import TernaryCodec
from bitnet_cli.formats.codecs.tiled_codec import TiledCodec
from bitnet_cli.formats.gguf_reader import GGUFReader
from bitnet_cli.formats.gguf_writer import GGUFWriter, TensorSpec

# TL1 and TL2 have other shapes: test_tiled_codecs.py.
CODECS: dict[str, TernaryCodec] = {
    each.name: each for each in (*TERNARY_CODECS, I2SArm()) if not isinstance(each, TiledCodec)
}
STREAM = np.array([((i * i + 3 * i) // 5) % 3 - 1 for i in range(256)], np.int8)

# name: (trits, scales, the bytes that an independent encoder made of them)
VECTORS = {
    "tq2_0": (
        STREAM.reshape(1, 256),
        0.5,
        "68a09a28a60a29828a20228808a28268a09a28a60a29828a20228808a28268a0"
        "8a20228808a28268a09a28a60a29828a20228808a28268a09a28a60a29828a20"
        "0038",
    ),
    "tq1_0": (
        STREAM.reshape(1, 256),
        0.5,
        "521af64ce1e6a4b1ea16be423bc6b4521af64ce1e6a4b1ea16be423bc6b4521a"
        "b41a4ce6b11642c652f6e1a4eabe3bb44c40e1390038",
    ),
    "iq2_bn": (STREAM[:64].reshape(1, 64), 0.5, "0000003f2088a2689aa6298a220882a0280a8220"),
    "iq1_bn": (STREAM[:64].reshape(1, 64), 0.5, "0038be52e6eac64ca4421ae116b413"),
    "iq2_bn_r4": (
        STREAM.reshape(4, 64),
        np.array([[0.5], [0.25], [1.0], [2.0]], np.float32),
        "0000003f0000803e0000803f00000040"
        "2888a6080aa2298282688aa0209a222888a6080aa2298282688aa0209a222888"
        "a6080aa2298282688aa0209a222888a6080aa2298282688aa0209a222888a608",
    ),
    "i2_s": (
        STREAM[:128].reshape(1, 128),
        1.21875,
        "290aa6289aa06882a2088822208a82290aa6289aa06882a2088822208a82290a" + "00009c3f" + "00" * 28,
    ),
    "i2_s_arm": (
        STREAM[:128].reshape(1, 128),
        1.21875,
        "08228a29a69a68a28820820a28a08208a69a68a28820820a28a08208228a29a6" + "00009c3f" + "00" * 28,
    ),
}


def random_case(
    name: str, rows: int, cols: int, granularity: str, seed: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Trits and scales that f16 holds, as `granularity` says: tensor, row, or columns of a group."""
    rng = np.random.default_rng([seed, rows, cols])
    shape = {"tensor": (1, 1), "row": (rows, 1)}.get(granularity) or (rows, cols // int(granularity))
    scales = rng.uniform(0.25, 2, shape).astype(np.float16).astype(np.float32)
    return rng.integers(-1, 2, (rows, cols), np.int8), scales


def weights(trits: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """The matrix that trits and scales stand for, float32 [rows, cols]."""
    rows, cols = trits.shape
    each = np.broadcast_to(scales, (rows, scales.shape[1])).repeat(cols // scales.shape[1], axis=1)
    return trits * each


@pytest.mark.parametrize("name", VECTORS)
def test_published_vectors(name: str) -> None:
    trits, scales, expected = VECTORS[name]
    encoded = CODECS[name].encode(trits, scales)
    assert encoded.tobytes().hex() == expected
    decoded, stored = CODECS[name].decode(encoded, trits.shape)
    assert (decoded.dtype, stored.dtype) == (np.int8, np.float32)
    assert np.array_equal(decoded, trits)
    assert np.array_equal(stored, np.broadcast_to(np.float32(scales), stored.shape))


@pytest.mark.parametrize("name", ["tq1_0", "tq2_0"])
@pytest.mark.parametrize("granularity", ["tensor", "row", "256"])
def test_bytes_are_those_of_the_gguf_package(name: str, granularity: str) -> None:
    trits, scales = random_case(name, 7, 768, granularity)
    trits[1, 256:512] = 0
    trits[2] = 0
    reference = gguf.quants.quantize(weights(trits, scales), gguf.GGMLQuantizationType[name.upper()])
    encoded = CODECS[name].encode(trits, scales)
    assert encoded.tobytes() == reference.tobytes()
    back = gguf.quants.dequantize(encoded.reshape(7, -1), gguf.GGMLQuantizationType[name.upper()])
    assert np.array_equal(back, weights(*CODECS[name].decode(encoded, trits.shape)))


def test_files_go_to_the_gguf_package_and_come_from_it(tmp_path: Path) -> None:
    names, (trits, scales) = ("tq1_0", "tq2_0"), random_case("tq2_0", 5, 512, "256")
    specs = [TensorSpec(name, trits.shape, int(CODECS[name].type_id)) for name in names]
    with GGUFWriter(tmp_path / "ours.gguf", [("general.architecture", "string", "llama")], specs) as ours:
        for name in names:
            ours.write(name, CODECS[name].encode(trits, scales))
    for tensor in gguf.GGUFReader(tmp_path / "ours.gguf").tensors:
        found = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        assert np.array_equal(found.reshape(trits.shape), weights(trits, scales))
    theirs = gguf.GGUFWriter(tmp_path / "theirs.gguf", "llama")
    for name in names:
        kind = gguf.GGMLQuantizationType[name.upper()]
        theirs.add_tensor(name, gguf.quants.quantize(weights(trits, scales), kind), raw_dtype=kind)
    theirs.write_header_to_file()
    theirs.write_kv_data_to_file()
    theirs.write_tensors_to_file()
    theirs.close()
    with GGUFReader(tmp_path / "theirs.gguf") as reader:
        for name in names:
            info = reader.tensors[name]
            decoded = ternary_codec_for(reader, info).decode(reader.data(name), info.shape)
            assert np.array_equal(decoded[0], trits) and np.array_equal(decoded[1], scales)


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize(("rows", "cols"), [(4, 256), (8, 768), (12, 512)])
def test_against_the_witness(name: str, rows: int, cols: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaled_blocks, "CHUNK_VALUES", 3 * 256)
    granularity = "tensor" if name.startswith("i2_s") else "row" if "bn" in name else str(CODECS[name].block)  # type: ignore[attr-defined]
    trits, scales = random_case(name, rows, cols, granularity)
    encoded = CODECS[name].encode(trits, scales)
    codes, values = codes_and_weights(name, encoded.tobytes(), rows, cols)
    assert np.array_equal(codes, trits + 1)
    assert np.array_equal(values, weights(trits, scales))
    decoded, stored = CODECS[name].decode(encoded, trits.shape)
    assert np.array_equal(decoded, trits) and np.array_equal(weights(decoded, stored), values)
    assert np.array_equal(CODECS[name].scales(encoded, trits.shape), stored)


@pytest.mark.parametrize("name", CODECS)
def test_random_bytes_are_decoded_like_the_witness_or_refused_at_the_same_place(name: str) -> None:
    rows, cols, n_trials, n_refused = 4, 256, 40, 0
    rng = np.random.default_rng(7)
    for _ in range(n_trials):
        trits = rng.integers(-1, 2, (rows, cols), np.int8)
        data = CODECS[name].encode(trits, 1.0)
        data[rng.integers(0, data.size)] = rng.integers(0, 256)
        codes, values = codes_and_weights(name, data.tobytes(), rows, cols)
        try:
            decoded, scales = CODECS[name].decode(data, (rows, cols))
        except FormatError as error:
            n_refused += 1
            if "scale" not in error.message:
                places = {f"row {r}, column {c} holds" for r, c in np.argwhere(codes == 3)}
                assert any(place in error.message for place in places)
            else:
                assert not np.isfinite(values).all()
        else:
            assert codes.max() < 3 and np.isfinite(values).all()
            assert np.array_equal(decoded, codes.astype(np.int8) - 1)
            assert np.array_equal(weights(decoded, scales), values)
    assert 0 < n_refused < n_trials


GRANULARITIES = ("tensor", "row", "256", "128", "64")
FINEST = {
    "i2_s": 0,
    "i2_s_arm": 0,
    "iq1_bn": 1,
    "iq2_bn": 1,
    "iq2_bn_r4": 1,
    "tq1_0": 2,
    "tq2_0": 2,
    "pq2_0": 3,
    "q2_0": 4,
}


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(CODECS, 2)))
def test_round_trips_between_all_pairs(first: str, second: str) -> None:
    """A -> B -> A gives A's bytes again, for scales that both can hold; B refuses finer ones in words."""
    for (rows, cols), (level, granularity) in itertools.product(
        ((4, 256), (8, 1280)), enumerate(GRANULARITIES)
    ):
        trits, scales = random_case(first, rows, cols, granularity, seed=3)
        trits[1, :256] = 0
        trits[rows - 1] = 0
        if granularity == "256" and cols == 256:
            continue  # The same as one for a row.
        if level > FINEST[first]:
            with pytest.raises(RepresentationError, match=f"{first} holds one scale for"):
                CODECS[first].encode(trits, scales)
            continue
        encoded = CODECS[first].encode(trits, scales)
        decoded = CODECS[first].decode(encoded, (rows, cols))
        assert np.array_equal(weights(*decoded), weights(trits, scales))
        if level > FINEST[second]:
            with pytest.raises(RepresentationError, match=f"{second} holds one scale for.*several"):
                CODECS[second].encode(*decoded)
            continue
        between = CODECS[second].decode(CODECS[second].encode(*decoded), (rows, cols))
        assert np.array_equal(between[0], trits)
        assert np.array_equal(CODECS[first].encode(*between), encoded)


@pytest.mark.parametrize("name", [n for n in CODECS if not n.startswith("i2_s")])
def test_groups_without_weights_have_no_scale_of_their_own(name: str) -> None:
    trits, _ = random_case(name, 8, 512, "tensor")
    trits[2] = 0
    trits[5, :256] = 0
    encoded = CODECS[name].encode(trits, 0.75)
    assert np.unique(CODECS[name].scales(encoded, trits.shape)).tolist() == [0.75]
    # Two scales: the empty block takes that of its row, the empty row has none.
    rows = np.full((8, 1), 0.75, np.float32)
    rows[4:] = 0.5
    scales = CODECS[name].scales(CODECS[name].encode(trits, rows), trits.shape)
    rows[2] = 0
    assert np.array_equal(scales, np.broadcast_to(rows, scales.shape))
    # A scale of 0 over weights that are not 0 is what the file says.
    encoded = CODECS[name].encode(np.abs(trits) + (trits == 0).astype(np.int8), 0.0)
    assert not CODECS[name].scales(encoded, trits.shape).any()
    empty = CODECS[name].encode(np.zeros((8, 512), np.int8), 3.0)
    assert not CODECS[name].scales(empty, (8, 512)).any()


@pytest.mark.parametrize("name", ["tq1_0", "tq2_0", "q2_0", "iq1_bn"])
def test_f16_scales(name: str) -> None:
    trits, _ = random_case(name, 4, 256, "tensor")
    exact = np.array([[1.21875]], np.float32)
    assert np.array_equal(CODECS[name].stored_scales(exact), exact)
    rounded = CODECS[name].stored_scales(0.1)
    assert rounded.tolist() == [[float(np.float16(0.1))]]
    assert np.unique(CODECS[name].decode(CODECS[name].encode(trits, 0.1), (4, 256))[1]) == rounded[0, 0]
    for scale in (70000.0, -70000.0, 1e-9):
        with pytest.raises(RepresentationError, match="f16, which cannot hold") as error:
            CODECS[name].encode(trits, scale)
        assert "`iq2_bn`" in str(error.value.hint)


@pytest.mark.parametrize("name", ["i2_s", "iq2_bn", "iq2_bn_r4"])
def test_f32_scales_are_exact(name: str) -> None:
    trits, _ = random_case(name, 4, 256, "tensor")
    for scale in (0.1, -70000.3, 1e-30):
        assert CODECS[name].stored_scales(scale)[0, 0] == np.float32(scale)
        assert np.unique(CODECS[name].decode(CODECS[name].encode(trits, scale), (4, 256))[1]) == np.float32(
            scale
        )


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize(
    ("trits", "scales"),
    [
        (np.full((4, 256), 2, np.int8), 1.0),
        (np.full((4, 256), -128, np.int8), 1.0),
        (np.zeros((4, 256), np.int16), 1.0),
        (np.zeros((4, 250), np.int8), 1.0),
        (np.zeros(256, np.int8), 1.0),
        (np.zeros((4, 256), np.int8), np.nan),
        (np.zeros((4, 256), np.int8), np.inf),
        (np.zeros((4, 256), np.int8), np.ones(4, np.float32)),
        (np.zeros((4, 256), np.int8), np.ones((3, 1), np.float32)),
        (np.zeros((4, 256), np.int8), np.ones((1, 4), np.float32)),
        (np.zeros((4, 256), np.int8), np.ones((4, 3), np.float32)),
    ],
)
def test_refuses_what_it_cannot_hold(name: str, trits: np.ndarray, scales: np.ndarray | float) -> None:
    with pytest.raises(RepresentationError):
        CODECS[name].encode(trits, scales)


@pytest.mark.parametrize("name", CODECS)
def test_length_must_fit(name: str) -> None:
    data = CODECS[name].encode(np.zeros((4, 256), np.int8), 1.0)
    for wrong in (data[:-1], np.append(data, np.uint8(0)), data[:0]):
        for read in (CODECS[name].decode, CODECS[name].scales, CODECS[name].codes):
            with pytest.raises(FormatError, match=f"{data.size} bytes"):
                read(wrong, (4, 256))


@pytest.mark.parametrize("name", CODECS)
def test_codes_are_a_view(name: str) -> None:
    """But for PQ2_0, whose codes are those of the same weights in Q2_0."""
    trits, _ = random_case(name, 4, 256, "tensor")
    data = CODECS[name].encode(trits, 1.0)
    codes = CODECS[name].codes(data, (4, 256))
    if name == "pq2_0":
        assert np.array_equal(codes, CODECS["q2_0"].encode(trits, 1.0))
    else:
        assert np.shares_memory(codes, data)


@pytest.mark.parametrize("codec", [IQ1_BN(bare=True), IQ2_BN(bare=True)])
def test_rows_without_scales(codec: IQ1_BN | IQ2_BN) -> None:
    trits, _ = random_case(codec.name, 4, 256, "tensor")
    with_scales = codec_named(codec.name).encode(trits, 1.0)
    bare = codec.encode(trits, 1.0)
    row = with_scales.size // 4
    assert np.array_equal(bare.reshape(4, -1), with_scales.reshape(4, row)[:, row - bare.size // 4 :])
    decoded, scales = codec.decode(bare, trits.shape)
    assert np.array_equal(decoded, trits) and scales.tolist() == [[1.0]]
    with pytest.raises(RepresentationError, match="scale 1 only"):
        codec.encode(trits, 0.5)


def test_every_byte_of_five_trits() -> None:
    """All 243 numbers survive TQ1_0 and IQ1_BN, all other bytes are refused."""
    numbers = np.array([[v // 3**d % 3 - 1 for d in range(5)] for v in range(243)], np.int8)
    trits = np.zeros((243, 256), np.int8)
    trits[:, :160:32] = numbers  # byte 0 of TQ1_0
    trits[:, 1:5] = numbers[:, 1:]  # the first byte of IQ1_BN, with column 0 from above
    for name in ("tq1_0", "iq1_bn"):
        encoded = CODECS[name].encode(trits, 1.0)
        assert np.array_equal(CODECS[name].decode(encoded, trits.shape)[0], trits)
    first = {"tq1_0": 0, "iq1_bn": 2}
    for name, at in first.items():
        refused = 0
        for byte in range(256):
            data = CODECS[name].encode(np.ones((1, 256), np.int8), 1.0)
            data[at] = byte
            try:
                CODECS[name].decode(data, (1, 256))
            except FormatError as error:
                assert "row 0, column 0 holds a byte that is no five trits" in error.message
                refused += 1
        assert refused == 256 - 243
