"""Random weights as a GGUF file that other engines load, with a vocabulary of byte tokens and fillers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bitnet_cli.bench.synthetic import MATRICES, SyntheticModel
from bitnet_cli.errors import RepresentationError
from bitnet_cli.formats.codecs import codec_named
from bitnet_cli.formats.codecs.i2_s import I2S
from bitnet_cli.formats.gguf_types import GGMLType
from bitnet_cli.formats.gguf_writer import GGUFWriter, TensorSpec

Pair = tuple[str, str, object]
FILE_TYPE_I2_S = 40
SAVED_CONTEXT = 4096
NORMAL, CONTROL, UNUSED = 1, 3, 5


def write_synthetic(model: SyntheticModel, path: Path, overwrite: bool = False) -> None:
    """Writes the model in i2_s. What `ffn_zeros` asks of the gates is worked out when a model is built, so it cannot be
    written.

    Raises:
        RepresentationError: a width is no multiple of 128, or the gates are made to measure.
        BitnetError: the file exists or cannot be written.
    """
    if model.ffn_zeros is not None:
        raise RepresentationError(
            "a model with `--ffn-zeros` cannot be saved: its gates are made to measure", hint="leave it out"
        )
    shape, ternary = model.shape, I2S()
    dense_type = int(codec_named(model.embed_type).type_id)
    vocabulary = (shape.vocab_size, shape.dim)
    specs = [TensorSpec("token_embd.weight", vocabulary, dense_type)]
    for i in range(shape.n_layers):
        specs += [TensorSpec(f"blk.{i}.{n}.weight", v.shape, GGMLType.F32) for n, v in model.vectors(i).items()]
        specs += [
            TensorSpec(f"blk.{i}.{n}.weight", model.sizes[n], GGMLType.I2_S) for n in MATRICES
        ]
    specs.append(TensorSpec("output_norm.weight", (shape.dim,), GGMLType.F32))
    if not shape.tied:
        specs.append(TensorSpec("output.weight", vocabulary, dense_type))
    with GGUFWriter(path, _metadata(model), specs, overwrite=overwrite) as writer:
        writer.write("token_embd.weight", model.dense_bytes(head=False))
        for i in range(shape.n_layers):
            for name, values in model.vectors(i).items():
                writer.write(f"blk.{i}.{name}.weight", values)
            for name in MATRICES:
                writer.write(f"blk.{i}.{name}.weight", ternary.encode(model.trits(i, name), model.scale(name)))
        writer.write("output_norm.weight", np.ones(shape.dim, np.float32))
        if not shape.tied:
            writer.write("output.weight", model.dense_bytes(head=True))


def _metadata(model: SyntheticModel) -> list[Pair]:
    c, key = model.config, model.config.arch.key
    tokens, types, merges = _vocabulary(c.vocab_size)
    pairs: list[Pair] = [
        ("general.architecture", "string", c.arch.name),
        ("general.name", "string", f"{model.name}, random weights"),
        (key("vocab_size"), "u32", c.vocab_size),
        (key("context_length"), "u32", SAVED_CONTEXT),
        (key("embedding_length"), "u32", c.dim),
        (key("block_count"), "u32", c.n_layers),
        (key("feed_forward_length"), "u32", c.ffn_dim),
        (key("rope.dimension_count"), "u32", c.n_rot),
        (key("attention.head_count"), "u32", c.n_heads),
        (key("attention.head_count_kv"), "u32", c.n_kv_heads),
        (key("attention.key_length"), "u32", c.head_dim),
        (key("attention.value_length"), "u32", c.head_dim),
        (key("attention.layer_norm_rms_epsilon"), "f32", c.rms_eps),
        (key("rope.freq_base"), "f32", c.rope_theta),
        ("general.file_type", "u32", FILE_TYPE_I2_S),
        ("tokenizer.ggml.model", "string", "gpt2"),
        ("tokenizer.ggml.pre", "string", "llama-bpe"),
        ("tokenizer.ggml.tokens", "array<string>", tokens),
        ("tokenizer.ggml.token_type", "array<i32>", np.array(types, np.int32)),
        ("tokenizer.ggml.merges", "array<string>", merges),
        ("tokenizer.ggml.bos_token_id", "u32", c.vocab_size - 2),
        ("tokenizer.ggml.eos_token_id", "u32", c.vocab_size - 1),
    ]
    return pairs


def _vocabulary(size: int) -> tuple[list[str], list[int], list[str]]:
    """Tokens, their types and merges: the 256 bytes in GPT-2's characters, one merge, fillers, begin and end of text."""
    printed = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = 256 - len(printed)
    tokens = [*map(chr, printed), *(chr(256 + n) for n in range(others)), "th"]
    fillers = [f"<filler{n}>" for n in range(size - len(tokens) - 2)]
    types = [NORMAL] * len(tokens) + [UNUSED] * len(fillers) + [CONTROL] * 2
    return [*tokens, *fillers, "<|begin_of_text|>", "<|end_of_text|>"], types, ["t h"]
