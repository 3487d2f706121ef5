"""Sessions and the loop: the same bits however tokens are fed, and every way to stop."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from bitnet_cli.engine.generate import Generation
from bitnet_cli.engine.model import Model
from bitnet_cli.engine.sampler import Sampling
from bitnet_cli.engine.session import Session
from bitnet_cli.errors import UsageError
from bitnet_cli.formats.gguf_reader import GGUFReader
from bitnet_cli.native import Context

IDS = [256, 72, 101, 108, 108, 111, 32, 119, 111, 114, 108, 100, 33, 10, 0, 255, 1, 2, 3]
GREEDY = Sampling(temperature=0.0)


def load(path: Path, isa: str | None = None, n_threads: int = 1) -> Model:
    reader = GGUFReader(path)
    return Model.load(reader, reader.metadata, Context(isa, n_threads))


@pytest.fixture(scope="module")
def model(tiny_gguf: Path) -> Model:
    return load(tiny_gguf)


@pytest.fixture(scope="module")
def expected(tiny_gguf: Path) -> np.ndarray:
    """Logits of the scalar reference, one thread, token by token."""
    session = Session(load(tiny_gguf, "scalar"))
    return np.concatenate([session.evaluate([token]) for token in IDS])


def chunks(sizes: list[int]) -> list[list[int]]:
    edges = np.cumsum([0, *sizes])
    return [IDS[a:b] for a, b in pairwise(edges)]


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("sizes", [[19], [1] * 19, [7, 12], [2, 3, 1, 13], [16, 3]], ids=str)
def test_bits_do_not_depend_on_isa_threads_or_batch(
    tiny_gguf: Path, expected: np.ndarray, isa: str, n_threads: int, sizes: list[int]
) -> None:
    session = Session(load(tiny_gguf, isa, n_threads))
    logits = np.concatenate([session.evaluate(chunk, n_logits=len(chunk)) for chunk in chunks(sizes)])
    assert logits.tobytes() == expected.tobytes()


@pytest.mark.parametrize("max_batch", [1, 5, 19])
def test_a_long_prompt_is_split_into_batches(model: Model, expected: np.ndarray, max_batch: int) -> None:
    done: list[int] = []
    session = Session(model, max_batch=max_batch)
    logits = session.evaluate(IDS, n_logits=7, progress=done.append)
    assert logits.tobytes() == expected[-7:].tobytes()
    assert done[-1] == len(IDS) and len(done) == -(-len(IDS) // max_batch)


def test_truncate_forgets_and_the_rest_is_reused(model: Model, expected: np.ndarray) -> None:
    session = Session(model)
    session.evaluate([*IDS[:10], 5, 6, 7])
    session.truncate(10)
    assert session.ids == IDS[:10]
    assert session.evaluate(IDS[10:], n_logits=9).tobytes() == expected[10:].tobytes()


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([], "nothing to evaluate"),
        ([258], "0 to 257"),
        ([-1], "0 to 257"),
        ([1 << 40], "0 to 257"),
        ([1] * 129, "do not fit"),
    ],
)
def test_wrong_ids_are_refused_and_change_nothing(model: Model, ids: list[int], message: str) -> None:
    session = Session(model)
    with pytest.raises(UsageError, match=message):
        session.evaluate(ids)
    assert session.ids == [] and session.free == 128


@pytest.mark.parametrize("n_ctx", [0, -1, 129])
def test_context_out_of_range(model: Model, n_ctx: int) -> None:
    with pytest.raises(UsageError, match="1 to 128"):
        Session(model, n_ctx)


def generate(model: Model, n: int, *, n_ctx: int | None = None, eos: frozenset[int] = frozenset(), seed: int = 0,
             sampling: Sampling = GREEDY) -> tuple[list[int], Generation]:  # fmt: skip
    generation = Generation(
        Session(model, n_ctx), IDS[:4], sampling, max_new_tokens=n, eos_ids=eos, seed=seed
    )
    return list(generation), generation


def test_length(model: Model) -> None:
    ids, generation = generate(model, 8)
    assert len(ids) == 8 and generation.finish_reason == "length"
    assert generation.timings.prompt_tokens == 4 and generation.timings.decode_tokens == 7
    assert generation.timings.prompt_tps > 0 and generation.timings.decode_tps > 0


def test_zero_tokens(model: Model) -> None:
    assert generate(model, 0)[0] == []


@pytest.mark.parametrize("speculate", [False, True])
def test_a_prompt_may_follow_tokens_that_are_there(model: Model, speculate: bool) -> None:
    whole, begun = Session(model), Session(model)
    begun.evaluate(IDS[:2])
    texts = [
        list(Generation(session, prompt, GREEDY, max_new_tokens=8, eos_ids=frozenset(), speculate=speculate))
        for session, prompt in ((whole, IDS[:4]), (begun, IDS[2:4]))
    ]
    assert texts[0] == texts[1] and whole.ids == begun.ids == IDS[:4] + texts[0][:-1]


def test_end_token_is_not_yielded(model: Model) -> None:
    ids, _ = generate(model, 8)
    stop = ids[5]
    first = ids.index(stop)
    found, generation = generate(model, 8, eos=frozenset([stop]))
    assert found == ids[:first] and generation.finish_reason == "stop"


def test_full_context(model: Model) -> None:
    ids, generation = generate(model, 100, n_ctx=10)
    assert len(ids) == 7 and generation.finish_reason == "context"


def test_greedy_is_the_argmax_of_the_logits(model: Model) -> None:
    ids, _ = generate(model, 5)
    logits = Session(model).evaluate([*IDS[:4], *ids], n_logits=6)
    assert logits.argmax(axis=1)[:5].tolist() == ids


def test_a_seed_repeats(model: Model) -> None:
    hot = Sampling(temperature=2.0, top_k=0, top_p=1.0, min_p=0.0)
    runs = [generate(model, 12, seed=seed, sampling=hot)[0] for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize("eos", [False, True], ids=["length", "end token"])
@pytest.mark.parametrize("speculate", [False, True], ids=["plain", "speculate"])
def test_a_session_that_is_not_empty_is_continued(model: Model, speculate: bool, eos: bool) -> None:
    """Prompt in two parts, with a penalty that looks back: tokens, cache and logits are those of the prompt in one."""
    sampling = Sampling(temperature=0.0, repeat_penalty=1.3, repeat_last_n=64)
    whole, parts = Session(model), Session(model)
    plain = list(Generation(whole, IDS, sampling, max_new_tokens=12))
    ends = frozenset([plain[7]]) if eos else frozenset()
    whole.truncate(0)
    expected = list(Generation(whole, IDS, sampling, max_new_tokens=12, eos_ids=ends))
    parts.evaluate(IDS[:11])
    generation = Generation(parts, IDS[11:], sampling, max_new_tokens=12, eos_ids=ends, speculate=speculate)
    assert list(generation) == expected and generation.timings.prompt_tokens == len(IDS) - 11
    assert parts.ids == whole.ids == IDS + (expected if eos else expected[:-1])
    assert parts.evaluate([65]).tobytes() == Session(model).evaluate([*whole.ids, 65]).tobytes()
