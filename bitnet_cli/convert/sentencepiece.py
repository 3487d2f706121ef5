"""Reads a SentencePiece `tokenizer.model`: a protobuf message of pieces with scores and types.

Only the few fields that are needed, of the message ModelProto: pieces (1: text, score, type), trainer_spec
(2) with model_type (3), normalizer_spec (3) with add_dummy_prefix (3). Every length is checked against what
is left.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bitnet_cli.errors import FormatError, UnsupportedError

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
"""Types of a piece; the numbers of SentencePiece are also those of `tokenizer.ggml.token_type`."""
_BPE = 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True)
class Piece:
    """One entry of the vocabulary; its place in the list is its id."""

    text: str
    score: float
    type: int


@dataclass(frozen=True)
class SentencePieceModel:
    """A BPE vocabulary of SentencePiece.

    `add_space_prefix`: text is encoded as if a space stood before it.
    """

    pieces: list[Piece]
    add_space_prefix: bool


def read_sentencepiece(raw: bytes, path: Path) -> SentencePieceModel:
    """Reads the content of a `tokenizer.model`.

    Raises:
        FormatError: the bytes are not such a message.
        UnsupportedError: the model is not BPE (Unigram is the other common kind).
    """
    pieces: list[Piece] = []
    model_type, add_space_prefix = 1, True
    try:
        for field, value in _fields(raw):
            if field == 1 and isinstance(value, memoryview):
                pieces.append(_piece(value))
            elif field == 2 and isinstance(value, memoryview):
                model_type = _integer(value, 3, model_type)
            elif field == 3 and isinstance(value, memoryview):
                add_space_prefix = bool(_integer(value, 3, 1))
    except (ValueError, struct.error) as error:
        raise FormatError(f"this is not a SentencePiece model: {error}", path=path) from None
    if not pieces:
        raise FormatError("this is not a SentencePiece model: it has no pieces", path=path)
    if model_type != _BPE:
        raise UnsupportedError(
            f"{path}: SentencePiece models of type {model_type} are not supported",
            hint="supported is BPE (type 2)",
        )
    return SentencePieceModel(pieces, add_space_prefix)


def _piece(message: memoryview) -> Piece:
    text, score, kind = "", 0.0, NORMAL
    for field, value in _fields(message):
        if field == 1 and isinstance(value, memoryview):
            text = str(value, "utf-8")
        elif field == 2 and isinstance(value, float):
            score = value
        elif field == 3 and isinstance(value, int):
            kind = value
    if not NORMAL <= kind <= BYTE:
        raise ValueError(f"a piece has the type {kind}")
    if not math.isfinite(score):
        raise ValueError("a piece has a score that is not finite")
    return Piece(text, score, kind)


def _integer(message: memoryview, wanted: int, default: int) -> int:
    for field, value in _fields(message):
        if field == wanted and isinstance(value, int):
            default = value
    return default


def _fields(message: bytes | memoryview) -> Iterator[tuple[int, int | float | memoryview]]:
    """(field number, value) of a message: integers, 32-bit floats, or bytes; 64-bit fields are stepped over.

    Raises:
        ValueError: a field does not fit into the message.
    """
    view, pos = memoryview(message), 0
    while pos < len(view):
        tag, pos = _varint(view, pos)
        wire = tag & 7
        if wire == _VARINT:
            value, pos = _varint(view, pos)
            yield tag >> 3, value
            continue
        size = 0
        if wire == _BYTES:
            size, pos = _varint(view, pos)
        elif wire in (_FIXED32, _FIXED64):
            size = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"unknown wire type {wire} at byte {pos}")
        if size > len(view) - pos:
            raise ValueError(f"a field at byte {pos} is longer than the rest of the message")
        if wire == _FIXED32:
            yield tag >> 3, struct.unpack_from("<f", view, pos)[0]
        elif wire == _BYTES:
            yield tag >> 3, view[pos : pos + size]
        pos += size


def _varint(view: memoryview, pos: int) -> tuple[int, int]:
    """(value, position after it) of a base-128 number of at most ten bytes."""
    value = 0
    for shift in range(0, 70, 7):
        if pos >= len(view):
            raise ValueError("the message ends inside a number")
        byte = view[pos]
        value |= (byte & 127) << shift
        pos += 1
        if byte < 128:
            return value, pos
    raise ValueError(f"a number before byte {pos} is longer than ten bytes")
