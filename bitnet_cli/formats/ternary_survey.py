"""What one ternary tensor holds: how often each weight occurs, its scales, and what is damaged.

Damage is reported, not refused. The packed codes of I2_S are counted as they are; other types are decoded.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bitnet_cli.errors import FormatError, RepresentationError, UnsupportedError
from bitnet_cli.formats.codecs import TERNARY_FLOATS, TERNARY_TYPES, CodecFor, ternary_codec_for
from bitnet_cli.formats.codecs.i2_s import stored_scale
from bitnet_cli.formats.gguf_reader import GGUFReader, TensorInfo
from bitnet_cli.formats.gguf_types import I2_S_TAIL, GGMLType
from bitnet_cli.formats.scales import simplest
from bitnet_cli.formats.tensor_roles import role_of

CountCodes = Callable[[np.ndarray], np.ndarray]
"""uint8 packed codes -> uint64 [4], how often each 2-bit code occurs, as `bitnet_cli.native.count_codes`."""


@dataclass(frozen=True)
class TernaryCounts:
    """How often each value occurs in ternary weights."""

    minus: int
    zero: int
    plus: int
    code_3: int
    """Codes that stand for no weight; anything but 0 means damage. Counted in I2_S, where the others name the first."""

    @property
    def sparsity(self) -> float:
        """Share of zeros."""
        return self.zero / (self.minus + self.zero + self.plus + self.code_3)

    def to_json(self) -> dict[str, Any]:
        return {
            "minus": self.minus,
            "zero": self.zero,
            "plus": self.plus,
            "code_3": self.code_3,
            "sparsity": round(self.sparsity, 6),
        }


@dataclass(frozen=True)
class ScaleRange:
    """The scales of a ternary tensor, equal ones of neighbours put together."""

    low: float
    high: float
    per: str
    """What has a scale of its own: `tensor`, `row`, or a number of columns."""

    @classmethod
    def of(cls, scales: np.ndarray, cols: int) -> ScaleRange:
        """From float32 [1, 1], [rows, 1] or [rows, groups]."""
        per = (
            "tensor" if scales.size == 1 else "row" if scales.shape[1] == 1 else str(cols // scales.shape[1])
        )
        return cls(float(scales.min()), float(scales.max()), per)


@dataclass(frozen=True)
class TernarySurvey:
    """One ternary tensor.

    Attributes:
        counts, scales: what it holds; None if it could not be read.
        damage: what is broken, in words.
        obstacle: why it could not be read although it may be in order, for example that its tiling is not known.
    """

    counts: TernaryCounts | None = None
    scales: ScaleRange | None = None
    damage: str | None = None
    obstacle: str | None = None


def may_be_ternary(info: TensorInfo) -> bool:
    """Whether `survey` reads a tensor: its type is ternary, or it is of floats where ternary weights belong."""
    return info.type in TERNARY_TYPES or role_of(info) == "ternary"


def survey(
    reader: GGUFReader, info: TensorInfo, count_codes: CountCodes, codec_for: CodecFor = ternary_codec_for
) -> TernarySurvey | None:
    """Reads a tensor that `may_be_ternary`; None if it holds ordinary floats."""
    if info.type == GGMLType.I2_S:
        return _i2_s(reader.data(info.name), count_codes)
    try:
        trits, scales = codec_for(reader, info).decode(reader.data(info.name), info.shape)
    except FormatError as error:
        return TernarySurvey(damage=error.message)
    except (UnsupportedError, RepresentationError) as error:
        return None if info.type in TERNARY_FLOATS else TernarySurvey(obstacle=error.message)
    plus = int(np.count_nonzero(trits > 0))
    minus = int(np.count_nonzero(trits)) - plus
    counts = TernaryCounts(minus, trits.size - plus - minus, plus, 0)
    return TernarySurvey(
        counts, ScaleRange.of(simplest(scales, info.shape[-1], lambda: trits), info.shape[-1])
    )


def _i2_s(data: np.ndarray, count_codes: CountCodes) -> TernarySurvey:
    """The same for both layouts of I2_S, whose order of weights does not matter here."""
    minus, zero, plus, code_3 = (int(n) for n in count_codes(data[:-I2_S_TAIL]))
    scale, damage = stored_scale(data), []
    if code_3:
        damage.append(f"holds {code_3} times the code 3")
    if not math.isfinite(scale):
        damage.append(f"has the scale {scale}")
    return TernarySurvey(
        TernaryCounts(minus, zero, plus, code_3),
        ScaleRange(scale, scale, "tensor"),
        " and ".join(damage) or None,
    )
