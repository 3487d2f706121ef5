"""From a checkpoint or a GGUF file to a GGUF file: plan, stream, write; one matrix in memory at a time.

The file grows under a temporary name. With `verify` it is read back and compared with its source before it takes its
real name, so a file with that name is a file that was right.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bitnet_cli.convert.checkpoint import model_name, row_blocks
from bitnet_cli.convert.checkpoint_source import CheckpointSource
from bitnet_cli.convert.gguf_source import GGUFSource, is_gguf
from bitnet_cli.convert.report import ConvertReport
from bitnet_cli.convert.source import Source, SourceTensor
from bitnet_cli.convert.target import KEEP, OUTTYPES, Target, TargetTensor, specs
from bitnet_cli.convert.verification import verify_file
from bitnet_cli.errors import BitnetError, RepresentationError, UsageError, printable, with_hint
from bitnet_cli.formats.codecs import CodecFor, ternary_codec_for
from bitnet_cli.formats.codecs.block_codec import BlockCodec
from bitnet_cli.formats.codecs.ternary_codec import TernaryCodec
from bitnet_cli.formats.gguf_types import type_name
from bitnet_cli.formats.gguf_writer import GGUFWriter

DEFAULT_OUTTYPE = "i2_s"
_INCOMPLETE = "a complete Hugging Face checkpoint is needed: download it again"
_DAMAGED = "the file is damaged: download or convert it again; `bitnet verify FILE` lists all that is wrong"


@dataclass(frozen=True)
class Progress:
    """How far a conversion has come, in bytes of the source."""

    done_bytes: int
    total_bytes: int
    tensor: str


def convert(
    src: Path,
    out: Path,
    *,
    outtype: str = DEFAULT_OUTTYPE,
    embed_type: str | None = None,
    overwrite: bool = False,
    verify: bool = False,
    ternarize: bool = False,
    codec_for: CodecFor = ternary_codec_for,
    progress: Callable[[Progress], None] | None = None,
) -> ConvertReport:
    """Convert a checkpoint or a GGUF file into a GGUF file.

    Args:
        src: directory with config.json, safetensors and tokenizer files, or a GGUF file.
        out: the file to make.
        outtype: how ternary weights are stored, one of target.OUTTYPES.
        embed_type: how the embedding and the output matrix are stored, one of target.EMBED_TYPES or `keep`; None for
            `f16` from a checkpoint and `keep` from a GGUF file.
        overwrite: replace `out` if it exists.
        verify: read the file again and compare every weight with the source.
        ternarize: round float weights also if config.json does not say that the model is ternary.
        codec_for: finds the codecs of a GGUF file's ternary tensors.
        progress: called often with how far the work has come.

    Raises:
        BitnetError: any of its kinds; `out` is then as it was before.
    """
    started = time.monotonic()
    from_gguf = is_gguf(src)
    target = Target(outtype, embed_type or (KEEP if from_gguf else "f16"))
    if not overwrite and out.exists() and out.samefile(src):
        raise UsageError(
            f"{out} is the file that is read",
            hint="name another one with `-o FILE`, or replace it with `--force`",
        )
    _refuse_existing(out, overwrite)
    with (
        with_hint(_DAMAGED if from_gguf else _INCOMPLETE),
        open_source(src, ternarize=ternarize, codec_for=codec_for) as source,
    ):
        planned = target.plan(source)
        report = ConvertReport(out, source.architecture, outtype)
        total = sum(tensor.n_bytes for tensor in source.tensors)
        meter = _Meter(total * (2 if verify else 1), progress)
        # With verification the file gets its name last, after it has been proved.
        path = out.with_name(f".{out.name}.{secrets.token_hex(4)}.unverified") if verify else out
        try:
            _write(source, target, planned, path, report, meter, overwrite=overwrite)
            report.notes = [*source.notes, *report.notes]
            if verify:
                verify_file(path, source, planned, report, meter.add)
                _refuse_existing(out, overwrite)  # The conversion took its time.
                os.replace(path, out)
                report.verified = True
        finally:
            if verify:
                path.unlink(missing_ok=True)
    report.finish(out.stat().st_size, time.monotonic() - started)
    return report


def open_source(
    src: Path, *, ternarize: bool = False, codec_for: CodecFor = ternary_codec_for
) -> CheckpointSource | GGUFSource:
    """The source at a path: a checkpoint directory or a GGUF file."""
    if not is_gguf(src):
        with with_hint(_INCOMPLETE):
            return CheckpointSource(src, ternarize=ternarize)
    if ternarize:
        raise UsageError(
            "`--ternarize` rounds the float weights of a checkpoint, not those of a GGUF file",
            hint="convert the directory that the file was made from",
        )
    return GGUFSource(src, codec_for)


def default_output(src: Path, outtype: str = DEFAULT_OUTTYPE) -> Path:
    """Where the file goes if nobody says: the model's name and its type, in the current directory."""
    name = model_name(src)
    if src.is_file():
        types = "|".join(re.escape(each) for each in OUTTYPES)
        name = re.sub(rf"[-_.]({types})$", "", src.stem, flags=re.IGNORECASE) or "model"
    return Path(f"{name}-{outtype}.gguf")


def _refuse_existing(out: Path, overwrite: bool) -> None:
    if os.path.isdir(out):
        raise BitnetError(f"{out} is a directory", hint="name a file: `-o FILE`")
    if os.path.lexists(out) and not overwrite:
        raise BitnetError(f"{out} exists already", hint="add `--force` to replace it")
    if out.exists() and not out.is_file():
        raise BitnetError(f"{out} is a device or a pipe, not a file", hint="name a file: `-o FILE`")


class _Meter:
    """Adds up what was done and tells it."""

    def __init__(self, total_bytes: int, progress: Callable[[Progress], None] | None) -> None:
        self._total, self._done, self._progress = total_bytes, 0, progress

    def add(self, n_bytes: int, tensor: str) -> None:
        self._done += n_bytes
        if self._progress is not None:
            self._progress(Progress(self._done, self._total, tensor))


def _write(
    source: Source,
    target: Target,
    planned: list[TargetTensor],
    path: Path,
    report: ConvertReport,
    meter: _Meter,
    *,
    overwrite: bool,
) -> None:
    """Writes the whole file and fills the report."""
    metadata = target.metadata(source.metadata(), planned)
    with GGUFWriter(
        path, metadata, specs(planned), alignment=source.alignment, overwrite=overwrite
    ) as writer:
        del metadata  # The vocabulary, the largest thing in memory, is in the file.
        for each in planned:
            try:
                if each.ternary:
                    assert each.codec is not None and not isinstance(each.codec, BlockCodec)
                    _write_ternary(source, each.source, each.codec, writer, report)
                    meter.add(each.source.n_bytes, each.source.name)
                else:
                    _write_dense(source, each, writer, report, meter)
            except RepresentationError as error:
                raise target.located(source, each.source, error) from None
            source.done(each.source)


def _write_ternary(
    source: Source, tensor: SourceTensor, codec: TernaryCodec, writer: GGUFWriter, report: ConvertReport
) -> None:
    weights = source.ternary(tensor)
    stored = codec.stored_scales(weights.scales)
    writer.write(tensor.name, codec.encode(weights.trits, weights.scales))
    report.add_ternary(tensor.kind, codec.name, weights, stored)


def _write_dense(
    source: Source, planned: TargetTensor, writer: GGUFWriter, report: ConvertReport, meter: _Meter
) -> None:
    tensor, codec = planned.source, planned.codec
    raw = source.raw(tensor) if planned.type == tensor.kept else None
    if not isinstance(codec, BlockCodec):
        assert raw is not None
        writer.write(tensor.name, raw)
        report.kind(tensor.kind, type_name(tensor.kept).lower()).add_copied(tensor.shape)
        meter.add(tensor.n_bytes, tensor.name)
        return
    kind = report.kind(tensor.kind, codec.name)
    kind.count += 1
    row_bytes = codec.n_bytes(tensor.shape[-1:])
    for start, stop, n_bytes in _blocks(tensor):
        values = source.rows(tensor, start, stop)
        if start == 0 and tensor.role == "embedding" and raw is None and _is_ternary(values):
            report.notes.append(
                f"`{printable(source.stored_name(tensor))}` is ternary itself: `--embed-type q2_0` holds it exactly, in a "
                "seventh of the bytes of f16"
            )
        if not np.isfinite(values).all():
            row = start + int(np.argwhere(~np.isfinite(values))[0, 0])
            raise source.error(tensor, f"row {row} holds a value that is not a finite number")
        if raw is not None:
            encoded, written = raw[start * row_bytes : stop * row_bytes], values
        else:
            encoded = codec.encode(values)
            written = codec.decode(encoded, values.shape)
        kind.add_values(written, float(np.abs(written - values).max(initial=0.0)))
        writer.write(tensor.name, encoded)
        meter.add(n_bytes, tensor.name)
        source.done(tensor)  # Not at the end: an embedding may be larger than all else together.


def _is_ternary(values: np.ndarray) -> bool:
    """Whether rows of a table, float32 [rows, cols], hold 0 and one magnitude in each 64 columns."""
    if values.shape[1] % 64 or not values.any():
        return False
    magnitudes = np.abs(values).reshape(len(values), -1, 64)
    return bool(((magnitudes == 0) | (magnitudes == magnitudes.max(axis=2, keepdims=True))).all())


def _blocks(tensor: SourceTensor) -> Iterator[tuple[int, int, int]]:
    """Blocks of rows and the bytes of the source that each takes."""
    rows, cols = tensor.matrix
    for start, stop in row_blocks(rows, cols):
        yield start, stop, tensor.n_bytes * stop // rows - tensor.n_bytes * start // rows
