"""Byte-level BPE (GPT-2, Llama 3, Falcon 3, Qwen 2): plain text to ids, tokens to bytes.

The `tokenizers` library normalises text and cuts it into words; the merging is done here, because building the library's
own tables takes more than twice as long and 55 MB more. It merges long texts at less than half the library's speed.
Control tokens stay out of the vocabulary that is merged into, so no text can become one.
"""

from __future__ import annotations

import heapq
import json
from itertools import repeat

from tokenizers import Tokenizer as Pipeline

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


MAX_KEPT_WORDS, MAX_KEPT_LENGTH = 1 << 16, 64
"""Words whose ids are remembered; text repeats few words often."""


class ByteBPE:
    """Encoder of stretches of plain text. Building takes about 0.15 s for 128k tokens and 280k merges."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        """Prepares the lookup tables.

        Raises:
            FormatError: a token is given twice, or a merge is malformed or makes a token that does not exist.
        """
        rule = pre_tokenizer_rule(vocabulary.pre)
        self._ids = _mergeable(vocabulary)
        self._missing = {byte for byte, character in CHARACTER_OF_BYTE.items() if character not in self._ids}
        pipeline: dict[str, object] = {
            "version": "1.0",
            "added_tokens": [],
            "normalizer": {"type": rule.normalizer} if rule.normalizer else None,
            "pre_tokenizer": rule.description,
            "model": {"type": "BPE", "vocab": {}, "merges": []},
        }
        self._pipeline = Pipeline.from_str(json.dumps(pipeline))
        self._ignore_merges = rule.ignore_merges
        _check_merges(vocabulary.merges, self._ids)
        self._ranks = dict(zip(vocabulary.merges, range(len(vocabulary.merges)), strict=True))
        """ "left right" → how early this merge is done."""
        self._words: dict[str, list[int]] = {}

    def encode(self, text: str, after_special: bool) -> list[int]:
        """Ids of a stretch of plain text; `after_special` makes no difference here.

        Raises:
            UnsupportedError: the vocabulary has no token for a byte of the text, which would be lost.
        """
        if self._pipeline.normalizer is not None:
            text = self._pipeline.normalizer.normalize_str(text)
        if self._missing:
            lost = self._missing.intersection(text.encode())
            if lost:
                raise UnsupportedError(
                    f"the vocabulary has no token for the byte 0x{min(lost):02x} of `{printable(text, 40)}`",
                    hint="leave that character out, or use a model whose vocabulary has all 256 bytes",
                )
        ids: list[int] = []
        for word, _ in self._pipeline.pre_tokenizer.pre_tokenize_str(text):
            known = self._words.get(word)
            if known is None:
                known = self._word_ids(word)
                if len(self._words) >= MAX_KEPT_WORDS:
                    self._words.clear()
                if len(word) <= MAX_KEPT_LENGTH:
                    self._words[word] = known
            ids += known
        return ids

    def _word_ids(self, word: str) -> list[int]:
        """Ids of a word in byte characters."""
        whole = self._ids.get(word)
        if self._ignore_merges and whole is not None:
            return [whole]
        return [self._ids[piece] for piece in self._merge(word)]

    def _merge(self, word: str) -> list[str]:
        """Cuts a word into tokens: of all neighbours the pair of the lowest rank becomes one, the leftmost of equals first,
        until no pair has a rank."""
        ranks, pieces = self._ranks, list(word)
        # A doubly linked list over the characters; a piece that was swallowed is "".
        before = list(range(-1, len(pieces) - 1))
        after = [*range(1, len(pieces)), -1]
        queue: list[tuple[int, int, int, str]] = []

        def consider(left: int, right: int) -> None:
            if left >= 0 and right >= 0:
                pair = f"{pieces[left]} {pieces[right]}"
                rank = ranks.get(pair)
                if rank is not None:
                    heapq.heappush(queue, (rank, left, right, pair))

        for i in range(len(pieces) - 1):
            consider(i, i + 1)
        while queue:
            _, left, right, pair = heapq.heappop(queue)
            # Either may have been merged with another neighbour since this pair was queued.
            if not pieces[left] or f"{pieces[left]} {pieces[right]}" != pair:
                continue
            pieces[left] += pieces[right]
            pieces[right] = ""
            after[left] = after[right]
            if after[right] >= 0:
                before[after[right]] = left
            consider(before[left], left)
            consider(left, after[left])
        return [piece for piece in pieces if piece]

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


def _check_merges(merges: list[str], ids: dict[str, int]) -> None:
    """Refuses a merge that is not "left right" or makes no token. Byte characters include no space, so there is exactly
    one. A merge of pieces that never come up does no harm.
    """
    # In whole passes of built-in functions: there are 280k merges, and this is part of every start.
    if set(map(str.count, merges, repeat(" "))) - {1} or list(map(str.strip, merges, repeat(" "))) != merges:
        n = next(n for n, merge in enumerate(merges) if merge.count(" ") != 1 or merge.strip(" ") != merge)
        raise FormatError(
            f"merge {n} should be two tokens with a space between them, but is `{printable(merges[n])}`",
            tensor="tokenizer.ggml.merges",
        )
    if not all(map(ids.__contains__, map(str.replace, merges, repeat(" "), repeat("")))):
        n, made = next((n, m.replace(" ", "")) for n, m in enumerate(merges) if m.replace(" ", "") not in ids)
        raise FormatError(
            f"the merges do not fit the vocabulary: merge {n} makes `{printable(made)}`, which is no token",
            tensor="tokenizer.ggml.merges",
        )
