"""Inspection of GGUF files: counts, groups, sums, problems and the keys of its JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bitnet_cli import native
from bitnet_cli.formats.codecs import codec_named
from bitnet_cli.formats.gguf_reader import GGUFReader
from bitnet_cli.formats.gguf_types import GGMLType
from bitnet_cli.formats.gguf_writer import GGUFWriter, TensorSpec
from bitnet_cli.formats.inspection import HEAD, Inspection, inspect_gguf, ternary_bytes


def count_codes(data: np.ndarray) -> np.ndarray:
    """The plain counterpart of the native function."""
    fields = [data >> shift & 3 for shift in (0, 2, 4, 6)]
    return np.bincount(np.concatenate(fields), minlength=4).astype(np.uint64)


def test_native_counts_are_the_same() -> None:
    data = np.random.default_rng(1).integers(0, 256, 100_003, np.uint8)
    assert np.array_equal(native.count_codes(data), count_codes(data))


TRITS = np.zeros((4, 256), np.int8)
TRITS[0] = 1
TRITS[1, :128] = -1
METADATA: list[tuple[str, str, object]] = [
    ("general.architecture", "string", "llama"),
    ("a.count", "u32", 7),
    ("a.ratio", "f32", 0.5),
    ("a.nothing", "f32", float("nan")),
    ("a.flag", "bool", False),
    ("a.words", "array<string>", [f"word {i}" for i in range(20)]),
    ("a.numbers", "array<f32>", [0.25, -1.0]),
]
SPECS = [
    TensorSpec("token_embd.weight", (8, 256), GGMLType.F16),
    TensorSpec("blk.0.attn_q.weight", (4, 256), GGMLType.I2_S),
    TensorSpec("blk.0.attn_norm.weight", (256,), GGMLType.F32),
    TensorSpec("blk.1.attn_q.weight", (4, 256), GGMLType.I2_S),
    TensorSpec("blk.1.attn_norm.weight", (256,), GGMLType.F32),
    TensorSpec("blk.1.attn_k.bias", (4,), GGMLType.F32),
]


def write(path: Path, *, damage: bool = False) -> Path:
    ternary = codec_named("i2_s")
    blocks = {
        "blk.0.attn_q.weight": ternary.encode(TRITS, 1.5),
        "blk.1.attn_q.weight": ternary.encode(np.zeros((4, 256), np.int8), 0.25),
    }
    if damage:
        blocks["blk.0.attn_q.weight"][[3, 200]] = 0xFF
        blocks["blk.1.attn_q.weight"][-32:-28] = np.array([np.inf], "<f4").view(np.uint8)
    with GGUFWriter(path, METADATA, SPECS) as writer:
        for spec in SPECS:
            size = {GGMLType.F16: 2, GGMLType.F32: 4}.get(GGMLType(spec.type), 0) * int(np.prod(spec.shape))
            writer.write(spec.name, blocks.get(spec.name, np.zeros(size, np.uint8)))
    return path


@pytest.fixture
def inspection(tmp_path: Path) -> Inspection:
    with GGUFReader(write(tmp_path / "model.gguf")) as reader:
        return inspect_gguf(reader, count_codes)


def test_json(inspection: Inspection, tmp_path: Path) -> None:
    value = inspection.to_json()
    text = json.dumps(value, allow_nan=False)
    assert json.loads(text) == value
    assert list(value) == [
        "path",
        "format",
        "version",
        "size",
        "alignment",
        "data_offset",
        "metadata",
        "kinds",
        "tensors",
        "totals",
        "problems",
    ]
    path = tmp_path / "model.gguf"
    assert (value["path"], value["size"], value["format"]) == (str(path), path.stat().st_size, "gguf")
    assert value["metadata"]["a.nothing"] == {"type": "f32", "value": "nan"}
    assert value["metadata"]["a.flag"] == {"type": "bool", "value": False}
    assert value["metadata"]["a.numbers"] == {"type": "array<f32>", "length": 2, "first": [0.25, -1.0]}
    words = value["metadata"]["a.words"]
    assert (words["length"], words["first"]) == (20, [f"word {i}" for i in range(HEAD)])
    assert value["tensors"][1] == {
        "name": "blk.0.attn_q.weight",
        "kind": "attn_q",
        "type": "I2_S",
        "type_id": 36,
        "shape": [4, 256],
        "parameters": 1024,
        "offset": value["data_offset"] + 4096,
        "bytes": 288,
        "bits_per_weight": 2.25,
        "ternary": {
            "minus": 128,
            "zero": 640,
            "plus": 256,
            "code_3": 0,
            "sparsity": 0.625,
            "scale": 1.5,
            "scales_per": "tensor",
        },
    }
    assert value["tensors"][0]["ternary"] is None
    assert value["kinds"][1] == {
        "kind": "attn_q",
        "count": 2,
        "type": "I2_S",
        "shape": [4, 256],
        "parameters": 2048,
        "bytes": 576,
        "bits_per_weight": 2.25,
        "sparsity": [0.625, 1.0],
        "scale": [0.25, 1.5],
        "scales_per": ["tensor"],
    }
    assert [kind["kind"] for kind in value["kinds"]] == ["token_embd", "attn_q", "attn_norm", "attn_k.bias"]
    assert value["totals"]["ternary"] == {
        "tensors": 2,
        "parameters": 2048,
        "bytes": 576,
        "bits_per_weight": 2.25,
        "sparsity": 0.8125,
    }
    assert value["totals"]["all"]["tensors"] == 6
    assert value["totals"]["all"]["parameters"] == 2048 + 2048 + 512 + 4
    assert value["problems"] == []


def test_damage_is_reported(tmp_path: Path) -> None:
    with GGUFReader(write(tmp_path / "model.gguf", damage=True)) as reader:
        found = inspect_gguf(reader, count_codes)
    assert found.problems == [
        "`blk.0.attn_q.weight` is damaged: it holds 8 times the code 3",
        "`blk.1.attn_q.weight` is damaged: it has the scale inf",
    ]
    assert found.kinds[1].scale == (1.5, 1.5)
    value = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert value["tensors"][1]["ternary"]["code_3"] == 8
    assert value["tensors"][3]["ternary"]["scale"] == "inf"


def test_kinds_of_different_shape_or_type_are_apart(tmp_path: Path) -> None:
    shapes = [((4, 256), GGMLType.F32), ((4, 512), GGMLType.F32), ((4, 256), GGMLType.F16)]
    specs = [TensorSpec(f"blk.{i}.x.weight", shape, kind) for i, (shape, kind) in enumerate(shapes)]
    with GGUFWriter(tmp_path / "x.gguf", [], specs) as writer:
        for (shape, kind), spec in zip(shapes, specs, strict=True):
            writer.write(spec.name, bytes(int(np.prod(shape)) * (4 if kind == GGMLType.F32 else 2)))
    with GGUFReader(tmp_path / "x.gguf") as reader:
        found = inspect_gguf(reader, count_codes)
    assert [len(kind.tensors) for kind in found.kinds] == [1, 1, 1]
    assert found.totals["ternary"] == {
        "tensors": 0,
        "parameters": 0,
        "bytes": 0,
        "bits_per_weight": 0.0,
        "sparsity": None,
    }


def test_unsupported_types_are_a_problem(tmp_path: Path) -> None:
    specs = [TensorSpec("a", (2, 32), GGMLType.Q4_1), TensorSpec("b", (2, 32), GGMLType.F32)]
    with GGUFWriter(tmp_path / "x.gguf", [], specs) as writer:
        writer.write("a", bytes(40))
        writer.write("b", bytes(256))
    with GGUFReader(tmp_path / "x.gguf") as reader:
        assert inspect_gguf(reader, count_codes).problems == ["1 of 2 tensors have the unsupported type Q4_1"]


def test_progress_reaches_the_total(tmp_path: Path) -> None:
    seen: list[float] = []
    with GGUFReader(write(tmp_path / "model.gguf")) as reader:
        inspect_gguf(reader, count_codes, seen.append)
        assert seen == [288, 576]
        assert ternary_bytes(reader) == 576
