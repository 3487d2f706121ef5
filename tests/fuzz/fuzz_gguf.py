"""Fuzzes the GGUF reader and the codecs: `python tests/fuzz/fuzz_gguf.py --seconds 10 --seed 1`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import mutation
import numpy as np

from bitnet_cli.formats.codecs import (
    CODECS,
    TERNARY_TYPES,
    BlockCodec,
    ReadOnlyCodec,
    codec,
    ternary_codec_for,
)
from bitnet_cli.formats.codecs.tiled_codec import TiledCodec
from bitnet_cli.formats.codecs.tiling import tiling_metadata
from bitnet_cli.formats.file_mapping import located
from bitnet_cli.formats.gguf_reader import GGUFReader
from bitnet_cli.formats.gguf_writer import GGUFWriter, TensorSpec

TILED_SHAPE = (32, 256)
METADATA: list[tuple[str, str, object]] = [
    *(
        tiling_metadata(each.type_id, {TILED_SHAPE: each.tiling_for(TILED_SHAPE)})
        for each in CODECS
        if isinstance(each, TiledCodec)
    ),
    ("general.architecture", "string", "bitnet-b1.58"),
    ("general.alignment", "u32", 32),
    ("a.f32", "f32", 0.5),
    ("a.u64", "u64", 7),
    ("a.bool", "bool", True),
    ("tokens", "array<string>", ["a", "", "Ġb", "日本"]),
    ("scores", "array<f32>", [0.0, -1.0]),
    ("flags", "array<bool>", [True, False]),
]


def seeds() -> list[bytes]:
    """Small valid files: everything in one, one tensor of each type, and only metadata."""
    rng = np.random.default_rng(1)
    files = [written(METADATA, {}), written([], {})]
    encoded: dict[str, tuple[int, tuple[int, int], np.ndarray]] = {}
    for each in CODECS:
        shape = TILED_SHAPE if isinstance(each, TiledCodec) else (4, 256)
        values = rng.standard_normal(shape).astype(np.float32)
        if isinstance(each, BlockCodec):
            read_only = isinstance(each, ReadOnlyCodec)
            data = rng.integers(0, 60, each.n_bytes(shape), np.uint8) if read_only else each.encode(values)
            encoded[each.name] = (each.type_id, shape, data)
        else:
            trits = np.sign(values.round()).astype(np.int8)
            encoded[each.name] = (each.type_id, shape, each.encode(trits, 1.25))
        files.append(written(METADATA[:3], {each.name: encoded[each.name]}))
    files.append(written(METADATA, encoded))
    return files


def written(
    metadata: list[tuple[str, str, object]], tensors: dict[str, tuple[int, tuple[int, int], np.ndarray]]
) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seed.gguf"
        specs = [TensorSpec(name, shape, kind) for name, (kind, shape, _) in tensors.items()]
        with GGUFWriter(path, metadata, specs) as writer:
            for name, (_, _, data) in tensors.items():
                writer.write(name, data)
        return path.read_bytes()


def read(path: Path) -> None:
    """Opens a file, decodes all metadata and all tensors."""
    with GGUFReader(path) as reader:
        for key in reader.metadata:
            reader.metadata.array_length(key)
            reader.value_type(key)
            reader.metadata[key]
        for name, info in reader.tensors.items():
            data = reader.data(name)
            assert data.nbytes == info.n_bytes
            found = ternary_codec_for(reader, info) if info.type in TERNARY_TYPES else codec(info.type)
            with located(path, name):
                decoded = found.decode(data, info.shape)
            values = decoded[0] if isinstance(decoded, tuple) else decoded
            assert values.shape == info.shape


if __name__ == "__main__":
    mutation.main(read, seeds(), least=100)
