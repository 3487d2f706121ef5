"""Tiny random Qwen3 and Gemma 3 backbones with ternary projections: master weights under their Hugging Face names, and the
GGUF file they become.

NumPy only; nothing of the package is imported, so that the golden-file script can use the weights beside torch and the
file comes from another hand than the package's converter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from tiny_checkpoints import _normal, absmean
from tiny_gguf import BOOL, F32, TYPE_F32, TYPE_I2_S, U32, TinyGGUF, i2_s, tiny_model

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


def _values(stream: str, *shape: int) -> np.ndarray:
    """Float32 numbers of mean 0 and variance 1."""
    return _normal(f"backbone/{stream}", math.prod(shape)).reshape(shape).astype(np.float32)
