"""Reads a converted file again and compares every weight with the checkpoint it came from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from bitnet_cli.convert.checkpoint import matrix_shape, row_blocks
from bitnet_cli.convert.head_rows import halved
from bitnet_cli.convert.hf_names import PlannedTensor
from bitnet_cli.convert.plan import ConversionPlan
from bitnet_cli.convert.report import ConvertReport
from bitnet_cli.errors import FormatError, with_hint
from bitnet_cli.formats.codecs.block_codec import BlockCodec
from bitnet_cli.formats.codecs.ternary_codec import TernaryCodec
from bitnet_cli.formats.gguf_reader import GGUFReader
from bitnet_cli.formats.gguf_types import I2_S_TAIL

_AGAIN = "memory or disk may be faulty; convert again, and report it if it happens again"


def verify_file(
    path: Path, plan: ConversionPlan, report: ConvertReport, done: Callable[[int, str], None]
) -> None:
    """Compare a file with the checkpoint.

    Ternary matrices must have the checkpoint's scale and trits, each in the checkpoint's order. Other
    tensors must be as near to the checkpoint as the report of the conversion says.

    Args:
        path: the file.
        plan, report: what was written, and how well.
        done: told the checkpoint's bytes as they are compared, with the tensor's name.

    Raises:
        FormatError: a tensor differs.
    """
    with with_hint(_AGAIN), GGUFReader(path) as file:
        for tensor in plan.tensors:
            codec = plan.codec(tensor)
            info = file.tensors.get(tensor.name)
            if info is None or (info.shape, info.type) != (tensor.shape, codec.type_id):
                raise _difference(path, tensor, "it is missing or has another shape or type")
            if isinstance(codec, BlockCodec):
                _verify_dense(file, plan, tensor, codec, report.kinds[tensor.kind].max_error, done)
            else:
                _verify_ternary(file, plan, tensor, codec, done)


def _verify_ternary(
    file: GGUFReader,
    plan: ConversionPlan,
    tensor: PlannedTensor,
    codec: TernaryCodec,
    done: Callable[[int, str], None],
) -> None:
    rows, cols = tensor.shape
    data, head_dim = file.data(tensor.name), plan.head_dim(tensor)
    source = plan.finder.find(plan.names[tensor.name], rows, cols)
    n_bytes = plan.checkpoint.tensors[source.name].n_bytes
    row_bytes = cols // 4
    for start, stop in row_blocks(rows, cols, head_dim):
        block = np.concatenate([data[start * row_bytes : stop * row_bytes], data[-I2_S_TAIL:]])
        trits, scales = codec.decode(block, (stop - start, cols))
        if tensor.permuted_heads:
            trits = halved(trits, head_dim)
        if scales != source.scale or not np.array_equal(trits, source.trits(start, stop)):
            raise _difference(
                file.path, tensor, f"rows {start} to {stop - 1} are not those of the checkpoint"
            )
        done(n_bytes * stop // rows - n_bytes * start // rows, tensor.name)
        file.advise_done(tensor.name)  # Not at the end: an embedding may be larger than all else together.


def _verify_dense(
    file: GGUFReader,
    plan: ConversionPlan,
    tensor: PlannedTensor,
    codec: BlockCodec,
    max_error: float,
    done: Callable[[int, str], None],
) -> None:
    name = plan.names[tensor.name]
    info = plan.checkpoint.tensors[name]
    rows, cols = matrix_shape(info)
    data, row_bytes = file.data(tensor.name), codec.n_bytes((cols,))
    for start, stop in row_blocks(rows, cols):
        found = codec.decode(data[start * row_bytes : stop * row_bytes], (stop - start, cols))
        with np.errstate(
            invalid="ignore"
        ):  # A damaged value may be infinite; NaN is not <= max_error either.
            error = float(np.abs(found - plan.checkpoint.float_rows(name, start, stop)).max(initial=0.0))
        if not error <= max_error:
            raise _difference(file.path, tensor, f"rows {start} to {stop - 1} are off by {error:.3g}")
        done(info.n_bytes * stop // rows - info.n_bytes * start // rows, tensor.name)
        file.advise_done(tensor.name)


def _difference(path: Path, tensor: PlannedTensor, message: str) -> FormatError:
    return FormatError(
        f"the file differs from the checkpoint: {message}",
        path=path,
        tensor=tensor.name,
        hint=_AGAIN,
    )
