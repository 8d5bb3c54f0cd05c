"""The server: accounts, connections, the log, the control API."""

from __future__ import annotations

import contextlib
import gzip
import io
import threading
import time

from fakeserver.wire import date_text

from . import Reply, ServerTest, read_all, request_bytes


class Accounts(ServerTest):
    """Accounts and the list of them."""

    def test_an_account_is_there_from_its_first_use_and_shares_nothing(self) -> None:
        self.assertEqual(self.ask("GET", "/").json, {"shelves": []})
        self.control("data", {"books": ["one"]}, account="b")
        self.assertEqual(self.ask("GET", "/a/books").json["books"], [])
        self.assertEqual(self.ask("GET", "/b/books").json["books"], ["one"])
        self.assertEqual(self.ask("GET", "/_control/").json, {"shelves": ["a", "b"]})
        self.assertEqual(len(self.log("a")["requests"]), 1)

    def test_a_reset_forgets_an_account(self) -> None:
        self.control("data", {"books": ["one"]})
        self.control("faults", {"rules": [{"fault": "hold"}]})
        held = self.connect()
        held.sendall(request_bytes("GET", "/a/books", connection="close"))
        self.await_held(1)
        self.control("reset")
        self.assertEqual(Reply(read_all(held)).json["books"], ["one"], "nobody could release it any more")
        self.assertEqual(self.ask("GET", "/a/books").json["books"], [])
        self.assertEqual(len(self.log()["requests"]), 1)


class Connections(ServerTest):
    """Bytes in, bytes out."""

    def test_a_connection_serves_many_requests_even_sent_at_once(self) -> None:
        stream = self.connect()
        stream.sendall(request_bytes("GET", "/a/books") * 2 + request_bytes("GET", "/a/none", connection="close"))
        raw = read_all(stream)
        self.assertEqual(raw.count(b"HTTP/1.1 200 OK"), 2)
        self.assertEqual(raw.count(b"HTTP/1.1 404 Not Found"), 1)
        self.assertEqual({entry["connection"] for entry in self.log()["requests"]}, {1})

    def test_bytes_that_are_not_a_request_are_refused_in_the_platforms_shape(self) -> None:
        for raw, status, why in (
            (b"nonsense\r\n\r\n", 400, "special characters must be percent-encoded"),
            ("GET /한 HTTP/1.1\r\n\r\n".encode(), 400, "special characters must be percent-encoded"),
            (b"GET a HTTP/1.1\r\n\r\n", 400, "a bad target"),
            (b"GET /a HTTP/1.1\r\nbad\r\n\r\n", 400, "a bad header"),
            (b"GET /a/books?q=%zz HTTP/1.1\r\n\r\n", 400, "a bad percent-encoding"),
            (b"GET /a HTTP/1.1\r\n" + b"x" * 70_000, 400, "headers too large"),
            (b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", 411, "the length of the body is not stated"),
            (b"POST /a HTTP/1.1\r\ncontent-length: -1\r\n\r\n", 411, "the length of the body is not stated"),
            (b"POST /a HTTP/1.1\r\ncontent-length: 1073741825\r\n\r\n", 413, "is larger than 1073741824 bytes"),
            (b"POST /a HTTP/1.1\r\ncontent-length: " + b"9" * 5000 + b"\r\n\r\n", 413, "the body is larger than"),
        ):
            with self.subTest(raw=raw[:40]):
                reply = self.send(raw)
                self.assertEqual(reply.status, status)
                self.assertIn(why, reply.json["error"])

    def test_a_client_may_wait_for_leave_to_send_its_body(self) -> None:
        stream = self.connect()
        whole = request_bytes("POST", "/a/books", "one", expect="100-continue", connection="close")
        stream.sendall(whole[:-5])
        self.assertEqual(stream.recv(100), b"HTTP/1.1 100 Continue\r\n\r\n")
        stream.sendall(whole[-5:])
        self.assertEqual(Reply(read_all(stream)).json, {"added": 1})

    def test_answers_without_a_body_have_none(self) -> None:
        self.control("data", {"books": ["one"]})
        head = self.ask("HEAD", "/a/books")
        self.assertEqual(head.body, b"")
        self.assertEqual(head.headers["content-length"], str(len(self.ask("GET", "/a/books").body)))
        gone = self.ask("DELETE", "/a/books/one")
        self.assertEqual((gone.status, gone.body, "content-length" in gone.headers), (204, b"", False))

    def test_a_stop_ends_what_is_held_and_what_is_idle(self) -> None:
        self.control("faults", {"rules": [{"fault": "hold"}]})
        held, idle = self.connect(), self.connect()
        held.sendall(request_bytes("GET", "/a/books"))
        self.await_held(1)
        self.server.stop()
        read_all(held)
        self.assertEqual(read_all(idle), b"")
        with self.assertRaises(OSError):
            self.connect()

    def test_a_mistake_in_a_platform_is_a_500_and_a_traceback(self) -> None:
        with contextlib.redirect_stderr(io.StringIO()) as stderr:
            reply = self.ask("GET", "/a/broken")
        self.assertEqual(reply.status, 500)
        self.assertIn("RuntimeError: a mistake", stderr.getvalue())


class Log(ServerTest):
    """Requests and their answers."""

    def test_each_request_is_logged_with_what_was_answered(self) -> None:
        self.ask("POST", "/a/books?x=1&y=a%20b", {"title": "one"}, user_agent="test")
        self.ask("POST", "/a/books", b"x=1&y=", content_type="application/x-www-form-urlencoded")
        self.ask("GET", "/a/books/?", b"\xff")
        first, second, third = self.log()["requests"]
        self.assertAlmostEqual(first.pop("time"), time.time(), delta=60)
        self.assertEqual(first, {
            "n": 1, "method": "POST", "path": "/books", "query": {"x": "1", "y": "a b"}, "body": {"title": "one"},
            "status": 201, "rows": 0, "bytes": 11, "fault": None, "connection": 1, "user_agent": "test",
        })
        self.assertEqual((second["body"], second["connection"]), ({"x": "1", "y": ""}, 2))
        self.assertEqual((third["body"], third["path"], third["rows"]), ("\N{REPLACEMENT CHARACTER}", "/books", 2))
        self.assertEqual(self.log()["summary"], {"added": 2, "rows": 2, "packed": 0, "held": 0})

    def test_a_cleared_log_keeps_counting(self) -> None:
        for _ in range(3):
            self.ask("GET", "/a/books")
        self.assertEqual([entry["n"] for entry in self.ask("GET", "/_control/a/log?from=3").json["requests"]], [3])
        self.control("log/clear")
        self.ask("POST", "/a/books", 1)
        self.assertEqual([entry["n"] for entry in self.log()["requests"]], [4])
        self.assertEqual(self.log()["summary"]["added"], 1)


class Control(ServerTest):
    """The control API and its settings."""

    def test_what_it_does_not_know_is_refused_and_changes_nothing(self) -> None:
        for action, body, why in (
            ("shelves", {}, "no action `shelves`"),
            ("settings", {"gzip": True, "gzipp": True}, "no setting `gzipp`"),
            ("when", {"pathh": "books", "settings": {}}, "no action `pathh`"),
            ("faults", {"rules": [{"fault": "fire"}]}, "no fault `fire`"),
            ("faults", {"rules": [{"fault": "slow", "second": 1}]}, "`slow` does not take `second`"),
            ("faults", {"rules": [{"fault": "redirect"}]}, "no 'location'"),
            ("faults", {"rules": [{}]}, "no 'fault'"),
            ("faults", {}, "no 'rules'"),
            ("data", [], "TypeError"),
            ("data", b"{", "JSONDecodeError"),
        ):
            with self.subTest(action=action, body=body):
                reply = self.ask("POST", f"/_control/a/{action}", body)
                self.assertEqual(reply.status, 422)
                self.assertIn(why, reply.json["error"])
        self.assertEqual(self.ask("PUT", "/_control/a/data").status, 422)
        self.assertNotIn("content-encoding", self.ask("GET", "/a/books", accept_encoding="gzip").headers)

    def test_a_when_changes_things_before_the_answer_is_sent(self) -> None:
        self.control("when", {"path": "books", "method": "POST", "after": 2, "data": {"books": ["new"]}})
        self.ask("POST", "/a/books", 1)
        self.ask("GET", "/a/books")
        self.assertEqual(self.ask("GET", "/a/books").json["books"], [1])
        self.assertEqual(self.ask("POST", "/a/books", 2).json, {"added": 2})
        self.ask("POST", "/a/books", 3)
        self.assertEqual(self.ask("GET", "/a/books").json["books"], [1, 2, "new", 3])
        self.control("when", {"after": 0, "data": {"books": ["now"]}, "release": False})
        self.assertEqual(self.ask("GET", "/a/books").json["books"][-1], "now")

    def test_bodies_are_packed_for_clients_that_accept_it(self) -> None:
        plain = self.ask("GET", "/a/books").body
        self.control("settings", {"gzip": True})
        self.assertEqual(self.ask("GET", "/a/books").body, plain)
        packed = self.ask("GET", "/a/books", accept_encoding="br, gzip")
        self.assertEqual((packed.headers["content-encoding"], gzip.decompress(packed.body)), ("gzip", plain))
        self.assertEqual(self.log()["summary"]["packed"], 1)

    def test_latency_delays_each_answer_of_an_account_alone(self) -> None:
        self.control("settings", {"latency": 0.05})
        started = time.monotonic()
        self.ask("GET", "/a/books")
        self.assertGreaterEqual(time.monotonic() - started, 0.05)
        self.control("settings", {"latency": 60})
        waiting = self.connect()
        waiting.sendall(request_bytes("GET", "/a/books"))
        self.assertEqual(self.ask("GET", "/b/books").status, 200)

    def test_the_clock_moves_the_date(self) -> None:
        self.control("settings", {"clock": -86400})
        day_before = time.time() - 86400
        date = self.ask("GET", "/a/books").headers["date"]
        self.assertIn(date, {date_text(int(day_before) + second) for second in range(60)})
        self.assertEqual(date_text(1795104000), "Thu, 19 Nov 2026 16:00:00 GMT")

    def test_held_answers_go_when_they_are_released(self) -> None:
        self.control("faults", {"rules": [{"fault": "hold", "times": -1}]})
        replies: list[Reply] = []
        threads = [threading.Thread(target=lambda: replies.append(self.ask("POST", "/a/books", 1))) for _ in range(2)]
        for thread in threads:
            thread.start()
        self.await_held(2)
        self.assertEqual((replies, self.log()["summary"]["added"]), ([], 2))
        self.control("release")
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(reply.json["added"] for reply in replies), [1, 2])
