"""Tiny `tokenizer.json` files in the manner of every family: how each cuts text, normalises it, which tokens it adds and
what it puts around a text. The golden-file script encodes with them by the tokenizers library, the tests by way of a
converted file.

Standard library only. The vocabularies are made so that another way of cutting shows: they join digits, letters with marks,
spaces, line ends and punctuation wherever the cutting lets them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tiny_tokenizers import LLAMA3_REGEX, byte_alphabet, sentencepiece_json

Json = dict[str, Any]
QWEN2_REGEX = LLAMA3_REGEX.replace(r"\p{N}{1,3}", r"\p{N}")
_WORDS = (
    " the", " quick", " Hello", "Hello", " world", "ing", "1234567", " 12", " 3", "don", "'t", "'ll", "'S", " 's", "...",
    "!!", " !!", "\n\n\n", "\r\n", " \n", "    ", "\t\t", "é", " e\u0301", "ſt", "日本", " Größe", "Ж", "x" * 8, "<|",
    "|>", "a\n", ".\n",
)  # fmt: skip


_LLAMA_2 = {
    "tokenizer_class": "LlamaTokenizer",
    "add_bos_token": True,
    "bos_token": "<s>",
    "eos_token": "</s>",
}


@dataclass(frozen=True)
class Kind:
    """One way of tokenising.

    Attributes:
        tokenizer: the content of tokenizer.json.
        config: the content of tokenizer_config.json.
        pre: what the file must name it.
        vocab_size: rows of the model; less than the tokenizer has, or more.
    """

    tokenizer: Json
    config: Json
    pre: str
    vocab_size: int


def kinds() -> dict[str, Kind]:
    """By the models that are so."""
    return {
        "Llama 3": _byte_level("llama-bpe", _split(LLAMA3_REGEX), ignore_merges=True, before="<|begin|>"),
        "Falcon 3": _byte_level("dbrx", _split(LLAMA3_REGEX)),
        "Qwen 3": _byte_level(
            "qwen2", _split(QWEN2_REGEX), normalizer={"type": "NFC"}, more=("<think>", "</think>")
        ),
        "Qwen 3 embedding": _byte_level(
            "qwen2", _split(QWEN2_REGEX), normalizer={"type": "NFC"}, behind="<|end|>"
        ),
        "TriLM": _byte_level("olmo", _gpt2(), normalizer={"type": "NFC"}, more=("  ", "   ", "      ")),
        "GPT-2": _byte_level("gpt-2", _gpt2()),
        "1bitLLM": Kind(sentencepiece_json(), _LLAMA_2, "default", 352),
        "Gemma 3": _gemma(),
        "Gemma 3 embedding": _gemma(behind="<eos>"),
    }


def _split(regex: str) -> Json:
    cut = {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
    plain = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {"type": "Sequence", "pretokenizers": [cut, plain]}


def _gpt2() -> Json:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def _merges(words: list[str]) -> list[tuple[str, str]]:
    """Merges that build every word from the left."""
    merges: dict[tuple[str, str], None] = {}
    for word in words:
        for i in range(1, len(word)):
            merges[(word[:i], word[i])] = None
    return list(merges)


def _added(token_id: int, content: str, *, special: bool, normalized: bool = False) -> Json:
    return {"id": token_id, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": normalized, "special": special}  # fmt: skip


def _around(before: tuple[str, int] | None, behind: tuple[str, int] | None) -> Json | None:
    """The post-processor that puts tokens around a text."""
    if before is None and behind is None:
        return None
    text = [{"Sequence": {"id": "A", "type_id": 0}}]
    first, last = ([{"SpecialToken": {"id": t[0], "type_id": 0}}] if t else [] for t in (before, behind))
    tokens = {t[0]: {"id": t[0], "ids": [t[1]], "tokens": [t[0]]} for t in (before, behind) if t}
    single = [*first, *text, *last]
    return {"type": "TemplateProcessing", "single": single, "pair": single, "special_tokens": tokens}


def _byte_level(
    pre: str,
    pre_tokenizer: Json,
    *,
    normalizer: Json | None = None,
    ignore_merges: bool = False,
    before: str | None = None,
    behind: str | None = None,
    more: tuple[str, ...] = (),
) -> Kind:
    """A byte-level BPE; `more` are tokens that are added and are no control tokens."""
    alphabet = byte_alphabet()
    merges = _merges(["".join(alphabet[b] for b in word.encode()) for word in _WORDS])
    vocab = {token: i for i, token in enumerate(alphabet)}
    for left, right in merges:
        vocab.setdefault(left + right, len(vocab))
    # A whole word that no merges lead to: only `ignore_merges` finds it.
    vocab.setdefault("Ġquickest", len(vocab))
    specials = {name: len(vocab) + i for i, name in enumerate(("<|begin|>", "<|end|>", "<|turn|>"))}
    added = [_added(i, name, special=True) for name, i in specials.items()]
    first = len(vocab) + len(specials)
    added += [
        _added(first + i, text, special=False, normalized=text.isspace()) for i, text in enumerate(more)
    ]
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "", "end_of_word_suffix": "",
             "fuse_unk": False, "byte_fallback": False, "ignore_merges": ignore_merges, "vocab": vocab,
             "merges": [f"{a} {b}" for a, b in merges]}  # fmt: skip
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": _around(*((name, specials[name]) if name else None for name in (before, behind))),
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "model": model,
    }
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|begin|>", "eos_token": "<|turn|>"}
    return Kind(content, config, pre, first + len(more) + 5)


def _gemma(behind: str | None = None) -> Kind:
    """A SentencePiece vocabulary that was made a tokenizer.json: spaces become ▁ without one in front; runs of spaces and of
    line ends are added tokens; the model has no row for the last one."""
    content = sentencepiece_json()
    old = content["model"]["vocab"]
    names = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    runs = ["\n\n", "\n\n\n", "▁▁", "▁▁▁", "▁▁▁▁"]
    pieces = [token for token in old if token not in ("<unk>", "<s>", "</s>")]
    tokens = [*names, *runs, "\n", *pieces]
    vocab = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    merges = [[run[:i], run[i:]] for run in runs for i in range(1, len(run))] + content["model"]["merges"]
    content["model"] |= {"vocab": vocab, "merges": merges}
    content["normalizer"] = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    content["pre_tokenizer"] = {
        "type": "Split",
        "pattern": {"String": " "},
        "behavior": "MergedWithPrevious",
        "invert": False,
    }
    content["added_tokens"] = [_added(i, name, special=True) for i, name in enumerate(names)]
    content["added_tokens"] += [_added(vocab[run], run, special=False) for run in runs]
    content["added_tokens"].append(_added(len(vocab), "<image>", special=True))
    content["post_processor"] = _around(("<bos>", 2), (behind, vocab[behind]) if behind else None)
    content["decoder"]["decoders"] = content["decoder"]["decoders"][:-1]
    config = {
        "tokenizer_class": "GemmaTokenizer",
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "pad_token": "<pad>",
    }
    return Kind(content, config, "default", len(vocab))
