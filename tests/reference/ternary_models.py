"""Tiny models whose matrices have scales as a test wants them, in any type, and what a file's weights are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from naive_gguf import naive_i2_s
from tiny_gguf import ARRAY, I32, STRING, TYPE_I2_S, U32, TinyGGUF, tiny_model

from bitnet_cli.formats.codecs import TERNARY_FLOATS, codec_named, ternary_codec_for
from bitnet_cli.formats.gguf_reader import GGUFReader

EXACT = 0.8125
"""A scale that f16 holds."""


def scales_like(per: str, shape: tuple[int, int], seed: int = 0, *, exact: bool = True) -> np.ndarray:
    """Scales for each `tensor`, `row`, or so many columns; those that f16 holds if `exact`."""
    rows, cols = shape
    n = (1, 1) if per == "tensor" else (rows, 1) if per == "row" else (rows, cols // int(per))
    scales = np.random.default_rng([seed, *n]).uniform(0.25, 1.5, n).astype(np.float32)
    return scales.astype(np.float16).astype(np.float32) if exact else scales


def ternary_model(
    type_name: str = "i2_s",
    per: str = "tensor",
    *,
    exact: bool = True,
    dim: int = 256,
    ffn_dim: int = 512,
    arch: str = "bitnet-b1.58",
) -> TinyGGUF:
    """A tiny model with matrices of a type; one row of each is zero."""
    model = tiny_model(arch, dim=dim, ffn_dim=ffn_dim, n_layers=1)
    codec = TERNARY_FLOATS.get({"f32": 0, "f16": 1, "bf16": 30}.get(type_name, -1))
    for seed, (name, (ne, kind, _)) in enumerate(model.tensors.items()):
        if kind == TYPE_I2_S:
            shape = (ne[1], ne[0])
            trits = random_trits(shape, seed)
            written = codec or codec_named(type_name)
            data = written.encode(trits, scales_like(per, shape, seed, exact=exact))
            model.tensors[name] = (ne, int(written.type_id), data.tobytes())
    return model


def llama_model() -> TinyGGUF:
    """A tiny `llama` model with one merge: the `gguf` package cannot write empty arrays."""
    model = ternary_model(arch="llama")
    (_, (_, tokens)), (_, (_, types)) = (
        (key, model.metadata[f"tokenizer.ggml.{key}"][1]) for key in ("tokens", "token_type")
    )
    model.metadata |= {
        "llama.vocab_size": (U32, 259),
        "tokenizer.ggml.tokens": (ARRAY, (STRING, [*tokens, "ab"])),
        "tokenizer.ggml.token_type": (ARRAY, (I32, [*types, 1])),
        "tokenizer.ggml.merges": (ARRAY, (STRING, ["a b"])),
    }
    ne, kind, raw = model.tensors["token_embd.weight"]
    model.tensors["token_embd.weight"] = ((ne[0], 259), kind, raw + raw[: 2 * ne[0]])
    return model


def random_trits(shape: tuple[int, int], seed: int) -> np.ndarray:
    """int8 [rows, cols], a row of it zero."""
    trits = np.random.default_rng(seed).integers(-1, 2, shape, np.int8)
    trits[3] = 0
    return trits


def weights_of(path: Path, **options: object) -> dict[str, np.ndarray]:
    """The floats that the ternary tensors of a file stand for: float32 [rows, cols] by name."""
    found = {}
    with GGUFReader(path) as reader:
        for name, info in reader.tensors.items():
            if name.startswith("blk.") and len(info.shape) == 2:
                codec = ternary_codec_for(reader, info, **options)  # type: ignore[arg-type]
                trits, scales = codec.decode(reader.data(name), info.shape)
                rows, cols = info.shape
                groups = np.broadcast_to(scales, (rows, scales.shape[1]))
                found[name] = trits * np.repeat(groups, cols // scales.shape[1], axis=1)
    return found


def same_weights(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def plain_weights(model: TinyGGUF) -> dict[str, np.ndarray]:
    """The same of an I2_S model that was not written yet, by the definition of the type."""
    found = {}
    for name, (ne, kind, raw) in model.tensors.items():
        if kind == TYPE_I2_S:
            trits, scale = naive_i2_s(raw, ne[1], ne[0])
            found[name] = trits * scale
    return found
