"""The digests that the hub names contents by: sha256 of large files, git's sha1 of small ones."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

_BLOCK_BYTES = 1 << 20


def digest_of(path: Path, *, is_sha256: bool, progress: Callable[[int], None] | None = None) -> str:
    """The digest of a file's content, in hexadecimal.

    Args:
        is_sha256: else the sha1 by which git names a file of this content.
        progress: called with the number of bytes read so far.

    Raises:
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.sha256() if is_sha256 else hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        done = 0
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            done += len(block)
            if progress is not None:
                progress(done)
    return digest.hexdigest()
