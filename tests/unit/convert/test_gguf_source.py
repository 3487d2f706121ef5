"""GGUF files as sources: what is carried over untouched, what is repaired, and what is refused."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from naive_gguf import NaiveGGUF
from ternary_models import same_weights, ternary_model, weights_of
from tiny_gguf import ARRAY, BOOL, F32, I32, STRING, TYPE_F16, TYPE_F32, U32, TinyGGUF, tiny_model

from bitnet_cli.convert.pipeline import Progress, convert, default_output
from bitnet_cli.errors import BitnetError, FormatError, RepresentationError, UnsupportedError, UsageError
from bitnet_cli.formats.codecs import codec_named
from bitnet_cli.formats.gguf_reader import GGUFReader
from bitnet_cli.formats.gguf_writer import GGUFWriter, TensorSpec

Q = "blk.0.attn_q.weight"


def test_metadata_is_carried_over(tmp_path: Path) -> None:
    model = ternary_model()
    model.metadata |= {
        "general.quantization_version": (U32, 1),
        "somebody.else": (STRING, "kept ✓"),
        "somebody.flags": (ARRAY, (BOOL, [True, False])),
        "somebody.numbers": (ARRAY, (F32, [0.1, -2.5])),
        "somebody.words": (ARRAY, (STRING, ["a", "", "ß"])),
        "somebody.ratio": (F32, 0.1),
    }
    convert(model.write(tmp_path / "in.gguf"), tmp_path / "out.gguf", outtype="tq1_0")
    before, after = NaiveGGUF(tmp_path / "in.gguf"), NaiveGGUF(tmp_path / "out.gguf")
    assert list(after.metadata) == list(before.metadata)
    changed = {key for key in before.metadata if before.metadata[key] != after.metadata[key]}
    assert changed == {"general.file_type", "general.quantization_version"}
    assert (after.value("general.file_type"), after.value("general.quantization_version")) == (36, 2)


def test_missing_keys_are_added_behind(tmp_path: Path) -> None:
    model = ternary_model()
    del model.metadata["general.file_type"]
    convert(model.write(tmp_path / "in.gguf"), tmp_path / "out.gguf")
    keys = list(NaiveGGUF(tmp_path / "out.gguf").metadata)
    assert keys == [*model.metadata, "general.file_type", "general.quantization_version"]


def test_other_tensors_are_copied_byte_for_byte(tmp_path: Path) -> None:
    """Also of types and names that nobody here knows, and -0.0 stays -0.0."""
    model = ternary_model()
    model.tensors["rope_freqs.weight"] = ((8,), TYPE_F32, np.array([-0.0] * 8, "<f4").tobytes())
    model.tensors["blk.0.attn_q.bias"] = ((256,), TYPE_F16, bytes(range(64)) * 8)
    model.tensors["blk.0.what"] = ((32, 4), 3, bytes(range(80)))  # Q4_1
    before = NaiveGGUF(model.write(tmp_path / "in.gguf"))
    report = convert(tmp_path / "in.gguf", tmp_path / "out.gguf", outtype="tq2_0", verify=True)
    after = NaiveGGUF(tmp_path / "out.gguf")
    assert list(before.tensors) == list(after.tensors)
    for name, tensor in before.tensors.items():
        if not name.startswith("blk.0.") or len(tensor.ne) == 1 or name == "blk.0.what":
            found = after.tensors[name]
            assert (found.ne, found.type, found.data) == (tensor.ne, tensor.type, tensor.data)
    assert report.kinds["what"].zeros is None and report.kinds["what"].weights == 128


@pytest.mark.parametrize(
    ("embed_type", "number"), [("f16", 1), ("q8_0", 8), ("q6_k", 14), ("q4_0", 2), ("keep", 14)]
)
def test_embedding_types(tmp_path: Path, embed_type: str, number: int) -> None:
    first = convert(ternary_model().write(tmp_path / "in.gguf"), tmp_path / "q6.gguf", embed_type="q6_k").path
    convert(first, tmp_path / "out.gguf", embed_type=embed_type, verify=True)
    found = NaiveGGUF(tmp_path / "out.gguf").tensors["token_embd.weight"]
    assert found.type == number
    if embed_type == "keep":
        assert found.data == NaiveGGUF(first).tensors["token_embd.weight"].data


def test_a_ternary_embedding(tmp_path: Path) -> None:
    """As models have it whose embedding and head are ternary, too: kept, or as the floats that it stands for."""
    model = ternary_model("q2_0", "64")
    trits = np.random.default_rng(5).integers(-1, 2, (258, 256), np.int8)
    scales = np.random.default_rng(6).uniform(0.5, 1, (258, 4)).astype("<f2").astype(np.float32)
    embedding = codec_named("q2_0").encode(trits, scales)
    model.tensors["token_embd.weight"] = ((256, 258), 42, embedding.tobytes())
    path = model.write(tmp_path / "in.gguf")
    convert(path, tmp_path / "keep.gguf", outtype="f16", verify=True)
    assert (
        NaiveGGUF(tmp_path / "keep.gguf").tensors["token_embd.weight"].data[: embedding.size]
        == embedding.tobytes()
    )
    convert(path, tmp_path / "f16.gguf", outtype="f16", embed_type="f16", verify=True)
    found = np.frombuffer(NaiveGGUF(tmp_path / "f16.gguf").tensors["token_embd.weight"].data, "<f2")
    expected = trits * np.repeat(scales, 64, axis=1)
    assert np.array_equal(found[: 258 * 256].reshape(258, 256).astype(np.float32), expected)


def test_an_embedding_that_means_nothing_alone_is_not_kept(tmp_path: Path) -> None:
    """Its bytes are weights only with the scale tensor beside it, and that one goes."""
    model = ternary_model("q2_0", "64")
    trits = np.random.default_rng(5).integers(-1, 2, (258, 256), np.int8)
    embedding = codec_named("q2_0").encode(trits, np.ones((258, 4), np.float32))
    model.tensors["token_embd.weight"] = ((256, 258), 42, embedding.tobytes())
    model.tensors["token_embd.scale"] = ((1,), TYPE_F32, np.array([0.5], "<f4").tobytes())
    path = model.write(tmp_path / "in.gguf")
    with pytest.raises(RepresentationError, match="cannot be kept") as caught:
        convert(path, tmp_path / "keep.gguf", outtype="f16", verify=True)
    assert "--embed-type f16" in (caught.value.hint or "") and not (tmp_path / "keep.gguf").exists()
    convert(path, tmp_path / "f16.gguf", outtype="f16", embed_type="f16", verify=True)
    tensors = NaiveGGUF(tmp_path / "f16.gguf").tensors
    found = np.frombuffer(tensors["token_embd.weight"].data, "<f2")[: 258 * 256].reshape(258, 256)
    assert (
        np.array_equal(found.astype(np.float32), trits * np.float32(0.5))
        and "token_embd.scale" not in tensors
    )


def test_known_faults_are_repaired(tmp_path: Path) -> None:
    model = ternary_model()
    del model.metadata["tokenizer.ggml.pre"]
    model.metadata["tokenizer.chat_template"] = (STRING, "Human: {{ x }}\n\nBITNETAssistant: ")
    report = convert(model.write(tmp_path / "in.gguf"), tmp_path / "out.gguf")
    after = NaiveGGUF(tmp_path / "out.gguf")
    assert after.metadata["tokenizer.ggml.pre"] == (STRING, "gpt-2")
    assert "BITNET" not in str(after.value("tokenizer.chat_template"))
    assert len(report.notes) == 2 and "chat template" in report.notes[1]


def test_alignment_and_version_2(tmp_path: Path) -> None:
    with GGUFReader(ternary_model().write(tmp_path / "in.gguf")) as reader:
        pairs = [(key, reader.value_type(key), reader.metadata[key]) for key in reader.metadata]
        specs = [TensorSpec(info.name, info.shape, info.type) for info in reader.tensors.values()]
        with GGUFWriter(tmp_path / "wide.gguf", pairs, specs, alignment=4096) as writer:
            for spec in specs:
                writer.write(spec.name, reader.data(spec.name))
    raw = bytearray((tmp_path / "wide.gguf").read_bytes())
    raw[4:8] = struct.pack("<I", 2)
    (tmp_path / "wide.gguf").write_bytes(raw)
    convert(tmp_path / "wide.gguf", tmp_path / "out.gguf", outtype="tl2", verify=True)
    with GGUFReader(tmp_path / "out.gguf") as reader:
        assert (reader.version, reader.alignment) == (3, 4096)
        assert all(info.offset % 4096 == 0 for info in reader.tensors.values())
    assert same_weights(weights_of(tmp_path / "out.gguf"), weights_of(tmp_path / "in.gguf"))


def test_in_place(tmp_path: Path) -> None:
    path = ternary_model().write(tmp_path / "model.gguf")
    before = weights_of(path)
    convert(path, path, outtype="tq1_0", overwrite=True, verify=True)
    assert NaiveGGUF(path).tensors[Q].type == 34 and same_weights(weights_of(path), before)


def without(model: TinyGGUF, prefix: str) -> TinyGGUF:
    model.tensors = {name: tensor for name, tensor in model.tensors.items() if not name.startswith(prefix)}
    return model


def with_tensor(name: str, ne: tuple[int, ...], kind: int, raw: bytes) -> TinyGGUF:
    model = ternary_model()
    model.tensors[name] = (ne, kind, raw)
    return model


def with_key(key: str, kind: int, value: object) -> TinyGGUF:
    model = ternary_model()
    model.metadata[key] = (kind, value)
    return model


FLOATS = np.random.default_rng(0).standard_normal((256, 256)).astype("<f2").tobytes()
REFUSED = {
    "ordinary floats": (lambda: with_tensor(Q, (256, 256), TYPE_F16, FLOATS), UnsupportedError, "attn_q.*ordinary"),
    "no ternary tensor": (lambda: without(ternary_model(), "blk"), UnsupportedError, "no ternary weights"),
    "one of several parts": (lambda: with_key("split.count", U32, 3), UnsupportedError, "one of 3 parts"),
    "code 3": (lambda: with_tensor(Q, (256, 256), 36, b"\xff" * (16384 + 32)), FormatError, "attn_q"),
    "a scale that is none": (
        lambda: with_tensor(Q, (256, 256), 36, b"\x55" * 16384 + struct.pack("<f", np.nan) + bytes(28)),
        FormatError,
        "attn_q.*scale must be a finite number",
    ),
    "infinite norm": (
        lambda: with_tensor("output_norm.weight", (256,), TYPE_F32, struct.pack("<f", np.inf) * 256),
        FormatError,
        "output_norm.*not a finite number",
    ),
    "bare weights without a scale": (
        lambda: with_tensor(Q, (256, 256), 135, b"\x55" * 16384),
        FormatError,
        "attn_q.weight.*no `blk.0.attn_q.scale`",
    ),
    "a scale of another type": (
        lambda: with_tensor("blk.0.attn_q.scale", (1,), I32, bytes(4)), BitnetError, "attn_q.scale"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path: Path, case: str) -> None:
    make, kind, words = REFUSED[case]
    path = make().write(tmp_path / "in.gguf")
    with pytest.raises(kind, match=words) as caught:
        convert(path, tmp_path / "out.gguf", outtype="tq2_0", verify=True)
    assert isinstance(caught.value, BitnetError) and list(tmp_path.iterdir()) == [path]


def test_scales_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    """Every matrix before the last would fit: nothing of them is written."""
    model = tiny_model(dim=256, ffn_dim=512, n_layers=2)
    last = [name for name in model.tensors if "ffn_down" in name][-1]
    iq2 = codec_named("iq2_bn")
    trits = np.ones((256, 512), np.int8)
    scales = np.linspace(1, 2, 256, dtype=np.float32)[:, None]
    model.tensors[last] = ((512, 256), 135, iq2.encode(trits, scales).tobytes())
    seen: list[Progress] = []
    with pytest.raises(RepresentationError, match="several"):
        convert(model.write(tmp_path / "in.gguf"), tmp_path / "out.gguf", progress=seen.append)
    assert seen == []


def test_ternarize_is_for_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--ternarize"):
        convert(ternary_model().write(tmp_path / "in.gguf"), tmp_path / "out.gguf", ternarize=True)


@pytest.mark.parametrize("verify", [False, True])
def test_interruption_leaves_nothing(tmp_path: Path, verify: bool) -> None:
    path = ternary_model().write(tmp_path / "in.gguf")

    def interrupt(progress: Progress) -> None:
        if progress.done_bytes > progress.total_bytes // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(path, tmp_path / "out.gguf", verify=verify, progress=interrupt)
    assert list(tmp_path.iterdir()) == [path]


def test_progress_adds_up(tmp_path: Path) -> None:
    path = ternary_model().write(tmp_path / "in.gguf")
    for verify in (False, True):
        seen: list[Progress] = []
        convert(
            path, tmp_path / "out.gguf", outtype="tl1", verify=verify, overwrite=True, progress=seen.append
        )
        assert [p.done_bytes for p in seen] == sorted(p.done_bytes for p in seen)
        assert seen[-1].done_bytes == seen[-1].total_bytes


@pytest.mark.parametrize(
    ("source", "outtype", "expected"),
    [
        ("2b-i2_s.gguf", "tq2_0", "2b-tq2_0.gguf"),
        ("2b.TQ2_0.gguf", "tl1", "2b-tl1.gguf"),
        ("model.gguf", "i2_s", "model-i2_s.gguf"),
        ("falcon-f16-v2.gguf", "i2_s", "falcon-f16-v2-i2_s.gguf"),
    ],
)
def test_default_output(tmp_path: Path, source: str, outtype: str, expected: str) -> None:
    (tmp_path / source).touch()
    assert default_output(tmp_path / source, outtype) == Path(expected)
