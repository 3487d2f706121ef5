"""Vocabularies from every kind of tokenizer file, checked by encoding text with them as the original does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_checkpoints import write_checkpoint
from tiny_tokenizers import (
    SPECIALS,
    byte_level_json,
    sentencepiece_json,
    sentencepiece_model,
    sentencepiece_pieces,
)

from bitnet_cli.convert.checkpoint import Checkpoint
from bitnet_cli.convert.vocabulary import Vocabulary, read_vocabulary
from bitnet_cli.errors import BitnetError, FormatError, RepresentationError, UnsupportedError

TEXTS = ("Hello the world", "  and you 1234 to", "Grüße, 日本\n\nUser: in", "the<|eot_id|>")


def read(tmp_path: Path, vocab_size: int, **files: object) -> Vocabulary:
    """The vocabulary of a checkpoint with these tokenizer files only (`__` in a name stands for the dot)."""
    write_checkpoint(tmp_path, "llama", "masters", num_hidden_layers=1)
    for old in {*tmp_path.glob("tokenizer*"), *tmp_path.glob("*_config.json")}:
        old.unlink()
    for name, content in files.items():
        path = tmp_path / name.replace("__", ".")
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    checkpoint = Checkpoint(tmp_path)
    return read_vocabulary(checkpoint, checkpoint.json("tokenizer.json"), vocab_size)


@pytest.mark.parametrize("as_strings", [True, False])
def test_byte_level(tmp_path: Path, as_strings: bool) -> None:
    content = byte_level_json(merges_as_strings=as_strings)
    vocabulary = read(tmp_path, 300, tokenizer__json=content)
    ids = content["model"]["vocab"] | {t["content"]: t["id"] for t in content["added_tokens"]}
    assert (vocabulary.kind, vocabulary.pre) == ("gpt2", "llama-bpe")
    assert {token: i for i, token in enumerate(vocabulary.tokens) if i < len(ids)} == ids
    assert vocabulary.tokens[len(ids) :] == [f"[PAD{i}]" for i in range(len(ids), 300)]
    assert vocabulary.types == [1] * (len(ids) - 3) + [3] * 3 + [5] * (300 - len(ids))
    assert vocabulary.merges == byte_level_json()["model"]["merges"] and not any(vocabulary.scores)
    assert vocabulary.id_of(SPECIALS[2]) == len(ids) - 1 and vocabulary.id_of("none") is None


def test_ignore_merges_chooses_another_rule(tmp_path: Path) -> None:
    content = byte_level_json()
    content["model"]["ignore_merges"] = False
    assert read(tmp_path, 300, tokenizer__json=content).pre == "dbrx"


def test_added_tokens_that_are_not_special(tmp_path: Path) -> None:
    content = byte_level_json()
    content["added_tokens"][2]["special"] = False
    vocabulary = read(tmp_path, 294, tokenizer__json=content)
    assert vocabulary.types[-3:] == [3, 3, 4]


def test_sentencepiece(tmp_path: Path) -> None:
    pieces = sentencepiece_pieces()
    vocabulary = read(
        tmp_path,
        len(pieces) + 4,
        tokenizer__model=sentencepiece_model(),
        added_tokens__json={"<pad>": len(pieces), "</line>": len(pieces) + 1, "<s>": 1},
        tokenizer_config__json={"pad_token": "<pad>"},
    )
    assert (vocabulary.kind, vocabulary.pre, vocabulary.add_space_prefix) == ("llama", "default", True)
    assert vocabulary.tokens[: len(pieces)] == [text for text, _, _ in pieces]
    assert vocabulary.scores[: len(pieces)] == [score for _, score, _ in pieces]
    assert vocabulary.types[: len(pieces)] == [kind for _, _, kind in pieces]
    assert vocabulary.tokens[-4:-2] == ["<pad>", "</line>"] and vocabulary.types[-4:] == [3, 4, 5, 5]
    assert vocabulary.scores[-4:] == [-1000.0] * 4 and not vocabulary.merges


def test_special_tokens_of_the_decoder_table(tmp_path: Path) -> None:
    n = len(sentencepiece_pieces())
    decoder = {str(n): {"content": "<x>", "special": True}, str(n + 1): {"content": "<y>", "special": False}}
    vocabulary = read(
        tmp_path,
        n + 2,
        tokenizer__model=sentencepiece_model(),
        added_tokens__json={"<x>": n, "<y>": n + 1},
        tokenizer_config__json={"added_tokens_decoder": decoder},
    )
    assert vocabulary.types[-2:] == [3, 4]


def test_the_model_file_gives_the_scores_when_both_are_there(tmp_path: Path) -> None:
    both = read(
        tmp_path / "a", 330, tokenizer__model=sentencepiece_model(), tokenizer__json=sentencepiece_json()
    )
    alone = read(tmp_path / "b", 330, tokenizer__model=sentencepiece_model())
    assert both == alone


def test_byte_fallback_json_encodes_as_the_original(tmp_path: Path) -> None:
    """The scores made from merge ranks lead to the ids of the tokenizers library."""
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = read(tmp_path, 330, tokenizer__json=sentencepiece_json())
    assert (vocabulary.kind, vocabulary.add_space_prefix) == ("llama", True)
    assert vocabulary.types[:4] == [2, 3, 3, 6] and vocabulary.types[-1] == 5
    original = tokenizers.Tokenizer.from_str(json.dumps(sentencepiece_json()))
    ours = encoder(vocabulary, bos=1, unknown=0)
    for text in TEXTS:
        assert ours(text) == original.encode(text, add_special_tokens=False).ids


def test_merges_with_spaces_do_not_matter_where_none_are_written(tmp_path: Path) -> None:
    content = sentencepiece_json()
    ids = content["model"]["vocab"]
    ids |= {" ": len(ids), "  ": len(ids) + 1}
    content["model"]["merges"].append([" ", " "])
    assert read(tmp_path, 330, tokenizer__json=content).scores[ids["  "]] == 1 - len(
        content["model"]["merges"]
    )


def test_byte_level_encodes_as_the_original(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = read(tmp_path, 300, tokenizer__json=byte_level_json(n_specials=2))
    original = tokenizers.Tokenizer.from_str(json.dumps(byte_level_json(n_specials=2)))
    ours = encoder(vocabulary, bos=291)
    for text in TEXTS:
        assert ours(text) == original.encode(text, add_special_tokens=False).ids


def encoder(vocabulary: Vocabulary, **ids: int) -> Callable[[str], list[int]]:
    """Encodes with the package's tokenizer, built from metadata as a file would hold it."""
    import numpy as np

    from bitnet_cli.text.tokenizer import Tokenizer

    meta: dict[str, object] = {
        "model": vocabulary.kind,
        "pre": vocabulary.pre,
        "tokens": vocabulary.tokens,
        "token_type": np.array(vocabulary.types, np.int32),
        "scores": np.array(vocabulary.scores, np.float32),
        "merges": vocabulary.merges,
        **{f"{name}_token_id": i for name, i in ids.items()},
    }
    if vocabulary.add_space_prefix is not None:
        meta["add_space_prefix"] = vocabulary.add_space_prefix
    tokenizer = Tokenizer.from_metadata({f"tokenizer.ggml.{key}": value for key, value in meta.items()})
    return lambda text: tokenizer.encode(text, add_bos=False)


def edited(change: Callable[[dict[str, Any]], object], make: Callable[[], dict] = byte_level_json) -> dict:
    content = make()
    change(content)
    return content


REFUSED: dict[str, tuple[dict[str, object], type[BitnetError], str]] = {
    "no files": ({}, UnsupportedError, "neither tokenizer.json nor tokenizer.model"),
    "unigram": ({"tokenizer__json": {"model": {"type": "Unigram"}}}, UnsupportedError, "Unigram"),
    "no model": ({"tokenizer__json": {}}, UnsupportedError, "None"),
    "model no object": ({"tokenizer__json": {"model": 5}}, UnsupportedError, "None"),
    "vocab a list": (
        {"tokenizer__json": edited(lambda c: c["model"].update(vocab=[]))},
        FormatError,
        "vocab",
    ),
    "id too large": (
        {"tokenizer__json": edited(lambda c: c["model"]["vocab"].update(zz=330))},
        FormatError,
        "has the id 330",
    ),
    "id negative": (
        {"tokenizer__json": edited(lambda c: c["model"]["vocab"].update(zz=-1))},
        FormatError,
        "has the id -1",
    ),
    "id no integer": (
        {"tokenizer__json": edited(lambda c: c["model"]["vocab"].update(zz=True))},
        FormatError,
        "integer id",
    ),
    "two tokens, one id": (
        {"tokenizer__json": edited(lambda c: c["model"]["vocab"].update(zz=5))},
        FormatError,
        "share the id 5",
    ),
    "one text, two ids": (
        {"tokenizer__json": edited(lambda c: c["added_tokens"][0].update(content="a"))},
        FormatError,
        "the text `a`",
    ),
    "a token called like padding": (
        {"tokenizer__json": edited(lambda c: c["added_tokens"][0].update(content="[PAD299]"))},
        FormatError,
        "[PAD299]",
    ),
    "added tokens no list": (
        {"tokenizer__json": edited(lambda c: c.update(added_tokens={"a": 1}))},
        FormatError,
        "not a list",
    ),
    "added token no object": (
        {"tokenizer__json": edited(lambda c: c.update(added_tokens=[7]))},
        FormatError,
        "not an object",
    ),
    "no merges": ({"tokenizer__json": edited(lambda c: c["model"].pop("merges"))}, FormatError, "merges"),
    "merge of three": (
        {"tokenizer__json": edited(lambda c: c["model"]["merges"].append("a b c"))},
        FormatError,
        "not a pair",
    ),
    "merge with a space": (
        {"tokenizer__json": edited(lambda c: c["model"]["merges"].append(["a b", "c"]))},
        FormatError,
        "space",
    ),
    "merge of unknown tokens": (
        {"tokenizer__json": edited(lambda c: c["model"]["merges"].append("q q"))},
        FormatError,
        "not in the vocabulary",
    ),
    "unknown pre-tokenizer": (
        {"tokenizer__json": edited(lambda c: c.update(pre_tokenizer={"type": "Whitespace"}))},
        UnsupportedError,
        "pre_tokenizer",
    ),
    "prefixed subwords": (
        {"tokenizer__json": edited(lambda c: c["model"].update(continuing_subword_prefix="##"))},
        UnsupportedError,
        "continuing_subword_prefix",
    ),
    "tiktoken file": ({"tokenizer__model": b"IQ== 0\n"}, FormatError, "not a SentencePiece model"),
    "more pieces than rows": (
        {"tokenizer__model": sentencepiece_model() + b"\x0a\x04\x0a\x02zz" * 9},
        FormatError,
        "share the id",
    ),
    "added id in use": (
        {"tokenizer__model": sentencepiece_model(), "added_tokens__json": {"<pad>": 5}},
        FormatError,
        "share the id 5",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path: Path, case: str) -> None:
    files, kind, words = REFUSED[case]
    with pytest.raises(BitnetError) as caught:
        read(tmp_path, 330, **files)
    assert type(caught.value) is kind and words in caught.value.message, caught.value.message


def test_a_lone_surrogate_cannot_be_written(tmp_path: Path) -> None:
    from bitnet_cli.formats.gguf_writer import GGUFWriter

    content = edited(lambda c: c["added_tokens"][0].update(content="\ud800"))
    vocabulary = read(tmp_path, 300, tokenizer__json=content)
    pairs = [("tokenizer.ggml.tokens", "array<string>", vocabulary.tokens)]
    with pytest.raises(RepresentationError, match="UTF-8"):
        GGUFWriter(tmp_path / "x.gguf", pairs, [])
