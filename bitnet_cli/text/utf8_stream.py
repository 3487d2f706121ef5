"""Bytes of tokens into characters as they come, never cutting inside one."""

from __future__ import annotations

import codecs


class Utf8Stream:
    """Decodes a stream of bytes; a character is given out with its last byte, invalid bytes as U+FFFD."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, data: bytes) -> str:
        """The characters that are complete now."""
        return self._decoder.decode(data)

    def flush(self) -> str:
        """What is left of an unfinished character, as U+FFFD; the stream is then ready for a new text."""
        rest = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return rest
