"""A checkpoint directory as a source: the names, order and row order of GGUF, weights ternarised if they are masters."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bitnet_cli.convert.checkpoint import Checkpoint, row_blocks
from bitnet_cli.convert.encodings import TernarySource
from bitnet_cli.convert.head_rows import interleaved
from bitnet_cli.convert.hf_names import PlannedTensor
from bitnet_cli.convert.metadata import file_metadata
from bitnet_cli.convert.plan import plan_conversion
from bitnet_cli.convert.source import Pair, SourceTensor, TernaryWeights
from bitnet_cli.convert.tokenizer_metadata import read_tokenizer
from bitnet_cli.errors import FormatError, RepresentationError
from bitnet_cli.formats.gguf_types import DEFAULT_ALIGNMENT, GGMLType
from bitnet_cli.formats.tensor_roles import Role

_TYPES = {"F32": GGMLType.F32, "F16": GGMLType.F16, "BF16": GGMLType.BF16}


class CheckpointSource:
    """A Source on a directory with config.json, safetensors and tokenizer files.

    Args:
        directory: the checkpoint.
        ternarize: round float weights also if config.json does not say that the model is ternary.

    Raises:
        BitnetError: any of its kinds; the checkpoint cannot be converted.
    """

    alignment = DEFAULT_ALIGNMENT

    def __init__(self, directory: Path, *, ternarize: bool = False) -> None:
        self.path = directory
        self._checkpoint = Checkpoint(directory)
        try:
            self._plan = plan_conversion(self._checkpoint, ternarize=ternarize)
            self._planned = {tensor.name: tensor for tensor in self._plan.tensors}
            self.architecture = self._plan.config.arch.name
            self.tensors = [self._tensor(tensor) for tensor in self._plan.tensors]
            self.notes = list(self._plan.notes)
            # A checkpoint that is not ternary is told by its first matrix, before anything is written.
            first = next(tensor for tensor in self._plan.tensors if tensor.role == "ternary")
            self._plan.finder.find(self._plan.names[first.name], *first.shape)
        except BaseException:
            self.close()
            raise

    def metadata(self) -> list[Pair]:
        """All keys of the file. The vocabulary, the largest thing in memory, is read here and not kept."""
        tokenizer = read_tokenizer(self._checkpoint, self._plan.config.vocab_size)
        self.notes += tokenizer.notes
        return file_metadata(self._checkpoint, self._plan.config, tokenizer)

    def known_scales(self, tensor: SourceTensor) -> np.ndarray | None:
        """The scales that are stored; None where they follow from the weights."""
        name = self._plan.names[tensor.name]
        return self._plan.finder.stored_scales(name, tensor.matrix[0])

    def ternary(self, tensor: SourceTensor) -> TernaryWeights:
        """A matrix with its rows in the order of the file."""
        planned = self._planned[tensor.name]
        rows, cols = tensor.matrix
        found = self._found(planned, rows, cols)
        trits, error = np.empty((rows, cols), np.int8), 0.0
        for start, stop in row_blocks(rows, cols):
            trits[start:stop] = found.trits(start, stop)
            error = max(error, found.largest_error(trits[start:stop], start, stop))
        scales = found.scales
        if planned.permuted_heads:
            head_dim = self._plan.head_dim(planned)
            trits = interleaved(trits, head_dim)
            scales = interleaved(scales, head_dim) if len(scales) > 1 else scales
        return TernaryWeights(trits, scales, found.encoding, error)

    def _found(self, planned: PlannedTensor, rows: int, cols: int) -> TernarySource:
        """How a matrix is stored; a table of tokens is never made ternary, only found to be."""
        name = self._plan.names[planned.name]
        if planned.role != "embedding":
            return self._plan.finder.find(name, rows, cols)
        found = self._plan.finder.find_floats(name, rows, cols)
        if found is None:
            raise RepresentationError(
                "its values are not ternary", hint="`--embed-type f16` holds any values"
            )
        return found

    def raw(self, tensor: SourceTensor) -> np.ndarray | None:
        """None: everything is encoded anew."""
        return None

    def rows(self, tensor: SourceTensor, start: int, stop: int) -> np.ndarray:
        """Rows of a float tensor."""
        values = self._checkpoint.float_rows(self._plan.names[tensor.name], start, stop)
        offset = self._planned[tensor.name].offset
        return values + np.float32(offset) if offset else values

    def stored_name(self, tensor: SourceTensor) -> str:
        """The tensor's name in the checkpoint."""
        return self._plan.names[tensor.name]

    def error(self, tensor: SourceTensor, message: str) -> FormatError:
        """A FormatError with the shard and the tensor's name in the checkpoint."""
        name = self.stored_name(tensor)
        return FormatError(message, path=self._checkpoint.path_of(name), tensor=name)

    def done(self, tensor: SourceTensor) -> None:
        """Nothing: the checkpoint gives memory back as it goes."""

    def close(self) -> None:
        """Gives the mapped files up."""
        self._checkpoint.close()

    def __enter__(self) -> CheckpointSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tensor(self, planned: PlannedTensor) -> SourceTensor:
        info = self._checkpoint.tensors[self._plan.names[planned.name]]
        role: Role = "other" if planned.role == "norm" else planned.role
        kept = _TYPES.get(info.dtype, GGMLType.F32) if role == "embedding" else GGMLType.F32
        return SourceTensor(planned.name, planned.shape, role, kept, info.n_bytes)
