"""Tiny random checkpoints of families that store their weights in other ways than BitNet's own: several scales in a matrix,
ternary embeddings, heads of 100, stretched rotations, a norm before every projection.

NumPy and the standard library only; nothing of the package is imported, so that the golden-file script can use them beside
torch.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from tiny_checkpoints import (
    DTYPES,
    PROJECTIONS,
    _normal,
    absmean,
    from_dtype,
    to_dtype,
    write_safetensors,
    write_tokenizer,
)

TOKENS = (np.arange(20, dtype=np.int32) * 97 + 11) % 320
ALL_TYPES = ("i2_s", "tl1", "tl2", "tq1_0", "tq2_0", "q2_0", "iq2_bn", "f16")
F16_SCALES = ("tq1_0", "tq2_0", "q2_0", "f16")
"""Types whose scales, or weights, are numbers of f16: the mean of master weights is none."""
N_LAYERS, THETA = 2, 10000.0


@dataclass(frozen=True)
class Family:
    """What a checkpoint of the family is like.

    Attributes:
        name: of the test.
        model_class, dtype: as in config.json; the type of all floats.
        hidden, ffn, heads, kv_heads, head_dim, eps: sizes, and the epsilon of all norms.
        row_blocks: blocks of rows with a scale of their own, as shards of training leave them; 0 for a scale per row.
        group: columns that share a scale, 0 for all.
        types: `--outtype` that hold it exactly.
        inexact: those that hold it but for the last bits of its scales.
        ternary_table: embedding and head are ternary too.
        masters: weights are those of training, to be made ternary.
        norm_in: a norm before every projection, as transformers' `use_rms_norm` has it.
        yarn: factor and original context of a stretched rotation.
        seed: of the weights; one that leaves no value at a tie.
    """

    name: str
    model_class: str
    dtype: str
    hidden: int
    ffn: int
    heads: int
    kv_heads: int
    head_dim: int
    types: tuple[str, ...]
    inexact: tuple[str, ...] = ()
    eps: float = 1e-5
    row_blocks: int = 1
    group: int = 0
    ternary_table: bool = False
    masters: bool = False
    norm_in: bool = False
    yarn: tuple[float, int] | None = None
    seed: str = "four"

    @property
    def is_bitnet(self) -> bool:
        """The graph of the first BitNet paper: sub-norms, and a SentencePiece vocabulary."""
        return self.model_class.startswith("Bitnet")

    @property
    def is_qwen(self) -> bool:
        return self.model_class.startswith("Qwen3")

    @property
    def is_tied(self) -> bool:
        return self.ternary_table or self.is_bitnet

    @property
    def vocab(self) -> int:
        return 352 if self.is_bitnet else 320


FAMILIES = (
    Family("TriLM", "LlamaForCausalLM", "f16", 256, 512, 4, 2, 64, (*F16_SCALES, "iq2_bn"), row_blocks=2),
    Family("one scale", "LlamaForCausalLM", "f16", 256, 512, 4, 2, 64, ALL_TYPES),
    Family("a scale per row", "LlamaForCausalLM", "f16", 256, 512, 4, 2, 64, (*F16_SCALES, "iq2_bn"), row_blocks=0),
    Family("Bonsai", "Qwen3ForCausalLM", "f16", 256, 384, 4, 2, 64, ("q2_0", "f16"), group=128, ternary_table=True,
           eps=1e-6, yarn=(4.0, 16), seed="seed 0"),
    Family("Qwen3, groups of 256", "Qwen3ForCausalLM", "f16", 256, 512, 4, 2, 64, F16_SCALES, group=256),
    # The shape of bitnet_b1_58-3B in small: heads of 100, widths that are odd multiples of 64.
    Family("heads of 100", "LlamaForCausalLM", "f16", 1600, 576, 16, 16, 100, ("tl1", "tl2", "q2_0", "iq2_bn", "f16"),
           seed="seed 1"),
    Family("1bitLLM 3B", "BitnetForCausalLM", "f16", 1600, 576, 16, 16, 100, ("iq2_bn", "tl1", "tl2"), ("q2_0", "f16"),
           masters=True, seed="seed 0"),
    Family("use_rms_norm", "LlamaForCausalLM", "bf16", 256, 512, 4, 2, 64, ("i2_s", "tl1", "tl2", "iq2_bn"), F16_SCALES,
           eps=1e-6, masters=True, norm_in=True),
)  # fmt: skip


def values(seed: str, name: str, *shape: int) -> np.ndarray:
    """Float32 numbers of mean 0 and variance 1."""
    return _normal(f"{seed}/{name}", math.prod(shape)).reshape(shape).astype(np.float32)


def ternary(family: Family, name: str, rows: int, cols: int) -> np.ndarray:
    """A matrix that is ternary times its scales, which are f16 numbers, float32 [rows, cols]."""
    trits, scale = absmean(values(family.seed, name, rows, cols))
    n_blocks, n_groups = min(family.row_blocks or rows, rows), cols // family.group if family.group else 1
    factors = 0.04 * (1 + 0.3 * values(family.seed, f"{name}/scales", n_blocks, n_groups) ** 2) * scale
    if family.group:
        factors = 0.04 * (1 + 0.3 * values(family.seed, f"{name}/scales", rows, n_groups) ** 2) * scale
    scales = factors.astype(np.float16).astype(np.float32)
    scales = np.repeat(np.repeat(scales, rows // len(scales), axis=0), cols // n_groups, axis=1)
    return (trits * scales).astype(np.float32)


@cache
def weights(family: Family) -> dict[str, np.ndarray]:
    """Float32 weights under Hugging Face names, as they are after a passage through the checkpoint's type."""
    f, out = family, {}
    q, kv = f.heads * f.head_dim, f.kv_heads * f.head_dim
    table = (
        ternary(f, "embed", f.vocab, f.hidden) * np.float32(4)
        if f.ternary_table
        else 0.1 * values(f.seed, "embed", f.vocab, f.hidden)
    )
    out["model.embed_tokens.weight"] = table
    for i in range(N_LAYERS):
        at = f"model.layers.{i}"
        norms = {"input_layernorm": f.hidden, "post_attention_layernorm": f.hidden}
        if f.is_qwen:
            norms |= {"self_attn.q_norm": f.head_dim, "self_attn.k_norm": f.head_dim}
        if f.is_bitnet:
            norms |= {"self_attn.inner_attn_ln": q, "mlp.ffn_layernorm": f.ffn}
        sizes = dict(
            zip(
                PROJECTIONS,
                [
                    (q, f.hidden),
                    (kv, f.hidden),
                    (kv, f.hidden),
                    (f.hidden, q),
                    *[(f.ffn, f.hidden)] * 2,
                    (f.hidden, f.ffn),
                ],
                strict=True,
            )
        )
        if f.norm_in:
            norms |= {f"{name}.rms_norm": cols for name, (_, cols) in sizes.items()}
        for name, n in norms.items():
            out[f"{at}.{name}.weight"] = 1 + 0.15 * values(f.seed, f"{at}.{name}", n)
        for name, size in sizes.items():
            at_name = f"{at}.{name}"
            out[f"{at_name}.weight"] = (
                0.05 * values(f.seed, at_name, *size) if f.masters else ternary(f, at_name, *size)
            )
    out["model.norm.weight"] = 1 + 0.15 * values(f.seed, "norm", f.hidden)
    if not f.is_tied:
        out["lm_head.weight"] = 0.1 * values(f.seed, "head", f.vocab, f.hidden)
    return {name: from_dtype(to_dtype(array, f.dtype), f.dtype) for name, array in out.items()}


def config(family: Family) -> dict[str, Any]:
    """The content of config.json."""
    f = family
    content: dict[str, Any] = {
        "architectures": [f.model_class], "hidden_act": "silu", "hidden_size": f.hidden, "intermediate_size": f.ffn,
        "num_hidden_layers": N_LAYERS, "num_attention_heads": f.heads, "num_key_value_heads": f.kv_heads,
        "head_dim": f.head_dim, "vocab_size": f.vocab, "max_position_embeddings": 64, "rms_norm_eps": f.eps,
        "rope_theta": THETA, "tie_word_embeddings": f.is_tied, "model_type": "qwen3" if f.is_qwen else "llama",
        "torch_dtype": {"f16": "float16", "bf16": "bfloat16"}[f.dtype],
    }  # fmt: skip
    if f.yarn:
        content["rope_scaling"] = {
            "rope_type": "yarn",
            "factor": f.yarn[0],
            "original_max_position_embeddings": f.yarn[1],
        }
    if f.norm_in:
        content["quantization_config"] = {
            "quant_method": "bitnet",
            "linear_class": "autobitlinear",
            "quantization_mode": "online",
            "use_rms_norm": True,
            "rms_norm_eps": f.eps,
        }
    return content


def write(directory: Path, family: Family) -> Path:
    """A checkpoint directory."""
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(config(family)))
    tensors = {
        name: (DTYPES[family.dtype], to_dtype(array, family.dtype)) for name, array in weights(family).items()
    }
    write_safetensors(directory / "model.safetensors", tensors)
    write_tokenizer(directory, "bitnet" if family.is_bitnet else "llama")
    return directory
