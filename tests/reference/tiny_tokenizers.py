"""Small real tokenizers for the tiny checkpoints: byte-level BPE and SentencePiece, written by hand.

Standard library only. `byte_level_json` returns the content of a `tokenizer.json` with 256 byte tokens,
a few merges and three special tokens; `sentencepiece_pieces`, `sentencepiece_model` and
`sentencepiece_json` describe one Llama-2 style vocabulary as pieces, as the bytes of a
`tokenizer.model` file and as the content of a `tokenizer.json`.
"""

from __future__ import annotations

import struct

LLAMA3_REGEX = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIALS = ("<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>")
CHAT_TEMPLATE = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = message['role'] | "
    "capitalize + ': '+ message['content'] | trim + '<|eot_id|>' %}{{ content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}"
)
# Words whose left-to-right merges make the tiny vocabularies; "_" stands for the space marker.
_WORDS = ("_the", "_and", "ing", "er", "_to", "_of", "_in", "on", "_you", "_world", "_Hello", "_User", "1234")


def byte_alphabet() -> list[str]:
    """The 256 printable characters that GPT-2 gives to the bytes 0..255, indexed by byte."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    table = {b: chr(b) for b in visible}
    for n, b in enumerate(b for b in range(256) if b not in table):
        table[b] = chr(256 + n)
    return [table[b] for b in range(256)]


def word_merges(space: str) -> list[tuple[str, str]]:
    """Merges that build every word of the list from the left, `space` standing for the space marker."""
    merges: dict[tuple[str, str], None] = {}
    for word in _WORDS:
        letters = word.replace("_", space)
        for i in range(1, len(letters)):
            merges[(letters[:i], letters[i])] = None
    return list(merges)


def byte_level_json(*, merges_as_strings: bool = True, add_bos: bool = True, n_specials: int = 3) -> dict:
    """A byte-level BPE `tokenizer.json` in the manner of Llama 3.

    Ids: 0..255 the bytes in GPT-2's order, then one token per merge, then the special tokens.
    """
    merges = word_merges("Ġ")
    vocab = {token: i for i, token in enumerate(sorted(byte_alphabet(), key=ord))}
    for left, right in merges:
        vocab.setdefault(left + right, len(vocab))
    specials = [
        {
            "id": len(vocab) + i,
            "content": name,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for i, name in enumerate(SPECIALS[:n_specials])
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": specials,
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {
                    "type": "Split",
                    "pattern": {"Regex": LLAMA3_REGEX},
                    "behavior": "Isolated",
                    "invert": False,
                },
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
            ],
        },
        "post_processor": _bos_template(SPECIALS[0], len(vocab)) if add_bos else None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": True,
            "vocab": vocab,
            "merges": [f"{a} {b}" for a, b in merges] if merges_as_strings else [list(m) for m in merges],
        },
    }


def sentencepiece_pieces() -> list[tuple[str, float, int]]:
    """(piece, score, type) of a Llama-2 style vocabulary; types: 1 normal, 2 unknown, 3 control, 6 byte.

    Ids: 0 `<unk>`, 1 `<s>`, 2 `</s>`, 3..258 the byte tokens, then pieces with falling scores, then
    single characters.
    """
    pieces = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)]
    pieces += [(f"<0x{b:02X}>", 0.0, 6) for b in range(256)]
    merged = list(dict.fromkeys(a + b for a, b in word_merges("▁")))
    letters = sorted({c for word in merged for c in word})
    pieces += [(piece, -float(rank), 1) for rank, piece in enumerate(merged + letters)]
    return pieces


def sentencepiece_model() -> bytes:
    """The same vocabulary as the protobuf file `tokenizer.model`."""
    out = bytearray()
    for text, score, kind in sentencepiece_pieces():
        raw = text.encode()
        body = b"\x0a" + bytes([len(raw)]) + raw + b"\x15" + struct.pack("<f", score)
        if kind != 1:
            body += b"\x18" + bytes([kind])
        out += b"\x0a" + bytes([len(body)]) + body
    trainer = b"\x18\x02"  # TrainerSpec.model_type = BPE
    normalizer = b"\x18\x01"  # NormalizerSpec.add_dummy_prefix = true
    out += b"\x12" + bytes([len(trainer)]) + trainer
    out += b"\x1a" + bytes([len(normalizer)]) + normalizer
    return bytes(out)


def sentencepiece_json() -> dict:
    """The same vocabulary as `tokenizer.json`: BPE with byte fallback behind the ▁ normalizer.

    The merges are all splits of each piece, best piece first, as the converter of transformers lists them.
    """
    vocab = {text: i for i, (text, _, _) in enumerate(sentencepiece_pieces())}
    added = [
        {
            "id": i,
            "content": text,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for i, text in enumerate(("<unk>", "<s>", "</s>"))
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "▁"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            ],
        },
        "pre_tokenizer": None,
        "post_processor": _bos_template("<s>", 1),
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": vocab,
            "merges": [
                [text[:i], text[i:]]
                for text, _, kind in sentencepiece_pieces()
                for i in range(1, len(text))
                if kind == 1 and text[:i] in vocab and text[i:] in vocab
            ],
        },
    }


def _bos_template(name: str, token_id: int) -> dict:
    """A TemplateProcessing post-processor that puts the BOS token before every text."""
    bos = {"SpecialToken": {"id": name, "type_id": 0}}
    return {
        "type": "TemplateProcessing",
        "single": [bos, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [bos, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {name: {"id": name, "ids": [token_id], "tokens": [name]}},
    }
