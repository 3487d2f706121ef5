"""A random model as a GGUF file that other engines load: its tensors, its sizes and a vocabulary that means nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from bitnet_cli.bench.synthetic import RandomWeights
from bitnet_cli.errors import UnsupportedError
from bitnet_cli.formats.codecs.q2_0 import Q2_0
from bitnet_cli.formats.gguf_types import I2_S_COLS, I2_S_TAIL, GGMLType
from bitnet_cli.formats.gguf_writer import GGUFWriter, TensorSpec
from bitnet_cli.text.byte_bpe import CHARACTER_OF_BYTE

Pair = tuple[str, str, object]

_FILE_TYPE_I2_S, _FILE_TYPE_Q2_0 = 40, 41
_NORMAL, _CONTROL = 1, 3
_SPECIALS = ("<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def save(weights: RandomWeights, path: Path, progress: Callable[[int], None] | None = None) -> int:
    """Writes the file and returns its size in bytes.

    Args:
        progress: called with the number of layers written.

    Raises:
        UnsupportedError: rows that are not multiples of 128, which I2_S cannot hold, in a model that has no groups.
        BitnetError: the file exists or cannot be written.
    """
    odd = [cols for _, cols in weights.matrix_sizes().values() if cols % I2_S_COLS]
    if odd and not weights.shape.scale_group:
        raise UnsupportedError(
            f"{weights.shape.name} has rows of {odd[0]} weights and cannot be saved: I2_S needs multiples of {I2_S_COLS}",
            hint="it runs in memory: leave out `--save`",
        )
    with GGUFWriter(path, _metadata(weights), list(_specs(weights))) as writer:
        writer.write("token_embd.weight", weights.embedding())
        if not weights.shape.tied:
            writer.write("output.weight", weights.embedding())
        writer.write("output_norm.weight", weights.norm("output_norm"))
        for i in range(weights.shape.n_layers):
            for kind in weights.norm_sizes():
                writer.write(f"blk.{i}.{kind}.weight", weights.norm(kind, i))
            for kind in weights.matrix_sizes():
                _write_ternary(writer, weights, kind, i)
            if progress is not None:
                progress(i + 1)
    return writer.total_bytes


def _write_ternary(writer: GGUFWriter, weights: RandomWeights, kind: str, i: int) -> None:
    matrix, name = weights.ternary(kind, i), f"blk.{i}.{kind}.weight"
    if matrix.codes is None:
        assert matrix.trits is not None
        writer.write(name, Q2_0().encode(matrix.trits, matrix.scales))
        return
    tail = np.zeros(I2_S_TAIL, np.uint8)
    tail[:4] = matrix.scales.astype("<f4").reshape(-1).view(np.uint8)
    writer.write(name, matrix.codes)
    writer.write(name, tail)


def _specs(weights: RandomWeights) -> Iterator[TensorSpec]:
    """The tensors in file order."""
    s = weights.shape
    ternary_type = GGMLType.Q2_0 if s.scale_group else GGMLType.I2_S
    yield TensorSpec("token_embd.weight", (s.vocab_size, s.dim), weights.embed_type_id)
    if not s.tied:
        yield TensorSpec("output.weight", (s.vocab_size, s.dim), weights.embed_type_id)
    yield TensorSpec("output_norm.weight", (s.dim,), GGMLType.F32)
    for i in range(s.n_layers):
        for kind, n in weights.norm_sizes().items():
            yield TensorSpec(f"blk.{i}.{kind}.weight", (n,), GGMLType.F32)
        for kind, shape in weights.matrix_sizes().items():
            yield TensorSpec(f"blk.{i}.{kind}.weight", shape, ternary_type)


def _metadata(weights: RandomWeights) -> list[Pair]:
    """The keys of the file, in the order of published ones."""
    s, key = weights.shape, weights.arch.key
    pairs: list[Pair] = [
        ("general.architecture", "string", weights.arch.name),
        ("general.name", "string", f"{s.name} (random weights)"),
        (key("vocab_size"), "u32", s.vocab_size),
        (key("context_length"), "u32", s.context_length),
        (key("embedding_length"), "u32", s.dim),
        (key("block_count"), "u32", s.n_layers),
        (key("feed_forward_length"), "u32", s.ffn_dim),
        (key("rope.dimension_count"), "u32", s.head_dim),
        (key("attention.head_count"), "u32", s.n_heads),
        (key("attention.head_count_kv"), "u32", s.n_kv_heads),
        ("tokenizer.ggml.add_bos_token", "bool", True),
        (key("attention.layer_norm_rms_epsilon"), "f32", s.rms_eps),
        (key("rope.freq_base"), "f32", s.rope_theta),
        ("general.file_type", "u32", _FILE_TYPE_Q2_0 if s.scale_group else _FILE_TYPE_I2_S),
    ]
    if s.head_dim * s.n_heads != s.dim:
        pairs += [(key(f"attention.{part}_length"), "u32", s.head_dim) for part in ("key", "value")]
    return [*pairs, *_vocabulary(s.vocab_size), ("general.quantization_version", "u32", 2)]


def _vocabulary(size: int) -> list[Pair]:
    """A byte-level vocabulary of `size` tokens: the bytes, then pairs, threes and fours of letters, then specials."""
    tokens = sorted(CHARACTER_OF_BYTE.values())
    known, merges, parts = set(tokens), [], list(_LETTERS)
    wanted = size - len(_SPECIALS)
    while len(tokens) < wanted:
        longer = []
        for left, right in ((part, letter) for part in parts for letter in _LETTERS):
            if len(tokens) == wanted:
                break
            longer.append(left + right)
            if left + right not in known:
                known.add(left + right)
                tokens.append(left + right)
                merges.append(f"{left} {right}")
        parts = longer
    first = len(tokens)
    types = [_NORMAL] * first + [_CONTROL] * len(_SPECIALS)
    return [
        ("tokenizer.ggml.model", "string", "gpt2"),
        ("tokenizer.ggml.pre", "string", "llama-bpe"),
        ("tokenizer.ggml.tokens", "array<string>", [*tokens, *_SPECIALS]),
        ("tokenizer.ggml.scores", "array<f32>", np.zeros(size, np.float32)),
        ("tokenizer.ggml.token_type", "array<i32>", np.array(types, np.int32)),
        ("tokenizer.ggml.merges", "array<string>", merges),
        ("tokenizer.ggml.bos_token_id", "u32", first),
        ("tokenizer.ggml.eos_token_id", "u32", first + 1),
        ("tokenizer.ggml.eot_token_id", "u32", first + 2),
        ("tokenizer.ggml.padding_token_id", "u32", first + 1),
    ]
