"""What has changed from one GGUF file to another: metadata and tensors that are new, gone or different."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from bitnet_cli.convert.gguf_source import GGUFSource
from bitnet_cli.convert.source import SourceTensor
from bitnet_cli.errors import BitnetError, UsageError, printable
from bitnet_cli.formats.gguf_reader import GGUFReader, TensorInfo
from bitnet_cli.formats.gguf_types import type_name
from bitnet_cli.verify.comparison import compare
from bitnet_cli.verify.report import Done

Change = Literal["removed", "added", "changed"]
_SHOWN = 60


@dataclass(frozen=True)
class MetadataChange:
    """A key whose value is new, gone or another one; `before` and `after` in words, None where there is none."""

    key: str
    change: Change
    before: str | None
    after: str | None


@dataclass(frozen=True)
class TensorChange:
    """A tensor that is new, gone or another one.

    Attributes:
        name: of the tensor.
        change: what happened to it.
        before, after: type and shape in words, None where there is none.
        weights: number of values.
        different: how many of them differ; None if they were not or could not be compared.
        largest: the largest difference of a weight.
        obstacle: why they could not be compared.
    """

    name: str
    change: Change
    before: str | None
    after: str | None
    weights: int
    different: int | None = None
    largest: float | None = None
    obstacle: str | None = None

    @property
    def kind(self) -> str:
        """The name without block number and `.weight`."""
        return self.name.removesuffix(".weight").split(".")[-1]


@dataclass(frozen=True)
class Diff:
    """All changes, in the order of the first file, then of the second; and how much is the same."""

    first: str
    second: str
    metadata: tuple[MetadataChange, ...]
    tensors: tuple[TensorChange, ...]
    same_metadata: int
    same_tensors: int

    def to_json(self) -> dict[str, Any]:
        """Plain values with stable keys; an infinite difference becomes the string "inf"."""
        return {
            "first": self.first,
            "second": self.second,
            "same": not self.metadata and not self.tensors,
            "metadata": [asdict(change) for change in self.metadata],
            "tensors": [
                asdict(change) | {"largest": str(change.largest)}
                if change.largest == np.inf
                else asdict(change)
                for change in self.tensors
            ],
            "same_metadata": self.same_metadata,
            "same_tensors": self.same_tensors,
        }


def diff_files(first: GGUFSource, second: GGUFSource, done: Done) -> Diff:
    """Compares two open files; `done` is told the bytes of both as they are read."""
    metadata = tuple(_metadata_changes(first.reader, second.reader))
    tensors = tuple(_tensor_changes(first, second, done))
    keys = len(set(first.reader.metadata) | set(second.reader.metadata))
    names = len(set(first.reader.tensors) | set(second.reader.tensors))
    return Diff(
        str(first.path), str(second.path), metadata, tensors, keys - len(metadata), names - len(tensors)
    )


def _metadata_changes(first: GGUFReader, second: GGUFReader) -> Iterator[MetadataChange]:
    for key in first.metadata:
        if key not in second.metadata:
            yield MetadataChange(key, "removed", _value_in_words(first, key), None)
        elif first.value_type(key) != second.value_type(key) or not _equal(
            first.metadata[key], second.metadata[key]
        ):
            yield MetadataChange(key, "changed", *_both_in_words(first, second, key))
    for key in second.metadata:
        if key not in first.metadata:
            yield MetadataChange(key, "added", None, _value_in_words(second, key))


def _equal(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    return a == b or (a != a and b != b)


def _value_in_words(reader: GGUFReader, key: str) -> str:
    """A scalar as it is, of an array the length."""
    length = reader.metadata.array_length(key)
    if length is not None:
        return f"{length} × {reader.value_type(key)[6:-1]}"
    value = reader.metadata[key]
    text = f"{value:.7g}" if isinstance(value, float) else str(value)
    return printable(text.lower() if isinstance(value, bool) else text, _SHOWN)


def _both_in_words(first: GGUFReader, second: GGUFReader, key: str) -> tuple[str, str]:
    """Two values in words that differ: with their types, or at the first element, if that is the difference."""
    before, after = _value_in_words(first, key), _value_in_words(second, key)
    if first.value_type(key) != second.value_type(key):
        return f"{before} ({first.value_type(key)})", f"{after} ({second.value_type(key)})"
    a, b = first.metadata[key], second.metadata[key]
    if before == after and isinstance(a, list | np.ndarray) and isinstance(b, list | np.ndarray):
        at = next(i for i, (x, y) in enumerate(zip(a, b, strict=True)) if not _equal(x, y))
        return f"[{at}] {printable(str(a[at]), _SHOWN)}", f"[{at}] {printable(str(b[at]), _SHOWN)}"
    if before == after and isinstance(a, str) and isinstance(b, str):
        at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
        return f"…{printable(a[at:], _SHOWN)}", f"…{printable(b[at:], _SHOWN)}"
    if before == after and isinstance(a, float) and isinstance(b, float):
        return repr(a), repr(b)
    return before, after


def _tensor_changes(first: GGUFSource, second: GGUFSource, done: Done) -> Iterator[TensorChange]:
    others = {tensor.name: tensor for tensor in second.tensors}
    for tensor in first.tensors:
        other = others.pop(tensor.name, None)
        if other is None:
            yield _one_sided(first.reader.tensors[tensor.name], "removed")
        else:
            change = _changed(first, tensor, second, other)
            if change is not None:
                yield change
            second.done(other)
            done(other.n_bytes, other.name)
        first.done(tensor)
        done(tensor.n_bytes, tensor.name)
    for name, other in others.items():
        yield _one_sided(second.reader.tensors[name], "added")
        done(other.n_bytes, name)
    # Scales of their own are a part of their matrix above; as tensors they come and go.
    for name in sorted(first.scale_tensors - second.scale_tensors):
        yield _one_sided(first.reader.tensors[name], "removed")
    for name in sorted(second.scale_tensors - first.scale_tensors):
        yield _one_sided(second.reader.tensors[name], "added")


def _one_sided(info: TensorInfo, change: Change) -> TensorChange:
    words = _in_words(info)
    before, after = (words, None) if change == "removed" else (None, words)
    return TensorChange(info.name, change, before, after, info.n_values)


def _changed(
    first: GGUFSource, tensor: SourceTensor, second: GGUFSource, other: SourceTensor
) -> TensorChange | None:
    """The change of a tensor that both files have; None if there is none."""
    one, two = first.reader.tensors[tensor.name], second.reader.tensors[other.name]
    before, after = _in_words(one), _in_words(two)
    if one.shape != two.shape:
        return TensorChange(one.name, "changed", before, after, two.n_values)
    try:
        found = compare(first, tensor, second, other)
    except UsageError:
        raise
    except BitnetError as error:
        words = error.message
        for source, which in ((first, "first"), (second, "second")):
            words = words.replace(f"{source.path}: `{one.name}`: ", f"the {which} file: ")
        return TensorChange(one.name, "changed", before, after, one.n_values, obstacle=words)
    if not found.comparable:
        words = "one of the types cannot be read; the bytes differ"
        return TensorChange(one.name, "changed", before, after, one.n_values, obstacle=words)
    if before == after and not found.different:
        return None
    return TensorChange(one.name, "changed", before, after, one.n_values, found.different, found.largest)


def _in_words(info: TensorInfo) -> str:
    return f"{type_name(info.type)} {' × '.join(str(dim) for dim in info.shape)}"
