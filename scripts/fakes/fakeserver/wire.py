"""HTTP/1.1 as bytes on a connection. Nothing here knows an account or a platform."""

from __future__ import annotations

import functools
import socket
import struct
import time

from .messages import Answer, BadRequest, Request

MOST_HEADER_BYTES = 64 * 1024
RECEIVED_AT_ONCE = 1 << 20

REASONS = {
    200: "OK", 201: "Created", 202: "Accepted", 204: "No Content", 206: "Partial Content", 302: "Found",
    304: "Not Modified", 400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 403: "Forbidden",
    404: "Not Found", 405: "Method Not Allowed", 408: "Request Timeout", 409: "Conflict", 410: "Gone",
    411: "Length Required", 412: "Precondition Failed", 413: "Content Too Large", 415: "Unsupported Media Type",
    416: "Range Not Satisfiable", 422: "Unprocessable Entity", 423: "Locked", 424: "Failed Dependency",
    429: "Too Many Requests", 500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable",
    504: "Gateway Timeout",
}
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@functools.lru_cache(maxsize=64)
def date_text(at: int) -> str:
    """The `Date` header of a second: `Thu, 19 Nov 2026 16:00:00 GMT`."""
    year, month, day, hour, minute, second, week_day, _, _ = time.gmtime(at)
    return f"{DAYS[week_day]}, {day:02d} {MONTHS[month - 1]} {year} {hour:02d}:{minute:02d}:{second:02d} GMT"


def head_of(answer: Answer, server: str, now: float, length: int | None) -> bytes:
    """The head of an answer that states its body's `length` in bytes, or, with None, does not."""
    lines = [f"HTTP/1.1 {answer.status} {REASONS.get(answer.status, 'Unknown')}"]
    given = {name.lower() for name, _ in answer.headers}
    if "date" not in given:
        lines.append(f"Date: {date_text(int(now))}")
    if "server" not in given:
        lines.append(f"Server: {server}")
    lines.append(f"Content-Type: {answer.content_type}")
    lines += [f"{name}: {value}" for name, value in answer.headers if value is not None]
    # RFC 9110 section 8.6: a 204 must not have a length.
    if length is not None and answer.status != 204:
        lines.append(f"Content-Length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "replace")


class Connection:
    """Reads requests from a connection and writes to it."""

    def __init__(self, stream: socket.socket, number: int, most_body_bytes: int) -> None:
        self.stream, self.number, self.most_body_bytes, self.buffer = stream, number, most_body_bytes, b""
        # Head and body go out at once; waiting for the client's ACK would only slow them.
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data: bytes) -> None:
        self.stream.sendall(data)

    def reset_on_close(self) -> None:
        """Makes the close a reset: without lingering, what is unsent is dropped and the peer gets RST."""
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def request(self) -> Request | None:
        """The next one; None when the client has gone."""
        while (end := self.buffer.find(b"\r\n\r\n")) < 0:
            if len(self.buffer) > MOST_HEADER_BYTES:
                raise BadRequest("headers too large")
            piece = self.stream.recv(65536)
            if not piece:
                return None
            self.buffer += piece
        head, self.buffer = self.buffer[:end], self.buffer[end + 4:]
        try:
            first, *lines = head.decode("ascii").split("\r\n")
            method, target, _version = first.split(" ")
        except ValueError:
            raise BadRequest("special characters must be percent-encoded") from None
        headers = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon:
                raise BadRequest("a bad header")
            headers[name.lower()] = value.strip()
        if not target.startswith("/"):
            raise BadRequest("a bad target")
        return Request(method, target, headers, self.body(headers), self.number)

    def body(self, headers: dict[str, str]) -> bytes:
        text = headers.get("content-length", "0")
        if "transfer-encoding" in headers or not (text.isascii() and text.isdigit()):
            raise BadRequest("the length of the body is not stated", 411)
        # Bounded before it is read: digits alone can be more than `int` takes.
        if len(text) > 18 or int(text) > self.most_body_bytes:
            raise BadRequest(f"the body is larger than {self.most_body_bytes} bytes", 413)
        length = int(text)
        if headers.get("expect", "").lower() == "100-continue":
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        pieces, missing = [self.buffer], length - len(self.buffer)
        while missing > 0:
            piece = self.stream.recv(min(missing, RECEIVED_AT_ONCE))
            if not piece:
                raise ConnectionResetError
            pieces.append(piece)
            missing -= len(piece)
        whole = b"".join(pieces)
        self.buffer = whole[length:]
        return whole[:length]
