"""Before a download: whether a model fits into memory, and about how fast it will run here.

Each token reads all weights once, so bandwidth divided by bytes is a bound that no program passes; a share of it is
what engines reach. An estimate, to be said with "about".
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bitnet_cli.hub.catalogue import Sizes

if TYPE_CHECKING:
    from bitnet_cli.hub.resolve import Wanted

CONTEXT = 4096
"""Positions of a context as commands take it if nobody says otherwise."""
FIXED_BYTES = 200_000_000
"""The program, its libraries and a vocabulary of 128,000 tokens."""
SHARE_OF_BANDWIDTH = 0.75
_MOST = 1 << 24


@dataclass(frozen=True)
class Estimate:
    """What a model will take and give."""

    weight_bytes: int
    """Read for each token."""
    memory_bytes: int
    """With a context of CONTEXT positions."""

    def tokens_per_s(self, bandwidth_gbps: float) -> float:
        """About how many tokens a second, if memory gives so many 10⁹ bytes a second."""
        return SHARE_OF_BANDWIDTH * bandwidth_gbps * 1e9 / self.weight_bytes


def memory_bytes(sizes: Sizes) -> int:
    """What a model takes with a context of CONTEXT positions."""
    return sizes.read_bytes + sizes.kv_bytes(CONTEXT) + FIXED_BYTES


def estimate(wanted: Wanted, sizes: Sizes | None) -> Estimate | None:
    """What is known before a download; None if that is nothing.

    Args:
        wanted: the files.
        sizes: of the model, from the catalogue or its config.json; None if unknown.
    """
    if sizes is not None:
        return estimate_of(sizes)
    if wanted.kind == "gguf":  # Nearly all of the file is weights, and each is read once.
        size = sum(file.size for file in wanted.files)
        return Estimate(size, size + FIXED_BYTES) if size else None
    return None


def estimate_of(sizes: Sizes) -> Estimate:
    """What a model of these sizes will take and give."""
    return Estimate(sizes.read_bytes, memory_bytes(sizes))


def sizes_of(config: bytes) -> Sizes | None:
    """The sizes that a config.json gives; None if it does not give them all, or nonsense."""
    try:
        values = json.loads(config)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict):
        return None
    dim, n_heads = _count(values, "hidden_size"), _count(values, "num_attention_heads")
    numbers = [_count(values, key) for key in ("intermediate_size", "num_hidden_layers", "vocab_size")]
    if not dim or not n_heads or not all(numbers):
        return None
    return Sizes(
        dim,
        numbers[0],
        numbers[1],
        n_heads,
        _count(values, "num_key_value_heads") or n_heads,
        _count(values, "head_dim") or max(1, dim // n_heads),
        numbers[2],
        values.get("tie_word_embeddings") is True,
    )


def _count(values: dict[str, Any], key: str) -> int:
    value = values.get(key)
    return value if type(value) is int and 0 < value < _MOST else 0
