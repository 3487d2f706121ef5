"""Tiny random checkpoints of every model family and weight encoding, the same on every machine.

NumPy and the standard library only; nothing of the package is imported, so that the files are an
independent witness and so that the golden-file scripts can use them beside torch. The numbers come
from a counter-based integer generator (SplitMix64), hence do not depend on the NumPy version.

* ``weights(family, seed)`` gives the float32 master weights under their Hugging Face names.
* ``write_checkpoint(directory, family, encoding, ...)`` writes config, tokenizer and safetensors and
  returns what a converter must find in them.

Families: ``bitnet-b1.58`` (relu², sub-norms, tied, 6 heads on 3 kv heads), ``bitnet`` (1bitLLM style:
SiLU, sub-norms under their older names, tied, SentencePiece) and ``llama`` (untied, GQA, head_dim
other than hidden/heads).
Encodings: ``masters``, ``packed_auto`` (uint8, scale multiplies), ``packed_bitlinear`` (uint8, scale
divides), ``ternary_floats`` (t·scale in floats) and ``unpacked_auto`` (floats in {-1,0,1} and a scale).
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from tiny_tokenizers import (
    CHAT_TEMPLATE,
    SPECIALS,
    byte_level_json,
    sentencepiece_model,
    sentencepiece_pieces,
)

FAMILIES = ("bitnet-b1.58", "bitnet", "llama")
ENCODINGS = ("masters", "packed_auto", "packed_bitlinear", "ternary_floats", "unpacked_auto")
DTYPES = {"f32": "F32", "f16": "F16", "bf16": "BF16"}
PROJECTIONS = (
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
)


@dataclass(frozen=True)
class Shape:
    """The sizes of a tiny model; the names are those of config.json."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    tie_word_embeddings: bool


SHAPES = {
    "bitnet-b1.58": Shape(384, 640, 2, 6, 3, 64, 320, True),
    "bitnet": Shape(256, 512, 2, 4, 4, 64, 352, True),
    "llama": Shape(256, 384, 3, 4, 2, 128, 320, False),
}
SUB_NORMS = {
    "bitnet-b1.58": ("self_attn.attn_sub_norm", "mlp.ffn_sub_norm"),
    "bitnet": ("self_attn.inner_attn_ln", "mlp.ffn_layernorm"),
    "llama": (),
}


@dataclass
class CheckpointTruth:
    """What a checkpoint holds, in Hugging Face order and under Hugging Face names.

    `trits` are int8 matrices, `scales` their multiplying float32 scales as an exact converter writes
    them, `floats` the other tensors as float32 after rounding to the stored dtype, `config` the content
    of config.json.
    """

    trits: dict[str, np.ndarray] = field(default_factory=dict)
    scales: dict[str, np.float32] = field(default_factory=dict)
    floats: dict[str, np.ndarray] = field(default_factory=dict)
    config: dict = field(default_factory=dict)


def tensor_shapes(family: str, shape: Shape) -> dict[str, tuple[int, ...]]:
    """Hugging Face names and NumPy shapes of every tensor, in file order."""
    s, h = shape, shape.hidden_size
    q, kv = s.num_attention_heads * s.head_dim, s.num_key_value_heads * s.head_dim
    names: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (s.vocab_size, h)}
    sizes = ((q, h), (kv, h), (kv, h), (h, q), *[(s.intermediate_size, h)] * 2, (h, s.intermediate_size))
    for i in range(s.num_hidden_layers):
        layer = f"model.layers.{i}"
        names[f"{layer}.input_layernorm.weight"] = (h,)
        names[f"{layer}.post_attention_layernorm.weight"] = (h,)
        for name, size in zip(SUB_NORMS[family], (q, s.intermediate_size), strict=False):
            names[f"{layer}.{name}.weight"] = (size,)
        for name, dims in zip(PROJECTIONS, sizes, strict=True):
            names[f"{layer}.{name}.weight"] = dims
    names["model.norm.weight"] = (h,)
    if not s.tie_word_embeddings:
        names["lm_head.weight"] = (s.vocab_size, h)
    return names


def weights(family: str, seed: int = 0, **shape_overrides: int) -> dict[str, np.ndarray]:
    """Float32 master weights of a tiny model under their Hugging Face names.

    Projections have a spread of their own (0.03 to 0.09), norms lie around one, embeddings have spread 0.1.
    """
    shape = replace(SHAPES[family], **shape_overrides)
    out = {}
    for name, dims in tensor_shapes(family, shape).items():
        values = _normal(f"{seed}/{name}", math.prod(dims)).reshape(dims)
        if len(dims) == 1:
            out[name] = (1.0 + 0.15 * values).astype(np.float32)
        elif is_projection(name):
            spread = 0.03 + 0.0025 * (_key(f"{seed}/{name}/spread") % 25)
            out[name] = (values * spread).astype(np.float32)
        else:
            out[name] = (values * 0.1).astype(np.float32)
    return out


def is_projection(name: str) -> bool:
    """Whether the tensor is one of the seven ternary matrices of a layer."""
    return name.removesuffix(".weight").split(".", 3)[-1] in PROJECTIONS


def absmean(master: np.ndarray) -> tuple[np.ndarray, np.float32]:
    """Trits (int8) and scale m (float32): m = max(mean|W|, 1e-5), t = clamp(rint(W·(1/m)), -1, 1)."""
    mean = np.float32(np.abs(master).sum(dtype=np.float64) / master.size)
    scale = max(mean, np.float32(1e-5))
    trits = np.clip(np.rint(master * (np.float32(1.0) / scale)), -1, 1).astype(np.int8)
    return trits, np.float32(scale)


def pack_rows(trits: np.ndarray) -> np.ndarray:
    """Transformers' uint8 packing: byte (r, c) holds rows r, r+R, r+2R, r+3R from the low bits up."""
    quarter = -(-trits.shape[0] // 4)
    packed = np.zeros((quarter, trits.shape[1]), np.uint8)
    for i in range(4):
        rows = trits[i * quarter : (i + 1) * quarter]
        packed[: len(rows)] |= ((rows + 1).astype(np.uint8) << (2 * i)).astype(np.uint8)
    return packed


def to_dtype(values: np.ndarray, dtype: str) -> np.ndarray:
    """The little-endian array of `values` in "f32", "f16" or "bf16" (as uint16), rounded to nearest even."""
    if dtype == "f32":
        return values.astype("<f4")
    if dtype == "f16":
        return values.astype("<f2")
    bits = np.ascontiguousarray(values, "<f4").view("<u4").astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def from_dtype(raw: np.ndarray, dtype: str) -> np.ndarray:
    """Float32 values of an array made by `to_dtype`."""
    if dtype == "bf16":
        return (raw.astype("<u4") << 16).view("<f4")
    return raw.astype(np.float32)


def rounded(values: np.ndarray, dtype: str) -> np.ndarray:
    """`values` after a passage through `dtype`, as float32."""
    return from_dtype(to_dtype(np.asarray(values, np.float32), dtype), dtype)


def model_config(family: str, encoding: str, shape: Shape, dtype: str) -> dict:
    """The content of config.json as repositories of this family write it."""
    config: dict = asdict(shape)
    config["torch_dtype"] = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}[dtype]
    config |= {"attention_bias": False, "use_cache": True, "initializer_range": 0.02}
    first_special = len(byte_level_json()["model"]["vocab"])
    if family == "bitnet-b1.58":
        config |= {"architectures": ["BitNetForCausalLM"], "model_type": "bitnet", "hidden_act": "relu2"}
        config |= {"rms_norm_eps": 1e-5, "rope_theta": 500000.0, "max_position_embeddings": 512}
        config |= {"bos_token_id": first_special, "eos_token_id": first_special + 1}
    elif family == "bitnet":
        config |= {"architectures": ["BitnetForCausalLM"], "model_type": "llama", "hidden_act": "silu"}
        config |= {"rms_norm_eps": 1e-5, "rope_theta": 10000.0, "max_position_embeddings": 256}
        config |= {
            "bos_token_id": 1,
            "eos_token_id": 2,
            "input_bits": 8,
            "weight_bits": 1,
            "rope_scaling": None,
        }
    else:
        config |= {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu"}
        config |= {"rms_norm_eps": 1e-6, "rope_theta": 1000042, "max_position_embeddings": 1024}
        config |= {"bos_token_id": first_special, "eos_token_id": first_special + 1, "mlp_bias": False}
    if family != "llama" and config["head_dim"] * config["num_attention_heads"] == config["hidden_size"]:
        del config["head_dim"]
    if encoding != "ternary_floats" and not (family == "bitnet" and encoding == "masters"):
        config["quantization_config"] = {
            "quant_method": "bitnet",
            "linear_class": "bitlinear" if encoding == "packed_bitlinear" else "autobitlinear",
            "quantization_mode": "online" if encoding == "masters" else "offline",
            "modules_to_not_convert": None,
        }
    return config


def write_checkpoint(
    directory: Path,
    family: str,
    encoding: str,
    *,
    seed: int = 0,
    shards: int = 1,
    dtype: str = "bf16",
    config_changes: dict | None = None,
    **shape_overrides: int,
) -> CheckpointTruth:
    """Write a checkpoint directory and return what it holds.

    Args:
        directory: made if missing.
        family, encoding: see the module.
        seed: other seeds give other weights.
        shards: number of safetensors files; several come with an index, their names follow no pattern.
        dtype: "bf16", "f16" or "f32", of all float tensors and scales.
        config_changes: keys to set in config.json; the value None removes the key.
        shape_overrides: fields of `Shape`.
    """
    shape = replace(SHAPES[family], **shape_overrides)
    truth = CheckpointTruth(config=model_config(family, encoding, shape, dtype))
    for key, value in (config_changes or {}).items():
        truth.config[key] = value
        if value is None:
            del truth.config[key]
    tensors: dict[str, tuple[str, np.ndarray]] = {}
    for name, values in weights(family, seed, **shape_overrides).items():
        if is_projection(name):
            tensors |= encode_projection(name, values, encoding, dtype, truth)
        else:
            tensors[name] = (DTYPES[dtype], to_dtype(values, dtype))
            truth.floats[name] = rounded(values, dtype)
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(truth.config, indent=2))
    write_shards(directory, tensors, shards)
    write_tokenizer(directory, family)
    return truth


def encode_projection(
    name: str, master: np.ndarray, encoding: str, dtype: str, truth: CheckpointTruth
) -> dict[str, tuple[str, np.ndarray]]:
    """The stored tensors of one projection; its trits and scale are added to `truth`."""
    if encoding == "masters":
        master = rounded(master, dtype)
    trits, scale = absmean(master)
    stored_scale = np.float32(1.0) / scale if encoding == "packed_bitlinear" else scale
    ws = to_dtype(np.array([stored_scale], np.float32), dtype)
    if encoding != "masters":
        ws_value = from_dtype(ws, dtype)[0]
        scale = np.float32(1.0) / ws_value if encoding == "packed_bitlinear" else ws_value
    truth.trits[name], truth.scales[name] = trits, scale
    tag = DTYPES[dtype]
    if encoding == "masters":
        return {name: (tag, to_dtype(master, dtype))}
    if encoding == "ternary_floats":
        return {name: (tag, to_dtype(trits * scale, dtype))}
    scale_name = f"{name}_scale"
    if encoding == "unpacked_auto":
        return {name: (tag, to_dtype(trits.astype(np.float32), dtype)), scale_name: (tag, ws)}
    return {name: ("U8", pack_rows(trits)), scale_name: (tag, ws)}


def write_safetensors(path: Path, tensors: dict[str, tuple[str, np.ndarray]]) -> None:
    """Write one safetensors file from name → (dtype tag, array of that width)."""
    header: dict[str, dict] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, (tag, data) in tensors.items():
        end = offset + data.nbytes
        header[name] = {"dtype": tag, "shape": list(data.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for _, data in tensors.values():
            f.write(np.ascontiguousarray(data).data)


def read_safetensors(path: Path) -> dict[str, tuple[str, np.ndarray]]:
    """The content of a file that `write_safetensors` wrote, to be changed and written again."""
    raw = path.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    tensors = {}
    for name, entry in json.loads(raw[8:start]).items():
        if name != "__metadata__":
            first, end = entry["data_offsets"]
            dtype = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "U8": "u1"}[entry["dtype"]]
            data = np.frombuffer(raw[start + first : start + end], dtype).reshape(entry["shape"])
            tensors[name] = (entry["dtype"], data.copy())
    return tensors


def write_shards(directory: Path, tensors: dict[str, tuple[str, np.ndarray]], shards: int) -> None:
    """Write `tensors` as model.safetensors, or dealt in turn over several oddly named files with an index."""
    if shards == 1:
        write_safetensors(directory / "model.safetensors", tensors)
        return
    files = [f"part-{chr(ord('a') + i)}.safetensors" for i in range(shards)]
    weight_map = {name: files[i % shards] for i, name in enumerate(tensors)}
    for file in files:
        write_safetensors(directory / file, {n: t for n, t in tensors.items() if weight_map[n] == file})
    total = sum(data.nbytes for _, data in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))


def write_tokenizer(directory: Path, family: str) -> None:
    """Write the tokenizer files of the family: SentencePiece for `bitnet`, byte-level BPE for the others."""
    if family == "bitnet":
        (directory / "tokenizer.model").write_bytes(sentencepiece_model())
        added = {"<pad>": len(sentencepiece_pieces())}
        (directory / "added_tokens.json").write_text(json.dumps(added))
        config = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
        config |= {"add_bos_token": True, "add_eos_token": False, "tokenizer_class": "BitnetTokenizer"}
        (directory / "tokenizer_config.json").write_text(json.dumps(config))
        return
    content = byte_level_json(merges_as_strings=family == "llama")
    (directory / "tokenizer.json").write_text(json.dumps(content))
    config = {"bos_token": SPECIALS[0], "eos_token": SPECIALS[2], "chat_template": CHAT_TEMPLATE}
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    (directory / "tokenizer_config.json").write_text(json.dumps(config))
    first = content["added_tokens"][0]["id"]
    generation = {"bos_token_id": first, "eos_token_id": [first + 1, first + 2]}
    (directory / "generation_config.json").write_text(json.dumps(generation))


def _key(text: str) -> int:
    """FNV-1a of the text, 64 bits."""
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


def _normal(stream: str, count: int) -> np.ndarray:
    """`count` float64 numbers of mean 0 and variance 1: sums of four 16-bit uniforms from SplitMix64."""
    z = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(_key(stream))
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    parts = z.view(np.uint16).reshape(count, 4).astype(np.int64)
    return (parts.sum(axis=1) - 131070) / (65536 * math.sqrt(4 / 12))
