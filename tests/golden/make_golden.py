"""Makes logits.npz and ops-<family>.npz: what transformers computes in float32 from the tiny checkpoints of the tests.

usage: python tests/golden/make_golden.py        (needs torch, transformers and accelerate; see README.md here)

Every number comes out of transformers' own modules, through hooks; nothing is recomputed here. Two things are arranged:
weights are cast to float32 after loading (the loader wants the checkpoint's dtype), and, where a name says `f16_cache`, the
KV cache handed in stores float16, as ours does. The tests read the files and never need torch.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

os.environ["TORCH_COMPILE_DISABLE"] = (
    "1"  # compiling takes longer than all the rest and changes no float32 result
)
os.environ["HF_HUB_OFFLINE"] = "1"

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "reference"))

# ruff: noqa: E402 - the lines above decide what these imports do

import numpy as np
import torch
import transformers
from tiny_checkpoints import FAMILIES, read_safetensors, write_checkpoint, write_safetensors
from transformers import AutoModelForCausalLM, DynamicCache
from transformers.integrations.bitnet import ActQuant, AutoBitLinear, BitLinear
from transformers.models.bitnet import modeling_bitnet
from transformers.models.llama import modeling_llama

ENCODINGS = ("masters", "packed_auto", "packed_bitlinear")
TRACED_ENCODING = {"bitnet-b1.58": "packed_auto", "bitnet": "masters", "llama": "packed_bitlinear"}
TRACED_LAYER = 1
TRACED_TOKENS = 8
N_TOKENS = 24
NEWER_NAMES = {"inner_attn_ln": "attn_sub_norm", "ffn_layernorm": "ffn_sub_norm"}


class HalfCache(DynamicCache):
    """A KV cache whose entries are float16, handed back as float32; remembers the keys as they came."""

    def __init__(self) -> None:
        super().__init__()
        self.came: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def update(self, key, value, layer_idx, *args, **kwargs):
        self.came[layer_idx] = (key, value)
        return super().update(key.half().float(), value.half().float(), layer_idx, *args, **kwargs)


def tokens() -> np.ndarray:
    """Fixed ids, spread over every tiny vocabulary."""
    return (np.arange(N_TOKENS) * 97 + 11) % 320


def load(family: str, encoding: str, directory: Path):
    """The checkpoint as a float32 model of transformers."""
    write_checkpoint(directory, family, encoding, dtype="bf16")
    if family == "bitnet":
        as_bitnet_class(directory, encoding)
    return load_float32(directory)


def load_float32(directory: Path):
    """A checkpoint in bfloat16 or float16 as a float32 model."""
    dtype = getattr(torch, json.loads((directory / "config.json").read_text())["torch_dtype"])
    model = AutoModelForCausalLM.from_pretrained(
        directory, dtype=dtype, attn_implementation="eager", device_map="cpu"
    ).eval()
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is not None and tensor.dtype == dtype:
                    tensors[name] = (
                        torch.nn.Parameter(tensor.float(), requires_grad=False)
                        if tensors is module._parameters
                        else tensor.float()
                    )
        if isinstance(module, BitLinear):
            module.dtype = torch.float32
    model.tie_weights()
    return model


def as_bitnet_class(directory: Path, encoding: str) -> None:
    """Renames a 1bitLLM style checkpoint into what transformers' BitNet class reads.

    That family has no class of its own in transformers. Its graph is BitNet's (a sub-norm before o_proj and down_proj)
    with `hidden_act` silu, which the class takes from the configuration; only the names of the sub-norms differ.
    """
    path = directory / "config.json"
    config = json.loads(path.read_text())
    config |= {"model_type": "bitnet", "architectures": ["BitNetForCausalLM"]}
    if encoding == "masters":
        config["quantization_config"] = {
            "quant_method": "bitnet",
            "linear_class": "autobitlinear",
            "quantization_mode": "online",
        }
    path.write_text(json.dumps(config))
    (weights,) = directory.glob("*.safetensors")
    renamed = {}
    for name, tensor in read_safetensors(weights).items():
        for old, new in NEWER_NAMES.items():
            name = name.replace(old, new)
        renamed[name] = tensor
    write_safetensors(weights, renamed)


def logits(model, cache: DynamicCache) -> np.ndarray:
    """float32 [N_TOKENS, vocabulary]"""
    with torch.no_grad():
        out = model(torch.tensor(tokens()[None]), past_key_values=cache, use_cache=True)
    assert out.logits.dtype == torch.float32
    return out.logits[0].numpy()


def projections(model) -> list[tuple[str, torch.nn.Module]]:
    """The ternary matrices that stand for each quantised input: q (for q, k, v), o, gate (for gate, up), down."""
    return [
        (name, module)
        for name, module in model.named_modules()
        if name.rsplit(".", 1)[-1] in ("q_proj", "o_proj", "gate_proj", "down_proj")
    ]


def quantised(h: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """q and s of an input, by transformers' BitLinear; checked against its other class, which returns q / s."""
    q, s = BitLinear.activation_quant(None, h)
    assert torch.equal(ActQuant.apply(h), q.float() / s)
    return q[0].numpy(), s[0, :, 0].numpy()


def trace(model) -> dict[str, np.ndarray]:
    """Quantised inputs of every layer, and the inputs and outputs of every operation of one layer."""
    seen: dict[str, torch.Tensor] = {}
    hooks = [module.register_forward_hook(recorder(name, seen)) for name, module in model.named_modules()]
    modeling = modeling_llama if model.config.model_type == "llama" else modeling_bitnet
    eager = modeling.eager_attention_forward

    def recording_eager(module, query, key, value, *args, **kwargs):
        out = eager(module, query, key, value, *args, **kwargs)
        seen[f"attention.{module.layer_idx}"] = torch.stack(
            [query.transpose(1, 2).flatten(2), out[0].flatten(2)]
        )
        return out

    modeling.eager_attention_forward = recording_eager
    cache = HalfCache()
    result = {"logits": logits(model, cache)}
    modeling.eager_attention_forward = eager
    for hook in hooks:
        hook.remove()
    for i, (name, module) in enumerate(projections(model)):
        assert isinstance(module, AutoBitLinear | BitLinear), "the projection must be ternary"
        result[f"q.{i}"], result[f"s.{i}"] = quantised(seen[f"{name}/in"])
    return result | {
        f"op.{k}": v[0, :TRACED_TOKENS].numpy() for k, v in layer_ops(seen, cache, TRACED_LAYER).items()
    }


def recorder(name: str, seen: dict[str, torch.Tensor]):
    def hook(_module, args, output):
        if args and isinstance(args[0], torch.Tensor):
            seen[f"{name}/in"] = args[0].clone()
        if isinstance(output, torch.Tensor):
            seen[f"{name}/out"] = output.clone()

    return hook


def layer_ops(seen: dict[str, torch.Tensor], cache: HalfCache, layer: int) -> dict[str, torch.Tensor]:
    """What every operation of one layer gave, [1, n_tokens, features], in the order of the forward pass."""
    at = f"model.layers.{layer}"
    query, attended = seen[f"attention.{layer}"]
    key, _ = cache.came[layer]
    ops = {
        "embedding": seen["model.embed_tokens/out"],
        "x_attn": seen[f"{at}.input_layernorm/in"],
        "h_attn": seen[f"{at}.input_layernorm/out"],
        **{name: seen[f"{at}.self_attn.{name}_proj/out"] for name in "qkv"},
        "q_rope": query,
        "k_rope": key.transpose(1, 2).flatten(2),
        "attended": attended,
        "h_o": seen[f"{at}.self_attn.o_proj/in"],
        "o": seen[f"{at}.self_attn.o_proj/out"],
        "x_ffn": seen[f"{at}.post_attention_layernorm/in"],
        "h_ffn": seen[f"{at}.post_attention_layernorm/out"],
        "gate": seen[f"{at}.mlp.gate_proj/out"],
        "up": seen[f"{at}.mlp.up_proj/out"],
        "h_down": seen[f"{at}.mlp.down_proj/in"],
        "down": seen[f"{at}.mlp.down_proj/out"],
        "x_final": seen["model.norm/in"],
        "h_final": seen["model.norm/out"],
    }
    if f"{at}.mlp.ffn_sub_norm/in" in seen:
        ops["product"] = seen[f"{at}.mlp.ffn_sub_norm/in"]
    return ops


def main() -> None:
    torch.set_num_threads(1)
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}, numpy {np.__version__}"
    about = {"made_with": np.array(versions), "tokens": tokens().astype(np.int32)}
    whole = dict(about)
    for family in FAMILIES:
        for encoding in ENCODINGS:
            with tempfile.TemporaryDirectory() as directory:
                model = load(family, encoding, Path(directory))
            name = f"{family}/{encoding}"
            whole[name] = logits(model, DynamicCache())
            whole[f"{name}/f16_cache"] = logits(model, HalfCache())
            if encoding == TRACED_ENCODING[family]:
                ops = {"encoding": np.array(encoding), "layer": np.array(TRACED_LAYER)}
                np.savez_compressed(HERE / f"ops-{family}.npz", **about, **ops, **trace(model))
            print(name, type(model).__name__, f"deviation of the logits {whole[name].std():.4f}")
    np.savez_compressed(HERE / "logits.npz", **whole)


if __name__ == "__main__":
    main()
