"""Tilings: how the weights of a TL1 or TL2 tensor are put in order, which the formats themselves do not record.

A tensor is cut into outer tiles of some rows, these into tiles of some columns, and these into inner tiles of some
rows; the order of all bytes follows from the three numbers. bitnet.cpp takes them from a configuration file of its
build, one line for each shape, and never stores them. So this module knows the lines that bitnet.cpp ships, chooses a
tiling for every other shape by one rule, and writes what was chosen into the metadata of our files, under keys that
other readers pass over.

The tiling of a tensor that is read is, in this order: what the user gives, what the metadata of the file say, what
bitnet.cpp ships for the shape. A wrong tiling permutes weights and breaks no rule of the format (docs/formats.md says
what can be noticed), so where none of the three answers, the tensor is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bitnet_cli.errors import FormatError, RepresentationError, UnsupportedError, UsageError, printable
from bitnet_cli.formats.gguf_reader import GGUFReader, TensorInfo
from bitnet_cli.formats.gguf_types import TL2_MAX_PAIR_COLS, GGMLType

Shape = tuple[int, int]
"""(rows, cols)"""

MAX_ENTRIES = 4096
"""Shapes that one file may list; a model has fewer than ten."""

_NUMBERS = re.compile(r"([1-9][0-9]{0,8}),([1-9][0-9]{0,8}),([1-9][0-9]{0,8})")
_ENTRY = re.compile(r"([1-9][0-9]{0,18})x([1-9][0-9]{0,18})=(.*)", re.DOTALL)
# What is preferred for tensors of other shapes: rows of an outer tile, and columns of a tile. Sums of a TL1 tile stay
# in 16 bits up to 258 columns, in the programs that add them up so.
_ROWS_OUTER = 128
_MAX_ROWS_OUTER = 256
_TL1_COLS = (128, 64)
_TL1_MAX_COLS = 258
_TL2_COLS = 96


@dataclass(frozen=True, slots=True)
class Tiling:
    """The three numbers, in the order in which bitnet.cpp's tools take them: BM, BK, bm."""

    rows_outer: int
    """Rows of an outer tile, `bm` in kernel_config.ini."""
    cols: int
    """Columns of a tile, `bk` in kernel_config.ini."""
    rows_inner: int
    """Rows of an inner tile, `bmm` in kernel_config.ini."""

    @classmethod
    def parse(cls, text: str) -> Tiling:
        """Reads `256,128,32`. Raises UsageError."""
        found = _NUMBERS.fullmatch(text)
        if found is None:
            raise UsageError(
                f"`{printable(text, 40)}` is not a tiling",
                hint="a tiling is three positive numbers, such as `256,128,32`: rows of an outer tile, columns of a "
                "tile, rows of an inner tile",
            )
        return cls(*(int(number) for number in found.groups()))

    def __str__(self) -> str:
        return f"{self.rows_outer},{self.cols},{self.rows_inner}"

    def obstacle(self, type_id: int, shape: Shape) -> str | None:
        """What keeps a TL1 or TL2 matrix of this shape from being cut so; None if nothing does."""
        rows, cols = shape
        if rows % self.rows_outer:
            return f"{rows} rows are not a multiple of {self.rows_outer}"
        if self.rows_outer % self.rows_inner:
            return f"outer tiles of {self.rows_outer} rows are not a multiple of {self.rows_inner}"
        return self._tl1_obstacle(cols) if type_id == GGMLType.TL1 else self._tl2_obstacle(cols)

    def _tl1_obstacle(self, cols: int) -> str | None:
        if self.rows_inner not in (32, 64):
            return f"inner tiles of TL1 have 32 or 64 rows, not {self.rows_inner}"
        if self.cols % (256 // self.rows_inner):
            return f"tiles of {self.cols} columns are not a multiple of {256 // self.rows_inner}"
        return f"{cols} columns are not a multiple of {self.cols}" if cols % self.cols else None

    def _tl2_obstacle(self, cols: int) -> str | None:
        if self.rows_inner != 32:
            return f"inner tiles of TL2 have 32 rows, not {self.rows_inner}"
        if self.cols % 24:
            return f"tiles of {self.cols} columns are not a multiple of 24"
        left = cols % self.cols
        if left % 32:
            return (
                f"the {left} of {cols} columns that are left by tiles of {self.cols} are not a multiple of 32"
            )
        if left > TL2_MAX_PAIR_COLS:
            return f"tiles of {self.cols} columns leave {left}, and TL2 has room for {TL2_MAX_PAIR_COLS}"
        return None


def _shipped(type_id: GGMLType, *entries: str) -> dict[tuple[GGMLType, Shape], Tiling]:
    return {(type_id, shape): tiling for shape, tiling in (_parse_entry(entry) for entry in entries)}


def _parse_entry(text: str) -> tuple[Shape, Tiling]:
    """Reads `1536x4096=256,128,32`. Raises UsageError."""
    found = _ENTRY.fullmatch(text)
    if found is None:
        raise UsageError(
            f"`{printable(text, 40)}` is not a shape and a tiling", hint="write `ROWSxCOLS=256,128,32`"
        )
    return (int(found[1]), int(found[2])), Tiling.parse(found[3])


# The lists of bitnet.cpp's setup_env.py for bitnet_b1_58-large, bitnet_b1_58-3B and Llama3-8B-1.58, which also serve
# its Falcon models. No shape is in two of them.
SHIPPED = _shipped(
    GGMLType.TL1,
    *("1536x4096=256,128,32", "1536x1536=128,64,64", "4096x1536=256,128,32"),
    *("3200x8640=160,64,32", "3200x3200=320,128,64", "8640x3200=320,64,32"),
    *("14336x4096=256,128,32", "4096x14336=128,64,64", "1024x4096=256,128,32", "4096x4096=128,64,64"),
) | _shipped(
    GGMLType.TL2,
    *("1536x4096=256,96,32", "1536x1536=128,192,32", "4096x1536=256,96,32"),
    *("3200x8640=160,96,32", "3200x3200=320,96,32", "8640x3200=320,96,32"),
    *("14336x4096=256,96,32", "4096x14336=128,96,32", "1024x4096=256,96,32", "4096x4096=128,96,32"),
)

# Its preset_kernels differ for one model; setup_env.py overwrites them, so files made from them are rare.
PRESETS = _shipped(
    GGMLType.TL1,
    *("14336x4096=256,128,64", "4096x14336=256,128,32", "1024x4096=128,64,64", "4096x4096=128,64,32"),
)


@dataclass(frozen=True, slots=True)
class GivenTilings:
    """What the user says with `--tiling`, which overrides everything else."""

    everywhere: Tiling | None = None
    by_shape: Mapping[Shape, Tiling] = field(default_factory=dict)

    @classmethod
    def parse(cls, texts: Iterable[str]) -> GivenTilings:
        """Reads texts such as `256,128,32`, for every shape, or `1536x4096=256,128,32`, for one.

        Raises:
            UsageError: a text is neither, or two are for the same shapes.
        """
        everywhere: Tiling | None = None
        by_shape: dict[Shape, Tiling] = {}
        for text in texts:
            if "=" not in text:
                if everywhere is not None:
                    raise UsageError(
                        "`--tiling` is given twice for every shape", hint="write `ROWSxCOLS=256,128,32`"
                    )
                everywhere = Tiling.parse(text)
                continue
            shape, tiling = _parse_entry(text)
            if shape in by_shape:
                raise UsageError(f"`--tiling` is given twice for {shape[0]}x{shape[1]}", hint="give it once")
            by_shape[shape] = tiling
        return cls(everywhere, by_shape)

    def __bool__(self) -> bool:
        """Whether anything was said."""
        return self.everywhere is not None or bool(self.by_shape)

    def get(self, shape: Shape) -> Tiling | None:
        """The tiling for a shape, None if nothing was said about it."""
        return self.by_shape.get(shape, self.everywhere)


# ---- Writing ----


def tiling_to_write(type_id: int, shape: Sequence[int]) -> Tiling:
    """The tiling for a tensor that we write: what bitnet.cpp ships for the shape, else our choice.

    Raises:
        RepresentationError: no tiling fits the shape.
    """
    rows, cols = _matrix(type_id, shape)
    shipped = SHIPPED.get((GGMLType(type_id), (rows, cols)))
    if shipped is not None:
        return shipped
    found = _chosen_tl1(rows, cols) if type_id == GGMLType.TL1 else _chosen_tl2(rows, cols)
    if found is None or found.obstacle(type_id, (rows, cols)):
        needs = "32 rows and 8 columns, or of 64 rows and 4" if type_id == GGMLType.TL1 else "32 rows and 32"
        raise RepresentationError(
            f"{GGMLType(type_id).name} needs a multiple of {needs} columns, not {rows} rows and {cols} columns",
            hint="`i2_s` holds any number of rows",
        )
    return found


def _chosen_tl1(rows: int, cols: int) -> Tiling | None:
    inner = 32 if cols % 8 == 0 else 64
    step = 256 // inner
    if rows % inner or cols % step:
        return None
    preferred = [n for n in _TL1_COLS if cols % n == 0]
    return Tiling(
        _rows_outer(rows, inner), preferred[0] if preferred else _divisor(cols, step, _TL1_MAX_COLS), inner
    )


def _chosen_tl2(rows: int, cols: int) -> Tiling | None:
    return None if rows % 32 else Tiling(_rows_outer(rows, 32), _TL2_COLS, 32)


def _rows_outer(rows: int, inner: int) -> int:
    return _ROWS_OUTER if rows % _ROWS_OUTER == 0 else _divisor(rows, inner, _MAX_ROWS_OUTER)


def _divisor(n: int, step: int, limit: int) -> int:
    """The largest divisor of n that is a multiple of `step`, itself one, and at most `limit`."""
    return max(size for size in range(step, limit + 1, step) if n % size == 0)


def tiling_key(type_id: int) -> str:
    """The metadata key that holds the tilings of all tensors of a type."""
    return f"bitnet_cli.{GGMLType(type_id).name.lower()}.tiling"


def tiling_metadata(type_id: int, tilings: Mapping[Shape, Tiling]) -> tuple[str, str, list[str]]:
    """The metadata pair (key, value type, value) for a file with TL1 or TL2 tensors of these shapes."""
    entries = [f"{rows}x{cols}={tiling}" for (rows, cols), tiling in tilings.items()]
    return tiling_key(type_id), "array<string>", entries


# ---- Reading ----


def tiling_to_read(reader: GGUFReader, info: TensorInfo, given: GivenTilings | None = None) -> Tiling:
    """The tiling of a TL1 or TL2 tensor of a file; `given` is what the user says.

    Raises:
        FormatError: what the metadata say is nonsense, or nothing about this shape.
        UsageError: what the user says does not fit the shape.
        UnsupportedError: nothing is known about the tiling.
        RepresentationError: the tensor is no matrix.
    """
    shape = _matrix(info.type, info.shape)
    where, name = f"{shape[0]}x{shape[1]}", GGMLType(info.type).name
    found = given.get(shape) if given is not None else None
    if found is not None:
        obstacle = found.obstacle(info.type, shape)
        if obstacle:
            raise UsageError(
                f"`--tiling {found}` does not fit `{printable(info.name)}` of {where}: {obstacle}",
                hint="give each shape its own: `--tiling ROWSxCOLS=BM,BK,bm`",
            )
        return found
    if tiling_key(info.type) in reader.metadata:
        return _stored(reader, info.type, shape)
    found = SHIPPED.get((GGMLType(info.type), shape))
    if found is None:
        raise UnsupportedError(
            f"{reader.path}: `{printable(info.name)}`: nothing tells the tiling: {name} files do not record it, and "
            f"bitnet.cpp ships none for {where}",
            hint=f"add `--tiling {where}=BM,BK,bm` with the bm, bk and bmm of the kernel_config.ini that the file was "
            "made with; a wrong tiling gives words without sense",
        )
    return found


def _stored(reader: GGUFReader, type_id: int, shape: Shape) -> Tiling:
    """The tiling that the file's own metadata give for a shape."""
    key, where = tiling_key(type_id), f"{shape[0]}x{shape[1]}"

    def error(message: str) -> FormatError:
        hint = f"`--tiling {where}=BM,BK,bm` takes its place"
        return FormatError(message, path=reader.path, tensor=key, hint=hint)

    kind, count = reader.value_type(key), reader.metadata.array_length(key)
    if kind != "array<string>" or count is None:
        raise error(f"expected an array<string>, found {kind}")
    if count > MAX_ENTRIES:
        raise error(f"{count} shapes are listed, at most {MAX_ENTRIES} are accepted")
    found: Tiling | None = None
    for text in reader.metadata.array_head(key, count):
        try:
            each, tiling = _parse_entry(str(text))
        except UsageError as wrong:
            raise error(wrong.message) from None
        if each == shape and found is not None:
            raise error(f"{where} is listed twice")
        found = tiling if each == shape else found
    if found is None:
        raise error(f"{where} is not listed")
    obstacle = found.obstacle(type_id, shape)
    if obstacle:
        raise error(f"the tiling {found} of {where} is none: {obstacle}")
    return found


def _matrix(type_id: int, shape: Sequence[int]) -> Shape:
    if len(shape) != 2:
        raise RepresentationError(
            f"{GGMLType(type_id).name} holds matrices of 2 dimensions, not {len(shape)}"
        )
    return int(shape[0]), int(shape[1])
