"""The shapes of published ternary models: enough to make one of random weights, without its files."""

from __future__ import annotations

from dataclasses import dataclass

from bitnet_cli.arch import arch_for
from bitnet_cli.engine.model import ModelConfig
from bitnet_cli.errors import UsageError


@dataclass(frozen=True)
class ModelShape:
    """The sizes of a model and the numbers of its configuration that are not sizes."""

    arch: str
    """`general.architecture` of its GGUF files."""
    dim: int
    ffn_dim: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    vocab_size: int
    tied: bool
    """The head is the embedding."""
    rms_eps: float
    rope_theta: float

    def config(self, name: str, context_length: int) -> ModelConfig:
        """The configuration of a model of this shape."""
        return ModelConfig(
            arch=arch_for(self.arch),
            name=name,
            n_layers=self.n_layers,
            dim=self.dim,
            ffn_dim=self.ffn_dim,
            n_heads=self.n_heads,
            n_kv_heads=self.n_kv_heads,
            head_dim=self.head_dim,
            n_rot=self.head_dim,
            vocab_size=self.vocab_size,
            context_length=context_length,
            rms_eps=self.rms_eps,
            rope_theta=self.rope_theta,
        )


B158, BITNET, LLAMA = "bitnet-b1.58", "bitnet", "llama"

# arch, hidden, ffn, layers, heads, kv heads, head_dim, vocabulary, tied, eps, theta
SHAPES = {
    "bitnet-2b-4t": ModelShape(B158, 2560, 6912, 30, 20, 5, 128, 128256, True, 1e-5, 500000.0),
    "bitnet-large": ModelShape(BITNET, 1536, 4096, 24, 16, 16, 96, 32002, True, 1e-5, 10000.0),
    "bitnet-3b": ModelShape(BITNET, 3200, 8640, 26, 32, 32, 100, 32002, True, 1e-5, 10000.0),
    "llama3-8b": ModelShape(LLAMA, 4096, 14336, 32, 32, 8, 128, 128256, False, 1e-5, 500000.0),
    "falcon3-1b": ModelShape(LLAMA, 2048, 8192, 18, 8, 4, 256, 131072, False, 1e-6, 1000042.0),
    "falcon3-3b": ModelShape(LLAMA, 3072, 9216, 22, 12, 4, 256, 131072, False, 1e-6, 1000042.0),
    "falcon3-7b": ModelShape(LLAMA, 3072, 23040, 28, 12, 4, 256, 131072, False, 1e-6, 1000042.0),
    "falcon3-10b": ModelShape(LLAMA, 3072, 23040, 40, 12, 4, 256, 131072, False, 1e-6, 1000042.0),
    # For quick checks: large enough to leave the caches, made in a moment.
    "mini": ModelShape(B158, 1536, 4096, 8, 12, 3, 128, 32000, True, 1e-5, 500000.0),
}


def shape_named(name: str) -> ModelShape:
    """The shape of that name; UsageError lists what there is."""
    if name not in SHAPES:
        raise UsageError(
            f"unknown shape `{name}`", hint="the shapes are " + ", ".join(f"`{known}`" for known in SHAPES)
        )
    return SHAPES[name]
