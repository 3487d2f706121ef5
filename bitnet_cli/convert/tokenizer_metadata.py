"""The `tokenizer.*` keys of a GGUF file from the tokenizer files of a checkpoint.

Which token begins, ends and pads a text is said in up to four files. config.json comes first, then
generation_config.json, tokenizer_config.json and special_tokens_map.json. A chat model often ends its turns
with another token than its texts: the first end token found is `eos`, another one that any of the files
names is `eot`, a third one `eom`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
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
    before, behind = _TextEdge(tokenizer, files, "bos"), _TextEdge(tokenizer, files, "eos")
    starts, ends, pad = before.first_of_all(notes), behind.first_of_all(notes), files.first("pad")
    bos, eos = starts[0] if starts else None, ends[0] if ends else None
    if vocabulary.left_out:
        names = ", ".join(f"`{printable(text, 40)}`" for text in vocabulary.left_out[:3])
        notes.append(
            f"tokens that the model has no row for are left out ({len(vocabulary.left_out)}): {names}"
        )
    if len(ends) > len(_END_KEYS):
        names = ", ".join(f"`{printable(vocabulary.tokens[i], 40)}`" for i in ends[len(_END_KEYS) :])
        notes.append(
            f"a GGUF file can declare {len(_END_KEYS)} end tokens; these others of the checkpoint are not declared: {names}"
        )
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
    if behind.is_added(eos):
        pairs.append(("tokenizer.ggml.add_eos_token", "bool", True))
    template = _chat_template(checkpoint, files.tokenizer_config)
    if template is not None:
        pairs.append(("tokenizer.chat_template", "string", template))
    return TokenizerMetadata(before.is_added(bos), pairs, notes)


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
                    ids[self.checked(value, file, f"{name}_token_id")] = None
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

    def checked(self, value: Any, file: str, key: str) -> int:
        """A token id as a file gives it; FormatError if there is no such token."""
        if type(value) is not int or not 0 <= value < len(self._vocabulary.tokens):
            raise FormatError(
                f"a token id below {len(self._vocabulary.tokens)} was expected, found "
                f"{printable(repr(value), 40)}",
                path=self._directory / file,
                tensor=key,
            )
        return value


class _TextEdge:
    """What a tokenizer puts before a text (`bos`) or behind it (`eos`).

    The post-processor of tokenizer.json does it. The classes of Llama's SentencePiece tokenizers rebuild theirs from the
    flags in tokenizer_config.json, so there, or without a tokenizer.json, the flags decide.
    """

    def __init__(self, tokenizer: dict[str, Any] | None, files: _SpecialTokens, name: str) -> None:
        self._files, self._name = files, name
        flag = files.tokenizer_config.get(f"add_{name}_token")
        class_name = files.tokenizer_config.get("tokenizer_class")
        by_flag = tokenizer is None or (isinstance(class_name, str) and class_name.startswith("Llama"))
        self._flag = flag if by_flag and isinstance(flag, bool) else None
        if tokenizer is None and self._flag is None:
            # SentencePiece tokenizers of the Llama family add the first and not the last, unless told otherwise.
            self._flag = name == "bos"
        sides = _template_ids(tokenizer.get("post_processor") if tokenizer is not None else None)
        self._template = sides[0 if name == "bos" else 1]

    def first_of_all(self, notes: list[str]) -> list[int]:
        """The ids that any file gives, in the order of the files; first the one that is put there.

        A file holds one such id: embedding models end texts with another token than the one that ends a turn.
        """
        ids = self._files.all(self._name)
        if self._flag is not None or not self._template or (ids and ids[0] in self._template):
            return ids
        added = [self._files.checked(i, "tokenizer.json", "post_processor") for i in sorted(self._template)]
        if len(added) > 1:
            notes.append(
                f"the tokenizer puts {len(added)} tokens at one end of a text, and a GGUF file can name one"
            )
            return ids
        return [*added, *(i for i in ids if i not in added)]

    def is_added(self, token_id: int | None) -> bool:
        """Whether this token is put there."""
        return token_id is not None and (token_id in self._template if self._flag is None else self._flag)


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
