"""A GGUF file as a source: metadata and dense tensors carried over, ternary matrices in whatever type they are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from bitnet_cli.convert.source import Pair, SourceTensor, TernaryWeights
from bitnet_cli.errors import BitnetError, FormatError, RepresentationError, UnsupportedError, printable
from bitnet_cli.formats.codecs import (
    TERNARY_FLOATS,
    TERNARY_TYPES,
    CodecFor,
    codec,
    is_bare,
    ternary_codec_for,
)
from bitnet_cli.formats.codecs.block_codec import BlockCodec
from bitnet_cli.formats.codecs.i2_s import I2SArm
from bitnet_cli.formats.codecs.ternary_codec import refuse_infinite
from bitnet_cli.formats.file_mapping import located
from bitnet_cli.formats.gguf_reader import GGUFReader, TensorInfo, refuse_parts
from bitnet_cli.formats.gguf_types import GGMLType, type_name
from bitnet_cli.formats.scales import simplest
from bitnet_cli.formats.tensor_roles import role_of
from bitnet_cli.text.repairs import repair

_TILING = re.compile(r"bitnet_cli\.tl[12]\.tiling")


class GGUFSource:
    """A Source on a GGUF file.

    Args:
        path: the file.
        codec_for: how ternary tensors are read, for files that do not say all about themselves.

    Raises:
        BitnetError: the file cannot be read.
        FormatError, UnsupportedError: it is damaged, or a part of a model in several files.
    """

    def __init__(self, path: Path, codec_for: CodecFor = ternary_codec_for) -> None:
        self.path = path
        self.reader = GGUFReader(path)
        self.codec_for = codec_for
        self.alignment = self.reader.alignment
        self.architecture = str(self.reader.metadata.get("general.architecture", ""))
        self.notes: list[str] = []
        self._decoded: tuple[str, TernaryWeights] | None = None
        try:
            refuse_parts(self.reader)
            self._factors = dict(self._scale_tensors())
        except BaseException:
            self.close()
            raise
        own = [info for name, info in self.reader.tensors.items() if name not in self.scale_tensors]
        self.tensors = [self._tensor(info) for info in own]

    @property
    def scale_tensors(self) -> set[str]:
        """Tensors that are no tensors of their own here, but the scales of others."""
        return set(self._factors.values())

    def metadata(self) -> list[Pair]:
        """The file's own keys in their order, known faults of published files repaired; without tilings."""
        meta, notes = repair(self.reader.metadata)
        self.notes += notes
        return [(key, self._value_type(meta, key), meta[key]) for key in meta if not _TILING.fullmatch(key)]

    def known_scales(self, tensor: SourceTensor) -> np.ndarray | None:
        """The scales; None of float matrices, whose values tell them."""
        if tensor.kept in TERNARY_FLOATS:
            return None
        info = self.reader.tensors[tensor.name]
        with located(self.path, tensor.name):
            scales = self.codec_for(self.reader, info).scales(self.reader.data(tensor.name), info.shape)
        self.done(tensor)
        return self._multiplied(simplest(scales, info.shape[-1]), tensor.name)

    def ternary(self, tensor: SourceTensor) -> TernaryWeights:
        """A ternary matrix of any type, its scales as few as possible.

        Raises:
            RepresentationError: a table of tokens that is not ternary.
        """
        info = self.reader.tensors[tensor.name]
        try:
            found = self.codec_for(self.reader, info)
            with located(self.path, tensor.name):
                trits, scales = found.decode(self.reader.data(tensor.name), info.shape)
        except UnsupportedError:
            if tensor.role != "embedding":
                raise
            raise RepresentationError(
                "its values are not ternary", hint="`--embed-type f16` holds any values"
            ) from None
        scales = simplest(scales, info.shape[-1], lambda: trits)
        return TernaryWeights(trits, self._multiplied(scales, tensor.name), type_name(info.type).lower())

    def raw(self, tensor: SourceTensor) -> np.ndarray | None:
        """The bytes of the tensor, a view of the file; None if they do not say its weights without something else in the
        file: a scale tensor, a tiling, or the layout that it is read with."""
        info = self.reader.tensors[tensor.name]
        if tensor.role != "embedding":
            return self.reader.data(tensor.name)
        if tensor.name in self._factors or info.type in (GGMLType.TL1, GGMLType.TL2):
            return None
        if info.type == GGMLType.I2_S and isinstance(self.codec_for(self.reader, info), I2SArm):
            return None
        return self.reader.data(tensor.name)

    def rows(self, tensor: SourceTensor, start: int, stop: int) -> np.ndarray:
        """Rows of a tensor whose type can be read."""
        info = self.reader.tensors[tensor.name]
        if tensor.kept in TERNARY_TYPES:
            return self._ternary_rows(tensor, start, stop)
        found = codec(info.type)
        assert isinstance(found, BlockCodec)
        row_bytes = found.n_bytes(info.shape[-1:])
        with located(self.path, tensor.name):
            data = self.reader.data(tensor.name)[start * row_bytes : stop * row_bytes]
            return found.decode(data, (stop - start, info.shape[-1]))

    def stored_name(self, tensor: SourceTensor) -> str:
        """The tensor's name, which stays the same."""
        return tensor.name

    def error(self, tensor: SourceTensor, message: str) -> FormatError:
        """A FormatError with the file and the tensor."""
        return FormatError(message, path=self.path, tensor=tensor.name)

    def done(self, tensor: SourceTensor) -> None:
        """Gives back the pages of the tensor."""
        self.reader.advise_done(tensor.name)

    def close(self) -> None:
        """Gives the file up."""
        self.reader.close()

    def __enter__(self) -> GGUFSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _scale_tensors(self) -> Iterator[tuple[str, str]]:
        """Ternary tensors and the tensors `blk.N.x.scale` that some files keep their scale in."""
        for name, info in self.reader.tensors.items():
            scale = name.removesuffix("weight") + "scale"
            if (role_of(info) == "ternary" or info.type in TERNARY_TYPES) and name.endswith(".weight"):
                if scale in self.reader.tensors:
                    yield name, scale
                elif is_bare(info):
                    raise FormatError(
                        f"the tensor has no scales, and there is no `{printable(scale)}` beside it",
                        path=self.path,
                        tensor=name,
                    )

    def _multiplied(self, scales: np.ndarray, name: str) -> np.ndarray:
        """Scales of a matrix times what stands in a tensor of its own beside it, if there is one."""
        if name not in self._factors:
            return scales
        info = self.reader.tensors[self._factors[name]]
        if info.type != GGMLType.F32 or info.n_values != 1:
            raise UnsupportedError(f"{self.path}: `{printable(info.name)}` is not one F32 scale")
        with np.errstate(over="ignore"), located(self.path, name):
            product: np.ndarray = scales * self.reader.data(info.name).view("<f4")[0]
            refuse_infinite(product)
        return product

    def _tensor(self, info: TensorInfo) -> SourceTensor:
        return SourceTensor(info.name, info.shape, role_of(info), info.type, info.n_bytes)

    def _ternary_rows(self, tensor: SourceTensor, start: int, stop: int) -> np.ndarray:
        """Rows of a ternary embedding, which is decoded whole and kept until another one is asked for."""
        if self._decoded is None or self._decoded[0] != tensor.name:
            self._decoded = None
            self._decoded = (tensor.name, self.ternary(tensor))
        return values_of(self._decoded[1], start, stop)

    def _value_type(self, meta: Mapping[str, object], key: str) -> str:
        """The type of a value, as the file has it, or as values that repairs add are usually stored."""
        if key in self.reader.metadata:
            return self.reader.value_type(key)
        return {str: "string", int: "u32"}[type(meta[key])]


def values_of(weights: TernaryWeights, start: int, stop: int) -> np.ndarray:
    """Rows of a ternary matrix as the floats that they stand for: float32 [stop - start, cols]."""
    trits, scales = weights.trits[start:stop], weights.scales
    scales = scales[start:stop] if len(scales) > 1 else scales
    groups = trits.reshape(stop - start, scales.shape[1], -1)
    values: np.ndarray = (groups * scales[:, :, None]).reshape(trits.shape)
    return values


def is_gguf(path: Path) -> bool:
    """Whether a path names a file and not a checkpoint directory; raises BitnetError if it names nothing."""
    if path.is_dir():
        return False
    if not path.exists():
        raise BitnetError(
            f"{path} does not exist",
            hint="give a directory with config.json and *.safetensors files, or a GGUF file",
        )
    return True
