"""config.json of the known models, in every spelling, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from tiny_checkpoints import SHAPES, model_config

from bitnet_cli.arch.limits import MAX_COUNT, MAX_LAYERS
from bitnet_cli.arch.yarn import Yarn
from bitnet_cli.convert.model_config import CheckpointConfig, Quantization, read_config
from bitnet_cli.errors import BitnetError, FormatError, UnsupportedError

PATH = Path("config.json")
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}
# class, activation, hidden, ffn, layers, heads, kv heads, head_dim (None: not in the file), eps, theta, vocabulary, tied
INVENTORY = {
    "2B-4T": ("BitNetForCausalLM", "relu2", 2560, 6912, 30, 20, 5, None, 1e-5, 5e5, 128256, True),
    "large": ("BitnetForCausalLM", "silu", 1536, 4096, 24, 16, 16, None, 1e-5, 1e4, 32002, True),
    "3B": ("BitnetForCausalLM", "silu", 3200, 8640, 26, 32, 32, None, 1e-5, 1e4, 32002, True),
    "Llama3-8B": ("LlamaForCausalLM", "silu", 4096, 14336, 32, 32, 8, None, 1e-5, 5e5, 128256, False),
    "Falcon3-1B": ("LlamaForCausalLM", "silu", 2048, 8192, 18, 8, 4, 256, 1e-6, 1000042, 131072, False),
    "Falcon3-7B": ("LlamaForCausalLM", "silu", 3072, 23040, 28, 12, 4, 256, 1e-6, 1000042, 131072, False),
}
ARCH = {"2B-4T": "bitnet-b1.58", "large": "bitnet", "3B": "bitnet"}
HEAD_DIM = {"2B-4T": 128, "large": 96, "3B": 100, "Llama3-8B": 128, "Falcon3-1B": 256, "Falcon3-7B": 256}


def inventory_config(model: str) -> dict:
    name, act, hidden, ffn, layers, heads, kv, head_dim, eps, theta, vocab, tied = INVENTORY[model]
    config = {
        "architectures": [name],
        "hidden_act": act,
        "hidden_size": hidden,
        "intermediate_size": ffn,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "rms_norm_eps": eps,
        "rope_theta": theta,
        "vocab_size": vocab,
        "tie_word_embeddings": tied,
        "max_position_embeddings": 4096,
        "rope_scaling": None,
    }
    return config | ({"head_dim": head_dim} if head_dim else {})


@pytest.mark.parametrize("model", INVENTORY)
def test_known_models(model: str) -> None:
    config = read_config(inventory_config(model), PATH)
    _, act, hidden, ffn, layers, heads, kv, _, eps, theta, vocab, tied = INVENTORY[model]
    assert config.arch.name == ARCH.get(model, "llama") and config.arch.hidden_act == act
    assert (config.hidden_size, config.intermediate_size, config.n_layers) == (hidden, ffn, layers)
    assert (config.n_heads, config.n_kv_heads, config.head_dim) == (heads, kv, HEAD_DIM[model])
    assert (config.rms_norm_eps, config.rope_theta) == (eps, float(theta))
    assert (config.vocab_size, config.tied, config.context_length) == (vocab, tied, 4096)


def base(**changes: object) -> dict:
    config = model_config("llama", "packed_bitlinear", SHAPES["llama"], "bf16") | changes
    return {key: value for key, value in config.items() if value != "absent"}


def read(**changes: object) -> CheckpointConfig:
    return read_config(base(**changes), PATH)


@pytest.mark.parametrize("name", ["BitNetForCausalLM", "BitnetForCausalLM"])
@pytest.mark.parametrize(("act", "arch"), [("relu2", "bitnet-b1.58"), ("silu", "bitnet")])
def test_the_activation_and_not_the_spelling_tells_the_architecture(name: str, act: str, arch: str) -> None:
    config = read(architectures=[name], hidden_act=act, head_dim=64)
    assert config.arch.name == arch and config.quantization.ternary


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rope_scaling": {}},
        {"rope_scaling": {"rope_type": "default"}},
        {"rope_scaling": {"type": "linear", "factor": 1.0}},
        {"rope_theta": "absent", "rope_parameters": {"rope_type": "default", "rope_theta": 1000042.0}},
        {"partial_rotary_factor": 1.0, "sliding_window": None, "pretraining_tp": 1},
    ],
)
def test_rope_theta_in_every_place(changes: dict) -> None:
    assert read(**changes).rope_theta == 1000042.0


@pytest.mark.parametrize(
    ("changes", "arch", "headless"),
    [
        ({"architectures": ["Qwen3ForCausalLM"]}, "qwen3", False),
        ({"architectures": ["Qwen3Model"]}, "qwen3", True),
        ({"architectures": ["BitQwen3ForEmbedding"], "model_type": "qwen3"}, "qwen3", True),
        ({"architectures": ["BitQwen3ForCausalLM"], "model_type": "qwen3"}, "qwen3", False),
        (
            {
                "architectures": "absent",
                "model_type": "gemma3_text",
                "hidden_activation": "gelu_pytorch_tanh",
            },
            "gemma3",
            True,
        ),
        (
            {
                "architectures": ["Gemma3ForCausalLM"],
                "hidden_act": "silu",
                "hidden_activation": "gelu_pytorch_tanh",
            },
            "gemma3",
            False,
        ),
    ],
)
def test_classes_with_and_without_a_head(changes: dict, arch: str, headless: bool) -> None:
    config = read(**changes)
    assert (config.arch.name, config.headless) == (arch, headless)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"rope_scaling": YARN}, Yarn(4.0, 128, 0.1 * math.log(4) + 1)),
        ({"rope_scaling": YARN | {"attention_factor": 1.5}}, Yarn(4.0, 128, 1.5)),
        (
            {"rope_scaling": YARN | {"beta_fast": 16, "beta_slow": 2}},
            Yarn(4.0, 128, 0.1 * math.log(4) + 1, 16.0, 2.0),
        ),
        (
            {"rope_theta": "absent", "rope_parameters": YARN | {"rope_theta": 1000042}},
            Yarn(4.0, 128, 0.1 * math.log(4) + 1),
        ),
        (
            {"rope_scaling": YARN, "rope_parameters": YARN | {"rope_theta": 1.0}},
            Yarn(4.0, 128, 0.1 * math.log(4) + 1),
        ),
    ],
)
def test_yarn(changes: dict, expected: Yarn) -> None:
    config = read(**changes)
    assert config.yarn == expected and config.rope_theta == 1000042.0


def test_defaults_that_are_safe() -> None:
    config = read(num_key_value_heads="absent", tie_word_embeddings="absent", head_dim="absent")
    assert (config.n_kv_heads, config.head_dim, config.tied) == (4, 64, None)


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ("absent", Quantization(False, None, ())),
        ({"quant_method": "bitnet"}, Quantization(True, True, ())),
        ({"quant_method": "bitnet", "linear_class": "bitlinear"}, Quantization(True, True, ())),
        ({"quant_method": "bitnet", "linear_class": "autobitlinear"}, Quantization(True, False, ())),
        (
            {"quant_method": "bitnet", "modules_to_not_convert": ["lm_head"]},
            Quantization(True, True, ("lm_head",)),
        ),
    ],
)
def test_quantization(group: object, expected: Quantization) -> None:
    assert read(quantization_config=group).quantization == expected


def test_excluded_modules_are_prefixes_or_suffixes_and_never_expressions() -> None:
    quantization = Quantization(True, True, ("lm_head", "model.layers.1", "down_proj", "", "(a+)+$"))
    assert quantization.keeps_float("model.layers.1.mlp.up_proj")
    assert quantization.keeps_float("model.layers.0.mlp.down_proj")
    assert not quantization.keeps_float("model.layers.0.mlp.up_proj")
    assert not quantization.keeps_float("a" * 50)


REFUSED = [
    ({"architectures": "absent"}, FormatError, "architectures"),
    ({"architectures": []}, FormatError, "architectures"),
    ({"architectures": ["\x1b[31mX"]}, UnsupportedError, r"\x1b"),
    ({"architectures": ["MistralForCausalLM"]}, UnsupportedError, "MistralForCausalLM"),
    ({"hidden_act": "absent"}, FormatError, "hidden_act"),
    ({"hidden_act": "gelu"}, UnsupportedError, "gelu"),
    ({"hidden_act": "relu2"}, UnsupportedError, "relu2"),
    ({"hidden_act": 3}, FormatError, "hidden_act"),
    ({"hidden_size": "absent"}, FormatError, "hidden_size"),
    ({"hidden_size": 256.0}, FormatError, "hidden_size"),
    ({"hidden_size": True}, FormatError, "hidden_size"),
    ({"hidden_size": -256}, FormatError, "hidden_size"),
    ({"vocab_size": 10**30}, FormatError, "vocab_size"),
    ({"num_hidden_layers": 10**9}, FormatError, "num_hidden_layers"),
    ({"num_key_value_heads": 3}, FormatError, "num_key_value_heads"),
    ({"num_attention_heads": 6, "head_dim": "absent"}, FormatError, "num_attention_heads"),
    ({"head_dim": 63}, FormatError, "head_dim"),
    ({"rms_norm_eps": 0}, FormatError, "rms_norm_eps"),
    ({"rms_norm_eps": float("nan")}, FormatError, "rms_norm_eps"),
    ({"rms_norm_eps": "absent"}, FormatError, "rms_norm_eps"),
    ({"rope_theta": "absent"}, FormatError, "rope_theta"),
    ({"rope_theta": 10**40}, FormatError, "rope_theta"),
    ({"rope_theta": "absent", "rope_parameters": 5}, FormatError, "rope_parameters"),
    ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, UnsupportedError, "llama3"),
    ({"rope_scaling": {"type": "linear", "factor": 2.0}}, UnsupportedError, "linear"),
    ({"rope_scaling": {"rope_type": "longrope", "factor": 4.0}}, UnsupportedError, "longrope"),
    ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, FormatError, "factor"),
    ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, FormatError, "original_max_position_embeddings"),
    ({"rope_scaling": YARN | {"factor": 0.5}}, FormatError, "factor"),
    ({"rope_scaling": YARN | {"factor": 1e9}}, FormatError, "factor"),
    ({"rope_scaling": YARN | {"beta_fast": 0}}, FormatError, "beta_fast"),
    ({"rope_scaling": YARN | {"attention_factor": -1.0}}, FormatError, "attention_factor"),
    ({"rope_scaling": YARN | {"mscale": 0.7}}, UnsupportedError, "mscale"),
    ({"rope_scaling": YARN | {"truncate": False}}, UnsupportedError, "truncate"),
    ({"rope_scaling": YARN, "rope_parameters": YARN | {"factor": 2.0}}, FormatError, "rope_scaling"),
    ({"rope_parameters": {"partial_rotary_factor": 0.5}}, UnsupportedError, "partly"),
    ({"partial_rotary_factor": 0.5}, UnsupportedError, "partly"),
    ({"attention_bias": True}, UnsupportedError, "attention_bias"),
    ({"mlp_bias": True}, UnsupportedError, "mlp_bias"),
    ({"mlp_bias": "yes"}, FormatError, "mlp_bias"),
    ({"sliding_window": 4096}, UnsupportedError, "sliding"),
    ({"quantization_config": []}, FormatError, "quantization_config"),
    ({"quantization_config": {}}, UnsupportedError, "quantised by"),
    ({"quantization_config": {"quant_method": "gptq"}}, UnsupportedError, "gptq"),
    (
        {"quantization_config": {"quant_method": "bitnet", "linear_class": "x"}},
        UnsupportedError,
        "linear_class",
    ),
    (
        {"quantization_config": {"quant_method": "bitnet", "quantization_mode": "x"}},
        UnsupportedError,
        "quantization_mode",
    ),
    (
        {"quantization_config": {"quant_method": "bitnet", "use_rms_norm": True}, "rms_norm_eps": 1e-5},
        UnsupportedError,
        "an epsilon of their own (1e-06)",
    ),
    (
        {"quantization_config": {"quant_method": "bitnet", "use_rms_norm": True, "rms_norm_eps": -1}},
        FormatError,
        "rms_norm_eps",
    ),
    (
        {
            "architectures": ["BitNetForCausalLM"],
            "head_dim": 64,
            "quantization_config": {"quant_method": "bitnet", "use_rms_norm": True},
        },
        UnsupportedError,
        "use_rms_norm",
    ),
    ({"architectures": "absent", "model_type": "mamba"}, FormatError, "architectures"),
    ({"model_type": 5, "architectures": "absent"}, FormatError, "model_type"),
    (
        {"quantization_config": {"quant_method": "bitnet", "modules_to_not_convert": "lm_head"}},
        FormatError,
        "modules_to_not_convert",
    ),
    (
        {"architectures": ["BitNetForCausalLM"], "hidden_act": "relu2", "head_dim": 128},
        UnsupportedError,
        "4 heads of 128",
    ),
]


@pytest.mark.parametrize(("changes", "kind", "words"), REFUSED)
def test_refused(changes: dict, kind: type[BitnetError], words: str) -> None:
    with pytest.raises(BitnetError) as caught:
        read(**changes)
    assert type(caught.value) is kind and words in caught.value.message, caught.value.message
    assert "\x1b" not in caught.value.message


@pytest.mark.parametrize(
    ("key", "most"),
    [
        ("num_hidden_layers", MAX_LAYERS),
        ("intermediate_size", MAX_COUNT),
        ("max_position_embeddings", MAX_COUNT),
    ],
)
def test_counts_up_to_what_the_engine_takes(key: str, most: int) -> None:
    read(**{key: most})
    with pytest.raises(FormatError, match=f"from 1 to {most} was expected"):
        read(**{key: most + 1})


@pytest.mark.parametrize(
    ("key", "inside", "outside"),
    [
        # The nearest float32 of 1e-12 lies below it, and the file holds float32.
        ("rms_norm_eps", [1.1e-12, 1e-5, 1.0], [1e-12, 1e-13, 1.1]),
        ("rope_theta", [1.0, 10000, 9e11], [0.5, 1.1e12]),
    ],
)
def test_numbers_as_far_as_the_engine_takes_them(key: str, inside: list[float], outside: list[float]) -> None:
    for value in inside:
        read(**{key: value})
    for value in outside:
        with pytest.raises(FormatError, match="a number from"):
            read(**{key: value})
