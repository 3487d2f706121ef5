"""The vocabulary of a model file: the `tokenizer.*` metadata, checked once and turned into plain values.

Everything in a file may be wrong or hostile, so each value is checked for kind, range and length before it is
used. What is left out of a file follows llama.cpp, which wrote most of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from bitnet_cli.errors import FormatError, UnsupportedError, printable
from bitnet_cli.formats.pretokenizers import pre_tokenizer_rule

MAX_TOKENS = 1 << 22
MAX_MERGES = 1 << 24
MAX_SPECIALS = 1 << 16
MAX_SPECIAL_CHARS = 256

# Control tokens that end a turn or a text in the model families that exist. Files often declare only one of
# them, and a model that is not stopped at the other talks to itself.
END_NAMES = frozenset(
    (
        "<|eot_id|>",
        "<|eom_id|>",
        "<|end_of_text|>",
        "<|endoftext|>",
        "<|im_end|>",
        "<|end|>",
        "<|end_of_turn|>",
        "<end_of_turn>",
    )
)


class TokenType(IntEnum):
    """What `tokenizer.ggml.token_type` says of a token."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class Vocabulary:
    """Checked metadata; ids index `tokens`."""

    kind: str
    """`gpt2` (byte-level BPE) or `llama` (SentencePiece BPE)."""
    tokens: list[str]
    types: np.ndarray
    """int8 [n], each a TokenType."""
    pre: str
    """Name of the pre-tokenizer rule; "" for `llama`."""
    merges: list[str]
    """`gpt2` only: "left right", best first."""
    scores: np.ndarray | None
    """`llama` only: float32 [n], finite."""
    bos_id: int | None
    eos_id: int | None
    unk_id: int | None
    end_ids: frozenset[int]
    """Tokens that end a generation."""
    add_bos: bool
    add_eos: bool
    """Whether a text that is embedded ends with EOS."""
    add_space_prefix: bool

    def ids_of(self, *types: TokenType) -> list[int]:
        """Ids of the tokens of some types, ascending."""
        found: list[int] = np.flatnonzero(np.isin(self.types, types)).tolist()
        return found

    @classmethod
    def from_metadata(cls, meta: Mapping[str, object]) -> Vocabulary:
        """Reads and checks the metadata of a model file.

        Raises:
            FormatError: a key is missing or its value is impossible.
            UnsupportedError: a kind of tokenizer or a pre-tokenizer that is not known here.
        """
        kind = _text(meta, "tokenizer.ggml.model")
        if kind not in ("gpt2", "llama"):
            raise UnsupportedError(
                f"tokenizers of kind `{printable(kind)}` are not supported",
                hint="supported are `gpt2` (byte-level BPE) and `llama` (SentencePiece BPE)",
            )
        pre = _text(meta, "tokenizer.ggml.pre") if kind == "gpt2" else ""
        add_bos = pre_tokenizer_rule(pre).add_bos if kind == "gpt2" else True
        tokens = _strings(meta, "tokenizer.ggml.tokens", MAX_TOKENS)
        n = len(tokens)
        if n == 0:
            raise FormatError("the vocabulary is empty", tensor="tokenizer.ggml.tokens")
        bos_id = _token_id(meta, "bos", n, 1 if kind == "llama" else None)
        eos_id = _token_id(meta, "eos", n, 2 if kind == "llama" else None)
        ends = (eos_id, _token_id(meta, "eot", n), _token_id(meta, "eom", n))
        end_ids = {i for i in ends if i is not None}
        types = _types(meta, n, end_ids | ({bos_id} if bos_id is not None else set()))
        _check_specials(tokens, types)
        end_ids |= {
            int(i)
            for i in np.flatnonzero(np.isin(types, (TokenType.CONTROL, TokenType.USER_DEFINED)))
            if tokens[i] in END_NAMES
        }
        unknown: list[int] = np.flatnonzero(types == TokenType.UNKNOWN).tolist()
        self = cls(
            kind=kind,
            tokens=tokens,
            types=types,
            pre=pre,
            merges=_strings(meta, "tokenizer.ggml.merges", MAX_MERGES) if kind == "gpt2" else [],
            scores=_scores(meta, n) if kind == "llama" else None,
            bos_id=bos_id,
            eos_id=eos_id,
            unk_id=_token_id(meta, "unknown", n, unknown[0] if unknown else None),
            end_ids=frozenset(end_ids),
            add_bos=_flag(meta, "tokenizer.ggml.add_bos_token", add_bos),
            add_eos=_flag(meta, "tokenizer.ggml.add_eos_token", False),
            add_space_prefix=_flag(meta, "tokenizer.ggml.add_space_prefix", kind == "llama"),
        )
        if self.add_bos and bos_id is None:
            raise FormatError(
                "text should begin with a BOS token, but the file does not say which one that is",
                tensor="tokenizer.ggml.bos_token_id",
            )
        if self.add_eos and eos_id is None:
            raise FormatError(
                "text should end with an EOS token, but the file does not say which one that is",
                tensor="tokenizer.ggml.eos_token_id",
            )
        return self


def _wrong_kind(key: str, expected: str, value: object) -> FormatError:
    return FormatError(f"{expected} is expected, but {type(value).__name__} was found", tensor=key)


def _required(meta: Mapping[str, object], key: str) -> object:
    try:
        return meta[key]
    except KeyError:
        raise FormatError("the metadata key is missing", tensor=key) from None


def _text(meta: Mapping[str, object], key: str) -> str:
    value = _required(meta, key)
    if not isinstance(value, str):
        raise _wrong_kind(key, "a string", value)
    return value


def _flag(meta: Mapping[str, object], key: str, default: bool) -> bool:
    value = meta.get(key, default)
    if not isinstance(value, bool):
        raise _wrong_kind(key, "a boolean", value)
    return value


def _strings(meta: Mapping[str, object], key: str, limit: int) -> list[str]:
    """An array of at most `limit` strings."""
    value = _required(meta, key)
    if not isinstance(value, list) or not set(map(type, value)) <= {str}:
        raise _wrong_kind(key, "an array of strings", value)
    if len(value) > limit:
        raise FormatError(f"{len(value)} entries are more than the {limit} accepted", tensor=key)
    return value


def _numbers(meta: Mapping[str, object], key: str, n: int, kinds: str, expected: str) -> np.ndarray:
    """A numeric array of length n whose NumPy kind is one of `kinds`."""
    raw = meta[key]
    value = np.asarray(raw) if isinstance(raw, list | np.ndarray) else None
    if value is None or value.ndim != 1 or value.dtype.kind not in kinds:
        raise _wrong_kind(key, expected, raw)
    if len(value) != n:
        raise FormatError(f"{n} entries are expected, one per token, but there are {len(value)}", tensor=key)
    return value


def _token_id(meta: Mapping[str, object], name: str, n: int, default: int | None = None) -> int | None:
    """An optional token id; `default` where the file is silent and the vocabulary is large enough."""
    key = f"tokenizer.ggml.{name}_token_id"
    value = meta.get(key)
    if value is None:
        return default if default is not None and default < n else None
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise _wrong_kind(key, "an integer", value)
    if not 0 <= value < n:
        raise FormatError(f"token id {int(value)} is outside the vocabulary of {n} tokens", tensor=key)
    return int(value)


def _types(meta: Mapping[str, object], n: int, declared: set[int]) -> np.ndarray:
    """Token types, int8 [n]. Without the key the declared BOS and end tokens are control tokens."""
    key = "tokenizer.ggml.token_type"
    if key not in meta:
        types = np.full(n, TokenType.NORMAL, np.int8)
        types[list(declared)] = TokenType.CONTROL
        return types
    value = _numbers(meta, key, n, "iu", "an array of integers")
    bad = np.flatnonzero((value < min(TokenType)) | (value > max(TokenType)))
    if len(bad):
        raise FormatError(f"token {bad[0]} has type {value[bad[0]]}, but types are 1 to 6", tensor=key)
    return value.astype(np.int8)


def _scores(meta: Mapping[str, object], n: int) -> np.ndarray:
    """Scores, float32 [n]."""
    key = "tokenizer.ggml.scores"
    _required(meta, key)
    value = _numbers(meta, key, n, "f", "an array of floats")
    bad = np.flatnonzero(~np.isfinite(value))
    if len(bad):
        raise FormatError(f"token {bad[0]} has the score {value[bad[0]]}", tensor=key)
    return value.astype(np.float32)


def _check_specials(tokens: list[str], types: np.ndarray) -> None:
    """Bounds what is searched for in every text: how many special tokens there are, and how long."""
    special = np.flatnonzero(np.isin(types, (TokenType.CONTROL, TokenType.USER_DEFINED, TokenType.UNKNOWN)))
    if len(special) > MAX_SPECIALS:
        raise FormatError(
            f"{len(special)} special tokens are more than the {MAX_SPECIALS} accepted",
            tensor="tokenizer.ggml.token_type",
        )
    seen: dict[str, int] = {}
    for i in special.tolist():
        if len(tokens[i]) > MAX_SPECIAL_CHARS:
            raise FormatError(
                f"special token {i} has {len(tokens[i])} characters, more than {MAX_SPECIAL_CHARS}",
                tensor="tokenizer.ggml.tokens",
            )
        if seen.setdefault(tokens[i], i) != i:
            raise duplicate(tokens[i], seen[tokens[i]], i)


def duplicate(token: str, first: int, second: int) -> FormatError:
    """The error for a token that is in the vocabulary twice."""
    return FormatError(
        f"tokens {first} and {second} are both `{printable(token)}`", tensor="tokenizer.ggml.tokens"
    )
