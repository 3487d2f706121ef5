"""Tokenizer metadata: what is read, what is assumed, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from bitnet_cli.errors import BitnetError, FormatError, UnsupportedError
from bitnet_cli.text.tokenizer import Tokenizer
from bitnet_cli.text.vocabulary import TokenType, Vocabulary

TOKENS = ["a", "b", "ab", "abb", "<|end|>", "<|x|>"]


def metadata(**extra: object) -> dict[str, object]:
    """A vocabulary of six tokens; a value of None leaves the key out."""
    keys = {
        "model": "gpt2",
        "pre": "gpt-2",
        "tokens": TOKENS,
        "token_type": [1, 1, 1, 1, 3, 4],
        "merges": ["a b", "ab b"],
        "bos_token_id": 4,
        "eos_token_id": 4,
        **extra,
    }
    return {f"tokenizer.ggml.{key}": value for key, value in keys.items() if value is not None}


def test_plain_metadata() -> None:
    v = Vocabulary.from_metadata(metadata(token_type=np.array([1, 1, 1, 1, 3, 4], np.int32)))
    assert v.kind == "gpt2" and v.pre == "gpt-2" and v.tokens == TOKENS
    assert v.types.dtype == np.int8 and v.ids_of(TokenType.CONTROL, TokenType.USER_DEFINED) == [4, 5]
    assert v.bos_id == 4 and v.end_ids == {4} and not v.add_bos and not v.add_space_prefix


@pytest.mark.parametrize(
    ("extra", "end_ids"),
    [
        ({"eos_token_id": 5, "eot_token_id": 3, "eom_token_id": 2}, {2, 3, 4, 5}),
        ({"eos_token_id": None}, {4}),
        ({"eos_token_id": None, "token_type": [1] * 6}, set()),
        ({"eos_token_id": np.uint32(3)}, {3, 4}),
    ],
)
def test_end_tokens_are_declared_or_known_by_name(extra: dict, end_ids: set) -> None:
    assert Vocabulary.from_metadata(metadata(**extra)).end_ids == end_ids


def test_without_types_declared_tokens_are_control() -> None:
    v = Vocabulary.from_metadata(metadata(token_type=None, bos_token_id=5))
    assert v.types.tolist() == [1, 1, 1, 1, 3, 3]


@pytest.mark.parametrize(("add", "at_end"), [(None, None), (False, None), (True, 4)])
def test_eos_at_the_end_of_a_text_to_embed(add: bool | None, at_end: int | None) -> None:
    assert Tokenizer.from_metadata(metadata(add_eos_token=add)).eos_at_end == at_end


def test_eos_at_the_end_must_exist() -> None:
    with pytest.raises(FormatError, match="should end with an EOS token"):
        Vocabulary.from_metadata(metadata(add_eos_token=True, eos_token_id=None))


@pytest.mark.parametrize(("pre", "add_bos"), [("llama-bpe", True), ("gpt-2", False), ("qwen2", False)])
def test_bos_follows_the_family_when_the_file_is_silent(pre: str, add_bos: bool) -> None:
    assert Vocabulary.from_metadata(metadata(pre=pre)).add_bos is add_bos
    assert Vocabulary.from_metadata(metadata(pre=pre, add_bos_token=not add_bos)).add_bos is not add_bos


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"model": None}, "`tokenizer.ggml.model`: the metadata key is missing"),
        ({"model": 3}, "a string is expected, but int was found"),
        ({"pre": None}, "`tokenizer.ggml.pre`: the metadata key is missing"),
        ({"pre": ["gpt-2"]}, "a string is expected"),
        ({"tokens": None}, "missing"),
        ({"tokens": []}, "empty"),
        ({"tokens": "abc"}, "an array of strings is expected, but str"),
        ({"tokens": [*TOKENS[:5], 7]}, "an array of strings is expected"),
        ({"tokens": np.arange(6)}, "an array of strings is expected, but ndarray"),
        ({"tokens": [*TOKENS[:3], "ab", *TOKENS[4:]]}, "tokens 2 and 3 are both `ab`"),
        ({"tokens": [*TOKENS[:5], "<|end|>"]}, "tokens 4 and 5 are both"),
        ({"tokens": [*TOKENS[:5], "x" * 300]}, "special token 5 has 300 characters"),
        ({"token_type": [1, 1, 1]}, "6 entries are expected, one per token, but there are 3"),
        ({"token_type": [1, 1, 1, 1, 3, 7]}, "token 5 has type 7"),
        ({"token_type": [1, 1, 1, 1, 3, -3]}, "token 5 has type -3"),
        ({"token_type": [1.0] * 6}, "an array of integers is expected"),
        ({"token_type": [True] * 6}, "an array of integers is expected"),
        ({"token_type": np.ones((6, 1), np.int32)}, "an array of integers is expected"),
        ({"token_type": 3}, "an array of integers is expected, but int"),
        ({"merges": None}, "missing"),
        ({"merges": [1]}, "an array of strings"),
        ({"merges": ["ab"]}, "merge 0 should be two tokens"),
        ({"merges": ["a b", "a b b"]}, "merge 1 should be two tokens"),
        ({"merges": [" b"]}, "merge 0 should be two tokens"),
        ({"merges": ["a "]}, "merge 0 should be two tokens"),
        ({"merges": ["a b", ""]}, "merge 1 should be two tokens"),
        ({"merges": ["a\n b"]}, "do not fit the vocabulary"),
        ({"merges": ["b a"]}, "merges do not fit the vocabulary: merge 0 makes `ba`, which is no token"),
        ({"merges": ["a zz"]}, "merges do not fit the vocabulary"),
        ({"merges": ["a z\x1b"]}, r"merge 0 makes `az\\x1b`"),
        ({"merges": ["a <|end|>"]}, "do not fit"),
        ({"merges": ["a b", "abb abb"]}, "merge 1 makes `abbabb`"),
        ({"merges": ["b " + "é" * 4]}, "do not fit"),
        ({"bos_token_id": 6}, "token id 6 is outside the vocabulary of 6 tokens"),
        ({"bos_token_id": -1}, "token id -1 is outside"),
        ({"bos_token_id": True}, "an integer is expected, but bool"),
        ({"eos_token_id": "4"}, "an integer is expected, but str"),
        ({"eot_token_id": 1 << 40}, "outside the vocabulary"),
        ({"add_bos_token": 1}, "a boolean is expected, but int"),
        ({"add_bos_token": True, "bos_token_id": None}, "does not say which one"),
        ({"pre": "llama-bpe", "bos_token_id": None}, "does not say which one"),
    ],
)
def test_faulty_metadata_are_refused(extra: dict, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        Tokenizer.from_metadata(metadata(**extra))


@pytest.mark.parametrize("extra", [{"model": "bert"}, {"model": "t5\n"}, {"pre": "kimi-k2"}])
def test_unknown_kinds_are_unsupported(extra: dict) -> None:
    with pytest.raises(UnsupportedError) as caught:
        Tokenizer.from_metadata(metadata(**extra))
    assert caught.value.hint and "\n" not in str(caught.value)


def test_absurd_counts_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, limit in (("MAX_TOKENS", 5), ("MAX_MERGES", 1), ("MAX_SPECIALS", 1)):
        with monkeypatch.context() as m:
            m.setattr(f"bitnet_cli.text.vocabulary.{name}", limit)
            with pytest.raises(FormatError, match="more than the"):
                Tokenizer.from_metadata(metadata())


def test_literal_tokens_may_spell_a_byte_character() -> None:
    """A user-defined `é` is two bytes of text; the normal token `é` stands for the byte 0xE9."""
    made = Tokenizer.from_metadata(
        metadata(tokens=["a", "b", "ab", "abb", "é", "é"], token_type=[1] * 5 + [4])
    )
    assert made.encode("é") == [5]
    assert made.token_bytes(4) == b"\xe9" and made.token_bytes(5) == "é".encode()


def test_no_error_is_anything_else_than_ours() -> None:
    """Every key in turn given every kind of value."""
    values: list[object] = [
        None,
        0,
        -1,
        2.5,
        True,
        "",
        "x",
        [],
        [""],
        [1],
        np.zeros(6),
        np.zeros(6, np.int32),
        {},
    ]
    for key in ("model", "pre", "tokens", "token_type", "merges", "bos_token_id", "eos_token_id", "scores"):
        for value in values:
            for model in ("gpt2", "llama"):
                try:
                    made = Tokenizer.from_metadata(metadata(**{"model": model, key: value}))
                    made.encode("ab")
                except BitnetError:
                    pass
