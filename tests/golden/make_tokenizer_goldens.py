"""Makes tokenizer_goldens.json: what the tokenizers library encodes with the files of tests/reference/tokenizer_kinds.py.

usage: python tests/golden/make_tokenizer_goldens.py          (needs tokenizers)

The library reads the whole tokenizer.json: normalizer, pre-tokenizer, merges, added tokens and post-processor.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "reference"))

# ruff: noqa: E402 - the line above decides what these imports find

import tokenizers
from tokenizer_kinds import kinds

TEXTS = [
    "",
    " ",
    "a",
    "Hello world",
    " Hello  world   the    quick     quickest",
    " quickest quickest",
    "I don't; HE'LL and we'll, DON'T 'S 's ſ's it'S",
    "1 12 123 1234 12345 1234567 123456789 ١٢٣ ½ ⅷ 3.14 1,234",
    "one\ntwo\n\nthree\n\n\nfour\n\n\n\n five \n \n six\r\nseven\r\n\r\n\teight\t\tnine \t",
    "trailing spaces    ",
    "\n\n\n\n\n",
    "     \n     ",
    "!!! ... !!...!! (a)[b]{c} a.b a..b ... ---===>>> $5 + ^~|`",
    "é e\u0301 E\u0301 e\u0323\u0301 ﬁ Å \u212b \u2126 \u0958",
    "Größe Straße ſtill Жук Привет Ελληνικά",
    "日本語のテキスト。 한국어 문장 ไทย हिन्दी עברית العربية မြန်မာ",
    "👩‍👩‍👧‍👦👍🏽🇫🇷 🏴󠁧󠁢󠁳󠁣󠁴󠁿 𝒜𝟏𝟐",
    "\x00 \x07 \x7f \xa0 \u3000 \u2028 \u200b \ufeff \x85",
    "def f(x):\n    return x ** 2  # comment\n\tif a != b:\n\t\tpass\n",
    "x" * 40 + " " * 40 + "\n" * 10,
    "<|begin|>Hello<|turn|>\nworld <|end|> <| end|> <|en",
    "<think>\nthe world\n</think>\n\nHello",
    "<bos>Hello<eos> <unk> <0x41> <s>a</s> ▁the▁▁world▁",
    "\U0010ffff \ue000 \u0378",
]


def main() -> None:
    """Writes the file beside this script."""
    made: dict[str, object] = {"made_with": f"tokenizers {tokenizers.__version__}", "texts": TEXTS}
    for name, kind in kinds().items():
        library = tokenizers.Tokenizer.from_str(json.dumps(kind.tokenizer))
        made[name] = [library.encode(text).ids for text in TEXTS]
    lines = json.dumps(made, ensure_ascii=True, separators=(",", ":")).replace("],[", "],\n[")
    (HERE / "tokenizer_goldens.json").write_text(lines + "\n")


if __name__ == "__main__":
    main()
