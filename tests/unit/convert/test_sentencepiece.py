"""tokenizer.model: the pieces of a real message, unknown fields, and every truncation."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from tiny_tokenizers import sentencepiece_model, sentencepiece_pieces

from bitnet_cli.convert.sentencepiece import Piece, read_sentencepiece
from bitnet_cli.errors import BitnetError, FormatError, UnsupportedError

PATH = Path("tokenizer.model")


def piece(text: bytes = b"a", score: float = -1.0, kind: int | None = None) -> bytes:
    body = b"\x0a" + bytes([len(text)]) + text + b"\x15" + struct.pack("<f", score)
    body += b"" if kind is None else b"\x18" + bytes([kind])
    return b"\x0a" + bytes([len(body)]) + body


BPE = b"\x12\x02\x18\x02"


def test_pieces_scores_and_types() -> None:
    model = read_sentencepiece(sentencepiece_model(), PATH)
    assert [(p.text, p.score, p.type) for p in model.pieces] == sentencepiece_pieces()
    assert model.add_space_prefix


def test_defaults_and_unknown_fields() -> None:
    unknown = b"\xa0\x06\x05" + b"\xa9\x06" + bytes(8) + b"\xaa\x06\x03abc" + b"\xad\x06" + bytes(4)
    model = read_sentencepiece(unknown + piece() + BPE + b"\x1a\x02\x18\x00" + b"\x0a\x00", PATH)
    assert model.pieces == [Piece("a", -1.0, 1), Piece("", 0.0, 1)]
    assert not model.add_space_prefix


def test_no_truncation_is_taken_for_a_shorter_model() -> None:
    raw = sentencepiece_model()
    for length in range(len(raw)):
        try:
            model = read_sentencepiece(raw[:length], PATH)
        except BitnetError:
            continue
        assert len(model.pieces) == len(sentencepiece_pieces()), (
            "only fields behind the pieces may be missing"
        )


@pytest.mark.parametrize(
    ("raw", "kind", "words"),
    [
        (b"", FormatError, "no pieces"),
        (BPE, FormatError, "no pieces"),
        (b"IQ== 0\nIg== 1\n", FormatError, "not a SentencePiece model"),
        (piece(), UnsupportedError, "type 1"),
        (piece() + b"\x12\x02\x18\x01", UnsupportedError, "type 1"),
        (piece(b"\xff") + BPE, FormatError, "utf-8"),
        (piece(score=float("nan")) + BPE, FormatError, "finite"),
        (piece(kind=9) + BPE, FormatError, "type 9"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f" + BPE, FormatError, "longer than"),
        (b"\x0a" + b"\xff" * 11, FormatError, "ten bytes"),
        (b"\x0b", FormatError, "wire type"),
    ],
)
def test_refused(raw: bytes, kind: type[BitnetError], words: str) -> None:
    with pytest.raises(BitnetError) as caught:
        read_sentencepiece(raw, PATH)
    assert type(caught.value) is kind and words in caught.value.message, caught.value.message
