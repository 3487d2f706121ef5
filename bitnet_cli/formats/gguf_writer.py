"""Writing GGUF version 3, streaming: the header first, then one tensor after another.

The file grows under a temporary name in the same directory and takes its real name when it is complete and on
disk, so nobody ever meets half a file. The same input gives the same bytes on every machine.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import struct
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np

from bitnet_cli.errors import BitnetError, RepresentationError, printable
from bitnet_cli.formats.gguf_types import (
    DEFAULT_ALIGNMENT,
    MAGIC,
    MAX_DIMS,
    SCALARS,
    ValueType,
    file_number,
    tensor_bytes,
)

_VERSION = 3
_ELSEWHERE = "free some space, or write elsewhere"
_HINTS = {
    errno.ENOSPC: _ELSEWHERE,
    errno.EDQUOT: _ELSEWHERE,
    errno.EFBIG: "this file system, or `ulimit -f`, takes no file as large: write elsewhere",
}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor to be written."""

    name: str
    shape: tuple[int, ...]
    """NumPy order, slowest dimension first: (rows, cols) of a matrix."""
    type: int
    """Number of the tensor type; one whose size `tensor_bytes` knows."""


class GGUFWriter:
    """A GGUF file being written; use it as a context manager.

    Leaving the block without an exception completes the file, with one removes what was written.

    Args:
        path: the file to make.
        metadata: (key, value type, value) in file order; value types are `u32`, `f32`, `bool`, `string`,
            `array<string>`, `array<i32>` and so on. `general.alignment` is added if `alignment` is not 32.
        tensors: what will be written, in file order.
        alignment: of tensor data in bytes, a power of two, at least 8.
        overwrite: replace an existing file.

    Raises:
        BitnetError: the file exists, cannot be written, or the disk has no room for it.
        RepresentationError: a value or tensor does not fit the type it is given.
    """

    def __init__(
        self,
        path: str | Path,
        metadata: Sequence[tuple[str, str, object]],
        tensors: Sequence[TensorSpec],
        *,
        alignment: int = DEFAULT_ALIGNMENT,
        overwrite: bool = False,
    ) -> None:
        self.path = Path(path)
        self._overwrite = overwrite
        self._alignment = alignment
        self._refuse_existing()
        self._sizes = {spec.name: tensor_bytes(spec.type, spec.shape) for spec in tensors}
        if len(self._sizes) != len(tensors):
            raise RepresentationError("two tensors have the same name")
        header = _header(_with_alignment(metadata, alignment), tensors, self._sizes, alignment)
        self.total_bytes = len(header) + sum(_padded(n, alignment) for n in self._sizes.values())
        self._pending = list(reversed(self._sizes))
        self._current = ""
        self._left = 0
        self._temporary = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.part")
        # Before the file exists: a signal may strike between any two steps, also where no `with` block has begun.
        self._remove = weakref.finalize(self, _remove_file, self._temporary)
        self._file: IO[bytes] | None = self._create()
        self._put(header)

    def write(self, name: str, data: bytes | np.ndarray) -> None:
        """Writes the data of a tensor, or its next piece: several calls with one name add up.

        Args:
            name: the tensor that is due in the declared order.
            data: bytes, or an array whose bytes are taken in C order.

        Raises:
            BitnetError: the tensor is not the one that is due, the data is too long, or the disk is full.
        """
        if not self._left or self._current != name:
            self._begin(name)
        piece = np.ascontiguousarray(data).data if isinstance(data, np.ndarray) else memoryview(data)
        if piece.nbytes > self._left:
            size = self._sizes[name]
            self._fail(f"`{name}` takes {size} bytes, more were given")
        self._put(piece)
        self._left -= piece.nbytes
        if self._left == 0:
            self._put(bytes(_padded(self._sizes[name], self._alignment) - self._sizes[name]))

    def close(self) -> None:
        """Completes the file, flushes it to disk and gives it its name; nothing if it is closed already."""
        if self._file is None:
            return
        if self._left or self._pending:
            missing = self._current if self._left else self._pending[-1]
            self._fail(f"`{missing}` was not written completely")
        self._guard(self._finish)

    def abort(self) -> None:
        """Removes what was written. Nothing happens if the file is closed already."""
        if self._file is not None:
            file, self._file = self._file, None
            try:
                file.close()
            except OSError:
                pass  # The buffer could not be written, as before; the file goes anyway.
            finally:
                self._remove()

    def __enter__(self) -> GGUFWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def _begin(self, name: str) -> None:
        if self._left:
            self._fail(f"`{self._current}` is short of {self._left} bytes")
        if not self._pending or self._pending[-1] != name:
            due = f"`{self._pending[-1]}` is due" if self._pending else "all tensors are written"
            self._fail(f"`{name}` cannot be written now: {due}")
        self._current = self._pending.pop()
        self._left = self._sizes[name]

    def _create(self) -> IO[bytes]:
        parent = self.path.parent
        try:
            free = shutil.disk_usage(parent).free
            if free < self.total_bytes:
                needed = f"{self.total_bytes / 1e6:.1f} MB"
                raise BitnetError(
                    f"{self.path} needs {needed}, {free / 1e6:.1f} MB are free on that disk",
                    hint=_ELSEWHERE,
                )
            return open(self._temporary, "xb", buffering=1 << 20)
        except FileNotFoundError:
            raise BitnetError(
                f"{parent} does not exist", hint=f"make it first: `mkdir -p {parent}`"
            ) from None
        except OSError as error:
            raise self._cannot_write(error) from None

    def _refuse_existing(self) -> None:
        if self.path.is_dir():
            raise BitnetError(f"{self.path} is a directory", hint="give the path of a file")
        if not self._overwrite and os.path.lexists(self.path):
            raise BitnetError(f"{self.path} exists already", hint="give another path, or remove it first")
        if self.path.exists() and not self.path.is_file():
            raise BitnetError(
                f"{self.path} is a device or a pipe, not a file", hint="give the path of a file"
            )

    def _put(self, data: bytes | memoryview) -> None:
        self._guard(lambda: self._open().write(data))

    def _open(self) -> IO[bytes]:
        if self._file is None:
            raise BitnetError(f"{self.path} is closed")
        return self._file

    def _finish(self) -> None:
        file = self._open()
        file.flush()
        os.fsync(file.fileno())
        self._refuse_existing()
        file.close()
        os.replace(self._temporary, self.path)
        self._remove.detach()
        self._file = None

    def _guard(self, step: Callable[[], object]) -> None:
        """Runs a step; whatever interrupts it, the temporary file goes."""
        try:
            step()
        except OSError as error:
            self.abort()
            raise self._cannot_write(error) from None
        except BaseException:
            self.abort()
            raise

    def _cannot_write(self, error: OSError) -> BitnetError:
        hint = _HINTS.get(error.errno or 0, "check the directory's owner and mode")
        return BitnetError(f"{self.path} cannot be written: {error.strerror}", hint=hint)

    def _fail(self, message: str) -> None:
        self.abort()
        raise BitnetError(f"{self.path}: {message}")


def _remove_file(path: Path) -> None:
    with suppress(OSError):  # Where a file stands in place of the directory there is nothing to remove.
        path.unlink(missing_ok=True)


def _padded(n_bytes: int, alignment: int) -> int:
    return -(-n_bytes // alignment) * alignment


def _with_alignment(
    metadata: Sequence[tuple[str, str, object]], alignment: int
) -> list[tuple[str, str, object]]:
    if alignment < 8 or alignment & (alignment - 1):
        raise RepresentationError(f"alignment must be a power of two and at least 8, not {alignment}")
    pairs = list(metadata)
    keys = [key for key, _, _ in pairs]
    if len(set(keys)) != len(keys):
        raise RepresentationError("a metadata key is given twice")
    if "general.alignment" in keys:
        if pairs[keys.index("general.alignment")][1:] != ("u32", alignment):
            raise RepresentationError(f"`general.alignment` must be the u32 {alignment}")
    elif alignment != DEFAULT_ALIGNMENT:
        pairs.append(("general.alignment", "u32", alignment))
    return pairs


def _header(
    metadata: Sequence[tuple[str, str, object]],
    tensors: Sequence[TensorSpec],
    sizes: dict[str, int],
    alignment: int,
) -> bytes:
    parts = [MAGIC, struct.pack("<IQQ", _VERSION, len(tensors), len(metadata))]
    for key, type_word, value in metadata:
        parts += [_string(key), _value(key, type_word, value)]
    offset = 0
    for spec in tensors:
        if not 1 <= len(spec.shape) <= MAX_DIMS or min(spec.shape) < 1:
            raise RepresentationError(f"`{spec.name}` has the shape {spec.shape}, which GGUF cannot hold")
        parts.append(_string(spec.name))
        parts.append(struct.pack(f"<I{len(spec.shape)}Q", len(spec.shape), *reversed(spec.shape)))
        parts.append(struct.pack("<IQ", file_number(spec.type), offset))
        offset += _padded(sizes[spec.name], alignment)
    header = b"".join(parts)
    return header + bytes(_padded(len(header), alignment) - len(header))


def _string(text: str) -> bytes:
    try:
        raw = text.encode("utf-8")
    except UnicodeEncodeError:
        raise RepresentationError("a string of the metadata cannot be written as UTF-8") from None
    return struct.pack("<Q", len(raw)) + raw


def _value(key: str, type_word: str, value: object) -> bytes:
    """Value type and value of a pair, as they stand in the file."""
    try:
        if type_word.startswith("array<") and type_word.endswith(">"):
            element = ValueType[type_word[6:-1].upper()]
            return struct.pack("<I", ValueType.ARRAY) + _array(element, value)
        value_type = ValueType[type_word.upper()]
        return struct.pack("<I", value_type) + _scalar(value_type, value)
    except (KeyError, TypeError, ValueError, OverflowError, struct.error):
        shown = printable(repr(value), 60)
        raise RepresentationError(f"`{key}`: {shown} is not a value of type `{type_word}`") from None


def _scalar(value_type: ValueType, value: object) -> bytes:
    if value_type == ValueType.STRING:
        if not isinstance(value, str):
            raise TypeError
        return _string(value)
    if value_type == ValueType.BOOL:
        if not isinstance(value, bool | np.bool_):
            raise TypeError
        value = int(value)
    return SCALARS[value_type].packing.pack(value)


def _array(element: ValueType, value: object) -> bytes:
    if not isinstance(value, list | tuple | np.ndarray):
        raise TypeError
    head = struct.pack("<IQ", element, len(value))
    if isinstance(value, np.ndarray) and element != ValueType.BOOL:
        dtype = SCALARS[element].dtype
        if (
            value.ndim != 1
            or (value.dtype.kind in "iu") != (dtype.kind in "iu")
            or value.dtype.kind not in "iuf"
        ):
            raise TypeError
        with np.errstate(over="ignore"):
            cast = value.astype(dtype)
        if not (np.array_equal(cast, value) if dtype.kind in "iu" else np.isfinite(cast).all()):
            raise OverflowError
        return head + cast.tobytes()
    return head + b"".join(_scalar(element, item) for item in value)
