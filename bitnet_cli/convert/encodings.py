"""How a checkpoint stores one ternary matrix, and its trits whatever the encoding.

::

    masters         float weights, ternarised by absmean; several values per matrix
    packed          uint8, four rows per byte, beside `weight_scale`
    ternary floats  every |w| is 0 or one value s of its matrix, its row, or its 256, 128 or 64 columns of a row:
                    t = sign(w), scale = s
    unpacked        floats in {-1, 0, 1} beside `weight_scale`

Masters and ternary floats are told apart by the data, never by the configuration: repositories publish both
under the same config.json, and the absmean of a ternary matrix (s times its density) would be a wrong
scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from bitnet_cli.convert.checkpoint import FLOAT_DTYPES, Checkpoint, matrix_shape, row_blocks
from bitnet_cli.convert.model_config import Quantization
from bitnet_cli.convert.ternarize import AbsMean, ternarize
from bitnet_cli.errors import FormatError, RepresentationError, UnsupportedError
from bitnet_cli.formats.scales import finest_group

Encoding = Literal["masters", "packed", "ternary floats", "unpacked"]
# Bits of +infinity by dtype; everything at or above is not finite. The bits of a float without its sign are
# in the order of its magnitude, and neighbours in that order are one unit in the last place apart.
_INFINITY = {"F32": 0x7F800000, "F16": 0x7C00, "BF16": 0x7F80}


@dataclass(frozen=True)
class TernarySource:
    """One ternary matrix of a checkpoint.

    Attributes:
        name: its name in the checkpoint.
        rows, cols: its logical size, also when it is packed.
        scales: what the trits are multiplied by, float32 [1, 1], [rows, 1] or [rows, groups] (formats/scales.py).
    """

    checkpoint: Checkpoint
    name: str
    rows: int
    cols: int
    encoding: Encoding
    scales: np.ndarray

    def trits(self, start: int, stop: int) -> np.ndarray:
        """Rows `start`..`stop`: int8 [stop - start, cols] of -1, 0, 1.

        Raises:
            FormatError: a packed row holds the code 3.
        """
        if self.encoding == "packed":
            return self._unpacked(start, stop)
        values = self.checkpoint.float_rows(self.name, start, stop)
        if self.encoding == "masters":
            return ternarize(values, self.scales[0, 0])
        return np.subtract(values > 0, values < 0, dtype=np.int8)

    def largest_error(self, trits: np.ndarray, start: int, stop: int) -> float:
        """The largest |scale * t - w| over rows whose trits are given; 0 where the checkpoint stores trits."""
        if self.encoding in ("packed", "unpacked"):
            return 0.0
        values = self.checkpoint.float_rows(self.name, start, stop)
        scales = self.scales[start:stop] if len(self.scales) > 1 else self.scales
        spread = np.repeat(scales, self.cols // scales.shape[1], axis=1)
        return float(np.abs(np.multiply(trits, spread, dtype=np.float32) - values).max(initial=0.0))

    def _unpacked(self, start: int, stop: int) -> np.ndarray:
        """Rows out of the packing in which byte (r, c) holds rows r, r+R, r+2R, r+3R from the low bits up."""
        quarter = -(-self.rows // 4)
        codes = np.empty((stop - start, self.cols), np.uint8)
        row = start
        while row < stop:
            part, first = divmod(row, quarter)
            n = min(stop - row, quarter - first)
            packed = self.checkpoint.raw_rows(self.name, first, first + n)
            np.bitwise_and(packed >> (2 * part), 3, out=codes[row - start : row - start + n])
            row += n
        if codes.max(initial=0) > 2:
            at, col = np.argwhere(codes > 2)[0]
            raise FormatError(
                f"row {start + at}, column {col} holds the code 3, which stands for no value",
                path=self.checkpoint.path_of(self.name),
                tensor=self.name,
            )
        return codes.view(np.int8) - np.int8(1)


class EncodingFinder:
    """Decides how each ternary matrix of a checkpoint is stored.

    Args:
        checkpoint: where the matrices are.
        quantization: what config.json says.
        ternarize: float weights may be ternarised although config.json does not declare the model ternary.
    """

    def __init__(self, checkpoint: Checkpoint, quantization: Quantization, *, ternarize: bool) -> None:
        self._checkpoint = checkpoint
        self._quantization = quantization
        self._may_ternarize = ternarize or quantization.ternary
        # A saved quantisation leaves no masters behind: floats among packed matrices are unquantised
        # matrices.
        self._has_scales = any(name.endswith(".weight_scale") for name in checkpoint.tensors)

    def check(self, name: str, rows: int, cols: int) -> None:
        """Checks what can be checked without reading the weights; `find` calls it too.

        Raises:
            FormatError: shapes or types contradict each other, or the stored scale makes no sense.
            RepresentationError: the matrix is to stay float.
            UnsupportedError: the packing or type is not known.
        """
        info = self._checkpoint.tensors[name]
        if info.dtype == "U8":
            self._check_packed_shape(name, rows, cols)
        elif info.dtype not in FLOAT_DTYPES:
            raise UnsupportedError(f"{self._where(name)}: weights of type {info.dtype} are not supported")
        elif info.shape != (rows, cols):
            raise self._error(name, f"the shape is {_size(info.shape)}, config.json implies {rows} x {cols}")
        elif self._quantization.keeps_float(name.removesuffix(".weight")):
            raise RepresentationError(
                f"{self._where(name)} stays float by `modules_to_not_convert`, and all projections of a file are ternary",
                hint="no type can hold such a model",
            )
        if info.dtype == "U8" or self._has_scale(name):
            self._stored_scales(name, rows)

    def stored_scales(self, name: str, rows: int) -> np.ndarray | None:
        """The multiplying scales that are stored beside a matrix, None if there are none. Raises as `check`."""
        return self._stored_scales(name, rows) if self._has_scale(name) else None

    def find(self, name: str, rows: int, cols: int) -> TernarySource:
        """The matrix `name`, whose logical size config.json gives as [rows, cols].

        Reads float matrices once, to tell masters from ternary floats and for the mean.

        Raises:
            FormatError: as `check`, or a value is not finite.
            RepresentationError: as `check`, or a stored scale belongs to values that are no trits.
            UnsupportedError: as `check`, or nothing says that the floats may be ternarised.
        """
        self.check(name, rows, cols)
        info = self._checkpoint.tensors[name]
        if info.dtype == "U8":
            return self._source(name, rows, cols, "packed", self._stored_scales(name, rows))
        survey = _Survey(self._checkpoint, name, matrix_shape(info))
        if not self._has_scale(name):
            return self._float_source(name, rows, cols, survey)
        found = survey.scales()
        if found is None or found.shape != (1, 1) or found[0, 0] not in (0.0, 1.0):
            raise RepresentationError(
                f"{self._where(name)} has a `weight_scale` but holds values other than -1, 0, 1"
            )
        return self._source(name, rows, cols, "unpacked", self._stored_scales(name, rows))

    def find_floats(self, name: str, rows: int, cols: int) -> TernarySource | None:
        """A float matrix that is ternary by its values, whatever the configuration says of it; None if it is not.

        Raises:
            FormatError: a value is not finite.
        """
        survey = _Survey(self._checkpoint, name, (rows, cols))
        scales = survey.scales()
        return None if scales is None else self._source(name, rows, cols, "ternary floats", scales)

    def _float_source(self, name: str, rows: int, cols: int, survey: _Survey) -> TernarySource:
        """A float matrix without a stored scale: ternary by its data, or masters."""
        scales = survey.scales()
        may_be_masters = self._may_ternarize and not self._has_scales
        if scales is not None and (scales.any() or not may_be_masters):
            return self._source(name, rows, cols, "ternary floats", scales)
        if self._has_scales:
            raise RepresentationError(
                f"{self._where(name)} holds plain floats among quantised matrices; ternary types cannot hold them"
            )
        if not self._may_ternarize:
            raise UnsupportedError(
                f"{self._where(name)} holds ordinary floats, and nothing in config.json says that the model "
                "was trained to be ternary",
                hint="`--ternarize` rounds them anyway; a model not trained for it speaks nonsense then",
            )
        return self._source(name, rows, cols, "masters", survey.absmean().reshape(1, 1))

    def _source(
        self, name: str, rows: int, cols: int, encoding: Encoding, scales: np.ndarray
    ) -> TernarySource:
        return TernarySource(self._checkpoint, name, rows, cols, encoding, scales)

    def _check_packed_shape(self, name: str, rows: int, cols: int) -> None:
        shape = self._checkpoint.tensors[name].shape
        if shape == (-(-rows // 4), cols):
            return
        if shape == (rows, cols // 4) and cols % 4 == 0:
            raise UnsupportedError(
                f"{self._where(name)} is packed along the columns, which is not the packing of transformers"
            )
        raise self._error(
            name, f"the packed shape is {_size(shape)}, a {rows} x {cols} matrix has {-(-rows // 4)} x {cols}"
        )

    def _stored_scales(self, name: str, rows: int) -> np.ndarray:
        """The multiplying scales from `weight_scale`, by the convention of the configuration: float32 [1, 1], or
        [rows, 1] where it holds one for each row."""
        scale_name = f"{name}_scale"
        info = self._checkpoint.tensors.get(scale_name)
        if info is None:
            raise self._error(name, "the packed matrix has no `weight_scale`")
        if info.dtype not in FLOAT_DTYPES:
            raise self._error(scale_name, f"a float was expected, found {info.dtype}")
        n_rows, n_cols = matrix_shape(info)
        if n_rows * n_cols not in (1, rows):
            raise self._error(
                scale_name, f"one scale or one for each of {rows} rows was expected, found {n_rows * n_cols}"
            )
        if self._quantization.scale_divides is None:
            raise FormatError(
                "`quantization_config` is missing: nothing says whether `weight_scale` multiplies or divides",
                path=self._checkpoint.directory / "config.json",
            )
        values = np.array(self._checkpoint.float_rows(scale_name, 0, n_rows), np.float32).reshape(-1, 1)
        bad = ~(np.isfinite(values) & (values > 0))
        if bad.any():
            raise self._error(scale_name, f"a scale must be positive and finite, found {values[bad][0]}")
        if not self._quantization.scale_divides:
            return values
        with np.errstate(over="ignore"):
            inverse = (np.float32(1.0) / values).astype(np.float32)
        bad = ~np.isfinite(inverse) | (inverse == 0)
        if bad.any():
            raise self._error(scale_name, f"the reciprocal of {values[bad][0]} is out of range")
        return inverse

    def _has_scale(self, name: str) -> bool:
        return f"{name}_scale" in self._checkpoint.tensors

    def _where(self, name: str) -> str:
        return f"{self._checkpoint.path_of(name)}: `{name}`"

    def _error(self, name: str, message: str) -> FormatError:
        return FormatError(message, path=self._checkpoint.path_of(name), tensor=name)


class _Survey:
    """One pass over a float matrix: are all values finite, is it ternary, what is its absmean."""

    def __init__(self, checkpoint: Checkpoint, name: str, shape: tuple[int, int]) -> None:
        self._checkpoint, self._name = checkpoint, name
        self._dtype = checkpoint.tensors[name].dtype
        self._width = FLOAT_DTYPES[self._dtype]
        self._mean = AbsMean()
        self._smallest: list[np.ndarray] | None = []
        self._largest: list[np.ndarray] = []
        """Bits of the smallest and largest non-zero |w| of each finest group, by block of rows; 0 where all are 0. None for
        the smallest once a group was found that is not ternary."""
        cols = shape[1]
        group = finest_group(cols)
        for start, stop in row_blocks(*shape):
            bits = self._magnitude_bits(start, stop)
            if self._smallest is not None:
                found = _ranges(bits.reshape(stop - start, -1, group))
                if found is None:
                    self._smallest = None
                else:
                    self._smallest.append(found[0])
                    self._largest.append(found[1])
            self._mean.add(checkpoint.float_rows(name, start, stop))

    def scales(self) -> np.ndarray | None:
        """The scales under which the matrix is ternary, as few as possible, [1, 1] of 0 for one of zeros; None if it is not
        ternary even by the finest groups. Values one unit in the last place apart count as one, the larger."""
        if self._smallest is None:
            return None
        small, large = np.concatenate(self._smallest), np.concatenate(self._largest)
        n_groups = large.shape[1]
        found = _merged(small.reshape(1, 1, -1), large.reshape(1, 1, -1))
        for per_row in (1, *(n_groups // n for n in (4, 2, 1) if n_groups % n == 0)):
            if found is None:
                found = _merged(
                    small.reshape(len(small), per_row, -1), large.reshape(len(large), per_row, -1)
                )
        assert found is not None
        return self._values(found)

    def absmean(self) -> np.float32:
        return self._mean.scale()

    def _magnitude_bits(self, start: int, stop: int) -> np.ndarray:
        """The bits of |w|: unsigned [rows, cols].

        Raises:
            FormatError: a value is not finite.
        """
        raw = self._checkpoint.raw_rows(self._name, start, stop)
        bits: np.ndarray = raw & raw.dtype.type((1 << (8 * self._width - 1)) - 1)
        if bits.max(initial=0) >= _INFINITY[self._dtype]:
            row, col = np.argwhere(bits >= _INFINITY[self._dtype])[0]
            raise FormatError(
                f"row {start + row}, column {col} is not a finite number",
                path=self._checkpoint.path_of(self._name),
                tensor=self._name,
            )
        return bits

    def _values(self, bits: np.ndarray) -> np.ndarray:
        """The floats that have these bits and no sign, float32."""
        if self._dtype == "BF16":
            return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return bits.astype(f"<u{self._width}").view(f"<f{self._width}").astype(np.float32)


def _ranges(bits: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Smallest and largest non-zero of each group, unsigned [rows, groups], 0 where all are 0; None if a group holds values
    further apart than one unit in the last place.

    Args:
        bits: of |w|, unsigned [rows, groups, cols of a group].
    """
    largest = bits.max(axis=2)
    neighbour = largest - (largest > 0)
    if ((bits != 0) & (bits < neighbour[..., None])).any():
        return None
    smallest = np.where((bits == neighbour[..., None]).any(axis=2), neighbour, largest)
    return np.where(smallest == 0, largest, smallest), largest


def _merged(smallest: np.ndarray, largest: np.ndarray) -> np.ndarray | None:
    """The largest of each run of groups, [.., runs], if what is not zero in a run is one value, to one unit in the last
    place; else None.

    Args:
        smallest, largest: of each group, unsigned [.., runs, groups of a run].
    """
    most = largest.max(axis=2)
    least = smallest.min(axis=2, where=smallest > 0, initial=np.iinfo(smallest.dtype).max)
    return most if (most <= least + (most > 0)).all() else None


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(str(dim) for dim in shape) or "a scalar"
