"""Accounts of a platform on one port: their answers, their logs, and the API that controls them.

The first part of a path names the account: http://127.0.0.1:PORT/ACCOUNT/…. An account exists, empty, from its first
use on, so that tests share nothing but a process. /_control/ACCOUNT/… fills an account, changes it while it is being
read, and makes it fail. Everything is in memory.
"""

from __future__ import annotations

import argparse
import collections
import functools
import itertools
import os
import signal
import socket
import sys
import threading
import time
import zlib

from . import faults
from .clock import Clock
from .messages import Answer, BadRequest, Refusal, Request, json_answer, unquote
from .wire import Connection, head_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# A platform that is left running must not grow with its log.
MOST_LOGGED = 100_000
# Data for tests comes in the body of a single control request.
MOST_BODY_BYTES = 1 << 30
# How long the threads of a stopping server may take.
STOP_SECONDS = 5
CONTROL = "_control"


class Account:
    """One customer's account at a platform, with its own log, faults, clock and lock.

    A platform is a class below this one. It has to define `answer` and `refuse`; the rest has defaults. Everything is
    called with `lock` held.
    """

    # The `Server` header.
    server_name = "fake"
    # What the platform calls its accounts, in the list of accounts.
    plural = "accounts"
    # The name under which lists of records come, for made-up answers.
    rows_name = "rows"
    maintenance_page = (
        "<!DOCTYPE html>\n<html><head><title>Maintenance</title></head><body><h1>Be right back</h1></body></html>\n"
    )
    # Whether the log shows the bodies of requests.
    logs_bodies = True
    # What is counted beside `rows` and `packed`; all of it is in the summary of the log.
    counters: tuple[str, ...] = ()

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        self.name, self.options = name, options
        self.lock = threading.RLock()
        self.clock, self.gate = Clock(), faults.Gate()
        self.rules: list[faults.Rule] = []
        self.whens: list[When] = []
        self.gzip, self.latency = False, 0.0
        # What the control API can do and set. A `when` performs the actions that it names in the order of `actions`.
        self.settings: dict[str, Callable[[Any], None]] = {
            "clock": self.setter("ahead", self.clock),
            "gzip": self.setter("gzip"),
            "latency": self.setter("latency"),
        }
        self.actions: dict[str, Callable[[Any], object]] = {
            "settings": self.set,
            "faults": self.set_faults,
            "when": self.add_when,
            "release": lambda _: self.gate.release(),
            "log/clear": lambda _: self.clear_log(),
        }
        self.log: collections.deque[dict[str, Any]] = collections.deque(maxlen=MOST_LOGGED)
        self.numbers = itertools.count(1)
        self.counts = dict.fromkeys((*self.counters, "rows", "packed"), 0)

    # What a platform writes.

    def answer(self, request: Request) -> Answer:
        """Carries out a call. A Refusal that is raised goes through `refuse`."""
        raise NotImplementedError

    def refuse(self, refusal: Refusal) -> Answer:
        """A refusal in the platform's own shape. It also answers faults and malformed requests."""
        raise NotImplementedError

    def admit(self, request: Request) -> tuple[list[tuple[str, object]], Answer | None]:
        """Headers of every answer, and a refusal if there are too many calls.

        A refused call reaches neither faults nor `answer`.
        """
        return [], None

    def summary(self) -> dict[str, Any]:
        return self.counts | {"held": self.gate.held}

    # What the control API does.

    def setter(self, attribute: str, of: object = None) -> Callable[[Any], None]:
        """A setting that is an attribute, of the account unless another object is given."""
        return functools.partial(setattr, self if of is None else of, attribute)

    def set(self, settings: dict[str, Any]) -> None:
        """Changes settings: all of them, or none if one is not known."""
        if unknown := sorted(settings.keys() - self.settings.keys()):
            raise ValueError(f"no setting `{unknown[0]}`")
        for name, value in settings.items():
            self.settings[name](value)

    def set_faults(self, body: dict[str, Any]) -> None:
        self.rules = [faults.Rule(spec) for spec in body["rules"]]

    def add_when(self, body: dict[str, Any]) -> None:
        when = When(body, self.actions)
        if when.after > 0:
            self.whens.append(when)
        else:
            self.change(when)

    def change(self, when: When) -> None:
        for name, body in when.changes:
            self.actions[name](body)

    def clear_log(self) -> None:
        self.log.clear()
        for name in self.counts:
            self.counts[name] = 0

    # How a call is answered.

    def decide(self, request: Request) -> tuple[Answer, faults.Rule | None]:
        """The answer to a call, written to the log, and the rule that hit it."""
        headers, refused = self.admit(request)
        rule = None
        if refused:
            answer = refused
        elif not (rule := faults.hit(self.rules, request)):
            answer = self.try_to_answer(request)
            faults.note_passed(self.rules, request, answer)
        else:
            if rule.is_done:
                answer = self.try_to_answer(request)
            if rule.fault.instead or not rule.is_done:
                finish = answer.finish if rule.is_done else None
                answer = rule.instead(self)
                answer.finish = finish
            rule.spoil(answer)
        answer.headers += [header for header in headers if not answer.has_header(header[0])]
        self.counts["rows"] += answer.rows
        self.write_log(request, answer, rule)
        return answer, rule

    def try_to_answer(self, request: Request) -> Answer:
        try:
            return self.answer(request)
        except Refusal as refusal:
            return self.refuse(refusal)
        except BadRequest:
            raise
        except Exception:
            # A mistake in the platform must look like one to whoever runs the test.
            sys.excepthook(*sys.exc_info())
            return self.refuse(Refusal(500, "the local platform itself failed: see its stderr"))

    def write_log(self, request: Request, answer: Answer, rule: faults.Rule | None) -> None:
        entry = {
            "n": next(self.numbers),
            "time": round(time.time(), 3),
            "method": request.method,
            "path": request.path,
            "query": request.query,
            "status": answer.status if not rule or rule.fault.is_answered else 0,
            "rows": answer.rows,
            "bytes": len(answer.body),
            "fault": rule.kind if rule else None,
            "connection": request.connection,
            "user_agent": request.headers.get("user-agent"),
        }
        if self.logs_bodies and request.body:
            entry["body"] = request.logged_body()
        self.log.append(entry | request.notes)

    def pack(self, request: Request, answer: Answer) -> None:
        if self.gzip and request.takes_gzip() and answer.body and not answer.has_header("content-encoding"):
            packer = zlib.compressobj(1, zlib.DEFLATED, 31)
            answer.body = packer.compress(answer.body) + packer.flush()
            answer.headers.append(("Content-Encoding", "gzip"))
            self.counts["packed"] += 1

    def answered(self, request: Request) -> None:
        """Applies the changes that waited for this call."""
        for when in list(self.whens):
            if when.is_due(request):
                self.whens.remove(when)
                self.change(when)

    def finish(self, answer: Answer) -> None:
        if answer.finish:
            with self.lock:
                answer.finish()


class When:
    """Changes that happen once the `after`-th call of a kind has its answer, before that is sent."""

    def __init__(self, body: dict[str, Any], actions: dict[str, Callable[[Any], object]]) -> None:
        self.path, self.method, self.after = body.get("path", ""), body.get("method"), body.get("after", 1)
        named = body.keys() - {"path", "method", "after"}
        if unknown := sorted(named - actions.keys()):
            raise ValueError(f"no action `{unknown[0]}`")
        self.changes = [(name, body[name]) for name in actions if name in named and body[name] not in (False, None)]
        self.seen = 0

    def is_due(self, request: Request) -> bool:
        if self.path not in request.target or self.method not in (None, request.method):
            return False
        self.seen += 1
        return bool(self.seen >= self.after)


class Server:
    """All accounts of a platform."""

    def __init__(self, platform: type[Account], options: argparse.Namespace | None = None) -> None:
        self.platform, self.options = platform, options or argparse.Namespace()
        self.accounts: dict[str, Account] = {}
        self.connections: dict[int, tuple[threading.Thread, socket.socket]] = {}
        self.lock = threading.Lock()
        self.listener: socket.socket | None = None
        self.is_stopped = False
        # Represents the platform itself where there is no account; it is not in any list.
        self.nobody = platform("", self.options)

    def account(self, name: str) -> Account:
        with self.lock:
            if name not in self.accounts:
                self.accounts[name] = self.platform(name, self.options)
            return self.accounts[name]

    def listen(self, port: int = 0) -> int:
        """Listens on a port, a free one for 0, and returns it. Connections wait until `run`."""
        self.listener = socket.create_server(("127.0.0.1", port), backlog=256)
        return int(self.listener.getsockname()[1])

    def run(self) -> None:
        """Serves each connection in a thread, until `stop`."""
        assert self.listener, "`listen` comes first"
        for number in itertools.count(1):
            try:
                stream, _ = self.listener.accept()
            except OSError:
                if self.is_stopped:
                    return
                raise
            thread = threading.Thread(target=self.serve, args=(stream, number), daemon=True)
            with self.lock:
                self.connections[number] = thread, stream
            thread.start()

    def stop(self) -> None:
        """Ends every connection, held answers included."""
        self.is_stopped = True
        with self.lock:
            connections, accounts = list(self.connections.values()), list(self.accounts.values())
        if self.listener:
            shut_down(self.listener)
            self.listener.close()
        for account in accounts:
            account.gate.open()
        for thread, stream in connections:
            shut_down(stream)
            thread.join(STOP_SECONDS)

    def serve(self, stream: socket.socket, number: int) -> None:
        """One connection, until either side ends it. A client that vanishes is not reported."""
        try:
            with stream:
                connection = Connection(stream, number, MOST_BODY_BYTES)
                try:
                    while (request := connection.request()) and self.answer(connection, request):
                        if request.headers.get("connection", "").lower() == "close":
                            break
                except BadRequest as bad:
                    self.send(connection, self.nobody.refuse(Refusal(bad.status, f"Bad Request: {bad}")))
        except OSError:
            pass
        finally:
            with self.lock:
                self.connections.pop(number, None)

    def answer(self, connection: Connection, request: Request) -> bool:
        """Answers; returns whether the connection goes on."""
        if request.account == CONTROL:
            return self.send(connection, self.control(request))
        if not request.account:
            return self.send(connection, self.listed())
        account = self.account(request.account)
        with account.lock:
            answer, rule = account.decide(request)
            account.pack(request, answer)
            account.answered(request)
        if account.latency:
            account.gate.pause(account.latency)
        if rule and rule.fault.wait:
            rule.fault.wait(rule, account.gate)
        account.finish(answer)
        now = account.clock.now()
        head = functools.partial(head_of, answer, account.server_name, now)
        outgoing = faults.Outgoing(connection, answer, head, account.gate, account.rows_name)
        if rule and rule.fault.send:
            return rule.fault.send(rule, outgoing)
        if request.method == "HEAD":
            connection.send(head(len(answer.body)))
            return True
        return outgoing.send()

    def send(self, connection: Connection, answer: Answer) -> bool:
        connection.send(head_of(answer, self.platform.server_name, time.time(), len(answer.body)) + answer.body)
        return True

    # The control API.

    def listed(self) -> Answer:
        return json_answer({self.platform.plural: sorted(self.accounts)})

    def control(self, request: Request) -> Answer:
        _, name, *rest = (request.path + "/").split("/", 2)
        if not name:
            return self.listed()
        account = self.account(unquote(name))
        try:
            body = request.json()
            with account.lock:
                return json_answer(self.steer(account, request, rest[0].strip("/"), body))
        except KeyError as missing:
            return json_answer({"error": f"no {missing}"}, 422)
        except (AttributeError, TypeError, ValueError) as error:
            return json_answer({"error": f"{type(error).__name__}: {error}"}, 422)

    def steer(self, account: Account, request: Request, action: str, body: Any) -> object:
        if request.method == "GET" and action == "log":
            start = int(request.query.get("from", "0"))
            return {"requests": [entry for entry in account.log if entry["n"] >= start], "summary": account.summary()}
        if request.method != "POST":
            raise ValueError("POST is needed")
        if action == "reset":
            with self.lock:
                self.accounts.pop(account.name, None)
            # Nobody can release what is held there any more.
            account.gate.open()
            return {}
        if action not in account.actions:
            raise ValueError(f"no action `{action}`")
        found = account.actions[action](body)
        return {} if found is None else found


def shut_down(stream: socket.socket) -> None:
    """Wakes whoever reads from a socket, which may already be closed."""
    try:
        stream.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def parser(description: str, port: int) -> argparse.ArgumentParser:
    """Arguments that every platform has. It adds its own and passes them to `start`."""
    found = argparse.ArgumentParser(description=description)
    found.add_argument("--port", type=int, default=port, help="0 takes a free one (%(default)s)")
    found.add_argument("--port-file", help="where to write the port once it listens")
    return found


def start(
    platform: type[Account],
    options: argparse.Namespace,
    announcement: str,
    prepare: Callable[[Server], None] | None = None,
) -> None:
    """Serves a platform until a signal. `announcement` is printed with the base URL for {base}."""
    # Both end it at once and silently: there is nothing to save.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    server = Server(platform, options)
    if prepare:
        prepare(server)
    try:
        port = server.listen(options.port)
    except OSError as error:
        sys.exit(f"failed to listen on port {options.port}: {os.strerror(error.errno or 0)}")
    if options.port_file:
        # All or nothing: a test is watching the file.
        with open(options.port_file + ".new", "w", encoding="ascii") as file:
            file.write(f"{port}\n")
        os.rename(options.port_file + ".new", options.port_file)
    print(announcement.format(base=f"http://127.0.0.1:{port}"), flush=True)
    server.run()
    sys.exit(0)
