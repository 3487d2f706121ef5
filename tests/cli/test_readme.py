"""The README's commands, as they stand there, in a folder where its names are those of tiny models.

A path wins over a name of the catalogue, so a file called `2b` is what `-m 2b` means here.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_checkpoints import write_checkpoint
from tiny_gguf import tiny_model

README = Path(__file__).resolve().parents[2] / "README.md"
NOT_HERE = {  # What they need, or why they are too much for a test
    "bitnet download 2b --dry-run": "the network",
    "bitnet bench --shape bitnet-2b-4t --ops": "a gigabyte and a minute",
    "bitnet bench --kernels": "half a minute; tests/unit/bench has it",
    "bitnet bench -m bitnet-2b.gguf --against 'llama-bench -m other.gguf'": "another program",
}


def commands() -> list[str]:
    """Every command line that begins with `bitnet` in a block of shell commands, without its comment."""
    blocks = re.findall(r"```sh\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line.removeprefix(".venv/bin/") for block in blocks for line in block.splitlines()]
    return [re.sub(r"\s+#.*", "", line) for line in lines if line.startswith("bitnet ")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models under the names of the README; commands of the README make the others."""
    path = tmp_path_factory.mktemp("readme")
    shape = {"hidden_size": 256, "intermediate_size": 512, "num_attention_heads": 4, "num_key_value_heads": 2}
    changes = {"max_position_embeddings": 2048}
    checkpoint = path / "microsoft" / "bitnet-b1.58-2B-4T"
    write_checkpoint(checkpoint, "bitnet-b1.58", "packed_auto", config_changes=changes, **shape)
    tiny_model("qwen3", pooling=3).write(path / "embedding.gguf")
    (path / "text.txt").write_text("The fox found a red balloon. " * 60)
    return path


def test_all_commands(bitnet: Callable, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In their order, since later ones use what earlier ones made."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(folder / "hf"))
    found = commands()
    assert len(found) >= 14 and set(NOT_HERE) <= set(found)
    assert bitnet("convert", "microsoft/bitnet-b1.58-2B-4T", "-o", "bitnet-2b.gguf").code == 0
    shutil.copy("bitnet-2b.gguf", "2b")
    for line in found:
        if line not in NOT_HERE:
            ran = bitnet(*shlex.split(line)[1:], stdin=b"Hello\n")
            assert ran.code == 0, f"{line}: {ran.err}"
