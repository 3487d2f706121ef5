"""The contents of a file's tensors, each read once: codes, scales, numbers that are none, and the gaps between them."""

from __future__ import annotations

import numpy as np

from bitnet_cli.convert.checkpoint import row_blocks
from bitnet_cli.convert.gguf_source import GGUFSource
from bitnet_cli.convert.source import SourceTensor, TernaryWeights
from bitnet_cli.errors import BitnetError, FormatError, UsageError
from bitnet_cli.formats.codecs import DENSE_CODECS, TERNARY_FLOATS, TERNARY_TYPES
from bitnet_cli.formats.gguf_types import type_name
from bitnet_cli.verify.report import Done, VerifyReport

_DENSE_TYPES = frozenset(int(each.type_id) for each in DENSE_CODECS)


def check_tensors(source: GGUFSource, report: VerifyReport, done: Done) -> None:
    """Reads every tensor of an open file and adds what it finds to the report."""
    for tensor in source.tensors:
        ternary = tensor.role == "ternary" or tensor.kept in TERNARY_TYPES
        known = ternary or tensor.kept in _DENSE_TYPES
        checked = "codes, scales" if ternary else "values" if known else "nothing"
        kind = report.kind(tensor.kind, type_name(tensor.kept).lower(), checked)
        kind.count += 1
        rows, cols = tensor.matrix
        kind.weights += rows * cols
        before = len(report.problems)
        if ternary:
            _check_ternary(source, tensor, report)
        elif known:
            _check_dense(source, tensor, report)
        else:
            report.problem(tensor.name, f"tensors of type {type_name(tensor.kept)} are not supported")
        kind.problems += len(report.problems) > before
        source.done(tensor)
        done(tensor.n_bytes, tensor.name)


def _check_ternary(source: GGUFSource, tensor: SourceTensor, report: VerifyReport) -> None:
    try:
        weights = source.ternary(tensor)
    except UsageError:
        raise
    except BitnetError as error:
        if tensor.kept in TERNARY_FLOATS and not isinstance(error, FormatError):
            report.problem(tensor.name, "the weights are ordinary floats, not ternary")
        else:
            report.problem(tensor.name, _without_place(error, source, tensor), error.hint)
        return
    if not weights.trits.any():
        report.remark(tensor.name, "all weights are 0")
    elif _has_dead_weights(weights):
        report.remark(tensor.name, "a scale is 0 although its weights are not")


def _has_dead_weights(weights: TernaryWeights) -> bool:
    """Whether weights that are not 0 have the scale 0; a row or group of zeros may have it."""
    rows, groups = len(weights.trits), weights.scales.shape[1]
    return not weights.scales.all() and bool(
        ((weights.scales == 0) & weights.trits.reshape(rows, groups, -1).any(axis=2)).any()
    )


def _check_dense(source: GGUFSource, tensor: SourceTensor, report: VerifyReport) -> None:
    rows, cols = tensor.matrix
    for start, stop in row_blocks(rows, cols):
        values = source.rows(tensor, start, stop)
        bad = ~np.isfinite(values)
        if bad.any():
            row, col = np.argwhere(bad)[0]
            where = f"row {start + row}, column {col}" if len(tensor.shape) > 1 else f"value {col}"
            report.problem(tensor.name, f"{where} is {values[row, col]}, not a finite number")
            return
        source.done(tensor)


def _without_place(error: BitnetError, source: GGUFSource, tensor: SourceTensor) -> str:
    """The message of an error without the file and the tensor, which the report names itself."""
    return error.message.removeprefix(f"{source.path}: ").removeprefix(f"`{tensor.name}`: ")


def check_gaps(source: GGUFSource, report: VerifyReport) -> None:
    """Bytes between tensors and behind the last should be zeros, as few as the alignment asks for."""
    infos = sorted(source.reader.tensors.values(), key=lambda info: info.offset)
    ends = [(info.name, info.offset + info.n_bytes) for info in infos]
    starts = [info.offset for info in infos] + [source.reader.size]
    for (name, end), start in zip(ends, starts[1:], strict=True):
        if start - end >= source.alignment:
            report.remark(name, f"{start - end} bytes behind it belong to no tensor")
        elif source.reader.bytes_between(end, start).any():
            report.remark(name, "the padding behind it is not zero")
