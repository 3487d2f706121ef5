"""An observer of downloads that remembers what it hears."""

from __future__ import annotations


class Told:
    """Hears everything."""

    def __init__(self) -> None:
        self.sentences: list[str] = []
        self.arrivals: list[int] = []

    def begin(self, file: object) -> None: ...

    def arrived(self, file: object, n_bytes: int) -> None:
        self.arrivals.append(n_bytes)

    def checked(self, file: object, n_bytes: int) -> None: ...

    def finished(self, file: object) -> None: ...

    def told(self, sentence: str) -> None:
        self.sentences.append(sentence)
