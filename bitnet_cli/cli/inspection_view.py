"""How `bitnet inspect` shows a file to a person: tables of at most 80 columns for files with honest names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bitnet_cli.cli.output import out
from bitnet_cli.errors import printable

if TYPE_CHECKING:
    from bitnet_cli.formats.inspection import Inspection, MetadataItem, TensorKind, TensorReport
    from bitnet_cli.formats.ternary_survey import ScaleRange

WIDTH = 80


def show(found: Inspection, *, list_tensors: bool) -> None:
    """Prints metadata, tensors by kind, totals and problems, and every tensor if `list_tensors`."""
    size = f"{_bytes(found.size)}, alignment {found.alignment}"
    out.data(f"{printable(found.path)}: GGUF version {found.version}, {size}")
    keys = [printable(item.key, 56) for item in found.metadata]
    room = WIDTH - 2 - max((len(key) for key in keys), default=0)
    rows = [(key, _value(item, room)) for key, item in zip(keys, found.metadata, strict=True)]
    out.table("\nMetadata", ["key", "value"], rows)
    columns = ["kind", "n", "type", "shape", "bits", "zeros", "scale"]
    out.table("\nTensors by kind", columns, [_kind_row(kind) for kind in found.kinds])
    if list_tensors:
        columns = ["name", "type", "shape", "bytes", "zeros", "scale"]
        out.table("\nTensors", columns, [_tensor_row(tensor) for tensor in found.tensors])
    columns = ["part", "tensors", "parameters", "bytes", "bits/weight", "zeros"]
    out.table(
        "\nTotal",
        columns,
        [_total_row(part, total) for part, total in found.totals.items() if total["tensors"]],
    )
    for problem in found.problems:
        out.data(f"\nproblem: {printable(problem, 200)}")


def _value(item: MetadataItem, room: int) -> str:
    """A value in `room` columns: of an array the length and as many elements as fit."""
    if item.length is None:
        return printable(_text(item.value), room)
    shown, count = f"[{item.length}]", 0
    for element in item.value:
        part = f'"{printable(element)}"' if isinstance(element, str) else _text(element)
        if len(shown) + len(part) + len("  …") > room:
            break
        shown, count = f"{shown} {part}", count + 1
    return shown if count == item.length else f"{shown} …"


def _text(value: Any) -> str:
    """Floats as short as float32 allows, booleans as JSON has them, everything else as it is."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def _kind_row(kind: TensorKind) -> tuple[str, ...]:
    info, one = kind.first.info, kind.to_json()
    zeros, scale = kind.sparsity, kind.scale
    return (
        printable(kind.first.kind, 24),
        str(len(kind.tensors)),
        one["type"],
        " × ".join(str(dim) for dim in info.shape),
        f"{one['bits_per_weight']:.2f}",
        "" if zeros is None else _range(f"{100 * zeros[0]:.1f}", f"{100 * zeros[1]:.1f}") + " %",
        "" if scale is None else _range(f"{scale[0]:.4g}", f"{scale[1]:.4g}") + _per(kind.scales_per),
    )


def _tensor_row(tensor: TensorReport) -> tuple[str, ...]:
    info, one = tensor.info, tensor.to_json()
    return (
        printable(info.name, 32),
        one["type"],
        " × ".join(str(dim) for dim in info.shape),
        str(info.n_bytes),
        "" if tensor.counts is None else f"{100 * tensor.counts.sparsity:.1f} %",
        "" if tensor.scales is None else _scales(tensor.scales),
    )


def _scales(scales: ScaleRange) -> str:
    """One scale, or the range of several and what has one."""
    return _range(f"{scales.low:.6g}", f"{scales.high:.6g}") + _per([scales.per])


def _per(per: list[str]) -> str:
    """What has a scale of its own, unless that is the tensor."""
    several = [f"{each} columns" if each.isdigit() else each for each in per if each != "tensor"]
    return f" by {' or '.join(several)}" if several else ""


def _total_row(part: str, total: dict[str, Any]) -> tuple[str, ...]:
    zeros = "" if total["sparsity"] is None else f"{100 * total['sparsity']:.1f} %"
    bits = f"{total['bits_per_weight']:.3f}"
    return (part, str(total["tensors"]), f"{total['parameters']:,}", _bytes(total["bytes"]), bits, zeros)


def _range(low: str, high: str) -> str:
    return low if low == high else f"{low}–{high}"


def _bytes(n_bytes: int) -> str:
    for size, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if n_bytes >= size:
            return f"{n_bytes / size:.2f} {unit}"
    return f"{n_bytes} B"
