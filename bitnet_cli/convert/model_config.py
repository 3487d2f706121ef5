"""What config.json says about a model: the sizes, the graph, and how its weights are quantised.

Everything is checked, nothing is guessed: a missing or odd value is an error that names its key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bitnet_cli.arch import Arch, arch_for
from bitnet_cli.arch.limits import MAX_LAYERS, RMS_EPS_RANGE
from bitnet_cli.arch.yarn import Yarn
from bitnet_cli.convert.config_fields import Fields
from bitnet_cli.convert.rotation import Windows, read_rope, read_windows
from bitnet_cli.errors import UnsupportedError, printable

# (class or model_type without regard to case, hidden_act) → general.architecture. Both spellings of the
# BitNet class exist; the activation tells the two graphs apart.
_ARCHITECTURES = {
    ("bitnetforcausallm", "relu2"): "bitnet-b1.58",
    ("bitnetforcausallm", "silu"): "bitnet",
    ("llamaforcausallm", "silu"): "llama",
    ("qwen3forcausallm", "silu"): "qwen3",
    ("qwen3model", "silu"): "qwen3",
    ("gemma3forcausallm", "gelu_pytorch_tanh"): "gemma3",
    ("gemma3textmodel", "gelu_pytorch_tanh"): "gemma3",
}
_CLASSES = (
    "BitNetForCausalLM",
    "LlamaForCausalLM",
    "Qwen3ForCausalLM",
    "Qwen3Model",
    "Gemma3ForCausalLM",
    "Gemma3TextModel",
)
_BITNET_CLASS = "bitnetforcausallm"
_HEADLESS = {"qwen3": "Qwen3Model", "gemma3_text": "Gemma3TextModel"}
"""By model_type: the class of a graph without a head, for checkpoints of embedding models that name a class of their own."""
_MAX_TOKENS = 1 << 22


@dataclass(frozen=True)
class Quantization:
    """How the ternary weights are stored, as far as config.json says.

    Attributes:
        ternary: the model is declared to be ternary, so float matrices may be master weights.
        scale_divides: `weight_scale` is 1/mean|W| (`bitlinear`) and not mean|W| (`autobitlinear`); None if
            there is no quantization_config, so that a scale's meaning is unknown.
        not_converted: modules that stay float, as written in `modules_to_not_convert`.
        input_norms: every projection is declared to have a norm for its input (`use_rms_norm`).
    """

    ternary: bool
    scale_divides: bool | None
    not_converted: tuple[str, ...]
    input_norms: bool = False

    def keeps_float(self, module: str) -> bool:
        """Whether `module`, for example `model.layers.0.mlp.up_proj`, is excluded from quantisation."""
        return any(module.startswith(name) or module.endswith(name) for name in self.not_converted if name)


@dataclass(frozen=True)
class CheckpointConfig:
    """The sizes of a model and its graph.

    Attributes:
        tied: the output matrix is the embedding; None if config.json does not say.
        attention_scale: what scores are multiplied by; None for 1/sqrt(head_dim).
        windows: None if every layer sees all positions.
        yarn: how the rotary embedding is stretched, None if it is not.
        headless: the class has no head, so that the model makes vectors of texts.
    """

    arch: Arch
    hidden_size: int
    intermediate_size: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    vocab_size: int
    context_length: int
    rms_norm_eps: float
    rope_theta: float
    tied: bool | None
    quantization: Quantization
    attention_scale: float | None = None
    windows: Windows | None = None
    yarn: Yarn | None = None
    headless: bool = False


def read_config(config: Mapping[str, Any], path: Path) -> CheckpointConfig:
    """Reads the content of a config.json.

    Args:
        config: the parsed file.
        path: the file, for messages.

    Raises:
        FormatError: a value is missing or makes no sense.
        UnsupportedError: the model has parts that are not supported.
    """
    fields = Fields(config, path)
    class_name = _class_name(fields)
    arch = _arch(fields, class_name)
    hidden, heads = fields.size("hidden_size"), fields.size("num_attention_heads")
    kv_heads = fields.size("num_key_value_heads") if fields.has("num_key_value_heads") else heads
    if heads % kv_heads:
        raise fields.error(
            "num_key_value_heads", f"{heads} heads cannot share {kv_heads} key-value heads evenly"
        )
    _refuse_unsupported_parts(fields, arch)
    head_dim = _head_dim(fields, arch, hidden, heads)
    rope_theta, yarn = read_rope(fields, arch)
    return CheckpointConfig(
        arch=arch,
        hidden_size=hidden,
        intermediate_size=fields.size("intermediate_size"),
        n_layers=fields.size("num_hidden_layers", MAX_LAYERS),
        n_heads=heads,
        n_kv_heads=kv_heads,
        head_dim=head_dim,
        vocab_size=fields.size("vocab_size", _MAX_TOKENS),
        context_length=fields.size("max_position_embeddings"),
        rms_norm_eps=fields.number("rms_norm_eps", *RMS_EPS_RANGE),
        rope_theta=rope_theta,
        tied=_tied(fields, arch),
        quantization=_quantization(fields, class_name, input_norms=arch.input_norms),
        attention_scale=_attention_scale(fields, head_dim) if arch.embedding_scaled else None,
        windows=read_windows(fields, arch) if arch.window_period else None,
        yarn=yarn,
        headless=class_name in _HEADLESS.values(),
    )


def _class_name(fields: Fields) -> str:
    """The name of the class as far as it is known here; of another one, what its model_type stands for."""
    names = fields.values.get("architectures")
    name = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else None
    if name is not None and name.lower() in {known for known, _ in _ARCHITECTURES}:
        return name
    graph = _HEADLESS.get(fields.word("model_type") or "")
    if graph is not None:
        causal = graph.removesuffix("Model").removesuffix("Text") + "ForCausalLM"
        return causal if name is not None and name.endswith("ForCausalLM") else graph
    if name is None:
        raise fields.error("architectures", "the list with the name of the model's class is missing")
    raise UnsupportedError(
        f"models of class `{printable(name)}` are not supported",
        hint=f"supported are {', '.join(f'`{known}`' for known in _CLASSES)}",
    )


def _arch(fields: Fields, class_name: str) -> Arch:
    # Gemma's configurations may hold both keys, and its classes read the second.
    keys = ("hidden_act", "hidden_activation")
    words = [fields.word(key) for key in (keys[::-1] if class_name.startswith("Gemma") else keys)]
    act = next((word for word in words if word), None)
    if act is None:
        raise fields.error(
            "hidden_act", "the key is missing, and the activation cannot be told from anything else"
        )
    name = _ARCHITECTURES.get((class_name.lower(), act))
    if name is None:
        acts = " or ".join(f"`{a}`" for known, a in _ARCHITECTURES if known == class_name.lower())
        raise UnsupportedError(
            f"`{printable(class_name)}` with the activation `{printable(act)}` is not supported",
            hint=f"supported is {acts}",
        )
    return arch_for(name)


def _head_dim(fields: Fields, arch: Arch, hidden: int, heads: int) -> int:
    if fields.has("head_dim"):
        head_dim = fields.size("head_dim")
    elif hidden % heads:
        raise fields.error(
            "num_attention_heads", f"{hidden} hidden values cannot be split over {heads} heads"
        )
    else:
        head_dim = hidden // heads
    if head_dim % 2:
        raise fields.error("head_dim", f"rotary embeddings need an even head size, found {head_dim}")
    if arch.sub_norms and head_dim * heads != hidden:
        raise UnsupportedError(
            f"{heads} heads of {head_dim} with a hidden size of {hidden} are not supported: "
            f"`{arch.name}` files have one norm of the hidden size before `attn_output`"
        )
    return head_dim


def _tied(fields: Fields, arch: Arch) -> bool | None:
    """Whether the output matrix is the embedding. Gemma's always is: transformers' default is not written down."""
    tied = fields.flag("tie_word_embeddings")
    return True if tied is None and arch.embedding_scaled else tied


def _attention_scale(fields: Fields, head_dim: int) -> float | None:
    """1/sqrt(query_pre_attn_scalar), or None where that is the usual scale."""
    if not fields.has("query_pre_attn_scalar"):
        return None
    scalar = fields.number("query_pre_attn_scalar", 1e-6, 1e6)
    return None if scalar == head_dim else float(np.float32(1) / np.sqrt(np.float32(scalar)))


def _refuse_unsupported_parts(fields: Fields, arch: Arch) -> None:
    for key in ("attention_bias", "mlp_bias"):
        if fields.flag(key):
            raise UnsupportedError(f"{fields.path}: models with biases (`{key}`) are not supported")
    if fields.has("partial_rotary_factor") and fields.positive("partial_rotary_factor") != 1.0:
        raise UnsupportedError(f"{fields.path}: partly rotated heads are not supported")
    for key in ("attn_logit_softcapping", "final_logit_softcapping"):
        if fields.has(key):
            raise UnsupportedError(f"{fields.path}: capped logits (`{key}`) are not supported")
    if fields.flag("use_bidirectional_attention"):
        raise UnsupportedError(f"{fields.path}: attention to later positions is not supported")
    if (
        not arch.window_period
        and fields.has("sliding_window")
        and fields.values.get("use_sliding_window") is not False
    ):
        raise UnsupportedError(f"{fields.path}: sliding-window attention is not supported")


def _quantization(fields: Fields, class_name: str, *, input_norms: bool) -> Quantization:
    is_bitnet = class_name.lower() == _BITNET_CLASS
    group = fields.group("quantization_config")
    if group is None:
        return Quantization(ternary=is_bitnet, scale_divides=None, not_converted=())
    method = group.word("quant_method")
    if method != "bitnet":
        raise UnsupportedError(
            f"{fields.path}: weights quantised by `{printable(str(method))}` are not supported",
            hint="supported are `bitnet` checkpoints, and floats without a quantization_config",
        )
    linear_class = group.word("linear_class") or "bitlinear"
    if linear_class not in ("bitlinear", "autobitlinear"):
        raise UnsupportedError(f"{fields.path}: `linear_class` `{printable(linear_class)}` is not supported")
    mode = group.word("quantization_mode") or "offline"
    if mode not in ("offline", "online"):
        raise UnsupportedError(f"{fields.path}: `quantization_mode` `{printable(mode)}` is not supported")
    if group.flag("use_rms_norm"):
        if not input_norms:
            raise UnsupportedError(
                f"{fields.path}: a norm inside every projection (`use_rms_norm`) beside sub-norms is not supported"
            )
        eps = group.number("rms_norm_eps", *RMS_EPS_RANGE) if group.has("rms_norm_eps") else 1e-6
        if np.float32(eps) != np.float32(fields.number("rms_norm_eps", *RMS_EPS_RANGE)):
            raise UnsupportedError(
                f"{fields.path}: norms inside projections with an epsilon of their own ({eps:g}) are not supported"
            )
    names = group.values.get("modules_to_not_convert") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise group.error("modules_to_not_convert", "a list of module names was expected")
    return Quantization(
        ternary=True,
        scale_divides=linear_class == "bitlinear",
        not_converted=tuple(names),
        input_norms=group.flag("use_rms_norm") is True,
    )
