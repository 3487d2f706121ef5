"""From every type to every type: the same weights, exact scales where the type can, and what cannot be is refused first."""

from __future__ import annotations

import struct
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from naive_gguf import NaiveGGUF
from ternary_models import plain_weights, same_weights, ternary_model, weights_of
from tiny_checkpoints import write_checkpoint
from tiny_gguf import TYPE_F32, TYPE_I2_S, TinyGGUF, tiny_model

from bitnet_cli.convert.pipeline import convert
from bitnet_cli.convert.target import OUTTYPES
from bitnet_cli.errors import RepresentationError
from bitnet_cli.formats.codecs import codec_named, ternary_codec_for
from bitnet_cli.formats.codecs.iq2_bn import IQ2_BN
from bitnet_cli.formats.codecs.tiling import GivenTilings
from bitnet_cli.formats.gguf_reader import GGUFReader
from bitnet_cli.formats.gguf_types import GGMLType
from bitnet_cli.formats.gguf_writer import GGUFWriter, TensorSpec

ROUNDING = {"tq1_0", "tq2_0", "q2_0", "f16"}
"""Types with scales in f16."""
READ_ONLY = ("iq1_bn", "iq2_bn_r4", "pq2_0", "f32")
TYPES = {"i2_s": 36, "tl1": 38, "tl2": 39, "tq1_0": 34, "tq2_0": 35, "q2_0": 42, "iq2_bn": 135, "f16": 1}
FILE_TYPES = {"i2_s": 40, "tl1": 38, "tl2": 39, "tq1_0": 36, "tq2_0": 37, "q2_0": 41, "iq2_bn": 137, "f16": 1}


def test_the_table_is_complete() -> None:
    assert set(OUTTYPES) == set(TYPES)


@pytest.mark.parametrize("outtype", OUTTYPES)
def test_from_a_checkpoint(tmp_path: Path, outtype: str) -> None:
    shape = {"hidden_size": 256, "intermediate_size": 512, "num_attention_heads": 4, "num_key_value_heads": 2}
    truth = write_checkpoint(tmp_path / "m", "bitnet-b1.58", "packed_auto", **shape)
    report = convert(tmp_path / "m", tmp_path / "out.gguf", outtype=outtype, verify=True)
    convert(tmp_path / "m", tmp_path / "i2_s.gguf")
    file = NaiveGGUF(tmp_path / "out.gguf")
    assert file.value("general.file_type") == FILE_TYPES[outtype]
    assert file.tensors["blk.0.attn_q.weight"].type == TYPES[outtype]
    assert same_weights(weights_of(tmp_path / "out.gguf"), weights_of(tmp_path / "i2_s.gguf"))
    assert report.outtype == outtype and report.verified and len(truth.trits) == 14


@pytest.mark.parametrize(("source", "outtype"), list(product((*OUTTYPES, *READ_ONLY), OUTTYPES)))
def test_between_all_pairs(tmp_path: Path, source: str, outtype: str) -> None:
    """And back: what one I2_S file holds, byte for byte."""
    original = convert(ternary_model().write(tmp_path / "x.gguf"), tmp_path / "i2_s.gguf").path
    first = tmp_path / "first.gguf"
    if source in READ_ONLY:
        ternary_model(source).write(first)
    else:
        convert(original, first, outtype=source)
    report = convert(first, tmp_path / "second.gguf", outtype=outtype, verify=True)
    assert report.to_dict()["scales_exact"] and report.notes == []
    assert report.encodings == {source: 7}
    assert same_weights(weights_of(tmp_path / "second.gguf"), weights_of(original))
    convert(tmp_path / "second.gguf", tmp_path / "back.gguf")
    assert (tmp_path / "back.gguf").read_bytes() == original.read_bytes()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    route=st.lists(st.sampled_from(sorted(OUTTYPES)), min_size=1, max_size=4),
    rows=st.integers(1, 3),
    cols=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
    zeros=st.floats(0, 1),
)
def test_any_matrix_survives_any_route(
    tmp_path: Path, route: list[str], rows: int, cols: int, seed: int, zeros: float
) -> None:
    random = np.random.default_rng(seed)
    shape = (64 * rows, 256 * cols)
    trits = random.integers(-1, 2, shape, np.int8) * (random.random(shape) >= zeros).astype(np.int8)
    scale = np.float32(np.float16(random.uniform(2**-10, 100)))
    model = TinyGGUF()
    model.tensors["blk.0.ffn_up.weight"] = (
        shape[::-1],
        TYPE_I2_S,
        codec_named("i2_s").encode(trits, scale).tobytes(),
    )
    path = model.write(tmp_path / "0.gguf")
    for i, outtype in enumerate(route, 1):
        path = convert(path, tmp_path / f"{i}.gguf", outtype=outtype, overwrite=True, verify=True).path
    found = weights_of(path)["blk.0.ffn_up.weight"]
    assert np.array_equal(found, trits * scale)


@pytest.mark.parametrize("outtype", OUTTYPES)
def test_scales_that_f16_does_not_hold(tmp_path: Path, outtype: str) -> None:
    model = ternary_model(exact=False)
    source = model.write(tmp_path / "in.gguf")
    report = convert(source, tmp_path / "out.gguf", outtype=outtype, verify=True)
    exact, found = plain_weights(model), weights_of(tmp_path / "out.gguf")
    if outtype not in ROUNDING:
        assert same_weights(exact, found) and report.rounding.tensors == 0
        return
    changes = [np.abs(found[n] - exact[n])[exact[n] != 0].max() / np.abs(exact[n]).max() for n in exact]
    assert all(np.array_equal(np.sign(found[name]), np.sign(exact[name])) for name in exact)
    rounding = report.to_dict()["rounding"]
    assert rounding["tensors"] == 7 and rounding["largest"] == pytest.approx(max(changes), rel=1e-3)
    assert 0 < rounding["largest"] <= 2**-11 and not report.to_dict()["scales_exact"]
    assert report.notes == [
        f"`{outtype}` stores scales as f16: those of 7 tensors changed, by at most "
        f"{100 * rounding['largest']:.2g} %; the weights -1, 0, +1 are the same"
    ]


@pytest.mark.parametrize(
    ("per", "source", "able"),
    [
        ("row", "iq2_bn", {"tq1_0", "tq2_0", "q2_0", "iq2_bn", "f16"}),
        ("256", "tq2_0", {"tq1_0", "tq2_0", "q2_0", "f16"}),
        ("64", "q2_0", {"q2_0", "f16"}),
        ("64", "f16", {"q2_0", "f16"}),
    ],
)
@pytest.mark.parametrize("outtype", OUTTYPES)
def test_several_scales(tmp_path: Path, per: str, source: str, able: set[str], outtype: str) -> None:
    path = ternary_model(source, per).write(tmp_path / "in.gguf")
    if outtype in able:
        convert(path, tmp_path / "out.gguf", outtype=outtype, verify=True)
        assert same_weights(weights_of(path), weights_of(tmp_path / "out.gguf"))
        return
    with pytest.raises(RepresentationError, match=r"^`blk.0.(attn_q|ffn_down).weight`: .*scale") as caught:
        convert(path, tmp_path / "out.gguf", outtype=outtype)
    assert {name for name in OUTTYPES if f"`--outtype {name}`" in str(caught.value.hint)} == able
    assert list(tmp_path.iterdir()) == [path]


def test_equal_scales_of_blocks_become_one(tmp_path: Path) -> None:
    """A file that repeats one scale in every block is a file of one scale."""
    for source in ("tq1_0", "q2_0", "iq2_bn", "f32"):
        path = ternary_model(source).write(tmp_path / f"{source}.gguf")
        report = convert(path, tmp_path / "out.gguf", outtype="i2_s", overwrite=True)
        assert report.kinds["attn_q"].scale_max == pytest.approx(report.kinds["attn_q"].scale_max)
        assert same_weights(weights_of(path), weights_of(tmp_path / "out.gguf"))


@pytest.mark.parametrize(
    ("outtype", "words", "able"),
    [
        ("i2_s", "multiple of 128 values, not 192", {"q2_0", "iq2_bn", "f16"}),
        ("tq2_0", "multiple of 256 values, not 192", {"q2_0", "iq2_bn", "f16"}),
        ("tl2", "at least 256, not 192", {"q2_0", "iq2_bn", "f16"}),
    ],
)
def test_widths_that_a_type_cannot_hold(tmp_path: Path, outtype: str, words: str, able: set[str]) -> None:
    """As bitnet_b1_58-3B, whose feed-forward width is no multiple of 128."""
    path = ternary_model("iq2_bn", dim=192, ffn_dim=320).write(tmp_path / "in.gguf")
    with pytest.raises(RepresentationError, match=words) as caught:
        convert(path, tmp_path / "out.gguf", outtype=outtype)
    proposed = {name for name in OUTTYPES if f"`--outtype {name}`" in str(caught.value.hint)}
    assert able <= proposed and list(tmp_path.iterdir()) == [path]
    for name in proposed:
        convert(path, tmp_path / f"{name}.gguf", outtype=name, verify=True)
        assert same_weights(weights_of(path), weights_of(tmp_path / f"{name}.gguf"))


@pytest.mark.parametrize("scale", [-0.5, 0.0, -0.0])
@pytest.mark.parametrize("outtype", OUTTYPES)
def test_odd_scales_stand_for_the_same_weights(tmp_path: Path, outtype: str, scale: float) -> None:
    """Floats hold the sign of a scale in the weights, and nothing of a matrix whose scale is 0."""
    model = ternary_model()
    ne, kind, raw = model.tensors["blk.0.attn_q.weight"]
    model.tensors["blk.0.attn_q.weight"] = (ne, kind, raw[:-32] + struct.pack("<f", scale) + bytes(28))
    convert(model.write(tmp_path / "in.gguf"), tmp_path / "out.gguf", outtype=outtype, verify=True)
    assert same_weights(weights_of(tmp_path / "out.gguf"), plain_weights(model))


def test_scales_in_tensors_of_their_own_are_folded_in(tmp_path: Path) -> None:
    model, plain = tiny_model(dim=256, ffn_dim=512), tiny_model(dim=256, ffn_dim=512)
    for name, weights in plain_weights(plain).items():
        scale = np.abs(weights).max().astype("<f4")
        ne = model.tensors[name][0]
        bare = IQ2_BN(bare=True).encode(np.sign(weights).astype(np.int8), 1.0)
        model.tensors[name] = (ne, int(GGMLType.IQ2_BN), bare.tobytes())
        model.tensors[name.removesuffix("weight") + "scale"] = ((1,), TYPE_F32, scale.tobytes())
    convert(model.write(tmp_path / "in.gguf"), tmp_path / "out.gguf", verify=True)
    assert same_weights(weights_of(tmp_path / "out.gguf"), plain_weights(plain))
    assert not [name for name in NaiveGGUF(tmp_path / "out.gguf").tensors if name.endswith("scale")]


def test_the_arm_layout_of_i2_s(tmp_path: Path) -> None:
    plain = ternary_model()
    arm = ternary_model()
    for name, weights in plain_weights(plain).items():
        trits = np.sign(weights).astype(np.int8)
        codes = (trits + 1).astype(np.uint8).reshape(-1, 4, 16)
        packed = codes[:, 0] << 6 | codes[:, 1] << 4 | codes[:, 2] << 2 | codes[:, 3]
        ne, kind, raw = arm.tensors[name]
        arm.tensors[name] = (ne, kind, packed.tobytes() + raw[-32:])
    codec_for = partial(ternary_codec_for, i2s_layout="arm64")
    convert(arm.write(tmp_path / "arm.gguf"), tmp_path / "out.gguf", codec_for=codec_for, verify=True)
    assert same_weights(weights_of(tmp_path / "out.gguf"), plain_weights(plain))


@pytest.mark.parametrize("outtype", ["tl1", "tl2"])
def test_tilings_are_written_and_can_be_given(tmp_path: Path, outtype: str) -> None:
    path = convert(ternary_model().write(tmp_path / "in.gguf"), tmp_path / "tl.gguf", outtype=outtype).path
    key = f"bitnet_cli.{outtype}.tiling"
    listed = NaiveGGUF(path).value(key)
    assert {entry.split("=")[0] for entry in listed} == {"256x256", "128x256", "512x256", "256x512"}
    # A foreign file: the same bytes without the key.
    with GGUFReader(path) as reader:
        pairs = [(k, reader.value_type(k), reader.metadata[k]) for k in reader.metadata if k != key]
        specs = [TensorSpec(info.name, info.shape, info.type) for info in reader.tensors.values()]
        with GGUFWriter(tmp_path / "foreign.gguf", pairs, specs) as writer:
            for spec in specs:
                writer.write(spec.name, reader.data(spec.name))
    codec_for = partial(ternary_codec_for, tilings=GivenTilings.parse(listed))
    convert(tmp_path / "foreign.gguf", tmp_path / "back.gguf", codec_for=codec_for)
    assert same_weights(weights_of(tmp_path / "back.gguf"), weights_of(path))
    assert key not in NaiveGGUF(tmp_path / "back.gguf").metadata
