"""How byte-level BPE vocabularies cut text before merging: GGUF names against tokenizer.json descriptions.

A GGUF file names the rule (`tokenizer.ggml.pre`), a tokenizer.json spells it out as a `pre_tokenizer` object.
This table is the one place where both meet: the tokenizer builds from it, the converter recognises with it.

The regular expressions are those of the models' own tokenizer.json files. llama.cpp rewrites `(?i:'s|…)` into
ASCII classes, which differs on letters such as U+017F; the originals are kept here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bitnet_cli.errors import UnsupportedError, printable

Json = dict[str, Any]

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_LLAMA3_REGEX = (
    _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2_REGEX = (
    _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# What ByteLevel(use_regex: true) splits with.
_GPT2_REGEX = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


@dataclass(frozen=True)
class PreTokenizer:
    """One rule. The first name is the one to write into a file; the others are read as the same rule."""

    names: tuple[str, ...]
    description: Json
    """The `pre_tokenizer` object of tokenizer.json."""
    normalizer: str | None = None
    """Unicode normalisation that the models of this rule apply first: `NFC` or none."""
    ignore_merges: bool = False
    """A piece that is a vocabulary entry becomes that token without merging."""
    add_bos: bool = False
    """Whether text begins with BOS when the file does not say."""


def _split(regex: str) -> Json:
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}


def _byte_level(*, use_regex: bool) -> Json:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}


def _sequence(*steps: Json) -> Json:
    return {"type": "Sequence", "pretokenizers": list(steps)}


_PLAIN_BYTES = _byte_level(use_regex=False)
_GPT2_BYTES = _byte_level(use_regex=True)

PRE_TOKENIZERS: tuple[PreTokenizer, ...] = (
    PreTokenizer(
        ("llama-bpe", "llama3", "llama-v3", "falcon3", "falcon_e", "falcon-h1"),
        _sequence(_split(_LLAMA3_REGEX), _PLAIN_BYTES),
        ignore_merges=True,
        add_bos=True,
    ),
    PreTokenizer(("dbrx", "smaug-bpe"), _sequence(_split(_LLAMA3_REGEX), _PLAIN_BYTES)),
    PreTokenizer(
        ("qwen2", "deepseek-r1-qwen"), _sequence(_split(_QWEN2_REGEX), _PLAIN_BYTES), normalizer="NFC"
    ),
    PreTokenizer(("gpt-2", "gpt2", "phi-2"), _GPT2_BYTES),
    PreTokenizer(("olmo", "gpt-neox", "mpt"), _GPT2_BYTES, normalizer="NFC"),
    PreTokenizer(
        ("smollm", "starcoder", "refact"),
        _sequence({"type": "Digits", "individual_digits": True}, _GPT2_BYTES),
    ),
    # llama.cpp's rule for the name `default`, which no tokenizer.json spells this way.
    PreTokenizer(
        ("default",),
        _sequence(
            _split(r"[\p{P}\$\+<=>\^~\|]+"),
            _split(_GPT2_REGEX),
            _split(r"\p{N}+"),
            _split(r"[0-9][0-9][0-9]"),
            _PLAIN_BYTES,
        ),
    ),
)

_BY_NAME = {name: rule for rule in PRE_TOKENIZERS for name in rule.names}


def pre_tokenizer_rule(name: str) -> PreTokenizer:
    """The rule that a GGUF file names.

    Raises:
        UnsupportedError: the name is not in the table.
    """
    rule = _BY_NAME.get(name)
    if rule is None:
        raise UnsupportedError(
            f"the pre-tokenizer `{printable(name)}` is not known",
            hint=f"use a conversion of the model that names one of: {', '.join(sorted(_BY_NAME))}",
        )
    return rule


def pre_tokenizer_for(name: str) -> Json:
    """The tokenizer.json `pre_tokenizer` object of a GGUF name; UnsupportedError if the name is unknown."""
    return pre_tokenizer_rule(name).description


def pre_name_for(
    pre_tokenizer: object, *, normalizer: object = ..., ignore_merges: bool | None = None
) -> str | None:
    """The GGUF name of a tokenizer.json's splitting rule, or None if no name stands for it.

    Args:
        pre_tokenizer: the `pre_tokenizer` object.
        normalizer: the `normalizer` object (None is "no normalisation"); left out, any will do. A name stands
            for its rule's normalisation too, so a caller that has the whole tokenizer.json should give it.
        ignore_merges: the BPE model's `ignore_merges`; None accepts either.

    Spellings that cut the same pieces are one: nested sequences, the GPT-2 expression written out, and
    matches kept by `Removed` with `invert` (the expressions match every character, so nothing is removed).
    """
    steps = _canonical(pre_tokenizer)
    if steps is None:
        return None
    wanted = _normalizer_name(normalizer)
    for rule in PRE_TOKENIZERS:
        if (
            steps == _canonical(rule.description)
            and (normalizer is ... or wanted == (rule.normalizer or ""))
            and ignore_merges in (None, rule.ignore_merges)
        ):
            return rule.names[0]
    return None


def _normalizer_name(normalizer: object) -> str | None:
    """ "" for no normalisation, `NFC`, or None for anything else."""
    if normalizer is None:
        return ""
    if not isinstance(normalizer, dict):
        return None
    if normalizer.get("type") == "Sequence" and isinstance(parts := normalizer.get("normalizers"), list):
        if not parts:
            return ""
        return _normalizer_name(parts[0]) if len(parts) == 1 else None
    return "NFC" if normalizer.get("type") == "NFC" else None


def _canonical(description: object, depth: int = 0) -> tuple[tuple[str, str], ...] | None:
    """A description as (step, detail) pairs without its spelling, or None if a step is not understood."""
    if not isinstance(description, dict) or depth > 4:
        return None
    kind = description.get("type")
    if kind == "Sequence":
        steps: list[tuple[str, str]] = []
        parts = description.get("pretokenizers")
        for part in parts if isinstance(parts, list) else [None]:
            inner = _canonical(part, depth + 1)
            if inner is None:
                return None
            steps += inner
        return tuple(steps)
    if kind == "ByteLevel":
        if description.get("add_prefix_space") is not False:
            return None
        cut = () if description.get("use_regex") is False else (("split", _GPT2_REGEX),)
        return (*cut, ("bytes", ""))
    if kind == "Digits":
        return (("digits", str(description.get("individual_digits"))),)
    if kind == "Split":
        pattern = description.get("pattern")
        regex = pattern.get("Regex") if isinstance(pattern, dict) else None
        kept = (description.get("behavior"), description.get("invert"))
        if isinstance(regex, str) and kept in (("Isolated", False), ("Removed", True)):
            return (("split", regex),)
    return None
