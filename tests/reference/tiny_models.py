"""Tiny models by the real path: checkpoint, conversion, GGUF file, engine; and both players of their plans."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from model_numpy import PlanPlayer, Quantised
from tiny_checkpoints import write_checkpoint

from bitnet_cli.convert.pipeline import convert
from bitnet_cli.engine.model import Model
from bitnet_cli.engine.plan import buffers, write_plan
from bitnet_cli.formats.gguf_reader import GGUFReader
from bitnet_cli.native import Context, KVCache, Plan, lib

N_CTX = 40


def converted(directory: Path, family: str, encoding: str, embed_type: str = "f16", **shape: int) -> Path:
    """The GGUF file of a tiny checkpoint, made in `directory` unless it is there; `shape` changes its sizes."""
    name = "-".join([family, encoding, embed_type, *(f"{k}{v}" for k, v in shape.items())])
    path = directory / f"{name}.gguf"
    if not path.exists():
        write_checkpoint(directory / name, family, encoding, **shape)
        convert(directory / name, path, embed_type=embed_type)
    return path


class Played:
    """A model's plan with a cache, ready to be played by the C library; `twin()` is the same for NumPy."""

    def __init__(self, path: Path, isa: str | None = None, n_threads: int = 1, kv_type: str = "f16") -> None:
        reader = GGUFReader(path)
        self.model = Model.load(reader, reader.metadata, Context(isa, n_threads))
        c = self.model.config
        self.ops, self.bufs = write_plan(self.model, N_CTX), buffers(c)
        self.plan = Plan(self.model.ctx, self.ops, self.bufs, N_CTX, N_CTX)
        self.kv = KVCache(c.n_layers, c.n_kv_heads, c.head_dim, N_CTX, kv_type)

    def twin(self) -> PlanPlayer:
        return PlanPlayer(self.ops, self.bufs, N_CTX, self.kv.kv_type)

    def run(self, tokens: np.ndarray, pos: int = 0, *, first: int = 0, end: int | None = None) -> np.ndarray:
        """Logits of every token, float32 [n_tokens, vocabulary]; zeros if the range has no head."""
        logits = np.zeros((len(tokens), self.model.config.vocab_size), np.float32)
        self.plan.run(self.kv, tokens, pos, logits=logits, first=first, end=end)
        return logits

    def get(self, index: int, n_tokens: int) -> np.ndarray | Quantised:
        """A copy of a buffer's first tokens, without padding."""
        kind, width = self.bufs[index]
        if kind == lib.BN_BUF_F32:
            return self.plan.f32(index, n_tokens).copy()
        q, s, _ = self.plan.i8(index, n_tokens)
        return Quantised(q[:, :width].copy(), s.copy())

    def put(self, index: int, value: np.ndarray | Quantised) -> None:
        """Overwrites a buffer's first tokens."""
        if isinstance(value, Quantised):
            q, s, total = self.plan.i8(index, len(value.q))
            q[:, : value.q.shape[1]], s[:], total[:] = value.q, value.s, value.sum
        else:
            self.plan.f32(index, len(value))[:] = value
