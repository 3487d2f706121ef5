"""The architecture table: what each name means, and the refusal of unknown names."""

from __future__ import annotations

import pytest

from bitnet_cli.arch import ARCHS, arch_for
from bitnet_cli.errors import UnsupportedError

# name, activation, sub-norms, rope: facts of the released models.
FACTS = [
    ("bitnet-b1.58", "relu2", True, "neox"),
    ("bitnet-25", "relu2", True, "neox"),
    ("bitnet", "silu", True, "neox"),
    ("llama", "silu", False, "norm"),
    ("qwen3", "silu", False, "neox"),
    ("gemma3", "gelu_tanh", False, "neox"),
]
# name, norms of q and k, norms of inputs, norms after, scaled embeddings, every how many layers one without window.
NORMS = [
    ("bitnet-b1.58", False, False, False, False, 0),
    ("llama", False, True, False, False, 0),
    ("qwen3", True, True, False, False, 0),
    ("gemma3", True, True, True, True, 6),
]


@pytest.mark.parametrize(("name", "act", "sub_norms", "rope"), FACTS)
def test_facts(name: str, act: str, sub_norms: bool, rope: str) -> None:
    arch = arch_for(name)
    assert (arch.name, arch.hidden_act, arch.sub_norms, arch.rope) == (name, act, sub_norms, rope)
    assert arch.key("block_count") == f"{name}.block_count"


@pytest.mark.parametrize(("name", "qk", "inputs", "post", "scaled", "period"), NORMS)
def test_facts_of_norms_and_windows(
    name: str, qk: bool, inputs: bool, post: bool, scaled: bool, period: int
) -> None:
    arch = arch_for(name)
    assert (arch.qk_norms, arch.input_norms, arch.post_norms) == (qk, inputs, post)
    assert (arch.embedding_scaled, arch.window_period) == (scaled, period)


def test_every_architecture_is_listed_once() -> None:
    names = [name for arch in ARCHS for name in (arch.name, *arch.aliases)]
    assert sorted(names) == sorted(name for name, *_ in FACTS)


@pytest.mark.parametrize("name", ["", "gemma2", "BITNET", "bitnet-b1.58\x1b[31m"])
def test_unknown_name_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        arch_for(name)
    assert "`bitnet-b1.58`, `bitnet`, `llama`, `qwen3`, `gemma3`" in (caught.value.hint or "")
    assert "\x1b" not in caught.value.message
