"""A model: its configuration and its weights, immutable once loaded.

Ternary matrices and the head are repacked into the kernels' layout and the file's pages behind them are given back; the
embedding and the norms are read where the file is mapped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bitnet_cli.engine.calibration import kernel_for
from bitnet_cli.engine.config import ModelConfig
from bitnet_cli.engine.options import EngineOptions, Layouts, layouts_for
from bitnet_cli.engine.tensors import CheckedTensors, Dense, Tensors
from bitnet_cli.errors import UsageError
from bitnet_cli.formats.codecs import CodecFor, ternary_codec_for
from bitnet_cli.formats.gguf_reader import GGUFReader, refuse_parts
from bitnet_cli.native import Context, DenseMatrix, Layout, TernaryMatrix


@dataclass(frozen=True)
class InputNorms:
    """Norms of the inputs of projections that read the same thing, each in its own way."""

    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    gate: np.ndarray
    up: np.ndarray


@dataclass(frozen=True)
class Layer:
    """The weights of one transformer block. What a family does not have is None."""

    attn_norm: np.ndarray
    q: TernaryMatrix
    k: TernaryMatrix
    v: TernaryMatrix
    attn_sub_norm: np.ndarray | None
    """Of the input of `attn_output`: `attn_sub_norm`, or `attn_output_norm_in`."""
    attn_output: TernaryMatrix
    ffn_norm: np.ndarray
    gate: TernaryMatrix
    up: TernaryMatrix
    ffn_sub_norm: np.ndarray | None
    """Of the input of `down`: `ffn_sub_norm`, or `ffn_down_norm_in`."""
    down: TernaryMatrix
    q_norm: np.ndarray | None = None
    """Of each head, before it is rotated."""
    k_norm: np.ndarray | None = None
    attn_post_norm: np.ndarray | None = None
    """Of what attention adds to the residual stream."""
    ffn_post_norm: np.ndarray | None = None
    norm_in: InputNorms | None = None
    """After `attn_norm` or `ffn_norm`, before quantisation."""

    @property
    def matrices(self) -> tuple[TernaryMatrix, ...]:
        """All ternary matrices of the block."""
        return (self.q, self.k, self.v, self.attn_output, self.gate, self.up, self.down)


@dataclass(frozen=True)
class Model:
    """Configuration and weights; everything that changes while generating is in a Session."""

    config: ModelConfig
    ctx: Context
    embedding: Dense | DenseMatrix
    """Rows of the file; or, if it is ternary, weights in memory, which are the head's if that is tied."""
    layers: tuple[Layer, ...]
    output_norm: np.ndarray
    output: DenseMatrix | None
    """The head; None for an embedding model, which is done with the last hidden state."""
    reader: GGUFReader | None
    """Kept open: the embedding is a view of its mapping. None for a model that was made in memory."""

    @property
    def path(self) -> Path:
        """The file, or the name of a model that has none."""
        return self.reader.path if self.reader is not None else Path(self.config.name)

    @property
    def kernel(self) -> str:
        """`mad` or `lut`: how matrices that are read whole meet one token. Those with scales per group know no lookups."""
        layouts = {mat.layout for layer in self.layers for mat in layer.matrices}
        return "lut" if Layout.L3 in layouts else "mad"

    @property
    def head(self) -> DenseMatrix:
        """The matrix that makes logits.

        Raises:
            UsageError: this is an embedding model.
        """
        self.require_head()
        assert self.output is not None
        return self.output

    def require_head(self) -> None:
        """Raises UsageError if this is an embedding model, which has no head."""
        if self.output is None:
            raise UsageError(
                f"{self.path} is an embedding model: it turns texts into vectors and continues none",
                hint="`bitnet embed` is for it",
            )

    @classmethod
    def load(
        cls,
        reader: GGUFReader,
        meta: Mapping[str, object],
        ctx: Context,
        options: EngineOptions | None = None,
        codec_for: CodecFor = ternary_codec_for,
    ) -> Model:
        """Loads the weights of an open file.

        Args:
            reader: the file; the model keeps it open.
            meta: its metadata, after repairs.
            ctx: threads and kernels; packing uses all of them.
            options: choices of speed, None for the defaults; with the kernel `auto` a large model may make this call
                measure first.
            codec_for: finds the codec of a ternary tensor, for files that do not say all about themselves.

        Raises:
            FormatError: a tensor is missing, has the wrong shape, or holds what it must not.
            UnsupportedError: an architecture, feature or tensor type this version cannot run.
        """
        tensors = Tensors(reader, ctx, codec_for)
        config = _config_of(tensors, meta)
        vocab_size = config.vocab_size
        embedding = tensors.embedding("token_embd.weight", vocab_size, config.dim)
        tied = "output.weight" not in reader.tensors
        output = None
        if config.pooling != "none":
            tensors.left.discard("output.weight")
        elif tied and isinstance(embedding, DenseMatrix):
            output = embedding
        else:
            output = tensors.head("token_embd.weight" if tied else "output.weight", vocab_size, config.dim)
        options = options or EngineOptions()
        kernel = options.kernel
        if kernel == "auto":
            kernel = kernel_for(ctx, _ternary_weights(config))
        layouts = layouts_for(kernel, config.arch.hidden_act, options.skip_zeros)
        layers = tuple(_load_layer(tensors, config, i, layouts) for i in range(config.n_layers))
        output_norm = tensors.vector("output_norm.weight", config.dim)
        tensors.refuse_leftovers()
        return cls(config, ctx, embedding, layers, output_norm, output, reader)


def check_structure(
    reader: GGUFReader, meta: Mapping[str, object], codec_for: CodecFor = ternary_codec_for
) -> None:
    """Raises what `Model.load` would of metadata, names, shapes, types, scales and norms; packs nothing."""
    tensors = CheckedTensors(reader, codec_for)
    config = _config_of(tensors, meta)
    table = (config.vocab_size, config.dim)
    tensors.embedding("token_embd.weight", *table)
    if config.pooling != "none":
        tensors.left.discard("output.weight")
    elif "output.weight" in reader.tensors:
        tensors.head("output.weight", *table)
    layouts = layouts_for("mad", config.arch.hidden_act, skip_zeros=False)
    for i in range(config.n_layers):
        _load_layer(tensors, config, i, layouts)
    tensors.vector("output_norm.weight", config.dim)
    tensors.refuse_leftovers()


def _config_of(tensors: Tensors, meta: Mapping[str, object]) -> ModelConfig:
    refuse_parts(tensors.reader)
    vocab_size = tensors.info("token_embd.weight").shape[0]
    return ModelConfig.from_metadata(meta, tensors.reader.path, vocab_size)


def _ternary_weights(c: ModelConfig) -> int:
    """Weights of all ternary matrices."""
    q_dim, kv_dim = c.n_heads * c.head_dim, c.n_kv_heads * c.head_dim
    return c.n_layers * c.dim * (2 * q_dim + 2 * kv_dim + 3 * c.ffn_dim)


def _load_layer(tensors: Tensors, config: ModelConfig, i: int, layouts: Layouts) -> Layer:
    c, block, whole = config, f"blk.{i}.", layouts.whole
    q_dim, kv_dim = c.n_heads * c.head_dim, c.n_kv_heads * c.head_dim
    input_norms = c.arch.input_norms and tensors.has_input_norms

    def norm(name: str, n: int, wanted: bool) -> np.ndarray | None:
        return tensors.vector(f"{block}{name}.weight", n) if wanted else None

    def sub_norm(name: str, projection: str, n: int) -> np.ndarray | None:
        return (
            norm(name, n, c.arch.sub_norms)
            if c.arch.sub_norms
            else norm(f"{projection}_norm_in", n, input_norms)
        )

    names = ("attn_q", "attn_k", "attn_v", "ffn_gate", "ffn_up")
    vectors = [tensors.vector(f"{block}{name}_norm_in.weight", c.dim) for name in names if input_norms]
    return Layer(
        attn_norm=tensors.vector(block + "attn_norm.weight", c.dim),
        q=tensors.ternary(block + "attn_q.weight", q_dim, c.dim, whole),
        k=tensors.ternary(block + "attn_k.weight", kv_dim, c.dim, whole),
        v=tensors.ternary(block + "attn_v.weight", kv_dim, c.dim, whole),
        attn_sub_norm=sub_norm("attn_sub_norm", "attn_output", q_dim),
        attn_output=tensors.ternary(block + "attn_output.weight", c.dim, q_dim, whole),
        ffn_norm=tensors.vector(block + "ffn_norm.weight", c.dim),
        gate=tensors.ternary(block + "ffn_gate.weight", c.ffn_dim, c.dim, whole),
        up=tensors.ternary(block + "ffn_up.weight", c.ffn_dim, c.dim, layouts.up),
        ffn_sub_norm=sub_norm("ffn_sub_norm", "ffn_down", c.ffn_dim),
        down=tensors.ternary(block + "ffn_down.weight", c.dim, c.ffn_dim, layouts.down),
        q_norm=norm("attn_q_norm", c.head_dim, c.arch.qk_norms),
        k_norm=norm("attn_k_norm", c.head_dim, c.arch.qk_norms),
        attn_post_norm=norm("post_attention_norm", c.dim, c.arch.post_norms),
        ffn_post_norm=norm("post_ffw_norm", c.dim, c.arch.post_norms),
        norm_in=InputNorms(*vectors) if input_norms else None,
    )
