"""Models of random weights, made in memory: the speed of a shape without its files.

Weights do not change what a multiply-add costs, but they do decide what is skipped: with random ones half of the gates
are open. `ffn_zeros` moves that share. A few channels of the residual stream, the bias channels, keep the constant that
the embedding gives them, because no attention output and no down projection writes to them; gate rows hold -1 on as many
of them as it takes. How many that is follows from the activations, layer by layer: it is measured and corrected.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property
from statistics import NormalDist

import numpy as np

from bitnet_cli.bench.probe import live_shares
from bitnet_cli.bench.shapes import ModelShape
from bitnet_cli.engine.calibration import kernel_for
from bitnet_cli.engine.model import Dense, Layer, Model
from bitnet_cli.engine.options import EngineOptions, layouts_for
from bitnet_cli.engine.session import Session
from bitnet_cli.errors import UsageError
from bitnet_cli.formats.codecs import codec_named
from bitnet_cli.formats.codecs.i2_s import I2S
from bitnet_cli.native import Context, DenseMatrix, Layout, TernaryMatrix

EMBED_TYPES = ("f16", "q8_0", "q6_k", "q4_0")
MATRICES = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
ONE_SHARE = 90 / 256
"""Of +1 and of -1 among random weights: what absmean makes of normally distributed ones."""
DENSITY = 2 * ONE_SHARE
POOL = 1 << 26
"""Random trits that all matrices are cut from, each from another place."""
DISTINCT_ROWS = 4096
"""Rows of the embedding that are drawn; they repeat."""
BIAS_CHANNELS = 64
CONTEXT_LENGTH = 1 << 17
PASSES = 4
"""Corrections of the gates, at most."""


class SyntheticModel:
    """A model of random weights; the same arguments make the same weights.

    Args:
        name, shape: what to make.
        embed_type: of embedding and head, one of EMBED_TYPES.
        ffn_zeros: share of relu² outputs that shall be zero, at least 0.5; None for what random weights give.

    Raises:
        UsageError: the share is out of range or the shape has no relu².
    """

    def __init__(
        self, name: str, shape: ModelShape, embed_type: str = "q6_k", ffn_zeros: float | None = None
    ) -> None:
        if embed_type not in EMBED_TYPES:
            raise UsageError(
                f"unknown embedding type `{embed_type}`", hint="the types are " + ", ".join(EMBED_TYPES)
            )
        self.name, self.shape, self.embed_type, self.ffn_zeros = name, shape, embed_type, ffn_zeros
        self.config = shape.config(name, CONTEXT_LENGTH)
        if ffn_zeros is not None and self.config.arch.hidden_act != "relu2":
            raise UsageError(
                f"`{name}` has no relu² gate whose zeros could be chosen", hint="leave out `--ffn-zeros`"
            )
        if ffn_zeros is not None and not 0.5 <= ffn_zeros <= 0.98:
            raise UsageError(f"the share of zeros must be 0.5 to 0.98, not {ffn_zeros:g}")
        self._bias = [0.0] * shape.n_layers
        """Bias channels on which each gate row of a layer holds -1, on average."""

    def build(self, ctx: Context, options: EngineOptions | None = None) -> Model:
        """The model in the memory layouts that the options ask for."""
        options = options or EngineOptions()
        kernel = options.kernel
        if kernel == "auto":
            kernel = kernel_for(ctx, self.n_ternary_weights)
        layouts = layouts_for(kernel, self.config.arch.hidden_act, options.skip_zeros)
        of = dict.fromkeys(MATRICES, layouts.whole) | {"ffn_up": layouts.up, "ffn_down": layouts.down}
        layers = tuple(self._layer(ctx, i, of) for i in range(self.shape.n_layers))
        embedding = self._dense(self._embedding)
        head = self._head(ctx, embedding if self.shape.tied else self._dense(self._other_head))
        norm = np.ones(self.shape.dim, np.float32)
        model = Model(self.config, ctx, embedding, layers, norm, head, None, kernel)
        if self.ffn_zeros is not None:
            model = self._with_zeros(model, of["ffn_gate"])
        return model

    @property
    def n_ternary_weights(self) -> int:
        """Weights of all ternary matrices."""
        return self.shape.n_layers * sum(rows * cols for rows, cols in self.sizes.values())

    # ---- Ternary matrices ----

    @cached_property
    def sizes(self) -> dict[str, tuple[int, int]]:
        s = self.shape
        q, kv = s.n_heads * s.head_dim, s.n_kv_heads * s.head_dim
        sizes = ((q, s.dim), (kv, s.dim), (kv, s.dim), (s.dim, q), (s.ffn_dim, s.dim), (s.ffn_dim, s.dim))
        return dict(zip(MATRICES, (*sizes, (s.dim, s.ffn_dim)), strict=True))

    @cached_property
    def _pool(self) -> np.ndarray:
        draws, edge = np.random.default_rng(0).integers(0, 256, POOL, np.uint8), int(256 * ONE_SHARE)
        return (draws >= 256 - edge).view(np.int8) - (draws < edge).view(np.int8)

    def trits(self, layer: int, name: str) -> np.ndarray:
        """The weights of one matrix, int8 [rows, cols]."""
        rows, cols = self.sizes[name]
        random = np.random.default_rng((1, layer, MATRICES.index(name)))
        start = int(random.integers(max(POOL - rows * cols, 1)))
        trits = np.resize(self._pool[start : start + rows * cols], (rows, cols))
        if self.ffn_zeros is not None:
            if name in ("attn_output", "ffn_down"):
                trits[:BIAS_CHANNELS] = 0
            elif name == "ffn_gate":
                # The whole channels of the bias for every row, one more for as many rows as the rest of it says.
                n = np.floor(self._bias[layer] + random.random(rows))[:, None]
                trits[:, :BIAS_CHANNELS] = np.where(np.arange(BIAS_CHANNELS) < n, -1, 0)
        return trits

    def scale(self, name: str) -> float:
        """What a weight of this matrix is multiplied by: outputs have the size of inputs."""
        return 1.0 / math.sqrt(DENSITY * self.sizes[name][1])

    def _matrix(self, ctx: Context, layer: int, name: str, layout: Layout) -> TernaryMatrix:
        return TernaryMatrix.from_trits(ctx, self.trits(layer, name), self.scale(name), layout)

    def _layer(self, ctx: Context, i: int, layouts: dict[str, Layout]) -> Layer:
        m = {name: self._matrix(ctx, i, name, layouts[name]) for name in MATRICES}
        v = self.vectors(i)
        return Layer(
            v["attn_norm"], m["attn_q"], m["attn_k"], m["attn_v"], v.get("attn_sub_norm"), m["attn_output"],
            v["ffn_norm"], m["ffn_gate"], m["ffn_up"], v.get("ffn_sub_norm"), m["ffn_down"],
        )  # fmt: skip

    def vectors(self, layer: int) -> dict[str, np.ndarray]:
        """The norms of a layer by name, float32."""
        s = self.shape
        ffn_norm = np.ones(s.dim, np.float32)
        if self.ffn_zeros is not None:
            # The other channels grow by about one unit of variance per projection that writes to them.
            ffn_norm[:BIAS_CHANNELS] = 1.5 * math.sqrt(2 + 2 * layer)
        norms = {"attn_norm": np.ones(s.dim, np.float32), "ffn_norm": ffn_norm}
        if self.config.arch.sub_norms:
            norms["attn_sub_norm"] = np.ones(s.n_heads * s.head_dim, np.float32)
            norms["ffn_sub_norm"] = np.ones(s.ffn_dim, np.float32)
        return norms

    # ---- Embedding and head ----

    def _rows(self, seed: int) -> np.ndarray:
        """uint8: the encoded rows that the matrix repeats."""
        rows = min(DISTINCT_ROWS, self.shape.vocab_size)
        values = np.random.default_rng(seed).standard_normal((rows, self.shape.dim), np.float32)
        if self.ffn_zeros is not None:
            values[:, :BIAS_CHANNELS] = 1.0
        codec = codec_named(self.embed_type)
        assert not isinstance(codec, I2S)
        return codec.encode(values)

    @cached_property
    def _embedding(self) -> np.ndarray:
        return self._rows(2)

    @cached_property
    def _other_head(self) -> np.ndarray:
        return self._rows(3)

    def dense_bytes(self, head: bool) -> np.ndarray:
        """The embedding or, if it is another matrix, the head as the bytes of a tensor."""
        rows = self._other_head if head else self._embedding
        n_rows = min(DISTINCT_ROWS, self.shape.vocab_size)
        return np.resize(rows, len(rows) // n_rows * self.shape.vocab_size)

    def _dense(self, rows: np.ndarray) -> Dense:
        data = self.dense_bytes(rows is not self._embedding)
        return Dense(int(codec_named(self.embed_type).type_id), data, self.shape.vocab_size, self.shape.dim)

    def _head(self, ctx: Context, dense: Dense) -> DenseMatrix:
        return DenseMatrix(ctx, dense.type, dense.data, dense.rows, dense.cols)

    # ---- Zeros ----

    def _with_zeros(self, model: Model, layout: Layout) -> Model:
        """Corrects the gates until every layer has its share of zeros within a hundredth, as far as PASSES go."""
        assert self.ffn_zeros is not None
        normal = NormalDist()
        for _ in range(PASSES):
            shares = live_shares(Session(model, 64))
            wrong = [abs(1 - live - self.ffn_zeros) for live in shares.gates]
            if max(wrong) < 0.01:
                break
            layers = list(model.layers)
            for i, live in enumerate(shares.gates):
                is_now = normal.inv_cdf(min(max(1 - live, 0.001), 0.999))
                # One bias channel moves the gates by its activation, in units of their deviation.
                step = shares.bias_steps(BIAS_CHANNELS, DENSITY)[i]
                self._bias[i] += (normal.inv_cdf(self.ffn_zeros) - is_now) / step
                self._bias[i] = min(max(self._bias[i], 0.0), float(BIAS_CHANNELS))
                layers[i] = replace(layers[i], gate=self._matrix(model.ctx, i, "ffn_gate", layout))
            model = replace(model, layers=tuple(layers))
        return model
