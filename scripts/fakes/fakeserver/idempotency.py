"""Idempotency keys: a call that is repeated with its key does nothing and gets the first answer again."""

from __future__ import annotations

import hashlib

from .messages import Answer, Refusal, Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .clock import Clock


class KeyReused(Refusal):
    """The key came before, with another request."""

    def __init__(self, key: str) -> None:
        super().__init__(400, f"the idempotency key {key} came before with another request")


class KeyInUse(Refusal):
    """The first call with this key has not been answered yet."""

    def __init__(self, key: str) -> None:
        super().__init__(409, f"the call with the idempotency key {key} is still running")


class Kept:
    """The answer to the first call with a key; it is running until its answer is sent."""

    __slots__ = ("answer", "fingerprint", "is_running", "until")

    def __init__(self, fingerprint: bytes, answer: Answer, until: float) -> None:
        self.fingerprint, self.answer, self.until, self.is_running = fingerprint, answer, until, True


class IdempotencyKeys:
    """The keys of an account, kept for `seconds`: 24 hours at Stripe, 3 at PortOne.

    `headers` are added to a repeated answer.
    """

    def __init__(self, clock: Clock, seconds: float, headers: Iterable[tuple[str, object]] = ()) -> None:
        self.clock, self.seconds, self.headers = clock, seconds, list(headers)
        self.kept: dict[str, Kept] = {}

    def run(self, key: str, request: Request, work: Callable[[], Answer]) -> Answer:
        """The answer of `work`, or its first answer. A refusal that it raises is not kept.

        Without a key each call is carried out.
        """
        if not key:
            return work()
        fingerprint = hashlib.sha256(f"{request.method} {request.target}\n".encode() + request.body).digest()
        kept = self.kept.get(key)
        if kept and kept.until > self.clock.now():
            if kept.fingerprint != fingerprint:
                raise KeyReused(key)
            if kept.is_running:
                raise KeyInUse(key)
            again = kept.answer.copy()
            again.headers += self.headers
            return again
        answer = work()
        kept = self.kept[key] = Kept(fingerprint, answer.copy(), self.clock.now() + self.seconds)

        def finish() -> None:
            kept.is_running = False

        answer.finish = finish
        return answer
