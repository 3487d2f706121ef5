"""What distinguishes one GGUF `general.architecture` from another, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Arch:
    """One family of transformer graphs.

    Attributes:
        name: `general.architecture`, also the prefix of the file's metadata keys.
        hidden_act: the gate's non-linearity, "relu2" (max(x, 0)²) or "silu".
        sub_norms: whether `attn_sub_norm` precedes `attn_output` and `ffn_sub_norm` precedes `ffn_down`.
        rope: "neox" rotates the pairs (i, i + head_dim/2) of a head; "norm" rotates adjacent pairs, and the
            file's q and k rows are permuted per head so that these are the same numbers.
        aliases: other values of `general.architecture` with the same graph.
    """

    name: str
    hidden_act: Literal["relu2", "silu"]
    sub_norms: bool
    rope: Literal["neox", "norm"]
    aliases: tuple[str, ...] = ()

    def key(self, suffix: str) -> str:
        """The metadata key `<name>.<suffix>`."""
        return f"{self.name}.{suffix}"
