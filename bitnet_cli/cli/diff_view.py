"""How `bitnet inspect A --diff B` shows changes: lines that begin with `-`, `+` or `~`, tensors by kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bitnet_cli.cli.output import out
from bitnet_cli.errors import printable

if TYPE_CHECKING:
    from bitnet_cli.verify.diff import Diff, TensorChange

_SIGNS = {"removed": "-", "added": "+", "changed": "~"}


def show_diff(diff: Diff, *, list_tensors: bool) -> None:
    """Prints what has changed from the first file to the second, every tensor by itself if `list_tensors`."""
    out.data(f"- {printable(diff.first, 200)}")
    out.data(f"+ {printable(diff.second, 200)}")
    _metadata(diff)
    if diff.tensors:
        groups: dict[object, list[TensorChange]] = {}
        for change in diff.tensors:
            equal = change.different == 0
            key = (change.kind, change.change, change.before, change.after, equal, change.obstacle)
            groups.setdefault(change.name if list_tensors else key, []).append(change)
        rows = [_row(group, whole_name=list_tensors) for group in groups.values()]
        out.table("\nTensors", ["", "name", "n", "before", "after", "weights"], rows)
    if not diff.metadata and not diff.tensors:
        out.data("\nthe files hold the same")
    out.data(f"\nunchanged: {diff.same_metadata} metadata keys, {diff.same_tensors} tensors")


def _metadata(diff: Diff) -> None:
    if diff.metadata:
        out.data("\nMetadata")
    for change in diff.metadata:
        key = printable(change.key, 60)
        if change.change == "changed":
            out.data(f"~ {key}: {change.before} → {change.after}")
        else:
            value = change.before if change.change == "removed" else change.after
            out.data(f"{_SIGNS[change.change]} {key}: {value}")


def _row(group: list[TensorChange], *, whole_name: bool) -> tuple[str, ...]:
    first = group[0]
    after = first.after if first.before != first.after else "same type"
    return (
        _SIGNS[first.change],
        printable(first.name if whole_name else first.kind, 32),
        str(len(group)),
        first.before or "",
        after or "",
        _weights(group),
    )


def _weights(group: list[TensorChange]) -> str:
    """How many weights of some tensors differ, and by how much."""
    if group[0].obstacle is not None:
        return printable(group[0].obstacle, 120)
    if group[0].different is None:
        return ""
    different = sum(change.different or 0 for change in group)
    if not different:
        return "the same"
    largest = max(change.largest or 0.0 for change in group)
    return f"{different} of {sum(change.weights for change in group)} differ, by at most {largest:.3g}"
