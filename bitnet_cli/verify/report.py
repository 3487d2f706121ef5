"""What a check of a file found."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Done = Callable[[int, str], None]
"""Told how many bytes were read, and the name of the tensor."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong or worth saying.

    Attributes:
        where: a tensor, a metadata key, or empty for the whole file.
        text: one sentence without a final period.
        hint: what helps, where that is known.
    """

    where: str
    text: str
    hint: str | None = None

    def __str__(self) -> str:
        return f"`{self.where}`: {self.text}" if self.where else self.text


@dataclass
class KindResult:
    """All tensors of one kind and type.

    Attributes:
        kind: the tensors' name without block number.
        type: of the tensors, for example `i2_s`.
        count, weights: number of tensors and of values.
        checked: what was looked at: `codes, scales`, `values`, or `nothing` of types that cannot be read.
        problems: number of tensors with problems.
        different: weights that differ from those compared with; None without a comparison.
        largest: the largest such difference.
    """

    kind: str
    type: str
    checked: str
    count: int = 0
    weights: int = 0
    problems: int = 0
    different: int | None = None
    largest: float | None = None


@dataclass
class VerifyReport:
    """The outcome of a check.

    Attributes:
        path: the file.
        against: what it was compared with, if anything.
        problems: what must not be; empty if the file is in order.
        remarks: what is odd but does no harm.
        kinds: by kind and type of tensor, in file order.
    """

    path: Path
    against: Path | None = None
    problems: list[Finding] = field(default_factory=list)
    remarks: list[Finding] = field(default_factory=list)
    kinds: dict[tuple[str, str], KindResult] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not self.problems

    def problem(self, where: str, text: str, hint: str | None = None) -> None:
        self.problems.append(Finding(where, text, hint))

    def remark(self, where: str, text: str) -> None:
        self.remarks.append(Finding(where, text))

    def kind(self, name: str, type_name: str, checked: str) -> KindResult:
        """The result of one kind, begun if it is new."""
        return self.kinds.setdefault((name, type_name), KindResult(name, type_name, checked))

    def to_json(self) -> dict[str, Any]:
        """Plain values with stable keys; an infinite difference becomes the string "inf"."""
        return {
            "path": str(self.path),
            "against": None if self.against is None else str(self.against),
            "ok": self.ok,
            "problems": [asdict(found) for found in self.problems],
            "remarks": [asdict(found) for found in self.remarks],
            "kinds": [
                asdict(kind) | {"largest": "inf" if kind.largest == math.inf else kind.largest}
                for kind in self.kinds.values()
            ],
        }
