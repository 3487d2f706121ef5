"""`verify`: one file by itself, and weight by weight against the model it should be."""

from __future__ import annotations

from pathlib import Path

from bitnet_cli.convert.gguf_source import GGUFSource
from bitnet_cli.convert.source import Source, SourceTensor
from bitnet_cli.errors import BitnetError, UsageError
from bitnet_cli.formats.gguf_types import type_name
from bitnet_cli.verify.comparison import compare, in_words
from bitnet_cli.verify.model_checks import check_loading, check_model
from bitnet_cli.verify.report import Done, VerifyReport
from bitnet_cli.verify.tensor_checks import check_gaps, check_tensors


def total_bytes(source: Source, against: Source | None) -> int:
    """What `check_file` tells `done` about, together."""
    return sum(tensor.n_bytes for each in (source, against) if each is not None for tensor in each.tensors)


def check_file(source: GGUFSource, against: Source | None, done: Done) -> VerifyReport:
    """Checks an open file.

    Args:
        source: the file.
        against: what it should hold, None to look at the file alone.
        done: told the bytes of both as they are read, with the tensor's name.
    """
    report = VerifyReport(Path(source.path), None if against is None else against.path)
    check_model(source, report)
    check_gaps(source, report)
    check_tensors(source, report, done)
    if report.ok:  # Otherwise the reasons are there already.
        check_loading(source, report)
    if against is not None:
        _compare_all(source, against, report, done)
    return report


def _compare_all(source: GGUFSource, against: Source, report: VerifyReport, done: Done) -> None:
    have = {tensor.name: tensor for tensor in source.tensors}
    damaged = {found.where for found in report.problems}
    for wanted in against.tensors:
        tensor = have.pop(wanted.name, None)
        if tensor is None:
            report.problem(wanted.name, f"{against.path} has this tensor, the file does not")
        elif tensor.shape != wanted.shape:
            report.problem(wanted.name, f"the shape is {list(tensor.shape)}, not {list(wanted.shape)}")
        elif wanted.name not in damaged:
            _compare_one(source, tensor, against, wanted, report)
        against.done(wanted)
        done(wanted.n_bytes, wanted.name)
    for name in have:
        report.problem(name, f"{against.path} has no such tensor")


def _compare_one(
    source: GGUFSource, tensor: SourceTensor, against: Source, wanted: SourceTensor, report: VerifyReport
) -> None:
    kind = report.kinds[tensor.kind, type_name(tensor.kept).lower()]
    kind.different, kind.largest = kind.different or 0, kind.largest or 0.0
    try:
        found = compare(source, tensor, against, wanted)
    except UsageError:
        raise
    except BitnetError as error:
        report.problem(tensor.name, f"it cannot be compared: {error.message}", error.hint)
        kind.problems += 1
        return
    source.done(tensor)
    kind.different += found.different
    kind.largest = max(kind.largest, found.largest)
    if not found.explained:
        report.problem(tensor.name, in_words(found, tensor, wanted))
        kind.problems += 1
