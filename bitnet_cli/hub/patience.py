"""How often and how long to wait when the hub or the network fails for a moment."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

from bitnet_cli.errors import HubError

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
LONGEST_ASKED_S = 300.0
"""If the hub asks for a longer pause than this, it is told to the user instead of waiting."""


class Patience:
    """Pauses between tries, longer each time, beginning anew whenever something arrived.

    Args:
        tries: failures in a row after which the last one is raised.
        stop: set to end a pause early.
        tell: called with a sentence before a pause of more than a moment.
    """

    def __init__(
        self,
        tries: int,
        stop: threading.Event | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self._tries, self._stop, self._tell = tries, stop or threading.Event(), tell
        self._failures = 0
        self._arrived = False

    def arrived(self) -> None:
        """Something came: the next failure is the first again."""
        self._arrived = True

    def wait(self, error: HubError) -> None:
        """Pauses before the next try.

        Raises:
            HubError: the error itself, if it will not pass or was met too often.
        """
        if not error.passing:
            raise error
        pause = 0.0
        if self._arrived:  # A connection that was cut while it worked is opened again at once.
            self._arrived, self._failures = False, 0
        else:
            self._failures += 1
            pause = min(FIRST_PAUSE_S * 2 ** (self._failures - 1), LONGEST_PAUSE_S)
            pause *= random.uniform(0.8, 1.2)  # Several connections must not all come back at once.
        if self._failures >= self._tries:
            raise error
        if error.wait_s is not None:
            if error.wait_s > LONGEST_ASKED_S:
                raise error
            pause = max(pause, error.wait_s)
        if pause >= 1 and self._tell is not None:
            self._tell(f"{error.message}; trying again in {pause:.0f} s")
        self._stop.wait(pause)
