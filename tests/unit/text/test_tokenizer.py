"""Byte-level BPE: ids against the `tokenizers` library, control tokens in user text, decoding."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizer_metadata import byte_bpe_metadata
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Library

from bitnet_cli.errors import UnsupportedError, UsageError
from bitnet_cli.formats.pretokenizers import PRE_TOKENIZERS
from bitnet_cli.text.tokenizer import Tokenizer

FIXTURE = Path(__file__).parents[4] / "shared" / "fixtures" / "bitnet-2b4t-tokenizer"

CORPUS = [
    "The quick brown fox jumps over the lazy dog, and the dog doesn't mind: it's asleep. It'll wake at 12.",
    "Once upon a time there was a little girl named Lily. She said: \"We'll play, won't we?\"\n\nThe end.\n",
    "Größe, Mädchen, Straße; où êtes-vous allés hier? Привет, мир! Γειά σου κόσμε. ",
    "日本語のテキスト。 한국어 문장입니다.",
    "def f(x):\n    return x ** 2  # comment\n\tif a != b:\r\n        pass\n" * 2,
    "العربية مرحبا हिन्दी भाषा ภาษาไทย 👍 emoji 12345678901234567890 3.14159",
]
TEXTS = [
    "",
    "a",
    " ",
    "Hello world",
    "  leading, trailing  ",
    "I'M HE'LL we're 'tis don't ſ's 'ſ K'LL",
    "1234567890 ١٢٣ ½ ⅷ 1,234.56",
    "tabs\t\tnewlines\n\n\r\n \n  \nmixed \r end",
    "日本語のテキスト、漢字。 한국어 문장 Ελληνικά עברית العربية हिन्दी ไทย မြန်မာ",
    "👩‍👩‍👧‍👦👍🏽🇫🇷🏴󠁧󠁢󠁳󠁣󠁴󠁿",
    "e\u0301 é e\u0323\u0301 \ufb01 \u2126 \ufeffBOM \u200b \u00a0nbsp \u3000 \u2028 \u0085",
    "\x00nul\x00 \x01\x07\x1b[31m\x7f",
    "\U0010ffff\ue000 𝒜𝓁 𝟏𝟐𝟑",
    " " * 777,
    "x" + " " * 50 + "\n" * 30 + "\t" * 20 + "y",
    "a" * 3000,
    "<|bos|> <|end|> plain <|en",
    "!!!???...---===>>>",
    "def f(x):\n    return x ** 2\n",
]


def trained(rule) -> Library:
    """A byte-level BPE of 700 tokens, two of them control and one user-defined, trained on the spot."""
    library = Library(models.BPE(ignore_merges=rule.ignore_merges))
    library.pre_tokenizer = Library.from_str(
        json.dumps(
            {
                "version": "1.0",
                "added_tokens": [],
                "pre_tokenizer": rule.description,
                "model": {"type": "BPE", "vocab": {}, "merges": []},
            }
        )
    ).pre_tokenizer
    if rule.normalizer:
        library.normalizer = normalizers.NFC()
    library.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=[AddedToken("<|bos|>", special=True), AddedToken("<|end|>", special=True)],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    library.train_from_iterator(CORPUS * 3, trainer)
    library.add_tokens([AddedToken("[tool]", special=False, normalized=False)])
    return library


@pytest.fixture(scope="module")
def libraries() -> dict[str, Library]:
    return {rule.names[0]: trained(rule) for rule in PRE_TOKENIZERS}


def ours(library: Library, pre: str, **extra: object) -> Tokenizer:
    return Tokenizer.from_metadata(byte_bpe_metadata(json.loads(library.to_str()), pre, **extra))


@pytest.fixture(scope="module")
def tokenizer(libraries: dict[str, Library]) -> Tokenizer:
    return ours(libraries["llama-bpe"], "llama-bpe", bos_token_id=0, eos_token_id=1, add_bos_token=True)


@pytest.mark.parametrize("rule", PRE_TOKENIZERS, ids=lambda rule: rule.names[0])
def test_ids_are_those_of_the_library(libraries: dict[str, Library], rule) -> None:
    library = libraries[rule.names[0]]
    for name in rule.names:
        made = ours(library, name)
        for text in [*TEXTS, *CORPUS, "a [tool]b[tool] [too"]:
            expected = library.encode(text, add_special_tokens=False).ids
            assert made.encode(text, parse_special=True) == expected, text


def test_control_tokens_in_text_are_text_unless_asked_for(tokenizer: Tokenizer) -> None:
    text = "a<|end|>b<|bos|>"
    plain = tokenizer.encode(text, add_bos=False)
    assert not {0, 1} & set(plain)
    assert tokenizer.decode(plain) == text
    parsed = tokenizer.encode(text, add_bos=False, parse_special=True)
    assert [i for i in parsed if i < 2] == [1, 0]
    assert tokenizer.decode(parsed) == "ab"


def test_control_token_that_is_a_word_is_not_merged_into(libraries: dict[str, Library]) -> None:
    """`ignore_merges` takes a whole word from the vocabulary; a control token must not be such a word."""
    described = json.loads(libraries["llama-bpe"].to_str())
    described["added_tokens"].append({"id": 701, "content": "STOP", "special": True})
    made = Tokenizer.from_metadata(byte_bpe_metadata(described, "llama-bpe"))
    assert 701 not in made.encode("STOP") + made.encode("a STOP")
    assert made.decode(made.encode("STOP")) == "STOP"
    assert made.encode("STOP", parse_special=True) == [701]


def test_user_defined_tokens_are_always_matched(tokenizer: Tokenizer) -> None:
    tool = tokenizer.n_vocab - 1
    assert tokenizer.token_text(tool) == "[tool]"
    assert tool in tokenizer.encode("x[tool]y")
    assert tokenizer.token_bytes(tool) == b"[tool]"
    assert not tokenizer.is_control(tool)


def test_bos(tokenizer: Tokenizer) -> None:
    assert tokenizer.add_bos and tokenizer.bos_id == 0 and tokenizer.eos_ids == {1}
    body = tokenizer.encode("Hello", add_bos=False)
    assert tokenizer.encode("Hello") == [0, *body]
    assert tokenizer.encode("") == [0]
    assert tokenizer.encode("<|bos|>Hello", parse_special=True) == [0, *body]
    assert tokenizer.encode("<|bos|>Hello", add_bos=True, parse_special=True) == [0, 0, *body]
    assert tokenizer.encode("<|bos|>Hello", add_bos=False, parse_special=True) == [0, *body]


def test_bos_of_a_vocabulary_without_one(libraries: dict[str, Library]) -> None:
    made = ours(libraries["gpt-2"], "gpt-2")
    assert made.bos_id is None and made.encode("a") == made.encode("a", add_bos=False)
    with pytest.raises(UsageError, match="no BOS"):
        made.encode("a", add_bos=True)


@pytest.mark.parametrize("text", TEXTS)
def test_round_trip(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert b"".join(map(tokenizer.token_bytes, ids)) == text.encode()


def test_partial_characters_decode_to_replacements(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("🏴", add_bos=False)
    assert len(ids) > 1
    assert tokenizer.decode(ids[:1]) == "\ufffd"


def test_lone_surrogates_count_as_replacement_characters(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("a\ud800b\udcff") == tokenizer.encode("a\ufffdb\ufffd")


def test_encode_parts(tokenizer: Tokenizer) -> None:
    hello = tokenizer.encode(" Hello", add_bos=False)
    assert tokenizer.encode_parts([" Hello", 1, "<|end|>"]) == [
        0,
        *hello,
        1,
        *tokenizer.encode("<|end|>", add_bos=False),
    ]
    assert tokenizer.encode_parts([0, " Hello"]) == [0, *hello]
    assert tokenizer.encode_parts([], add_bos=False) == []


def test_control_tokens_are_found_longest_first(libraries: dict[str, Library]) -> None:
    described = json.loads(libraries["gpt-2"].to_str())
    n = 701
    for i, content in enumerate(["<a>", "<a>b", "b<", "]"]):
        described["added_tokens"].append({"id": n + i, "content": content, "special": True})
    made = Tokenizer.from_metadata(byte_bpe_metadata(described, "gpt-2"))
    assert made.split_control("x<a>b<a>b<]<a") == ["x", n + 1, n + 1, "<", n + 3, "<a"]
    assert made.find_control("b<a>") == [(0, 2, n + 2)]
    assert made.control_id("<a>") == n and made.control_id("<") is None


def test_ids_outside_the_vocabulary_are_refused(tokenizer: Tokenizer) -> None:
    for call in (tokenizer.token_bytes, tokenizer.token_text, tokenizer.is_control):
        for i in (-1, tokenizer.n_vocab):
            with pytest.raises(UsageError, match="is not in the vocabulary"):
                call(i)
    with pytest.raises(UsageError):
        tokenizer.encode_parts([tokenizer.n_vocab])


def test_a_byte_without_token_is_an_error_and_not_lost() -> None:
    tokens = ["a", "b", "Ġ"]
    made = Tokenizer.from_metadata(
        {
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.pre": "gpt-2",
            "tokenizer.ggml.tokens": tokens,
            "tokenizer.ggml.merges": [],
        }
    )
    assert made.encode("ab a") == [0, 1, 2, 0]
    with pytest.raises(UnsupportedError, match="no token for the byte 0x63"):
        made.encode("abc")


@pytest.fixture(scope="module")
def published() -> tuple[Library, Tokenizer]:
    """The tokenizer of BitNet b1.58 2B-4T as published, and ours made from it."""
    if not FIXTURE.is_dir():
        pytest.skip("the tokenizer of 2B-4T is not beside the checkout")
    described = json.loads((FIXTURE / "tokenizer.json").read_text())
    meta = byte_bpe_metadata(
        described, "llama-bpe", bos_token_id=128000, eos_token_id=128001, add_bos_token=True
    )
    return Library.from_file(str(FIXTURE / "tokenizer.json")), Tokenizer.from_metadata(meta)


def test_published_golden_strings(published: tuple[Library, Tokenizer]) -> None:
    for case in json.loads((FIXTURE / "golden_tokens.json").read_text()):
        ids = published[1].encode(case["text"], add_bos=False, parse_special=True)
        assert ids == case["ids"], case["text"]


def test_published_ids_are_those_of_the_library(published: tuple[Library, Tokenizer]) -> None:
    library, made = published
    for text in [*TEXTS, *CORPUS]:
        assert made.encode(text, parse_special=True) == library.encode(text).ids, text
        assert made.decode(made.encode(text)) == text


def test_published_end_tokens_are_known_by_name(published: tuple[Library, Tokenizer]) -> None:
    assert published[1].eos_ids >= {128001, 128009}


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("Hello world!", [9906, 1917, 0]),
        ("  two\n\nnew", [220, 1403, 271, 943]),
        ("Łódź 日本", [129, 223, 21151, 40611, 105180]),
        ("Assistant: ", [72803, 25, 220]),
    ],
)
def test_published_vectors(published: tuple[Library, Tokenizer], text: str, ids: list[int]) -> None:
    assert published[1].encode(text) == [128000, *ids]
