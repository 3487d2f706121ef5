"""From a checkpoint directory to a GGUF file: plan, stream, write; one block of rows in memory at a time.

The file grows under a temporary name. With `verify` it is read back and compared with the checkpoint before
it takes its real name, so a file with that name is a file that was right.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bitnet_cli.convert.checkpoint import Checkpoint, matrix_shape, model_name, row_blocks
from bitnet_cli.convert.head_rows import interleaved
from bitnet_cli.convert.hf_names import PlannedTensor
from bitnet_cli.convert.metadata import file_metadata
from bitnet_cli.convert.plan import ConversionPlan, plan_conversion
from bitnet_cli.convert.report import ConvertReport
from bitnet_cli.convert.tokenizer_metadata import read_tokenizer
from bitnet_cli.convert.verification import verify_file
from bitnet_cli.errors import BitnetError, FormatError, RepresentationError, with_hint
from bitnet_cli.formats.codecs.block_codec import BlockCodec
from bitnet_cli.formats.codecs.ternary_codec import TernaryCodec
from bitnet_cli.formats.gguf_types import I2_S_TAIL
from bitnet_cli.formats.gguf_writer import GGUFWriter

_INCOMPLETE = "`bitnet convert` takes a complete Hugging Face checkpoint: download it again"


@dataclass(frozen=True)
class Progress:
    """How far a conversion has come, in bytes of the checkpoint."""

    done_bytes: int
    total_bytes: int
    tensor: str


def convert(
    src: Path,
    out: Path,
    *,
    embed_type: str = "f16",
    overwrite: bool = False,
    verify: bool = False,
    ternarize: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> ConvertReport:
    """Convert a checkpoint into a GGUF file with I2_S weights.

    Args:
        src: directory with config.json, safetensors and tokenizer files.
        out: the file to make.
        embed_type: how the embedding and the output matrix are stored: `f16`, `q8_0` or `q6_k`.
        overwrite: replace `out` if it exists.
        verify: read the file again and compare every weight with the checkpoint.
        ternarize: round float weights also if config.json does not say that the model is ternary.
        progress: called often with how far the work has come.

    Raises:
        BitnetError: any of its kinds; `out` is then as it was before.
    """
    started = time.monotonic()
    _refuse_existing(out, overwrite)
    with with_hint(_INCOMPLETE), Checkpoint(src) as checkpoint:
        plan = plan_conversion(checkpoint, embed_type, ternarize=ternarize)
        report = ConvertReport(out, plan.config.arch.name, notes=list(plan.notes))
        meter = _Meter(plan.source_bytes() * (2 if verify else 1), progress)
        # With verification the file gets its name last, after it has been proved.
        target = out.with_name(f".{out.name}.{secrets.token_hex(4)}.unverified") if verify else out
        try:
            _write(plan, target, report, meter, overwrite=overwrite)
            if verify:
                verify_file(target, plan, report, meter.add)
                _refuse_existing(out, overwrite)  # The conversion took its time.
                os.replace(target, out)
                report.verified = True
        finally:
            if verify:
                target.unlink(missing_ok=True)
    report.size_bytes = out.stat().st_size
    report.seconds = time.monotonic() - started
    return report


def default_output(src: Path) -> Path:
    """Where the file goes if nobody says: the model's name and `-i2_s.gguf`, in the current directory."""
    return Path(f"{model_name(src)}-i2_s.gguf")


def _refuse_existing(out: Path, overwrite: bool) -> None:
    if os.path.isdir(out):
        raise BitnetError(f"{out} is a directory", hint="name a file: `-o FILE`")
    if os.path.lexists(out) and not overwrite:
        raise BitnetError(f"{out} exists already", hint="add `--force` to replace it")


class _Meter:
    """Adds up what was done and tells it."""

    def __init__(self, total_bytes: int, progress: Callable[[Progress], None] | None) -> None:
        self._total, self._done, self._progress = total_bytes, 0, progress

    def add(self, n_bytes: int, tensor: str) -> None:
        self._done += n_bytes
        if self._progress is not None:
            self._progress(Progress(self._done, self._total, tensor))


def _write(
    plan: ConversionPlan, target: Path, report: ConvertReport, meter: _Meter, *, overwrite: bool
) -> None:
    """Writes the whole file and fills the report."""
    # A checkpoint that is not ternary is told by its first matrix: better before than after a large
    # embedding.
    first = next(tensor for tensor in plan.tensors if tensor.role == "ternary")
    plan.finder.find(plan.names[first.name], *first.shape)
    with _open_writer(plan, target, report, overwrite=overwrite) as writer:
        for tensor in plan.tensors:
            codec = plan.codec(tensor)
            if isinstance(codec, BlockCodec):
                _write_dense(plan, tensor, codec, writer, report, meter)
            else:
                _write_ternary(plan, tensor, codec, writer, report, meter)


def _open_writer(plan: ConversionPlan, target: Path, report: ConvertReport, *, overwrite: bool) -> GGUFWriter:
    """A writer whose header is done; the vocabulary, the largest thing in memory, is given up on return."""
    tokenizer = read_tokenizer(plan.checkpoint, plan.config.vocab_size)
    report.notes += tokenizer.notes
    return GGUFWriter(
        target, file_metadata(plan.checkpoint, plan.config, tokenizer), plan.specs(), overwrite=overwrite
    )


def _write_ternary(
    plan: ConversionPlan,
    tensor: PlannedTensor,
    codec: TernaryCodec,
    writer: GGUFWriter,
    report: ConvertReport,
    meter: _Meter,
) -> None:
    rows, cols = tensor.shape
    source = plan.finder.find(plan.names[tensor.name], rows, cols)
    report.encodings[source.encoding] = report.encodings.get(source.encoding, 0) + 1
    kind = report.kind(tensor.kind, codec.name)
    kind.count += 1
    kind.add_scale(float(source.scale))
    head_dim = plan.head_dim(tensor)
    n_bytes = plan.checkpoint.tensors[source.name].n_bytes
    encoded = np.empty(0, np.uint8)
    for start, stop in row_blocks(rows, cols, head_dim):
        trits = source.trits(start, stop)
        kind.add_values(trits, source.largest_error(trits, start, stop))
        if tensor.permuted_heads:
            trits = interleaved(trits, head_dim)
        encoded = codec.encode(trits, float(source.scale))
        writer.write(tensor.name, encoded[:-I2_S_TAIL])
        meter.add(n_bytes * stop // rows - n_bytes * start // rows, tensor.name)
    # Every block was encoded with the tail of the whole tensor; it is written once, behind the last codes.
    writer.write(tensor.name, encoded[-I2_S_TAIL:])


def _write_dense(
    plan: ConversionPlan,
    tensor: PlannedTensor,
    codec: BlockCodec,
    writer: GGUFWriter,
    report: ConvertReport,
    meter: _Meter,
) -> None:
    checkpoint, name = plan.checkpoint, plan.names[tensor.name]
    info = checkpoint.tensors[name]
    rows, cols = matrix_shape(info)
    kind = report.kind(tensor.kind, codec.name)
    kind.count += 1
    for start, stop in row_blocks(rows, cols):
        values = checkpoint.float_rows(name, start, stop)
        if not np.isfinite(values).all():
            row = start + int(np.argwhere(~np.isfinite(values))[0, 0])
            raise FormatError(
                f"row {row} holds a value that is not a finite number",
                path=checkpoint.path_of(name),
                tensor=name,
            )
        try:
            encoded = codec.encode(values)
        except RepresentationError as error:
            raise RepresentationError(f"`{name}`: {error.message}", hint=error.hint) from None
        written = codec.decode(encoded, values.shape)
        kind.add_values(written, float(np.abs(written - values).max(initial=0.0)))
        writer.write(tensor.name, encoded)
        meter.add(info.n_bytes * stop // rows - info.n_bytes * start // rows, tensor.name)
