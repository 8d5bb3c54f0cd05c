"""How platforms limit calls. Each takes the time from its caller (`Clock.tick`), so that a test need not wait.

A throttle for each endpoint, channel or token is `collections.defaultdict(lambda: Window(20, 60))`.
"""

from __future__ import annotations

import collections
import math


class LeakyBucket:
    """Each call adds to the bucket, which drains all the time; a call for which there is no room is refused.

    Shopify's REST API has 40 and 2 a second, and so does Cafe24.
    """

    def __init__(self, size: float, drain_per_second: float) -> None:
        self.size, self.drain = size, drain_per_second
        self.level, self.at = 0.0, -math.inf

    def drained(self, now: float) -> float:
        """The level now. Nothing is added; a clock that is set back fills nothing."""
        if now > self.at:
            # The first call comes after an infinite time, which a drain of 0 would make NaN.
            elapsed = now - self.at if self.level else 0.0
            self.level, self.at = max(0.0, self.level - elapsed * self.drain), now
        return self.level

    def take(self, now: float, cost: float = 1) -> bool:
        """Counts a call; False if it is refused."""
        if self.drained(now) + cost > self.size:
            return False
        self.level += cost
        return True

    def wait(self, cost: float = 1) -> float:
        """Seconds until there is room for a call, as in `Retry-After`."""
        missing = self.level + cost - self.size
        return 0.0 if missing <= 0 else missing / self.drain if self.drain else math.inf


class Window:
    """This many calls in each window, which begins with its first call: LINE WORKS, Chatwork, the tiers of Slack."""

    def __init__(self, most: int, seconds: float) -> None:
        self.most, self.seconds = most, seconds
        self.used, self.until = 0, -math.inf

    def take(self, now: float) -> bool:
        """Counts a call; False if it is refused."""
        if now >= self.until:
            self.used, self.until = 0, now + self.seconds
        if self.used >= self.most:
            return False
        self.used += 1
        return True

    def remaining(self) -> int:
        return self.most - self.used

    def reset(self, now: float) -> float:
        """Seconds until the window ends."""
        return max(0.0, self.until - now)


class Burst:
    """Detects more than `most` calls within `seconds`, whenever they begin. It refuses nothing."""

    def __init__(self, most: int, seconds: float) -> None:
        self.seconds = seconds
        self.latest: collections.deque[float] = collections.deque(maxlen=most + 1)

    def is_over(self, now: float) -> bool:
        """Counts a call."""
        self.latest.append(now)
        return len(self.latest) == self.latest.maxlen and now - self.latest[0] < self.seconds
