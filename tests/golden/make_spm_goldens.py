"""Makes spm_goldens.json: tiny SentencePiece BPE models and what the reference library encodes with them.

usage: python tests/golden/make_spm_goldens.py          (needs sentencepiece and protobuf)

Each model is trained on the text below, so the file can be remade from this script alone. The tests read it
and never need the library.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import sentencepiece
from sentencepiece import sentencepiece_model_pb2

CORPUS = """
The quick brown fox jumps over the lazy dog. The dog sleeps, and the fox runs through the forest again.
She sells sea shells by the sea shore; the shells she sells are surely sea shells, so she said.
Once upon a time there was a little girl named Lily. She loved to play outside in the sunshine with friends.
One day, Lily and her mother went to the market. They bought apples, oranges and a bag of flour for a cake.
How much wood would a woodchuck chuck if a woodchuck could chuck wood? 1 2 3 10 20 300 1234 5678.
Der schnelle braune Fuchs springt über den faulen Hund. Größe, Mädchen, Straße, schön und für immer.
Le renard brun saute par-dessus le chien paresseux. Été, garçon, où êtes-vous allés hier soir, ma chère?
def encode(self, text): return [self.ids[piece] for piece in self.pieces(text)]  # code  with  spaces
""".strip().splitlines()

TEXTS = [
    "",
    " ",
    "  ",
    "a",
    "Hello world",
    " Hello world",
    "  leading and trailing  ",
    "The quick brown fox jumps over the lazy dog.",
    "woodchuck woodchucks wood",
    "a\nb\n\n\tc\r\n",
    "tabs\t\tand   three spaces",
    "Größe über Straße, où êtes-vous?",
    "日本語のテキスト、漢字。",
    "Привет, мир! Γειά σου κόσμε",
    "emoji 👩‍👩‍👧‍👦 👍🏽 🇫🇷",
    "nul \x00 bell \x07 del \x7f nbsp \xa0 bom \ufeff zwj \u200d",
    "e\u0301 é ſ İ",
    "x" * 70,
    "the " * 30,
    "1234567890 3.14159",
    "self.pieces(text)  # code",
    "<s> </s> <unk> <0x41>",
    "\u2581already\u2581marked",
    "\U0010ffff\ue000",
]

MODELS = {
    "llama": {"add_dummy_prefix": True},
    "no_prefix": {"add_dummy_prefix": False},
    "no_bytes": {"add_dummy_prefix": True, "byte_fallback": False},
    "unused": {"add_dummy_prefix": True},
}


def trained(**options: object) -> sentencepiece.SentencePieceProcessor:
    """A model of 420 pieces (fewer without byte tokens) in the manner of Llama 2."""
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        **{
            "sentence_iterator": iter(CORPUS),
            "model_writer": out,
            "model_type": "bpe",
            "vocab_size": 420 if options.get("byte_fallback", True) else 180,
            "byte_fallback": True,
            "normalization_rule_name": "identity",
            "remove_extra_whitespaces": False,
            "split_digits": True,
            "character_coverage": 0.99,
            "num_threads": 1,
            "minloglevel": 2,
            **options,
        }
    )
    return sentencepiece.SentencePieceProcessor(model_proto=out.getvalue())


def with_unused(model: sentencepiece.SentencePieceProcessor) -> sentencepiece.SentencePieceProcessor:
    """The same model with every third piece of several characters marked as unused."""
    proto = sentencepiece_model_pb2.ModelProto.FromString(model.serialized_model_proto())
    for n, piece in enumerate(proto.pieces):
        if piece.type == piece.NORMAL and len(piece.piece) > 1 and n % 3 == 0:
            piece.type = piece.UNUSED
    return sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())


def token_type(model: sentencepiece.SentencePieceProcessor, i: int) -> int:
    """The GGUF token type of a piece."""
    checks = ((model.is_unknown, 2), (model.is_control, 3), (model.is_unused, 5), (model.is_byte, 6))
    return next((kind for check, kind in checks if check(i)), 1)


def golden(name: str, options: dict[str, object]) -> dict[str, object]:
    """Vocabulary and encodings of one model."""
    model = trained(**options)
    if name == "unused":
        model = with_unused(model)
    ids = range(model.get_piece_size())
    return {
        "add_space_prefix": options["add_dummy_prefix"],
        "tokens": [model.id_to_piece(i) for i in ids],
        "scores": [round(model.get_score(i), 6) for i in ids],
        "types": [token_type(model, i) for i in ids],
        "cases": [
            {"text": text, "ids": (encoded := model.encode(text)), "decoded": model.decode(encoded)}
            for text in TEXTS
        ],
    }


def main() -> None:
    """Writes the file beside this script."""
    made = {
        "made_with": f"sentencepiece {sentencepiece.__version__}",
        "models": {name: golden(name, options) for name, options in MODELS.items()},
    }
    text = json.dumps(made, ensure_ascii=True, separators=(",", ":"))
    (Path(__file__).parent / "spm_goldens.json").write_text(text.replace('{"text"', '\n{"text"') + "\n")


if __name__ == "__main__":
    main()
