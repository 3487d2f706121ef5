"""A file mapped into memory for reading, and the place of an error in it.

Both containers read through a FileMapping: bytes are fetched by the operating system as they are touched and
are never copied by it. A file that another process shortens while it is mapped cannot be read safely by any
program; files are therefore replaced by renaming, as GGUFWriter does.
"""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from bitnet_cli.errors import BitnetError, FormatError, UnsupportedError, printable


class FileMapping:
    """A regular file, mapped read-only.

    Args:
        path: the file.

    Raises:
        BitnetError: the file is missing, unreadable or not a regular file.
        FormatError: the file is empty.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            # Non-blocking, or opening a named pipe would wait for a writer for ever.
            fd = os.open(self.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        except (OSError, ValueError) as error:
            raise _cannot_open(self.path, error) from None
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                kind = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
                raise BitnetError(f"{self.path} is {kind}", hint="give the path of a file")
            if status.st_size == 0:
                raise FormatError("the file is empty", path=self.path)
            self.size = status.st_size
            self._map: mmap.mmap | None = mmap.mmap(fd, self.size, access=mmap.ACCESS_READ)
        except OSError as error:
            raise _cannot_open(self.path, error) from None
        finally:
            os.close(fd)

    @property
    def buffer(self) -> mmap.mmap:
        """The whole file, for `struct` and slicing."""
        if self._map is None:
            raise ValueError(f"{self.path} was closed")
        return self._map

    def view(self, offset: int, n_bytes: int) -> np.ndarray:
        """Bytes `offset`..`offset + n_bytes`: uint8 [n_bytes], read-only, no copy.

        The view keeps the mapping alive, also after `close`.
        """
        return np.frombuffer(self.buffer, np.uint8, count=n_bytes, offset=offset)

    def advise_done(self, offset: int, n_bytes: int) -> None:
        """Lets the system drop the whole pages of the range from memory; touching them reads them again."""
        start = -(-offset // mmap.PAGESIZE) * mmap.PAGESIZE
        length = (offset + n_bytes) // mmap.PAGESIZE * mmap.PAGESIZE - start
        if length > 0 and hasattr(mmap, "MADV_DONTNEED"):
            self.buffer.madvise(mmap.MADV_DONTNEED, start, length)

    def close(self) -> None:
        """Gives the mapping up; it goes when the last view of it goes."""
        self._map = None


@contextmanager
def located(path: str | Path, tensor: str | None = None, offset: int | None = None) -> Iterator[None]:
    """Adds the file, and the tensor, to a FormatError or UnsupportedError that leaves the block without a path.

    Codecs see bytes and no file; whoever knows the file calls them inside this block.
    """
    try:
        yield
    except FormatError as error:
        if error.path is not None:
            raise
        raise FormatError(error.message, path=path, tensor=tensor, offset=offset, hint=error.hint) from error
    except UnsupportedError as error:
        if error.message.startswith(str(path)):
            raise
        where = f"{path}: `{printable(tensor)}`" if tensor is not None else str(path)
        raise UnsupportedError(f"{where}: {error.message}", hint=error.hint) from error


def _cannot_open(path: Path, error: OSError | ValueError) -> BitnetError:
    if isinstance(error, FileNotFoundError):
        return BitnetError(f"{path} does not exist", hint="check the path")
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return BitnetError(f"{path} cannot be read: {reason}", hint="check the file's kind, owner and mode")
