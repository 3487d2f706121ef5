"""Peak memory of a conversion: bounded by blocks, not by the model or its largest tensor."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_checkpoints import read_safetensors, write_checkpoint, write_safetensors

ROOT = Path(__file__).resolve().parents[3]
# VmHWM belongs to the process image; ru_maxrss would include what the test runner had at the fork.
CONVERT = """
import sys
from pathlib import Path
from bitnet_cli.convert.pipeline import convert
convert(Path(sys.argv[1]), Path(sys.argv[2]), embed_type=sys.argv[3], verify=True)
line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(line.split()[1]) * 1024)
"""
SHAPE = {
    "hidden_size": 1024,
    "intermediate_size": 2048,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "num_hidden_layers": 1,
}
LAYERS = 5


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Masters in float32: an embedding of 131 MB and 165 MB of matrices."""
    directory = tmp_path_factory.mktemp("memory")
    truth = write_checkpoint(directory, "bitnet-b1.58", "masters", dtype="f32", **SHAPE)
    path = directory / "model.safetensors"
    tensors = read_safetensors(path)
    tag, embedding = tensors["model.embed_tokens.weight"]
    tensors["model.embed_tokens.weight"] = (tag, np.tile(embedding, (100, 1)))
    for name, tensor in list(tensors.items()):
        if ".layers.0." in name:
            tensors |= {name.replace(".0.", f".{i}."): tensor for i in range(1, LAYERS)}
    write_safetensors(path, tensors)
    changes = {"vocab_size": 32000, "num_hidden_layers": LAYERS}
    (directory / "config.json").write_text(json.dumps(truth.config | changes))
    return directory


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
@pytest.mark.parametrize("embed_type", ["f16", "q6_k"])
def test_peak_memory(model: Path, tmp_path: Path, embed_type: str) -> None:
    command = [sys.executable, "-c", CONVERT, model, tmp_path / "out.gguf", embed_type]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300)
    peak = int(done.stdout)
    size = (model / "model.safetensors").stat().st_size
    assert size > 295e6
    assert peak < 150e6, f"{peak / 1e6:.0f} MB, the checkpoint has {size / 1e6:.0f} MB"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
def test_peak_memory_from_gguf(model: Path, tmp_path: Path) -> None:
    """A matrix at a time, and of the embedding, the largest tensor, only pieces."""
    first, second = tmp_path / "first.gguf", tmp_path / "second.gguf"
    for source, target, embed_type in ((model, first, "f16"), (first, second, "keep")):
        command = [sys.executable, "-c", CONVERT, source, target, embed_type]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300)
    assert second.read_bytes() == first.read_bytes() and first.stat().st_size > 70e6
    assert int(done.stdout) < 110e6, f"{int(done.stdout) / 1e6:.0f} MB"
