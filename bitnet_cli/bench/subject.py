"""What is measured: a model file or a random model, loaded the way the options ask for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bitnet_cli.bench.synthetic import RandomWeights, build
from bitnet_cli.engine.model import Model
from bitnet_cli.engine.options import EngineOptions
from bitnet_cli.engine.session import MAX_BATCH, Session
from bitnet_cli.errors import UsageError
from bitnet_cli.formats.codecs import CodecFor, ternary_codec_for
from bitnet_cli.formats.gguf_reader import GGUFReader
from bitnet_cli.formats.gguf_types import GGMLType
from bitnet_cli.native import Context
from bitnet_cli.text.repairs import repair


@dataclass(frozen=True)
class Subject:
    """A model to be measured: a file, or a recipe for random weights."""

    path: Path | None
    weights: RandomWeights | None = None
    codec_for: CodecFor = ternary_codec_for
    """How ternary tensors of the file are read."""


@dataclass(frozen=True)
class EngineChoices:
    """How the engine is to compute."""

    isa: str | None = None
    engine: EngineOptions = field(default_factory=EngineOptions)
    batch: int = MAX_BATCH
    """Tokens of a prompt that are evaluated together, at most."""
    kv_type: str = "f16"


def load(
    subject: Subject,
    choices: EngineChoices,
    n_threads: int,
    context_length: int,
    progress: Callable[[int], None] | None = None,
) -> Model:
    """Loads or makes the model for a number of threads.

    Args:
        context_length: positions that the tests need.
        progress: called with the number of layers of a random model that are made.

    Raises:
        UsageError: the model's context is shorter, or the instruction set or number of threads is not possible.
        FormatError, UnsupportedError: the file cannot be run.
    """
    ctx = Context(choices.isa, n_threads)
    if subject.weights is not None:
        return build(subject.weights, ctx, choices.engine, context_length, progress)
    assert subject.path is not None
    reader = GGUFReader(subject.path)
    try:
        meta, _ = repair(reader.metadata)
        model = Model.load(reader, meta, ctx, choices.engine, codec_for=subject.codec_for)
        if context_length > model.config.context_length:
            raise UsageError(
                f"the longest test takes {context_length} tokens, the model's context is "
                f"{model.config.context_length}",
                hint="ask for less with `-p`, `-n` and `-d`",
            )
    except BaseException:
        reader.close()
        raise
    return model


def session_for(model: Model, choices: EngineChoices, context_length: int) -> Session:
    """A session for the tests; the one place that chooses its cache and its batch."""
    return Session(model, context_length, choices.batch, choices.kv_type)


def skips_zeros(model: Model, choices: EngineChoices) -> bool:
    """Whether single tokens skip the feed-forward weights that meet zeros."""
    return choices.engine.skip_zeros and model.config.arch.hidden_act == "relu2"


def embed_type_of(model: Model) -> str:
    """How the head is stored: `q6_k`, `f16` and so on."""
    return GGMLType(model.head.type).name.lower()


def ternary_bytes(model: Model) -> int:
    """Bytes of all ternary matrices as they lie in memory."""
    return sum(mat.n_bytes for layer in model.layers for mat in layer.matrices)


def ternary_weights(model: Model) -> int:
    """Weights of all ternary matrices."""
    return sum(mat.rows * mat.cols for layer in model.layers for mat in layer.matrices)


def skipped_bytes(model: Model, gate_zeros: float, down_zeros: float) -> int:
    """Bytes that a token does not read for these shares of zeros, 0..1."""
    return round(
        sum(layer.up.n_bytes * gate_zeros + layer.down.n_bytes * down_zeros for layer in model.layers)
    )
