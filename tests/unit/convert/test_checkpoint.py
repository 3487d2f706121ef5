"""Checkpoint directories: one file or shards, what belongs to them and what does not, names from the hub cache."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_checkpoints import rounded, to_dtype, weights, write_checkpoint, write_safetensors

from bitnet_cli.convert import checkpoint as module
from bitnet_cli.convert.checkpoint import Checkpoint, matrix_shape, model_name, row_blocks

NORM = "model.norm.weight"


@pytest.mark.parametrize("shards", [1, 2, 5])
@pytest.mark.parametrize("dtype", ["bf16", "f16", "f32"])
def test_all_tensors_whatever_the_number_of_files(tmp_path: Path, shards: int, dtype: str) -> None:
    truth = write_checkpoint(tmp_path, "llama", "masters", shards=shards, dtype=dtype)
    with Checkpoint(tmp_path) as checkpoint:
        assert set(checkpoint.tensors) == set(truth.floats) | set(truth.trits)
        for name, values in truth.floats.items():
            rows, cols = matrix_shape(checkpoint.tensors[name])
            read = [checkpoint.float_rows(name, a, b) for a, b in row_blocks(rows, cols)]
            assert np.array_equal(np.concatenate(read).reshape(values.shape), values)
        assert checkpoint.config == truth.config


def test_the_index_decides_and_not_the_directory(tmp_path: Path) -> None:
    """Files that the index does not name, and tensors that it places elsewhere, are not read."""
    write_checkpoint(tmp_path, "llama", "masters", shards=2)
    write_safetensors(tmp_path / "model.safetensors", {NORM: ("F32", np.zeros(256, "<f4"))})
    (tmp_path / "consolidated.safetensors").write_bytes(b"garbage")
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    with Checkpoint(tmp_path) as checkpoint:
        assert set(checkpoint.tensors) == set(index["weight_map"])
        expected = rounded(weights("llama")[NORM], "bf16")
        assert np.array_equal(checkpoint.float_rows(NORM, 0, 1)[0], expected)


def test_files_may_be_links_as_in_the_hub_cache(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--org--some-model" / "snapshots" / "0123abcd"
    write_checkpoint(tmp_path / "blobs", "llama", "masters")
    snapshot.mkdir(parents=True)
    for file in (tmp_path / "blobs").iterdir():
        (snapshot / file.name).symlink_to(file)
    with Checkpoint(snapshot) as checkpoint:
        assert NORM in checkpoint.tensors
    assert model_name(snapshot) == "some-model"


def test_name_of_an_ordinary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my model").mkdir()
    monkeypatch.chdir(tmp_path / "my model")
    assert model_name(Path(".")) == model_name(tmp_path / "my model") == "my model"
    assert model_name(Path("/")) == "model"


def test_pages_are_given_back_while_a_tensor_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoint(tmp_path, "llama", "masters")
    monkeypatch.setattr(module, "RESIDENT_BYTES", 1000)
    with Checkpoint(tmp_path) as checkpoint:
        name = "lm_head.weight"
        first = checkpoint.raw_rows(name, 0, 10)
        expected = to_dtype(weights("llama")[name], "bf16")
        for start in range(0, 320, 10):
            assert np.array_equal(checkpoint.raw_rows(name, start, start + 10), expected[start : start + 10])
        assert np.array_equal(first, expected[:10])


def test_data_at_odd_addresses(tmp_path: Path) -> None:
    """The header may have any length, so the data may begin anywhere."""
    write_checkpoint(tmp_path, "llama", "masters")
    path = tmp_path / "model.safetensors"
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little") + 1
    path.write_bytes(length.to_bytes(8, "little") + raw[8 : 7 + length] + b" " + raw[7 + length :])
    with Checkpoint(tmp_path) as checkpoint:
        assert checkpoint.tensors[NORM].offset % 2 == 1
        expected = rounded(weights("llama")[NORM], "bf16")
        assert np.array_equal(checkpoint.float_rows(NORM, 0, 1)[0], expected)


@pytest.mark.parametrize(
    ("rows", "cols", "multiple"),
    [
        (0, 5, 1),
        (1, 1, 1),
        (7, 3, 1),
        (1000, 1 << 12, 1),
        (3, 1 << 20, 1),
        (640, 1 << 11, 64),
        (96, 1 << 20, 32),
    ],
)
def test_row_blocks_cover_everything_in_whole_multiples(rows: int, cols: int, multiple: int) -> None:
    blocks = list(row_blocks(rows, cols, multiple))
    assert [row for start, stop in blocks for row in range(start, stop)] == list(range(rows))
    assert all((stop - start) % multiple == 0 for start, stop in blocks[:-1])
    assert all((stop - start) * cols <= max(module.BLOCK_VALUES, cols * multiple) for start, stop in blocks)


def test_absent_files_are_none(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, "llama", "masters")
    with Checkpoint(tmp_path) as checkpoint:
        assert checkpoint.json("nothing.json") is None
        assert checkpoint.text("nothing.txt") is None
        assert checkpoint.bytes("nothing.bin") is None
