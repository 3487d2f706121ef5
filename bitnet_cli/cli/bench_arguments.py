"""What the arguments of `bitnet bench` mean: lists of numbers, percentages, and the model to be measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bitnet_cli.cli.model_argument import model_file
from bitnet_cli.errors import UsageError

if TYPE_CHECKING:
    from bitnet_cli.bench.subject import Subject
    from bitnet_cli.formats.codecs import CodecFor

MAX_TOKENS = 1 << 20


def counts(option: str, text: str, low: int, high: int = MAX_TOKENS) -> tuple[int, ...]:
    """The numbers of a list such as `1,2`; UsageError if there is anything else in it."""
    found = []
    for word in text.split(","):
        is_number = word.isascii() and word.isdigit() and len(word) <= len(str(high))
        if not is_number or not low <= int(word) <= high:
            example = max(low, 1)
            raise UsageError(
                f"`{option}` takes whole numbers from {low} to {high}, not `{word}`",
                hint=f"one or several, such as `{option} {example},{2 * example}`",
            )
        found.append(int(word))
    return tuple(found)


def percent(text: str | None) -> float:
    """A share, 0..1, from percent such as `5%` or `5`; None is 5 %. UsageError if it is none."""
    try:
        share = float((text if text is not None else "5%").removesuffix("%"))
    except ValueError:
        share = -1.0
    if not 0 <= share < 100:
        raise UsageError(f"`--max-regression` takes 0 to 100 percent, not `{text}`", hint="such as `5%`")
    return share / 100


def refuse_beside_kernels(given: Mapping[str, object]) -> None:
    """UsageError if an option is given (not None) that says nothing about single kernels."""
    for name, value in given.items():
        if value is not None:
            raise UsageError(
                f"`--kernels` times kernels without a model, and `{name}` is about models",
                hint="leave one of them out; `--isa` and `-o` go with it",
            )


def subject_of(
    model: str | None,
    shape: str | None,
    embed_type: str | None,
    ffn_zeros: float | None,
    save: Path | None,
    yes: bool,
    codec_for: CodecFor,
) -> Subject:
    """The model that `-m`, or `--shape` and what belongs to it, ask for.

    Args:
        yes: download without asking.
        codec_for: reads a file that does not say all about itself.

    Raises:
        UsageError: they contradict each other or cannot be met.
    """
    from bitnet_cli.bench.shapes import shape_named
    from bitnet_cli.bench.subject import Subject
    from bitnet_cli.bench.synthetic import RandomWeights

    if shape is not None:
        if model is not None:
            raise UsageError("give a model with `-m` or `--shape`, not both", hint="leave one of them out")
        return Subject(None, RandomWeights(shape_named(shape), embed_type, ffn_zeros))
    for name, value in (("--embed-type", embed_type), ("--ffn-zeros", ffn_zeros), ("--save", save)):
        if value is not None:
            raise UsageError(f"`{name}` is for random models", hint="such as `--shape bitnet-2b-4t`")
    from bitnet_cli.library import BUILTIN_MODEL

    return Subject(model_file(model, yes=yes) or BUILTIN_MODEL, codec_for=codec_for)
