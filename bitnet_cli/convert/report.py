"""What a conversion found and did, by kind of tensor."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass
class KindReport:
    """All tensors of one kind, such as `attn_q` of every block.

    Attributes:
        kind: the tensors' name without block number.
        type: how they are stored in the file, for example `i2_s`.
        count: number of tensors.
        weights: number of values.
        zeros: number of values that are 0 in the file.
        scale_min, scale_max: range of the scales of ternary tensors, else None.
        max_error: largest |value in the file - value in the checkpoint|.
    """

    kind: str
    type: str
    count: int = 0
    weights: int = 0
    zeros: int = 0
    scale_min: float | None = None
    scale_max: float | None = None
    max_error: float = 0.0

    def add_values(self, values: np.ndarray, max_error: float) -> None:
        """Takes a block of values, or of trits, as they are in the file."""
        self.weights += values.size
        self.zeros += values.size - int(np.count_nonzero(values))
        self.max_error = max(self.max_error, max_error)

    def add_scale(self, scale: float) -> None:
        """Takes the scale of one ternary tensor."""
        self.scale_min = scale if self.scale_min is None else min(self.scale_min, scale)
        self.scale_max = scale if self.scale_max is None else max(self.scale_max, scale)


@dataclass
class ConvertReport:
    """The outcome of one conversion.

    Attributes:
        path, size_bytes: the file that was written.
        architecture: its `general.architecture`.
        encodings: how many ternary matrices came in which encoding.
        kinds: by kind of tensor, in file order.
        notes: remarks for the user, one sentence each.
        seconds: wall time, verification included.
        verified: every weight was read back and compared with the checkpoint.
    """

    path: Path
    architecture: str
    size_bytes: int = 0
    encodings: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, KindReport] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    verified: bool = False

    def kind(self, name: str, type_name: str) -> KindReport:
        """The report of one kind, begun if it is new."""
        return self.kinds.setdefault(name, KindReport(name, type_name))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {
            "path": str(self.path),
            "kinds": [asdict(kind) for kind in self.kinds.values()],
            "seconds": round(self.seconds, 3),
        }
