"""Ways to break an answer.

A fault replaces the real answer, changes it, delays it or sends it badly. A rule decides which calls a fault hits, how
many times and with which parameters. docs/fakes.md lists them all.
"""

from __future__ import annotations

import functools
import json
import threading
import zlib

from .messages import Answer, Refusal
from .wire import REASONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .messages import Request
    from .server import Account
    from .wire import Connection

    Instead = Callable[["Rule", Account], Answer]
    Change = Callable[["Rule", Answer], None]
    Wait = Callable[["Rule", "Gate"], None]
    Send = Callable[["Rule", "Outgoing"], bool]

# What every rule may have.
COMMON = frozenset({"path", "method", "contains", "fault", "after", "times", "headers", "undone", "done"})
MEBIBYTE = 1 << 20


class Fault:
    """A kind of fault. Without `instead` the call is carried out as if nothing were wrong."""

    def __init__(
        self,
        *parameters: str,
        needs: str = "",
        instead: Instead | None = None,
        change: Change | None = None,
        wait: Wait | None = None,
        send: Send | None = None,
        is_answered: bool = True,
    ) -> None:
        self.parameters, self.needs = COMMON.union(parameters, {needs} - {""}), needs
        self.instead, self.change, self.wait, self.send = instead, change, wait, send
        # Whether any answer arrives: the log has status 0 for a call that got none.
        self.is_answered = is_answered


class Rule:
    """A fault, and which calls it hits."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.kind: str = spec["fault"]
        if self.kind not in FAULTS:
            raise ValueError(f"no fault `{self.kind}`")
        self.spec = spec
        self.fault = FAULTS[self.kind]
        # A parameter that is misspelt would make a test pass for the wrong reason.
        if unknown := sorted(spec.keys() - self.fault.parameters):
            raise ValueError(f"`{self.kind}` does not take `{unknown[0]}`")
        if self.fault.needs:
            spec[self.fault.needs]
        self.path, self.method, self.contains = spec.get("path", ""), spec.get("method"), spec.get("contains", "")
        self.after, self.times, self.seen = spec.get("after", 0), spec.get("times", 1), 0
        is_done = self.fault.instead is None
        # Whether the call does its work although its answer is broken.
        self.is_done = not spec.get("undone", False) if is_done else spec.get("done", False)
        # The last answer that passed, for `repeat_page`.
        self.passed: Answer | None = None

    def matches(self, request: Request) -> bool:
        return (
            self.path in request.target
            and self.method in (None, request.method)
            and (not self.contains or self.contains.encode() in request.body)
        )

    def instead(self, account: Account) -> Answer:
        """The answer that replaces the real one."""
        return self.fault.instead(self, account) if self.fault.instead else Answer(200)

    def spoil(self, answer: Answer) -> None:
        if self.fault.change:
            self.fault.change(self, answer)
        for name, value in self.spec.get("headers", {}).items():
            answer.set_header(name, value)


def hit(rules: list[Rule], request: Request) -> Rule | None:
    """The first rule that hits this call. Every rule that matches counts the call, whichever hits it."""
    found = None
    for rule in rules:
        if rule.matches(request):
            rule.seen += 1
            if found is None and rule.seen > rule.after and rule.times:
                rule.times -= 1
                found = rule
    return found


def note_passed(rules: list[Rule], request: Request, answer: Answer) -> None:
    """Keeps an answer that no rule hit for the rules that will repeat it."""
    for rule in rules:
        if rule.kind == "repeat_page" and rule.matches(request):
            rule.passed = answer.copy()


class Gate:
    """Holds answers back until they are released."""

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.releases = self.held = 0
        self.is_open = False

    def hold(self) -> None:
        with self.condition:
            self.held += 1
            before = self.releases
            self.condition.wait_for(lambda: self.is_open or self.releases != before)
            self.held -= 1

    def pause(self, seconds: float) -> None:
        """A sleep that does not keep the server from stopping."""
        with self.condition:
            self.condition.wait_for(lambda: self.is_open, seconds)

    def release(self) -> None:
        """Releases the answers held now; later ones are held again."""
        with self.condition:
            self.releases += 1
            self.condition.notify_all()

    def open(self) -> None:
        """Releases all answers from now on, so that the server can stop."""
        with self.condition:
            self.is_open = True
            self.condition.notify_all()


class Outgoing:
    """An answer being sent. `head` makes its head, which states the length that it is given."""

    def __init__(
        self, connection: Connection, answer: Answer, head: Callable[[int | None], bytes], gate: Gate, rows_name: str
    ) -> None:
        self.connection, self.answer, self.head, self.gate, self.rows_name = connection, answer, head, gate, rows_name

    def send(self) -> bool:
        """Sends it properly; returns that the connection goes on."""
        self.connection.send(self.head(len(self.answer.body)) + self.answer.body)
        return True


# Instead of the answer ----------------------------------------------------------------------------------------------


def status_answer(rule: Rule, account: Account) -> Answer:
    status = rule.spec.get("status", 503)
    answer = account.refuse(Refusal(status, rule.spec.get("message", REASONS.get(status, "Error"))))
    if "body" in rule.spec:
        body = rule.spec["body"]
        answer.body = (body if isinstance(body, str) else json.dumps(body)).encode()
    return answer


def html_answer(rule: Rule, account: Account) -> Answer:
    page = account.maintenance_page.encode()
    return Answer(rule.spec.get("status", 200), page, content_type="text/html; charset=utf-8")


def garbage_answer(_rule: Rule, account: Account) -> Answer:
    return Answer(200, f'{{"{account.rows_name}":[{{"id":1,"name":"kim'.encode())


def redirect_answer(rule: Rule, _account: Account) -> Answer:
    return Answer(rule.spec.get("status", 302), headers=[("Location", rule.spec["location"])])


def bomb_answer(rule: Rule, _account: Account) -> Answer:
    """Compressed whether the client accepts gzip or not: a client that decompresses it must check the size."""
    body = packed_blanks(max(1, int(rule.spec.get("mebibytes", 256))))
    return Answer(200, body, headers=[("Content-Encoding", "gzip")])


@functools.lru_cache(maxsize=4)
def packed_blanks(mebibytes: int) -> bytes:
    """This many MiB of blanks as gzip, about a thousandth of that size.

    After a full flush the compressed bytes refer to nothing before them, so those of one MiB can be repeated.
    """
    blanks = b" " * MEBIBYTE
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    piece = packer.compress(blanks) + packer.flush(zlib.Z_FULL_FLUSH)
    check = 0
    for _ in range(mebibytes):
        check = zlib.crc32(blanks, check)
    size = mebibytes * MEBIBYTE & 0xFFFFFFFF
    head = b"\x1f\x8b\x08" + b"\0" * 6 + b"\xff"
    # An empty last block, then RFC 1952's checksum and size.
    return head + piece * mebibytes + b"\x03\x00" + check.to_bytes(4, "little") + size.to_bytes(4, "little")


def nothing(_rule: Rule, _account: Account) -> Answer:
    return Answer(200)


# Changed ------------------------------------------------------------------------------------------------------------


def truncate(_rule: Rule, answer: Answer) -> None:
    """Half the body with a length that fits it: only a client that reads the body can notice."""
    answer.body = answer.body[: len(answer.body) // 2]


def change_lists(answer: Answer, change: Callable[[list[Any]], list[Any]]) -> None:
    """Changes the outermost lists of a JSON body. What indicates further pages stays as it is."""
    try:
        body = json.loads(answer.body)
    except ValueError:
        return
    if isinstance(body, list):
        body = change(body)
    elif isinstance(body, dict):
        body = {name: change(value) if isinstance(value, list) else value for name, value in body.items()}
    answer.body = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def empty_page(_rule: Rule, answer: Answer) -> None:
    change_lists(answer, lambda _: [])
    answer.rows = 0


def short_page(_rule: Rule, answer: Answer) -> None:
    change_lists(answer, lambda rows: rows[: (len(rows) + 1) // 2])
    answer.rows = (answer.rows + 1) // 2


def repeat_page(rule: Rule, answer: Answer) -> None:
    before = rule.passed
    if before:
        answer.status, answer.body, answer.rows = before.status, before.body, before.rows
        answer.headers = list(before.headers)


# Late ---------------------------------------------------------------------------------------------------------------


def wait_seconds(rule: Rule, gate: Gate) -> None:
    gate.pause(rule.spec.get("seconds", 1))


def wait_for_release(_rule: Rule, gate: Gate) -> None:
    gate.hold()


# Sent badly ---------------------------------------------------------------------------------------------------------


def send_reset(_rule: Rule, outgoing: Outgoing) -> bool:
    outgoing.connection.reset_on_close()
    return False


def send_nothing(_rule: Rule, _outgoing: Outgoing) -> bool:
    return False


def send_noise(_rule: Rule, outgoing: Outgoing) -> bool:
    outgoing.connection.send(b"\x15\x03\x01\x00\x02\x02\x16 not HTTP \xff\xfe\r\n\r\n")
    return False


def send_half(_rule: Rule, outgoing: Outgoing) -> bool:
    body = outgoing.answer.body
    outgoing.connection.send(outgoing.head(len(body)) + body[: len(body) // 2])
    return False


def send_half_and_hold(rule: Rule, outgoing: Outgoing) -> bool:
    send_half(rule, outgoing)
    outgoing.gate.hold()
    return False


def send_wrong_length(rule: Rule, outgoing: Outgoing) -> bool:
    """With a length that is too small, the rest of the body looks like the beginning of the next answer."""
    body, by = outgoing.answer.body, int(rule.spec.get("by", 1))
    outgoing.connection.send(outgoing.head(max(0, len(body) + by)) + body)
    return by <= 0


def send_in_drops(rule: Rule, outgoing: Outgoing) -> bool:
    connection, body, rate = outgoing.connection, outgoing.answer.body, max(1, rule.spec.get("bytes_per_second", 100))
    connection.send(outgoing.head(len(body)))
    size = max(1, rate // 20)
    for start in range(0, len(body), size):
        outgoing.gate.pause(size / rate)
        connection.send(body[start : start + size])
    return True


def send_without_end(_rule: Rule, outgoing: Outgoing) -> bool:
    connection, answer = outgoing.connection, outgoing.answer
    answer.headers.append(("Transfer-Encoding", "chunked"))
    connection.send(outgoing.head(None) + chunk(f'{{"{outgoing.rows_name}":[1'.encode()))
    piece = chunk(b",1" * 32768)
    while True:
        connection.send(piece)


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


FAULTS = {
    # Instead of the answer.
    "status": Fault("status", "message", "body", instead=status_answer),
    "html": Fault("status", instead=html_answer),
    "garbage": Fault(instead=garbage_answer),
    "empty": Fault(instead=nothing),
    "redirect": Fault("status", needs="location", instead=redirect_answer),
    "bomb": Fault("mebibytes", instead=bomb_answer),
    "huge": Fault(instead=nothing, send=send_without_end),
    "reset": Fault(instead=nothing, send=send_reset, is_answered=False),
    "noise": Fault(instead=nothing, send=send_noise, is_answered=False),
    # The real answer, changed.
    "headers": Fault(),
    "truncated": Fault(change=truncate),
    "empty_page": Fault(change=empty_page),
    "short_page": Fault(change=short_page),
    "repeat_page": Fault(change=repeat_page),
    # The real answer, late.
    "slow": Fault("seconds", wait=wait_seconds),
    "hold": Fault(wait=wait_for_release),
    # The real answer, sent badly.
    "lost": Fault(send=send_nothing, is_answered=False),
    "cut": Fault(send=send_half),
    "stall": Fault(send=send_half_and_hold),
    "length": Fault("by", send=send_wrong_length),
    "drip": Fault("bytes_per_second", send=send_in_drops),
}
