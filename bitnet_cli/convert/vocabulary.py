"""The vocabulary of a checkpoint's tokenizer as GGUF files hold it: tokens, types, scores, merges.

::

    tokenizer.json, byte-level BPE             kind `gpt2`, merges
    tokenizer.model, SentencePiece BPE         kind `llama`, scores
    tokenizer.json, BPE with byte fallback     kind `llama`, scores from the ranks of the merges

Ids that the tokenizer leaves free up to the model's vocabulary size become unused tokens `[PADi]`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bitnet_cli.convert.checkpoint import Checkpoint, listed
from bitnet_cli.convert.sentencepiece import (
    BYTE,
    CONTROL,
    NORMAL,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    read_sentencepiece,
)
from bitnet_cli.errors import FormatError, UnsupportedError, printable
from bitnet_cli.formats.pretokenizers import pre_name_for

TOKENIZER_JSON, TOKENIZER_MODEL = "tokenizer.json", "tokenizer.model"
SPACE = "\u2581"
# What llama.cpp gives to tokens that are added to a SentencePiece vocabulary: never chosen by a merge.
_ADDED_SCORE = -1000.0


@dataclass
class Vocabulary:
    """`tokens`, `types` and `scores` have one entry per id; `merges` are "left right", best first.

    `left_out` are added tokens whose ids are beyond the model's: Gemma's text models have none for a picture.
    """

    kind: str
    pre: str
    tokens: list[str]
    types: list[int]
    scores: list[float]
    merges: list[str] = field(default_factory=list)
    add_space_prefix: bool | None = None
    left_out: list[str] = field(default_factory=list)

    def id_of(self, token: str) -> int | None:
        """The id of a token by its text."""
        try:
            return self.tokens.index(token)
        except ValueError:
            return None


def read_vocabulary(checkpoint: Checkpoint, tokenizer: dict[str, Any] | None, vocab_size: int) -> Vocabulary:
    """The vocabulary of a checkpoint.

    Args:
        checkpoint: its directory.
        tokenizer: the content of tokenizer.json, None if there is none.
        vocab_size: rows of the model's embedding.

    Raises:
        FormatError: a file contradicts itself or the model.
        UnsupportedError: there is no tokenizer, or of a kind that is not known.
    """
    path = checkpoint.directory / TOKENIZER_JSON
    model = tokenizer.get("model") if tokenizer is not None else None
    if isinstance(model, dict) and model.get("type") == "BPE" and model.get("byte_fallback") is not True:
        assert tokenizer is not None
        return _byte_level(tokenizer, model, path, vocab_size)
    raw = checkpoint.bytes(TOKENIZER_MODEL)
    if raw is not None:
        return _sentencepiece(raw, checkpoint, tokenizer, vocab_size)
    if isinstance(model, dict) and model.get("type") == "BPE":
        assert tokenizer is not None
        return _byte_fallback(tokenizer, model, path, vocab_size)
    if tokenizer is None:
        raise UnsupportedError(
            f"{checkpoint.directory} holds neither {TOKENIZER_JSON} nor {TOKENIZER_MODEL}",
            hint="put the model's tokenizer files beside its weights",
        )
    kind = model.get("type") if isinstance(model, dict) else None
    raise UnsupportedError(
        f"{path}: tokenizers of type `{printable(str(kind), 40)}` are not supported, only BPE"
    )


class _Table:
    """Tokens by id, filled in any order; checks ranges and doubles."""

    def __init__(self, path: Path, vocab_size: int) -> None:
        self.path, self.vocab_size = path, vocab_size
        self.tokens: dict[int, str] = {}
        self.types: dict[int, int] = {}
        self.scores: dict[int, float] = {}
        self.ids: dict[str, int] = {}
        self.left_out: list[str] = []

    def error(self, message: str) -> FormatError:
        return FormatError(message, path=self.path)

    def put(self, token_id: object, token: object, kind: int, score: float = 0.0) -> None:
        """Enters a token; one that is there already may only change its type."""
        if type(token_id) is not int or not isinstance(token, str):
            raise self.error("a token is not given as a string with an integer id")
        if not 0 <= token_id < self.vocab_size:
            raise self.error(
                f"token `{printable(token, 40)}` has the id {token_id}, the model only {self.vocab_size} ids"
            )
        if self.tokens.get(token_id, token) != token or self.ids.get(token, token_id) != token_id:
            raise self.error(f"two tokens share the id {token_id} or the text `{printable(token, 40)}`")
        if token_id not in self.tokens:
            self.scores[token_id] = score
        self.tokens[token_id], self.types[token_id], self.ids[token] = token, kind, token_id

    def add(self, token_id: object, token: object, kind: int, score: float = 0.0) -> None:
        """Enters a token that is added to the vocabulary proper, unless the model has no row for it."""
        if type(token_id) is int and isinstance(token, str) and token_id >= self.vocab_size:
            self.left_out.append(token)
        else:
            self.put(token_id, token, kind, score)

    def vocabulary(self, kind: str, pre: str, **more: Any) -> Vocabulary:
        """All ids in order, those that are free as padding."""
        everything = range(self.vocab_size)
        tokens = [self.tokens.get(i) or self._padding(i) for i in everything]
        types = [self.types.get(i, UNUSED) for i in everything]
        scores = [self.scores.get(i, 0.0 if kind == "gpt2" else _ADDED_SCORE) for i in everything]
        return Vocabulary(kind, pre, tokens, types, scores, left_out=self.left_out, **more)

    def _padding(self, token_id: int) -> str:
        name = f"[PAD{token_id}]"
        if name in self.ids:
            raise self.error(f"the token `{name}` is there already under another id")
        return name


def _byte_level(tokenizer: dict[str, Any], model: dict[str, Any], path: Path, vocab_size: int) -> Vocabulary:
    """The vocabulary of a byte-level BPE tokenizer.json."""
    table = _json_table(tokenizer, model, path, vocab_size)
    pre = pre_name_for(
        tokenizer.get("pre_tokenizer"),
        normalizer=tokenizer.get("normalizer"),
        ignore_merges=model.get("ignore_merges") is True,
    )
    if pre is None:
        raise UnsupportedError(
            f"{path}: no name is known for its way of cutting text into words (`pre_tokenizer`)",
            hint="a wrong one would change what the model reads, so none is written",
        )
    for key in ("continuing_subword_prefix", "end_of_word_suffix", "dropout"):
        if model.get(key):
            raise UnsupportedError(f"{path}: BPE with `{key}` is not supported")
    merges = _merges(model, table, written=True)
    return table.vocabulary("gpt2", pre, merges=[f"{left} {right}" for left, right in merges])


def _byte_fallback(
    tokenizer: dict[str, Any], model: dict[str, Any], path: Path, vocab_size: int
) -> Vocabulary:
    """The vocabulary of a SentencePiece model that was converted to tokenizer.json.

    SentencePiece joins the pair whose union scores best, a merge list the pair that ranks first. All pairs
    with the same union stand together in such a list, so minus the first rank is a score with the same
    order.
    """
    table = _json_table(tokenizer, model, path, vocab_size)
    merges = _merges(model, table, written=False)
    for token_id, token in table.tokens.items():
        if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
            table.types[token_id] = BYTE
        elif token == model.get("unk_token"):
            table.types[token_id] = UNKNOWN
        elif table.types[token_id] == NORMAL:
            table.scores[token_id] = -float(len(merges))
    for rank in range(len(merges) - 1, -1, -1):
        table.scores[table.ids["".join(merges[rank])]] = -float(rank)
    _unmatched_runs(tokenizer, table, {"".join(merge) for merge in merges})
    return table.vocabulary("llama", "default", add_space_prefix=_adds_space(tokenizer))


def _unmatched_runs(tokenizer: dict[str, Any], table: _Table, merged: set[str]) -> None:
    """Makes plain pieces of the added tokens that are runs of spaces, as in Gemma.

    The library looks for added tokens in the text as it was given, where a space is not yet written as ▁. So it never finds
    these, and merges lead to them, or to shorter ones: unlike a reader that would match the longest run first.
    """
    for entry in listed(tokenizer.get("added_tokens")):
        if entry.get("normalized") is False and entry.get("special") is not True:
            token = entry.get("content")
            if SPACE in token and token in merged and token in table.ids:
                table.types[table.ids[token]] = NORMAL


def _sentencepiece(
    raw: bytes, checkpoint: Checkpoint, tokenizer: dict[str, Any] | None, vocab_size: int
) -> Vocabulary:
    """The vocabulary of a tokenizer.model, with tokens added by the other files."""
    path = checkpoint.directory / TOKENIZER_MODEL
    model = read_sentencepiece(raw, path)
    table = _Table(path, vocab_size)
    for token_id, piece in enumerate(model.pieces):
        table.put(token_id, piece.text, piece.type, piece.score)
    for added_id, token, special in _added_tokens(checkpoint, tokenizer):
        if token not in table.ids or table.types[table.ids[token]] == NORMAL:
            table.add(added_id, token, CONTROL if special else USER_DEFINED, _ADDED_SCORE)
    return table.vocabulary("llama", "default", add_space_prefix=model.add_space_prefix)


def _added_tokens(checkpoint: Checkpoint, tokenizer: dict[str, Any] | None) -> list[tuple[object, str, bool]]:
    """(id, text, is special) of the tokens that files beside a tokenizer.model add."""
    added: dict[str, tuple[object, bool]] = {}
    special = _special_texts(checkpoint)
    for token, token_id in (checkpoint.json("added_tokens.json") or {}).items():
        added[token] = (token_id, token in special)
    for entry in listed((tokenizer or {}).get("added_tokens")):
        if isinstance(entry, dict) and isinstance(entry.get("content"), str):
            added[entry["content"]] = (entry.get("id"), entry.get("special") is True)
    return [(token_id, token, is_special) for token, (token_id, is_special) in added.items()]


def _special_texts(checkpoint: Checkpoint) -> set[str]:
    """Texts that tokenizer_config.json declares to be special tokens."""
    config = checkpoint.json("tokenizer_config.json") or {}
    texts = {value for key, value in config.items() if key.endswith("_token") and isinstance(value, str)}
    decoder = config.get("added_tokens_decoder")
    for entry in decoder.values() if isinstance(decoder, dict) else []:
        if isinstance(entry, dict) and entry.get("special") is True and isinstance(entry.get("content"), str):
            texts.add(entry["content"])
    return texts


def _json_table(tokenizer: dict[str, Any], model: dict[str, Any], path: Path, vocab_size: int) -> _Table:
    """Vocabulary and added tokens of a tokenizer.json."""
    table = _Table(path, vocab_size)
    vocab = model.get("vocab")
    if not isinstance(vocab, dict) or not vocab:
        raise table.error("`model.vocab` is missing or empty")
    for token, token_id in vocab.items():
        table.put(token_id, token, NORMAL)
    added = tokenizer.get("added_tokens") or []
    if not isinstance(added, list):
        raise table.error("`added_tokens` is not a list")
    for entry in added:
        if not isinstance(entry, dict):
            raise table.error("`added_tokens` holds something that is not an object")
        kind = CONTROL if entry.get("special") is True else USER_DEFINED
        table.add(entry.get("id"), entry.get("content"), kind)
    return table


def _merges(model: dict[str, Any], table: _Table, *, written: bool) -> list[tuple[str, str]]:
    """The merges as pairs, from either spelling: "left right" or ["left", "right"]; `written` if the file will list them."""
    listed = model.get("merges")
    if not isinstance(listed, list):
        raise table.error("`model.merges` is missing")
    merges: list[tuple[str, str]] = []
    for merge in listed:
        parts = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(part, str) for part in parts):
            raise table.error(f"merge {len(merges)} is not a pair of tokens")
        left, right = parts
        if written and " " in left + right:
            raise table.error(f"merge {len(merges)} holds a space, which a GGUF file cannot express")
        if not (left in table.ids and right in table.ids and left + right in table.ids):
            raise table.error(f"merge {len(merges)} joins or makes a token that is not in the vocabulary")
        merges.append((left, right))
    return merges


def _adds_space(tokenizer: dict[str, Any]) -> bool:
    """Whether text is encoded as if a space stood before it: a `Prepend` normalizer or a `Metaspace` step."""
    todo: list[object] = [tokenizer.get("normalizer"), tokenizer.get("pre_tokenizer")]
    while todo:
        step = todo.pop()
        if not isinstance(step, dict):
            continue
        if step.get("type") == "Prepend" and step.get("prepend") == SPACE:
            return True
        if step.get("type") == "Metaspace":
            scheme = step.get("prepend_scheme", "always" if step.get("add_prefix_space", True) else "never")
            return scheme in ("always", "first")
        for key in ("normalizers", "pretokenizers"):
            todo += listed(step.get(key))
    return False
