"""Families by way of their checkpoints: converted to every type that can hold them, run, and compared with what transformers
computes from the same directory (tests/golden/make_family_goldens.py), and with a forward pass that is written out in
float64 and sees nothing but the checkpoint's floats.

Every run gives the same bits on every machine, so what is measured once holds: where no int8 value lies at a tie, ours and
theirs differ by roundings of float32 only. A wrong scale, row or norm differs by more than the noise of int8
(docs/model.md).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from float64_model import Graph, logits
from tiny_checkpoints import write_checkpoint
from tiny_families import ALL_TYPES, FAMILIES, N_LAYERS, THETA, TOKENS, Family, weights, write
from tiny_models import Played

from bitnet_cli.convert import pipeline
from bitnet_cli.errors import BitnetError, RepresentationError, UnsupportedError
from bitnet_cli.formats.codecs import ternary_codec_for
from bitnet_cli.formats.gguf_reader import GGUFReader
from bitnet_cli.formats.gguf_types import GGMLType

GOLDEN = Path(__file__).parents[2] / "golden" / "families.npz"
ROUNDINGS = 1e-5
"""Mean difference by the deviation of the logits. Roundings of float32 are 1e-6 and less; a single int8 value that is off by
one makes 1e-3."""
by_name = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("families")


@cache
def converted(directory: Path, family: Family, outtype: str) -> Path:
    source = directory / family.name
    if not source.exists():
        write(source, family)
    path = directory / f"{family.name}-{outtype}.gguf"
    pipeline.convert(source, path, outtype=outtype, embed_type="f16", verify=True)
    return path


@cache
def goldens() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as file:
        return dict(file)


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.abs(ours - theirs).mean() / theirs.std())


def run(path: Path) -> np.ndarray:
    return Played(path, kv_type="f32").run(TOKENS)


@by_name
def test_logits_of_transformers(directory: Path, family: Family) -> None:
    ours = run(converted(directory, family, family.types[0]))
    assert difference(ours, goldens()[f"{family.name}/int8"]) < ROUNDINGS


@pytest.mark.parametrize("family", [f for f in FAMILIES if not f.masters], ids=lambda family: family.name)
def test_logits_in_float64(directory: Path, family: Family) -> None:
    graph = Graph(
        N_LAYERS,
        family.heads,
        family.kv_heads,
        family.head_dim,
        family.eps,
        THETA,
        family.is_qwen,
        family.yarn,
    )
    theirs = logits(weights(family), graph, TOKENS)
    assert difference(run(converted(directory, family, family.types[0])), theirs) < ROUNDINGS


@pytest.mark.parametrize("family", [f for f in FAMILIES if not f.masters], ids=lambda family: family.name)
def test_activations_of_int8_are_near_those_of_floats(family: Family) -> None:
    """TriLM and Bonsai were trained with float activations; on random weights int8 costs this much, and never nothing."""
    noise = difference(goldens()[f"{family.name}/int8"], goldens()[f"{family.name}/float"])
    assert 1e-3 < noise < 0.03


@pytest.mark.parametrize(("family", "outtype"), [(f, t) for f in FAMILIES for t in f.types[1:]],
                         ids=lambda each: getattr(each, "name", each))  # fmt: skip
def test_a_type_changes_no_bit(directory: Path, family: Family, outtype: str) -> None:
    first = run(converted(directory, family, family.types[0]))
    assert run(converted(directory, family, outtype)).tobytes() == first.tobytes()


@by_name
def test_what_cannot_hold_them_says_what_can(directory: Path, family: Family) -> None:
    refused = set(ALL_TYPES) - set(family.types) - set(family.inexact)
    for outtype in refused:
        with pytest.raises(RepresentationError) as caught:
            converted(directory, family, outtype)
        hint = caught.value.hint or ""
        assert "iq2_bn" in hint or "q2_0" in hint, outtype
        assert not any(f"`--outtype {other}`" in hint for other in refused)


@pytest.mark.parametrize("family", [f for f in FAMILIES if f.inexact], ids=lambda family: family.name)
def test_what_holds_them_nearly_says_so(directory: Path, family: Family) -> None:
    first = run(converted(directory, family, family.types[0]))
    for outtype in family.inexact:
        path = directory / f"{family.name}-{outtype}.gguf"
        report = pipeline.convert(
            directory / family.name, path, outtype=outtype, embed_type="f16", verify=True
        )
        assert any("scale" in note for note in report.notes), report.notes
        assert 0 < difference(run(path), first) < 0.05


def test_a_scale_per_group(directory: Path) -> None:
    family = next(f for f in FAMILIES if f.ternary_table)
    with GGUFReader(converted(directory, family, "q2_0")) as reader:
        info = reader.tensors["blk.0.ffn_up.weight"]
        scales = ternary_codec_for(reader, info).scales(reader.data(info.name), info.shape)
    assert scales.shape == (384, 4), "a scale per 64 columns in the file, two and two alike"
    assert (scales[:, ::2] == scales[:, 1::2]).all() and len(np.unique(scales)) > 100


def test_a_ternary_embedding_and_head(directory: Path) -> None:
    """In their own type: the same rows, a seventh of the bytes, and logits as near as the head's 16 bit activations are."""
    family = next(f for f in FAMILIES if f.ternary_table)
    f16 = converted(directory, family, "q2_0")
    source, own, again = directory / family.name, directory / "own.gguf", directory / "again.gguf"
    report = pipeline.convert(source, own, outtype="q2_0", embed_type="q2_0", verify=True)
    assert report.encodings == {"ternary floats": 15} and not report.notes
    with GGUFReader(own) as reader, GGUFReader(f16) as floats:
        info = reader.tensors["token_embd.weight"]
        trits, scales = ternary_codec_for(reader, info).decode(reader.data(info.name), info.shape)
        values = (trits.reshape(len(trits), -1, 64) * scales[:, :, None]).reshape(info.shape)
        assert np.array_equal(values, floats.data(info.name).view("<f2").reshape(info.shape))
        assert 7 * info.n_bytes < floats.tensors[info.name].n_bytes
    assert difference(run(own), run(f16)) < 1e-3
    # From a file of floats, too, and back.
    pipeline.convert(f16, again, outtype="q2_0", embed_type="q2_0", verify=True)
    assert run(again).tobytes() == run(own).tobytes()
    pipeline.convert(own, again, outtype="f16", embed_type="f16", verify=True, overwrite=True)
    assert run(again).tobytes() == run(f16).tobytes()


def test_a_ternary_embedding_in_floats_is_told(directory: Path) -> None:
    for family in FAMILIES[0], next(f for f in FAMILIES if f.ternary_table):
        converted(directory, family, "q2_0")
        report = pipeline.convert(
            directory / family.name, directory / "told.gguf", outtype="q2_0", overwrite=True
        )
        assert any("`--embed-type q2_0`" in note for note in report.notes) == family.ternary_table


def test_an_embedding_of_floats_is_not_made_ternary(directory: Path) -> None:
    family, out = FAMILIES[0], directory / "refused.gguf"
    dense = converted(directory, family, "q2_0")
    quantised = pipeline.convert(dense, directory / "q6.gguf", outtype="q2_0", embed_type="q8_0").path
    for source in dense, quantised, directory / family.name:
        with pytest.raises(BitnetError) as caught:
            pipeline.convert(source, out, outtype="q2_0", embed_type="q2_0")
        assert "--embed-type f16" in (caught.value.hint or ""), caught.value
        assert not out.exists()


def test_three_revisions_of_one_model_have_the_same_trits(tmp_path: Path) -> None:
    """Falcon-E comes packed, as masters (`prequantized`) and as ternary floats (`bfloat16`), under near-identical
    configurations: what is stored decides, and only roundings of the scales differ."""
    found = {}
    names = {"packed_bitlinear": "packed", "masters": "masters", "ternary_floats": "ternary floats"}
    for encoding, name in names.items():
        write_checkpoint(tmp_path / encoding, "llama", encoding, dtype="f32")
        report = pipeline.convert(tmp_path / encoding, tmp_path / f"{encoding}.gguf", verify=True)
        assert list(report.encodings) == [name]
        with GGUFReader(tmp_path / f"{encoding}.gguf") as reader:
            found[encoding] = [
                ternary_codec_for(reader, info).decode(reader.data(info.name), info.shape)
                for info in reader.tensors.values()
                if info.type == GGMLType.I2_S
            ]
    assert len(found["masters"]) == 21
    for packed, masters, floats in zip(*found.values(), strict=True):
        assert np.array_equal(packed[0], masters[0]) and np.array_equal(packed[0], floats[0])
        assert np.allclose(packed[1], masters[1], rtol=1e-6) and np.allclose(packed[1], floats[1], rtol=1e-6)


def test_masters_that_nothing_declares_ternary_want_a_word(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "model", "llama", "masters", config_changes={"quantization_config": None})
    with pytest.raises(UnsupportedError) as caught:
        pipeline.convert(tmp_path / "model", tmp_path / "ours.gguf")
    assert "--ternarize" in (caught.value.hint or "")
    report = pipeline.convert(tmp_path / "model", tmp_path / "ours.gguf", ternarize=True)
    assert report.encodings == {"masters": 21}
