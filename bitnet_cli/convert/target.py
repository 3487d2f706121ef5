"""What is written: the type of each tensor, and whether it can hold what the source has, before the first byte."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from bitnet_cli.convert.source import Pair, Source, SourceTensor
from bitnet_cli.errors import BitnetError, RepresentationError, UnsupportedError, UsageError, printable
from bitnet_cli.formats.codecs import CODECS, TERNARY_FLOATS, TERNARY_TYPES, Codec, codec_named
from bitnet_cli.formats.codecs.block_codec import BlockCodec
from bitnet_cli.formats.codecs.ternary_codec import TernaryCodec, regrouped
from bitnet_cli.formats.codecs.tiled_codec import TiledCodec
from bitnet_cli.formats.codecs.tiling import tiling_key, tiling_metadata
from bitnet_cli.formats.gguf_types import GGMLType
from bitnet_cli.formats.gguf_writer import TensorSpec

EMBED_TYPES = ("f16", "q8_0", "q6_k", "q4_0", "q2_0")
"""The last one holds tables that are ternary themselves, and no others."""
KEEP = "keep"
"""The embed type that leaves embedding and output matrix as they are."""

_FILE_TYPE = "general.file_type"
_QUANTIZATION = ("general.quantization_version", "u32", 2)


@dataclass(frozen=True)
class Outtype:
    """A type for ternary weights.

    Attributes:
        name: for `--outtype`, also the codec's.
        file_type: its `general.file_type`.
        scale_cols: columns that share a scale: 0 means all of the tensor, -1 all of a row.
    """

    name: str
    file_type: int
    scale_cols: int

    def codec(self, shape: Sequence[int]) -> TernaryCodec:
        """The codec for a matrix. Raises RepresentationError if the type cannot hold one of this shape."""
        found = TERNARY_FLOATS[GGMLType.F16] if self.name == "f16" else codec_named(self.name)
        assert not isinstance(found, BlockCodec)
        found.n_bytes(shape)
        return found

    def check_scales(self, codec: TernaryCodec, shape: Sequence[int], scales: np.ndarray) -> None:
        """Raises RepresentationError if the type cannot hold these scales; those of 0 are let pass."""
        stored = codec.stored_scales(scales)
        if self.scale_cols == 1 or (stored == stored[0, 0]).all():
            return
        rows, cols = int(shape[0]), int(shape[1])
        live = np.repeat(
            np.broadcast_to(stored != 0, (rows, stored.shape[1])), cols // stored.shape[1], axis=1
        )
        groups = {0: 0, -1: 1}.get(self.scale_cols) if self.scale_cols < 1 else cols // self.scale_cols
        assert groups is not None
        regrouped(np.broadcast_to(stored, (rows, stored.shape[1])), live.view(np.int8), groups, self.name)


OUTTYPES: dict[str, Outtype] = {
    each.name: each
    for each in (
        Outtype("i2_s", 40, 0),
        Outtype("tl1", 38, 0),
        Outtype("tl2", 39, 0),
        Outtype("tq1_0", 36, 256),
        Outtype("tq2_0", 37, 256),
        Outtype("q2_0", 41, 64),
        Outtype("iq2_bn", 137, -1),
        Outtype("f16", 1, 1),
    )
}
"""In the order in which they are proposed where another cannot hold a model."""


@dataclass(frozen=True)
class TargetTensor:
    """A tensor and how it is written.

    Attributes:
        type: its number in the file.
        codec: None if it is copied and nothing here reads its type.
        ternary: it is written as trits and scales.
    """

    source: SourceTensor
    type: int
    codec: Codec | None
    ternary: bool = False


class Target:
    """The types of a file to be written.

    Args:
        outtype: of ternary weights, one of OUTTYPES.
        embed_type: of the embedding and the output matrix: one of EMBED_TYPES, or KEEP.

    Raises:
        UsageError: one of them is not known.
    """

    def __init__(self, outtype: str, embed_type: str) -> None:
        if outtype not in OUTTYPES:
            raise UsageError(
                f"`{printable(outtype)}` is not a type for ternary weights",
                hint=f"choose one of {_listed(OUTTYPES)}",
            )
        if embed_type != KEEP and embed_type not in EMBED_TYPES:
            raise UsageError(
                f"`{printable(embed_type)}` is not a type for embeddings",
                hint=f"choose one of {_listed([*EMBED_TYPES, KEEP])}",
            )
        self.outtype = OUTTYPES[outtype]
        self._embed = None if embed_type == KEEP else codec_named(embed_type)

    def plan(self, source: Source) -> list[TargetTensor]:
        """How each tensor of a source is written.

        Raises:
            RepresentationError: a type cannot hold a tensor, as far as its shape and known scales tell.
            UnsupportedError: there is nothing ternary.
        """
        if not any(tensor.role == "ternary" for tensor in source.tensors):
            raise UnsupportedError(
                f"{source.path} holds no ternary weights",
                hint="`bitnet inspect FILE` shows what is in a file",
            )
        return [self._planned(source, tensor) for tensor in source.tensors]

    def metadata(self, pairs: Sequence[Pair], planned: Sequence[TargetTensor]) -> list[Pair]:
        """The source's metadata with those keys that say how the weights are stored."""
        changed: dict[str, Pair] = {
            _FILE_TYPE: (_FILE_TYPE, "u32", self.outtype.file_type),
            _QUANTIZATION[0]: _QUANTIZATION,
        }
        tiled = {each.source.matrix: each.codec for each in planned if isinstance(each.codec, TiledCodec)}
        if tiled:
            type_id = next(iter(tiled.values())).type_id
            tilings = {shape: codec.tiling_for(shape) for shape, codec in tiled.items()}
            changed[tiling_key(type_id)] = tiling_metadata(type_id, tilings)
        kept = [changed.pop(pair[0], pair) for pair in pairs]
        return [*kept, *changed.values()]

    def located(
        self, source: Source, tensor: SourceTensor, error: RepresentationError
    ) -> RepresentationError:
        """An error of a codec with the tensor's name, and a hint at the types that can hold the model."""
        message = f"`{printable(source.stored_name(tensor))}`: {error.message}"
        if tensor.role != "ternary":
            return RepresentationError(message, hint=error.hint)
        able = [f"`--outtype {each.name}`" for each in OUTTYPES.values() if self._able(each, source, tensor)]
        hint = (
            f"{', '.join(able[:-1])}{' or ' if len(able) > 1 else ''}{able[-1]} can hold it"
            if able
            else error.hint
        )
        return RepresentationError(message, hint=hint)

    def _able(self, outtype: Outtype, source: Source, tensor: SourceTensor) -> bool:
        """Whether a type can hold all ternary tensors, as far as is known without reading all weights."""
        if outtype == self.outtype:
            return False
        try:
            for each in source.tensors:
                if each.role == "ternary":
                    codec = outtype.codec(each.shape)
                    scales = source.known_scales(each)
                    if scales is None and each is tensor:
                        scales = source.ternary(each).scales
                    if scales is not None:
                        outtype.check_scales(codec, each.shape, scales)
        except BitnetError:
            return False
        return True

    def _planned(self, source: Source, tensor: SourceTensor) -> TargetTensor:
        try:
            if tensor.role == "ternary":
                codec = self.outtype.codec(tensor.shape)
                scales = source.known_scales(tensor)
                if scales is not None:
                    self.outtype.check_scales(codec, tensor.shape, scales)
                return TargetTensor(tensor, codec.type_id, codec, ternary=True)
            if tensor.role == "embedding" and self._embed is not None:
                self._embed.n_bytes(tensor.shape)
                is_ternary = not isinstance(self._embed, BlockCodec)
                return TargetTensor(tensor, self._embed.type_id, self._embed, is_ternary)
        except RepresentationError as error:
            if tensor.role == "embedding":
                error = RepresentationError(error.message, hint="`--embed-type f16` holds any size")
            raise self.located(source, tensor, error) from None
        if tensor.role == "embedding" and tensor.kept in TERNARY_TYPES and source.raw(tensor) is None:
            raise RepresentationError(
                f"`{printable(source.stored_name(tensor))}` is ternary and cannot be kept: its bytes say its weights only "
                "together with the tiling, layout or scale tensor of its file",
                hint="`--embed-type f16` writes its values",
            )
        kept = next((each for each in CODECS if each.type_id == tensor.kept), None)
        return TargetTensor(tensor, tensor.kept, kept)


def specs(planned: Iterable[TargetTensor]) -> list[TensorSpec]:
    """The tensor table of the file."""
    return [TensorSpec(each.source.name, each.source.shape, each.type) for each in planned]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
