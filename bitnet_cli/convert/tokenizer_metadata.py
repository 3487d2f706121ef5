"""The `tokenizer.*` keys of a GGUF file from the tokenizer files of a checkpoint.

Which token begins, ends and pads a text is said in up to four files. config.json comes first, then
generation_config.json, tokenizer_config.json and special_tokens_map.json. A chat model often ends its turns
with another token than its texts: the first end token found is `eos`, another one that any of the files
names is `eot`, a third one `eom`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bitnet_cli.convert.checkpoint import Checkpoint, listed
from bitnet_cli.convert.sentencepiece import UNKNOWN
from bitnet_cli.convert.vocabulary import TOKENIZER_JSON, Vocabulary, read_vocabulary
from bitnet_cli.errors import FormatError, printable

Pair = tuple[str, str, object]
"""Key, value type, value: as GGUFWriter takes them."""
_END_KEYS = ("eos", "eot", "eom")
_TEMPLATE_LIMIT_BYTES = 1 << 20


@dataclass
class TokenizerMetadata:
    """Keys of the file, and remarks for the user."""

    add_bos: bool
    pairs: list[Pair]
    notes: list[str] = field(default_factory=list)


def read_tokenizer(checkpoint: Checkpoint, vocab_size: int) -> TokenizerMetadata:
    """The tokenizer of a checkpoint; `tokenizer.ggml.add_bos_token` is returned by itself.

    Raises:
        FormatError: the files contradict each other or the model.
        UnsupportedError: there is no tokenizer, or of a kind that is not known.
    """
    tokenizer = checkpoint.json(TOKENIZER_JSON)
    vocabulary = read_vocabulary(checkpoint, tokenizer, vocab_size)
    files = _SpecialTokens(checkpoint, vocabulary)
    notes: list[str] = []
    bos, ends, pad = files.first("bos"), files.all("eos"), files.first("pad")
    eos = ends[0] if ends else None
    if len(ends) > len(_END_KEYS):
        names = ", ".join(f"`{printable(vocabulary.tokens[i], 40)}`" for i in ends[len(_END_KEYS) :])
        notes.append(
            f"a GGUF file can declare {len(_END_KEYS)} end tokens; these others of the checkpoint are not declared: {names}"
        )
    add_bos, add_eos = _added_around(tokenizer, files, bos, eos)
    pairs: list[Pair] = [
        ("tokenizer.ggml.model", "string", vocabulary.kind),
        ("tokenizer.ggml.pre", "string", vocabulary.pre),
        ("tokenizer.ggml.tokens", "array<string>", vocabulary.tokens),
        ("tokenizer.ggml.scores", "array<f32>", np.array(vocabulary.scores, np.float32)),
        ("tokenizer.ggml.token_type", "array<i32>", np.array(vocabulary.types, np.int32)),
    ]
    if vocabulary.kind == "gpt2":
        pairs.append(("tokenizer.ggml.merges", "array<string>", vocabulary.merges))
    else:
        unknown = vocabulary.types.index(UNKNOWN) if UNKNOWN in vocabulary.types else None
        pairs += _id_pair("unknown", unknown)
        pairs.append(("tokenizer.ggml.add_space_prefix", "bool", bool(vocabulary.add_space_prefix)))
    pairs += _id_pair("bos", bos)
    for name, end in zip(_END_KEYS, ends, strict=False):
        pairs += _id_pair(name, end)
    pairs += _id_pair("padding", eos if pad is None else pad)
    if add_eos:
        pairs.append(("tokenizer.ggml.add_eos_token", "bool", True))
    template = _chat_template(checkpoint, files.tokenizer_config)
    if template is not None:
        pairs.append(("tokenizer.chat_template", "string", template))
    return TokenizerMetadata(add_bos, pairs, notes)


def _id_pair(name: str, token_id: int | None) -> list[Pair]:
    return [] if token_id is None else [(f"tokenizer.ggml.{name}_token_id", "u32", token_id)]


class _SpecialTokens:
    """What the files say about special tokens, as ids."""

    def __init__(self, checkpoint: Checkpoint, vocabulary: Vocabulary) -> None:
        self._directory = checkpoint.directory
        self._vocabulary = vocabulary
        self.tokenizer_config = checkpoint.json("tokenizer_config.json") or {}
        self._by_id = {
            "config.json": checkpoint.config,
            "generation_config.json": checkpoint.json("generation_config.json") or {},
        }
        self._by_text = {
            "tokenizer_config.json": self.tokenizer_config,
            "special_tokens_map.json": checkpoint.json("special_tokens_map.json") or {},
        }

    def all(self, name: str) -> list[int]:
        """Every id that any file gives for `bos`, `eos` or `pad`, in the order of the files."""
        ids: dict[int, None] = {}
        for file, values in self._by_id.items():
            given = values.get(f"{name}_token_id")
            for value in given if isinstance(given, list) else [given]:
                # -1 is how some configurations say that there is no padding.
                if value is not None and not (name == "pad" and value == -1):
                    ids[self._checked(value, self._directory / file, f"{name}_token_id")] = None
        for file, values in self._by_text.items():
            given = values.get(f"{name}_token")
            text = given.get("content") if isinstance(given, dict) else given
            if isinstance(text, str):
                token_id = self._vocabulary.id_of(text)
                if token_id is None:
                    raise FormatError(
                        f"the token `{printable(text, 40)}` is not in the vocabulary",
                        path=self._directory / file,
                        tensor=f"{name}_token",
                    )
                ids[token_id] = None
        return list(ids)

    def first(self, name: str) -> int | None:
        ids = self.all(name)
        return ids[0] if ids else None

    def _checked(self, value: Any, path: Path, key: str) -> int:
        if type(value) is not int or not 0 <= value < len(self._vocabulary.tokens):
            raise FormatError(
                f"a token id below {len(self._vocabulary.tokens)} was expected, found "
                f"{printable(repr(value), 40)}",
                path=path,
                tensor=key,
            )
        return value


def _added_around(
    tokenizer: dict[str, Any] | None, files: _SpecialTokens, bos: int | None, eos: int | None
) -> tuple[bool, bool]:
    """Whether the tokenizer puts BOS before and EOS behind a text.

    The post-processor of tokenizer.json does it. The classes of Llama's SentencePiece tokenizers rebuild
    theirs from the flags in tokenizer_config.json, so there, or without a tokenizer.json, the flags decide.
    """
    flags = [files.tokenizer_config.get(f"add_{name}_token") for name in ("bos", "eos")]
    class_name = files.tokenizer_config.get("tokenizer_class")
    flags_decide = tokenizer is None or (isinstance(class_name, str) and class_name.startswith("Llama"))
    before, behind = _template_ids(tokenizer.get("post_processor") if tokenizer is not None else None)
    if flags_decide and isinstance(flags[0], bool):
        add_bos = flags[0]
    elif tokenizer is None:
        add_bos = True  # SentencePiece tokenizers of the Llama family do, unless told otherwise.
    else:
        add_bos = bos in before
    add_eos = flags[1] if flags_decide and isinstance(flags[1], bool) else eos in behind
    return add_bos and bos is not None, add_eos and eos is not None


def _template_ids(processor: object) -> tuple[set[int], set[int]]:
    """Ids that a post-processor puts before and behind a single text."""
    if not isinstance(processor, dict):
        return set(), set()
    if processor.get("type") == "Sequence":
        before: set[int] = set()
        behind: set[int] = set()
        for step in listed(processor.get("processors")):
            if isinstance(step, dict) and step.get("type") != "Sequence":
                more_before, more_behind = _template_ids(step)
                before, behind = before | more_before, behind | more_behind
        return before, behind
    if processor.get("type") != "TemplateProcessing":
        return set(), set()
    sides: tuple[set[int], set[int]] = (set(), set())
    tokens, side = processor.get("special_tokens"), 0
    for item in listed(processor.get("single")):
        if isinstance(item, dict) and "Sequence" in item:
            side = 1
        elif (
            isinstance(item, dict) and isinstance(item.get("SpecialToken"), dict) and isinstance(tokens, dict)
        ):
            entry = tokens.get(str(item["SpecialToken"].get("id")))
            ids = listed(entry.get("ids")) if isinstance(entry, dict) else []
            sides[side].update(i for i in ids if isinstance(i, int))
    return sides


def _chat_template(checkpoint: Checkpoint, tokenizer_config: dict[str, Any]) -> str | None:
    """The chat template: chat_template.jinja, else tokenizer_config.json, which may hold several by name."""
    text = checkpoint.text("chat_template.jinja", _TEMPLATE_LIMIT_BYTES)
    if text is not None:
        return text
    template = tokenizer_config.get("chat_template")
    if isinstance(template, list):
        named = [entry for entry in template if isinstance(entry, dict) and entry.get("name") == "default"]
        template = named[0].get("template") if named else None
    if template is None or isinstance(template, str):
        return template
    raise FormatError(
        "a string, or a list of named templates, was expected",
        path=checkpoint.directory / "tokenizer_config.json",
        tensor="chat_template",
    )
