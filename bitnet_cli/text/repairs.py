"""Repairs of model files that are known to be wrong: the published GGUF files of BitNet b1.58 2B-4T.

Those files do not say how text is split, carry the chat template of another model, and do not declare the token
that ends a turn, so that a reader that trusts them produces worse text and does not stop. Each fault is recognised
by itself; a file without it is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from bitnet_cli.text.chat_template import BITNET_2B4T
from bitnet_cli.text.chat_template import KEY as CHAT_TEMPLATE

_ARCHITECTURES = ("bitnet-b1.58", "bitnet-25")
# The Llama 3 vocabulary: 128,000 tokens of text and 256 control tokens.
_N_VOCAB = 128256
_FIRST_CONTROL = 128000
_END_OF_TEXT = 128001
_END_OF_TURN = 128009
_CONTROL = 3

_MODEL = "tokenizer.ggml.model"
_PRE = "tokenizer.ggml.pre"
_TYPES = "tokenizer.ggml.token_type"
_EOS = "tokenizer.ggml.eos_token_id"
_EOT = "tokenizer.ggml.eot_token_id"


class _Repaired(Mapping[str, object]):
    """Metadata with some values replaced. Values that were not asked for are not read."""

    def __init__(self, meta: Mapping[str, object], replaced: dict[str, Callable[[], object]]) -> None:
        self._meta = meta
        self._replaced = replaced

    def __getitem__(self, key: str) -> object:
        return self._replaced[key]() if key in self._replaced else self._meta[key]

    def __contains__(self, key: object) -> bool:
        return key in self._replaced or key in self._meta

    def __iter__(self) -> Iterator[str]:
        yield from self._meta
        yield from (key for key in self._replaced if key not in self._meta)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def repair(meta: Mapping[str, object]) -> tuple[Mapping[str, object], list[str]]:
    """Metadata of a model file without the faults that are known, and a note on each that was found.

    Only scalars and the token types are read here, not the vocabulary. The metadata given are not changed.

    Returns:
        The metadata, the same object if nothing was wrong, and one sentence per repair without a final period.
    """
    replaced: dict[str, Callable[[], object]] = {}
    notes: list[str] = []
    if _scalar(meta, _MODEL) == "gpt2" and _PRE not in meta:
        pre = "llama-bpe" if _n_vocab(meta) == _N_VOCAB else "gpt-2"
        replaced[_PRE] = lambda: pre
        notes.append(f"the file does not say how text is split; `{pre}` is used")
    template = _scalar(meta, CHAT_TEMPLATE)
    if isinstance(template, str) and "BITNETAssistant" in template:
        replaced[CHAT_TEMPLATE] = lambda: BITNET_2B4T
        notes.append("the file's chat template is not the one the model was tuned on; the right one is used")
    if _is_bitnet_2b4t(meta):
        if _scalar(meta, _EOS) == _END_OF_TEXT and _EOT not in meta:
            replaced[_EOT] = lambda: _END_OF_TURN
            notes.append("the file does not declare the token that ends a turn; `<|eot_id|>` is used")
        types = meta.get(_TYPES)
        if isinstance(types, np.ndarray) and types.shape == (_N_VOCAB,):
            repaired = _control_types(types)
            if repaired is not None:
                replaced[_TYPES] = lambda: repaired
                notes.append("the file takes control tokens for text; they are control tokens again")
    return (_Repaired(meta, replaced) if replaced else meta), notes


def _is_bitnet_2b4t(meta: Mapping[str, object]) -> bool:
    """Whether this is the published model or one made from it, which has its vocabulary."""
    return (
        _scalar(meta, "general.architecture") in _ARCHITECTURES
        and _scalar(meta, _MODEL) == "gpt2"
        and _scalar(meta, "tokenizer.ggml.bos_token_id") == _FIRST_CONTROL
        and _n_vocab(meta) == _N_VOCAB
    )


def _scalar(meta: Mapping[str, object], key: str) -> str | int | None:
    """A text or an integer of the metadata; None if there is none or it is something else."""
    value = meta.get(key)
    return value if isinstance(value, str | int) else None


def _n_vocab(meta: Mapping[str, object]) -> str | int | None:
    """The size of the vocabulary, from what is cheapest to read."""
    size = _scalar(meta, f"{_scalar(meta, 'general.architecture')}.vocab_size")
    if size is not None:
        return size
    for key in (_TYPES, "tokenizer.ggml.tokens"):
        entries = meta.get(key)
        if isinstance(entries, list | np.ndarray):
            return len(entries)
    return None


def _control_types(types: np.ndarray) -> np.ndarray | None:
    """Token types with the last 256 made CONTROL, or None if they are so already."""
    if (types[_FIRST_CONTROL:] == _CONTROL).all():
        return None
    repaired = types.copy()
    repaired[_FIRST_CONTROL:] = _CONTROL
    return repaired
