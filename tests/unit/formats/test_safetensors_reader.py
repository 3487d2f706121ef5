"""The safetensors reader against files of the reference implementation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from bitnet_cli.errors import BitnetError, FormatError, UnsupportedError
from bitnet_cli.formats.safetensors_reader import SafetensorsFile, to_float32


def test_a_file_of_the_reference_implementation(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    arrays = {
        "matrix": rng.standard_normal((3, 5)).astype(np.float32),
        "halves": rng.standard_normal((4, 2, 2)).astype(np.float16),
        "packed": rng.integers(0, 255, (7, 3), np.uint8),
        "scalar": np.array(2.5, np.float32),
        "long": np.arange(3, dtype=np.int64),
        "flags": np.array([True, False]),
        "nothing": np.zeros((0, 4), np.float32),
    }
    path = tmp_path / "model.safetensors"
    save_file(arrays, path, metadata={"format": "pt", "żółw": "❤"})
    with SafetensorsFile(str(path)) as file:
        assert file.metadata == {"format": "pt", "żółw": "❤"}
        assert file.size == path.stat().st_size
        assert set(file.tensors) == set(arrays)
        for name, array in arrays.items():
            info = file.tensors[name]
            assert info.shape == array.shape
            assert info.n_bytes == array.nbytes
            assert file.data(name).tobytes() == array.tobytes()
            file.advise_done(name)
            assert file.data(name).tobytes() == array.tobytes()
        assert [file.tensors[n].dtype for n in ("matrix", "halves", "packed", "long", "flags")] == [
            "F32",
            "F16",
            "U8",
            "I64",
            "BOOL",
        ]


def write(path: Path, header: object, data: bytes) -> Path:
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def test_order_and_padding_are_free(tmp_path: Path) -> None:
    header = {
        "late": {"dtype": "U8", "shape": [2], "data_offsets": [3, 5]},
        "early": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
    }
    text = json.dumps(header).encode() + b"     "
    file = SafetensorsFile(write(tmp_path / "x.safetensors", text, b"abcde"))
    assert list(file.tensors) == ["late", "early"]
    assert file.data("early").tobytes() == b"abc"
    assert file.data("late").tobytes() == b"de"
    assert file.metadata == {}


def test_no_tensors_at_all(tmp_path: Path) -> None:
    assert SafetensorsFile(write(tmp_path / "x.safetensors", {}, b"")).tensors == {}


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BitnetError, match="does not exist"):
        SafetensorsFile(tmp_path / "none.safetensors")


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_floats_become_float32_exactly(dtype: str) -> None:
    values = np.array([[1.5, -0.25], [1024.0, 0.0]], np.float32)
    as_written = {
        "F32": values.tobytes(),
        "F16": values.astype(np.float16).tobytes(),
        "BF16": (values.view(np.uint32) >> 16).astype(np.uint16).tobytes(),
    }
    floats = to_float32(dtype, np.frombuffer(as_written[dtype], np.uint8), (2, 2))
    assert floats.dtype == np.float32
    assert np.array_equal(floats, values)
    assert to_float32(dtype, np.zeros(0, np.uint8), (0, 3)).shape == (0, 3)
    assert (
        to_float32(dtype, np.frombuffer(as_written[dtype], np.uint8)[: len(as_written[dtype]) // 4], ()).shape
        == ()
    )


def test_other_types_are_no_floats() -> None:
    with pytest.raises(UnsupportedError, match="`I64`"):
        to_float32("I64", np.zeros(8, np.uint8), (1,))
    with pytest.raises(FormatError, match="16 bytes"):
        to_float32("F32", np.zeros(8, np.uint8), (2, 2))
