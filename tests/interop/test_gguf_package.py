"""Files between this program and the `gguf` package: theirs load here, ours load there, with the same weights."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize, quantize
from ternary_models import llama_model, plain_weights, same_weights, weights_of
from tiny_gguf import TYPE_F16, TYPE_F32, TYPE_I2_S

from bitnet_cli.convert.pipeline import convert
from bitnet_cli.convert.target import OUTTYPES
from bitnet_cli.library import BitNetModel

IDS = [256, 65, 66, 200, 0, 7]
UPSTREAM = ("TQ1_0", "TQ2_0", "F16", "F32", "BF16")
"""Types that the package can make ternary matrices in."""


def written_by_the_package(path: Path, type_name: str, embed: str = "F16") -> Path:
    """The tiny model as the package's own writer and quantisers make it."""
    model = llama_model()
    writer = gguf.GGUFWriter(path, "llama")
    for key, (_, value) in model.metadata.items():
        if key == "general.architecture":
            continue
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        else:
            writer.add_array(key, list(value[1]))  # type: ignore[index]
    weights = plain_weights(model)
    kind = gguf.GGMLQuantizationType[type_name]
    for name, (ne, number, raw) in model.tensors.items():
        if number == TYPE_I2_S:
            writer.add_tensor(name, quantize(weights[name], kind), raw_dtype=kind)
        elif number == TYPE_F16:
            values = np.frombuffer(raw, "<f2").reshape(ne[::-1]).astype(np.float32)
            embed_kind = gguf.GGMLQuantizationType[embed]
            writer.add_tensor(name, quantize(values, embed_kind), raw_dtype=embed_kind)
        else:
            assert number == TYPE_F32
            writer.add_tensor(name, np.frombuffer(raw, "<f4").copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def logits(path: Path) -> np.ndarray:
    return BitNetModel.from_pretrained(path, n_threads=1).logits(IDS)


@pytest.mark.parametrize("type_name", UPSTREAM)
def test_their_ternary_files_run_and_convert_here(tmp_path: Path, type_name: str) -> None:
    plain = llama_model().write(tmp_path / "plain.gguf")
    theirs = written_by_the_package(tmp_path / "theirs.gguf", type_name)
    convert(theirs, tmp_path / "out.gguf", verify=True)
    if type_name != "BF16":  # Which rounds the scales.
        assert same_weights(weights_of(tmp_path / "out.gguf"), weights_of(plain))
        assert np.array_equal(logits(theirs), logits(plain))
    assert np.array_equal(logits(theirs), logits(tmp_path / "out.gguf"))


@pytest.mark.parametrize("embed", ["F32", "F16", "BF16", "Q8_0", "Q4_0"])
def test_their_embeddings_load_here(tmp_path: Path, embed: str) -> None:
    theirs = written_by_the_package(tmp_path / "theirs.gguf", "TQ2_0", embed)
    convert(theirs, tmp_path / "out.gguf", outtype="tl2", verify=True)
    assert np.array_equal(logits(theirs), logits(tmp_path / "out.gguf"))


@pytest.mark.parametrize("outtype", OUTTYPES)
@pytest.mark.parametrize("embed_type", ["f16", "q8_0", "q6_k", "q4_0"])
def test_ours_load_there(tmp_path: Path, outtype: str, embed_type: str) -> None:
    """Types that the package does not know are refused by it; everything else has our weights."""
    source = llama_model().write(tmp_path / "in.gguf")
    ours = convert(source, tmp_path / "out.gguf", outtype=outtype, embed_type=embed_type).path
    if outtype not in ("tq1_0", "tq2_0", "f16"):
        return
    reader = gguf.GGUFReader(ours)
    assert reader.get_field("general.architecture").contents() == "llama"
    found = {tensor.name: tensor for tensor in reader.tensors}
    for name, weights in weights_of(source).items():
        tensor = found[name]
        assert tensor.tensor_type.name.lower() == outtype
        assert np.array_equal(dequantize(tensor.data, tensor.tensor_type), weights)
        assert np.array_equal(
            quantize(weights, tensor.tensor_type).reshape(-1).view(np.uint8),
            tensor.data.reshape(-1).view(np.uint8),
        )
    embedding = found["token_embd.weight"]
    assert embedding.tensor_type.name.lower() == embed_type
    assert dequantize(embedding.data, embedding.tensor_type).shape == (259, 256)
