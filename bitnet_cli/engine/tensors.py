"""The tensors of a file as a model takes them: found by name, held against the shapes it expects, packed for the kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from bitnet_cli.errors import FormatError, UnsupportedError, printable
from bitnet_cli.formats.codecs import READ_ONLY_CODECS, TERNARY_TYPES, CodecFor, codec, is_bare
from bitnet_cli.formats.codecs.q2_0 import Q2_0
from bitnet_cli.formats.codecs.ternary_codec import refuse_infinite
from bitnet_cli.formats.codecs.ternary_floats import TernaryFloats
from bitnet_cli.formats.codecs.tiled_codec import TiledCodec
from bitnet_cli.formats.file_mapping import located
from bitnet_cli.formats.gguf_reader import GGUFReader, TensorInfo
from bitnet_cli.formats.gguf_types import GGMLType, type_name
from bitnet_cli.formats.scales import simplest
from bitnet_cli.native import Context, DenseMatrix, Layout, NotTernaryError, TernaryMatrix, lib

DENSE_TYPES = (GGMLType.F32, GGMLType.F16, GGMLType.BF16, GGMLType.Q8_0, GGMLType.Q6_K, GGMLType.Q4_0)
_READ_ONLY = {int(each.type_id): each for each in READ_ONLY_CODECS}
"""Types that the kernels do not know: they become floats once, in memory."""


@dataclass(frozen=True)
class Dense:
    """A dense matrix as GGUF stores it: the embedding, or what a head is packed from."""

    type: int
    data: np.ndarray
    """uint8, a view of the mapped file, or of floats that were decoded from it."""
    rows: int
    cols: int


class Tensors:
    """Takes tensors out of a file by name, checks them, and remembers which were taken.

    Args:
        reader: the file.
        ctx: what matrices are packed for; None if none will be.
        codec_for: how ternary tensors are read.
    """

    def __init__(self, reader: GGUFReader, ctx: Context | None, codec_for: CodecFor) -> None:
        self.reader, self.ctx, self.codec_for = reader, ctx, codec_for
        self.left = set(reader.tensors)
        self.has_input_norms = any(name.endswith("_norm_in.weight") for name in reader.tensors)
        """One is enough: a file that has not all of them is damaged, and says so at the first that is missing."""

    def info(self, name: str, *shape: int) -> TensorInfo:
        info = self.reader.tensors.get(name)
        if info is None:
            raise FormatError(
                "the file has no such tensor",
                path=self.reader.path,
                tensor=name,
                hint="`bitnet inspect` lists what it has",
            )
        if shape and info.shape != shape:
            raise FormatError(
                f"expected the shape {shape}, found {info.shape}", path=self.reader.path, tensor=name
            )
        if not shape and len(info.shape) != 2:
            raise FormatError(
                f"expected a matrix, found the shape {info.shape}", path=self.reader.path, tensor=name
            )
        self.left.discard(name)
        return info

    def vector(self, name: str, n: int) -> np.ndarray:
        """A norm's weights, float32 [n]."""
        info = self.info(name, n)
        if info.type not in (GGMLType.F32, GGMLType.F16, GGMLType.BF16):
            raise UnsupportedError(
                f"{self.reader.path}: `{name}` of type {type_name(info.type)} is not supported for a norm"
            )
        values = np.array(codec(info.type).decode(self.reader.data(name), info.shape), np.float32)
        if not np.isfinite(values).all():
            raise FormatError("a norm has weights that are not finite", path=self.reader.path, tensor=name)
        return values

    def embedding(self, name: str, rows: int, cols: int) -> Dense | DenseMatrix:
        if self.info(name, rows, cols).type in (*TERNARY_TYPES, *_READ_ONLY):
            return self.head(name, rows, cols)
        return self.dense(name, rows, cols)

    def dense(self, name: str, rows: int, cols: int) -> Dense:
        info = self.info(name, rows, cols)
        if info.type not in DENSE_TYPES:
            known = ", ".join([*(type_name(t) for t in (*DENSE_TYPES, *_READ_ONLY)), "ternary"])
            raise UnsupportedError(
                f"{self.reader.path}: `{name}` of type {type_name(info.type)} is not supported",
                hint=f"embeddings and heads can be {known}",
            )
        return Dense(int(info.type), self.reader.data(name), rows, cols)

    def decoded(self, name: str, rows: int, cols: int) -> Dense | None:
        """A matrix of a type that the kernels do not know, as float32; None if they know it."""
        info = self.info(name, rows, cols)
        if info.type not in _READ_ONLY:
            return None
        with located(self.reader.path, name):
            values = _READ_ONLY[info.type].decode(self.reader.data(name), info.shape)
        return Dense(int(GGMLType.F32), values.view(np.uint8).reshape(-1), rows, cols)

    def head(self, name: str, rows: int, cols: int) -> DenseMatrix:
        """The head; rows that serve as embedding too come back from the file as they are read.

        A ternary one becomes the smallest dense type that holds its weights exactly: Q2_0 if its scales are those of f16,
        in which the kernels meet it with hidden states of 16 bits.
        """
        assert self.ctx is not None
        if self.info(name, rows, cols).type in TERNARY_TYPES:
            return DenseMatrix.from_ternary(self.ctx, self.ternary(name, rows, cols, Layout.T2))
        dense = self.decoded(name, rows, cols) or self.dense(name, rows, cols)
        mat = DenseMatrix(self.ctx, dense.type, dense.data, rows, cols)
        self.reader.advise_done(name)
        return mat

    def ternary(self, name: str, rows: int, cols: int, layout: Layout) -> TernaryMatrix:
        assert self.ctx is not None
        info = self.info(name, rows, cols)
        ternary = self.codec_for(self.reader, info)
        data = self.reader.data(name)
        floats = isinstance(ternary, TernaryFloats)
        with located(self.reader.path, name):
            if floats:  # Their scales are known only once all weights have been read.
                codes, stored = ternary.decode(data, info.shape)
            else:
                codes, stored = ternary.codes(data, info.shape), ternary.scales(data, info.shape)
        scales = self.scales(name, info, stored)
        # PQ2_0 gives its codes as Q2_0 has them.
        like = Q2_0.name if isinstance(ternary, Q2_0) else ternary.name
        pack_format = lib.BN_PACK_TRITS if floats else getattr(lib, f"BN_PACK_{like.upper()}")
        tiling = ternary.tiling_for(info.shape) if isinstance(ternary, TiledCodec) else None
        try:
            mat = TernaryMatrix.pack(self.ctx, pack_format, codes, rows, cols, scales, layout, tiling)
        except NotTernaryError:
            with located(self.reader.path, name):
                ternary.decode(data, info.shape)  # Knows the place.
            raise
        self.reader.advise_done(name)
        return mat

    def scales(self, name: str, info: TensorInfo, stored: np.ndarray) -> np.ndarray:
        """As few as possible, with what stands in a tensor of its own."""
        with located(self.reader.path, name):
            scales = simplest(stored, info.shape[-1])
            with np.errstate(over="ignore"):
                scales = scales * self._factor(name, info)
            refuse_infinite(scales)
        return scales

    def _factor(self, name: str, info: TensorInfo) -> np.float32:
        """What a matrix is multiplied by beside its own scales: the tensor `blk.N.x.scale` if there is one, else 1."""
        scale_name = name.removesuffix("weight") + "scale"
        if scale_name not in self.reader.tensors:
            if is_bare(info):
                raise FormatError(
                    f"the tensor has no scales, and there is no `{printable(scale_name)}` beside it",
                    path=self.reader.path,
                    tensor=name,
                    hint="convert the original checkpoint with `bitnet convert`",
                )
            return np.float32(1)
        scale = self.info(scale_name, 1)
        if scale.type != GGMLType.F32:
            raise UnsupportedError(
                f"{self.reader.path}: `{printable(scale_name)}` of type {type_name(scale.type)} is no F32 scale"
            )
        value = np.float32(self.reader.data(scale_name).view("<f4")[0])
        if not np.isfinite(value):
            raise FormatError(
                f"the scale must be a finite number, found {value}", path=self.reader.path, tensor=scale_name
            )
        return value

    def refuse_leftovers(self) -> None:
        if self.left:
            n = len(self.left)
            some = ", ".join(f"`{printable(name)}`" for name in sorted(self.left)[:3])
            raise UnsupportedError(
                f"{self.reader.path}: {n} tensor{' is' if n == 1 else 's are'} not part of this architecture as this "
                f"version knows it: {some}",
                hint="`bitnet inspect FILE --tensors` lists them",
            )


class CheckedTensors(Tensors):
    """Checks what would be packed and packs nothing."""

    def __init__(self, reader: GGUFReader, codec_for: CodecFor) -> None:
        super().__init__(reader, None, codec_for)

    def head(self, name: str, rows: int, cols: int) -> DenseMatrix:
        if self.info(name, rows, cols).type in TERNARY_TYPES:
            self.ternary(name, rows, cols, Layout.T2)
        elif self.info(name).type not in _READ_ONLY:
            self.dense(name, rows, cols)
        return cast(DenseMatrix, None)

    def ternary(self, name: str, rows: int, cols: int, layout: Layout) -> TernaryMatrix:
        info = self.info(name, rows, cols)
        ternary = self.codec_for(self.reader, info)
        with located(self.reader.path, name):
            stored = ternary.scales(self.reader.data(name), info.shape)
        self.scales(name, info, stored)
        self.reader.advise_done(name)
        return cast(TernaryMatrix, None)
