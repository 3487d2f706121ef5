"""The sizes of published ternary models, as data: what a random model needs to be as slow and as large as the real one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bitnet_cli.arch import arch_for
from bitnet_cli.engine.config import ModelConfig
from bitnet_cli.errors import UsageError


@dataclass(frozen=True)
class Shape:
    """The sizes of one model and the numbers of its configuration that are not sizes."""

    name: str
    arch: str
    """`general.architecture`."""
    dim: int
    ffn_dim: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    vocab_size: int
    tied: bool
    """The embedding serves as the head too."""
    rms_eps: float
    rope_theta: float
    context_length: int = 4096
    scale_group: int = 0
    """Columns of a row that share a scale, multiples of 64; 0: all weights of a matrix do."""
    ternary_embedding: bool = False
    """Embedding and head are ternary too, with the same groups."""

    def config(self, context_length: int | None = None) -> ModelConfig:
        """The shape as the engine takes it; the context may be longer than the model's own, as noise has no meaning."""
        return ModelConfig(
            arch=arch_for(self.arch),
            name=self.name,
            n_layers=self.n_layers,
            dim=self.dim,
            ffn_dim=self.ffn_dim,
            n_heads=self.n_heads,
            n_kv_heads=self.n_kv_heads,
            head_dim=self.head_dim,
            n_rot=self.head_dim,
            vocab_size=self.vocab_size,
            context_length=max(self.context_length, context_length or 0),
            rms_eps=float(np.float32(self.rms_eps)),  # as a file would hold it
            rope_theta=self.rope_theta,
        )


# name, architecture, dim, ffn, layers, heads, kv heads, head dim, vocabulary, tied, eps, theta, context, group, ternary head
_TABLE = (
    Shape("bitnet-2b-4t", "bitnet-b1.58", 2560, 6912, 30, 20, 5, 128, 128256, True, 1e-5, 500000.0),
    Shape("bitnet-large", "bitnet", 1536, 4096, 24, 16, 16, 96, 32002, True, 1e-5, 10000.0),
    Shape("bitnet-3b", "bitnet", 3200, 8640, 26, 32, 32, 100, 32002, True, 1e-5, 10000.0),
    Shape("llama3-8b", "llama", 4096, 14336, 32, 32, 8, 128, 128256, False, 1e-5, 500000.0),
    Shape("falcon3-1b", "llama", 2048, 8192, 18, 8, 4, 256, 131072, False, 1e-6, 1000042.0),
    Shape("falcon3-3b", "llama", 3072, 9216, 22, 12, 4, 256, 131072, False, 1e-6, 1000042.0),
    Shape("falcon3-7b", "llama", 3072, 23040, 28, 12, 4, 256, 131072, False, 1e-6, 1000042.0),
    Shape("falcon3-10b", "llama", 3072, 23040, 40, 12, 4, 256, 131072, False, 1e-6, 1000042.0),
    Shape("bonsai-1.7b", "qwen3", 2048, 6144, 28, 16, 8, 128, 151936, True, 1e-6, 1e6, 4096, 128, True),
    Shape("bonsai-4b", "qwen3", 2560, 9728, 36, 32, 8, 128, 151936, True, 1e-6, 1e6, 4096, 128, True),
    Shape("bonsai-8b", "qwen3", 4096, 12288, 36, 32, 8, 128, 151936, False, 1e-6, 1e6, 4096, 128, True),
)
SHAPES = {shape.name: shape for shape in _TABLE}


def shape_named(name: str) -> Shape:
    """The shape called `name`.

    Raises:
        UsageError: there is none; the hint lists what there is.
    """
    if name not in SHAPES:
        known = ", ".join(f"`{known}`" for known in SHAPES)
        raise UsageError(f"unknown shape `{name}`", hint=f"the shapes are {known}")
    return SHAPES[name]
