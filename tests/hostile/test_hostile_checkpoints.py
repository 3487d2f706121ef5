"""Checkpoints that are damaged, contradict themselves or mean harm: one clear error each, and no file.

Every case changes one thing of a sound checkpoint. What the encodings, config.json and the tokenizer files refuse by
themselves is tested beside them; here the whole conversion runs.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_checkpoints import read_safetensors, write_checkpoint, write_safetensors

from bitnet_cli.convert.checkpoint import Checkpoint
from bitnet_cli.convert.metadata import file_metadata
from bitnet_cli.convert.pipeline import convert
from bitnet_cli.convert.plan import plan_conversion
from bitnet_cli.convert.tokenizer_metadata import read_tokenizer
from bitnet_cli.errors import BitnetError, FormatError, RepresentationError, UnsupportedError
from bitnet_cli.formats.gguf_writer import GGUFWriter

Change = Callable[[Path], object]
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
Q = "model.layers.0.self_attn.q_proj.weight"
NORM = "model.layers.0.input_layernorm.weight"
EMBEDDING = "model.embed_tokens.weight"


def write(name: str, content: bytes | str) -> Change:
    raw = content.encode() if isinstance(content, str) else content
    return lambda directory: (directory / name).write_bytes(raw)


def remove(name: str) -> Change:
    return lambda directory: (directory / name).unlink()


def config(**changes: object) -> Change:
    def change(directory: Path) -> None:
        path = directory / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def tensors(change: Callable[[dict[str, Any]], object]) -> Change:
    """Changes the dictionary of tensors; works on the single file."""

    def apply(directory: Path) -> None:
        held = read_safetensors(directory / WEIGHTS)
        change(held)
        write_safetensors(directory / WEIGHTS, held)

    return apply


def value(name: str, number: float) -> Change:
    """Sets the last value of a bf16 tensor."""
    bits = struct.unpack("<I", struct.pack("<f", number))[0] >> 16
    return tensors(lambda held: held[name][1].reshape(-1).__setitem__(-1, bits))


def index(**weight_map: object) -> Change:
    """Adds an index that places all tensors in the single file, with changes (`__` stands for the dot)."""

    def change(directory: Path) -> None:
        names = dict.fromkeys(read_safetensors(directory / WEIGHTS), WEIGHTS)
        changes = {name.replace("__", "."): file for name, file in weight_map.items()}
        (directory / INDEX).write_text(json.dumps({"weight_map": names | changes}))

    return change


def place(file_name: object) -> Change:
    """An index that places one tensor in `file_name`."""
    return index(**{NORM.replace(".", "__"): file_name})


def link(name: str, target: str) -> Change:
    def change(directory: Path) -> None:
        (directory / name).unlink(missing_ok=True)
        (directory / name).symlink_to(target)

    return change


def pipe(name: str) -> Change:
    def change(directory: Path) -> None:
        (directory / name).unlink()
        os.mkfifo(directory / name)

    return change


def directory_called(name: str) -> Change:
    def change(directory: Path) -> None:
        (directory / name).unlink()
        (directory / name).mkdir()

    return change


def outside(directory: Path) -> None:
    """A sound shard outside of the directory, and an index that reaches for it."""
    (directory / WEIGHTS).rename(directory.parent / "outside.safetensors")
    names = read_safetensors(directory.parent / "outside.safetensors")
    (directory / INDEX).write_text(json.dumps({"weight_map": dict.fromkeys(names, "../outside.safetensors")}))


def header(content: bytes, length: int | None = None) -> Change:
    """A safetensors file with this header and no data."""
    return write(WEIGHTS, struct.pack("<Q", len(content) if length is None else length) + content)


def truncated(directory: Path) -> None:
    path = directory / WEIGHTS
    path.write_bytes(path.read_bytes()[:-1])


CASES: dict[str, tuple[Change, type[BitnetError], str]] = {
    # The directory
    "no config": (remove("config.json"), FormatError, "config.json: the file is missing"),
    "config is no JSON": (write("config.json", "hidden_size: 5"), FormatError, "not JSON"),
    "config is no object": (write("config.json", "[1, 2]"), FormatError, "object was expected"),
    "config is no text": (write("config.json", b"{\xff}"), FormatError, "not UTF-8"),
    "config is deep": (write("config.json", "[" * 100_000), FormatError, "deeply"),
    "config with a number of 5000 digits": (
        write("config.json", '{"a": ' + "9" * 5000 + "}"),
        FormatError,
        "not JSON",
    ),
    "config is huge": (
        lambda directory: os.truncate(directory / "config.json", 1 << 40),
        FormatError,
        "at most",
    ),
    "config is empty": (write("config.json", ""), FormatError, "not JSON"),
    "config is a pipe": (pipe("config.json"), FormatError, "not a regular file"),
    "config is a directory": (directory_called("config.json"), BitnetError, "config.json"),
    "config links to itself": (link("config.json", "config.json"), BitnetError, "config.json"),
    "config links nowhere": (link("config.json", "nothing"), BitnetError, "config.json"),
    "no weights": (remove(WEIGHTS), FormatError, "neither"),
    "weights are a pickle": (
        lambda directory: (directory / WEIGHTS).rename(directory / "pytorch_model.bin"),
        UnsupportedError,
        "pickle",
    ),
    "weights are a pipe": (pipe(WEIGHTS), BitnetError, "not a regular file"),
    "weights link to themselves": (link(WEIGHTS, WEIGHTS), FormatError, "missing"),
    # The index
    "index without map": (write(INDEX, "{}"), FormatError, "weight_map"),
    "index with an empty map": (write(INDEX, '{"weight_map": {}}'), FormatError, "weight_map"),
    "index with a list": (write(INDEX, '{"weight_map": ["a"]}'), FormatError, "weight_map"),
    "index is no JSON": (write(INDEX, "{'weight_map'"), FormatError, "not JSON"),
    "shard missing": (place("model-00002-of-00002.safetensors"), FormatError, "the shard is missing"),
    "shard outside": (outside, FormatError, "not the name of a safetensors file in this directory"),
    "shard absolute": (place("/etc/passwd.safetensors"), FormatError, "in this directory"),
    "shard with backslash": (place("..\\x.safetensors"), FormatError, "in this directory"),
    "shard is the parent": (place(".."), FormatError, "in this directory"),
    "shard of another kind": (place("config.json"), FormatError, "in this directory"),
    "shard no string": (place(["a"]), FormatError, "not a string"),
    "shard empty": (place(""), FormatError, "in this directory"),
    "shard with NUL": (place("a\0.safetensors"), FormatError, "missing"),
    "shard with a surrogate": (place("\ud800.safetensors"), FormatError, "missing"),
    "shard with a long name": (place("a" * 10_000 + ".safetensors"), FormatError, "missing"),
    "shard without the tensor": (index(more__weight=WEIGHTS), FormatError, "not in model.safetensors"),
    "shard links to itself": (
        lambda directory: (
            place("x.safetensors")(directory),
            link("x.safetensors", "x.safetensors")(directory),
        ),
        FormatError,
        "missing",
    ),
    # safetensors
    "truncated": (truncated, FormatError, "truncated"),
    "empty file": (write(WEIGHTS, b""), FormatError, "empty"),
    "header longer than the file": (header(b"{}", 1 << 60), FormatError, "header"),
    "header no JSON": (header(b"{]"), FormatError, "JSON"),
    "header without tensors": (header(b"{}"), FormatError, "has no"),
    # Tensors
    "a norm is missing": (tensors(lambda held: held.pop(NORM)), FormatError, "input_layernorm"),
    "a scale is missing": (tensors(lambda held: held.pop(Q + "_scale")), FormatError, "weight_scale"),
    "a norm of another size": (
        tensors(lambda held: held.update({NORM: ("F32", np.ones(256, "<f4"))})),
        FormatError,
        "[384]",
    ),
    "an embedding of another size": (
        tensors(lambda held: held.update({EMBEDDING: ("F32", np.ones((320, 128), "<f4"))})),
        FormatError,
        "[320, 384]",
    ),
    "an embedding of bytes": (
        tensors(lambda held: held.update({EMBEDDING: ("U8", np.ones((320, 384), np.uint8))})),
        UnsupportedError,
        "U8",
    ),
    "a matrix of bytes of another size": (
        tensors(lambda held: held.update({Q: ("U8", np.zeros((384, 384), np.uint8))})),
        FormatError,
        "96 x 384",
    ),
    "a matrix without values": (
        tensors(lambda held: held.update({Q: ("U8", np.zeros((0, 384), np.uint8))})),
        FormatError,
        "0 x 384",
    ),
    "a bias": (
        tensors(lambda held: held.update({Q.replace("weight", "bias"): ("F32", np.ones(384, "<f4"))})),
        UnsupportedError,
        "bias",
    ),
    "code 3 in a matrix": (
        tensors(lambda held: held[Q][1].__setitem__((95, 383), 255)),
        FormatError,
        "column 383 holds the code 3",
    ),
    "NaN in a norm": (value(NORM, float("nan")), FormatError, "not a finite number"),
    "infinity in the embedding": (value(EMBEDDING, float("inf")), FormatError, "row 319"),
    "an embedding beyond f16": (value(EMBEDDING, 1e30), RepresentationError, "f16 cannot hold"),
    "NaN as scale": (value(Q + "_scale", float("nan")), FormatError, "positive and finite"),
    "zero as scale": (value(Q + "_scale", 0.0), FormatError, "positive and finite"),
    # Sizes that the tensors do not have
    "more layers than tensors": (config(num_hidden_layers=1000), FormatError, "layers.2."),
    "fewer layers than tensors": (config(num_hidden_layers=1), UnsupportedError, "layers.1."),
    "a vocabulary of four million": (config(vocab_size=1 << 22), FormatError, "4194304"),
    "a width of 16 million": (config(hidden_size=1 << 24, head_dim=None), FormatError, "num_attention_heads"),
    "heads of another size": (config(num_attention_heads=3, head_dim=128), FormatError, "96 x 384"),
    "an unknown class": (config(architectures=["MambaForCausalLM"]), UnsupportedError, "MambaForCausalLM"),
    "another activation": (config(hidden_act="gelu"), UnsupportedError, "gelu"),
    # The tokenizer
    "no tokenizer": (remove("tokenizer.json"), UnsupportedError, "tokenizer.json"),
    "tokenizer is no JSON": (write("tokenizer.json", "x"), FormatError, "not JSON"),
    "tokenizer of numbers": (
        write("tokenizer.json", '{"model": {"type": "BPE", "vocab": 3}}'),
        FormatError,
        "vocab",
    ),
    "tokenizer is huge": (
        lambda directory: os.truncate(directory / "tokenizer.json", 1 << 40),
        FormatError,
        "at most",
    ),
    "tokenizer.model of garbage": (
        lambda directory: (
            remove("tokenizer.json")(directory),
            write("tokenizer.model", b"\xff" * 64)(directory),
        ),
        FormatError,
        "SentencePiece",
    ),
    "readme is a pipe": (
        lambda directory: os.mkfifo(directory / "README.md"),
        FormatError,
        "not a regular file",
    ),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sound")
    write_checkpoint(directory, "bitnet-b1.58", "packed_auto")
    return directory


@pytest.fixture
def directory(sound: Path, tmp_path: Path) -> Path:
    return shutil.copytree(sound, tmp_path / "model")


@pytest.mark.parametrize("case", CASES)
def test_refused(directory: Path, case: str) -> None:
    change, kind, words = CASES[case]
    change(directory)
    out = directory / "out" / "model.gguf"
    out.parent.mkdir()
    with pytest.raises(BitnetError) as caught:
        convert(directory, out)
    error = caught.value
    assert type(error) is kind and words in error.message, error.message
    assert "\n" not in error.message and not error.message.endswith(".")
    assert not list(out.parent.iterdir())


def test_the_sound_checkpoint_converts(directory: Path) -> None:
    index()(directory)
    assert convert(directory, directory / "model.gguf").encodings == {"packed": 14}


def test_flipped_bytes_never_escape_as_another_exception(directory: Path) -> None:
    """Header bytes of the weights changed one at a time, seeded."""
    path = directory / WEIGHTS
    sound = path.read_bytes()
    length = 8 + int.from_bytes(sound[:8], "little")
    for i in range(150):
        at = (i * 7919) % length
        damaged = bytearray(sound)
        damaged[at] ^= 1 << (i % 8)
        path.write_bytes(damaged)
        try:
            convert(directory, directory / "model.gguf", overwrite=True)
        except BitnetError:
            continue


@pytest.mark.parametrize(
    "file_name", ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"]
)
def test_values_of_another_kind_never_escape_as_another_exception(directory: Path, file_name: str) -> None:
    """Every value of the JSON files, at every depth of the small ones, replaced by values of other kinds."""
    path, out = directory / file_name, directory / "model.gguf"
    sound = json.loads(path.read_text())
    for place_of in places(sound, 4):
        for odd in (None, -1, 1.5, "x", [[{}]], {"type": []}):
            content = json.loads(json.dumps(sound))
            parent = content
            for key in place_of[:-1]:
                parent = parent[key]
            parent[place_of[-1]] = odd
            path.write_text(json.dumps(content))
            try:
                with Checkpoint(directory) as checkpoint:
                    plan = plan_conversion(checkpoint, ternarize=False)
                    tokenizer = read_tokenizer(checkpoint, plan.config.vocab_size)
                    GGUFWriter(out, file_metadata(checkpoint, plan.config, tokenizer), []).abort()
            except BitnetError:
                continue


def places(content: object, depth: int) -> list[tuple[Any, ...]]:
    """Paths to the values of a JSON object, only the first ones of long lists and inner objects."""
    if depth == 0 or not isinstance(content, dict | list):
        return []
    keys = list(content if isinstance(content, dict) else range(len(content)))
    keys = keys if len(keys) <= 12 else keys[:1] if depth < 4 else keys
    found: list[tuple[Any, ...]] = [(key,) for key in keys]
    for key in keys:
        found += [(key, *rest) for rest in places(content[key], depth - 1)]
    return found
