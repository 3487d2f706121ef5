"""SIGTERM as an exception, so that it leaves no half-written file behind."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Terminated(BaseException):
    """The process was asked to end. Not an Exception, as KeyboardInterrupt is none: nobody handles it on the way."""


@contextmanager
def sigterm_raises() -> Iterator[None]:
    """Inside the block SIGTERM raises Terminated; afterwards it does what it did before.

    Nothing changes where SIGTERM is ignored, and outside the main thread, where Python cannot set handlers.
    """
    before = signal.getsignal(signal.SIGTERM)
    if before is signal.SIG_IGN or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGTERM, _raise)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)


def _raise(*_: object) -> None:
    raise Terminated
