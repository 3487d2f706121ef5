"""Fuzzes the safetensors reader: `python tests/fuzz/fuzz_safetensors.py --seconds 10 --seed 1`."""

from __future__ import annotations

import json
from pathlib import Path

import mutation

from bitnet_cli.formats.safetensors_reader import SafetensorsFile, to_float32


def file(header: dict[str, object], n_bytes: int) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(range(n_bytes))


def entry(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


SEEDS = [
    file({}, 0),
    file({"__metadata__": {"format": "pt", "ż": "❤"}, "w": entry("BF16", [2, 3], 0, 12)}, 12),
    file(
        {"a": entry("F32", [2], 0, 8), "b": entry("U8", [2, 2, 2], 8, 16), "c": entry("F16", [], 16, 18)}, 18
    ),
    file({"empty": entry("I64", [0, 5], 0, 0), "b": entry("BOOL", [3], 0, 3)}, 3),
]


def read(path: Path) -> None:
    """Opens a file and turns all its tensors into floats where it can."""
    with SafetensorsFile(path) as opened:
        for name, info in opened.tensors.items():
            data = opened.data(name)
            assert data.nbytes == info.n_bytes
            if info.dtype in ("F32", "F16", "BF16"):
                assert to_float32(info.dtype, data, info.shape).shape == info.shape


if __name__ == "__main__":
    mutation.main(read, SEEDS, least=100)
