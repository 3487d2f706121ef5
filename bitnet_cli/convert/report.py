"""What a conversion found and did, by kind of tensor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bitnet_cli.convert.source import TernaryWeights

TERNARY_FLOATS = "ternary floats"
"""The encoding of matrices whose floats are 0 and one magnitude for each scale."""


@dataclass
class KindReport:
    """All tensors of one kind, such as `attn_q` of every block.

    Attributes:
        kind: the tensors' name without block number.
        type: how they are stored in the file, for example `i2_s`.
        count: number of tensors.
        weights: number of values.
        zeros: number of values that are 0 in the file; None if the type cannot be read and was copied.
        scale_min, scale_max: range of the scales of ternary tensors, else None.
        max_error: |value in the file - value in the source| is nowhere larger.
    """

    kind: str
    type: str
    count: int = 0
    weights: int = 0
    zeros: int | None = 0
    scale_min: float | None = None
    scale_max: float | None = None
    max_error: float = 0.0

    def add_values(self, values: np.ndarray, max_error: float) -> None:
        """Takes a block of values, or of trits, as they are in the file."""
        self.weights += values.size
        self.zeros = (self.zeros or 0) + values.size - int(np.count_nonzero(values))
        self.max_error = max(self.max_error, max_error)

    def add_copied(self, shape: Sequence[int]) -> None:
        """Takes a tensor of a type that cannot be read."""
        self.count += 1
        self.weights += math.prod(shape)
        self.zeros = None

    def add_scales(self, low: float, high: float) -> None:
        """Takes the range of the scales of one ternary tensor."""
        self.scale_min = low if self.scale_min is None else min(self.scale_min, low)
        self.scale_max = high if self.scale_max is None else max(self.scale_max, high)


@dataclass
class ScaleRounding:
    """Scales that the type of the file holds less precisely than the source.

    Attributes:
        tensors: number of tensors with such scales.
        largest: largest |scale in the file / scale in the source - 1|.
        types: of these tensors.
    """

    tensors: int = 0
    largest: float = 0.0
    types: list[str] = field(default_factory=list)

    def add(self, type_name: str, exact: np.ndarray, stored: np.ndarray) -> float:
        """Takes the scales of one tensor and returns the largest difference."""
        if np.array_equal(exact, stored):
            return 0.0
        changes = np.abs(stored.astype(np.float64) - exact)
        live = exact != 0
        self.tensors += 1
        if type_name not in self.types:
            self.types.append(type_name)
        self.largest = max(self.largest, float((changes[live] / np.abs(exact[live])).max()))
        return float(changes.max())


@dataclass
class ConvertReport:
    """The outcome of one conversion.

    Attributes:
        path, size_bytes: the file that was written.
        architecture: its `general.architecture`.
        outtype: how ternary weights are stored.
        encodings: how many ternary matrices came in which encoding.
        kinds: by kind of tensor, in file order.
        notes: remarks for the user, one sentence each.
        seconds: wall time, verification included.
        verified: every weight was read back and compared with the source.
        rounding: what happened to the scales; none of it if all are exact.
        unequal: matrices of ternary floats whose magnitudes are not all the same bits; the larger became the scale.
    """

    path: Path
    architecture: str
    outtype: str
    size_bytes: int = 0
    encodings: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, KindReport] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    verified: bool = False
    rounding: ScaleRounding = field(default_factory=ScaleRounding)
    unequal: int = 0

    def add_ternary(self, kind: str, type_name: str, weights: TernaryWeights, stored: np.ndarray) -> None:
        """Takes a ternary tensor that was written with the scales `stored`."""
        self.encodings[weights.encoding] = self.encodings.get(weights.encoding, 0) + 1
        report = self.kind(kind, type_name)
        report.count += 1
        changed = self.rounding.add(type_name, weights.scales, stored)
        self.unequal += weights.encoding == TERNARY_FLOATS and weights.max_error > 0
        report.add_values(weights.trits, weights.max_error + changed)
        report.add_scales(float(stored.min()), float(stored.max()))

    def finish(self, size_bytes: int, seconds: float) -> None:
        """Adds what is known at the end."""
        self.size_bytes, self.seconds = size_bytes, seconds
        if self.rounding.tensors:
            many = self.rounding.tensors > 1
            stores = " and ".join(f"`{each}`" for each in self.rounding.types)
            stores += " stores" if len(self.rounding.types) == 1 else " store"
            self.notes.append(
                f"{stores} scales as f16: those of {self.rounding.tensors} "
                f"tensor{'s' if many else ''} changed, by at most {100 * self.rounding.largest:.2g} %; "
                "the weights -1, 0, +1 are the same"
            )

        if self.unequal:
            self.notes.append(
                f"{self.unequal} {'matrices hold' if self.unequal > 1 else 'matrix holds'} magnitudes that are one unit in "
                "the last place apart; the larger one became the scale of both"
            )

    def kind(self, name: str, type_name: str) -> KindReport:
        """The report of one kind, begun if it is new."""
        return self.kinds.setdefault(name, KindReport(name, type_name))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {
            "path": str(self.path),
            "kinds": [asdict(kind) for kind in self.kinds.values()],
            "seconds": round(self.seconds, 3),
            "scales_exact": not self.rounding.tensors and not self.unequal,
        }
