"""Embeddings in types that other programs write and the kernels do not know: the model is that of their values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ternary_models import ternary_model
from tiny_gguf import TYPE_F32, TinyGGUF

from bitnet_cli.convert.gguf_source import GGUFSource
from bitnet_cli.convert.pipeline import convert
from bitnet_cli.formats.codecs import READ_ONLY_CODECS
from bitnet_cli.formats.codecs.block_codec import ReadOnlyCodec
from bitnet_cli.library import BitNetModel
from bitnet_cli.verify.file_check import check_file

IDS = [256, 65, 66, 200, 0, 7]


def models(codec: ReadOnlyCodec, name: str) -> tuple[TinyGGUF, TinyGGUF]:
    """A model whose table is random bytes of a type, and the same with its values."""
    foreign, plain = ternary_model("tq2_0", arch="llama"), ternary_model("tq2_0", arch="llama")
    ne, _, _ = foreign.tensors["token_embd.weight"]
    raw = np.random.default_rng(2).integers(0, 256, codec.n_bytes(ne[::-1]), np.uint8)
    blocks = raw.reshape(-1, codec.block_bytes)
    n_scales = 2 if codec.name == "q4_k" else 1
    blocks[:, : 2 * n_scales] = np.full(n_scales, 0.01, "<f2").view(np.uint8)
    values = codec.decode(raw, ne[::-1])
    for model in (foreign, plain):
        model.tensors["output.weight"] = model.tensors["token_embd.weight"]
    foreign.tensors[name] = (ne, int(codec.type_id), raw.tobytes())
    plain.tensors[name] = (ne, TYPE_F32, values.tobytes())
    return foreign, plain


def logits(path: Path) -> np.ndarray:
    return BitNetModel.from_pretrained(path, n_threads=1).logits(IDS)


@pytest.mark.parametrize("name", ["token_embd.weight", "output.weight"])
@pytest.mark.parametrize("codec", READ_ONLY_CODECS, ids=lambda codec: codec.name)
def test_runs_as_its_values_do(tmp_path: Path, codec: ReadOnlyCodec, name: str) -> None:
    foreign, plain = models(codec, name)
    path = foreign.write(tmp_path / "foreign.gguf")
    expected = logits(plain.write(tmp_path / "plain.gguf"))
    assert np.array_equal(logits(path), expected)
    with GGUFSource(path) as source:
        assert check_file(source, None, lambda n, tensor: None).ok
    kept = convert(path, tmp_path / "kept.gguf", outtype="tq1_0", verify=True).path
    assert np.array_equal(logits(kept), expected)


@pytest.mark.parametrize("embed_type", ["q6_k", "q8_0", "f16"])
@pytest.mark.parametrize("codec", READ_ONLY_CODECS, ids=lambda codec: codec.name)
def test_becomes_a_type_of_ours(tmp_path: Path, codec: ReadOnlyCodec, embed_type: str) -> None:
    foreign, plain = models(codec, "token_embd.weight")
    paths = [foreign.write(tmp_path / "foreign.gguf"), plain.write(tmp_path / "plain.gguf")]
    made = [
        convert(path, path.with_suffix(".out"), embed_type=embed_type, verify=True).path.read_bytes()
        for path in paths
    ]
    assert made[0] == made[1]
    with GGUFSource(paths[0].with_suffix(".out")) as source, GGUFSource(paths[0]) as against:
        assert check_file(source, against, lambda n, tensor: None).ok
