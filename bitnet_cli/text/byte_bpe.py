"""Byte-level BPE (GPT-2, Llama 3, Falcon 3, Qwen 2): plain text to ids, tokens to bytes.

The `tokenizers` library does the merging, with tables built in memory from the model file. Control tokens
stay out of its vocabulary, so no text can be merged into one.
"""

from __future__ import annotations

import json

from tokenizers import Tokenizer as BpePipeline
from tokenizers.models import BPE

from bitnet_cli.errors import FormatError, UnsupportedError, printable
from bitnet_cli.formats.pretokenizers import pre_tokenizer_rule
from bitnet_cli.text.vocabulary import TokenType, Vocabulary, duplicate


def _byte_characters() -> dict[int, str]:
    """GPT-2's table: a printable character for each byte.

    Printable Latin-1 stands for itself, the other bytes follow from U+0100 on.
    """
    printed = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    table = {byte: chr(byte) for byte in printed}
    for n, byte in enumerate(byte for byte in range(256) if byte not in table):
        table[byte] = chr(256 + n)
    return table


CHARACTER_OF_BYTE = _byte_characters()
BYTE_OF_CHARACTER = {character: byte for byte, character in CHARACTER_OF_BYTE.items()}


class ByteBPE:
    """Encoder of stretches of plain text. Building takes about 0.3 s for 128k tokens and 280k merges."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        """Builds the merge tables.

        Raises:
            FormatError: a token is given twice, or a merge is malformed or names a token that does not exist.
        """
        rule = pre_tokenizer_rule(vocabulary.pre)
        ids = _mergeable(vocabulary)
        self._missing = {byte for byte, character in CHARACTER_OF_BYTE.items() if character not in ids}
        pipeline: dict[str, object] = {
            "version": "1.0",
            "added_tokens": [],
            "normalizer": {"type": rule.normalizer} if rule.normalizer else None,
            "pre_tokenizer": rule.description,
            "model": {"type": "BPE", "vocab": {}, "merges": []},
        }
        self._pipeline = BpePipeline.from_str(json.dumps(pipeline))
        merges = _pairs(vocabulary.merges)
        _check_lengths(vocabulary.merges, ids)
        try:
            self._pipeline.model = BPE(ids, merges, ignore_merges=rule.ignore_merges)
        except Exception as error:  # The library raises bare Exception.
            detail = printable(str(error).rpartition(": ")[2])
            raise FormatError(
                f"the merges do not fit the vocabulary: {detail}", tensor="tokenizer.ggml.merges"
            ) from None

    def encode(self, text: str, after_special: bool) -> list[int]:
        """Ids of a stretch of plain text; `after_special` makes no difference here.

        Raises:
            UnsupportedError: the vocabulary has no token for a byte of the text, which would be lost.
        """
        if self._missing:
            lost = self._missing.intersection(text.encode())
            if lost:
                raise UnsupportedError(
                    f"the vocabulary has no token for the byte 0x{min(lost):02x} of `{printable(text, 40)}`",
                    hint="leave that character out, or use a model whose vocabulary has all 256 bytes",
                )
        ids: list[int] = self._pipeline.encode(text, add_special_tokens=False).ids
        return ids

    @staticmethod
    def token_bytes(token: str) -> bytes:
        """The bytes a token stands for; a token with characters outside the table is taken literally."""
        try:
            return bytes(map(BYTE_OF_CHARACTER.__getitem__, token))
        except KeyError:
            return token.encode()


def _mergeable(vocabulary: Vocabulary) -> dict[str, int]:
    """Token → id of everything that plain text may become.

    User-defined and unused tokens are written literally, not in byte characters, and may therefore repeat the
    spelling of a normal token, which then wins.
    """
    tokens = vocabulary.tokens
    ids = dict(zip(tokens, range(len(tokens)), strict=True))
    if len(ids) != len(tokens):
        ids.clear()
        for i in vocabulary.ids_of(TokenType.NORMAL, TokenType.BYTE):
            if ids.setdefault(tokens[i], i) != i:
                raise duplicate(tokens[i], ids[tokens[i]], i)
        for i in vocabulary.ids_of(TokenType.USER_DEFINED, TokenType.UNUSED):
            ids.setdefault(tokens[i], i)
        return ids
    for i in vocabulary.ids_of(TokenType.CONTROL, TokenType.UNKNOWN):
        del ids[tokens[i]]
    return ids


def _pairs(merges: list[str]) -> list[tuple[str, str]]:
    """ "left right" as (left, right); byte characters include no space, so there is exactly one."""
    pairs = [merge.partition(" ")[::2] for merge in merges]
    for n, (left, right) in enumerate(pairs):
        if not left or not right or " " in right:
            raise FormatError(
                f"merge {n} should be two tokens with a space between them, but is `{printable(merges[n])}`",
                tensor="tokenizer.ggml.merges",
            )
    return pairs


def _check_lengths(merges: list[str], ids: dict[str, int]) -> None:
    """Refuses a merge that makes a token longer than any there is; the library would abort on one."""
    longest = max(map(len, map(str.encode, ids)), default=0)
    if max(map(len, map(str.encode, merges)), default=0) > longest + 1:
        raise FormatError(
            f"a merge makes a token longer than the longest of the vocabulary, {longest} bytes",
            tensor="tokenizer.ggml.merges",
        )
