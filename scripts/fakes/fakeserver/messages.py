"""Requests, answers and refusals, as a platform sees them."""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

UNQUOTED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~,:")


class BadRequest(Exception):
    """Bytes that are not a request that this server understands. The connection ends with the answer."""

    def __init__(self, why: str, status: int = 400) -> None:
        super().__init__(why)
        self.status = status


class Refusal(Exception):
    """A call that a platform refuses. `Account.refuse` gives it the platform's own shape."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


class BadParameter(Refusal):
    """A parameter that a platform refuses."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(400, f"{name} {why}")
        self.name = name


class Answer:
    """An answer before it is sent. `rows` is how many records it holds, for the log.

    A header of None is left out, though the server would add it (`Date`, `Server`).
    """

    __slots__ = ("body", "content_type", "finish", "headers", "rows", "status")

    def __init__(
        self,
        status: int,
        body: bytes = b"",
        rows: int = 0,
        content_type: str = "application/json; charset=utf-8",
        headers: Iterable[tuple[str, object]] = (),
    ) -> None:
        self.status, self.body, self.rows, self.content_type = status, body, rows, content_type
        self.headers: list[tuple[str, object]] = list(headers)
        # Called when nothing delays the answer any more, just before it is sent.
        self.finish: Callable[[], None] | None = None

    def copy(self) -> Answer:
        """The same answer to be sent again, without what its first sending completes."""
        return Answer(self.status, self.body, self.rows, self.content_type, self.headers)

    def has_header(self, name: str) -> bool:
        return any(given.lower() == name.lower() for given, _ in self.headers)

    def set_header(self, name: str, value: object) -> None:
        """Replaces the header of this name, ignoring case."""
        if name.lower() == "content-type":
            self.content_type = str(value)
            return
        self.headers = [header for header in self.headers if header[0].lower() != name.lower()]
        self.headers.append((name, value))


def json_answer(value: object, status: int = 200, rows: int = 0) -> Answer:
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return Answer(status, body, rows)


class Request:
    """A request. The first part of its path names the account; `path`, `parts` and `target` are without it."""

    def __init__(self, method: str, target: str, headers: dict[str, str], body: bytes, connection: int) -> None:
        self.method, self.headers, self.body, self.connection = method, headers, body, connection
        path, _, query = target.partition("?")
        self.query = pairs(query)
        _, self.account, rest = (path + "/").split("/", 2)
        self.path = "/" + rest.rstrip("/")
        self.target = self.path + ("?" + query if query else "")
        self.host = headers.get("host", "127.0.0.1")
        # What the platform adds to the request's entry in the log, or overwrites in it.
        self.notes: dict[str, Any] = {}

    @property
    def parts(self) -> list[str]:
        """The parts of the path, for `match`."""
        return [unquote(part) for part in self.path.split("/")[1:]]

    def form(self) -> dict[str, str]:
        return pairs(self.body.decode("utf-8", "replace"))

    def json(self) -> Any:
        """The body as JSON; an empty one is an empty object. ValueError if it is not JSON."""
        return json.loads(self.body) if self.body.strip() else {}

    def content_type(self) -> str:
        """The media type of the body, in lower case and without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def authorization(self) -> tuple[str, str]:
        """Scheme in lower case, and the credentials after it."""
        scheme, _, value = self.headers.get("authorization", "").partition(" ")
        return scheme.lower(), value.strip()

    def takes_gzip(self) -> bool:
        return "gzip" in self.headers.get("accept-encoding", "")

    def logged_body(self) -> Any:
        """The body as the log shows it: JSON or a form decoded, anything else as text."""
        if self.content_type() == "application/x-www-form-urlencoded":
            return self.form()
        try:
            return self.json()
        except ValueError:
            return self.body.decode("utf-8", "replace")


# Not urllib.parse: it takes longer to import than all of this, and guesses where a platform refuses.


def unquote(text: str) -> str:
    first, *others = text.split("%")
    try:
        pieces = [first.encode()]
        for other in others:
            if len(other) < 2:
                raise ValueError(text)
            pieces += [bytes.fromhex(other[:2]), other[2:].encode()]
        return b"".join(pieces).decode()
    except ValueError:
        raise BadRequest("a bad percent-encoding") from None


def quote(text: str) -> str:
    return "".join(chr(byte) if byte in UNQUOTED else f"%{byte:02X}" for byte in text.encode())


def pairs(text: str) -> dict[str, str]:
    """A query or a form; if a name is repeated, the last one counts."""
    found = {}
    for pair in text.split("&"):
        if pair:
            name, _, value = pair.replace("+", " ").partition("=")
            found[unquote(name)] = unquote(value)
    return found
