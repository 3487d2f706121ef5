"""Options of how text is generated, the same for every command that does."""

from __future__ import annotations

import math
from typing import Annotated

import typer


def _number(value: float) -> float:
    """Refuses NaN, which lies in every range as far as comparisons tell."""
    if math.isnan(value):
        raise typer.BadParameter("nan is not a number")
    return value


TempOpt = Annotated[
    float,
    typer.Option(
        "--temp",
        metavar="T",
        min=0.0,
        max=100.0,
        callback=_number,
        help="Temperature; 0 always takes the most likely token.",
    ),
]
TopKOpt = Annotated[
    int,
    typer.Option("--top-k", metavar="K", min=0, max=1 << 31, help="Choose among the K most likely; 0: all."),
]
TopPOpt = Annotated[
    float,
    typer.Option(
        "--top-p",
        metavar="P",
        min=0.0,
        max=1.0,
        callback=_number,
        help="Choose among the most likely that reach P together.",
    ),
]
MinPOpt = Annotated[
    float,
    typer.Option(
        "--min-p",
        metavar="P",
        min=0.0,
        max=1.0,
        callback=_number,
        help="Drop tokens below P times the most likely.",
    ),
]
RepeatPenaltyOpt = Annotated[
    float,
    typer.Option(
        "--repeat-penalty",
        metavar="X",
        min=0.01,
        max=100.0,
        callback=_number,
        help="Above 1: repeat less.",
    ),
]
SeedOpt = Annotated[
    int | None,
    typer.Option(
        "-s", "--seed", metavar="N", min=0, help="Random seed. Default: a new one.", show_default=False
    ),
]
StopOpt = Annotated[
    list[str] | None, typer.Option("--stop", metavar="TEXT", help="Stop before TEXT; repeatable.")
]
SpeculateOpt = Annotated[
    bool,
    typer.Option(
        "--speculate", help="Guess ahead where the text repeats itself: the same text, perhaps sooner."
    ),
]


def seed_or_new(seed: int | None) -> int:
    """The seed asked for, or a random one."""
    if seed is not None:
        return seed
    import secrets

    return secrets.randbelow(1 << 32)
