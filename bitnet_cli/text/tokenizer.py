"""Text to token ids and back, built in memory from the metadata of a model file.

A control token (end of turn, begin of text …) is a command to the model. Text is data: unless the caller
passes `parse_special=True`, what looks like a control token is encoded as the characters it is written with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from bitnet_cli.errors import UsageError
from bitnet_cli.text.byte_bpe import ByteBPE
from bitnet_cli.text.special_tokens import SpecialTokens
from bitnet_cli.text.spm import SentencePieceBPE
from bitnet_cli.text.vocabulary import TokenType, Vocabulary

Part = str | int | tuple[int, ...]


class Tokenizer:
    """Encoder and decoder of one vocabulary; immutable, and safe to use from several threads."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = replace(vocabulary, merges=[], scores=None)
        """Without what the encoder holds in its own way."""
        self._types: bytes = vocabulary.types.tobytes()
        self._bpe: ByteBPE | SentencePieceBPE
        self._bpe = ByteBPE(vocabulary) if vocabulary.kind == "gpt2" else SentencePieceBPE(vocabulary)
        control = self._texts(TokenType.CONTROL, TokenType.UNKNOWN)
        user_defined = self._texts(TokenType.USER_DEFINED)
        self._control = SpecialTokens(control)
        self._user_defined = SpecialTokens(user_defined)
        self._all_special = SpecialTokens([*control, *user_defined])
        self.n_vocab = len(vocabulary.tokens)
        self.bos_id = vocabulary.bos_id
        self.add_bos = vocabulary.add_bos
        """Whether a text begins with BOS when the caller does not say."""
        self.eos_at_end = vocabulary.eos_id if vocabulary.add_eos else None
        """The token that a text to embed ends with, if it does."""
        self.eos_ids = vocabulary.end_ids
        """Tokens that end a generation."""

    @classmethod
    def from_metadata(cls, meta: Mapping[str, object]) -> Tokenizer:
        """Builds the tokenizer that a model file describes under `tokenizer.*`.

        Takes about 0.3 s for 128k tokens and 280k merges; may run in a thread beside other loading.

        Raises:
            FormatError: the metadata are incomplete or impossible.
            UnsupportedError: a kind of tokenizer or a pre-tokenizer that is not known.
        """
        return cls(Vocabulary.from_metadata(meta))

    def encode(self, text: str, add_bos: bool | None = None, parse_special: bool = False) -> list[int]:
        """Ids of a text.

        Args:
            text: any string; lone surrogates count as U+FFFD.
            add_bos: whether BOS comes first; None does what the vocabulary asks for, unless the text itself
                begins with BOS.
            parse_special: control tokens written in the text become those tokens. Only for trusted text.
        """
        text = _encodable(text)
        return self.encode_parts(self._all_special.split(text) if parse_special else [text], add_bos)

    def encode_parts(self, parts: Iterable[Part], add_bos: bool | None = None) -> list[int]:
        """Ids of plain stretches of text with special tokens between them.

        Args:
            parts: strings are encoded as plain text, control tokens in them included; integers are special tokens; tuples
                are the ids of text that is encoded already.
            add_bos: as for `encode`.
        """
        ids: list[int] = []
        after_special = True
        for part in parts:
            if isinstance(part, tuple):
                ids += map(self._checked, part)
                after_special = after_special and not part
                continue
            pieces = [part] if isinstance(part, int) else self._user_defined.split(_encodable(part))
            for piece in pieces:
                if isinstance(piece, int):
                    ids.append(self._checked(piece))
                else:
                    ids += self._bpe.encode(piece, after_special)
                after_special = isinstance(piece, int)
        if add_bos is None:
            add_bos = self.add_bos and ids[:1] != [self.bos_id]
        if add_bos:
            if self.bos_id is None:
                raise UsageError("this model's vocabulary has no BOS token", hint="leave `add_bos` out")
            ids.insert(0, self.bos_id)
        return ids

    def split_control(self, text: str) -> list[str | int]:
        """`text` as stretches and the ids of the control tokens written between them."""
        return self._control.split(text)

    def find_control(self, text: str) -> list[tuple[int, int, int]]:
        """(begin, end, id) of each control token written in `text`."""
        return self._control.find(text)

    def control_id(self, text: str) -> int | None:
        """The id of the control token with this text, if there is one."""
        return self._control.get(text)

    def control_characters(self) -> set[str]:
        """The characters that control tokens are written with."""
        return self._control.characters()

    def special_texts(self) -> dict[str, str]:
        """The variables that chat templates know some special tokens by."""
        ids = {
            "bos_token": self.bos_id,
            "eos_token": self._vocabulary.eos_id,
            "unk_token": self._vocabulary.unk_id,
        }
        return {name: self.token_text(i) for name, i in ids.items() if i is not None}

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids: their bytes joined, invalid ones as U+FFFD; control tokens have none.

        The space that a SentencePiece vocabulary puts before a text is taken off again.
        """
        data = b"".join(map(self.token_bytes, ids))
        if self._vocabulary.kind == "llama" and self._vocabulary.add_space_prefix:
            data = data.removeprefix(b" ")
        return data.decode("utf-8", "replace")

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that a token adds to a text, perhaps part of a character; none for control tokens.

        Raises:
            UsageError: the id is not in the vocabulary.
        """
        kind = self._types[self._checked(token_id)]
        if kind in (TokenType.CONTROL, TokenType.UNUSED):
            return b""
        token = self._vocabulary.tokens[token_id]
        if isinstance(self._bpe, SentencePieceBPE):
            return self._bpe.token_bytes(token, kind)
        return token.encode() if kind == TokenType.USER_DEFINED else self._bpe.token_bytes(token)

    def token_text(self, token_id: int) -> str:
        """How the vocabulary writes a token; UsageError if the id is not in it."""
        return self._vocabulary.tokens[self._checked(token_id)]

    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that two vocabularies share only if every id means the same in both."""
        digest = hashlib.sha256(self._types)
        digest.update("\0".join(self._vocabulary.tokens).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()[:16]

    def is_control(self, token_id: int) -> bool:
        """Whether a token is a command to the model and not text; UsageError if there is no such token."""
        return self._types[self._checked(token_id)] == TokenType.CONTROL

    def _texts(self, *types: TokenType) -> list[tuple[str, int]]:
        """(text, id) of the tokens of some types, with spaces where SentencePiece writes its own mark."""
        spm = self._vocabulary.kind == "llama"
        tokens = self._vocabulary.tokens
        return [
            (tokens[i].replace("\u2581", " ") if spm else tokens[i], i)
            for i in self._vocabulary.ids_of(*types)
        ]

    def _checked(self, token_id: int) -> int:
        if not 0 <= token_id < self.n_vocab:
            raise UsageError(
                f"token {token_id} is not in the vocabulary, whose ids are 0 to {self.n_vocab - 1}",
                hint="take ids from `encode`",
            )
        return token_id


def _encodable(text: str) -> str:
    """`text` with lone surrogates, which UTF-8 cannot express, replaced by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)
    return text
