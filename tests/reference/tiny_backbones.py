"""Tiny random Qwen3 and Gemma 3 backbones with ternary projections: master weights under their Hugging Face names, their
checkpoints, and the GGUF file they become.

NumPy only; nothing of the package is imported, so that the golden-file script can use the weights beside torch and the
file comes from another hand than the package's converter.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tiny_checkpoints import _normal, absmean, write_safetensors
from tiny_gguf import BOOL, F32, TYPE_F32, TYPE_I2_S, U32, TinyGGUF, i2_s, tiny_model
from tiny_tokenizers import byte_alphabet
from tokenizer_kinds import QWEN2_REGEX

VOCAB = 258
DIM, FFN, HEADS, KV_HEADS, HEAD_DIM, LAYERS = 128, 256, 4, 2, 64, 3
EPS, THETA, LOCAL_THETA, WINDOW, PERIOD = 1e-6, 1000000.0, 10000.0, 8, 2
"""Of three layers the middle one sees everything, the others the last 8 positions."""
PROJECTIONS = {
    "self_attn.q_proj": ("attn_q", HEADS * HEAD_DIM, DIM),
    "self_attn.k_proj": ("attn_k", KV_HEADS * HEAD_DIM, DIM),
    "self_attn.v_proj": ("attn_v", KV_HEADS * HEAD_DIM, DIM),
    "self_attn.o_proj": ("attn_output", DIM, HEADS * HEAD_DIM),
    "mlp.gate_proj": ("ffn_gate", FFN, DIM),
    "mlp.up_proj": ("ffn_up", FFN, DIM),
    "mlp.down_proj": ("ffn_down", DIM, FFN),
}
"""By Hugging Face's name: GGUF's name, rows, cols."""
NORMS = {
    "qwen3": {
        "input_layernorm": ("attn_norm", DIM),
        "self_attn.q_norm": ("attn_q_norm", HEAD_DIM),
        "self_attn.k_norm": ("attn_k_norm", HEAD_DIM),
        "post_attention_layernorm": ("ffn_norm", DIM),
    },
    "gemma3": {
        "input_layernorm": ("attn_norm", DIM),
        "self_attn.q_norm": ("attn_q_norm", HEAD_DIM),
        "self_attn.k_norm": ("attn_k_norm", HEAD_DIM),
        "post_attention_layernorm": ("post_attention_norm", DIM),
        "pre_feedforward_layernorm": ("ffn_norm", DIM),
        "post_feedforward_layernorm": ("post_ffw_norm", DIM),
    },
}


SENTENCE_TRANSFORMERS = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
]
LAST_TOKEN = {
    "word_embedding_dimension": DIM,
    "pooling_mode_cls_token": False,
    "pooling_mode_lasttoken": True,
}
"""Files of sentence-transformers: the steps of an embedding model, and its pooling by the last token."""


@dataclass(frozen=True)
class Backbone:
    """Which graph: an architecture, with or without a norm on the input of every projection."""

    arch: str
    norm_in: bool

    @property
    def name(self) -> str:
        return f"{self.arch}-norm-in" if self.norm_in else self.arch


BACKBONES = tuple(Backbone(arch, norm_in) for arch in ("qwen3", "gemma3") for norm_in in (False, True))


def tokens() -> np.ndarray:
    """Fixed ids, int32, three windows of them."""
    return (np.arange(3 * WINDOW, dtype=np.int32) * 97 + 11) % VOCAB


def weights(backbone: Backbone) -> dict[str, np.ndarray]:
    """Float32 weights under Hugging Face names; projections are masters, to be made ternary.

    Gemma's norms lie around zero, for its class multiplies by one plus the weight; those of inputs lie around one, and are
    called `<projection>.norm.weight` as in the published models.
    """
    stored_around = 0.0 if backbone.arch == "gemma3" else 1.0
    out = {"embed_tokens.weight": _values("embed", VOCAB, DIM) * np.float32(0.1)}
    for i in range(LAYERS):
        at = f"layers.{i}"
        for name, (_, n) in NORMS[backbone.arch].items():
            out[f"{at}.{name}.weight"] = stored_around + np.float32(0.15) * _values(f"{at}.{name}", n)
        for name, (_, rows, cols) in PROJECTIONS.items():
            out[f"{at}.{name}.weight"] = np.float32(0.05) * _values(f"{at}.{name}", rows, cols)
            if backbone.norm_in:
                out[f"{at}.{name}.norm.weight"] = 1 + np.float32(0.15) * _values(f"{at}.{name}.norm", cols)
    out["norm.weight"] = stored_around + np.float32(0.15) * _values("norm", DIM)
    return {name: values.astype(np.float32) for name, values in out.items()}


def gguf(backbone: Backbone, pooling: int | None = None) -> TinyGGUF:
    """The file, as the specification of names says: ternary by absmean, Gemma's own norms plus one, all else as it is."""
    model = tiny_model(
        backbone.arch, dim=DIM, ffn_dim=FFN, n_layers=LAYERS, n_heads=HEADS, n_kv_heads=KV_HEADS, head_dim=HEAD_DIM,
        norm_in=backbone.norm_in, window=(WINDOW, PERIOD) if backbone.arch == "gemma3" else None, pooling=pooling,
    )  # fmt: skip
    model.metadata[f"{backbone.arch}.attention.layer_norm_rms_epsilon"] = (F32, EPS)
    model.metadata[f"{backbone.arch}.rope.freq_base"] = (F32, THETA)
    if backbone.arch == "gemma3":
        model.metadata["gemma3.rope.freq_base_swa"] = (F32, LOCAL_THETA)
    model.metadata["tokenizer.ggml.add_bos_token"] = (BOOL, False)
    model.metadata[f"{backbone.arch}.vocab_size"] = (U32, VOCAB)
    source, plus = weights(backbone), np.float32(1 if backbone.arch == "gemma3" else 0)

    def put(name: str, values: np.ndarray) -> None:
        assert name in model.tensors, name
        model.tensors[name] = (values.shape[::-1], TYPE_F32, values.astype("<f4").tobytes())

    put("token_embd.weight", source.pop("embed_tokens.weight"))
    put("output_norm.weight", source.pop("norm.weight") + plus)
    for i in range(LAYERS):
        at, block = f"layers.{i}", f"blk.{i}"
        for name, (theirs, _) in NORMS[backbone.arch].items():
            put(f"{block}.{theirs}.weight", source.pop(f"{at}.{name}.weight") + plus)
        for name, (theirs, rows, cols) in PROJECTIONS.items():
            trits, scale = absmean(source.pop(f"{at}.{name}.weight"))
            assert f"{block}.{theirs}.weight" in model.tensors
            model.tensors[f"{block}.{theirs}.weight"] = ((cols, rows), TYPE_I2_S, i2_s(trits, float(scale)))
            if backbone.norm_in:
                put(f"{block}.{theirs}_norm_in.weight", source.pop(f"{at}.{name}.norm.weight"))
    assert not source, "every weight has its place"
    return model


def config(backbone: Backbone) -> dict[str, Any]:
    """The content of config.json."""
    found: dict[str, Any] = {
        "hidden_size": DIM, "intermediate_size": FFN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS, "head_dim": HEAD_DIM, "vocab_size": VOCAB, "max_position_embeddings": 64,
        "rms_norm_eps": EPS, "rope_theta": THETA, "attention_bias": False, "eos_token_id": 257,
    }  # fmt: skip
    if backbone.arch == "qwen3":
        found |= {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_act": "silu"}
        return found | {"tie_word_embeddings": True, "sliding_window": None, "use_sliding_window": False}
    kinds = ["full_attention" if (i + 1) % PERIOD == 0 else "sliding_attention" for i in range(LAYERS)]
    found |= {"architectures": ["Gemma3TextModel"], "model_type": "gemma3_text"}
    found |= {"hidden_activation": "gelu_pytorch_tanh", "sliding_window": WINDOW, "layer_types": kinds}
    found |= {"rope_local_base_freq": LOCAL_THETA, "query_pre_attn_scalar": HEAD_DIM}
    return found | {"final_logit_softcapping": None, "attn_logit_softcapping": None}


def write(directory: Path, backbone: Backbone, **changes: Any) -> Path:
    """A checkpoint in float32; `changes` are keys of config.json."""
    directory.mkdir(exist_ok=True)
    content = config(backbone) | changes
    if not backbone.norm_in:
        content["quantization_config"] = {"quant_method": "bitnet", "linear_class": "autobitlinear",
                                          "quantization_mode": "online"}  # fmt: skip
    (directory / "config.json").write_text(json.dumps(content))
    # The published embedding models leave out the prefix `model.`, language models have it.
    prefix = "" if backbone.norm_in else "model."
    tensors = {prefix + name: ("F32", values) for name, values in weights(backbone).items()}
    write_safetensors(directory / "model.safetensors", tensors)
    tokenizer = {
        "model": {"type": "BPE", "vocab": {token: i for i, token in enumerate(byte_alphabet())}, "merges": []},
        "added_tokens": [{"id": 256, "content": "<s>", "special": True}, {"id": 257, "content": "</s>", "special": True}],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": QWEN2_REGEX}, "behavior": "Isolated", "invert": False},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
            ],
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
            "special_tokens": {"</s>": {"id": "</s>", "ids": [257], "tokens": ["</s>"]}},
        },
    }  # fmt: skip
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer))
    return directory


def pools(directory: Path, modules: object = SENTENCE_TRANSFORMERS, pooling: object = LAST_TOKEN) -> None:
    """Makes a checkpoint an embedding model."""
    (directory / "modules.json").write_text(json.dumps(modules))
    (directory / "1_Pooling").mkdir(exist_ok=True)
    (directory / "1_Pooling" / "config.json").write_text(json.dumps(pooling))


def _values(stream: str, *shape: int) -> np.ndarray:
    """Float32 numbers of mean 0 and variance 1."""
    return _normal(f"backbone/{stream}", math.prod(shape)).reshape(shape).astype(np.float32)
