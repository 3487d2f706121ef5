"""Embedding models and stretched rotations whose files contradict each other or mean harm: one clear error each, in no time.

The files of other kinds of checkpoints are in test_hostile_checkpoints.py, single values of config.json beside its reader.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_backbones import BACKBONES, LAST_TOKEN, SENTENCE_TRANSFORMERS, pools, write

from bitnet_cli.convert.checkpoint import Checkpoint
from bitnet_cli.convert.metadata import file_metadata
from bitnet_cli.convert.pipeline import convert
from bitnet_cli.convert.plan import plan_conversion
from bitnet_cli.convert.tokenizer_metadata import read_tokenizer
from bitnet_cli.errors import BitnetError, FormatError, UnsupportedError
from bitnet_cli.formats.gguf_writer import GGUFWriter

GEMMA = next(b for b in BACKBONES if b.arch == "gemma3" and b.norm_in)
QWEN = next(b for b in BACKBONES if b.arch == "qwen3" and b.norm_in)
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
POOLING = "1_Pooling/config.json"


def changed(directory: Path, name: str, change: Callable[[Any], object]) -> None:
    """A JSON file of the directory, changed in place."""
    content = json.loads((directory / name).read_text())
    change(content)
    (directory / name).write_text(json.dumps(content))


@pytest.fixture(params=[GEMMA, QWEN], ids=lambda backbone: backbone.name)
def directory(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = write(tmp_path / "model", request.param)
    pools(path)
    return path


def refused(directory: Path, kind: type[BitnetError], words: str) -> None:
    out = directory.parent / "out.gguf"
    with pytest.raises(BitnetError) as caught:
        convert(directory, out)
    assert type(caught.value) is kind and words in str(caught.value), caught.value
    assert not out.exists()


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"num_hidden_layers": 1024, "layer_types": None}, FormatError, "layers.3."),
        ({"num_hidden_layers": 10**9}, FormatError, "num_hidden_layers"),
        ({"head_dim": 1 << 24}, FormatError, "implies"),
        ({"head_dim": 1 << 40}, FormatError, "head_dim"),
        ({"vocab_size": 1 << 22}, FormatError, "4194304"),
        ({"num_attention_heads": 1 << 24}, FormatError, "implies"),
        ({"num_key_value_heads": 3}, FormatError, "num_key_value_heads"),
        ({"intermediate_size": None}, FormatError, "intermediate_size"),
        ({"head_dim": 62}, FormatError, "implies"),
        ({"rope_theta": None}, FormatError, "rope_theta"),
        ({"rope_theta": 1e300}, FormatError, "rope_theta"),
        ({"rope_parameters": [1]}, FormatError, "rope_parameters"),
        ({"tie_word_embeddings": False}, FormatError, "lm_head"),
        ({"quantization_config": {"quant_method": "bitnet", "use_rms_norm": "x"}}, FormatError, "use_rms_norm"),
        ({"quantization_config": {"quant_method": "bitnet", "use_rms_norm": True, "rms_norm_eps": 1e-3}}, UnsupportedError,
         "epsilon"),
    ],
)  # fmt: skip
def test_sizes_and_keys_that_make_no_sense(
    directory: Path, changes: dict[str, Any], kind: type[BitnetError], words: str
) -> None:
    changed(directory, "config.json", lambda content: content.update(changes))
    refused(directory, kind, words)


@pytest.mark.parametrize(
    "types", [["sliding_attention"] * 10**5, [["full_attention"]] * 3, {"0": 1}, "full_attention"]
)
def test_layer_types_that_are_none(tmp_path: Path, types: object) -> None:
    refused(write(tmp_path / "model", GEMMA, layer_types=types), UnsupportedError, "layer_types")


@pytest.mark.parametrize(
    "scaling",
    [YARN | {"factor": float("nan")}, YARN | {"factor": "4"}, YARN | {"beta_slow": 1e300}, {"rope_type": 5}],
)
def test_rotations_that_are_none(tmp_path: Path, scaling: dict[str, Any]) -> None:
    refused(write(tmp_path / "model", QWEN, rope_scaling=scaling), FormatError, "rope_scaling")


def test_pooling_outside_of_the_checkpoint_is_not_read(directory: Path) -> None:
    """Neither by a path that leads out nor by one that is empty, which would be the root."""
    (directory.parent / "config.json").write_text(json.dumps(LAST_TOKEN))
    for path in ("..", "../", "/", str(directory.parent), "1_Pooling/../..", "\\..", ""):
        pools(directory, [{**SENTENCE_TRANSFORMERS[1], "path": path}])
        with pytest.raises(BitnetError):
            convert(directory, directory.parent / "out.gguf")


@pytest.mark.parametrize("name", ["modules.json", POOLING])
def test_files_of_another_kind(directory: Path, name: str) -> None:
    path = directory / name
    for content in (b"", b"[", b"\xff", b"5", b'"x"', b"[" * 50_000, b"null", b"{}", b"[[]]"):
        path.write_bytes(content)
        with pytest.raises(BitnetError):
            convert(directory, directory.parent / "out.gguf")
    os.truncate(path, 1 << 40)
    refused(directory, FormatError, "at most")
    path.unlink()
    os.mkfifo(path)
    refused(directory, FormatError, "not a regular file")


@pytest.mark.parametrize("name", ["config.json", "modules.json", POOLING, "tokenizer.json"])
def test_values_of_another_kind_never_escape_as_another_exception(directory: Path, name: str) -> None:
    """Every value, at every depth, replaced by values of other kinds."""
    sound = json.loads((directory / name).read_text())
    for place in places(sound, 4):
        for odd in (None, -1, 1.5, "x", True, [[{}]], {"type": []}):
            content = json.loads(json.dumps(sound))
            parent = content
            for key in place[:-1]:
                parent = parent[key]
            parent[place[-1]] = odd
            (directory / name).write_text(json.dumps(content))
            try:
                with Checkpoint(directory) as checkpoint:
                    plan = plan_conversion(checkpoint, ternarize=False)
                    tokenizer = read_tokenizer(checkpoint, plan.config.vocab_size)
                    pairs = file_metadata(checkpoint, plan.config, tokenizer)
                    GGUFWriter(directory.parent / "out.gguf", pairs, []).abort()
            except BitnetError:
                continue


def places(content: object, depth: int) -> list[tuple[Any, ...]]:
    """Paths to the values of a JSON value, only the first of long objects and lists within it."""
    if depth == 0 or not isinstance(content, dict | list):
        return []
    keys = list(content if isinstance(content, dict) else range(len(content)))
    keys = keys[:2] if len(keys) > 12 and depth < 4 else keys
    found: list[tuple[Any, ...]] = [(key,) for key in keys]
    for key in keys:
        found += [(key, *rest) for rest in places(content[key], depth - 1)]
    return found
