"""SentencePiece BPE (Llama 2, 1bitLLM): plain text to ids by scores, with byte fallback, and tokens to bytes.

The two neighbours whose union has the best score become one, the leftmost of equals first, until no union is
in the vocabulary. There is no list of merges, so the library of byte-level BPE does not serve here.
"""

from __future__ import annotations

import heapq

from bitnet_cli.errors import FormatError
from bitnet_cli.text.vocabulary import TokenType, Vocabulary, duplicate

SPACE = "\u2581"
_UNKNOWN_TEXT = " \u2047 ".encode()  # What SentencePiece prints for an unknown token.


class SentencePieceBPE:
    """Encoder of stretches of plain text."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        """Prepares the lookup tables.

        Raises:
            FormatError: a token is given twice, a byte token is malformed, or there is neither a byte token
                nor an unknown token for what the vocabulary does not have.
        """
        assert vocabulary.scores is not None
        tokens, scores = vocabulary.tokens, vocabulary.scores.tolist()
        pieces = vocabulary.ids_of(TokenType.NORMAL, TokenType.USER_DEFINED, TokenType.UNUSED)
        self._ids: dict[str, int] = {}
        self._scores: dict[str, float] = {}
        for i in pieces:
            if self._ids.setdefault(tokens[i], i) != i:
                raise duplicate(tokens[i], self._ids[tokens[i]], i)
            self._scores[tokens[i]] = scores[i]
        self._unused = {tokens[i] for i in vocabulary.ids_of(TokenType.UNUSED)}
        self._byte_ids = _byte_tokens(vocabulary)
        self._unk_id = vocabulary.unk_id
        self._add_space_prefix = vocabulary.add_space_prefix
        if self._unk_id is None and len(self._byte_ids) < 256:
            raise FormatError(
                "the vocabulary has neither 256 byte tokens nor an unknown token",
                tensor="tokenizer.ggml.tokens",
            )

    def encode(self, text: str, after_special: bool) -> list[int]:
        """Ids of a stretch of plain text; at the beginning and after a special token a space is put first."""
        if not text:
            return []
        if after_special and self._add_space_prefix:
            text = " " + text
        ids: list[int] = []
        made_of: dict[str, tuple[str, str]] = {}
        for piece in self._merge(text.replace(" ", SPACE), made_of):
            self._append(piece, made_of, ids)
        return ids

    def _merge(self, text: str, made_of: dict[str, tuple[str, str]]) -> list[str]:
        """Cuts text into pieces; `made_of` is told from which two pieces an unused one was made."""
        scores = self._scores
        pieces = list(text)
        # A doubly linked list over the characters; a piece that was swallowed is "".
        before = list(range(-1, len(pieces) - 1))
        after = [*range(1, len(pieces)), -1]
        queue: list[tuple[float, int, int, str]] = []

        def consider(left: int, right: int) -> None:
            if left < 0 or right < 0:
                return
            union = pieces[left] + pieces[right]
            score = scores.get(union)
            if score is not None:
                heapq.heappush(queue, (-score, left, right, union))
                if union in self._unused:
                    made_of[union] = (pieces[left], pieces[right])

        for i in range(len(pieces) - 1):
            consider(i, i + 1)
        while queue:
            _, left, right, union = heapq.heappop(queue)
            # Either may have been merged with another neighbour since this pair was queued.
            if not pieces[left] or not pieces[right] or pieces[left] + pieces[right] != union:
                continue
            pieces[left], pieces[right] = union, ""
            after[left] = after[right]
            if after[right] >= 0:
                before[after[right]] = left
            consider(before[left], left)
            consider(left, after[left])
        return [piece for piece in pieces if piece]

    def _append(self, piece: str, made_of: dict[str, tuple[str, str]], ids: list[int]) -> None:
        """Appends the ids of a piece: its own, those of what an unused one was made of, or its bytes'."""
        todo = [piece]
        while todo:
            piece = todo.pop()
            if piece in self._unused and piece in made_of:
                left, right = made_of[piece]
                todo += (right, left)
            elif piece in self._ids:
                ids.append(self._ids[piece])
            elif all(byte in self._byte_ids for byte in piece.encode()):
                ids += map(self._byte_ids.__getitem__, piece.encode())
            elif ids[-1:] != [self._unk_id]:
                # Neighbouring unknown characters are one unknown token.
                assert self._unk_id is not None
                ids.append(self._unk_id)

    @staticmethod
    def token_bytes(token: str, token_type: int) -> bytes:
        """The bytes a token stands for, a leading space included."""
        if token_type == TokenType.BYTE:
            return bytes((byte_value(token),))
        if token_type == TokenType.UNKNOWN:
            return _UNKNOWN_TEXT
        return token.replace(SPACE, " ").encode()


def byte_value(token: str) -> int:
    """The byte that a token `<0xXX>` stands for; FormatError if it is spelled otherwise."""
    digits = token[3:5]
    if (
        len(token) != 6
        or token[:3] != "<0x"
        or token[5] != ">"
        or not set(digits) <= set("0123456789ABCDEFabcdef")
    ):
        raise FormatError("a byte token is not of the form `<0x41>`", tensor="tokenizer.ggml.tokens")
    return int(digits, 16)


def _byte_tokens(vocabulary: Vocabulary) -> dict[int, int]:
    """Byte → id of its token."""
    ids: dict[int, int] = {}
    for i in vocabulary.ids_of(TokenType.BYTE):
        byte = byte_value(vocabulary.tokens[i])
        if ids.setdefault(byte, i) != i:
            raise duplicate(vocabulary.tokens[i], ids[byte], i)
    return ids
