"""Makes backbones.npz: what transformers computes in float32 from the tiny Qwen3 and Gemma 3 backbones of the tests.

usage: python tests/golden/make_backbone_goldens.py        (needs torch and transformers; see README.md here)

The graphs are `Qwen3ForCausalLM` and `Gemma3ForCausalLM` as they are. Each of their seven linear layers is replaced by
transformers' own `AutoBitLinear` in its online mode: absmean weights, int8 activations, and, where the backbone has them,
a norm on the input (`use_rms_norm`). Nothing is recomputed here but the vector: the last hidden state by torch's
`normalize`. The quantised inputs are recorded by hooks on those layers.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["TORCH_COMPILE_DISABLE"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "reference"))

# ruff: noqa: E402 - the lines above decide what these imports do

import numpy as np
import tiny_backbones as tiny
import torch
import transformers
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, Qwen3Config, Qwen3ForCausalLM
from transformers.integrations.bitnet import ActQuant, AutoBitLinear, BitLinear


def model_of(backbone: tiny.Backbone):
    """The backbone with its weights, as float32."""
    common = {
        "vocab_size": tiny.VOCAB,
        "hidden_size": tiny.DIM,
        "intermediate_size": tiny.FFN,
        "num_hidden_layers": tiny.LAYERS,
        "num_attention_heads": tiny.HEADS,
        "num_key_value_heads": tiny.KV_HEADS,
        "head_dim": tiny.HEAD_DIM,
        "rms_norm_eps": tiny.EPS,
        "max_position_embeddings": 128,
        "tie_word_embeddings": True,
        "attn_implementation": "eager",
        "pad_token_id": 0,
    }
    if backbone.arch == "qwen3":
        rope = {"rope_type": "default", "rope_theta": tiny.THETA}
        model = Qwen3ForCausalLM(Qwen3Config(**common, rope_parameters=rope))
    else:
        rope = {
            "full_attention": {"rope_type": "default", "rope_theta": tiny.THETA},
            "sliding_attention": {"rope_type": "default", "rope_theta": tiny.LOCAL_THETA},
        }
        kinds = [
            "full_attention" if (i + 1) % tiny.PERIOD == 0 else "sliding_attention"
            for i in range(tiny.LAYERS)
        ]
        model = Gemma3ForCausalLM(
            Gemma3TextConfig(
                **common,
                rope_parameters=rope,
                layer_types=kinds,
                sliding_window=tiny.WINDOW,
                query_pre_attn_scalar=tiny.HEAD_DIM,
            )
        )
    for name, module in list(model.model.named_modules()):
        if isinstance(module, torch.nn.Linear):
            ternary = AutoBitLinear(
                module.in_features, module.out_features, bias=False, online_quant=True,
                use_rms_norm=backbone.norm_in, rms_norm_eps=tiny.EPS,
            )  # fmt: skip
            model.model.set_submodule(name, ternary)
    state = {
        name.replace("_proj.norm.", "_proj.rms_norm."): torch.from_numpy(values)
        for name, values in tiny.weights(backbone).items()
    }
    model.model.load_state_dict(state, strict=True)
    model.tie_weights()
    return model.float().eval()


def quantised(module: AutoBitLinear, h: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """q and s of what a projection was given, by transformers' BitLinear; checked against the class that ran."""
    if module.rms_norm is not None:
        h = module.rms_norm(h)
    q, s = BitLinear.activation_quant(None, h)
    assert torch.equal(ActQuant.apply(h), q.float() / s)
    return q[0].numpy(), s[0, :, 0].numpy()


def golden(backbone: tiny.Backbone) -> dict[str, np.ndarray]:
    """Logits, hidden states, vector, and the int8 inputs of projections in the order in which they run.

    Without norms on inputs q, k and v read the same, and so do gate and up: then the first of them stands for all.
    """
    model, inputs = model_of(backbone), []
    for name, module in model.named_modules():
        shares = name.endswith(("k_proj", "v_proj", "up_proj")) and not backbone.norm_in
        if isinstance(module, AutoBitLinear) and not shares:
            module.register_forward_hook(lambda module, args, _: inputs.append((module, args[0].clone())))
    with torch.no_grad():
        ids = torch.tensor(tiny.tokens()[None].astype(np.int64))
        states = model.model(ids, use_cache=False).last_hidden_state
        result = {
            "hidden": states[0].numpy(),
            "logits": model.lm_head(states)[0].numpy(),
            "vector": torch.nn.functional.normalize(states[0, -1], dim=-1).numpy(),
        }
        for i, (module, h) in enumerate(inputs):
            result[f"q.{i}"], result[f"s.{i}"] = quantised(module, h)
    assert len(inputs) == (7 if backbone.norm_in else 4) * tiny.LAYERS
    return result


def main() -> None:
    torch.set_num_threads(1)
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}, numpy {np.__version__}"
    everything = {"made_with": np.array(versions), "tokens": tiny.tokens()}
    for backbone in tiny.BACKBONES:
        found = golden(backbone)
        everything |= {f"{backbone.name}/{name}": values for name, values in found.items()}
        print(backbone.name, f"deviation of the logits {found['logits'].std():.4f}")
    np.savez_compressed(HERE / "backbones.npz", **everything)


if __name__ == "__main__":
    main()
