"""SentencePiece BPE against encodings of the reference library (golden/make_spm_goldens.py)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bitnet_cli.errors import FormatError
from bitnet_cli.text.tokenizer import Tokenizer

GOLDENS = json.loads((Path(__file__).parents[2] / "golden" / "spm_goldens.json").read_text())["models"]


def metadata(model: dict, **extra: object) -> dict[str, object]:
    keys = {
        "model": "llama",
        "tokens": model["tokens"],
        "scores": model["scores"],
        "token_type": model["types"],
        "add_space_prefix": model["add_space_prefix"],
        **extra,
    }
    return {f"tokenizer.ggml.{key}": value for key, value in keys.items() if value is not None}


def changed(model: dict, i: int, token: str, kind: int) -> dict:
    """The model with token i replaced."""
    tokens, types = list(model["tokens"]), list(model["types"])
    tokens[i], types[i] = token, kind
    return {**model, "tokens": tokens, "types": types}


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Tokenizer]:
    return {name: Tokenizer.from_metadata(metadata(model)) for name, model in GOLDENS.items()}


@pytest.mark.parametrize("name", GOLDENS)
def test_goldens(tokenizers: dict[str, Tokenizer], name: str) -> None:
    for case in GOLDENS[name]["cases"]:
        ids = tokenizers[name].encode(case["text"], add_bos=False)
        assert ids == case["ids"], case["text"]
        assert tokenizers[name].decode(ids) == case["decoded"], case["text"]


def test_defaults_of_llama_vocabularies(tokenizers: dict[str, Tokenizer]) -> None:
    made = tokenizers["llama"]
    assert (made.bos_id, made.eos_ids, made.add_bos) == (1, {2}, True)
    assert made.encode("") == [1]
    assert made.encode("a")[0] == 1
    silent = Tokenizer.from_metadata(metadata(GOLDENS["llama"], add_space_prefix=None))
    assert silent.encode("Hello") == made.encode("Hello")


def test_control_tokens_in_text_are_text_unless_asked_for(tokenizers: dict[str, Tokenizer]) -> None:
    made = tokenizers["llama"]
    text = "a</s>b<s><unk>"
    plain = made.encode(text, add_bos=False)
    assert not {0, 1, 2} & set(plain)
    assert made.decode(plain) == text
    parsed = made.encode(text, add_bos=False, parse_special=True)
    assert [i for i in parsed if i < 3] == [2, 1, 0]


def test_control_token_that_could_be_merged_is_not() -> None:
    """Merging `<s` and `>` would give BOS if control tokens took part."""
    model = changed(GOLDENS["no_prefix"], 300, "<s", 1)
    made = Tokenizer.from_metadata(metadata(model))
    assert 300 in made.encode("<s>", add_bos=False)
    assert 1 not in made.encode("<s>", add_bos=False)


def test_word_after_a_special_token_is_given_a_space(tokenizers: dict[str, Tokenizer]) -> None:
    made = tokenizers["llama"]
    hello = made.encode("Hello", add_bos=False)
    assert made.encode_parts(["Hello", 2, "Hello"], add_bos=False) == [*hello, 2, *hello]
    bare = tokenizers["no_prefix"]
    hello = bare.encode("Hello", add_bos=False)
    assert bare.encode_parts(["Hello", 2, "Hello"], add_bos=False) == [*hello, 2, *hello]


def test_user_defined_tokens_are_matched_with_spaces() -> None:
    made = Tokenizer.from_metadata(metadata(changed(GOLDENS["no_prefix"], 400, "<a▁tag>", 4)))
    assert made.encode("<a tag>", add_bos=False) == [400]
    assert made.token_bytes(400) == b"<a tag>"


def test_words_after_kept_ids_are_given_none(tokenizers: dict[str, Tokenizer]) -> None:
    tokenizer = tokenizers["llama"]
    hello, bare = tokenizer.encode("a b", add_bos=False), tokenizer.encode_parts([(5,), "b"], add_bos=False)
    assert tokenizer.encode_parts([tuple(hello), " b"], add_bos=False) == [
        *hello,
        *tokenizer.encode("b", add_bos=False),
    ]
    assert tokenizer.decode(bare[1:]) == "b" and len(bare) == 2
    assert tokenizer.encode_parts([(), "b"], add_bos=False) == tokenizer.encode("b", add_bos=False)


def test_token_bytes(tokenizers: dict[str, Tokenizer]) -> None:
    made = tokenizers["llama"]
    assert [made.token_bytes(i) for i in (1, 2, 3, 3 + 0xE9)] == [b"", b"", b"\x00", b"\xe9"]
    assert made.token_bytes(0).decode() == " ⁇ "
    piece = next(i for i, t in enumerate(GOLDENS["llama"]["tokens"]) if t.startswith("▁t"))
    assert made.token_bytes(piece).startswith(b" t")


def test_long_texts_take_their_time_but_not_more(tokenizers: dict[str, Tokenizer]) -> None:
    text = "a b" * 20000
    assert tokenizers["llama"].decode(tokenizers["llama"].encode(text)) == text


@pytest.mark.parametrize(
    ("model", "extra", "message"),
    [
        (GOLDENS["llama"], {"scores": None}, "missing"),
        (GOLDENS["llama"], {"scores": [0.0]}, "420 entries are expected"),
        (GOLDENS["llama"], {"scores": [float("nan")] * 420}, "has the score nan"),
        (GOLDENS["llama"], {"scores": [0] * 420}, "array of floats"),
        (
            changed(GOLDENS["llama"], 300, GOLDENS["llama"]["tokens"][301], 1),
            {},
            "tokens 300 and 301 are both",
        ),
        (changed(GOLDENS["llama"], 3, "<0x01>", 6), {}, "tokens 3 and 4 are both"),
        (changed(GOLDENS["llama"], 3, "<0x0>", 6), {}, "byte token is not of the form"),
        (changed(GOLDENS["llama"], 3, "<0x+1>", 6), {}, "byte token is not of the form"),
    ],
)
def test_faulty_vocabularies_are_refused(model: dict, extra: dict, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        Tokenizer.from_metadata(metadata(model, **extra))


def test_a_vocabulary_that_cannot_express_everything_is_refused() -> None:
    few = {"tokens": ["a", "?"], "scores": [0.0, 0.0], "types": [1, 2], "add_space_prefix": False}
    made = Tokenizer.from_metadata(metadata(few, add_bos_token=False))
    assert made.encode("xab?") == [1, 0, 1]
    with pytest.raises(FormatError, match="outside the vocabulary"):
        Tokenizer.from_metadata(metadata(few, add_bos_token=False, unknown_token_id=2))
    with pytest.raises(FormatError, match="neither 256 byte tokens nor an unknown token"):
        Tokenizer.from_metadata(metadata({**few, "types": [1, 1]}, add_bos_token=False))
