"""The tokenizers of all families by way of a converted file, against what the tokenizers library encodes with the original
(tests/golden/make_tokenizer_goldens.py)."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from tiny_checkpoints import write_checkpoint
from tokenizer_kinds import Kind, kinds

from bitnet_cli.convert.checkpoint import Checkpoint
from bitnet_cli.convert.tokenizer_metadata import read_tokenizer
from bitnet_cli.text.tokenizer import Tokenizer

GOLDENS = json.loads((Path(__file__).parents[2] / "golden" / "tokenizer_goldens.json").read_text())
KINDS = kinds()
by_kind = pytest.mark.parametrize("name", KINDS)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose tokenizer files are replaced."""
    path = tmp_path_factory.mktemp("kinds")
    write_checkpoint(path, "llama", "masters", num_hidden_layers=1)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(
        json.dumps({k: v for k, v in config.items() if not k.endswith("token_id")})
    )
    (path / "generation_config.json").unlink()
    return path


def metadata(directory: Path, kind: Kind) -> dict[str, object]:
    """The metadata of the file, as a reader has them."""
    (directory / "tokenizer.json").write_text(json.dumps(kind.tokenizer))
    (directory / "tokenizer_config.json").write_text(json.dumps(kind.config))
    with Checkpoint(directory) as checkpoint:
        found = read_tokenizer(checkpoint, kind.vocab_size)
    return {key: value for key, _, value in found.pairs} | {"tokenizer.ggml.add_bos_token": found.add_bos}


@by_kind
def test_ids_are_those_of_the_library(directory: Path, name: str) -> None:
    made = Tokenizer.from_metadata(metadata(directory, KINDS[name]))
    assert len(GOLDENS["texts"]) == len(GOLDENS[name]) > 20
    for text, expected in zip(GOLDENS["texts"], GOLDENS[name], strict=True):
        # By itself it leaves BOS out before a text that begins with it; the library does not.
        ids = made.encode(text, add_bos=made.add_bos, parse_special=True)
        if made.eos_at_end is not None:
            ids.append(made.eos_at_end)
        assert ids == expected, text


@by_kind
def test_texts_come_back(directory: Path, name: str) -> None:
    kind = KINDS[name]
    made = Tokenizer.from_metadata(metadata(directory, kind))
    is_normalized = kind.tokenizer["normalizer"] == {"type": "NFC"}
    for text in GOLDENS["texts"]:
        expected = unicodedata.normalize("NFC", text) if is_normalized else text
        if kind.pre == "default":
            expected = expected.replace("▁", " ")
        assert made.decode(made.encode(text)) == expected


@by_kind
def test_what_the_file_says(directory: Path, name: str) -> None:
    kind, found = KINDS[name], metadata(directory, KINDS[name])
    assert (found["tokenizer.ggml.pre"], len(found["tokenizer.ggml.tokens"])) == (kind.pre, kind.vocab_size)
    assert found["tokenizer.ggml.model"] == ("llama" if kind.pre == "default" else "gpt2")
    template = kind.tokenizer["post_processor"]
    steps = [next(iter(step)) for step in template["single"]] if template else []
    assert found["tokenizer.ggml.add_bos_token"] is (steps[:1] == ["SpecialToken"])
    assert found.get("tokenizer.ggml.add_eos_token", False) is (
        len(steps) > 1 and steps[-1] == "SpecialToken"
    )
    if name.startswith("Gemma"):
        assert found["tokenizer.ggml.add_space_prefix"] is False


def test_the_kinds_differ() -> None:
    """Each cuts some text as no other does, so that a wrong rule cannot pass."""
    assert len({json.dumps(GOLDENS[name]) for name in KINDS}) == len(KINDS)
