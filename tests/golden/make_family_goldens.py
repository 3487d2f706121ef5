"""Makes families.npz: what transformers computes in float32 from the checkpoints of tests/reference/tiny_families.py.

usage: python tests/golden/make_family_goldens.py        (needs torch and transformers; see README.md here)

transformers loads the checkpoints as they are with its own classes. Where weights are ternary already, a hook rounds the
input of each of the seven projections of a layer by transformers' own `ActQuant`; masters run through its `AutoBitLinear`.
Everything is float32, eager attention, a float32 cache.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

os.environ["TORCH_COMPILE_DISABLE"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "reference"))

# ruff: noqa: E402 - the lines above decide what these imports do

import numpy as np
import torch
import transformers
from make_golden import as_bitnet_class, load_float32
from tiny_checkpoints import PROJECTIONS
from tiny_families import FAMILIES, N_LAYERS, TOKENS, Family, write
from transformers import AutoModelForCausalLM
from transformers.integrations.bitnet import ActQuant, AutoBitLinear


def model_of(family: Family, directory: Path):
    """The checkpoint as a float32 model whose projections read int8."""
    write(directory, family)
    if family.is_bitnet:
        as_bitnet_class(directory, "masters")
    if family.masters:
        return load_float32(directory)
    return AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, attn_implementation="eager", device_map="cpu"
    ).eval()


def projections(model) -> list[torch.nn.Module]:
    found = [module for name, module in model.named_modules() if name.endswith(PROJECTIONS)]
    assert len(found) == len(PROJECTIONS) * N_LAYERS
    return found


def logits(model) -> np.ndarray:
    """float32 [n_tokens, vocabulary]"""
    with torch.no_grad():
        out = model(torch.tensor(TOKENS[None].astype(np.int64)), use_cache=False)
    assert out.logits.dtype == torch.float32
    return out.logits[0].numpy()


def golden(family: Family) -> dict[str, np.ndarray]:
    """`int8`: logits with activations as the engine has them; `float`: with the activations of training, where these were
    floats."""
    with tempfile.TemporaryDirectory() as directory:
        model = model_of(family, Path(directory) / "model")
    if family.masters:
        assert all(isinstance(module, AutoBitLinear) for module in projections(model))
        return {"int8": logits(model)}
    assert all(type(module) is torch.nn.Linear for module in projections(model))
    result = {"float": logits(model)}
    for module in projections(model):
        module.register_forward_pre_hook(lambda _, args: (ActQuant.apply(args[0]),))
    return result | {"int8": logits(model)}


def main() -> None:
    torch.set_num_threads(1)
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}, numpy {np.__version__}"
    everything = {"made_with": np.array(versions), "tokens": TOKENS}
    for family in FAMILIES:
        found = golden(family)
        everything |= {f"{family.name}/{name}": array for name, array in found.items()}
        noise = np.abs(found["int8"] - found["float"]).mean() / found["int8"].std() if "float" in found else 0
        print(
            family.name, f"deviation of the logits {found['int8'].std():.4f}, int8 against float {noise:.4f}"
        )
    np.savez_compressed(HERE / "families.npz", **everything)


if __name__ == "__main__":
    main()
