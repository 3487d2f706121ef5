"""Families by way of their checkpoints: converted to every type that can hold them, run, and compared with a forward pass
that is written out in float64 and sees nothing but the checkpoint's floats.

Every run gives the same bits on every machine, so what is measured once holds: where no int8 value lies at a tie, the two
differ by roundings of float32 only. A wrong scale, row or norm differs by more than the noise of int8 (docs/model.md).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from float64_model import Graph, logits
from tiny_checkpoints import (
    DTYPES,
    _normal,
    absmean,
    from_dtype,
    to_dtype,
    write_safetensors,
    write_tokenizer,
)
from tiny_models import Played

from bitnet_cli.convert import pipeline
from bitnet_cli.errors import RepresentationError
from bitnet_cli.formats.codecs import ternary_codec_for
from bitnet_cli.formats.gguf_reader import GGUFReader

TOKENS = (np.arange(20, dtype=np.int32) * 97 + 11) % 320
ROUNDINGS = 1e-5
"""Mean difference by the deviation of the logits. Roundings of float32 are 1e-6 and less; a single int8 value that is off by
one makes 1e-3."""
VOCAB = 320


@dataclass(frozen=True)
class Family:
    """What a checkpoint of the family is like.

    Attributes:
        name: of the test.
        model_class, dtype: as in config.json; the type of all floats.
        hidden, ffn, heads, kv_heads, head_dim: sizes.
        row_blocks: blocks of rows with a scale of their own, as shards of training leave them.
        group: columns that share a scale, 0 for all.
        types: `--outtype` that hold it exactly.
        ternary_table: embedding and head are ternary too.
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
    row_blocks: int = 1
    group: int = 0
    ternary_table: bool = False
    seed: str = "four"

    @property
    def graph(self) -> Graph:
        is_qwen = self.model_class.startswith("Qwen3")
        return Graph(2, self.heads, self.kv_heads, self.head_dim, 1e-5, 10000.0, is_qwen)


ALL = ("i2_s", "tl1", "tl2", "tq1_0", "tq2_0", "q2_0", "iq2_bn", "f16")
FAMILIES = (
    Family("TriLM", "LlamaForCausalLM", "f16", 256, 512, 4, 2, 64, ("tq1_0", "tq2_0", "q2_0", "iq2_bn", "f16"),
           row_blocks=2),
    Family("one scale", "LlamaForCausalLM", "f16", 256, 512, 4, 2, 64, ALL),
    Family("Bonsai", "Qwen3ForCausalLM", "f16", 256, 384, 4, 2, 64, ("q2_0", "f16"), group=128, ternary_table=True),
    Family("Qwen3, groups of 256", "Qwen3ForCausalLM", "f16", 256, 512, 4, 2, 64,
           ("tq1_0", "tq2_0", "q2_0", "f16"), group=256),
    # The shape of bitnet_b1_58-3B in small: heads of 100, widths that are odd multiples of 64.
    Family("heads of 100", "LlamaForCausalLM", "f16", 1600, 576, 16, 16, 100, ("tl1", "tl2", "q2_0", "iq2_bn", "f16"),
           seed="families"),
)  # fmt: skip


def values(seed: str, name: str, *shape: int) -> np.ndarray:
    return _normal(f"{seed}/{name}", math.prod(shape)).reshape(shape).astype(np.float32)


def ternary(family: Family, name: str, rows: int, cols: int) -> np.ndarray:
    """A matrix that is ternary times its scales, which are f16 numbers, float32 [rows, cols]."""
    trits, scale = absmean(values(family.seed, name, rows, cols))
    n_blocks, n_groups = min(family.row_blocks, rows), cols // family.group if family.group else 1
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
        ternary(f, "embed", VOCAB, f.hidden) * np.float32(4)
        if f.ternary_table
        else 0.1 * values(f.seed, "embed", VOCAB, f.hidden)
    )
    out["model.embed_tokens.weight"] = table
    for i in range(f.graph.n_layers):
        at = f"model.layers.{i}"
        norms = {"input_layernorm": f.hidden, "post_attention_layernorm": f.hidden}
        if f.graph.qk_norms:
            norms |= {"self_attn.q_norm": f.head_dim, "self_attn.k_norm": f.head_dim}
        for name, n in norms.items():
            out[f"{at}.{name}.weight"] = 1 + 0.15 * values(f.seed, f"{at}.{name}", n)
        sizes = {"self_attn.q_proj": (q, f.hidden), "self_attn.k_proj": (kv, f.hidden), "self_attn.v_proj": (kv, f.hidden),
                 "self_attn.o_proj": (f.hidden, q), "mlp.gate_proj": (f.ffn, f.hidden), "mlp.up_proj": (f.ffn, f.hidden),
                 "mlp.down_proj": (f.hidden, f.ffn)}  # fmt: skip
        out |= {f"{at}.{name}.weight": ternary(f, f"{at}.{name}", *size) for name, size in sizes.items()}
    out["model.norm.weight"] = 1 + 0.15 * values(f.seed, "norm", f.hidden)
    if not f.ternary_table:
        out["lm_head.weight"] = 0.1 * values(f.seed, "head", VOCAB, f.hidden)
    return {name: from_dtype(to_dtype(array, f.dtype), f.dtype) for name, array in out.items()}


def write(directory: Path, family: Family) -> Path:
    f = family
    directory.mkdir()
    content: dict[str, Any] = {
        "architectures": [f.model_class], "hidden_act": "silu", "hidden_size": f.hidden, "intermediate_size": f.ffn,
        "num_hidden_layers": f.graph.n_layers, "num_attention_heads": f.heads, "num_key_value_heads": f.kv_heads,
        "head_dim": f.head_dim, "vocab_size": VOCAB, "max_position_embeddings": 64, "rms_norm_eps": f.graph.eps,
        "rope_theta": f.graph.theta, "tie_word_embeddings": f.ternary_table, "torch_dtype": "float16",
    }  # fmt: skip
    (directory / "config.json").write_text(json.dumps(content))
    tensors = {name: (DTYPES[f.dtype], to_dtype(array, f.dtype)) for name, array in weights(f).items()}
    write_safetensors(directory / "model.safetensors", tensors)
    write_tokenizer(directory, "llama")
    return directory


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("families")


@cache
def converted(directory: Path, family: Family, outtype: str) -> Path:
    source = directory / family.name
    if not source.exists():
        write(source, family)
    path = directory / f"{family.name}-{outtype}.gguf"
    pipeline.convert(source, path, outtype=outtype, embed_type="f16", verify=True)
    return path


@cache
def expected(family: Family) -> np.ndarray:
    return logits(weights(family), family.graph, TOKENS)


@pytest.mark.parametrize(("family", "outtype"), [(f, t) for f in FAMILIES for t in f.types],
                         ids=lambda each: getattr(each, "name", each))  # fmt: skip
def test_logits(directory: Path, family: Family, outtype: str) -> None:
    ours = Played(converted(directory, family, outtype), kv_type="f32").run(TOKENS)
    first = Played(converted(directory, family, family.types[0]), kv_type="f32").run(TOKENS)
    assert ours.tobytes() == first.tobytes(), "a type changed the result"
    theirs = expected(family)
    assert np.abs(ours - theirs).mean() / theirs.std() < ROUNDINGS


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_what_cannot_hold_them_says_what_can(directory: Path, family: Family) -> None:
    for outtype in set(ALL) - set(family.types):
        with pytest.raises(RepresentationError) as caught:
            converted(directory, family, outtype)
        hint = caught.value.hint or ""
        assert "iq2_bn" in hint or "q2_0" in hint, outtype
        assert not any(f"`--outtype {other}`" in hint for other in set(ALL) - set(family.types))


def test_a_ternary_embedding_and_head(directory: Path) -> None:
    """Their own type would be Q2_0: the same logits as with the values in f16, and a third of the bytes."""
    family = next(f for f in FAMILIES if f.ternary_table)
    with GGUFReader(converted(directory, family, "q2_0")) as reader:
        info = reader.tensors["blk.0.ffn_up.weight"]
        scales = ternary_codec_for(reader, info).scales(reader.data(info.name), info.shape)
    assert scales.shape == (384, 4), "a scale per 64 columns in the file, two and two alike"
    assert (scales[:, ::2] == scales[:, 1::2]).all() and len(np.unique(scales)) > 100
