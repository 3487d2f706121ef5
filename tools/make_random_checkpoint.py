"""Writes a random checkpoint with the shapes of a real ternary model, for measuring conversion and inference.

The weights are noise of the right size and spread, so speed, memory and file sizes are those of the real
model and its words are not. The file grows tensor by tensor; memory stays within one matrix.

    python tools/make_random_checkpoint.py OUT --shape bitnet-2b-4t --encoding packed python
    tools/make_random_checkpoint.py OUT --shape falcon3-1b --encoding masters --layers 2 --tokenizer DIR
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "reference")]
from tiny_checkpoints import PROJECTIONS, SUB_NORMS, Shape, pack_rows, to_dtype  # noqa: E402
from tiny_tokenizers import CHAT_TEMPLATE, SPECIALS, byte_level_json  # noqa: E402

from bitnet_cli.arch import arch_for  # noqa: E402
from bitnet_cli.bench.shapes import SHAPES  # noqa: E402
from bitnet_cli.bench.shapes import Shape as BenchShape  # noqa: E402

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "generation_config.json",
    "added_tokens.json",
    "chat_template.jinja",
)
BLOCK_VALUES = 1 << 22


@dataclass(frozen=True)
class Model:
    """A model of the inventory: its family, sizes and the numbers of config.json that are not sizes."""

    family: str
    shape: Shape
    class_name: str
    rms_norm_eps: float
    rope_theta: float
    linear_class: str


def _model(shape: BenchShape) -> Model:
    arch = arch_for(shape.arch)
    return Model(
        family=arch.name,
        shape=Shape(
            shape.dim,
            shape.ffn_dim,
            shape.n_layers,
            shape.n_heads,
            shape.n_kv_heads,
            shape.head_dim,
            shape.vocab_size,
            shape.tied,
        ),
        class_name=CLASS_NAMES[arch.name],
        rms_norm_eps=shape.rms_eps,
        rope_theta=shape.rope_theta,
        linear_class="autobitlinear" if arch.name == "bitnet-b1.58" else "bitlinear",
    )


CLASS_NAMES = {
    "bitnet-b1.58": "BitNetForCausalLM",
    "bitnet": "BitnetForCausalLM",
    "llama": "LlamaForCausalLM",
}
MODELS = {name: _model(shape) for name, shape in SHAPES.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="directory to make")
    parser.add_argument("--shape", choices=MODELS, default="bitnet-2b-4t")
    parser.add_argument("--encoding", choices=("packed", "masters"), default="packed")
    parser.add_argument("--dtype", choices=("bf16", "f16", "f32"), default="bf16", help="of the floats")
    parser.add_argument("--layers", type=int, help="fewer layers than the model has")
    parser.add_argument("--vocab", type=int, help="a smaller vocabulary than the model has")
    parser.add_argument("--tokenizer", type=Path, metavar="DIR", help="copy the tokenizer files of DIR")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    model = MODELS[args.shape]
    changes = {"num_hidden_layers": args.layers, "vocab_size": args.vocab}
    shape = replace(model.shape, **{key: value for key, value in changes.items() if value is not None})
    write_checkpoint(args.out, replace(model, shape=shape), args.encoding, args.dtype, args.seed)
    if args.tokenizer is not None:
        for name in TOKENIZER_FILES:
            if (args.tokenizer / name).exists():
                shutil.copyfile(args.tokenizer / name, args.out / name)
    else:
        write_synthetic_tokenizer(args.out, shape.vocab_size)


def write_checkpoint(out: Path, model: Model, encoding: str, dtype: str, seed: int) -> None:
    """Writes config.json and model.safetensors."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(json.dumps(config(model, encoding, dtype), indent=2))
    width = {"bf16": 2, "f16": 2, "f32": 4}[dtype]
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    entries = list(tensors(model, encoding))
    for name, stored in entries:
        is_packed = encoding == "packed" and name.endswith("_proj.weight")
        n_bytes = math.prod(stored) * (1 if is_packed else width)
        tag = "U8" if is_packed else dtype.upper()
        header[name] = {"dtype": tag, "shape": stored, "data_offsets": [offset, offset + n_bytes]}
        offset += n_bytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    random = np.random.default_rng(seed)
    with open(out / "model.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, stored in entries:
            for block in blocks(random, model, name, stored, encoding, dtype):
                file.write(np.ascontiguousarray(block).data)


def tensors(model: Model, encoding: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """(name, stored shape) of every tensor."""
    s = model.shape
    h, ffn, q, kv = s.hidden_size, s.intermediate_size, s.num_attention_heads, s.num_key_value_heads
    sizes = ((q * s.head_dim, h), (kv * s.head_dim, h), (kv * s.head_dim, h), (h, q * s.head_dim))
    sizes += ((ffn, h), (ffn, h), (h, ffn))
    yield "model.embed_tokens.weight", (s.vocab_size, h)
    for i in range(s.num_hidden_layers):
        layer = f"model.layers.{i}"
        yield f"{layer}.input_layernorm.weight", (h,)
        yield f"{layer}.post_attention_layernorm.weight", (h,)
        for name, size in zip(SUB_NORMS[model.family], (h, ffn), strict=False):
            yield f"{layer}.{name}.weight", (size,)
        for name, (rows, cols) in zip(PROJECTIONS, sizes, strict=True):
            yield f"{layer}.{name}.weight", (rows // 4 if encoding == "packed" else rows, cols)
            if encoding == "packed":
                yield f"{layer}.{name}.weight_scale", (1,)
    yield "model.norm.weight", (h,)
    if not s.tie_word_embeddings:
        yield "lm_head.weight", (s.vocab_size, h)


def blocks(
    random: np.random.Generator, model: Model, name: str, stored: tuple[int, ...], encoding: str, dtype: str
) -> Iterator[np.ndarray]:
    """The data of one tensor, in pieces.

    Three in ten trits are zero, as absmean makes of normal weights.
    """
    if name.endswith("weight_scale"):
        mean = 1.0 + random.random()
        yield to_dtype(
            np.array([mean if model.linear_class == "autobitlinear" else 1 / mean], np.float32), dtype
        )
        return
    if len(stored) == 1:
        yield to_dtype(1 + 0.1 * random.standard_normal(stored, np.float32), dtype)
        return
    rows, cols = stored
    step = max(1, BLOCK_VALUES // cols)
    for start in range(0, rows, step):
        n = min(step, rows - start)
        if encoding == "packed" and name.endswith("_proj.weight"):
            # Every byte is four rows of the matrix; noise has no order, so any four will do.
            trits = random.choice(np.array([-1, 0, 1], np.int8), (4 * n, cols), p=(0.35, 0.3, 0.35))
            yield pack_rows(trits)
        else:
            yield to_dtype(0.02 * random.standard_normal((n, cols), np.float32), dtype)


def config(model: Model, encoding: str, dtype: str) -> dict:
    """The content of config.json."""
    sizes = {key: getattr(model.shape, key) for key in Shape.__dataclass_fields__}
    return sizes | {
        "architectures": [model.class_name],
        "model_type": "llama" if model.family == "llama" else "bitnet",
        "hidden_act": "relu2" if model.family == "bitnet-b1.58" else "silu",
        "max_position_embeddings": 4096,
        "rms_norm_eps": model.rms_norm_eps,
        "rope_theta": model.rope_theta,
        "torch_dtype": {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}[dtype],
        "quantization_config": {
            "quant_method": "bitnet",
            "linear_class": model.linear_class,
            "quantization_mode": "offline" if encoding == "packed" else "online",
            "modules_to_not_convert": None,
        },
    }


def write_synthetic_tokenizer(out: Path, vocab_size: int) -> None:
    """A byte-level vocabulary of `vocab_size` tokens: bytes, then pairs and fours of letters, then specials."""
    content = byte_level_json()
    vocab: dict[str, int] = content["model"]["vocab"]
    merges: list[str] = content["model"]["merges"]
    specials = content["added_tokens"]
    letters = "abcdefghijklmnopqrstuvwxyz"
    parts = list(letters)
    while len(vocab) + len(specials) < vocab_size:
        before = len(vocab)
        longer = []
        for left, right in ((a, b) for a in parts for b in letters):
            if len(vocab) + len(specials) == vocab_size:
                break
            longer.append(left + right)
            if left + right not in vocab:
                vocab[left + right] = len(vocab)
                merges.append(f"{left} {right}")
        assert len(vocab) > before
        parts = longer
    for i, special in enumerate(specials):
        special["id"] = len(vocab) + i
    first = len(vocab)
    content["post_processor"]["special_tokens"][SPECIALS[0]]["ids"] = [first]
    (out / "tokenizer.json").write_text(json.dumps(content))
    names = {"bos_token": SPECIALS[0], "eos_token": SPECIALS[2], "chat_template": CHAT_TEMPLATE}
    (out / "tokenizer_config.json").write_text(json.dumps(names))
    ids = {"bos_token_id": first, "eos_token_id": [first + 1, first + 2]}
    (out / "generation_config.json").write_text(json.dumps(ids))


if __name__ == "__main__":
    main()
