"""Sizes that follow from shapes, held against what the publishers' pages say."""

from __future__ import annotations

import pytest

from bitnet_cli.hub.catalogue import CATALOGUE
from bitnet_cli.hub.estimate import memory_bytes

PUBLISHED_GB = {"2b": 1.19, "bonsai-1.7b": 0.46, "bonsai-4b": 1.07, "bonsai-8b": 2.18}
"""10⁹ bytes, from the models' pages, of what `bitnet download NAME` fetches."""


@pytest.mark.parametrize(("name", "gigabytes"), PUBLISHED_GB.items(), ids=str)
def test_sizes_follow_from_the_shape(name: str, gigabytes: float) -> None:
    assert CATALOGUE[name].download_bytes == pytest.approx(gigabytes * 1e9, rel=0.02)


TRILM_MILLIONS = {
    "99m": 99.74, "190m": 190.0, "390m": 392.4, "560m": 569.2, "830m": 834.0, "1.1b": 1149, "1.5b": 1515, "2.4b": 2461,
    "3.9b": 3989,
}  # fmt: skip
"""Weights of each model, 10⁶, embedding and head included (arXiv 2407.12327)."""


@pytest.mark.parametrize(("size", "millions"), TRILM_MILLIONS.items(), ids=str)
def test_weights_of_trilm(size: str, millions: float) -> None:
    sizes = CATALOGUE[f"trilm-{size}"].sizes
    assert sizes is not None
    assert sizes.ternary_weights + 2 * sizes.embedding_weights == pytest.approx(millions * 1e6, rel=0.003)


def test_names_and_repositories_are_whole() -> None:
    for name, entry in CATALOGUE.items():
        assert name == entry.name == name.lower()
        assert entry.repo.count("/") == 1
        assert (entry.gguf_repo is None) == (entry.gguf_file is None)


def test_a_ternary_embedding_takes_less_memory_than_a_float_one() -> None:
    bonsai, falcon = CATALOGUE["bonsai-8b"].sizes, CATALOGUE["falcon3-7b"].sizes
    assert bonsai is not None and falcon is not None
    assert bonsai.ternary_weights > falcon.ternary_weights
    assert bonsai.read_bytes < 1.1 * bonsai.checkpoint_bytes("blocks")
    assert memory_bytes(bonsai) > bonsai.read_bytes
