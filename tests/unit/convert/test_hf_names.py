"""Names and shapes: every planned name is one that llama.cpp's tools know, and checkpoints must fit exactly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tiny_checkpoints import FAMILIES, SHAPES, SUB_NORMS, model_config, tensor_shapes

from bitnet_cli.convert.hf_names import bare_names, match, tensor_plan
from bitnet_cli.convert.model_config import CheckpointConfig, read_config
from bitnet_cli.errors import BitnetError, FormatError, UnsupportedError


def config_of(family: str) -> CheckpointConfig:
    return read_config(model_config(family, "masters", SHAPES[family], "bf16"), Path("config.json"))


@pytest.mark.parametrize("family", FAMILIES)
def test_plan_and_checkpoint_name_the_same_tensors(family: str) -> None:
    plan = tensor_plan(config_of(family), with_head=family == "llama")
    shapes = tensor_shapes(family, SHAPES[family])
    found = match(plan, bare_names(shapes), ignore_head=False)
    assert set(found.values()) == set(shapes)
    for tensor in plan:
        assert tensor.shape == shapes[found[tensor.name]]


@pytest.mark.parametrize("family", FAMILIES)
def test_names_are_those_of_the_gguf_package(family: str) -> None:
    gguf = pytest.importorskip("gguf")
    arch = gguf.MODEL_ARCH.LLAMA if family == "llama" else gguf.MODEL_ARCH.BITNET
    known = {gguf.TENSOR_NAMES[kind] for kind in gguf.MODEL_TENSORS[arch]}
    for tensor in tensor_plan(config_of(family), with_head=family == "llama"):
        parts = tensor.name.removesuffix(".weight").split(".")
        pattern = f"blk.{{bid}}.{parts[2]}" if parts[0] == "blk" else parts[0]
        assert tensor.name.endswith(".weight") and pattern in known
        assert tensor.kind == parts[-1]


def test_order_is_that_of_the_published_file() -> None:
    names = [tensor.name for tensor in tensor_plan(config_of("bitnet-b1.58"), with_head=True)]
    assert names[:2] == ["output.weight", "token_embd.weight"] and names[-1] == "output_norm.weight"
    block = "attn_norm ffn_down ffn_sub_norm ffn_gate ffn_up ffn_norm attn_sub_norm attn_k attn_output attn_q attn_v"
    assert names[2:13] == [f"blk.0.{name}.weight" for name in block.split()]


def test_only_q_and_k_of_llama_are_interleaved() -> None:
    plan = tensor_plan(config_of("llama"), with_head=True)
    assert {(t.kind, t.permuted_heads) for t in plan if t.permuted_heads} == {("attn_q", 4), ("attn_k", 2)}
    assert not any(t.permuted_heads for t in tensor_plan(config_of("bitnet"), with_head=False))


ALL = list(tensor_shapes("bitnet-b1.58", SHAPES["bitnet-b1.58"]))
OLD_SUB_NORMS = dict(zip(SUB_NORMS["bitnet-b1.58"], SUB_NORMS["bitnet"], strict=True))
NORM = "model.layers.1.self_attn.attn_sub_norm.weight"


def renamed(name: str) -> str:
    for new, old in OLD_SUB_NORMS.items():
        name = name.replace(new, old)
    return name


@pytest.mark.parametrize(
    "names",
    [
        [renamed(name) for name in ALL],
        [name.removeprefix("model.") for name in ALL],
        [*ALL, "model.layers.0.self_attn.rotary_emb.inv_freq"],
        [*ALL, *(f"{name}_scale" for name in ALL if "_proj" in name)],
        [*ALL, "lm_head.weight"],
    ],
)
def test_spellings_that_are_accepted(names: list[str]) -> None:
    plan = tensor_plan(config_of("bitnet-b1.58"), with_head=False)
    assert len(match(plan, bare_names(names), ignore_head=True)) == len(plan)


@pytest.mark.parametrize(
    ("names", "kind", "words"),
    [
        ([n for n in ALL if n != NORM], FormatError, "layers.1.self_attn.attn_sub_norm.weight"),
        ([*ALL, renamed(NORM)], FormatError, "both are `blk.1.attn_sub_norm.weight`"),
        ([*ALL, "norm.weight"], FormatError, "twice"),
        ([*ALL, "model.layers.0.self_attn.q_proj.bias"], UnsupportedError, "bias"),
        ([*ALL, "model.layers.2.input_layernorm.weight"], UnsupportedError, "layers.2"),
        ([*ALL, "model.layers.0.self_attn.q_norm.weight"], UnsupportedError, "q_norm"),
        ([*ALL, "model.norm.weight_scale"], UnsupportedError, "norm.weight_scale"),
        ([*ALL, "\x1b[2J"], UnsupportedError, "x1b"),
        ([*ALL, "lm_head.weight"], UnsupportedError, "lm_head"),
    ],
)
def test_refused(names: list[str], kind: type[BitnetError], words: str) -> None:
    plan = tensor_plan(config_of("bitnet-b1.58"), with_head=False)
    with pytest.raises(BitnetError) as caught:
        match(plan, bare_names(names), ignore_head=False)
    assert type(caught.value) is kind and words in caught.value.message, caught.value.message


def test_a_layer_more_in_the_configuration_is_missing_in_the_checkpoint() -> None:
    plan = tensor_plan(replace(config_of("bitnet-b1.58"), n_layers=3), with_head=False)
    with pytest.raises(FormatError, match=r"layers\.2\.input_layernorm"):
        match(plan, bare_names(ALL), ignore_head=False)
