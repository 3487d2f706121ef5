"""What a conversion will write, checked as far as possible before the first byte is written."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bitnet_cli.convert.checkpoint import FLOAT_DTYPES, Checkpoint, matrix_shape, row_blocks
from bitnet_cli.convert.encodings import EncodingFinder
from bitnet_cli.convert.hf_names import PlannedTensor, bare_names, match, tensor_plan
from bitnet_cli.convert.model_config import CheckpointConfig, read_config
from bitnet_cli.errors import FormatError, RepresentationError, UnsupportedError, UsageError, printable
from bitnet_cli.formats.codecs import Codec, codec_named
from bitnet_cli.formats.codecs.block_codec import BlockCodec
from bitnet_cli.formats.gguf_types import I2_S_COLS
from bitnet_cli.formats.gguf_writer import TensorSpec

EMBED_TYPES = ("f16", "q8_0", "q6_k")


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
    embed_codec: BlockCodec
    notes: list[str]

    def codec(self, tensor: PlannedTensor) -> Codec:
        """How a tensor is stored in the file."""
        if tensor.role == "embedding":
            return self.embed_codec
        return codec_named("i2_s" if tensor.role == "ternary" else "f32")

    def specs(self) -> list[TensorSpec]:
        return [
            TensorSpec(tensor.name, tensor.shape, int(self.codec(tensor).type_id)) for tensor in self.tensors
        ]

    def source_bytes(self) -> int:
        """Bytes of the checkpoint that will be read."""
        return sum(self.checkpoint.tensors[name].n_bytes for name in self.names.values())

    def head_dim(self, tensor: PlannedTensor) -> int:
        """Rows of a head if the tensor's rows are interleaved by head, else 1."""
        return self.config.head_dim if tensor.permuted_heads else 1


def plan_conversion(checkpoint: Checkpoint, embed_type: str, *, ternarize: bool) -> ConversionPlan:
    """Plans a conversion and checks names, shapes and types of all tensors.

    Args:
        checkpoint: what to convert.
        embed_type: how the embedding and the output matrix are stored, one of EMBED_TYPES.
        ternarize: accept float weights of a model that is not declared to be ternary.

    Raises:
        UsageError: `embed_type` is not one of them.
        FormatError, UnsupportedError, RepresentationError: the checkpoint cannot be converted.
    """
    codec = codec_named(embed_type) if embed_type in EMBED_TYPES else None
    if not isinstance(codec, BlockCodec):
        known = ", ".join(f"`{name}`" for name in EMBED_TYPES)
        raise UsageError(
            f"`{printable(embed_type)}` is not a type for embeddings", hint=f"choose one of {known}"
        )
    config = read_config(checkpoint.config, checkpoint.directory / "config.json")
    bare = bare_names(checkpoint.tensors)
    with_head = _has_own_head(checkpoint, config, bare)
    tensors = tensor_plan(config, with_head=with_head)
    names = match(tensors, bare, ignore_head=not with_head)
    finder = EncodingFinder(checkpoint, config.quantization, ternarize=ternarize)
    notes = []
    if with_head and config.arch.sub_norms:
        notes.append(
            f"bitnet.cpp uses the embedding in place of `output.weight` in `{config.arch.name}` files"
        )
    for tensor in tensors:
        if tensor.role == "ternary":
            _check_ternary(checkpoint, finder, tensor, names[tensor.name])
        else:
            _check_dense(checkpoint, tensor, names[tensor.name], codec)
    return ConversionPlan(checkpoint, config, tensors, names, finder, codec, notes)


def _check_ternary(checkpoint: Checkpoint, finder: EncodingFinder, tensor: PlannedTensor, name: str) -> None:
    rows, cols = tensor.shape
    if cols % I2_S_COLS:
        raise RepresentationError(
            f"`{name}` has {cols} columns, and I2_S needs a multiple of {I2_S_COLS}",
            hint="no option can hold it yet; "
            + (
                "`iq2_bn` of ik_llama.cpp could (multiples of 64)"
                if cols % 64 == 0
                else "a padded format could"
            ),
        )
    finder.check(name, rows, cols)


def _check_dense(checkpoint: Checkpoint, tensor: PlannedTensor, name: str, codec: BlockCodec) -> None:
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
    if tensor.role == "embedding" and tensor.shape[-1] % codec.block:
        raise RepresentationError(
            f"`{name}` has rows of {tensor.shape[-1]}, and {codec.name} needs a multiple of {codec.block}",
            hint="`--embed-type f16` holds any size",
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
