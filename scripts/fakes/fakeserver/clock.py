"""The time of an account."""

from __future__ import annotations

import time


class Clock:
    """This machine's clock, moved by `ahead` seconds.

    Everything that an account states or decides by time uses it, so `ahead` serves both for a server whose clock is
    wrong and for time that passes without the test waiting.
    """

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        """Seconds since 1970, for times in answers and for what expires."""
        return time.time() + self.ahead

    def tick(self) -> float:
        """Seconds for throttles. It does not jump when the machine's clock is set."""
        return time.monotonic() + self.ahead
