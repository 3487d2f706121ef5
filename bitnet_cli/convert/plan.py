"""What a checkpoint holds, under the names it will have, checked as far as possible before weights are read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bitnet_cli.convert.checkpoint import FLOAT_DTYPES, Checkpoint, matrix_shape, row_blocks
from bitnet_cli.convert.encodings import EncodingFinder
from bitnet_cli.convert.hf_names import PlannedTensor, bare_names, has_input_norms, match, tensor_plan
from bitnet_cli.convert.model_config import CheckpointConfig, read_config
from bitnet_cli.convert.pooling import is_silent
from bitnet_cli.errors import FormatError, UnsupportedError


@dataclass(frozen=True)
class ConversionPlan:
    """Everything that is known before weights are read.

    Attributes:
        tensors: what will be written, in file order.
        names: the checkpoint's name of each, by name in the file.
        finder: decides how a ternary matrix is stored.
    """

    checkpoint: Checkpoint
    config: CheckpointConfig
    tensors: list[PlannedTensor]
    names: dict[str, str]
    finder: EncodingFinder
    notes: list[str]

    def head_dim(self, tensor: PlannedTensor) -> int:
        """Rows of a head if the tensor's rows are interleaved by head, else 1."""
        return self.config.head_dim if tensor.permuted_heads else 1


def plan_conversion(checkpoint: Checkpoint, *, ternarize: bool) -> ConversionPlan:
    """Plans a conversion and checks names, shapes and types of all tensors.

    Args:
        checkpoint: what to convert.
        ternarize: accept float weights of a model that is not declared to be ternary.

    Raises:
        FormatError, UnsupportedError, RepresentationError: the checkpoint cannot be converted.
    """
    config = read_config(checkpoint.config, checkpoint.directory / "config.json")
    bare = bare_names(checkpoint.tensors)
    with_head = _has_own_head(checkpoint, config, bare)
    input_norms = config.quantization.input_norms or has_input_norms(config, bare)
    tensors = tensor_plan(config, with_head=with_head, input_norms=input_norms)
    names = match(tensors, bare, ignore_head=not with_head)
    # A norm for every projection is what models that are trained to be ternary have.
    finder = EncodingFinder(checkpoint, config.quantization, ternarize=ternarize or input_norms)
    notes = []
    if with_head and config.arch.sub_norms:
        notes.append(
            f"bitnet.cpp uses the embedding in place of `output.weight` in `{config.arch.name}` files"
        )
    if config.headless and is_silent(checkpoint):
        notes.append(
            "no `modules.json` says how vectors are made of texts; the mean over all tokens is assumed"
        )
    for tensor in tensors:
        if tensor.role == "ternary":
            finder.check(names[tensor.name], *tensor.shape)
        else:
            _check_dense(checkpoint, tensor, names[tensor.name])
    return ConversionPlan(checkpoint, config, tensors, names, finder, notes)


def _check_dense(checkpoint: Checkpoint, tensor: PlannedTensor, name: str) -> None:
    info = checkpoint.tensors[name]
    if info.dtype not in FLOAT_DTYPES:
        raise UnsupportedError(
            f"{checkpoint.path_of(name)}: `{name}` has the type {info.dtype}, not F32, F16 or BF16"
        )
    if info.shape != tensor.shape:
        raise FormatError(
            f"the shape is {list(info.shape)}, config.json implies {list(tensor.shape)}",
            path=checkpoint.path_of(name),
            tensor=name,
        )


def _has_own_head(checkpoint: Checkpoint, config: CheckpointConfig, bare: dict[str, str]) -> bool:
    """Whether the output matrix is another one than the embedding."""
    if config.tied:
        return False
    if "lm_head.weight" not in bare:
        if config.tied is None:
            return False
        raise FormatError("the checkpoint has no `lm_head.weight`, and `tie_word_embeddings` is false")
    embedding = bare.get("embed_tokens.weight")
    return embedding is None or not _equal(checkpoint, bare["lm_head.weight"], embedding)


def _equal(checkpoint: Checkpoint, first: str, second: str) -> bool:
    """Whether two tensors are the same, byte for byte."""
    a, b = checkpoint.tensors[first], checkpoint.tensors[second]
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        return False
    return all(
        np.array_equal(checkpoint.raw_rows(first, start, stop), checkpoint.raw_rows(second, start, stop))
        for start, stop in row_blocks(*matrix_shape(a))
    )
