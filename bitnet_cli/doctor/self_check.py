"""Proof that the kernels of an instruction set compute what plain C computes, to the last bit.

A small random model is evaluated, a prompt at once and then single tokens, with both kinds of kernels, with and without
skipping zeros, for each type of cache; the logits are compared byte by byte with those of `scalar`.
"""

from __future__ import annotations

import numpy as np

from bitnet_cli.bench.shapes import Shape
from bitnet_cli.bench.synthetic import RandomWeights, build
from bitnet_cli.engine.options import EngineOptions
from bitnet_cli.engine.session import Session
from bitnet_cli.native import KV_TYPES, Context

_SHAPES = (
    Shape("relu²", "bitnet-b1.58", 512, 768, 2, 4, 2, 128, 512, True, 1e-5, 10000.0),
    Shape("silu", "llama", 256, 512, 1, 4, 2, 64, 512, False, 1e-6, 10000.0),
    Shape("groups", "qwen3", 256, 512, 1, 4, 2, 64, 512, True, 1e-6, 10000.0, 4096, 128, True),
)
_TOKENS = [(97 * i + 11) % 512 for i in range(40)]
_HEADS = ("f16", "q8_0", "q6_k", "q4_0")
"""Of shapes whose embedding is not ternary."""


def logits(isa: str, n_threads: int = 2) -> bytes:
    """The bytes of all logits that an instruction set gives."""
    found = []
    for shape in _SHAPES:
        for i, (kernel, skip_zeros) in enumerate(
            (("mad", True), ("mad", False), ("lut", True), ("lut", False))
        ):
            model = build(
                RandomWeights(shape, None if shape.ternary_embedding else _HEADS[i]),
                Context(isa, n_threads),
                EngineOptions(kernel, skip_zeros),
                64,
            )
            kv_type = list(KV_TYPES)[i % len(KV_TYPES)]
            session = Session(model, 64, kv_type=kv_type)
            found.append(session.evaluate(_TOKENS[:-4], n_logits=3))
            found += [session.evaluate([token]) for token in _TOKENS[-4:]]
    return np.concatenate([each.reshape(-1) for each in found]).tobytes()


def is_proven(isa: str, expected: bytes) -> bool:
    """Whether an instruction set gives the bytes that `scalar` gives."""
    return logits(isa) == expected
