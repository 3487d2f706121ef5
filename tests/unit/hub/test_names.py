"""What people type, and what it stands for."""

from __future__ import annotations

import json

import pytest

from bitnet_cli.bench.shapes import SHAPES
from bitnet_cli.errors import HubError, UsageError
from bitnet_cli.hub.catalogue import CATALOGUE
from bitnet_cli.hub.estimate import sizes_of
from bitnet_cli.hub.names import parse
from bitnet_cli.hub.selection import RemoteFile, best_gguf, checkpoint_files, is_allowed, select

NAMES = {
    "2b": ("microsoft/bitnet-b1.58-2B-4T", None, None),
    "Falcon3-7B": ("tiiuae/Falcon3-7B-Instruct-1.58bit", None, None),
    "2b@v1": ("microsoft/bitnet-b1.58-2B-4T", "v1", None),
    "org/name": ("org/name", None, None),
    "hf://org/name": ("org/name", None, None),
    "org/name@refs/pr/1": ("org/name", "refs/pr/1", None),
    "org/name/model.gguf": ("org/name", None, "model.gguf"),
    "org/name@main/sub/model.gguf": ("org/name", "main", "sub/model.gguf"),
}


@pytest.mark.parametrize("text", NAMES)
def test_names(text: str) -> None:
    name = parse(text)
    assert (name.repo, name.revision, name.file) == NAMES[text]
    assert parse(name.text) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2",
        "no-such",
        "../x",
        "org/",
        "/org/name",
        "org/na me",
        "org/..",
        "a--b/c",
        "org/x@",
        "x\ny",
        "-x/y",
    ],
)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(UsageError):
        parse(text)


def test_a_near_miss_is_pointed_out() -> None:
    with pytest.raises(UsageError) as caught:
        parse("falcon3-7")
    assert "`falcon3-7b`" in (caught.value.hint or "")


def test_two_revisions_contradict_each_other() -> None:
    assert parse("2b").at("v1").revision == "v1" and parse("2b@v1").at(None).revision == "v1"
    with pytest.raises(UsageError, match="contradict"):
        parse("2b@v1").at("v2")


SAME_SHAPE = {
    "2b": "bitnet-2b-4t",
    "large": "bitnet-large",
    "3b": "bitnet-3b",
    "llama3-8b": "llama3-8b",
    **{f"falcon3-{size}": f"falcon3-{size}" for size in ("1b", "3b", "7b", "10b")},
}


@pytest.mark.parametrize("name", SAME_SHAPE)
def test_sizes_are_those_of_the_shapes_that_are_measured(name: str) -> None:
    sizes, shape = CATALOGUE[name].sizes, SHAPES[SAME_SHAPE[name]]
    assert sizes is not None
    for field in ("dim", "ffn_dim", "n_layers", "n_heads", "n_kv_heads", "head_dim", "vocab_size", "tied"):
        assert getattr(sizes, field) == getattr(shape, field)


def test_the_size_of_a_known_file() -> None:
    """ggml-model-i2_s.gguf of 2B-4T has 1,187,801,280 bytes; the vocabulary is not counted."""
    assert CATALOGUE["2b"].download_bytes == pytest.approx(1_187_801_280, rel=0.02)


def test_entries_are_complete() -> None:
    for entry in CATALOGUE.values():
        assert (entry.gguf_repo is None) == (entry.gguf_file is None)
        assert parse(entry.name).entry is entry and parse(entry.repo).repo == entry.repo
        assert entry.licence and entry.about and len(entry.about) <= 24


_CONFIG = {
    "hidden_size": 64,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "vocab_size": 9,
}


@pytest.mark.parametrize(
    ("config", "is_known"),
    [
        (json.dumps(_CONFIG).encode(), True),
        (json.dumps(_CONFIG | {"num_attention_heads": 0}).encode(), False),
        (json.dumps(_CONFIG | {"vocab_size": "9"}).encode(), False),
        (b'{"hidden_size": 1e99}', False),
        (b"[]", False),
        (b"\xff", False),
        (b"[" * 100_000, False),
    ],
    ids=lambda value: str(value)[:20],
)
def test_sizes_from_a_config(config: bytes, is_known: bool) -> None:
    assert (sizes_of(config) is not None) == is_known


ALLOWED = """
    a.safetensors b.GGUF c.json tokenizer.model merges.txt chat_template.jinja README.md LICENSE LICENSE.txt NOTICE
    licence-2
"""
FORBIDDEN = """
    pytorch_model.bin x.pt x.pth x.py x.pkl x.ckpt x.h5 x.msgpack x.onnx x.so x.zip x.json.bin LICENSE.py
    x .gitattributes
"""


@pytest.mark.parametrize("name", [*ALLOWED.split(), *(f"sub/{name}" for name in ALLOWED.split())])
def test_downloaded(name: str) -> None:
    assert is_allowed(name)


@pytest.mark.parametrize("name", FORBIDDEN.split())
def test_never_downloaded(name: str) -> None:
    assert not is_allowed(name)
    with pytest.raises(UsageError, match="can hold programs"):
        select([_file(name)], [name])
    with pytest.raises(HubError, match="no file of the repository"):
        select([_file(name)])


def _file(path: str) -> RemoteFile:
    return RemoteFile(path, 1, "0" * 40)


FILES = [
    _file(p) for p in ("a.gguf", "b.gguf", "config.json", "model.safetensors", "sub/x.safetensors", "x.bin")
]
SELECTIONS: dict[str, tuple[dict[str, list[str]], list[str]]] = {
    "all": ({}, ["a.gguf", "b.gguf", "config.json", "model.safetensors", "sub/x.safetensors"]),
    "named": ({"names": ["config.json", "a.gguf"]}, ["config.json", "a.gguf"]),
    "a folder": ({"names": ["sub/"]}, ["sub/x.safetensors"]),
    "included": ({"include": ["*.gguf", "config*"]}, ["a.gguf", "b.gguf", "config.json"]),
    "excluded": ({"exclude": ["*.gguf", "sub/*"]}, ["config.json", "model.safetensors"]),
    "both": ({"include": ["*.gguf"], "exclude": ["b*"]}, ["a.gguf"]),
}


@pytest.mark.parametrize("name", SELECTIONS)
def test_selections(name: str) -> None:
    arguments, expected = SELECTIONS[name]
    assert [file.path for file in select(FILES, **arguments)] == expected


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(HubError, match=r"has no file `c\.gguf`") as caught:
        select(FILES, ["c.gguf"])
    assert "`a.gguf`" in (caught.value.hint or "")


def test_what_a_conversion_needs() -> None:
    assert [file.path for file in checkpoint_files(FILES)] == ["config.json", "model.safetensors"]
    assert checkpoint_files(FILES[:3]) == []


@pytest.mark.parametrize(
    ("paths", "recommended", "best"),
    [
        (["x.json"], None, None),
        (["only.gguf"], None, "only.gguf"),
        (["m-F16.gguf", "m-I2_S.gguf", "m-TQ1_0.gguf"], None, "m-I2_S.gguf"),
        (["m-F16.gguf", "m-Q2_0.gguf"], None, "m-Q2_0.gguf"),
        (["m-PQ2_0.gguf", "m-F16.gguf"], None, "m-F16.gguf"),
        (["a-i2_s.gguf", "b.gguf"], "b.gguf", "b.gguf"),
        (["a-i2_s.gguf", "b.gguf"], "gone.gguf", "a-i2_s.gguf"),
    ],
)
def test_the_best_gguf(paths: list[str], recommended: str | None, best: str | None) -> None:
    assert best_gguf(paths, recommended) == best


@pytest.mark.parametrize("paths", [["a-i2_s.gguf", "b-i2_s.gguf"], ["a.gguf", "b.gguf"]])
def test_no_gguf_is_best(paths: list[str]) -> None:
    with pytest.raises(UsageError, match="2 GGUF files"):
        best_gguf(paths)
