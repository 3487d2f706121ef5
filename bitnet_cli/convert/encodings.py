"""How a checkpoint stores one ternary matrix, and its trits whatever the encoding.

::

    masters         float weights, ternarised by absmean; several values per matrix
    packed          uint8, four rows per byte, beside `weight_scale`
    ternary floats  every |w| is 0 or one value s: t = sign(w), scale = s
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

Encoding = Literal["masters", "packed", "ternary floats", "unpacked"]
# Bits of +infinity by dtype; everything at or above is not finite. The bits of a float without its sign are
# in the order of its magnitude, and neighbours in that order are one unit in the last place apart.
_INFINITY = {"F32": 0x7F800000, "F16": 0x7C00, "BF16": 0x7F80}


_OTHER_FORMATS = (
    "no option can hold it yet; `iq2_bn` (a scale per row) and `tq2_0` (one per 256 weights) could"
)


@dataclass(frozen=True)
class TernarySource:
    """One ternary matrix of a checkpoint.

    Attributes:
        name: its name in the checkpoint.
        rows, cols: its logical size, also when it is packed.
        scale: what the trits are multiplied by, float32.
    """

    checkpoint: Checkpoint
    name: str
    rows: int
    cols: int
    encoding: Encoding
    scale: np.float32

    def trits(self, start: int, stop: int) -> np.ndarray:
        """Rows `start`..`stop`: int8 [stop - start, cols] of -1, 0, 1.

        Raises:
            FormatError: a packed row holds the code 3.
        """
        if self.encoding == "packed":
            return self._unpacked(start, stop)
        values = self.checkpoint.float_rows(self.name, start, stop)
        if self.encoding == "masters":
            return ternarize(values, self.scale)
        return np.subtract(values > 0, values < 0, dtype=np.int8)

    def largest_error(self, trits: np.ndarray, start: int, stop: int) -> float:
        """The largest |scale·t - w| over rows whose trits are given; 0 where the checkpoint stores trits."""
        if self.encoding in ("packed", "unpacked"):
            return 0.0
        values = self.checkpoint.float_rows(self.name, start, stop)
        return float(np.abs(np.multiply(trits, self.scale, dtype=np.float32) - values).max(initial=0.0))

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
            RepresentationError: there are several scales, or the matrix is to stay float.
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
                f"{self._where(name)} stays float by `modules_to_not_convert`, which I2_S cannot hold",
                hint="no option can hold it yet: every projection is written as i2_s",
            )
        if info.dtype == "U8" or self._has_scale(name):
            self._stored_scale(name)

    def stored_scale(self, name: str) -> np.float32 | None:
        """The multiplying scale that is stored beside a matrix, None if there is none. Raises as `check`."""
        return self._stored_scale(name) if self._has_scale(name) else None

    def find(self, name: str, rows: int, cols: int) -> TernarySource:
        """The matrix `name`, whose logical size config.json gives as [rows, cols].

        Reads float matrices once, to tell masters from ternary floats and for the mean.

        Raises:
            FormatError: as `check`, or a value is not finite.
            RepresentationError: as `check`, or the values are not ternary under one scale.
            UnsupportedError: as `check`, or nothing says that the floats may be ternarised.
        """
        self.check(name, rows, cols)
        info = self._checkpoint.tensors[name]
        if info.dtype == "U8":
            return self._source(name, rows, cols, "packed", self._stored_scale(name))
        survey = _Survey(self._checkpoint, name, matrix_shape(info))
        if not self._has_scale(name):
            return self._float_source(name, rows, cols, survey)
        if survey.magnitudes not in ((0.0, 0.0), (1.0, 1.0)):
            raise RepresentationError(
                f"{self._where(name)} has a `weight_scale` but holds values other than -1, 0, 1"
            )
        return self._source(name, rows, cols, "unpacked", self._stored_scale(name))

    def _float_source(self, name: str, rows: int, cols: int, survey: _Survey) -> TernarySource:
        """A float matrix without a stored scale: ternary by its data, or masters."""
        may_be_masters = self._may_ternarize and not self._has_scales
        if survey.magnitudes is not None and not (survey.magnitudes[1] == 0.0 and may_be_masters):
            return self._source(name, rows, cols, "ternary floats", np.float32(survey.magnitudes[1]))
        if survey.row_ternary and survey.magnitudes is None:
            raise RepresentationError(
                f"{self._where(name)} is ternary with several scales in one matrix "
                f"({survey.row_scales[0]:.6g} to {survey.row_scales[1]:.6g} by row); I2_S holds one",
                hint=_OTHER_FORMATS,
            )
        if self._has_scales:
            raise RepresentationError(
                f"{self._where(name)} holds plain floats among quantised matrices; I2_S cannot hold them"
            )
        if not self._may_ternarize:
            raise UnsupportedError(
                f"{self._where(name)} holds ordinary floats, and nothing in config.json says that the model "
                "was trained to be ternary",
                hint="`--ternarize` rounds them anyway; a model not trained for it speaks nonsense then",
            )
        return self._source(name, rows, cols, "masters", survey.absmean())

    def _source(
        self, name: str, rows: int, cols: int, encoding: Encoding, scale: np.float32
    ) -> TernarySource:
        return TernarySource(self._checkpoint, name, rows, cols, encoding, scale)

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

    def _stored_scale(self, name: str) -> np.float32:
        """The multiplying scale from `weight_scale`, by the convention of the configuration."""
        scale_name = f"{name}_scale"
        info = self._checkpoint.tensors.get(scale_name)
        if info is None:
            raise self._error(name, "the packed matrix has no `weight_scale`")
        if info.dtype not in FLOAT_DTYPES:
            raise self._error(scale_name, f"a float was expected, found {info.dtype}")
        n_rows, n_cols = matrix_shape(info)
        if n_rows * n_cols == 0:
            raise self._error(scale_name, "the tensor is empty")
        if n_rows * n_cols > 1:
            raise RepresentationError(
                f"{self._where(scale_name)} holds {n_rows * n_cols} scales for one matrix; I2_S holds one",
                hint=_OTHER_FORMATS,
            )
        if self._quantization.scale_divides is None:
            raise FormatError(
                "`quantization_config` is missing: nothing says whether `weight_scale` multiplies or divides",
                path=self._checkpoint.directory / "config.json",
            )
        value = np.float32(self._checkpoint.float_rows(scale_name, 0, 1)[0, 0])
        if not np.isfinite(value) or value <= 0:
            raise self._error(scale_name, f"a scale must be positive and finite, found {value}")
        if not self._quantization.scale_divides:
            return value
        with np.errstate(over="ignore"):
            inverse = np.float32(np.float32(1.0) / value)
        if not np.isfinite(inverse) or inverse == 0:
            raise self._error(scale_name, f"the reciprocal of {value} is out of range")
        return inverse

    def _has_scale(self, name: str) -> bool:
        return f"{name}_scale" in self._checkpoint.tensors

    def _where(self, name: str) -> str:
        return f"{self._checkpoint.path_of(name)}: `{name}`"

    def _error(self, name: str, message: str) -> FormatError:
        return FormatError(message, path=self._checkpoint.path_of(name), tensor=name)


class _Survey:
    """One pass over a float matrix: are all values finite, is it ternary, what is its absmean.

    Attributes:
        magnitudes: smallest and largest non-zero |w| if they are at most one unit in the last place apart
            ((0, 0) if all are zero), else None.
        row_ternary: whether each row by itself has at most one non-zero |w|, to one unit in the last place.
        row_scales: smallest and largest of these over the rows that are not zero.
    """

    def __init__(self, checkpoint: Checkpoint, name: str, shape: tuple[int, int]) -> None:
        self._checkpoint, self._name = checkpoint, name
        self._dtype = checkpoint.tensors[name].dtype
        self._width = FLOAT_DTYPES[self._dtype]
        self._mean = AbsMean()
        self.row_ternary = True
        low, high = _INFINITY[self._dtype], 0
        for start, stop in row_blocks(*shape):
            bits = self._magnitude_bits(start, stop)
            if self.row_ternary:
                self.row_ternary, first, last = _row_ternary(bits)
                low, high = min(low, first), max(high, last)
            self._mean.add(checkpoint.float_rows(name, start, stop))
        self.row_scales = (self._value(min(low, high)), self._value(high))
        self.magnitudes = self.row_scales if self.row_ternary and high - min(low, high) <= 1 else None

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

    def _value(self, bits: int) -> float:
        """The float that has these bits and no sign."""
        if self._dtype == "BF16":
            return float(np.uint32(bits << 16).view(np.float32))
        return float(np.array(bits, f"<u{self._width}").view(f"<f{self._width}"))


def _row_ternary(bits: np.ndarray) -> tuple[bool, int, int]:
    """Whether every row of |w| bits holds only zeros and one value, and the range of these values.

    Two values one unit in the last place apart count as one.
    """
    largest = bits.max(axis=1, keepdims=True, initial=0)
    neighbour = largest - (largest > 0)
    nonzero = bits != 0
    if (nonzero & (bits < neighbour)).any():
        return False, 0, 0
    smallest = bits.min(where=nonzero, initial=np.iinfo(bits.dtype).max)
    return True, int(smallest), int(largest.max(initial=0))


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(str(dim) for dim in shape) or "a scalar"
