"""Whole conversions, read back by an independent reader: bytes, offsets, order, permutation, report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from naive_gguf import NaiveGGUF, naive_i2_s
from tiny_checkpoints import (
    ENCODINGS,
    FAMILIES,
    CheckpointTruth,
    read_safetensors,
    write_checkpoint,
    write_safetensors,
)

from bitnet_cli.convert import verification
from bitnet_cli.convert.checkpoint import BLOCK_VALUES
from bitnet_cli.convert.pipeline import Progress, convert, default_output
from bitnet_cli.errors import BitnetError, FormatError, RepresentationError, UsageError

F32, F16, Q8_0, Q6_K, I2_S = 0, 1, 8, 14, 36
KINDS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.attn_sub_norm": "attn_sub_norm",
    "self_attn.inner_attn_ln": "attn_sub_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.ffn_sub_norm": "ffn_sub_norm",
    "mlp.ffn_layernorm": "ffn_sub_norm",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def gguf_name(name: str) -> str:
    """The GGUF name by the published table."""
    fixed = {
        "model.embed_tokens.weight": "token_embd.weight",
        "model.norm.weight": "output_norm.weight",
        "lm_head.weight": "output.weight",
    }
    if name in fixed:
        return fixed[name]
    _, _, layer, rest = name.removesuffix(".weight").split(".", 3)
    return f"blk.{layer}.{KINDS[rest]}.weight"


def permuted(trits: np.ndarray, head_dim: int) -> np.ndarray:
    """Rows as a `llama` file has them: of each head row 0, hd/2, 1, hd/2 + 1, ..."""
    order = [half * (head_dim // 2) + i for i in range(head_dim // 2) for half in (0, 1)]
    rows = [head * head_dim + row for head in range(len(trits) // head_dim) for row in order]
    return trits[rows]


def check_file(path: Path, truth: CheckpointTruth, family: str) -> NaiveGGUF:
    """Every tensor of the file is what the checkpoint holds, and nothing else is in it."""
    file = NaiveGGUF(path)
    assert set(file.tensors) == {gguf_name(name) for name in [*truth.trits, *truth.floats]}
    for name, trits in truth.trits.items():
        tensor = file.tensors[gguf_name(name)]
        rows, cols = trits.shape
        assert (tensor.ne, tensor.type) == ((cols, rows), I2_S)
        assert len(tensor.data) == rows * cols // 4 + 32 and not any(tensor.data[-28:])
        found, scale = naive_i2_s(tensor.data, rows, cols)
        if family == "llama" and ("q_proj" in name or "k_proj" in name):
            trits = permuted(trits, truth.config["head_dim"])
        assert np.array_equal(found, trits) and scale.tobytes() == truth.scales[name].tobytes()
    for name, values in truth.floats.items():
        tensor = file.tensors[gguf_name(name)]
        assert tensor.ne == values.shape[::-1]
        if values.ndim == 1:
            assert tensor.type == F32 and tensor.data[: values.nbytes] == values.astype("<f4").tobytes()
        else:
            assert tensor.type == F16 and tensor.data == values.astype("<f2").tobytes()
    offset = 0
    for tensor in file.tensors.values():
        assert tensor.offset == offset and tensor.offset % 32 == 0
        offset += len(tensor.data)
    return file


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(("dtype", "shards", "layers"), [("bf16", 1, 2), ("f16", 3, 1), ("f32", 2, 1)])
def test_every_family_and_encoding(
    tmp_path: Path, family: str, encoding: str, dtype: str, shards: int, layers: int
) -> None:
    truth = write_checkpoint(
        tmp_path / "model", family, encoding, dtype=dtype, shards=shards, num_hidden_layers=layers
    )
    report = convert(tmp_path / "model", tmp_path / "out.gguf", verify=True)
    file = check_file(tmp_path / "out.gguf", truth, family)
    assert file.value("general.architecture") == report.architecture == family
    assert sum(report.encodings.values()) == len(truth.trits) and len(report.encodings) == 1
    assert report.verified and report.size_bytes == (tmp_path / "out.gguf").stat().st_size
    assert sorted(tmp_path.iterdir()) == [tmp_path / "model", tmp_path / "out.gguf"]


def test_shards_and_repetition_give_the_same_bytes(tmp_path: Path) -> None:
    for i, shards in enumerate([1, 4, 1]):
        write_checkpoint(tmp_path / str(i) / "model", "llama", "masters", shards=shards)
        convert(tmp_path / str(i) / "model", tmp_path / f"{i}.gguf")
    first = (tmp_path / "0.gguf").read_bytes()
    assert first == (tmp_path / "1.gguf").read_bytes() == (tmp_path / "2.gguf").read_bytes()


def test_matrices_of_several_blocks(tmp_path: Path) -> None:
    """Heads, quarters of the packing and blocks of rows end at different places."""
    shape = {"hidden_size": 1536, "head_dim": 48, "num_attention_heads": 32, "num_key_value_heads": 8}
    shape |= {"intermediate_size": 768, "num_hidden_layers": 1}
    for encoding in ("packed_bitlinear", "masters"):
        truth = write_checkpoint(tmp_path / encoding, "llama", encoding, **shape)
        q = truth.trits["model.layers.0.self_attn.q_proj.weight"]
        assert q.size > 4 * BLOCK_VALUES
        convert(tmp_path / encoding, tmp_path / "out.gguf", overwrite=True, verify=True)
        check_file(tmp_path / "out.gguf", truth, "llama")


@pytest.mark.parametrize(("embed_type", "number"), [("f16", F16), ("q8_0", Q8_0), ("q6_k", Q6_K)])
def test_embedding_types(tmp_path: Path, embed_type: str, number: int) -> None:
    truth = write_checkpoint(tmp_path / "model", "llama", "packed_bitlinear")
    report = convert(tmp_path / "model", tmp_path / "out.gguf", embed_type=embed_type, verify=True)
    file = NaiveGGUF(tmp_path / "out.gguf")
    assert file.tensors["token_embd.weight"].type == file.tensors["output.weight"].type == number
    worst = {"f16": 2**-12, "q8_0": 0.5 / 127, "q6_k": 1 / 32}[embed_type]
    assert (
        0 < report.kinds["token_embd"].max_error < worst * np.abs(truth.floats["lm_head.weight"]).max() * 1.2
    )


def test_report_of_masters(tmp_path: Path) -> None:
    truth = write_checkpoint(tmp_path / "model", "bitnet", "masters", dtype="f32")
    report = convert(tmp_path / "model", tmp_path / "out.gguf")
    stored = read_safetensors(tmp_path / "model/model.safetensors")
    for source, kind in KINDS.items():
        names = [name for name in truth.trits if source in name]
        if names:
            found = report.kinds[kind]
            scales = [truth.scales[name] for name in names]
            errors = [np.abs(truth.trits[n] * truth.scales[n] - stored[n][1]).max() for n in names]
            assert (found.type, found.count) == ("i2_s", 2)
            assert found.zeros == sum(int((truth.trits[name] == 0).sum()) for name in names)
            assert (found.scale_min, found.scale_max) == (min(scales), max(scales))
            assert found.max_error == max(errors)
    assert report.encodings == {"masters": 14} and not report.verified
    assert json.loads(json.dumps(report.to_dict()))["kinds"][0]["kind"] == "token_embd"


def test_magnitudes_one_unit_apart_are_told(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "model", "llama", "ternary_floats")
    path = tmp_path / "model/model.safetensors"
    stored = read_safetensors(path)
    dtype, matrix = stored["model.layers.0.mlp.up_proj.weight"]
    largest = matrix.max()  # As bits, if bf16: the sign is the top one.
    place = tuple(np.argwhere(matrix == (largest if dtype != "BF16" else largest & 0x7FFF))[0])
    matrix[place] = (
        matrix[place] - 1 if dtype == "BF16" else np.nextafter(matrix[place], matrix.dtype.type(0))
    )
    write_safetensors(path, stored)
    report = convert(tmp_path / "model", tmp_path / "out.gguf", verify=True)
    assert report.unequal == 1 and not report.to_dict()["scales_exact"]
    assert "1 matrix holds magnitudes that are one unit in the last place apart" in report.notes[-1]
    assert 0 < report.kinds["ffn_up"].max_error < 0.01 * report.kinds["ffn_up"].scale_max


@pytest.mark.parametrize(
    ("config_changes", "head", "with_output"),
    [
        ({"tie_word_embeddings": True}, "same", False),
        ({"tie_word_embeddings": True}, "other", False),
        ({"tie_word_embeddings": True}, "none", False),
        ({"tie_word_embeddings": False}, "same", False),
        ({"tie_word_embeddings": False}, "other", True),
        ({"tie_word_embeddings": None}, "same", False),
        ({"tie_word_embeddings": None}, "other", True),
        ({"tie_word_embeddings": None}, "none", False),
    ],
)
def test_tied_heads(tmp_path: Path, config_changes: dict, head: str, with_output: bool) -> None:
    write_checkpoint(tmp_path / "m", "llama", "masters", config_changes=config_changes)
    path = tmp_path / "m/model.safetensors"
    tensors = read_safetensors(path)
    if head == "same":
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
    elif head == "none":
        del tensors["lm_head.weight"]
    write_safetensors(path, tensors)
    convert(tmp_path / "m", tmp_path / "out.gguf")
    assert ("output.weight" in NaiveGGUF(tmp_path / "out.gguf").tensors) is with_output


def test_untied_head_of_a_bitnet_model_is_kept_with_a_note(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "m", "bitnet-b1.58", "packed_auto", tie_word_embeddings=False)
    report = convert(tmp_path / "m", tmp_path / "out.gguf")
    assert "output.weight" in NaiveGGUF(tmp_path / "out.gguf").tensors
    assert any("bitnet.cpp" in note for note in report.notes)


def test_missing_head_of_an_untied_model(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "m", "llama", "masters")
    tensors = read_safetensors(tmp_path / "m/model.safetensors")
    del tensors["lm_head.weight"]
    write_safetensors(tmp_path / "m/model.safetensors", tensors)
    with pytest.raises(FormatError, match=r"lm_head\.weight"):
        convert(tmp_path / "m", tmp_path / "out.gguf")


def test_plain_llama_needs_the_option(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "m", "llama", "masters", config_changes={"quantization_config": None})
    with pytest.raises(BitnetError) as caught:
        convert(tmp_path / "m", tmp_path / "out.gguf")
    assert "--ternarize" in (caught.value.hint or "") and list(tmp_path.iterdir()) == [tmp_path / "m"]
    assert convert(tmp_path / "m", tmp_path / "out.gguf", ternarize=True).encodings == {"masters": 21}


@pytest.mark.parametrize("verify", [False, True])
def test_existing_files_are_kept_unless_forced(tmp_path: Path, verify: bool) -> None:
    write_checkpoint(tmp_path / "m", "llama", "masters")
    out = tmp_path / "out.gguf"
    out.write_bytes(b"precious")
    with pytest.raises(BitnetError) as caught:
        convert(tmp_path / "m", out, verify=verify)
    assert "--force" in (caught.value.hint or "") and out.read_bytes() == b"precious"
    convert(tmp_path / "m", out, overwrite=True, verify=verify)
    assert out.read_bytes()[:4] == b"GGUF"
    with pytest.raises(BitnetError, match="is a directory"):
        convert(tmp_path / "m", tmp_path, overwrite=True, verify=verify)


@pytest.mark.parametrize("verify", [False, True])
def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path, verify: bool) -> None:
    write_checkpoint(tmp_path / "m", "llama", "masters")
    out = tmp_path / "out.gguf"

    def progress(now: Progress) -> None:
        if now.done_bytes == now.total_bytes:
            out.write_bytes(b"precious")

    with pytest.raises(BitnetError, match="exists already"):
        convert(tmp_path / "m", out, verify=verify, progress=progress)
    assert out.read_bytes() == b"precious" and sorted(tmp_path.iterdir()) == [tmp_path / "m", out]


def test_progress_adds_up(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "m", "bitnet-b1.58", "packed_auto")
    for verify in (False, True):
        seen: list[Progress] = []
        convert(tmp_path / "m", tmp_path / "out.gguf", verify=verify, overwrite=True, progress=seen.append)
        assert [p.done_bytes for p in seen] == sorted(p.done_bytes for p in seen)
        assert seen[-1].done_bytes == seen[-1].total_bytes and seen[-1].tensor == "output_norm.weight"


def test_interruption_leaves_nothing(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "m", "llama", "masters")

    def interrupt(progress: Progress) -> None:
        if progress.done_bytes > progress.total_bytes // 2:
            raise KeyboardInterrupt

    for verify in (False, True):
        with pytest.raises(KeyboardInterrupt):
            convert(tmp_path / "m", tmp_path / "out.gguf", verify=verify, progress=interrupt)
        assert list(tmp_path.iterdir()) == [tmp_path / "m"]


def test_columns_that_i2_s_cannot_hold(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "m", "bitnet", "masters", intermediate_size=8640 // 27)
    with pytest.raises(RepresentationError, match="multiple of 128 values, not 320") as caught:
        convert(tmp_path / "m", tmp_path / "out.gguf")
    assert "iq2_bn" in (caught.value.hint or "")


def test_embedding_type_that_does_not_fit(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "m", "bitnet-b1.58", "masters")
    with pytest.raises(RepresentationError, match="multiple of 256"):
        convert(tmp_path / "m", tmp_path / "out.gguf", embed_type="q6_k")
    with pytest.raises(UsageError, match="q4_9"):
        convert(tmp_path / "m", tmp_path / "out.gguf", embed_type="q4_9")


def test_embedding_beyond_f16(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "m", "llama", "masters", dtype="f32")
    tensors = read_safetensors(tmp_path / "m/model.safetensors")
    tensors["lm_head.weight"][1][7, 9] = 1e6
    write_safetensors(tmp_path / "m/model.safetensors", tensors)
    with pytest.raises(RepresentationError, match=r"`lm_head.weight`: f16 cannot hold"):
        convert(tmp_path / "m", tmp_path / "out.gguf")


@pytest.mark.parametrize(
    "tensor", ["blk.1.attn_q.weight", "blk.0.ffn_down.weight", "output.weight", "output_norm.weight"]
)
@pytest.mark.parametrize("at", [3, -33])
def test_verification_sees_one_changed_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tensor: str, at: int
) -> None:
    write_checkpoint(tmp_path / "m", "llama", "masters")
    really_open = verification.GGUFReader

    def damage_first(path: Path) -> object:
        file = NaiveGGUF(path)
        start = file.data_offset + file.tensors[tensor].offset
        at_byte = start + at % len(file.tensors[tensor].data)
        raw = bytearray(path.read_bytes())
        raw[at_byte] ^= 0x40 if raw[at_byte] & 0xC0 != 0x80 else 0x80
        path.write_bytes(raw)
        return really_open(path)

    monkeypatch.setattr(verification, "GGUFReader", damage_first)
    with pytest.raises(FormatError):
        convert(tmp_path / "m", tmp_path / "out.gguf", verify=True)
    assert list(tmp_path.iterdir()) == [tmp_path / "m"]


def test_default_output_is_named_after_the_model(tmp_path: Path) -> None:
    assert default_output(tmp_path / "some.model") == Path("some.model-i2_s.gguf")
