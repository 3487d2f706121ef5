"""Well-formed GGUF files that are no sound model: one clear error each, before anything large is allocated."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_gguf import ARRAY, F32, STRING, TYPE_F16, TYPE_F32, TYPE_I2_S, U32, TinyGGUF, tiny_model

from bitnet_cli.errors import BitnetError, FormatError, UnsupportedError
from bitnet_cli.library import BitNetModel

Q = "blk.0.attn_q.weight"


def set_key(key: str, kind: int, value: object) -> Callable[[TinyGGUF], None]:
    return lambda model: model.metadata.__setitem__(key, (kind, value))


def drop_key(key: str) -> Callable[[TinyGGUF], None]:
    return lambda model: model.metadata.pop(key) and None


def drop(name: str) -> Callable[[TinyGGUF], None]:
    return lambda model: model.tensors.pop(name) and None


def replace(name: str, ne: tuple[int, ...], kind: int, raw: bytes) -> Callable[[TinyGGUF], None]:
    return lambda model: model.tensors.__setitem__(name, (ne, kind, raw))


def patch(name: str, at: int, raw: bytes) -> Callable[[TinyGGUF], None]:
    def change(model: TinyGGUF) -> None:
        ne, kind, data = model.tensors[name]
        at_byte = at % len(data)
        model.tensors[name] = (ne, kind, data[:at_byte] + raw + data[at_byte + len(raw) :])

    return change


CASES = {
    "unknown architecture": (set_key("general.architecture", STRING, "mamba"), UnsupportedError, "mamba"),
    "architecture with escapes": (set_key("general.architecture", STRING, "\x1b[2J"), UnsupportedError, "x1b"),
    "no architecture": (drop_key("general.architecture"), FormatError, "general.architecture"),
    "architecture no string": (set_key("general.architecture", U32, 7), FormatError, "general.architecture"),
    "no layer count": (drop_key("bitnet-b1.58.block_count"), FormatError, "block_count"),
    "no layers": (set_key("bitnet-b1.58.block_count", U32, 0), FormatError, "block_count"),
    "four billion layers": (set_key("bitnet-b1.58.block_count", U32, 2**32 - 1), FormatError, "block_count"),
    "a layer too many": (set_key("bitnet-b1.58.block_count", U32, 3), FormatError, "blk.2.attn_norm.weight"),
    "a layer too few": (set_key("bitnet-b1.58.block_count", U32, 1), UnsupportedError, "blk.1"),
    "no heads": (set_key("bitnet-b1.58.attention.head_count", U32, 0), FormatError, "head_count"),
    "more heads than width": (set_key("bitnet-b1.58.attention.head_count", U32, 1000), FormatError, "key_length"),
    "heads that do not divide": (set_key("bitnet-b1.58.attention.head_count_kv", U32, 3), FormatError, "do not fit"),
    "odd rotation": (set_key("bitnet-b1.58.rope.dimension_count", U32, 31), FormatError, "do not fit"),
    "rotation wider than the head": (set_key("bitnet-b1.58.rope.dimension_count", U32, 64), FormatError, "do not fit"),
    "width too large": (set_key("bitnet-b1.58.embedding_length", U32, 2**31), FormatError, "embedding_length"),
    "width as a float": (set_key("bitnet-b1.58.embedding_length", F32, 128.0), FormatError, "embedding_length"),
    "width as a list": (set_key("bitnet-b1.58.embedding_length", ARRAY, (U32, [128, 128])), FormatError, "embedding_length"),
    "epsilon NaN": (set_key("bitnet-b1.58.attention.layer_norm_rms_epsilon", F32, float("nan")), FormatError, "epsilon"),
    "epsilon negative": (set_key("bitnet-b1.58.attention.layer_norm_rms_epsilon", F32, -1.0), FormatError, "epsilon"),
    "theta infinite": (set_key("bitnet-b1.58.rope.freq_base", F32, float("inf")), FormatError, "freq_base"),
    "rope scaling": (
        lambda m: m.metadata.update(
            {"bitnet-b1.58.rope.scaling.type": (STRING, "longrope"), "bitnet-b1.58.rope.scaling.factor": (F32, 4.0)}
        ),
        UnsupportedError,
        "longrope",
    ),
    "rope scaling of no kind": (set_key("bitnet-b1.58.rope.scaling.factor", F32, 4.0), UnsupportedError, "linear"),
    "yarn without its context": (
        lambda m: m.metadata.update(
            {"bitnet-b1.58.rope.scaling.type": (STRING, "yarn"), "bitnet-b1.58.rope.scaling.factor": (F32, 4.0)}
        ),
        FormatError,
        "original_context_length",
    ),
    "context of zero": (set_key("bitnet-b1.58.context_length", U32, 0), FormatError, "context_length"),
    "no embedding": (drop("token_embd.weight"), FormatError, "token_embd.weight"),
    "no sub-norm": (drop("blk.1.ffn_sub_norm.weight"), FormatError, "ffn_sub_norm"),
    "an extra tensor": (replace("blk.0.attn_q.bias", (128,), TYPE_F32, bytes(512)), UnsupportedError, "attn_q.bias"),
    "transposed matrix": (replace("blk.0.ffn_up.weight", (256, 128), TYPE_I2_S, bytes(8192 + 32)), FormatError, "shape"),
    "float matrix": (replace(Q, (128, 128), TYPE_F16, bytes(range(64)) * 512), UnsupportedError, "ordinary floats"),
    "ternary embedding with code 3": (
        replace("token_embd.weight", (128, 258), TYPE_I2_S, b"\xff" * (128 * 258 // 4) + bytes(32)), FormatError, "code 3"),
    "ternary embedding with scale NaN": (
        replace("token_embd.weight", (128, 258), TYPE_I2_S, bytes(128 * 258 // 4) + b"\xff" * 32), FormatError, "scale"),
    "code 3": (patch(Q, 77, b"\xff"), FormatError, "code 3"),
    "scale NaN": (patch(Q, -32, struct.pack("<f", float("nan"))), FormatError, "scale"),
    "scale infinite": (patch(Q, -32, struct.pack("<f", float("-inf"))), FormatError, "scale"),
    "norm NaN": (patch("output_norm.weight", 8, struct.pack("<f", float("nan"))), FormatError, "finite"),
    "vocabulary larger than the embedding": (
        set_key("tokenizer.ggml.tokens", ARRAY, (STRING, [f"t{i}" for i in range(300)])), FormatError, "token"),
    "end token outside": (set_key("tokenizer.ggml.eos_token_id", U32, 100000), FormatError, "eos"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_hostile_model(case: str, tmp_path: Path) -> None:
    change, kind, message = CASES[case]
    model = tiny_model()
    change(model)
    path = model.write(tmp_path / "hostile.gguf")
    with pytest.raises(kind) as error:
        BitNetModel.from_pretrained(path, n_threads=1)
    assert isinstance(error.value, BitnetError)
    assert message in str(error.value)
    assert "\x1b" not in str(error.value)


def test_the_unchanged_model_loads(tmp_path: Path) -> None:
    model = BitNetModel.from_pretrained(tiny_model().write(tmp_path / "sound.gguf"), n_threads=1)
    logits = model.logits([256, 65])
    assert logits.shape == (2, 258) and np.isfinite(logits).all()


@pytest.mark.parametrize("name", ["token_embd.weight", "output.weight"])
def test_weights_that_are_not_finite_end_the_generation(name: str, tmp_path: Path) -> None:
    hostile = tiny_model()
    hostile.tensors["output.weight"] = hostile.tensors["token_embd.weight"]
    ne, kind, data = hostile.tensors[name]
    hostile.tensors[name] = (ne, kind, b"\x00\x7e" * (len(data) // 2))
    model = BitNetModel.from_pretrained(hostile.write(tmp_path / "nan.gguf"), n_threads=1)
    with pytest.raises(FormatError, match="not finite"):
        model.generate("a")


def test_a_huge_context_in_the_file_costs_nothing(tmp_path: Path) -> None:
    hostile = tiny_model()
    hostile.metadata["bitnet-b1.58.context_length"] = (U32, 1 << 24)
    model = BitNetModel.from_pretrained(hostile.write(tmp_path / "long.gguf"), n_threads=1)
    assert model.context_length == 4096
