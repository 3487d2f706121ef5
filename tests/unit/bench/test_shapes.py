"""The table of shapes: sizes that fit together and add up to the models' known numbers of weights."""

from __future__ import annotations

import pytest

from bitnet_cli.bench.shapes import SHAPES, shape_named
from bitnet_cli.errors import UsageError

TERNARY_WEIGHTS = {  # of all layers
    "bitnet-2b-4t": 2_084_044_800,
    "bitnet-large": 679_477_248,
    "bitnet-3b": 3_221_504_000,
    "llama3-8b": 6_979_321_856,
    "falcon3-1b": 1_132_462_080,
    "falcon3-3b": 2_422_210_560,
    "falcon3-7b": 6_650_068_992,
    "falcon3-10b": 9_500_098_560,
    "bonsai-1.7b": 1_409_286_144,
    "bonsai-4b": 3_633_315_840,
    "bonsai-8b": 6_945_767_424,
}


@pytest.mark.parametrize("name", SHAPES)
def test_sizes(name: str) -> None:
    c = shape_named(name).config()
    q_dim, kv_dim = c.n_heads * c.head_dim, c.n_kv_heads * c.head_dim
    assert c.n_layers * c.dim * (2 * q_dim + 2 * kv_dim + 3 * c.ffn_dim) == TERNARY_WEIGHTS[name]
    assert c.n_heads % c.n_kv_heads == 0 and c.n_rot == c.head_dim and c.name == name
    assert c.context_length == 4096


def test_a_longer_context_may_be_asked_for() -> None:
    assert shape_named("falcon3-1b").config(10_000).context_length == 10_000
    assert shape_named("falcon3-1b").config(10).context_length == 4096


def test_unknown() -> None:
    with pytest.raises(UsageError, match="unknown shape `gpt`") as error:
        shape_named("gpt")
    assert "`bitnet-2b-4t`" in str(error.value.hint)
