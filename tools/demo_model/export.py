"""Turns a saved training state into a Hugging Face checkpoint with packed ternary weights.

usage: python export.py STATE TOKENIZER_DIR OUT_DIR [--masters MASTERS_DIR] [--check HELDOUT]

STATE is state.pt or final.pt of train.py. OUT_DIR becomes a checkpoint that transformers loads as BitNetForCausalLM:
every projection as U8 with four ternary values in a byte and its `weight_scale` (mean |W|), embedding and norms in bf16.
MASTERS_DIR, if asked for, receives the float masters in bf16 under the same names. --check loads the checkpoint with
transformers and compares its loss on a few held-out stories with the training program's own forward pass.
"""

import argparse
import json
import os
import shutil
from pathlib import Path

import model as net
import tokenizer as tok
import torch
from safetensors.torch import save_file

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "generation_config.json",
)


def load_state(path):
    """Returns the shape and the masters of a saved training state."""
    state = torch.load(path, weights_only=True)
    return net.Shape(**state["shape"]), state["masters"], state


def pack_ternary(t):
    """Packs a matrix of -1, 0, 1 into bytes: with R rows in a quarter, bits 2j of byte (r, c) hold row r + j R, plus one."""
    codes = (t + 1).to(torch.uint8).reshape(4, t.shape[0] // 4, t.shape[1])
    return codes[0] | codes[1] << 2 | codes[2] << 4 | codes[3] << 6


def named_tensors(shape, masters, packed):
    """Returns the tensors of a checkpoint under the names which transformers uses."""
    out = {
        "model.embed_tokens.weight": masters["embed"].bfloat16(),
        "model.norm.weight": masters["final"].bfloat16(),
    }
    for i in range(shape.layers):
        for name, hf in net.NORMS.items():
            out[f"model.layers.{i}.{hf}.weight"] = masters[name][i].bfloat16().contiguous()
    for name, hf in net.PROJECTIONS.items():
        t, scale = net.ternarise(masters[name])
        for i in range(shape.layers):
            key = f"model.layers.{i}.{hf}.weight"
            if packed:
                out[key] = pack_ternary(t[i])
                out[key + "_scale"] = scale[i].bfloat16().reshape(1)
            else:
                out[key] = masters[name][i].bfloat16().contiguous()
    return out


def config(shape, mode):
    """Returns config.json's content; mode is `offline` for packed weights and `online` for masters."""
    return {
        "architectures": ["BitNetForCausalLM"],
        "model_type": "bitnet",
        "hidden_act": "relu2",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.ffn,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "vocab_size": shape.vocab,
        "max_position_embeddings": shape.context,
        "rms_norm_eps": shape.eps,
        "rope_theta": shape.rope_theta,
        "initializer_range": 0.02,
        "tie_word_embeddings": True,
        "use_cache": True,
        "bos_token_id": tok.BOS_ID,
        "eos_token_id": tok.EOS_ID,
        "pad_token_id": tok.EOS_ID,
        "torch_dtype": "bfloat16",
        "quantization_config": {
            "quant_method": "bitnet",
            "linear_class": "autobitlinear",
            "quantization_mode": mode,
            "modules_to_not_convert": None,
        },
    }


def write_checkpoint(shape, masters, tokenizer_dir, folder, packed):
    """Writes one checkpoint folder."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(named_tensors(shape, masters, packed), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    (folder / "config.json").write_text(
        json.dumps(config(shape, "offline" if packed else "online"), indent=2) + "\n"
    )
    for name in TOKENIZER_FILES:
        shutil.copyfile(tokenizer_dir / name, folder / name)


@torch.no_grad()
def check(shape, masters, folder, heldout, count):
    """Prints the mean loss per token on the first held-out stories: transformers in bf16 and in float32, and our own."""
    os.environ["TORCH_COMPILE_DISABLE"] = "1"
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = [tokenizer(s)["input_ids"] + [tok.EOS_ID] for s in tok.read_stories(heldout)[:count]]
    assert all(r[0] == tok.BOS_ID for r in rows)
    masters = {n: v.bfloat16().float() if n not in net.PROJECTIONS else v for n, v in masters.items()}
    weights, tables = net.working_weights(masters, True, torch.float32), net.rope_tables(shape, shape.context)
    own = [
        net.token_losses(
            shape,
            weights,
            masters,
            torch.tensor([r[:-1]]),
            torch.tensor([r[1:]]),
            *(t[: len(r) - 1] for t in tables),
            reduction="sum",
        ).item()
        for r in rows
    ]
    total = sum(len(r) - 1 for r in rows)
    print(f"own forward pass, float32:  {sum(own) / total:.4f} per token ({count} stories, {total} tokens)")
    for dtype in (torch.bfloat16, torch.float32):
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).to(dtype).eval()
        sums = []
        for r in rows:
            logits = model(torch.tensor([r[:-1]])).logits[0].float()
            sums.append(
                torch.nn.functional.cross_entropy(logits, torch.tensor(r[1:]), reduction="sum").item()
            )
        print(
            f"transformers, {str(dtype)[6:]:9}: {sum(sums) / total:.4f} per token",
            type(model).__name__,
            type(model.model.layers[0].self_attn.q_proj).__name__,
        )


def main():
    """Writes the checkpoint; see the module's docstring."""
    arg = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arg.add_argument("state", type=Path, help="state.pt or final.pt of train.py")
    arg.add_argument(
        "tokenizer", type=Path, help="folder with the tokenizer files (the output folder of train.py)"
    )
    arg.add_argument("out", type=Path, help="checkpoint folder to write")
    arg.add_argument("--masters", type=Path, help="folder for the float masters")
    arg.add_argument(
        "--check", type=Path, metavar="HELDOUT", help="held-out stories to compare transformers on"
    )
    arg.add_argument("--check-stories", type=int, default=20, help="how many of them")
    a = arg.parse_args()
    shape, masters, state = load_state(a.state)
    write_checkpoint(shape, masters, a.tokenizer, a.out, packed=True)
    if a.masters:
        write_checkpoint(shape, masters, a.tokenizer, a.masters, packed=False)
    print(
        f"step {state['step']}, {state['seen']} tokens, {shape.ternary_weights()} ternary weights -> {a.out}"
    )
    if a.check:
        check(shape, masters, a.out, a.check, a.check_stories)


if __name__ == "__main__":
    main()
