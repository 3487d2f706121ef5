"""The table between GGUF pre-tokenizer names and tokenizer.json descriptions."""

from __future__ import annotations

import json

import pytest

from bitnet_cli.errors import UnsupportedError
from bitnet_cli.formats.pretokenizers import (
    PRE_TOKENIZERS,
    pre_name_for,
    pre_tokenizer_for,
    pre_tokenizer_rule,
)

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
GPT2_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
NFC = {"type": "NFC"}


def split(regex: str, behavior: str = "Isolated", invert: bool = False) -> dict:
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": behavior, "invert": invert}


def sequence(*steps: object) -> dict:
    return {"type": "Sequence", "pretokenizers": list(steps)}


@pytest.mark.parametrize(
    ("description", "options", "name"),
    [
        (sequence(split(LLAMA3), BYTES), {}, "llama-bpe"),
        (sequence(split(LLAMA3), BYTES), {"normalizer": None, "ignore_merges": True}, "llama-bpe"),
        (sequence(split(LLAMA3), BYTES), {"normalizer": None, "ignore_merges": False}, "dbrx"),
        (sequence(split(LLAMA3), BYTES), {"normalizer": {"type": "NFKC"}}, None),
        (sequence(split(LLAMA3, "Removed", True), BYTES), {}, "llama-bpe"),
        (sequence(split(LLAMA3, "Removed", False), BYTES), {}, None),
        (sequence(split(LLAMA3)), {}, None),
        (sequence(sequence(split(LLAMA3)), sequence(BYTES)), {}, "llama-bpe"),
        (sequence(split(LLAMA3.replace("{1,3}", "")), BYTES), {}, "qwen2"),
        (sequence(split(LLAMA3.replace("{1,3}", "")), BYTES), {"normalizer": NFC}, "qwen2"),
        (sequence(split(LLAMA3.replace("{1,3}", "")), BYTES), {"normalizer": None}, None),
        (GPT2_BYTES, {}, "gpt-2"),
        (GPT2_BYTES, {"normalizer": None}, "gpt-2"),
        (GPT2_BYTES, {"normalizer": NFC}, "olmo"),
        (GPT2_BYTES, {"normalizer": {"type": "Sequence", "normalizers": [NFC]}}, "olmo"),
        (GPT2_BYTES, {"normalizer": {"type": "Sequence", "normalizers": []}}, "gpt-2"),
        (GPT2_BYTES, {"normalizer": {"type": "Sequence", "normalizers": [NFC, NFC]}}, None),
        (GPT2_BYTES, {"normalizer": "NFC"}, None),
        ({"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}, {}, "gpt-2"),
        (sequence(split(GPT2), BYTES), {}, "gpt-2"),
        ({**GPT2_BYTES, "add_prefix_space": True}, {}, None),
        (sequence({"type": "Digits", "individual_digits": True}, GPT2_BYTES), {}, "smollm"),
        (sequence({"type": "Digits", "individual_digits": False}, GPT2_BYTES), {}, None),
        ({"type": "Metaspace", "replacement": "▁"}, {}, None),
        ({"type": "Split", "pattern": {"String": " "}, "behavior": "Isolated", "invert": False}, {}, None),
        ({"type": "Split", "pattern": "x"}, {}, None),
        ({"type": "Sequence", "pretokenizers": "x"}, {}, None),
        (None, {}, None),
        ([], {}, None),
        (sequence(sequence(sequence(sequence(sequence(sequence(GPT2_BYTES)))))), {}, None),
    ],
)
def test_recognises_descriptions(description: object, options: dict, name: str | None) -> None:
    assert pre_name_for(description, **options) == name


@pytest.mark.parametrize("rule", PRE_TOKENIZERS, ids=lambda rule: rule.names[0])
def test_every_rule_is_found_again_by_what_it_stands_for(rule) -> None:
    normalizer = {"type": rule.normalizer} if rule.normalizer else None
    name = pre_name_for(rule.description, normalizer=normalizer, ignore_merges=rule.ignore_merges)
    assert name == rule.names[0]
    assert json.loads(json.dumps(rule.description)) == rule.description
    for alias in rule.names:
        assert pre_tokenizer_rule(alias) is rule
        assert pre_tokenizer_for(alias) == rule.description


def test_names_are_given_once() -> None:
    names = [name for rule in PRE_TOKENIZERS for name in rule.names]
    assert len(names) == len(set(names))


def test_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnsupportedError, match="`kimi-k2\\\\x1b` is not known") as caught:
        pre_tokenizer_for("kimi-k2\x1b")
    assert "llama-bpe" in str(caught.value.hint)
