"""What is measured: a model file or a random model, loaded the way the options ask for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bitnet_cli.bench.synthetic import Layouts, RandomWeights, build
from bitnet_cli.engine.model import Model
from bitnet_cli.engine.session import MAX_BATCH, Session
from bitnet_cli.errors import UsageError
from bitnet_cli.formats.gguf_reader import GGUFReader
from bitnet_cli.formats.gguf_types import GGMLType
from bitnet_cli.native import Context, Layout
from bitnet_cli.text.repairs import repair

KERNELS = ("auto", "mad")


@dataclass(frozen=True)
class Subject:
    """A model to be measured: a file, or a recipe for random weights."""

    path: Path | None
    weights: RandomWeights | None = None


@dataclass(frozen=True)
class EngineChoices:
    """How the engine is to compute; results do not depend on it.

    Raises:
        UsageError: an unknown kernel.
    """

    isa: str | None = None
    kernel: str = "auto"
    skip_zeros: bool = True
    """Let single tokens skip the feed-forward weights of relu² models that meet zeros."""
    batch: int = MAX_BATCH
    """Tokens of a prompt that are evaluated together, at most."""

    def __post_init__(self) -> None:
        if self.kernel not in KERNELS:
            known = ", ".join(f"`{name}`" for name in KERNELS)
            raise UsageError(f"unknown kernel `{self.kernel}`", hint=f"the kernels are {known}")


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
        skips = choices.skip_zeros and subject.weights.arch.hidden_act == "relu2"
        up, down = (Layout.R2, Layout.C2) if skips else (Layout.T2, Layout.T2)
        return build(subject.weights, ctx, Layouts(Layout.T2, up, down), context_length, progress)
    assert subject.path is not None
    reader = GGUFReader(subject.path)
    try:
        meta, _ = repair(reader.metadata)
        model = Model.load(reader, meta, ctx, skip_zeros=choices.skip_zeros)
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
    return Session(model, context_length, choices.batch)


def kernel_of(model: Model) -> str:
    """The kernel that matrices meet which are read whole."""
    return "mad"


def skips_zeros(model: Model, choices: EngineChoices) -> bool:
    """Whether single tokens skip the feed-forward weights that meet zeros."""
    return choices.skip_zeros and model.config.arch.hidden_act == "relu2"


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
