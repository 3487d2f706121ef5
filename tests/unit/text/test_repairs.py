"""Repairs of the published 2B-4T files: each fault alone and together, and files that must be left alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pytest

from bitnet_cli.text.chat_template import BITNET_2B4T
from bitnet_cli.text.repairs import repair

N = 128256
WRONG_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}{{ 'Human: ' + message['content'] + "
    "'\\n\\nBITNETAssistant: ' + eos_token }}{% endif %}{% endfor %}"
)


class Lazy(Mapping[str, object]):
    """Metadata that note which big arrays were read."""

    def __init__(self, values: dict[str, object]) -> None:
        self.values_by_key = values
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> object:
        if key in ("tokenizer.ggml.tokens", "tokenizer.ggml.merges") and key in self.values_by_key:
            self.read.add(key)
        return self.values_by_key[key]

    def __contains__(self, key: object) -> bool:
        return key in self.values_by_key

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_by_key)

    def __len__(self) -> int:
        return len(self.values_by_key)


def published(arch: str = "bitnet-b1.58", **changed: object) -> Lazy:
    """The metadata of the published file; a value of None leaves the key out."""
    types = np.ones(N, np.int32)
    types[128000:128010] = 3
    values: dict[str, object] = {
        "general.architecture": arch,
        f"{arch}.vocab_size": N,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": ["x"] * N,
        "tokenizer.ggml.merges": ["x x"],
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.bos_token_id": 128000,
        "tokenizer.ggml.eos_token_id": 128001,
        "tokenizer.ggml.padding_token_id": 128001,
        "tokenizer.chat_template": WRONG_TEMPLATE,
    }
    values.update({key.replace("__", "."): value for key, value in changed.items()})
    return Lazy({key: value for key, value in values.items() if value is not None})


def fixed_types() -> np.ndarray:
    types = np.ones(N, np.int32)
    types[128000:] = 3
    return types


@pytest.mark.parametrize("arch", ["bitnet-b1.58", "bitnet-25"])
def test_published_files_are_repaired(arch: str) -> None:
    meta = published(arch)
    before = dict(meta.values_by_key)
    repaired, notes = repair(meta)
    assert len(notes) == 4 and not any("\n" in note or note.endswith(".") for note in notes)
    assert repaired["tokenizer.ggml.pre"] == "llama-bpe"
    assert repaired["tokenizer.chat_template"] == BITNET_2B4T
    assert repaired["tokenizer.ggml.eot_token_id"] == 128009
    assert repaired["tokenizer.ggml.eos_token_id"] == 128001
    assert np.array_equal(repaired["tokenizer.ggml.token_type"], fixed_types())
    assert meta.read == set()
    assert meta.values_by_key == before and meta["tokenizer.ggml.token_type"][128255] == 1
    assert repaired["tokenizer.ggml.tokens"] is meta.values_by_key["tokenizer.ggml.tokens"]
    assert list(repaired) == [*before, "tokenizer.ggml.pre", "tokenizer.ggml.eot_token_id"]
    assert len(repaired) == len(before) + 2 and "tokenizer.ggml.pre" in repaired and "x" not in repaired
    with pytest.raises(KeyError):
        repaired["x"]


def test_a_right_file_is_left_alone() -> None:
    meta = published(
        tokenizer__ggml__pre="llama-bpe",
        tokenizer__ggml__eot_token_id=128009,
        tokenizer__ggml__token_type=fixed_types(),
        tokenizer__chat_template=BITNET_2B4T,
    )
    repaired, notes = repair(meta)
    assert repaired is meta and notes == []
    assert repair({}) == ({}, [])


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        # Without the size of the vocabulary as a scalar it is counted.
        ({"bitnet-b1__58__vocab_size": None}, "llama-bpe"),
        ({"bitnet-b1__58__vocab_size": None, "tokenizer__ggml__token_type": None}, "llama-bpe"),
        ({"bitnet-b1__58__vocab_size": 32000}, "gpt-2"),
        ({"tokenizer__ggml__pre": "qwen2"}, "qwen2"),
        ({"tokenizer__ggml__model": "llama"}, None),
    ],
)
def test_splitting_rule(changed: dict, expected: str | None) -> None:
    meta = published(**{key.replace("b1__58", "b1.58"): value for key, value in changed.items()})
    repaired, _ = repair(meta)
    assert repaired.get("tokenizer.ggml.pre") == expected


@pytest.mark.parametrize(
    "changed",
    [
        {"general__architecture": "llama"},
        {"tokenizer__ggml__bos_token_id": 1},
        {"tokenizer__ggml__model": "llama"},
    ],
)
def test_other_models_keep_their_tokens(changed: dict) -> None:
    repaired, notes = repair(
        published(tokenizer__chat_template=None, tokenizer__ggml__pre="llama-bpe", **changed)
    )
    assert notes == [] and "tokenizer.ggml.eot_token_id" not in repaired


def test_declared_end_of_turn_is_kept() -> None:
    repaired, _ = repair(published(tokenizer__ggml__eot_token_id=128005))
    assert repaired["tokenizer.ggml.eot_token_id"] == 128005
    repaired, _ = repair(published(tokenizer__ggml__eos_token_id=128009))
    assert "tokenizer.ggml.eot_token_id" not in repaired


@pytest.mark.parametrize(
    "junk", [3, "x", ["x"] * 3, np.ones(3, np.int32), np.ones((N, 1), np.int32), np.zeros(N)]
)
def test_impossible_values_do_not_stop_the_repair(junk: object) -> None:
    for key in ("token_type", "model", "bos_token_id", "eos_token_id", "tokens"):
        repair(published(**{f"tokenizer__ggml__{key}": junk}))
    repair(published(tokenizer__chat_template=junk))
    repair(published(general__architecture=junk))
