"""Speculation: the same tokens, random draws and endings as without, whatever is guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

import bitnet_cli.engine.generate as generate_module
from bitnet_cli.engine.generate import Generation
from bitnet_cli.engine.model import Model
from bitnet_cli.engine.sampler import Sampling
from bitnet_cli.engine.session import Session
from bitnet_cli.formats.gguf_reader import GGUFReader
from bitnet_cli.native import Context

GREEDY = Sampling(temperature=0.0)
COOL = Sampling(temperature=0.4, top_k=5)
PARROT = Sampling(temperature=0.0, repeat_penalty=0.1, repeat_last_n=2)
"""Rewards what was said before, so that the text goes round in circles."""
HOT = Sampling(temperature=2.0, top_k=0, top_p=1.0, min_p=0.0, repeat_penalty=1.1)
REPEATING = [256, *b"one two three, one two three, one two three"]


@pytest.fixture(scope="module")
def model(tiny_gguf: Path) -> Model:
    reader = GGUFReader(tiny_gguf)
    return Model.load(reader, reader.metadata, Context(None, 2))


def run(model: Model, n: int, sampling: Sampling = GREEDY, *, speculate: bool, n_ctx: int = 128,
        eos: frozenset[int] = frozenset(), seed: int = 3) -> tuple[list[int], Generation, list[int]]:  # fmt: skip
    session = Session(model, n_ctx)
    generation = Generation(session, REPEATING, sampling, max_new_tokens=n, eos_ids=eos, seed=seed, n_vocab=256,
                            speculate=speculate)  # fmt: skip
    return list(generation), generation, session.ids


class Oracle:
    """Knows what comes and drafts it; every third draft has an error in it, at any place."""

    answer: tuple[int, ...] = ()

    def __init__(self, ids: list[int]) -> None:
        self.at, self.n_drafts = -len(ids), 0
        for _ in ids:
            self.append(0)

    def append(self, token: int) -> None:
        self.at += 1

    def draft(self, limit: int) -> list[int]:
        self.n_drafts += 1
        draft = list(self.answer[self.at : self.at + min(limit, self.n_drafts % 8)])
        if draft and self.n_drafts % 3 == 0:
            draft[self.n_drafts % len(draft)] ^= 1
        return draft

    def learn(self, drafted: int, accepted: int) -> None:
        assert 0 <= accepted <= drafted > 0


@pytest.mark.parametrize("sampling", [GREEDY, COOL, HOT, PARROT], ids=["greedy", "cool", "hot", "parrot"])
def test_the_same_tokens_as_without(model: Model, sampling: Sampling) -> None:
    for n in (0, 1, 2, 3, 25, 80):
        plain, _, held = run(model, n, sampling, speculate=False)
        ids, generation, also_held = run(model, n, sampling, speculate=True)
        assert ids == plain and also_held == held
        t = generation.timings
        assert t.decode_tokens == max(n - 1, 0) and 0 <= t.accepted_tokens <= t.drafted_tokens


@pytest.mark.parametrize("sampling", [GREEDY, COOL, HOT], ids=["greedy", "cool", "hot"])
@pytest.mark.parametrize("n", [2, 3, 9, 24, 80])
def test_right_and_wrong_drafts_change_nothing(
    model: Model, sampling: Sampling, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, _, held = run(model, n, sampling, speculate=False)
    monkeypatch.setattr(Oracle, "answer", tuple(plain))
    monkeypatch.setattr(generate_module, "PromptLookup", Oracle)
    ids, generation, also_held = run(model, n, sampling, speculate=True)
    t = generation.timings
    assert ids == plain and also_held == held and t.decode_tokens == n - 1
    if n == 80:
        assert 30 < t.accepted_tokens < t.drafted_tokens


@pytest.mark.parametrize("sampling", [GREEDY, HOT], ids=["greedy", "hot"])
def test_endings_are_the_same(model: Model, sampling: Sampling, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full context at every possible place, and an end token that the draft holds, at every place."""
    plain, _, _ = run(model, 80, sampling, speculate=False)
    monkeypatch.setattr(Oracle, "answer", tuple(plain))
    monkeypatch.setattr(generate_module, "PromptLookup", Oracle)
    for room in range(12):
        ended = [
            run(model, 80, sampling, speculate=speculate, n_ctx=len(REPEATING) + room)
            for speculate in (False, True)
        ]
        (ids, generation, held), (ids_2, generation_2, held_2) = ended
        assert ids == ids_2 == plain[: room + 1] and held == held_2
        assert generation.finish_reason == generation_2.finish_reason == "context"
    for token in set(plain[:20]):
        ids, generation, held = run(model, 80, sampling, speculate=True, eos=frozenset([token]))
        assert ids == plain[: plain.index(token)] and generation.finish_reason == "stop"
        assert held == REPEATING + ids


def test_repetition_is_accepted(model: Model) -> None:
    _, generation, _ = run(model, 80, PARROT, speculate=True)
    assert generation.timings.accepted_tokens > 30


def test_no_drafts_unless_asked(model: Model) -> None:
    _, generation, _ = run(model, 40, speculate=False)
    assert generation.timings.drafted_tokens == generation.timings.accepted_tokens == 0
