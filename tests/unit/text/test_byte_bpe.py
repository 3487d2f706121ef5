"""Merging against its plain definition, on vocabularies made to have ties, gaps and late merges."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from tokenizer_metadata import byte_bpe_metadata

from bitnet_cli.text import byte_bpe
from bitnet_cli.text.byte_bpe import CHARACTER_OF_BYTE, ByteBPE
from bitnet_cli.text.vocabulary import Vocabulary


def made_up(rng: random.Random, pre: str) -> ByteBPE:
    """A vocabulary whose merges come in any order, so that some can never happen."""
    tokens = [*CHARACTER_OF_BYTE.values()]
    merges: list[str] = []
    while len(merges) < 60:
        left, right = (rng.choice(["a", "b", "c", *tokens[256:]]) for _ in range(2))
        if len(left + right) <= 8 and f"{left} {right}" not in merges:
            merges.append(f"{left} {right}")
            if left + right not in tokens:
                tokens.append(left + right)
    rng.shuffle(merges)
    tokens.append("<|end|>")
    description = {
        "model": {"vocab": {token: i for i, token in enumerate(tokens)}, "merges": merges},
        "added_tokens": [{"id": len(tokens) - 1, "content": "<|end|>", "special": True}],
    }
    return ByteBPE(Vocabulary.from_metadata(byte_bpe_metadata(description, pre)))


def plain_ids(bpe: ByteBPE, word: str) -> list[int]:
    """All neighbours are looked at before each merge."""
    pieces = list(word)
    while True:
        ranks = [bpe._ranks.get(f"{a} {b}", 1 << 30) for a, b in pairwise(pieces)]
        if not ranks or min(ranks) == 1 << 30:
            return [bpe._ids[piece] for piece in pieces]
        i = ranks.index(min(ranks))
        pieces[i : i + 2] = [pieces[i] + pieces[i + 1]]


@pytest.mark.parametrize("seed", range(12))
def test_merges_are_done_by_rank_then_from_the_left(seed: int) -> None:
    rng = random.Random(seed)
    bpe = made_up(rng, "gpt-2")
    for length in [*range(1, 20), 60, 61]:
        word = "".join(rng.choice("abc") for _ in range(length))
        assert bpe.encode(word, False) == plain_ids(bpe, word)


def test_remembered_words_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    bpe = made_up(random.Random(3), "llama-bpe")
    text = " ".join(["abc", "cab", "b" * 70, "abcabc"] * 3)
    first = bpe.encode(text, False)
    monkeypatch.setattr(byte_bpe, "MAX_KEPT_WORDS", 2)
    assert bpe.encode(text, False) == first == bpe.encode(text, False)
    assert len(bpe._words) <= 3 and all(len(word) <= 64 for word in bpe._words)
