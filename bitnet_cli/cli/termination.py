"""SIGTERM, and the SIGHUP of a terminal that is closed, as an exception, so that they leave no half-written file behind."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Windows knows no SIGHUP."""


class Terminated(BaseException):
    """The process was asked to end. Not an Exception, as KeyboardInterrupt is none: nobody handles it on the way."""


@contextmanager
def termination_raises() -> Iterator[None]:
    """Inside the block SIGTERM and SIGHUP raise Terminated; afterwards they do what they did before.

    Nothing changes where one is ignored, as `nohup` does, and outside the main thread, where Python cannot set handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    heard = [number for number in _SIGNALS if before[number] is not signal.SIG_IGN]
    for number in heard:
        signal.signal(number, _raise)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number] or signal.SIG_DFL)


def _raise(*_: object) -> None:
    raise Terminated
