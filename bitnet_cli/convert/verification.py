"""Reads a converted file again and compares every weight with the source it came from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from bitnet_cli.convert.checkpoint import row_blocks
from bitnet_cli.convert.gguf_source import values_of
from bitnet_cli.convert.report import ConvertReport
from bitnet_cli.convert.source import Source, TernaryWeights
from bitnet_cli.convert.target import TargetTensor
from bitnet_cli.errors import FormatError, with_hint
from bitnet_cli.formats.codecs import ternary_codec_for
from bitnet_cli.formats.codecs.block_codec import BlockCodec
from bitnet_cli.formats.codecs.ternary_codec import TernaryCodec
from bitnet_cli.formats.file_mapping import located
from bitnet_cli.formats.gguf_reader import GGUFReader

_AGAIN = "memory or disk may be faulty; convert again, and report it if it happens again"
_PIECE_BYTES = 1 << 22


def verify_file(
    path: Path,
    source: Source,
    planned: list[TargetTensor],
    report: ConvertReport,
    done: Callable[[int, str], None],
) -> None:
    """Compare a file with its source.

    Ternary matrices must have the source's trits, and its scales as their type stores them. Other tensors must be as
    near to the source as the report of the conversion says; copied ones the same.

    Args:
        path: the file.
        source: what it was made from.
        planned: what was written.
        report: how well.
        done: told the source's bytes as they are compared, with the tensor's name.

    Raises:
        FormatError: a tensor differs.
    """
    with with_hint(_AGAIN), GGUFReader(path) as file:
        for each in planned:
            tensor, info = each.source, file.tensors.get(each.source.name)
            if info is None or (info.shape, info.type) != (tensor.shape, each.type):
                raise _difference(path, tensor.name, "it is missing or has another shape or type")
            if each.ternary:
                assert each.codec is not None and not isinstance(each.codec, BlockCodec)
                _verify_ternary(file, source, each, each.codec)
                done(tensor.n_bytes, tensor.name)
            else:
                _verify_dense(file, source, each, report, done)
            source.done(tensor)
            file.advise_done(tensor.name)


def _verify_ternary(file: GGUFReader, source: Source, planned: TargetTensor, codec: TernaryCodec) -> None:
    name, wanted = planned.source.name, source.ternary(planned.source)
    reading = ternary_codec_for(file, file.tensors[name])  # As anybody would read it.
    with located(file.path, name):
        trits, scales = reading.decode(file.data(name), planned.source.shape)
    stored = TernaryWeights(wanted.trits, codec.stored_scales(wanted.scales), wanted.encoding)
    row = first_difference(TernaryWeights(trits, scales, reading.name), stored)
    if row is not None:
        raise _difference(file.path, name, f"row {row} is not that of the source")


def _verify_dense(
    file: GGUFReader,
    source: Source,
    planned: TargetTensor,
    report: ConvertReport,
    done: Callable[[int, str], None],
) -> None:
    tensor, codec = planned.source, planned.codec
    data, raw = file.data(tensor.name), source.raw(tensor) if planned.type == tensor.kept else None

    def give_back() -> None:  # Not at the end: an embedding may be larger than all else together.
        source.done(tensor)
        file.advise_done(tensor.name)

    if raw is not None:
        if not equal_bytes(data, raw, give_back):
            raise _difference(file.path, tensor.name, "it is not the copy that it should be")
        done(tensor.n_bytes, tensor.name)
        return
    assert isinstance(codec, BlockCodec)
    max_error = report.kinds[tensor.kind].max_error
    row_bytes = codec.n_bytes(tensor.shape[-1:])
    rows, cols = tensor.matrix
    for start, stop in row_blocks(rows, cols):
        found = codec.decode(data[start * row_bytes : stop * row_bytes], (stop - start, cols))
        # A damaged value may be infinite; NaN is not <= max_error either.
        with np.errstate(invalid="ignore"):
            error = float(np.abs(found - source.rows(tensor, start, stop)).max(initial=0.0))
        if not error <= max_error:
            raise _difference(file.path, tensor.name, f"rows {start} to {stop - 1} are off by {error:.3g}")
        done(tensor.n_bytes * stop // rows - tensor.n_bytes * start // rows, tensor.name)
        give_back()


def equal_bytes(first: np.ndarray, second: np.ndarray, give_back: Callable[[], None]) -> bool:
    """Whether two uint8 arrays are the same; `give_back` is called after each piece of them."""
    if first.nbytes != second.nbytes:
        return False
    for start in range(0, first.nbytes, _PIECE_BYTES):
        piece = slice(start, start + _PIECE_BYTES)
        if not np.array_equal(first[piece], second[piece]):
            return False
        give_back()
    return True


def first_difference(first: TernaryWeights, second: TernaryWeights) -> int | None:
    """The first row in which two matrices of one shape stand for different weights; None if there is none.

    A group without weights may have any scale, and -1 times -s is 1 times s.
    """
    unequal = (first.trits != second.trits).any(axis=1)
    groups = max(first.scales.shape[1], second.scales.shape[1])
    live = first.trits.reshape(len(first.trits), groups, -1).any(axis=2)
    a, b = (np.repeat(each.scales, groups // each.scales.shape[1], axis=1) for each in (first, second))
    unequal |= ((a != b) & live).any(axis=1)
    for start, stop in row_blocks(*first.trits.shape):
        if unequal[start:stop].any():
            differs = (values_of(first, start, stop) != values_of(second, start, stop)).any(axis=1)
            if differs.any():
                return start + int(np.argmax(differs))
    return None


def _difference(path: Path, name: str, message: str) -> FormatError:
    return FormatError(f"the file differs from its source: {message}", path=path, tensor=name, hint=_AGAIN)
