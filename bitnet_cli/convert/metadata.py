"""The metadata of the file to be written: the keys of the published bitnet.cpp files, in their order.

`tokenizer.ggml.pre`, the end-of-turn token and the chat template come from the checkpoint's own tokenizer
files.
"""

from __future__ import annotations

import re

from bitnet_cli.arch.yarn import Yarn, usual_attention_factor
from bitnet_cli.convert.checkpoint import Checkpoint, model_name
from bitnet_cli.convert.model_config import CheckpointConfig
from bitnet_cli.convert.pooling import read_pooling
from bitnet_cli.convert.tokenizer_metadata import Pair, TokenizerMetadata

FILE_TYPE_I2_S = 40
_QUANTIZATION_VERSION = 2
_README_LIMIT_BYTES = 4 << 20


def file_metadata(
    checkpoint: Checkpoint, config: CheckpointConfig, tokenizer: TokenizerMetadata
) -> list[Pair]:
    """Every key of the file with its type and value, in file order."""
    key = config.arch.key
    pairs: list[Pair] = [
        ("general.architecture", "string", config.arch.name),
        ("general.name", "string", model_name(checkpoint.directory)),
        (key("vocab_size"), "u32", config.vocab_size),
        (key("context_length"), "u32", config.context_length),
        (key("embedding_length"), "u32", config.hidden_size),
        (key("block_count"), "u32", config.n_layers),
        (key("feed_forward_length"), "u32", config.intermediate_size),
        (key("rope.dimension_count"), "u32", config.head_dim),
        (key("attention.head_count"), "u32", config.n_heads),
        (key("attention.head_count_kv"), "u32", config.n_kv_heads),
        ("tokenizer.ggml.add_bos_token", "bool", tokenizer.add_bos),
        (key("attention.layer_norm_rms_epsilon"), "f32", config.rms_norm_eps),
        (key("rope.freq_base"), "f32", config.rope_theta),
        ("general.file_type", "u32", FILE_TYPE_I2_S),
    ]
    pairs += _attention(config)
    pooling = read_pooling(checkpoint, headless=config.headless)
    if pooling is not None:
        pairs.append((key("pooling_type"), "u32", pooling))
    if config.head_dim * config.n_heads != config.hidden_size:
        pairs.append((key("attention.key_length"), "u32", config.head_dim))
        pairs.append((key("attention.value_length"), "u32", config.head_dim))
    license_name = _license(checkpoint)
    if license_name is not None:
        pairs.append(("general.license", "string", license_name))
    return [*pairs, *tokenizer.pairs, ("general.quantization_version", "u32", _QUANTIZATION_VERSION)]


def _attention(config: CheckpointConfig) -> list[Pair]:
    """What is out of the ordinary in the attention of a graph."""
    key, pairs = config.arch.key, list[Pair]()
    if config.attention_scale is not None:
        pairs.append((key("attention.scale"), "f32", config.attention_scale))
    if config.windows is not None:
        pairs.append((key("attention.sliding_window"), "u32", config.windows.size))
        if config.windows.period != config.arch.window_period:
            pairs.append((key("attention.sliding_window_pattern"), "u32", config.windows.period))
        if config.windows.rope_theta != config.arch.local_rope_theta:
            pairs.append((key("rope.freq_base_swa"), "f32", config.windows.rope_theta))
    if config.yarn is not None:
        pairs += [(key(f"rope.scaling.{name}"), kind, value) for name, kind, value in _stretched(config.yarn)]
    return pairs


def _stretched(yarn: Yarn) -> list[Pair]:
    """How the rotation is stretched; what is as usual is left out, as llama.cpp's own converter does."""
    pairs: list[Pair] = [
        ("type", "string", "yarn"),
        ("factor", "f32", yarn.factor),
        ("original_context_length", "u32", yarn.original_context),
    ]
    usual = usual_attention_factor(yarn.factor)
    if yarn.attention_factor != usual:
        # A file says by what the usual factor is multiplied.
        pairs.append(("attn_factor", "f32", yarn.attention_factor / usual))
    if (yarn.beta_fast, yarn.beta_slow) != (32.0, 1.0):
        pairs += [("yarn_beta_fast", "f32", yarn.beta_fast), ("yarn_beta_slow", "f32", yarn.beta_slow)]
    return pairs


def _license(checkpoint: Checkpoint) -> str | None:
    """The licence that the front matter of README.md names."""
    readme = checkpoint.bytes("README.md", _README_LIMIT_BYTES)
    if readme is None or not readme.startswith(b"---"):
        return None
    front = readme.split(b"\n---", 1)[0]
    found = re.search(rb"^license:[ \t]*([A-Za-z0-9._-]+)[ \t]*\r?$", front, re.MULTILINE)
    return found[1].decode("ascii") if found else None
