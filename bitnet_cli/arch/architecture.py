"""What distinguishes one GGUF `general.architecture` from another, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Arch:
    """One family of transformer graphs.

    Attributes:
        name: `general.architecture`, also the prefix of the file's metadata keys.
        hidden_act: the gate's non-linearity, "relu2" (max(x, 0)²), "silu" or "gelu_tanh" (GELU by its tanh formula).
        sub_norms: whether `attn_sub_norm` precedes `attn_output` and `ffn_sub_norm` precedes `ffn_down`.
        rope: "neox" rotates the pairs (i, i + head_dim/2) of a head; "norm" rotates adjacent pairs, and the
            file's q and k rows are permuted per head so that these are the same numbers.
        aliases: other values of `general.architecture` with the same graph.
        qk_norms: whether each head of the queries and keys is normed before it is rotated, by `attn_q_norm` and
            `attn_k_norm`.
        input_norms: whether a file may hold a norm of its own for the input of each of the seven projections,
            `<projection>_norm_in`; the file decides, and has all or none.
        post_norms: whether `post_attention_norm` and `post_ffw_norm` norm what a block adds to the residual stream.
        embedding_scaled: whether embeddings are multiplied by sqrt(width).
        window_period: every window_period-th layer sees all positions, the others only the last ones, if the file
            names a window; 0 where no layer has one.
        local_rope_theta: base of the rotation in layers with a window, unless the file names another.
    """

    name: str
    hidden_act: Literal["relu2", "silu", "gelu_tanh"]
    sub_norms: bool
    rope: Literal["neox", "norm"]
    aliases: tuple[str, ...] = ()
    qk_norms: bool = False
    input_norms: bool = False
    post_norms: bool = False
    embedding_scaled: bool = False
    window_period: int = 0
    local_rope_theta: float = 10000.0

    def key(self, suffix: str) -> str:
        """The metadata key `<name>.<suffix>`."""
        return f"{self.name}.{suffix}"
