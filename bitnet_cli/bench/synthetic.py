"""Random models: weights of a given shape, made in memory in seconds.

Speed and memory are those of a trained model of the shape; its words are not. Three in ten trits are zero, as absmean
makes of normal weights. Every tensor has its own random stream, so a model in memory and the same model in a file hold
the same weights.

A trained relu² model shuts more gates than the half that noise shuts. For that there is a synthetic gate: the first 128
values of every embedding are 1, and the rows of `attn_output` and `down` that would change them are zero, so the residual
stream carries a constant there. Gate rows meet 64 of these columns with -1 and the others with 0, which moves all their
sums by one amount; the weights of `ffn_norm` set how far.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from statistics import NormalDist

import numpy as np

from bitnet_cli.arch import arch_for
from bitnet_cli.bench.shapes import Shape
from bitnet_cli.engine.calibration import kernel_for
from bitnet_cli.engine.model import Layer, Model
from bitnet_cli.engine.options import EngineOptions, Layouts, layouts_for
from bitnet_cli.engine.tensors import Dense
from bitnet_cli.errors import UsageError
from bitnet_cli.formats.codecs import codec_named, dense_codec
from bitnet_cli.formats.codecs.block_codec import BlockCodec
from bitnet_cli.formats.codecs.i2_s import I2S
from bitnet_cli.formats.codecs.q2_0 import Q2_0
from bitnet_cli.formats.gguf_types import I2_S_COLS, I2_S_TAIL
from bitnet_cli.native import Context, DenseMatrix, Layout, TernaryMatrix, lib

EMBED_TYPES = ("f16", "q8_0", "q6_k", "q4_0", "q2_0")
ZERO_SHARE = 0.3
"""Of the trits."""
_CONSTANT = I2_S_COLS
"""Columns of the residual stream that never change in a model with a synthetic gate: one block of I2_S."""
_SHIFTING = 64
"""How many of them a gate row reads."""
_GROWTH = 0.05
"""What a block adds to the residual stream, as a share of the embedding's size: little, so that gates of all layers see
the constant at nearly the same size."""
_BLOCK_ROWS = 4096
"""Rows of the embedding that differ; they repeat, because encoding 128256 rows takes a minute and reading them does not
depend on what they hold."""


@dataclass(frozen=True)
class Ternary:
    """A ternary matrix before packing."""

    rows: int
    cols: int
    scales: np.ndarray
    """float32 [1, 1], or [rows, groups] of numbers of f16."""
    codes: np.ndarray | None
    """uint8 [rows * cols / 4] as in I2_S, if it can hold the matrix."""
    trits: np.ndarray | None
    """int8 [rows, cols] otherwise."""

    def packed(self, ctx: Context, layout: Layout) -> TernaryMatrix:
        """The matrix as the kernels read it."""
        if self.codes is not None:
            return TernaryMatrix.pack(
                ctx, lib.BN_PACK_I2_S, self.codes, self.rows, self.cols, self.scales, layout
            )
        assert self.trits is not None
        return TernaryMatrix.from_trits(ctx, self.trits, self.scales, layout)


class RandomWeights:
    """The tensors of a random model by their GGUF names, each made when it is asked for.

    Args:
        shape: the sizes.
        embed_type: how embedding and head are stored; None for q2_0 where the shape's are ternary, else for q6_k,
            or q8_0 where rows are no whole blocks of q6_k.
        ffn_zeros: the share of gates that relu² shuts, 0..1; None for noise, which shuts half.
        seed: the same seed gives the same weights.

    Raises:
        UsageError: a type that cannot hold these rows, or a share for a model without relu².
    """

    def __init__(
        self, shape: Shape, embed_type: str | None = None, ffn_zeros: float | None = None, seed: int = 0
    ) -> None:
        self.shape, self.arch, self.ffn_zeros, self._seed = shape, arch_for(shape.arch), ffn_zeros, seed
        self.embed_type = embed_type or _usual_embed_type(shape)
        if self.embed_type not in EMBED_TYPES:
            known = ", ".join(f"`{name}`" for name in EMBED_TYPES)
            raise UsageError(f"unknown embedding type `{self.embed_type}`", hint=f"the types are {known}")
        self._codec: BlockCodec | Q2_0 = (
            Q2_0() if self.embed_type == "q2_0" else dense_codec(codec_named(self.embed_type).type_id)
        )
        if shape.dim % self._codec.block:
            raise UsageError(
                f"rows of {shape.dim} values are no whole blocks of `{self.embed_type}`",
                hint="`--embed-type q8_0` can hold them",
            )
        if ffn_zeros is not None and self.arch.hidden_act != "relu2":
            raise UsageError(
                f"`--ffn-zeros` is for relu² models, and {shape.name} is none",
                hint="`--shape bitnet-2b-4t` is one",
            )
        if ffn_zeros is not None and self.has_ternary_embedding:
            raise UsageError(
                "`--ffn-zeros` needs an embedding that can hold constants, and a ternary one cannot",
                hint="leave out `--embed-type q2_0`",
            )
        if ffn_zeros is not None and not 0 <= ffn_zeros <= 1:
            raise UsageError(f"the share of zeros must be 0 to 1, not {ffn_zeros:g}", hint="such as 0.9")

    @property
    def embed_type_id(self) -> int:
        """Number of the tensor type of embedding and head."""
        return int(self._codec.type_id)

    @property
    def has_ternary_embedding(self) -> bool:
        """Embedding and head are ternary."""
        return isinstance(self._codec, Q2_0)

    def matrix_sizes(self) -> dict[str, tuple[int, int]]:
        """(rows, cols) of the ternary matrices of a layer."""
        s = self.shape
        q_dim, kv_dim = s.n_heads * s.head_dim, s.n_kv_heads * s.head_dim
        return {
            "attn_q": (q_dim, s.dim),
            "attn_k": (kv_dim, s.dim),
            "attn_v": (kv_dim, s.dim),
            "attn_output": (s.dim, q_dim),
            "ffn_gate": (s.ffn_dim, s.dim),
            "ffn_up": (s.ffn_dim, s.dim),
            "ffn_down": (s.dim, s.ffn_dim),
        }

    def norm_sizes(self) -> dict[str, int]:
        """Values of the norms of a layer."""
        s = self.shape
        sizes = {"attn_norm": s.dim, "ffn_norm": s.dim}
        if self.arch.sub_norms:
            sizes |= {"attn_sub_norm": s.n_heads * s.head_dim, "ffn_sub_norm": s.ffn_dim}
        if self.arch.qk_norms:
            sizes |= {"attn_q_norm": s.head_dim, "attn_k_norm": s.head_dim}
        return sizes

    def norm(self, kind: str, layer: int | None = None) -> np.ndarray:
        """The weights of a norm, float32; `output_norm` has no layer."""
        n = self.shape.dim if layer is None else self.norm_sizes()[kind]
        weights = 1 + np.float32(0.1) * self._random(kind, layer).standard_normal(n, np.float32)
        if self.ffn_zeros is not None and kind == "ffn_norm":
            weights[:_CONSTANT] = self._shift()
        return weights

    def _shift(self) -> float:
        """The norm's weight on the constant columns that shuts the wanted share of gates.

        A gate's sum over the other columns is normal with mean 0, since its trits are random signs. Their values are those
        of the embedding (1) with what the blocks added on average.
        """
        assert self.ffn_zeros is not None
        deviations = abs(NormalDist().inv_cdf(min(max(self.ffn_zeros, 0.001), 0.999)))
        size = math.sqrt(1.01 * (1 + self.shape.n_layers * _GROWTH**2))
        others = self.shape.dim - _CONSTANT
        return deviations * size * math.sqrt((1 - ZERO_SHARE) * others) / _SHIFTING

    def embedding(self) -> np.ndarray:
        """The rows as stored, uint8 [vocab_size * bytes of a row]; the head of an untied model has the same."""
        n = min(_BLOCK_ROWS, self.shape.vocab_size)
        random = self._random("token_embd")
        if isinstance(self._codec, Q2_0):
            trits = _trits(random, n, self.shape.dim)
            rows = self._codec.encode(trits, self._scales(random, n, self.shape.dim, 1.0)).reshape(n, -1)
        else:
            values = random.standard_normal((n, self.shape.dim), np.float32)
            if self.ffn_zeros is not None:
                values[:, :_CONSTANT] = 1
            rows = self._codec.encode(values).reshape(n, -1)
        stored = np.empty((self.shape.vocab_size, rows.shape[1]), np.uint8)
        for first in range(0, len(stored), n):
            stored[first : first + n] = rows[: len(stored) - first]
        return stored.reshape(-1)

    def ternary(self, kind: str, layer: int) -> Ternary:
        """A ternary matrix of a layer; `attn_output` and `ffn_down` add little to the residual stream."""
        rows, cols = self.matrix_sizes()[kind]
        to_residual = kind in ("attn_output", "ffn_down")
        scale = (_GROWTH if to_residual else 1.0) / math.sqrt((1 - ZERO_SHARE) * cols)
        random = self._random(kind, layer)
        if cols % I2_S_COLS or self.shape.scale_group:
            trits = _trits(random, rows, cols)
            return Ternary(rows, cols, self._scales(random, rows, cols, scale), None, trits)
        codes = np.frombuffer(random.bytes(rows * cols // 4).translate(_CODES), np.uint8)
        if self.ffn_zeros is not None and (to_residual or kind == "ffn_gate"):
            codes = codes.copy()
            table = codes.reshape(rows, cols // 4)
            if to_residual:
                table[:_CONSTANT] = _block(0)
            else:
                table[:, : I2_S_COLS // 4] = _gate_block(-1 if self.ffn_zeros >= 0.5 else 1)
        return Ternary(rows, cols, np.full((1, 1), scale, np.float32), codes, None)

    def _scales(self, random: np.random.Generator, rows: int, cols: int, size: float) -> np.ndarray:
        """`size` for the matrix, float32 [1, 1], or for each group of the shape a number of f16 around it."""
        group = self.shape.scale_group
        if not group:
            return np.full((1, 1), size, np.float32)
        scales = size * random.uniform(0.5, 1.5, (rows, cols // group))
        return scales.astype(np.float16).astype(np.float32)

    def _random(self, kind: str, layer: int | None = None) -> np.random.Generator:
        name = f"{kind}.{layer}".encode()
        return np.random.Generator(np.random.SFC64([self._seed, zlib.crc32(name)]))


def build(
    weights: RandomWeights,
    ctx: Context,
    options: EngineOptions,
    context_length: int,
    progress: Callable[[int], None] | None = None,
) -> Model:
    """Makes the model in memory.

    Args:
        weights: what it holds.
        ctx: threads and kernels it is packed for.
        options: how it computes, which decides how its matrices lie in memory.
        context_length: positions it must allow.
        progress: called with the number of layers made.
    """
    s, layers = weights.shape, []
    kernel = options.kernel
    if kernel == "auto":
        kernel = kernel_for(
            ctx, s.n_layers * sum(rows * cols for rows, cols in weights.matrix_sizes().values())
        )
    layouts = layouts_for(kernel, weights.arch.hidden_act, options.skip_zeros)
    embedding, output = _embedding_and_head(weights, ctx)
    for i in range(s.n_layers):
        layers.append(_layer(weights, ctx, i, layouts))
        if progress is not None:
            progress(i + 1)
    return Model(
        config=s.config(context_length),
        ctx=ctx,
        embedding=embedding,
        layers=tuple(layers),
        output_norm=weights.norm("output_norm"),
        output=output,
        reader=None,
    )


def _usual_embed_type(shape: Shape) -> str:
    if shape.ternary_embedding:
        return "q2_0"
    return "q6_k" if shape.dim % 256 == 0 else "q8_0"


def _embedding_and_head(weights: RandomWeights, ctx: Context) -> tuple[Dense | DenseMatrix, DenseMatrix]:
    """As a file's would be loaded: a ternary pair that is tied is held once."""
    s, stored = weights.shape, weights.embedding()

    def packed() -> DenseMatrix:
        return DenseMatrix(ctx, weights.embed_type_id, stored, s.vocab_size, s.dim)

    head = packed()
    if not weights.has_ternary_embedding:
        return Dense(head.type, stored, s.vocab_size, s.dim), head
    return head if s.tied else packed(), head


def _layer(weights: RandomWeights, ctx: Context, i: int, layouts: Layouts) -> Layer:
    def packed(kind: str, layout: Layout = layouts.whole) -> TernaryMatrix:
        return weights.ternary(kind, i).packed(ctx, layout)

    def norm(kind: str) -> np.ndarray | None:
        return weights.norm(kind, i) if kind in weights.norm_sizes() else None

    return Layer(
        attn_norm=weights.norm("attn_norm", i),
        q=packed("attn_q"),
        k=packed("attn_k"),
        v=packed("attn_v"),
        attn_sub_norm=norm("attn_sub_norm"),
        attn_output=packed("attn_output"),
        ffn_norm=weights.norm("ffn_norm", i),
        gate=packed("ffn_gate"),
        up=packed("ffn_up", layouts.up),
        ffn_sub_norm=norm("ffn_sub_norm"),
        down=packed("ffn_down", layouts.down),
        q_norm=norm("attn_q_norm"),
        k_norm=norm("attn_k_norm"),
    )


def _trits(random: np.random.Generator, rows: int, cols: int) -> np.ndarray:
    """int8 [rows, cols]."""
    return np.frombuffer(random.bytes(rows * cols).translate(_TRITS), np.int8).reshape(rows, cols)


def _code_table() -> bytes:
    """For every random byte a byte of four trits, so that each combination comes up about as often as it should."""
    share = {0: (1 - ZERO_SHARE) / 2, 1: ZERO_SHARE, 2: (1 - ZERO_SHARE) / 2}
    combinations = list(product(share, repeat=4))
    up_to = np.cumsum([math.prod(share[code] for code in four) for four in combinations])
    chosen = np.searchsorted(up_to, (np.arange(256) + 0.5) / 256)
    return bytes(a << 6 | b << 4 | c << 2 | d for a, b, c, d in (combinations[i] for i in chosen))


def _block(trit: int) -> np.ndarray:
    """A byte of four times the same trit."""
    return np.array((trit + 1) * 0b01010101, np.uint8)


def _gate_block(trit: int) -> np.ndarray:
    """128 columns of a gate row as I2_S, uint8 [32]: 64 of them hold `trit`, the others zero."""
    trits = np.zeros((1, I2_S_COLS), np.int8)
    trits[0, :_SHIFTING] = trit
    return I2S().encode(trits, 1.0)[:-I2_S_TAIL]


_CODES = _code_table()
_N_SIGNED = round(128 * (1 - ZERO_SHARE))
_TRITS = np.repeat(np.array([-1, 0, 1], np.int8), [_N_SIGNED, 256 - 2 * _N_SIGNED, _N_SIGNED]).tobytes()
