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
]


@pytest.mark.parametrize(("name", "act", "sub_norms", "rope"), FACTS)
def test_facts(name: str, act: str, sub_norms: bool, rope: str) -> None:
    arch = arch_for(name)
    assert (arch.name, arch.hidden_act, arch.sub_norms, arch.rope) == (name, act, sub_norms, rope)
    assert arch.key("block_count") == f"{name}.block_count"


def test_every_architecture_is_listed_once() -> None:
    names = [name for arch in ARCHS for name in (arch.name, *arch.aliases)]
    assert sorted(names) == sorted(name for name, *_ in FACTS)


@pytest.mark.parametrize("name", ["", "gemma3", "BITNET", "bitnet-b1.58\x1b[31m"])
def test_unknown_name_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        arch_for(name)
    assert "`bitnet-b1.58`, `bitnet`, `llama`" in (caught.value.hint or "")
    assert "\x1b" not in caught.value.message
