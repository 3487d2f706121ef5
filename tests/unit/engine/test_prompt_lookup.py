"""Drafts from repetition: what is guessed, how far, and how wrong guesses make it careful."""

from __future__ import annotations

import random

import pytest

from bitnet_cli.engine.prompt_lookup import LEAST_TRUST, MAX_DRAFT, MOST_TRUST, PromptLookup

LONG = list(range(100, 130))


@pytest.mark.parametrize(
    ("ids", "draft"),
    [
        ([], []),
        ([1], []),
        ([1, 2, 3], []),
        ([1, 2, 3, 4, 5, 6, 7], []),
        ([2, 3, 4, 9, 2, 3, 4], []),
        ([1, 2, 3, 4, 9, 8, 7, 1, 2, 3, 4], [9, 8]),
        ([1, 2, 3, 4, 5, 6, 9, 8, 7, 1, 2, 3, 4, 5, 6], [9, 8, 7]),
        ([1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 6, 1, 2, 3, 4], [6, 1]),
        ([7] * 7, [7] * 3),
        ([7] * 40, [7] * MAX_DRAFT),
        ([1, 2] * 10, [1, 2, 1, 2, 1, 2, 1]),
        ([*LONG, 0, *LONG[:20]], LONG[20 : 20 + MAX_DRAFT]),
    ],
    ids=str,
)
def test_draft(ids: list[int], draft: list[int]) -> None:
    assert PromptLookup(ids).draft(99) == draft
    assert PromptLookup(ids).draft(1) == draft[:1]
    assert PromptLookup(ids).draft(0) == []


def test_a_draft_is_what_followed_the_same_tokens() -> None:
    """Against the plain definition: the latest earlier place, followed as far as it agrees."""
    rng = random.Random(1)
    ids: list[int] = []
    lookup = PromptLookup(ids)
    for _ in range(3000):
        token = ids[-rng.randrange(1, 60)] if len(ids) > 60 and rng.random() < 0.3 else rng.randrange(3)
        ids.append(token)
        lookup.append(token)
        after = next((p for p in range(len(ids) - 1, 2, -1) if ids[p - 3 : p] == ids[-3:]), None)
        same = 0
        while after is not None and same < after and ids[after - same - 1] == ids[-same - 1]:
            same += 1
        expected = []
        if after is not None and same >= LEAST_TRUST:
            expected = [ids[after + i % (len(ids) - after)] for i in range(min(same // 2, MAX_DRAFT))]
        assert lookup.draft(99) == expected


def test_wrong_drafts_ask_for_more_agreement() -> None:
    lookup = PromptLookup([7] * 13)
    assert lookup.draft(99)
    lookup.learn(3, 3)
    assert lookup.draft(99)
    lookup.learn(3, 2)
    assert lookup.draft(99)
    lookup.learn(3, 0)
    assert not lookup.draft(99)
    for _ in range(10):
        lookup.learn(3, 0)
    for _ in range(MOST_TRUST):
        lookup.append(7)
    assert len(lookup.draft(99)) == MAX_DRAFT
