"""What is in a GGUF file: metadata in short, tensors one by one and by kind, and the statistics of ternary
weights.

A file of any size is read once, a tensor at a time. Damage inside ternary tensors (codes that stand for no weight, a
scale that is no number) is reported, not refused: looking at broken files is the purpose.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bitnet_cli.formats.codecs import CODECS, CodecFor, ternary_codec_for
from bitnet_cli.formats.gguf_reader import GGUFReader, TensorInfo
from bitnet_cli.formats.gguf_types import file_number, type_name
from bitnet_cli.formats.ternary_survey import (
    CountCodes,
    ScaleRange,
    TernaryCounts,
    TernarySurvey,
    may_be_ternary,
    survey,
)

HEAD = 8
"""Elements of a metadata array that are shown."""


@dataclass(frozen=True)
class MetadataItem:
    """A key of the metadata; of an array only the length and the first elements."""

    key: str
    type: str
    value: Any
    """The value, or the first HEAD elements of an array as a list."""
    length: int | None
    """Number of elements of an array, None for other values."""


@dataclass(frozen=True)
class TensorReport:
    """One tensor; `survey` only of ternary ones."""

    info: TensorInfo
    survey: TernarySurvey | None = None

    @property
    def counts(self) -> TernaryCounts | None:
        return self.survey.counts if self.survey is not None else None

    @property
    def scales(self) -> ScaleRange | None:
        return self.survey.scales if self.survey is not None else None

    @property
    def kind(self) -> str:
        """The name without block number and `.weight`: what tensors of all blocks have in common."""
        return re.sub(r"^blk\.\d+\.", "", self.info.name).removesuffix(".weight")

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.info.name,
            "kind": self.kind,
            "type": type_name(self.info.type),
            "type_id": file_number(self.info.type),
            "shape": list(self.info.shape),
            "parameters": self.info.n_values,
            "offset": self.info.offset,
            "bytes": self.info.n_bytes,
            "bits_per_weight": round(bits_per_weight([self]), 4),
            "ternary": None
            if self.counts is None or self.scales is None
            else {**self.counts.to_json(), **_scales_json(self.scales)},
        }


@dataclass(frozen=True)
class TensorKind:
    """Tensors of the same kind, type and shape, such as all `attn_q`."""

    tensors: tuple[TensorReport, ...]

    @property
    def first(self) -> TensorReport:
        return self.tensors[0]

    @property
    def sparsity(self) -> tuple[float, float] | None:
        """Lowest and highest share of zeros; None unless ternary."""
        shares = [tensor.counts.sparsity for tensor in self.tensors if tensor.counts is not None]
        return (min(shares), max(shares)) if shares else None

    @property
    def scale(self) -> tuple[float, float] | None:
        """Lowest and highest scale, those that are numbers; None unless ternary."""
        ends = [end for t in self.tensors if t.scales is not None for end in (t.scales.low, t.scales.high)]
        finite = [end for end in ends if math.isfinite(end)]
        return (min(finite), max(finite)) if finite else None

    @property
    def scales_per(self) -> list[str]:
        """What has a scale of its own in these tensors; several answers if they differ."""
        return sorted({tensor.scales.per for tensor in self.tensors if tensor.scales is not None})

    def to_json(self) -> dict[str, Any]:
        sparsity, scale = self.sparsity, self.scale
        return {
            "kind": self.first.kind,
            "count": len(self.tensors),
            "type": type_name(self.first.info.type),
            "shape": list(self.first.info.shape),
            "parameters": sum(tensor.info.n_values for tensor in self.tensors),
            "bytes": sum(tensor.info.n_bytes for tensor in self.tensors),
            "bits_per_weight": round(bits_per_weight(self.tensors), 4),
            "sparsity": None if sparsity is None else [round(share, 6) for share in sparsity],
            "scale": None if scale is None else list(scale),
            "scales_per": self.scales_per,
        }


@dataclass(frozen=True)
class Inspection:
    """Everything about one file."""

    path: str
    size: int
    version: int
    alignment: int
    data_offset: int
    metadata: tuple[MetadataItem, ...]
    tensors: tuple[TensorReport, ...]

    @property
    def ternary(self) -> tuple[TensorReport, ...]:
        return tuple(tensor for tensor in self.tensors if tensor.counts is not None)

    @property
    def kinds(self) -> list[TensorKind]:
        """In the order in which they first appear in the file."""
        groups: dict[tuple[object, ...], list[TensorReport]] = {}
        for tensor in self.tensors:
            groups.setdefault((tensor.kind, tensor.info.type, tensor.info.shape), []).append(tensor)
        return [TensorKind(tuple(group)) for group in groups.values()]

    @property
    def totals(self) -> dict[str, dict[str, Any]]:
        """Sums over `all` and over `ternary` tensors, with the keys of `to_json`."""
        return {"all": _total(self.tensors), "ternary": _total(self.ternary)}

    @property
    def damage(self) -> list[str]:
        """What is broken in the ternary tensors, a sentence each."""
        return [
            f"`{tensor.info.name}` is damaged: it {tensor.survey.damage}"
            if tensor.counts is not None
            else f"`{tensor.info.name}` is damaged: {tensor.survey.damage}"
            for tensor in self.tensors
            if tensor.survey is not None and tensor.survey.damage is not None
        ]

    @property
    def problems(self) -> list[str]:
        """What keeps the file from being used, a sentence each: damage, and what is not supported."""
        found = self.damage
        obstacles = {tensor.survey.obstacle: tensor for tensor in self.tensors if tensor.survey is not None}
        found += [text for text in obstacles if text is not None]
        supported = {each.type_id for each in CODECS}
        for type_id in sorted({tensor.info.type for tensor in self.tensors} - supported):
            count = sum(tensor.info.type == type_id for tensor in self.tensors)
            found.append(
                f"{count} of {len(self.tensors)} tensors have the unsupported type {type_name(type_id)}"
            )
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain values with stable keys; numbers that JSON lacks become strings such as "nan"."""
        return {
            "path": self.path,
            "format": "gguf",
            "version": self.version,
            "size": self.size,
            "alignment": self.alignment,
            "data_offset": self.data_offset,
            "metadata": {item.key: _metadata_json(item) for item in self.metadata},
            "kinds": [kind.to_json() for kind in self.kinds],
            "tensors": [tensor.to_json() for tensor in self.tensors],
            "totals": self.totals,
            "problems": self.problems,
        }


def inspect_gguf(
    reader: GGUFReader,
    count_codes: CountCodes,
    progress: Callable[[float], object] | None = None,
    codec_for: CodecFor = ternary_codec_for,
) -> Inspection:
    """Reads all metadata and the ternary tensors of an open file.

    Args:
        reader: the file; memory that reading its tensors fills is given back.
        count_codes: counts packed codes.
        progress: called with the bytes of ternary tensors read so far, of `ternary_bytes(reader)`.
        codec_for: finds the codecs of ternary tensors.

    Raises:
        FormatError: the beginning of a metadata array is damaged.
    """
    tensors, done = [], 0
    for name, info in reader.tensors.items():
        if not may_be_ternary(info):
            tensors.append(TensorReport(info))
            continue
        tensors.append(TensorReport(info, survey(reader, info, count_codes, codec_for)))
        reader.advise_done(name)
        done += info.n_bytes
        if progress is not None:
            progress(done)
    return Inspection(
        path=str(reader.path),
        size=reader.size,
        version=reader.version,
        alignment=reader.alignment,
        data_offset=reader.data_offset,
        metadata=tuple(_metadata_item(reader, key) for key in reader.metadata),
        tensors=tuple(tensors),
    )


def ternary_bytes(reader: GGUFReader) -> int:
    """Bytes that `inspect_gguf` will read."""
    return sum(info.n_bytes for info in reader.tensors.values() if may_be_ternary(info))


def bits_per_weight(tensors: Sequence[TensorReport]) -> float:
    """Bits a parameter takes on average, 0 if there are none."""
    n_values = sum(tensor.info.n_values for tensor in tensors)
    return 8 * sum(tensor.info.n_bytes for tensor in tensors) / n_values if n_values else 0.0


def _total(tensors: Sequence[TensorReport]) -> dict[str, Any]:
    counts = [tensor.counts for tensor in tensors if tensor.counts is not None]
    weights = sum(count.minus + count.zero + count.plus + count.code_3 for count in counts)
    return {
        "tensors": len(tensors),
        "parameters": sum(tensor.info.n_values for tensor in tensors),
        "bytes": sum(tensor.info.n_bytes for tensor in tensors),
        "bits_per_weight": round(bits_per_weight(tensors), 4),
        "sparsity": round(sum(count.zero for count in counts) / weights, 6) if weights else None,
    }


def _metadata_item(reader: GGUFReader, key: str) -> MetadataItem:
    length = reader.metadata.array_length(key)
    value = reader.metadata[key] if length is None else reader.metadata.array_head(key, HEAD)
    return MetadataItem(key, reader.value_type(key), value, length)


def _metadata_json(item: MetadataItem) -> dict[str, Any]:
    if item.length is None:
        return {"type": item.type, "value": _plain(item.value)}
    return {"type": item.type, "length": item.length, "first": [_plain(element) for element in item.value]}


def _scales_json(scales: ScaleRange) -> dict[str, Any]:
    """One scale as a number, several as their range."""
    low, high = _plain(scales.low), _plain(scales.high)
    return {"scale": low if scales.per == "tensor" else [low, high], "scales_per": scales.per}


def _plain(value: Any) -> Any:
    """A value as JSON can hold it."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
