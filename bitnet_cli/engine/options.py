"""How the engine computes, where results do not depend on it; and which layout each matrix gets for that."""

from __future__ import annotations

from dataclasses import dataclass

from bitnet_cli.errors import UsageError
from bitnet_cli.native import Layout

KERNELS = ("auto", "mad", "lut")


@dataclass(frozen=True)
class EngineOptions:
    """Choices of speed and memory. Every combination gives the same bits.

    Raises:
        UsageError: an unknown kernel.
    """

    kernel: str = "auto"
    """How matrices that are read whole meet one token: `mad` multiplies and adds, `lut` looks sums of three weights up in
    tables, from a sixth less memory; `auto` takes what is faster on this machine."""
    skip_zeros: bool = True
    """Lay the feed-forward matrices of relu² models out so that what meets a zero is not read."""

    def __post_init__(self) -> None:
        if self.kernel not in KERNELS:
            raise UsageError(
                f"unknown kernel `{self.kernel}`",
                hint="the kernels are " + ", ".join(f"`{name}`" for name in KERNELS),
            )


@dataclass(frozen=True)
class Layouts:
    """The layout of each kind of matrix of a layer."""

    whole: Layout
    """Queries, keys, values, output and gate."""
    up: Layout
    down: Layout


def layouts_for(kernel: str, hidden_act: str, skip_zeros: bool) -> Layouts:
    """The layouts that suit a kernel, `mad` or `lut`."""
    whole = {"mad": Layout.T2, "lut": Layout.L3}[kernel]
    if skip_zeros and hidden_act == "relu2":
        return Layouts(whole, up=Layout.R2, down=Layout.C2)
    return Layouts(whole, up=whole, down=whole)
