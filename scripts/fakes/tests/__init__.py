"""Tests of `fakeserver`, with a small platform and a client that sees bytes."""

from __future__ import annotations

import argparse
import json
import socket
import threading
import time
import unittest
from typing import Any

from fakeserver.idempotency import IdempotencyKeys
from fakeserver.messages import Answer, Refusal, Request, json_answer
from fakeserver.server import Account, Server


class Shelf(Account):
    """Books that are listed, added and removed. /broken is a bug in the platform."""

    server_name, plural, rows_name = "shelf-local", "shelves", "books"
    counters = ("added",)

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        super().__init__(name, options)
        self.books: list[Any] = []
        self.keys = IdempotencyKeys(self.clock, 3600)
        self.actions["data"] = lambda data: self.books.extend(data["books"])

    def refuse(self, refusal: Refusal) -> Answer:
        return json_answer({"error": refusal.message}, refusal.status)

    def answer(self, request: Request) -> Answer:
        match request.method, request.parts:
            case "GET" | "HEAD", ["books"]:
                return json_answer({"books": self.books, "more": True}, rows=len(self.books))
            case "POST", ["books"]:
                return self.keys.run(request.headers.get("idempotency-key", ""), request, lambda: self.add(request))
            case "DELETE", ["books", name]:
                self.books.remove(name)
                return Answer(204)
            case _, ["broken"]:
                raise RuntimeError("a mistake")
        raise Refusal(404, "no such path")

    def admit(self, request: Request) -> tuple[list[tuple[str, object]], Answer | None]:
        return [("X-Left", 10)], None

    def add(self, request: Request) -> Answer:
        self.books.append(request.logged_body())
        self.counts["added"] += 1
        answer = json_answer({"added": len(self.books)}, 201)
        answer.headers.append(("Location", f"/books/{len(self.books)}"))
        return answer


class Reply:
    """An answer as received: the status, the headers in lower case, the body, and the bytes of all that."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        head, _, self.body = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split(" ")[1]) if first.startswith("HTTP/1.1 ") else 0
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class ServerTest(unittest.TestCase):
    """A test with a server in this process, stopped with it."""

    def setUp(self) -> None:
        self.server = Server(Shelf)
        self.port = self.server.listen()
        thread = threading.Thread(target=self.server.run)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self.server.stop)

    def connect(self) -> socket.socket:
        stream = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        self.addCleanup(stream.close)
        return stream

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Reply:
        """One call on a separate connection, read until the server closes it."""
        stream = self.connect()
        stream.sendall(request_bytes(method, path, body, connection="close", **headers))
        return Reply(read_all(stream))

    def send(self, raw: bytes) -> Reply:
        """Sends bytes as they are, and returns what comes back until the server closes the connection."""
        stream = self.connect()
        stream.sendall(raw)
        return Reply(read_all(stream))

    def control(self, action: str, body: object = None, account: str = "a") -> Any:
        reply = self.ask("POST", f"/_control/{account}/{action}", {} if body is None else body)
        self.assertEqual(reply.status, 200, reply.body)
        return reply.json

    def log(self, account: str = "a") -> Any:
        return self.ask("GET", f"/_control/{account}/log").json

    def await_held(self, answers: int) -> None:
        deadline = time.monotonic() + 10
        while self.log()["summary"]["held"] != answers:
            self.assertLess(time.monotonic(), deadline, f"{answers} answers should be held")
            time.sleep(0.001)


def request_bytes(method: str, path: str, body: object = None, **headers: str) -> bytes:
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"host": "127.0.0.1", "content-length": str(len(data))}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + data


def read_all(stream: socket.socket) -> bytes:
    """Everything until the end of the connection, even if that is a reset."""
    pieces = []
    try:
        while piece := stream.recv(65536):
            pieces.append(piece)
    except ConnectionResetError:
        pieces.append(b"<reset>")
    return b"".join(pieces)
